#include "runtime/grpc/client.h"

#include <baleen/v1/admin.grpc.pb.h>
#include <baleen/v1/approvals.grpc.pb.h>
#include <baleen/v1/models.grpc.pb.h>
#include <baleen/v1/scripts.grpc.pb.h>
#include <baleen/v1/sessions.grpc.pb.h>
#include <baleen/v1/tools.grpc.pb.h>
#include <baleen/v1/turns.grpc.pb.h>
#include <google/longrunning/operations.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/grpc/client_streams.h"
#include "runtime/grpc/convert.h"
#include "runtime/grpc/tls_files.h"
#include "runtime/grpc/wire_status.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

// Answers are bounded by what the server reads and by paging, not by gRPC's default of 4 MiB.
constexpr int kMessageBytesMax = 64 << 20;
constexpr int64_t kTokensPerCall = 1 << 18;
/// How often an operation is asked how far it is, and the least time between two questions.
constexpr int32_t kProgressMs = 250;
constexpr int kPauseMs = 10;

/// Wakes WaitTurn when its turn has finished or the stream has ended.
class TurnEnd final : public EventSubscriber {
 public:
  explicit TurnEnd(std::string turn) : turn_(std::move(turn)) {}

  bool OnEvent(const Event& event) override {
    if (event.kind == "turn_finished" && event.turn == turn_) Set(OkStatus());
    return true;
  }
  void OnEnd(const Status& status) override {
    Set(status.ok() ? UnavailableError("the event stream ended before the turn") : status);
  }

  /// nullopt: `timeout_ms` passed.
  std::optional<Status> Wait(int64_t timeout_ms) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                      [this] { return end_.has_value(); });
    return end_;
  }

 private:
  void Set(Status status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!end_.has_value()) end_ = std::move(status);
    changed_.notify_all();
  }

  const std::string turn_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Status> end_;
};

Status CheckPoint(const HistoryPoint& point) {
  if (point.turn.empty() || !point.tokens.has_value()) return OkStatus();
  return InvalidArgumentError("a point is a turn or a number of tokens: expected one, got both",
                              wire::kBadField);
}
/// Who asks is whom a session counts for: the server knows, and asks nobody.
Status CheckTenant(const std::string& tenant) {
  if (tenant.empty()) return OkStatus();
  return InvalidArgumentError("tenant: a server counts sessions for the client that asks for them",
                              wire::kBadField);
}
Status CheckPointOf(const ForkRequest& request) {
  RETURN_IF_ERROR(CheckTenant(request.tenant));
  return CheckPoint(request.at);
}
Status CheckPointOf(const RewindRequest& request) { return CheckPoint(request.to); }
Status CheckPointOf(const DeleteRequest& /*request*/) { return OkStatus(); }
Status CheckPointOf(const UpdateSessionRequest& /*request*/) { return OkStatus(); }

class RemoteRuntime final : public Runtime {
 public:
  // The channel is gRPC's own handle type: shared by this object and by each stream it opens.
  RemoteRuntime(const ConnectOptions& options, std::shared_ptr<grpc::Channel> channel)
      : options_(options),
        channel_(std::move(channel)),
        sessions_(v1::Sessions::NewStub(channel_)),
        turns_(v1::Turns::NewStub(channel_)),
        approvals_(v1::Approvals::NewStub(channel_)),
        tools_(v1::Tools::NewStub(channel_)),
        models_(v1::Models::NewStub(channel_)),
        scripts_(v1::Scripts::NewStub(channel_)),
        admin_(v1::Admin::NewStub(channel_)),
        operations_(google::longrunning::Operations::NewStub(channel_)) {}

