// Policies, approvals, budgets and steering <-> wire messages.
#include <algorithm>
#include <string>
#include <utility>

#include "runtime/grpc/convert.h"
#include "tools_sdk/utf8.h"

namespace baleen::wire {
namespace {

ApprovalState FromWireState(v1::Approval::State state) {
  switch (state) {
    case v1::Approval::PENDING: return ApprovalState::kPending;
    case v1::Approval::GRANTED: return ApprovalState::kGranted;
    case v1::Approval::EXPIRED: return ApprovalState::kExpired;
    case v1::Approval::CANCELLED: return ApprovalState::kCancelled;
    case v1::Approval::REVOKED: return ApprovalState::kRevoked;
    default: return ApprovalState::kDenied;  // of a newer server: no grant
  }
}

v1::Approval::State ToWireState(ApprovalState state) {
  switch (state) {
    case ApprovalState::kPending: return v1::Approval::PENDING;
    case ApprovalState::kGranted: return v1::Approval::GRANTED;
    case ApprovalState::kDenied: return v1::Approval::DENIED;
    case ApprovalState::kExpired: return v1::Approval::EXPIRED;
    case ApprovalState::kCancelled: return v1::Approval::CANCELLED;
    case ApprovalState::kRevoked: return v1::Approval::REVOKED;
  }
  return v1::Approval::DENIED;
}

v1::GrantScope ToWireScope(GrantScope scope) {
  switch (scope) {
    case GrantScope::kOnce: return v1::GRANT_SCOPE_ONCE;
    case GrantScope::kTurn: return v1::GRANT_SCOPE_TURN;
    case GrantScope::kSession: return v1::GRANT_SCOPE_SESSION;
    case GrantScope::kWorkspace: return v1::GRANT_SCOPE_WORKSPACE;
  }
  return v1::GRANT_SCOPE_ONCE;
}

Result<GrantScope> FromWireScope(v1::GrantScope scope) {
  switch (scope) {
    case v1::GRANT_SCOPE_UNSPECIFIED:
    case v1::GRANT_SCOPE_ONCE: return GrantScope::kOnce;
    case v1::GRANT_SCOPE_TURN: return GrantScope::kTurn;
    case v1::GRANT_SCOPE_SESSION: return GrantScope::kSession;
    case v1::GRANT_SCOPE_WORKSPACE: return GrantScope::kWorkspace;
    default: return BadField("grant.scope", "a GrantScope", std::to_string(scope));
  }
}

// An approval may hold 128 calls with their arguments; answers stay below 64 MiB.
constexpr int32_t kPageMax = 1000;

int32_t PageSize(int64_t wanted) {
  return static_cast<int32_t>(std::clamp<int64_t>(wanted, -1, kPageMax));
}

Result<int64_t> PageLimit(int32_t page_size) {
  if (page_size < 0) return BadField("page_size", "0 or more", std::to_string(page_size));
  return page_size == 0 ? kPageMax : std::min(page_size, kPageMax);
}

}  // namespace

void ToWire(const PolicySettings& policy, v1::Policy* out) {
  for (const PolicyRule& rule : policy.rules) {
    v1::Policy::Rule* wire = out->add_rules();
    wire->set_tool(ReplaceInvalidUtf8(rule.tool));
    wire->set_effect(rule.effect == "PURE"         ? v1::EFFECT_CLASS_PURE
                     : rule.effect == "IDEMPOTENT" ? v1::EFFECT_CLASS_IDEMPOTENT
                     : rule.effect == "EFFECT"     ? v1::EFFECT_CLASS_EFFECT
                                                   : v1::EFFECT_CLASS_UNSPECIFIED);
    wire->set_decision(ReplaceInvalidUtf8(rule.decision));
    wire->set_why(ReplaceInvalidUtf8(rule.why));
    for (const auto& alternatives : rule.argv) {
      v1::Policy::Rule::Words* words = wire->add_argv();
      for (const std::string& word : alternatives) words->add_any_of(ReplaceInvalidUtf8(word));
    }
    wire->set_writes(ReplaceInvalidUtf8(rule.writes));
  }
  out->set_approval_ms_max(policy.approval_ms_max);
  if (!policy.repeat_guard) out->set_repeat_guard(false);
  out->set_ignore_taint(policy.ignore_taint);
}

Result<PolicySettings> FromWire(const v1::Policy& policy) {
  PolicySettings out;
  for (const v1::Policy::Rule& wire : policy.rules()) {
    PolicyRule rule;
    if (!wire.tool().empty()) rule.tool = wire.tool();
    switch (wire.effect()) {
      case v1::EFFECT_CLASS_UNSPECIFIED: break;
      case v1::EFFECT_CLASS_PURE: rule.effect = "PURE"; break;
      case v1::EFFECT_CLASS_IDEMPOTENT: rule.effect = "IDEMPOTENT"; break;
      case v1::EFFECT_CLASS_EFFECT: rule.effect = "EFFECT"; break;
      default:
        return BadField("settings.policy.rules.effect", "an EffectClass",
                        std::to_string(wire.effect()));
    }
    rule.decision = wire.decision();
    rule.why = wire.why();
    for (const v1::Policy::Rule::Words& words : wire.argv()) {
      rule.argv.emplace_back(words.any_of().begin(), words.any_of().end());
    }
    rule.writes = wire.writes();
    out.rules.push_back(std::move(rule));
  }
  out.approval_ms_max = policy.approval_ms_max();
  out.repeat_guard = !policy.has_repeat_guard() || policy.repeat_guard();
  out.ignore_taint = policy.ignore_taint();
  return out;
}

void ToWire(const BudgetSettings& budget, v1::Budget* out) {
  out->set_tokens(budget.tokens);
  out->set_wall_ms(budget.wall_ms);
  out->set_tool_calls(budget.tool_calls);
  out->set_micro_usd(budget.micro_usd);
}

Result<BudgetSettings> FromWire(const v1::Budget& budget) {
  for (const int64_t limit :
       {budget.tokens(), budget.wall_ms(), budget.tool_calls(), budget.micro_usd()}) {
    if (limit < 0) return BadField("budget", "limits of 0 (none) or more", std::to_string(limit));
  }
  return BudgetSettings{budget.tokens(), budget.wall_ms(), budget.tool_calls(), budget.micro_usd()};
}

void ToWire(const Spend& spend, v1::Spend* out) {
  out->set_tokens(spend.tokens);
  out->set_wall_ms(spend.wall_ms);
  out->set_tool_calls(spend.tool_calls);
  out->set_micro_usd(spend.micro_usd);
}

Spend FromWire(const v1::Spend& spend) {
  return {spend.tokens(), spend.wall_ms(), spend.tool_calls(), spend.micro_usd()};
}

void ToWire(const PriceSettings& prices, v1::Prices* out) {
  out->set_prompt(prices.prompt);
  out->set_generated(prices.generated);
}

Result<PriceSettings> FromWire(const v1::Prices& prices) {
  return PriceSettings{prices.prompt(), prices.generated()};
}

void ToWire(const SteerTurnRequest& request, v1::SteerTurnRequest* out) {
  out->set_name(TurnNameOf(request.session, request.turn));
  for (const std::string& part : request.input) out->add_input(ReplaceInvalidUtf8(part));
  out->set_delivery(request.delivery == SteerDelivery::kAfterTurn
                        ? v1::SteerTurnRequest::AFTER_TURN
                        : v1::SteerTurnRequest::NEXT_STEP);
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<SteerTurnRequest> FromWire(const v1::SteerTurnRequest& request) {
  SteerTurnRequest out;
  ASSIGN_OR_RETURN(TurnName name, ParseTurnName(request.name(), "name"));
  out.session = std::move(name.session);
  out.turn = std::move(name.turn);
  out.input.assign(request.input().begin(), request.input().end());
  switch (request.delivery()) {
    case v1::SteerTurnRequest::DELIVERY_UNSPECIFIED:
    case v1::SteerTurnRequest::NEXT_STEP: break;
    case v1::SteerTurnRequest::AFTER_TURN: out.delivery = SteerDelivery::kAfterTurn; break;
    default:
      return BadField("delivery", "NEXT_STEP or AFTER_TURN", std::to_string(request.delivery()));
  }
  out.request_id = request.request_id();
  return out;
}

void ToWire(const ApprovalView& view, v1::Approval* out) {
  out->set_name(ApprovalNameOf(view.session, view.approval));
  out->set_turn(TurnNameOf(view.session, view.turn));
  out->set_requester_path(ReplaceInvalidUtf8(view.requester));
  out->set_subject(ReplaceInvalidUtf8(view.subject));
  out->set_title(ReplaceInvalidUtf8(view.title));
  out->set_description(ReplaceInvalidUtf8(view.description));
  for (const ToolCall& call : view.calls) {
    v1::Approval::Call* wire = out->add_calls();
    wire->set_id(ReplaceInvalidUtf8(call.id));
    wire->set_tool(ReplaceInvalidUtf8(call.name));
    wire->set_arguments(ReplaceInvalidUtf8(call.arguments));
  }
  for (const std::string& allowed : view.allowed_decisions) {
    out->add_allowed_decisions(ReplaceInvalidUtf8(allowed));
  }
  SetTime(view.requested_ms, out->mutable_request_time());
  if (view.expires_ms != 0) SetTime(view.expires_ms, out->mutable_expire_time());
  if (!view.budget.owner.empty()) {
    v1::Approval::BudgetAsk* budget = out->mutable_budget();
    budget->set_owner(ReplaceInvalidUtf8(view.budget.owner));
    budget->set_resource(ReplaceInvalidUtf8(view.budget.resource));
    budget->set_limit(view.budget.limit);
    budget->set_spent(view.budget.spent);
    budget->set_extend(view.budget.extend);
  }
  out->set_state(ToWireState(view.state));
  if (view.state == ApprovalState::kPending) return;
  out->set_scope(ToWireScope(view.scope));
  for (const std::string& id : view.granted_calls) {
    out->add_granted_calls(ReplaceInvalidUtf8(id));
  }
  out->set_resolved_by(ReplaceInvalidUtf8(view.resolved_by));
  out->set_reason(ReplaceInvalidUtf8(view.reason));
  SetTime(view.resolved_ms, out->mutable_resolve_time());
  if (view.state != ApprovalState::kRevoked) return;
  out->set_revoked_by(ReplaceInvalidUtf8(view.revoked_by));
  SetTime(view.revoked_ms, out->mutable_revoke_time());
}

Result<ApprovalView> FromWire(const v1::Approval& approval) {
  ApprovalView out;
  ASSIGN_OR_RETURN(ApprovalName name, ParseApprovalName(approval.name(), "approval.name"));
  out.session = std::move(name.session);
  out.approval = std::move(name.approval);
  ASSIGN_OR_RETURN(TurnName turn, ParseTurnName(approval.turn(), "approval.turn"));
  out.turn = std::move(turn.turn);
  out.requester = approval.requester_path();
  out.subject = approval.subject();
  out.title = approval.title();
  out.description = approval.description();
  for (const v1::Approval::Call& call : approval.calls()) {
    out.calls.push_back({call.id(), call.tool(), call.arguments()});
  }
  out.allowed_decisions.assign(approval.allowed_decisions().begin(),
                               approval.allowed_decisions().end());
  out.requested_ms = TimeMs(approval.request_time());
  if (approval.has_expire_time()) out.expires_ms = TimeMs(approval.expire_time());
  out.budget = {approval.budget().owner(), approval.budget().resource(), approval.budget().limit(),
                approval.budget().spent(), approval.budget().extend()};
  out.state = FromWireState(approval.state());
  ASSIGN_OR_RETURN(out.scope, FromWireScope(approval.scope()));
  out.granted_calls.assign(approval.granted_calls().begin(), approval.granted_calls().end());
  out.resolved_by = approval.resolved_by();
  out.reason = approval.reason();
  if (approval.has_resolve_time()) out.resolved_ms = TimeMs(approval.resolve_time());
  out.revoked_by = approval.revoked_by();
  if (approval.has_revoke_time()) out.revoked_ms = TimeMs(approval.revoke_time());
  return out;
}

void ToWire(const ListApprovalsRequest& request, v1::ListApprovalsRequest* out) {
  out->set_parent(request.session.empty() ? "sessions/-" : SessionName(request.session));
  out->set_resolved(request.resolved);
  out->set_page_size(PageSize(request.approvals_max));
  out->set_page_token(ReplaceInvalidUtf8(request.after));
}

Result<ListApprovalsRequest> FromWire(const v1::ListApprovalsRequest& request) {
  ListApprovalsRequest out;
  ASSIGN_OR_RETURN(out.session, ParseParent(request.parent(), "parent"));
  ASSIGN_OR_RETURN(out.approvals_max, PageLimit(request.page_size()));
  out.after = request.page_token();
  out.resolved = request.resolved();
  return out;
}

void ToWire(const ResolveApprovalRequest& request, v1::ResolveApprovalRequest* out) {
  out->set_name(ApprovalNameOf(request.session, request.approval));
  if (request.grant) {
    out->mutable_grant()->set_scope(ToWireScope(request.scope));
    out->mutable_grant()->set_extend(request.extend);
    for (const std::string& id : request.calls) {
      out->mutable_grant()->add_calls(ReplaceInvalidUtf8(id));
    }
  } else {
    out->mutable_deny();
  }
  out->set_reason(ReplaceInvalidUtf8(request.reason));
  out->set_resolved_by(ReplaceInvalidUtf8(request.resolved_by));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<ResolveApprovalRequest> FromWire(const v1::ResolveApprovalRequest& request) {
  ResolveApprovalRequest out;
  ASSIGN_OR_RETURN(ApprovalName name, ParseApprovalName(request.name(), "name"));
  out.session = std::move(name.session);
  out.approval = std::move(name.approval);
  switch (request.decision_case()) {
    case v1::ResolveApprovalRequest::kGrant: {
      out.grant = true;
      ASSIGN_OR_RETURN(out.scope, FromWireScope(request.grant().scope()));
      out.extend = request.grant().extend();
      out.calls.assign(request.grant().calls().begin(), request.grant().calls().end());
      break;
    }
    case v1::ResolveApprovalRequest::kDeny: break;
    default: return BadField("decision", "grant or deny", "nothing");
  }
  out.reason = request.reason();
  out.resolved_by = request.resolved_by();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const DecisionView& view, v1::Decision* out) {
  out->set_turn(TurnNameOf(view.session, view.turn));
  out->set_call(ReplaceInvalidUtf8(view.call));
  out->set_tool(ReplaceInvalidUtf8(view.tool));
  out->set_arguments_sha256(view.arguments_sha256);
  out->set_decision(view.decision);
  out->set_decided_by(ReplaceInvalidUtf8(view.decided_by));
  out->set_why(ReplaceInvalidUtf8(view.why));
  out->set_grant(view.grant);
  if (!view.approval.empty()) {
    out->set_approval(ApprovalNameOf(view.session, view.approval));
    out->set_approval_state(ToWireState(view.approval_state));
  }
  out->set_resolved_by(ReplaceInvalidUtf8(view.resolved_by));
  out->set_reason(ReplaceInvalidUtf8(view.reason));
  SetTime(view.decided_ms, out->mutable_decide_time());
  out->set_outcome(view.outcome);
}

Result<DecisionView> FromWire(const v1::Decision& decision) {
  DecisionView view;
  ASSIGN_OR_RETURN(const TurnName turn, ParseTurnName(decision.turn(), "turn"));
  view.session = turn.session;
  view.turn = turn.turn;
  view.call = decision.call();
  view.tool = decision.tool();
  view.arguments_sha256 = decision.arguments_sha256();
  view.decision = decision.decision();
  view.decided_by = decision.decided_by();
  view.why = decision.why();
  view.grant = decision.grant();
  if (!decision.approval().empty()) {
    ASSIGN_OR_RETURN(const ApprovalName name, ParseApprovalName(decision.approval(), "approval"));
    view.approval = name.approval;
    view.approval_state = FromWireState(decision.approval_state());
  }
  view.resolved_by = decision.resolved_by();
  view.reason = decision.reason();
  view.decided_ms = TimeMs(decision.decide_time());
  view.outcome = decision.outcome();
  return view;
}

void ToWire(const GrantView& view, v1::Grant* out) {
  out->set_name(GrantNameOf(view.session, view.approval));
  out->set_scope(ToWireScope(view.scope));
  out->set_workspace(ReplaceInvalidUtf8(view.workspace));
  for (const std::string& tool : view.tools) out->add_tools(ReplaceInvalidUtf8(tool));
  out->set_granted_by(ReplaceInvalidUtf8(view.granted_by));
  out->set_reason(ReplaceInvalidUtf8(view.reason));
  SetTime(view.granted_ms, out->mutable_grant_time());
}

Result<GrantView> FromWire(const v1::Grant& grant) {
  GrantView out;
  ASSIGN_OR_RETURN(ApprovalName name, ParseGrantName(grant.name(), "grant.name"));
  out.session = std::move(name.session);
  out.approval = std::move(name.approval);
  ASSIGN_OR_RETURN(out.scope, FromWireScope(grant.scope()));
  out.workspace = grant.workspace();
  out.tools.assign(grant.tools().begin(), grant.tools().end());
  out.granted_by = grant.granted_by();
  out.reason = grant.reason();
  out.granted_ms = TimeMs(grant.grant_time());
  return out;
}

void ToWire(const ListGrantsRequest& request, v1::ListGrantsRequest* out) {
  out->set_parent(request.session.empty() ? "sessions/-" : SessionName(request.session));
  out->set_page_size(PageSize(request.grants_max));
  out->set_page_token(ReplaceInvalidUtf8(request.after));
}

Result<ListGrantsRequest> FromWire(const v1::ListGrantsRequest& request) {
  ListGrantsRequest out;
  ASSIGN_OR_RETURN(out.session, ParseParent(request.parent(), "parent"));
  ASSIGN_OR_RETURN(out.grants_max, PageLimit(request.page_size()));
  out.after = request.page_token();
  return out;
}

void ToWire(const RevokeGrantRequest& request, v1::RevokeGrantRequest* out) {
  out->set_name(GrantNameOf(request.session, request.approval));
  out->set_reason(ReplaceInvalidUtf8(request.reason));
  out->set_revoked_by(ReplaceInvalidUtf8(request.revoked_by));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<RevokeGrantRequest> FromWire(const v1::RevokeGrantRequest& request) {
  RevokeGrantRequest out;
  ASSIGN_OR_RETURN(ApprovalName name, ParseGrantName(request.name(), "name"));
  out.session = std::move(name.session);
  out.approval = std::move(name.approval);
  out.reason = request.reason();
  out.revoked_by = request.revoked_by();
  out.request_id = request.request_id();
  return out;
}

}  // namespace baleen::wire
