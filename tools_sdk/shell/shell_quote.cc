#include "tools_sdk/shell/shell_quote.h"

#include <algorithm>
#include <array>

namespace baleen {
namespace {

// What bash reads as grammar where a command begins; `!`, `{` and `[[` aren't plain anyway.
constexpr std::array<std::string_view, 17> kReserved = {
    "case",     "coproc", "do", "done",   "elif", "else", "esac",  "fi",   "for",
    "function", "if",     "in", "select", "then", "time", "until", "while"};

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == '/' || c == ':' || c == ',' || c == '@' || c == '+';
}

}  // namespace

void AppendShellWord(std::string_view word, std::string* command) {
  const bool first = command->empty();
  if (!first) *command += ' ';
  const bool reserved =
      first && std::find(kReserved.begin(), kReserved.end(), word) != kReserved.end();
  if (!word.empty() && !reserved && std::all_of(word.begin(), word.end(), IsPlain)) {
    *command += word;
    return;
  }
  *command += '\'';
  for (const char c : word) {
    if (c == '\'') {
      *command += "'\\''";
    } else {
      *command += c;
    }
  }
  *command += '\'';
}

}  // namespace baleen