  Result<SessionView> CreateSession(const CreateSessionRequest& request) override {
    // An enum on the wire: a word that it can't hold must not become another one.
    RETURN_IF_ERROR(CheckTenant(request.tenant));
    const std::string& thinking = request.settings.thinking;
    if (thinking != "chat" && thinking != "thinking") {
      return InvalidArgumentError(
          "settings.thinking: expected 'chat' or 'thinking', got '" + thinking + "'",
          wire::kBadField);
    }
    v1::CreateSessionRequest wire;
    wire.set_session_id(request.session);
    wire::ToWire(request.settings, wire.mutable_session()->mutable_settings());
    wire.set_request_id(request.request_id);
    if (!request.stored_script.empty()) wire.set_script(wire::ScriptNameOf(request.stored_script));
    v1::Session response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::CreateSession, wire, &response));
    return wire::FromWire(response);
  }

  Result<SessionView> GetSession(const std::string& session) override {
    v1::GetSessionRequest wire;
    wire.set_name(wire::SessionName(session));
    v1::Session response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::GetSession, wire, &response));
    return wire::FromWire(response);
  }

  Result<std::vector<SessionView>> ListSessions(int64_t page_size, const std::string& page_token,
                                                std::string* next_page_token) override {
    v1::ListSessionsRequest wire;
    constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();
    wire.set_page_size(static_cast<int32_t>(std::clamp<int64_t>(page_size, -1, kLimit)));
    wire.set_page_token(page_token);
    v1::ListSessionsResponse response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::ListSessions, wire, &response));
    std::vector<SessionView> out;
    for (const v1::Session& session : response.sessions()) {
      ASSIGN_OR_RETURN(SessionView view, wire::FromWire(session));
      out.push_back(std::move(view));
    }
    if (next_page_token != nullptr) *next_page_token = response.next_page_token();
    return out;
  }

  Result<SessionView> UpdateSession(const UpdateSessionRequest& request) override {
    return Change<v1::UpdateSessionRequest, v1::Session>(request,
                                                         &v1::Sessions::Stub::UpdateSession);
  }

  Result<SessionView> ForkSession(const ForkRequest& request) override {
    return Change<v1::ForkSessionRequest, v1::Session>(request, &v1::Sessions::Stub::ForkSession);
  }

  Result<RewindView> RewindSession(const RewindRequest& request) override {
    return Change<v1::RewindSessionRequest, v1::RewindSessionResponse>(
        request, &v1::Sessions::Stub::RewindSession);
  }

  Result<DeleteView> DeleteSession(const DeleteRequest& request) override {
    return Change<v1::DeleteSessionRequest, v1::DeleteSessionResponse>(
        request, &v1::Sessions::Stub::DeleteSession);
  }

  Result<SessionView> PinSession(const std::string& session, bool pinned) override {
    v1::PinSessionRequest wire;
    wire.set_name(wire::SessionName(session));
    wire.set_pinned(pinned);
    v1::Session response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::PinSession, wire, &response));
    return wire::FromWire(response);
  }

  Result<StepReuse> PrefetchSession(const std::string& session) override {
    v1::PrefetchSessionRequest wire;
    wire.set_name(wire::SessionName(session));
    v1::StepReuse response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::PrefetchSession, wire, &response,
                         options_.verify_ms_max));
    return wire::FromWire(response);
  }

  Result<SessionView> ReleaseSession(const std::string& session) override {
    v1::ReleaseSessionRequest wire;
    wire.set_name(wire::SessionName(session));
    v1::Session response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::ReleaseSession, wire, &response));
    return wire::FromWire(response);
  }

  Result<TurnView> StartTurn(const StartTurnRequest& request) override {
    v1::StartTurnRequest wire;
    wire::ToWire(request, &wire);
    v1::Turn response;
    RETURN_IF_ERROR(Call(turns_.get(), &v1::Turns::Stub::StartTurn, wire, &response));
    return wire::FromWire(response);
  }

  Result<TurnView> SteerTurn(const SteerTurnRequest& request) override {
    v1::SteerTurnRequest wire;
    wire::ToWire(request, &wire);
    v1::Turn response;
    RETURN_IF_ERROR(Call(turns_.get(), &v1::Turns::Stub::SteerTurn, wire, &response));
    return wire::FromWire(response);
  }

  Result<TurnView> CancelTurn(const std::string& session, const std::string& turn) override {
    v1::CancelTurnRequest wire;
    wire.set_name(wire::TurnNameOf(session, turn));
    v1::Turn response;
    RETURN_IF_ERROR(Call(turns_.get(), &v1::Turns::Stub::CancelTurn, wire, &response));
    return wire::FromWire(response);
  }

  Result<TurnView> GetTurn(const std::string& session, const std::string& turn) override {
    v1::GetTurnRequest wire;
    wire.set_name(wire::TurnNameOf(session, turn));
    v1::Turn response;
    RETURN_IF_ERROR(Call(turns_.get(), &v1::Turns::Stub::GetTurn, wire, &response));
    return wire::FromWire(response);
  }

  Result<TurnView> WaitTurn(const std::string& session, const std::string& turn,
                            int64_t timeout_ms) override {
    // From the head as it was before the turn was read: its end can't fall between the two.
    ASSIGN_OR_RETURN(const SessionView before, GetSession(session));
    ASSIGN_OR_RETURN(TurnView now, GetTurn(session, turn));
    if (now.state != TurnState::kRunning) return now;
    TurnEnd end(turn);
    {
      ASSIGN_OR_RETURN(const auto watch, Watch({session, before.head_cursor, false}, &end));
      const std::optional<Status> status = end.Wait(timeout_ms);
      if (!status.has_value()) {
        return DeadlineExceededError("turn '" + turn + "' of session '" + session +
                                     "' still runs after " + std::to_string(timeout_ms) +
                                     " ms; it goes on");
      }
      RETURN_IF_ERROR(*status);
    }
    return GetTurn(session, turn);
  }

  Result<std::vector<ApprovalView>> ListApprovals(const ListApprovalsRequest& request) override {
    return ListPages<ApprovalView, v1::ListApprovalsRequest, v1::ListApprovalsResponse>(
        request, request.approvals_max, &v1::Approvals::Stub::ListApprovals,
        [](const auto& response) -> const auto& { return response.approvals(); });
  }

  Result<ApprovalView> GetApproval(const std::string& session,
                                   const std::string& approval) override {
    v1::GetApprovalRequest wire;
    wire.set_name(wire::ApprovalNameOf(session, approval));
    v1::Approval response;
    RETURN_IF_ERROR(Call(approvals_.get(), &v1::Approvals::Stub::GetApproval, wire, &response));
    return wire::FromWire(response);
  }

  Result<ApprovalView> ResolveApproval(const ResolveApprovalRequest& request) override {
    v1::ResolveApprovalRequest wire;
    wire::ToWire(request, &wire);
    v1::Approval response;
    RETURN_IF_ERROR(Call(approvals_.get(), &v1::Approvals::Stub::ResolveApproval, wire, &response));
    return wire::FromWire(response);
  }

  Result<std::vector<GrantView>> ListGrants(const ListGrantsRequest& request) override {
    return ListPages<GrantView, v1::ListGrantsRequest, v1::ListGrantsResponse>(
        request, request.grants_max, &v1::Approvals::Stub::ListGrants,
        [](const auto& response) -> const auto& { return response.grants(); });
  }

  Result<GrantView> RevokeGrant(const RevokeGrantRequest& request) override {
    v1::RevokeGrantRequest wire;
    wire::ToWire(request, &wire);
    v1::Grant response;
    RETURN_IF_ERROR(Call(approvals_.get(), &v1::Approvals::Stub::RevokeGrant, wire, &response));
    return wire::FromWire(response);
  }

  Result<DecisionView> ExplainDecision(const std::string& session, const std::string& turn,
                                       const std::string& call) override {
    v1::ExplainDecisionRequest wire;
    wire.set_turn(wire::TurnNameOf(session, turn));
    wire.set_call(call);
    v1::Decision response;
    RETURN_IF_ERROR(Call(approvals_.get(), &v1::Approvals::Stub::ExplainDecision, wire, &response));
    return wire::FromWire(response);
  }

  Result<std::vector<ToolView>> ListTools(const std::string& session) override {
    v1::ListToolsRequest wire;
    wire.set_parent(session.empty() ? "sessions/-" : wire::SessionName(session));
    v1::ListToolsResponse response;
    RETURN_IF_ERROR(Call(tools_.get(), &v1::Tools::Stub::ListTools, wire, &response));
    std::vector<ToolView> out;
    for (const v1::Tool& tool : response.tools()) {
      ASSIGN_OR_RETURN(ToolView view, wire::FromWire(tool));
      out.push_back(std::move(view));
    }
    return out;
  }

  Result<std::vector<ModelView>> ListModels() override {
    v1::ListModelsResponse response;
    RETURN_IF_ERROR(
        Call(models_.get(), &v1::Models::Stub::ListModels, v1::ListModelsRequest(), &response));
    std::vector<ModelView> out;
    for (const v1::Model& model : response.models()) out.push_back(wire::FromWire(model));
    return out;
  }

  Result<ScriptView> PutScript(const PutScriptRequest& request) override {
    v1::PutScriptRequest wire;
    if (!request.script.empty()) wire.set_name(wire::ScriptNameOf(request.script));
    wire.set_source(ReplaceInvalidUtf8(request.source));
    wire.set_validate_only(request.validate_only);
    v1::Script response;
    RETURN_IF_ERROR(Call(scripts_.get(), &v1::Scripts::Stub::PutScript, wire, &response));
    return wire::FromWire(response);
  }

  Result<ScriptView> GetScript(const std::string& script) override {
    v1::GetScriptRequest wire;
    wire.set_name(wire::ScriptNameOf(script));
    v1::Script response;
    RETURN_IF_ERROR(Call(scripts_.get(), &v1::Scripts::Stub::GetScript, wire, &response));
    return wire::FromWire(response);
  }

  Result<std::vector<ScriptView>> ListScripts(int64_t scripts_max,
                                              const std::string& after) override {
    std::vector<ScriptView> out;
    v1::ListScriptsRequest wire;
    wire.set_page_token(after);
    while (true) {
      const int64_t left = scripts_max == 0 ? 1000 : scripts_max - std::ssize(out);
      if (left <= 0) return out;
      wire.set_page_size(static_cast<int32_t>(std::min<int64_t>(left, 1000)));
      v1::ListScriptsResponse response;
      RETURN_IF_ERROR(Call(scripts_.get(), &v1::Scripts::Stub::ListScripts, wire, &response));
      for (const v1::Script& script : response.scripts()) {
        ASSIGN_OR_RETURN(ScriptView view, wire::FromWire(script));
        out.push_back(std::move(view));
      }
      if (response.next_page_token().empty()) return out;
      wire.set_page_token(response.next_page_token());
    }
  }

  Status DeleteScript(const std::string& script) override {
    v1::DeleteScriptRequest wire;
    wire.set_name(wire::ScriptNameOf(script));
    google::protobuf::Empty nothing;
    return Call(scripts_.get(), &v1::Scripts::Stub::DeleteScript, wire, &nothing);
  }

  Result<std::unique_ptr<Subscription>> Watch(const WatchOptions& options,
                                              EventSubscriber* subscriber) override {
    return RemoteWatch(channel_, options, subscriber);
  }

  Result<std::unique_ptr<ToolHostConnection>> ConnectToolHost(const std::string& session,
                                                              const std::vector<std::string>& tools,
                                                              ToolHostSink* sink) override {
    return RemoteToolHost(channel_, session, tools, sink);
  }

  Result<TokenTrace> ReadTokens(const std::string& session, int64_t begin, int64_t count) override {
    TokenTrace out;
    out.begin = begin;
    bool hashes = false;
    do {
      v1::ReadTokensRequest wire;
      wire.set_name(wire::SessionName(session));
      wire.set_begin(begin + static_cast<int64_t>(out.ids.size()));
      const int64_t wanted = std::min(kTokensPerCall, count - static_cast<int64_t>(out.ids.size()));
      if (wanted == 0) break;  // 0 on the wire means the server's default
      wire.set_count(wanted);
      v1::ReadTokensResponse response;
      RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::ReadTokens, wire, &response));
      const TokenTrace page = wire::FromWire(response);
      // Pages without any hash come without the array: fill it up, drop it if all were like that.
      hashes = hashes || !page.logits_hashes.empty();
      out.logits_hashes.insert(out.logits_hashes.end(), page.logits_hashes.begin(),
                               page.logits_hashes.end());
      out.ids.insert(out.ids.end(), page.ids.begin(), page.ids.end());
      out.logits_hashes.resize(out.ids.size(), 0);
      if (static_cast<int64_t>(page.ids.size()) < wanted) break;
    } while (static_cast<int64_t>(out.ids.size()) < count);
    if (!hashes) out.logits_hashes.clear();
    return out;
  }

  Result<std::vector<SearchHit>> Search(const SearchRequest& request) override {
    v1::SearchSessionsRequest wire;
    wire.set_words(request.words);
    constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();
    // 0 on the wire means the default.
    wire.set_hits_max(request.hits_max == 0 ? -1
                                            : static_cast<int32_t>(std::clamp<int64_t>(
                                                  request.hits_max, -1, kLimit)));
    wire.set_left_timelines(request.left_timelines);
    v1::SearchSessionsResponse response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::SearchSessions, wire, &response,
                         options_.verify_ms_max));
    return wire::FromWire(response);
  }

  Result<std::vector<StepReuse>> Explain(const std::string& session,
                                         const std::string& turn) override {
    v1::ExplainSessionRequest wire;
    wire.set_name(turn.empty() ? wire::SessionName(session) : wire::TurnNameOf(session, turn));
    v1::ExplainSessionResponse response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::ExplainSession, wire, &response));
    return wire::FromWire(response);
  }

  Result<BackupReport> Backup(const std::string& path) override {
    v1::BackupRequest wire;
    wire.set_path(path);
    v1::BackupResponse response;
    RETURN_IF_ERROR(
        Call(admin_.get(), &v1::Admin::Stub::Backup, wire, &response, options_.verify_ms_max));
    return wire::FromWire(response);
  }

  Result<ExportView> ExportSession(const std::string& session, const std::string& path,
                                   const PortProgress& progress) override {
    v1::StartOperationRequest wire;
    wire.mutable_export_session()->set_name(wire::SessionName(session));
    wire.mutable_export_session()->set_path(path);
    v1::ExportSessionResponse response;
    RETURN_IF_ERROR(RunOperation(wire, progress, &response));
    return wire::FromWire(response);
  }

  Result<ImportView> ImportSession(const ImportRequest& request,
                                   const PortProgress& progress) override {
    RETURN_IF_ERROR(CheckTenant(request.tenant));
    v1::StartOperationRequest wire;
    wire::ToWire(request, wire.mutable_import_session());
    v1::ImportSessionResponse response;
    RETURN_IF_ERROR(RunOperation(wire, progress, &response));
    return wire::FromWire(response);
  }

  Result<std::vector<NoteView>> ListNotes(const ListNotesRequest& request,
                                          std::string* next_page_token) override {
    v1::ListNotesRequest wire;
    wire::ToWire(request, &wire);
    v1::ListNotesResponse response;
    RETURN_IF_ERROR(Call(admin_.get(), &v1::Admin::Stub::ListNotes, wire, &response));
    std::vector<NoteView> out;
    for (const v1::Note& note : response.notes()) {
      ASSIGN_OR_RETURN(NoteView view, wire::FromWire(note));
      out.push_back(std::move(view));
    }
    if (next_page_token != nullptr) *next_page_token = response.next_page_token();
    return out;
  }

  Result<NoteView> DeleteNote(const std::string& note) override {
    v1::DeleteNoteRequest wire;
    wire.set_name("notes/" + note);
    v1::Note response;
    RETURN_IF_ERROR(Call(admin_.get(), &v1::Admin::Stub::DeleteNote, wire, &response));
    return wire::FromWire(response);
  }

  Result<PruneView> PruneSessions(const PruneRequest& request) override {
    v1::PruneSessionsRequest wire;
    wire::ToWire(request, &wire);
    v1::PruneSessionsResponse response;
    RETURN_IF_ERROR(Call(admin_.get(), &v1::Admin::Stub::PruneSessions, wire, &response,
                         options_.verify_ms_max));
    return wire::FromWire(response);
  }

  Result<CompactReport> Compact() override {
    v1::CompactResponse response;
    RETURN_IF_ERROR(Call(admin_.get(), &v1::Admin::Stub::Compact, v1::CompactRequest(), &response,
                         options_.verify_ms_max));
    return wire::FromWire(response);
  }

  Result<TenantUsage> ReadTenant(const std::string& tenant) override {
    v1::GetTenantRequest wire;
    wire.set_name(wire::TenantNameOf(tenant));
    v1::Tenant response;
    RETURN_IF_ERROR(Call(admin_.get(), &v1::Admin::Stub::GetTenant, wire, &response));
    return wire::FromWire(response);
  }

  Result<VerifyReport> Verify(const std::string& session) override {
    v1::VerifySessionRequest wire;
    wire.set_name(session.empty() ? "sessions/-" : wire::SessionName(session));
    v1::VerifySessionResponse response;
    RETURN_IF_ERROR(Call(sessions_.get(), &v1::Sessions::Stub::VerifySession, wire, &response,
                         options_.verify_ms_max));
    return wire::FromWire(response);
  }

  Result<RuntimeStats> Stats() override {
    v1::Stats response;
    RETURN_IF_ERROR(
        Call(admin_.get(), &v1::Admin::Stub::GetStats, v1::GetStatsRequest(), &response));
    return wire::FromWire(response);
  }

 private:
  /// Starts the work and follows it to its end, however long that takes; `progress` may be empty.
  template <typename Response>
  Status RunOperation(const v1::StartOperationRequest& request, const PortProgress& progress,
                      Response* response) const {
    using google::longrunning::Operations;
    google::longrunning::Operation operation;
    RETURN_IF_ERROR(Call(admin_.get(), &v1::Admin::Stub::StartOperation, request, &operation));
    google::longrunning::WaitOperationRequest wait;
    wait.set_name(operation.name());
    wait.mutable_timeout()->set_nanos(kProgressMs * 1'000'000);
    while (!operation.done()) {
      v1::OperationMetadata metadata;
      const bool known = operation.metadata().UnpackTo(&metadata);
      if (known && progress && !metadata.cancel_requested() &&
          !progress(metadata.done(), metadata.total())) {
        google::longrunning::CancelOperationRequest cancel;
        cancel.set_name(operation.name());
        google::protobuf::Empty nothing;
        RETURN_IF_ERROR(
            Call(operations_.get(), &Operations::Stub::CancelOperation, cancel, &nothing));
      }
      operation.Clear();
      RETURN_IF_ERROR(Call(operations_.get(), &Operations::Stub::WaitOperation, wait, &operation));
      // A server where many wait answers at once.
      if (!operation.done()) std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
    }
    if (operation.has_error()) return wire::FromRpc(operation.error());
    if (operation.response().UnpackTo(response)) return OkStatus();
    return InternalError("the server answered an operation with another type of message");
  }

  /// Page after page, up to `max` (0: all). `entries` are those of a response.
  template <typename View, typename Message, typename Response, typename Request, typename Method,
            typename Entries>
  Result<std::vector<View>> ListPages(const Request& request, int64_t max, Method method,
                                      Entries entries) const {
    Message wire;
    wire::ToWire(request, &wire);
    std::vector<View> out;
    while (true) {
      Response response;
      RETURN_IF_ERROR(Call(approvals_.get(), method, wire, &response));
      for (const auto& entry : entries(response)) {
        if (max > 0 && std::ssize(out) == max) return out;
        ASSIGN_OR_RETURN(View view, wire::FromWire(entry));
        out.push_back(std::move(view));
      }
      if (response.next_page_token().empty() || (max > 0 && std::ssize(out) == max)) return out;
      wire.set_page_token(response.next_page_token());
    }
  }

  template <typename Message, typename Response, typename Request, typename Method>
  auto Change(const Request& request, Method method)
      -> decltype(wire::FromWire(std::declval<const Response&>())) {
    // A point that is both can't be said on the wire: what is set last would win.
    RETURN_IF_ERROR(CheckPointOf(request));
    Message wire;
    wire::ToWire(request, &wire);
    Response response;
    RETURN_IF_ERROR(Call(sessions_.get(), method, wire, &response));
    return wire::FromWire(response);
  }

  template <typename Stub, typename Method, typename Request, typename Response>
  Status Call(Stub* stub, Method method, const Request& request, Response* response,
              int64_t call_ms_max = 0) const {
    grpc::ClientContext context;
    const int64_t limit_ms = call_ms_max > 0 ? call_ms_max : options_.call_ms_max;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(limit_ms));
    return wire::FromGrpc((stub->*method)(&context, request, response));
  }

  const ConnectOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Sessions::Stub> sessions_;
  const std::unique_ptr<v1::Turns::Stub> turns_;
  const std::unique_ptr<v1::Approvals::Stub> approvals_;
  const std::unique_ptr<v1::Tools::Stub> tools_;
  const std::unique_ptr<v1::Models::Stub> models_;
  const std::unique_ptr<v1::Scripts::Stub> scripts_;
  const std::unique_ptr<v1::Admin::Stub> admin_;
  const std::unique_ptr<google::longrunning::Operations::Stub> operations_;
};

