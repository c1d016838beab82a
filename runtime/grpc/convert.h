// Public value types <-> wire messages. Pure functions; both directions are total: what can't be
// said on the wire is INVALID_ARGUMENT/BAD_FIELD, naming the field.
//
// Used by server and client of this folder only.
#pragma once

#include <baleen/v1/admin.pb.h>
#include <baleen/v1/approvals.pb.h>
#include <baleen/v1/events.pb.h>
#include <baleen/v1/models.pb.h>
#include <baleen/v1/scripts.pb.h>
#include <baleen/v1/sessions.pb.h>
#include <baleen/v1/tool_host.pb.h>
#include <baleen/v1/tools.pb.h>
#include <baleen/v1/turns.pb.h>

#include <string>
#include <vector>

#include "runtime/grpc/resource_names.h"
#include "runtime/script.h"
#include "runtime/session.h"
#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen::wire {

void ToWire(const SamplingSettings& sampling, v1::Sampling* out);
Result<SamplingSettings> FromWire(const v1::Sampling& sampling);

void ToWire(const SessionSettings& settings, v1::SessionSettings* out);
Result<SessionSettings> FromWire(const v1::SessionSettings& settings);

v1::Session::State ToWire(SessionState state);
void ToWire(const SessionView& view, v1::Session* out);
Result<SessionView> FromWire(const v1::Session& session);

/// The wire's paths are those of a Session: "settings.title".
void ToWire(const UpdateSessionRequest& request, v1::UpdateSessionRequest* out);
Result<UpdateSessionRequest> FromWire(const v1::UpdateSessionRequest& request);

void ToWire(const ForkRequest& request, v1::ForkSessionRequest* out);
Result<ForkRequest> FromWire(const v1::ForkSessionRequest& request);

void ToWire(const RewindRequest& request, v1::RewindSessionRequest* out);
Result<RewindRequest> FromWire(const v1::RewindSessionRequest& request);
void ToWire(const RewindView& view, v1::RewindSessionResponse* out);
Result<RewindView> FromWire(const v1::RewindSessionResponse& response);

void ToWire(const DeleteRequest& request, v1::DeleteSessionRequest* out);
Result<DeleteRequest> FromWire(const v1::DeleteSessionRequest& request);
void ToWire(const DeleteView& view, v1::DeleteSessionResponse* out);
Result<DeleteView> FromWire(const v1::DeleteSessionResponse& response);

void ToWire(const std::vector<SearchHit>& hits, v1::SearchSessionsResponse* out);
Result<std::vector<SearchHit>> FromWire(const v1::SearchSessionsResponse& response);

/// Of a prefetch, which has no turn.
void ToWire(const StepReuse& reuse, v1::StepReuse* out);
Result<StepReuse> FromWire(const v1::StepReuse& reuse);
/// The steps are those of `session`, which the view doesn't name.
void ToWire(const std::string& session, const std::vector<StepReuse>& steps,
            v1::ExplainSessionResponse* out);
Result<std::vector<StepReuse>> FromWire(const v1::ExplainSessionResponse& response);

void ToWire(const BackupReport& report, v1::BackupResponse* out);
BackupReport FromWire(const v1::BackupResponse& response);
void ToWire(const PruneRequest& request, v1::PruneSessionsRequest* out);
PruneRequest FromWire(const v1::PruneSessionsRequest& request);
void ToWire(const PruneView& view, v1::PruneSessionsResponse* out);
Result<PruneView> FromWire(const v1::PruneSessionsResponse& response);
void ToWire(const CompactReport& report, v1::CompactResponse* out);
CompactReport FromWire(const v1::CompactResponse& response);

void ToWire(const ExportView& view, v1::ExportSessionResponse* out);
ExportView FromWire(const v1::ExportSessionResponse& response);
void ToWire(const ImportRequest& request, v1::ImportSessionRequest* out);
ImportRequest FromWire(const v1::ImportSessionRequest& request);
void ToWire(const ImportView& view, v1::ImportSessionResponse* out);
Result<ImportView> FromWire(const v1::ImportSessionResponse& response);

