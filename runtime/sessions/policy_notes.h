// Policy notes: what is odd about the rules that a session has. Pure functions of settings.
#pragma once

#include <string>
#include <vector>

#include "agent/rule_lint.h"
#include "runtime/session.h"

namespace baleen {

/// SessionView::policy_notes. `of_script`: the rules that the script declares.
std::vector<std::string> PolicyNotes(const SessionSettings& settings,
                                     const std::vector<DeclaredRule>& of_script);

}  // namespace baleen