using Credentials = std::shared_ptr<grpc::ChannelCredentials>;  // gRPC's own handle

Result<Credentials> CredentialsFor(const std::string& address, const ConnectOptions& options) {
  Credentials channel;
  if (address.starts_with("unix:")) {
    if (options.token.empty()) return grpc::InsecureChannelCredentials();
    channel = grpc::experimental::LocalCredentials(UDS);  // gRPC sends tokens over these, too
  } else {
    grpc::SslCredentialsOptions tls;
    if (!options.ca_file.empty()) {
      ASSIGN_OR_RETURN(tls.pem_root_certs, ReadAuthorities(options.ca_file));
    }
    if (options.certificate_file.empty() != options.key_file.empty()) {
      return InvalidArgumentError("a client certificate and its key go together");
    }
    if (!options.certificate_file.empty()) {
      ASSIGN_OR_RETURN(TlsIdentity own,
                       ReadTlsIdentity(options.certificate_file, options.key_file));
      tls.pem_cert_chain = std::move(own.certificates);
      tls.pem_private_key = std::move(own.key);
    }
    channel = grpc::SslCredentials(tls);
  }
  if (options.token.empty()) return channel;
  return grpc::CompositeChannelCredentials(channel, grpc::AccessTokenCredentials(options.token));
}

