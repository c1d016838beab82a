#include "tests/grpc/fake_runtime.h"

#include <algorithm>
#include <utility>

namespace baleen {
namespace {
using Lock = std::unique_lock<std::recursive_mutex>;
}  // namespace

class FakeRuntime::FakeSubscription final : public Subscription {
 public:
  FakeSubscription(FakeRuntime* runtime, WatchOptions options, EventSubscriber* subscriber)
      : runtime_(runtime), options_(std::move(options)), subscriber_(subscriber) {
    runtime_->subscriptions_.insert(this);
    ++runtime_->watches;
    ++runtime_->watches_total;
    runtime_->changed_.notify_all();
  }
  ~FakeSubscription() override {
    const Lock lock(runtime_->mutex_);
    runtime_->subscriptions_.erase(this);
    --runtime_->watches;
    runtime_->changed_.notify_all();
  }
  void Deliver(const Event& event) {
    if (ended_ || event.session != options_.session || (event.seq == 0 && !options_.live)) return;
    if (subscriber_->OnEvent(event)) return;
    ++runtime_->refused_events;
    End(ResourceExhaustedError("slow", "SLOW_CONSUMER"));
  }
  void End(const Status& status) {
    if (std::exchange(ended_, true)) return;
    subscriber_->OnEnd(status);
  }

 private:
  FakeRuntime* const runtime_;
  const WatchOptions options_;
  EventSubscriber* const subscriber_;
  bool ended_ = false;
};

class FakeRuntime::FakeHost final : public ToolHostConnection {
 public:
  FakeHost(FakeRuntime* runtime, Session* session, ToolHostSink* sink)
      : runtime_(runtime), session_(session), sink_(sink) {
    session_->sink = sink;
    ++runtime_->hosts;
    runtime_->changed_.notify_all();
  }
  ~FakeHost() override {
    const Lock lock(runtime_->mutex_);
    if (session_->sink == sink_) session_->sink = nullptr;
    --runtime_->hosts;
    runtime_->changed_.notify_all();
  }
  Status SubmitResult(const std::string& session, const ToolResult& result) override {
    {
      const Lock lock(runtime_->mutex_);
      if (session_->open_calls.erase(result.call_id) == 0) {
        return NotFoundError("call '" + result.call_id + "' is not open", "CALL_UNKNOWN");
      }
      runtime_->results.push_back(result);
      runtime_->changed_.notify_all();
    }
    if (runtime_->on_result) runtime_->on_result(session, result);
    return OkStatus();
  }

 private:
  FakeRuntime* const runtime_;
  Session* const session_;
  ToolHostSink* const sink_;
};

void FakeRuntime::FailNext(Status status) {
  const Lock lock(mutex_);
  failure_ = std::move(status);
}

Status FakeRuntime::TakeFailure() { return std::exchange(failure_, OkStatus()); }

Result<FakeRuntime::Session*> FakeRuntime::Find(const std::string& session) {
  RETURN_IF_ERROR(TakeFailure());
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) {
    return NotFoundError("session '" + session + "' does not exist", "SESSION_UNKNOWN");
  }
  return &it->second;
}

Event FakeRuntime::Publish(const std::string& session, const std::string& turn,
                           const std::string& kind, const std::string& payload, bool live) {
  const Lock lock(mutex_);
  Session& own = sessions_.at(session);
  Event event{session, turn, kind, payload, own.view.head_cursor, 0, 1'700'000'000'123};
  if (!live) {
    event.seq = static_cast<int64_t>(own.events.size()) + 1;
    event.cursor = session + ":" + std::to_string(event.seq);
    own.view.head_cursor = event.cursor;
    own.events.push_back(event);
  }
  for (FakeSubscription* subscription : subscriptions_) subscription->Deliver(event);
  changed_.notify_all();
  return event;
}

bool FakeRuntime::CallTool(const std::string& session, const ToolCall& call) {
  const Lock lock(mutex_);
  Session& own = sessions_.at(session);
  own.open_calls.insert(call.id);
  return own.sink != nullptr && own.sink->OnCall(session, call, 1234);
}

void FakeRuntime::CancelCall(const std::string& session, const std::string& call_id) {
  const Lock lock(mutex_);
  Session& own = sessions_.at(session);
  own.open_calls.erase(call_id);
  if (own.sink != nullptr) own.sink->OnCancel(session, call_id);
}

void FakeRuntime::FinishTurn(const std::string& session, const std::string& turn, TurnState state,
                             const std::string& text, const Status& error) {
  const Lock lock(mutex_);
  Session& own = sessions_.at(session);
  TurnView& view = own.turns.at(turn);
  view.state = state;
  view.text = text;
  view.error = error;
  own.view.open_turn.clear();
  own.view.state = SessionState::kIdle;
  Publish(session, turn, "turn_finished", "{\"text\":\"" + text + "\"}");
}

