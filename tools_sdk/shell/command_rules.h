// Rules about the parts of a shell command, and what they make of one.
//
// They decide about prompts: what is asked, what isn't. A command that they allow does what it
// likes within its sandbox, which is the boundary. Called by the session's policy and by scripts'.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Later ones are stricter. kNone: nothing is said.
enum class CommandLevel { kNone, kAllow, kAsk, kDeny };

/// About simple commands, or about the files that redirects write: one of the two.
struct CommandRule {
  CommandLevel level = CommandLevel::kAsk;
  /// What the first words must be: alternatives for each. One that denies or asks holds also where
  /// the program is named with its folder.
  std::vector<std::vector<std::string>> argv;
  std::string writes;  ///< Pattern with '*'.
};

struct CommandVerdict {
  /// kNone: some part is named by no rule.
  CommandLevel level = CommandLevel::kNone;
  int rule = -1;      ///< Index of the one that decided; -1: none did.
  std::string part;   ///< The command or file that decided, to be shown.
  size_t number = 0;  ///< Which of the commands it is, from 1; 0: it is none of them.
  std::string why;    ///< kAsk without a rule: what can't be judged.
};

/// The strictest answer over all parts: kAllow only if every simple command and every file that is
/// written is allowed, and all was understood. `covered`: a rule about whole calls has matched, so
/// no part is named by no rule. Cost: O(text + commands x rules).
CommandVerdict JudgeCommand(std::string_view text, std::span<const CommandRule> rules,
                            bool covered);

/// Its part, and why: "`rm x`: never". `why`: of the rule that decided; may be empty.
std::string CommandReason(const CommandVerdict& verdict, std::string_view why);

/// Errors: INVALID_ARGUMENT: neither or both of argv and writes, or too much of either.
Status CheckCommandRule(const CommandRule& rule);

}  // namespace baleen
