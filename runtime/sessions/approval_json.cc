#include "runtime/sessions/approval_json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "runtime/sessions/json_members.h"
#include "tools_sdk/json_text.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kStates = {ApprovalState::kPending,   ApprovalState::kGranted,
                                ApprovalState::kDenied,    ApprovalState::kExpired,
                                ApprovalState::kCancelled, ApprovalState::kRevoked};
constexpr std::array kScopes = {GrantScope::kOnce, GrantScope::kTurn, GrantScope::kSession,
                                GrantScope::kWorkspace};

/// A state of a newer version is no grant.
ApprovalState StateFromName(const std::string& name) {
  for (const ApprovalState state : kStates) {
    if (name == ApprovalStateName(state)) return state;
  }
  return ApprovalState::kDenied;
}

/// A scope of a newer version covers no more than it must.
GrantScope ScopeFromName(const std::string& name) {
  for (const GrantScope scope : kScopes) {
    if (name == GrantScopeName(scope)) return scope;
  }
  return GrantScope::kOnce;
}

Json BudgetToJson(const BudgetAsk& budget) {
  return {{"owner", budget.owner},
          {"resource", budget.resource},
          {"limit", budget.limit},
          {"spent", budget.spent},
          {"extend", budget.extend}};
}

Status ReadBudget(JsonMembers& parent, BudgetAsk* budget) {
  const Json* json = parent.Find("budget");
  if (json == nullptr) return OkStatus();
  JsonMembers members(*json, "budget");
  members.Get("owner", &budget->owner);
  members.Get("resource", &budget->resource);
  members.Get("limit", &budget->limit);
  members.Get("spent", &budget->spent);
  members.Get("extend", &budget->extend);
  return members.status();
}

}  // namespace

const char* ApprovalStateName(ApprovalState state) {
  switch (state) {
    case ApprovalState::kPending: return "PENDING";
    case ApprovalState::kGranted: return "GRANTED";
    case ApprovalState::kDenied: return "DENIED";
    case ApprovalState::kExpired: return "EXPIRED";
    case ApprovalState::kCancelled: return "CANCELLED";
    case ApprovalState::kRevoked: return "REVOKED";
  }
  return "DENIED";
}

const char* GrantScopeName(GrantScope scope) {
  switch (scope) {
    case GrantScope::kOnce: return "ONCE";
    case GrantScope::kTurn: return "TURN";
    case GrantScope::kSession: return "SESSION";
    case GrantScope::kWorkspace: return "WORKSPACE";
  }
  return "ONCE";
}

std::string ToolDispatchToJson(const ToolDispatch& dispatch) {
  Json json = {{"turn", dispatch.turn}, {"step", dispatch.step}, {"calls", dispatch.calls}};
  if (!dispatch.hosts.empty()) json["hosts"] = dispatch.hosts;
  return JsonText(json);
}

Result<ToolDispatch> ToolDispatchFromJson(std::string_view json) {
  ToolDispatch dispatch;
  JsonMembers members(json, "tool_dispatched");
  members.Get("turn", &dispatch.turn);
  members.Get("step", &dispatch.step);
  members.Get("calls", &dispatch.calls);
  members.Get("hosts", &dispatch.hosts);
  RETURN_IF_ERROR(members.status());
  return dispatch;
}

ApprovalView QuestionOf(const ToolCall& call) {
  ApprovalView approval;
  approval.subject = "question";
  approval.calls = {call};
  std::vector<std::string> options;
  JsonMembers members(std::string_view(call.arguments), "ask_user");
  members.Get("question", &approval.title);
  members.Get("options", &options);
  for (const std::string& option : options) {
    approval.description += (approval.description.empty() ? "answers: " : " | ") + option;
  }
  return approval;
}

std::string ApprovalToJson(const ApprovalView& approval) {
  Json calls = Json::array();
  for (const ToolCall& call : approval.calls) {
    calls.push_back({{"id", call.id}, {"name", call.name}, {"arguments", call.arguments}});
  }
  Json json = {{"turn", approval.turn},
               {"approval", approval.approval},
               {"requester", approval.requester},
               {"subject", approval.subject},
               {"title", approval.title},
               {"description", approval.description},
               {"calls", calls},
               {"allowed_decisions", approval.allowed_decisions},
               {"requested_ms", approval.requested_ms},
               {"expires_ms", approval.expires_ms}};
  if (!approval.budget.owner.empty()) json["budget"] = BudgetToJson(approval.budget);
  return JsonText(json);
}