void FakeRuntime::EndWatches(const Status& status) {
  const Lock lock(mutex_);
  for (FakeSubscription* subscription : subscriptions_) subscription->End(status);
}

void FakeRuntime::WaitUntil(const std::function<bool()>& done) {
  Lock lock(mutex_);
  changed_.wait(lock, done);
}

Result<SessionView> FakeRuntime::CreateSession(const CreateSessionRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  created.push_back(request);
  std::string id = request.session;
  if (id.empty()) id.append("s").append(std::to_string(sessions_.size() + 1));
  if (sessions_.count(id) > 0) return AlreadyExistsError("session '" + id + "' exists");
  Session& own = sessions_[id];
  own.view.session = id;
  own.view.settings = request.settings;
  own.view.tenant = request.tenant;
  if (!request.tenant.empty()) ++usage[request.tenant].sessions;
  own.view.created_ms = 1'600'000'000'001;
  own.view.updated_ms = -1;  // before 1970: the conversion has to round the right way
  Publish(id, "", "session_created", "{}");
  return own.view;
}

Result<SessionView> FakeRuntime::GetSession(const std::string& session) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(session));
  return own->view;
}

Result<std::vector<SessionView>> FakeRuntime::ListSessions(int64_t page_size,
                                                           const std::string& page_token,
                                                           std::string* next_page_token) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  std::vector<SessionView> out;
  for (auto it = sessions_.upper_bound(page_token); it != sessions_.end(); ++it) {
    if (static_cast<int64_t>(out.size()) == page_size) {
      *next_page_token = out.back().session;
      return out;
    }
    out.push_back(it->second.view);
  }
  next_page_token->clear();
  return out;
}

Result<SessionView> FakeRuntime::UpdateSession(const UpdateSessionRequest& request) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(request.session));
  updated.push_back(request);
  own->view.settings.title = request.settings.title;
  return own->view;
}

Result<TenantUsage> FakeRuntime::ReadTenant(const std::string& tenant) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  return usage[tenant];
}

Result<SessionView> FakeRuntime::ForkSession(const ForkRequest& request) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(request.session));
  forked.push_back(request);
  Session& fork = sessions_[request.fork];
  fork.view = own->view;
  fork.view.session = request.fork;
  fork.view.parent = request.session;
  if (!request.tenant.empty()) ++usage[request.tenant].sessions;
  return fork.view;
}

Result<RewindView> FakeRuntime::RewindSession(const RewindRequest& request) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(request.session));
  rewound.push_back(request);
  RewindView view{own->view, 3, 400, 5, own->view.timeline, {}, {}};
  if (request.scope != RewindScope::kConversation) {
    view.files = {{"a/ä.txt", FileAction::kRecreate, ""}, {"b", FileAction::kNotKept, "too large"}};
    view.notes = {"not commands"};
  }
  if (!request.validate_only) view.session.timeline = ++own->view.timeline;
  return view;
}

Result<DeleteView> FakeRuntime::DeleteSession(const DeleteRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(Find(request.session).status());
  deleted.push_back(request);
  if (!request.validate_only) sessions_.erase(request.session);
  return DeleteView{request.session, 100, 7, 2, 1};
}

Result<SessionView> FakeRuntime::PinSession(const std::string& session, bool pinned) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(session));
  own->view.pinned = pinned;
  return own->view;
}

Result<StepReuse> FakeRuntime::PrefetchSession(const std::string& session) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(Find(session).status());
  return StepReuse{"", 0, 300, 100, 150, 49, 1, 0, 4096, 2.5, 3.5, {"cold"}};
}

Result<SessionView> FakeRuntime::ReleaseSession(const std::string& session) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(session));
  return own->view;
}

Result<TurnView> FakeRuntime::StartTurn(const StartTurnRequest& request) {
  TurnView view;
  {
    const Lock lock(mutex_);
    ASSIGN_OR_RETURN(Session * own, Find(request.session));
    started.push_back(request);
    view.session = request.session;
    view.turn = std::string("t").append(std::to_string(own->turns.size() + 1));
    view.tokens_reused_ram = 1;
    view.tokens_reused_disk = 2;
    view.tokens_recomputed = 3;
    view.tokens_prefilled = 4;
    view.tokens_generated = 5;
    own->turns[view.turn] = view;
    own->view.open_turn = view.turn;
    own->view.state = SessionState::kRunning;
    ++own->view.turns;
    Publish(request.session, view.turn, "turn_started", "{}");
  }
  if (on_start_turn) on_start_turn(view);
  return view;
}

