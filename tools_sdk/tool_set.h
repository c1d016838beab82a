// The tools of one session: found by name, in a fixed order, checked when they are added.
//
// Built once and then only read, so that the model's prompt and a replay see the same list. Holds
// what tools promise, not the tools: whoever performs a call knows where its body is. Called by the
// runtime.
#pragma once

#include <string_view>
#include <vector>

#include "tools_sdk/schema.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// More would fill the prompt and confuse the choice.
inline constexpr size_t kToolsMax = 128;

/// Threads: const methods may be called from any thread once building is over.
class ToolSet {
 public:
  ToolSet() = default;
  ToolSet(ToolSet&&) = default;
  ToolSet& operator=(ToolSet&&) = default;

  /// Errors: INVALID_ARGUMENT (name not [a-zA-Z0-9_.-]{1,64}; no timeout or output limit; a schema
  /// that isn't supported, see Schema::Parse); ALREADY_EXISTS; RESOURCE_EXHAUSTED (kToolsMax). The
  /// set is unchanged then.
  Status Add(ToolSpec spec);

  /// Null: no such tool. Lives as long as the set.
  const ToolSpec* Find(std::string_view name) const;

  /// Errors: NOT_FOUND naming the known tools; INVALID_ARGUMENT from the schema.
  Status CheckCall(const ToolCall& call) const;

  /// What the tools' schemas say that is not enforced while a call is written (Schema::notes).
  std::vector<std::string> notes() const;

  /// In the order of Add.
  const std::vector<ToolSpec>& specs() const { return specs_; }

 private:
  std::vector<ToolSpec> specs_;
  std::vector<Schema> schemas_;  ///< Of specs_, by index.
};

}  // namespace baleen