void ToWire(const PolicySettings& policy, v1::Policy* out);
Result<PolicySettings> FromWire(const v1::Policy& policy);
void ToWire(const BudgetSettings& budget, v1::Budget* out);
Result<BudgetSettings> FromWire(const v1::Budget& budget);
void ToWire(const Spend& spend, v1::Spend* out);
Spend FromWire(const v1::Spend& spend);
void ToWire(const PriceSettings& prices, v1::Prices* out);
Result<PriceSettings> FromWire(const v1::Prices& prices);
void ToWire(const SteerTurnRequest& request, v1::SteerTurnRequest* out);
Result<SteerTurnRequest> FromWire(const v1::SteerTurnRequest& request);
void ToWire(const ApprovalView& view, v1::Approval* out);
Result<ApprovalView> FromWire(const v1::Approval& approval);
void ToWire(const ListApprovalsRequest& request, v1::ListApprovalsRequest* out);
Result<ListApprovalsRequest> FromWire(const v1::ListApprovalsRequest& request);
void ToWire(const ResolveApprovalRequest& request, v1::ResolveApprovalRequest* out);
Result<ResolveApprovalRequest> FromWire(const v1::ResolveApprovalRequest& request);

void ToWire(const DecisionView& view, v1::Decision* out);
Result<DecisionView> FromWire(const v1::Decision& decision);
void ToWire(const ScriptView& view, v1::Script* out);
Result<ScriptView> FromWire(const v1::Script& script);
void ToWire(const GrantView& view, v1::Grant* out);
Result<GrantView> FromWire(const v1::Grant& grant);
void ToWire(const ListGrantsRequest& request, v1::ListGrantsRequest* out);
Result<ListGrantsRequest> FromWire(const v1::ListGrantsRequest& request);
void ToWire(const RevokeGrantRequest& request, v1::RevokeGrantRequest* out);
Result<RevokeGrantRequest> FromWire(const v1::RevokeGrantRequest& request);

void ToWire(const NoteView& view, v1::Note* out);
Result<NoteView> FromWire(const v1::Note& note);
void ToWire(const ListNotesRequest& request, v1::ListNotesRequest* out);
ListNotesRequest FromWire(const v1::ListNotesRequest& request);

void ToWire(const ToolSpec& spec, v1::ToolSpec* out);
Result<ToolSpec> FromWire(const v1::ToolSpec& spec);
/// The view doesn't name its session; empty: of those to come.
void ToWire(const std::string& session, const ToolView& view, v1::Tool* out);
Result<ToolView> FromWire(const v1::Tool& tool);
void ToWire(const ModelView& view, v1::Model* out);
ModelView FromWire(const v1::Model& model);

void SetTime(int64_t time_ms, google::protobuf::Timestamp* out);
int64_t TimeMs(const google::protobuf::Timestamp& time);

void ToWire(const StartTurnRequest& request, v1::StartTurnRequest* out);
Result<StartTurnRequest> FromWire(const v1::StartTurnRequest& request);

void ToWire(const TurnView& view, v1::Turn* out);
Result<TurnView> FromWire(const v1::Turn& turn);

void ToWire(const Event& event, v1::Event* out);
Result<Event> FromWire(const v1::Event& event);

void ToWire(const TokenTrace& trace, v1::ReadTokensResponse* out);
TokenTrace FromWire(const v1::ReadTokensResponse& response);

void ToWire(const VerifyReport& report, v1::VerifySessionResponse* out);
VerifyReport FromWire(const v1::VerifySessionResponse& response);

/// But for its name.
void ToWire(const TenantUsage& usage, v1::Tenant* out);
TenantUsage FromWire(const v1::Tenant& tenant);

void ToWire(const RuntimeStats& stats, v1::Stats* out);
RuntimeStats FromWire(const v1::Stats& stats);

void ToWire(const ToolResult& result, v1::Result* out);
ToolResult FromWire(const v1::Result& result);

}  // namespace baleen::wire