Result<ApprovalView> ApprovalFromJson(std::string_view session, std::string_view json) {
  ApprovalView approval;
  approval.session = std::string(session);
  JsonMembers members(json, "approval_requested");
  members.Get("turn", &approval.turn);
  members.Get("approval", &approval.approval);
  members.Get("requester", &approval.requester);
  members.Get("subject", &approval.subject);
  members.Get("title", &approval.title);
  members.Get("description", &approval.description);
  members.Get("allowed_decisions", &approval.allowed_decisions);
  members.Get("requested_ms", &approval.requested_ms);
  members.Get("expires_ms", &approval.expires_ms);
  RETURN_IF_ERROR(ReadBudget(members, &approval.budget));
  if (const Json* calls = members.Array("calls")) {
    for (const Json& entry : *calls) {
      JsonMembers fields(entry, "approval_requested.calls[]");
      ToolCall call;
      fields.Get("id", &call.id);
      fields.Get("name", &call.name);
      fields.Get("arguments", &call.arguments);
      RETURN_IF_ERROR(fields.status());
      approval.calls.push_back(std::move(call));
    }
  }
  RETURN_IF_ERROR(members.status());
  return approval;
}

std::string ApprovalEndToJson(const ApprovalEnd& end) {
  Json json = {{"turn", end.turn},
               {"approval", end.approval},
               {"state", ApprovalStateName(end.state)},
               {"scope", GrantScopeName(end.scope)},
               {"calls", end.calls},
               {"tools", end.tools},
               {"resolved_by", end.resolved_by},
               {"reason", end.reason}};
  if (!end.budget.owner.empty()) json["budget"] = BudgetToJson(end.budget);
  if (end.granted_ms != 0) json["granted_ms"] = end.granted_ms;
  if (end.revision != 0) json["revision"] = end.revision;
  return JsonText(json);
}

Result<ApprovalEnd> ApprovalEndFromJson(std::string_view json) {
  ApprovalEnd end;
  std::string state;
  std::string scope;
  JsonMembers members(json, "approval_resolved");
  members.Get("turn", &end.turn);
  members.Get("approval", &end.approval);
  members.Get("state", &state);
  members.Get("scope", &scope);
  members.Get("calls", &end.calls);
  members.Get("tools", &end.tools);
  members.Get("resolved_by", &end.resolved_by);
  members.Get("reason", &end.reason);
  members.Get("granted_ms", &end.granted_ms);
  members.Get("revision", &end.revision);
  RETURN_IF_ERROR(ReadBudget(members, &end.budget));
  RETURN_IF_ERROR(members.status());
  end.state = StateFromName(state);
  end.scope = ScopeFromName(scope);
  return end;
}

void ApplyEnd(const ApprovalEnd& end, int64_t time_ms, ApprovalView* approval) {
  approval->state = end.state;
  if (end.state == ApprovalState::kRevoked) {
    approval->revoked_by = end.resolved_by;
    approval->revoked_ms = time_ms;
    return;  // what was granted, by whom and when stays told
  }
  approval->scope = end.scope;
  approval->granted_calls = end.calls;
  approval->resolved_by = end.resolved_by;
  approval->reason = end.reason;
  approval->resolved_ms = time_ms;
  if (!end.budget.owner.empty()) approval->budget = end.budget;
}

Status CheckSaid(const std::string& reason, const std::string& by, const char* fields) {
  constexpr size_t kBytesMax = 4096;
  for (const std::string* text : {&reason, &by}) {
    if (text->size() > kBytesMax || Utf8ValidPrefix(*text) != text->size()) {
      return InvalidArgumentError(std::string(fields) + ": expected valid UTF-8 of at most " +
                                      std::to_string(kBytesMax) + " bytes",
                                  "BAD_FIELD");
    }
  }
  return OkStatus();
}

bool IsAskedBefore(std::string_view a, std::string_view b) {
  const auto numbers = [](std::string_view id) {
    constexpr int64_t kNumberMax = int64_t{1} << 50;
    std::array<int64_t, 2> found = {};
    size_t at = 0;
    for (const char c : id) {
      if (c == '-') at = 1;
      if (c >= '0' && c <= '9') found[at] = std::min(found[at], kNumberMax) * 10 + (c - '0');
    }
    return found;
  };
  return numbers(a) < numbers(b);
}

std::string GrantToJson(const GrantView& grant) {
  return JsonText(Json{{"session", grant.session},
                       {"approval", grant.approval},
                       {"scope", GrantScopeName(grant.scope)},
                       {"workspace", grant.workspace},
                       {"tools", grant.tools},
                       {"granted_by", grant.granted_by},
                       {"reason", grant.reason},
                       {"granted_ms", grant.granted_ms}});
}

Result<GrantView> GrantFromJson(std::string_view json) {
  GrantView grant;
  std::string scope;
  JsonMembers members(json, "grant");
  members.Get("session", &grant.session);
  members.Get("approval", &grant.approval);
  members.Get("scope", &scope);
  members.Get("workspace", &grant.workspace);
  members.Get("tools", &grant.tools);
  members.Get("granted_by", &grant.granted_by);
  members.Get("reason", &grant.reason);
  members.Get("granted_ms", &grant.granted_ms);
  RETURN_IF_ERROR(members.status());
  grant.scope = ScopeFromName(scope);
  return grant;
}

std::string CancelRequestToJson(std::string_view turn) { return JsonText(Json{{"turn", turn}}); }

}  // namespace baleen
