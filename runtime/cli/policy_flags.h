// PolicyFlags: rules of a policy, as flags say them.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "runtime/approval.h"

namespace baleen::cli {

/// A rule about commands of bash that begin with the words of `text`: "git status|diff" has
/// alternatives for its second. Errors: CLI::ValidationError of `flag`.
PolicyRule CommandRuleOf(const std::string& flag, const std::string& text,
                         const std::string& decision);

/// Of a command that makes sessions.
class PolicyFlags {
 public:
  /// Borrows: this, as long as `command` lives.
  void AddTo(CLI::App& command);
  std::vector<PolicyRule> Rules() const;

 private:
  std::vector<std::string> allow_, ask_, deny_;
  std::vector<PolicyRule> commands_;
};

}  // namespace baleen::cli