/// Not WaitForConnected: it goes on trying when nobody listens, and the caller has another plan
/// then.
bool Connected(grpc::Channel& channel, int64_t connect_ms_max) {
  const auto deadline =
      std::chrono::system_clock::now() + std::chrono::milliseconds(connect_ms_max);
  grpc_connectivity_state state = channel.GetState(true);
  while (state == GRPC_CHANNEL_IDLE || state == GRPC_CHANNEL_CONNECTING) {
    if (!channel.WaitForStateChange(state, deadline)) break;
    state = channel.GetState(true);
  }
  return state == GRPC_CHANNEL_READY;
}

/// Why a connection didn't come about: only a call's error says.
Status WhyNot(const std::shared_ptr<grpc::Channel>& channel, const std::string& address) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
  v1::Stats ignored;
  const grpc::Status status =
      v1::Admin::NewStub(channel)->GetStats(&context, v1::GetStatsRequest(), &ignored);
  const std::string& why = status.error_message();
  if (why.find("andshake") != std::string::npos || why.find("Peer name") != std::string::npos) {
    return UnavailableError("'" + address.substr(0, 200) +
                                "' answers, but the TLS handshake failed: " + why.substr(0, 300),
                            "TLS_FAILED");
  }
  return UnavailableError(
      "no server answers on '" + address.substr(0, 200) + "'; is `baleen serve` running?",
      "NOT_LISTENING");
}

}  // namespace

Result<std::unique_ptr<Runtime>> ConnectRuntime(const std::string& address,
                                                const ConnectOptions& options) {
  if (address.find(':') == std::string::npos) {
    return InvalidArgumentError("server address: expected 'unix:PATH' or 'HOST:PORT', got '" +
                                address.substr(0, 80) + "'");
  }
  wire::KeepGrpcLoaded();
  ASSIGN_OR_RETURN(const Credentials credentials, CredentialsFor(address, options));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  // A Unix socket is never behind a proxy, and a token isn't for one.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Own connections: a global pool would let one caller's broken connection delay another's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto channel = grpc::CreateCustomChannel(address, credentials, arguments);
  if (!Connected(*channel, options.connect_ms_max)) return WhyNot(channel, address);
  return std::unique_ptr<Runtime>(std::make_unique<RemoteRuntime>(options, std::move(channel)));
}

}  // namespace baleen
