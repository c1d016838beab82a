#include "tools_sdk/shell/shell_wrappers.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace baleen {
namespace {

/// Options that are known; any other makes the command unclear. All stop at the first operand.
struct Wrapper {
  std::string_view name;
  bool harmless = true;
  std::string_view flags = {};    ///< Letters without a value.
  std::string_view valued = {};   ///< Letters with one.
  std::string_view longs = {};    ///< Between blanks; those with a value end in '='.
  int operands = 0;               ///< Before the command.
  bool assignments = false;       ///< NAME=VALUE before the command.
  std::string_view lookups = {};  ///< Letters with which it runs nothing.
  bool open_end = false;
};

constexpr Wrapper kWrappers[] = {
    {.name = "sudo",
     .harmless = false,
     .flags = "AbEHnPSkKB",
     .valued = "ugpChrtTDR",
     .longs = " user= group= preserve-env non-interactive set-home ",
     .assignments = true},
    {.name = "doas", .harmless = false, .flags = "n", .valued = "uC"},
    {.name = "env",
     .flags = "iv",
     .valued = "uC",
     .longs = " ignore-environment unset= chdir= ",
     .assignments = true},
    {.name = "timeout",
     .flags = "v",
     .valued = "ks",
     .longs = " foreground preserve-status verbose kill-after= signal= ",
     .operands = 1},
    {.name = "nice", .flags = "0123456789", .valued = "n", .longs = " adjustment= "},
    {.name = "ionice", .flags = "t", .valued = "cn", .longs = " class= classdata= ignore "},
    {.name = "nohup"},
    {.name = "xargs",
     .flags = "0rtx",
     .valued = "nPLsdaE",
     .longs = " null no-run-if-empty verbose exit max-args= max-procs= max-lines= delimiter= ",
     .open_end = true},
    {.name = "command", .flags = "p", .lookups = "vV"},
    {.name = "exec", .flags = "cl", .valued = "a"},
    {.name = "time", .flags = "p"},
    {.name = "setsid", .flags = "cfw", .longs = " ctty fork wait "},
    {.name = "stdbuf", .valued = "ioe", .longs = " input= output= error= "},
};

constexpr std::string_view kShells[] = {"bash", "dash", "sh"};

constexpr std::string_view kMeaning[] = {
    ".",         "alias",    "bind",    "builtin", "compgen", "complete", "declare", "enable",
    "eval",      "export",   "getopts", "hash",    "let",     "local",    "mapfile", "read",
    "readarray", "readonly", "set",     "shopt",   "source",  "trap",     "typeset", "unalias"};

/// Without its folders.
std::string_view BaseName(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

/// The one that the system has, not one of the same name elsewhere.
bool IsOfTheSystem(std::string_view path, std::string_view name) {
  return path == name || path == "/bin/" + std::string(name) ||
         path == "/usr/bin/" + std::string(name);
}

enum class Option { kNone, kTaken, kLookup, kUnknown };

/// Reads the option at `*at`, and moves past it and its value.
Option TakeOption(const Wrapper& wrapper, const std::vector<ShellWord>& words, size_t* at) {
  const std::string& text = words[*at].text;
  if (text == "-" && wrapper.name == "env") return ++*at, Option::kTaken;
  if (!text.starts_with('-') || text == "-") return Option::kNone;
  if (text.starts_with("--")) {
    const size_t equals = text.find('=');
    const bool has_value = equals != std::string::npos;
    const std::string name = text.substr(2, has_value ? equals - 1 : std::string::npos);
    if (wrapper.longs.find(" " + name + " ") == std::string_view::npos) return Option::kUnknown;
    ++*at;
    return Option::kTaken;
  }
  for (size_t i = 1; i < text.size(); ++i) {
    if (wrapper.lookups.find(text[i]) != std::string_view::npos) return Option::kLookup;
    if (wrapper.flags.find(text[i]) != std::string_view::npos) continue;
    if (wrapper.valued.find(text[i]) == std::string_view::npos) return Option::kUnknown;
    if (i + 1 == text.size()) {
      if (*at + 1 >= words.size() || words[*at + 1].open) return Option::kUnknown;
      ++*at;
    }
    break;
  }
  ++*at;
  return Option::kTaken;
}

WrappedCommand UnwrapProgram(const Wrapper& wrapper, const ShellCommand& command) {
  WrappedCommand found;
  const auto unclear = [&](const char* why) {
    found.unclear = std::string(why) + " of '" + std::string(wrapper.name) + "'";
    return found;
  };
  const auto& words = command.words;
  int operands = wrapper.operands;
  bool options = true;
  size_t at = 1;
  while (at < words.size()) {
    const ShellWord& word = words[at];
    if (word.open) return unclear("an argument that is made when it runs");
    if (options && word.text == "--") {
      options = false;
      ++at;
      continue;
    }
    if (options) {
      const Option option = TakeOption(wrapper, words, &at);
      if (option == Option::kLookup) return found;
      if (option == Option::kUnknown) return unclear("an option that isn't known");
      if (option == Option::kTaken) continue;
    }
    if (wrapper.assignments && word.text.find('=') != std::string::npos) {
      found.unclear = "an assignment";
    } else if (operands-- <= 0) {
      break;
    }
    options = false;
    ++at;
  }
  if (at >= words.size()) return found;
  found.command.emplace();
  found.command->words.assign(words.begin() + static_cast<std::ptrdiff_t>(at), words.end());
  found.command->open_end = command.open_end || wrapper.open_end;
  found.harmless = wrapper.harmless && IsOfTheSystem(words[0].text, wrapper.name);
  return found;
}

/// One of a shell's options: letters, or -o and a name.
bool IsShellOption(const std::vector<ShellWord>& words, size_t* at, bool* takes_text) {
  const std::string& text = words[*at].text;
  if (text == "-o") {
    const std::string name = *at + 1 < words.size() ? words[*at + 1].text : "";
    *at += 2;
    return name == "pipefail" || name == "errexit" || name == "nounset";
  }
  ++*at;
  if (text.find('c') != std::string::npos) *takes_text = true;
  return text.find_first_not_of("ceux", 1) == std::string::npos;
}

WrappedCommand UnwrapShell(std::string_view name, const ShellCommand& command) {
  WrappedCommand found;
  const auto& words = command.words;
  bool takes_text = false;
  size_t at = 1;
  while (at < words.size() && !words[at].open && words[at].text.size() > 1 &&
         (words[at].text[0] == '-' || words[at].text[0] == '+')) {
    if (words[at].text[0] == '+' || !IsShellOption(words, &at, &takes_text)) {
      found.unclear = "an option of '" + std::string(name) + "' that isn't known";
      return found;
    }
  }
  const bool open = at < words.size() && words[at].open;
  if (open || (takes_text && at >= words.size())) {
    found.unclear = "a text of '" + std::string(name) + "' that is made when it runs";
    return found;
  }
  if (!takes_text) return found;
  found.text = words[at].text;
  found.posix = name == "sh" || name == "dash";
  found.harmless = IsOfTheSystem(words[0].text, name);
  return found;
}

}  // namespace

WrappedCommand Unwrap(const ShellCommand& command) {
  const std::string_view name = BaseName(command.words[0].text);
  for (const Wrapper& wrapper : kWrappers) {
    if (wrapper.name == name) return UnwrapProgram(wrapper, command);
  }
  const auto* shell = std::find(std::begin(kShells), std::end(kShells), name);
  return shell == std::end(kShells) ? WrappedCommand() : UnwrapShell(*shell, command);
}

bool ChangesMeaning(const ShellCommand& command) {
  const std::string& name = command.words[0].text;
  if (std::find(std::begin(kMeaning), std::end(kMeaning), name) != std::end(kMeaning)) return true;
  // printf -v sets a variable, also PATH.
  return name == "printf" && command.words.size() > 1 && command.words[1].text.starts_with("-v");
}

bool IsAssignment(const ShellWord& word) {
  size_t at = 0;
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  while (at < word.text.size() &&
         (is_letter(word.text[at]) || (at > 0 && word.text[at] >= '0' && word.text[at] <= '9'))) {
    ++at;
  }
  if (at == 0) return false;
  // NAME[...]= is one, too.
  if (at < word.text.size() && word.text[at] == '[') at = word.text.find("]", at) + 1;
  if (at == 0) return false;
  if (at < word.text.size() && word.text[at] == '+') ++at;
  return at < word.text.size() && word.text[at] == '=';
}

}  // namespace baleen
