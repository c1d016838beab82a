// ChatPrompt: lines from a terminal, of which two may end with a key instead of Enter.
//
// The terminal's own line editing stays: the keys are made ends of a line for as long as a chat
// lasts.
#pragma once

#include <termios.h>

#include <string>

namespace baleen::cli {

enum class PromptKey { kEnter, kFork, kUnfold, kEnd };

/// What Ctrl-F and Ctrl-T send.
inline constexpr char kForkKey = 6;
inline constexpr char kUnfoldKey = 20;

/// While it lives, the keys end a line, also one that is typed ahead while an answer streams: a
/// terminal judges a key when it comes, not when it is read. Does nothing where stdin is no
/// terminal.
class PromptKeys {
 public:
  PromptKeys();
  ~PromptKeys();
  PromptKeys(const PromptKeys&) = delete;
  PromptKeys& operator=(const PromptKeys&) = delete;

 private:
  termios before_ = {};
  const bool changed_;
};

/// Waits for a line on stdin, into `line` without its end. kEnd: nothing more comes.
PromptKey ReadPrompt(std::string* line);

}  // namespace baleen::cli
