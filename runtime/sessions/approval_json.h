// The JSON of tool dispatches, approvals and cancellations in the journal.
//
// On-disk shapes, version 1, as journal_json.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/approval.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Calls of a step whose bodies may run from now on; synced before any of them does.
struct ToolDispatch {
  std::string turn;
  int64_t step = 0;
  std::vector<std::string> calls;  ///< Ids.
  /// What they reach of the network (NetworkReach::host): what comes from there is in the context
  /// from the next step on.
  std::vector<std::string> hosts;
};
std::string ToolDispatchToJson(const ToolDispatch& dispatch);
Result<ToolDispatch> ToolDispatchFromJson(std::string_view json);

/// The approval that a call of ask_user makes: its words, and the call.
ApprovalView QuestionOf(const ToolCall& call);
std::string ApprovalToJson(const ApprovalView& approval);
Result<ApprovalView> ApprovalFromJson(std::string_view session, std::string_view json);

/// How an approval ended.
struct ApprovalEnd {
  std::string turn;
  std::string approval;
  ApprovalState state = ApprovalState::kDenied;
  GrantScope scope = GrantScope::kOnce;
  std::vector<std::string> calls;  ///< Ids of those granted.
  std::vector<std::string> tools;  ///< Their names, for later calls within the scope.
  BudgetAsk budget;                ///< Subject "budget".
  int64_t granted_ms = 0;          ///< kRevoked: when what is taken back was granted.
  std::string resolved_by;
  std::string reason;
  int64_t revision = 0;  ///< Of the session's settings, where more of its budget was granted.
};
std::string ApprovalEndToJson(const ApprovalEnd& end);
Result<ApprovalEnd> ApprovalEndFromJson(std::string_view json);
/// What a view says once its end is known.
void ApplyEnd(const ApprovalEnd& end, int64_t time_ms, ApprovalView* approval);

/// INVALID_ARGUMENT/BAD_FIELD for what a decision or its taking back says of itself, if it is long
/// or no UTF-8. `fields`: their names, for the message.
Status CheckSaid(const std::string& reason, const std::string& by, const char* fields);

/// The order of a session's approvals, "t1-a2" before "t1-a10".
bool IsAskedBefore(std::string_view a, std::string_view b);

/// A grant as the answer to whoever revoked it.
std::string GrantToJson(const GrantView& grant);
Result<GrantView> GrantFromJson(std::string_view json);

/// {"turn"}: somebody wished that the turn should end.
std::string CancelRequestToJson(std::string_view turn);

}  // namespace baleen