Result<TurnView> FakeRuntime::SteerTurn(const SteerTurnRequest& request) {
  const Lock lock(mutex_);
  steered.push_back(request);
  return GetTurn(request.session, request.turn);
}

Result<TurnView> FakeRuntime::CancelTurn(const std::string& session, const std::string& turn) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(GetTurn(session, turn).status());
  FinishTurn(session, turn, TurnState::kCancelled, "");
  return GetTurn(session, turn);
}

Result<std::vector<ApprovalView>> FakeRuntime::ListApprovals(const ListApprovalsRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  approvals_asked.push_back(request);
  std::vector<ApprovalView> found;
  bool behind = request.after.empty();
  for (const ApprovalView& view : approvals) {
    if (!request.session.empty() && view.session != request.session) continue;
    if (!request.resolved && view.state != ApprovalState::kPending) continue;
    const bool full = request.approvals_max > 0 && std::ssize(found) == request.approvals_max;
    if (behind && !full) found.push_back(view);
    behind = behind || view.session + "/" + view.approval == request.after;
  }
  return found;
}

Result<std::vector<GrantView>> FakeRuntime::ListGrants(const ListGrantsRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  grants_asked.push_back(request);
  std::vector<GrantView> found;
  bool behind = request.after.empty();
  for (const GrantView& view : grants) {
    const bool full = request.grants_max > 0 && std::ssize(found) == request.grants_max;
    if (behind && !full) found.push_back(view);
    behind = behind || view.session + "/" + view.approval == request.after;
  }
  return found;
}

Result<GrantView> FakeRuntime::RevokeGrant(const RevokeGrantRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  revoked.push_back(request);
  for (const GrantView& view : grants) {
    if (view.session == request.session && view.approval == request.approval) return view;
  }
  return NotFoundError("grant '" + request.approval + "'", "ITEM_UNKNOWN");
}

Result<DecisionView> FakeRuntime::ExplainDecision(const std::string& session,
                                                  const std::string& turn,
                                                  const std::string& call) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  for (const DecisionView& view : decisions) {
    if (view.session == session && view.turn == turn && view.call == call) return view;
  }
  return NotFoundError("call '" + call + "'", "ITEM_UNKNOWN");
}

Result<std::vector<ToolView>> FakeRuntime::ListTools(const std::string& session) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  tools_asked = session;
  return tools;
}

Result<std::vector<ModelView>> FakeRuntime::ListModels() {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  return models;
}

Result<ScriptView> FakeRuntime::PutScript(const PutScriptRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  ScriptView view{request.script,
                  request.source,
                  std::ssize(request.source),
                  1'700'000'000'001,
                  {{3, "a note"}}};
  if (!request.validate_only) scripts[request.script] = view;
  return view;
}

Result<ScriptView> FakeRuntime::GetScript(const std::string& script) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  const auto found = scripts.find(script);
  if (found == scripts.end()) return NotFoundError("script '" + script + "'", "SCRIPT_UNKNOWN");
  return found->second;
}

Result<std::vector<ScriptView>> FakeRuntime::ListScripts(int64_t scripts_max,
                                                         const std::string& after) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  std::vector<ScriptView> views;
  for (const auto& [name, view] : scripts) {
    if (name > after && std::ssize(views) < scripts_max) views.push_back(view);
  }
  return views;
}

Status FakeRuntime::DeleteScript(const std::string& script) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  if (scripts.erase(script) != 0) return OkStatus();
  return NotFoundError("script '" + script + "'", "SCRIPT_UNKNOWN");
}

Result<ApprovalView> FakeRuntime::GetApproval(const std::string& session,
                                              const std::string& approval) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  for (const ApprovalView& view : approvals) {
    if (view.session == session && view.approval == approval) return view;
  }
  return NotFoundError("approval '" + approval + "'", "ITEM_UNKNOWN");
}

Result<ApprovalView> FakeRuntime::ResolveApproval(const ResolveApprovalRequest& request) {
  const Lock lock(mutex_);
  resolved.push_back(request);
  ASSIGN_OR_RETURN(ApprovalView view, GetApproval(request.session, request.approval));
  view.state = request.grant ? ApprovalState::kGranted : ApprovalState::kDenied;
  view.scope = request.scope;
  view.granted_calls = request.calls;
  view.resolved_by = request.resolved_by;
  view.reason = request.reason;
  view.resolved_ms = 1'700'000'000'000;
  return view;
}

Result<TurnView> FakeRuntime::GetTurn(const std::string& session, const std::string& turn) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(session));
  const auto it = own->turns.find(turn);
  if (it == own->turns.end()) return NotFoundError("turn '" + turn + "'", "ITEM_UNKNOWN");
  return it->second;
}

