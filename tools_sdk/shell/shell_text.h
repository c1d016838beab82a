// What a shell command would run: its simple commands and the files that its redirects write.
//
// A strict reader of what bash and sh agree on. Whatever it isn't sure of makes the reading
// unclear; it goes on all the same, so that a rule that denies finds what it can. It decides
// nothing (command_rules.h does) and runs nothing; the sandbox is the boundary, not this.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace baleen {

/// One word of a command, without its quotes.
struct ShellWord {
  std::string text;
  /// What it becomes, one word or several, shows only when it runs: a pattern, a substitution.
  bool open = false;
  bool bare = true;  ///< Nothing of it is quoted.
};

struct ShellCommand {
  std::vector<ShellWord> words;  ///< At least one.
  bool open_end = false;         ///< More words come when it runs.
  /// Adds nothing to what it runs, which is a command of its own: `timeout 5 git log`.
  bool passes = false;
};

struct ShellReading {
  /// In the order of the text; what a wrapper or a substitution runs is among them.
  std::vector<ShellCommand> commands;
  std::vector<std::string> written;  ///< Files of redirects; /dev/null isn't one.
  std::string unclear;               ///< The first thing that wasn't understood; empty: all was.
};

/// Cost: O(text), with recursion of at most kShellDepthMax levels.
ShellReading ReadShellText(std::string_view text);

/// Its words, cut if they are many.
std::string ShownCommand(const ShellCommand& command);

constexpr size_t kShellBytesMax = 100'000;
constexpr size_t kShellCommandsMax = 512;
constexpr int kShellDepthMax = 24;

}  // namespace baleen
