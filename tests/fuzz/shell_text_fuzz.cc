// A command of a model may be any text: reading it is bounded, says the same each time, and one
// part more never makes it less strict.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tools_sdk/shell/command_rules.h"
#include "tools_sdk/shell/shell_text.h"

namespace {

using baleen::CommandLevel;
using baleen::CommandRule;
using baleen::ReadShellText;

void Require(bool holds) {
  if (!holds) std::abort();
}

CommandLevel Judged(std::string_view text) {
  static const std::array<CommandRule, 4> kRules = {
      CommandRule{CommandLevel::kAllow, {{"git"}, {"status", "log"}}, ""},
      CommandRule{CommandLevel::kAllow, {{"echo", "cat"}}, ""},
      CommandRule{CommandLevel::kAllow, {}, "out/*"},
      CommandRule{CommandLevel::kDeny, {{"rm"}}, ""}};
  return baleen::JudgeCommand(text, kRules, false).level;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  const auto reading = ReadShellText(text);
  Require(reading.commands.size() <= baleen::kShellCommandsMax);
  for (const auto& command : reading.commands) {
    Require(!command.words.empty());
    Require(baleen::ShownCommand(command).size() < 200);
  }
  Require(ReadShellText(text).unclear == reading.unclear);
  const CommandLevel level = Judged(text);
  Require(level == Judged(text));
  if (level != CommandLevel::kAllow) return 0;
  Require(reading.unclear.empty());
  if (size > 1000) return 0;  // there are limits of commands
  // Understood to its end: what follows on a line of its own is a command of its own.
  Require(Judged(text + "\nrm x") == CommandLevel::kDeny);
  Require(Judged("rm x\n" + text) == CommandLevel::kDeny);
  Require(Judged(text + "\n$x") == CommandLevel::kAsk);
  // Here of levels.
  Require(size > 40 || Judged("( " + text + "\n)") == CommandLevel::kAllow);
  return 0;
}