Result<TurnView> FakeRuntime::WaitTurn(const std::string& /*session*/, const std::string& /*turn*/,
                                       int64_t /*timeout_ms*/) {
  return UnimplementedError("not on the wire: the client waits by watching");
}

Result<std::unique_ptr<Subscription>> FakeRuntime::Watch(const WatchOptions& options,
                                                         EventSubscriber* subscriber) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(options.session));
  size_t next = 0;
  if (!options.after.empty()) {
    const std::string prefix = options.session + ":";
    if (!options.after.starts_with(prefix)) {
      return InvalidArgumentError("cursor '" + options.after + "' is of another session");
    }
    next = static_cast<size_t>(std::atoll(options.after.c_str() + prefix.size()));
    if (next > own->events.size()) return OutOfRangeError("cursor too new", "CURSOR_EXPIRED");
  }
  auto subscription = std::make_unique<FakeSubscription>(this, options, subscriber);
  for (; next < own->events.size(); ++next) subscription->Deliver(own->events[next]);
  return std::unique_ptr<Subscription>(std::move(subscription));
}

Result<std::unique_ptr<ToolHostConnection>> FakeRuntime::ConnectToolHost(
    const std::string& session, const std::vector<std::string>& /*tools*/, ToolHostSink* sink) {
  const Lock lock(mutex_);
  ASSIGN_OR_RETURN(Session * own, Find(session));
  return std::unique_ptr<ToolHostConnection>(std::make_unique<FakeHost>(this, own, sink));
}

Result<TokenTrace> FakeRuntime::ReadTokens(const std::string& session, int64_t begin,
                                           int64_t count) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(Find(session).status());
  ++token_calls;
  const auto total = static_cast<int64_t>(trace.ids.size());
  const int64_t from = std::min(begin, total);
  const int64_t to = std::min(begin + count, total);
  TokenTrace out;
  out.begin = begin;
  out.ids.assign(trace.ids.begin() + from, trace.ids.begin() + to);
  if (!trace.logits_hashes.empty()) {
    out.logits_hashes.assign(trace.logits_hashes.begin() + from, trace.logits_hashes.begin() + to);
  }
  return out;
}

Result<std::vector<SearchHit>> FakeRuntime::Search(const SearchRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  searched.push_back(request);
  return hits;
}

Result<std::vector<StepReuse>> FakeRuntime::Explain(const std::string& session,
                                                    const std::string& turn) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(Find(session).status());
  explained = session + "/" + turn;
  return steps;
}

Result<BackupReport> FakeRuntime::Backup(const std::string& path) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  return BackupReport{path, 4096};
}

Result<PruneView> FakeRuntime::PruneSessions(const PruneRequest& request) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  pruned.push_back(request);
  return PruneView{{{"old", 1'600'000'000'123, 7, "not used"}}, 20, 13};
}

Result<std::vector<NoteView>> FakeRuntime::ListNotes(const ListNotesRequest& request,
                                                     std::string* next_page_token) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  *next_page_token = request.page_token + "9";
  return std::vector<NoteView>{
      {"n7", request.workspace, "old", 1'600'000'000'123, std::to_string(request.page_size)}};
}

Result<NoteView> FakeRuntime::DeleteNote(const std::string& note) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  return NoteView{note, "/w", "old", 1, "gone"};
}

Result<CompactReport> FakeRuntime::Compact() {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  return CompactReport{9, 3, 8, 2};
}

Result<ExportView> FakeRuntime::ExportSession(const std::string& session, const std::string& path,
                                              const PortProgress& progress) {
  ASSIGN_OR_RETURN(const SessionView found, GetSession(session));
  if (on_export) RETURN_IF_ERROR(on_export(path, progress));
  return ExportView{path, 1, 2, found.tokens, 3, 4, 5, {"a note"}};
}

Result<ImportView> FakeRuntime::ImportSession(const ImportRequest& request,
                                              const PortProgress& /*progress*/) {
  CreateSessionRequest create;
  create.session = request.session;
  create.settings.workspace = request.workspace;
  create.tenant = request.tenant;
  ImportView view;
  ASSIGN_OR_RETURN(view.session, CreateSession(create));
  view.events = 1;
  view.tokens = 2;
  view.blocks = 3;
  view.checkpoints = 4;
  view.kv_taken = request.trust_kv;
  view.notes = {request.path, request.request_id};
  return view;
}

Result<VerifyReport> FakeRuntime::Verify(const std::string& session) {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  verified = session;
  return report;
}

Result<RuntimeStats> FakeRuntime::Stats() {
  const Lock lock(mutex_);
  RETURN_IF_ERROR(TakeFailure());
  return stats;
}

}  // namespace baleen
