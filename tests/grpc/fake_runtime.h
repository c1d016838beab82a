// FakeRuntime: a scripted peer for tests of the transport only. It keeps sessions, events and calls
// in memory and thinks nothing; whatever it answers, the wire has to carry.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/runtime.h"

namespace baleen {

inline StartTurnRequest TurnOf(const std::string& session, const std::string& text) {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  return request;
}

class FakeRuntime final : public Runtime {
 public:
  // --- the script ---
  /// The next unary method answers this (once).
  void FailNext(Status status);
  /// Journals (seq > 0 is given out here) or, with live, just publishes.
  Event Publish(const std::string& session, const std::string& turn, const std::string& kind,
                const std::string& payload, bool live = false);
  /// Sends a call to the session's host; false: no host, or it is gone.
  bool CallTool(const std::string& session, const ToolCall& call);
  void CancelCall(const std::string& session, const std::string& call_id);
  void FinishTurn(const std::string& session, const std::string& turn, TurnState state,
                  const std::string& text, const Status& error = OkStatus());
  /// Ends every subscription.
  void EndWatches(const Status& status);
  /// Blocks until `done` holds under the lock; it is looked at after each change.
  void WaitUntil(const std::function<bool()>& done);
  /// Makes StartTurn call this (without the lock) before it answers.
  std::function<void(const TurnView&)> on_start_turn;
  std::function<void(const std::string& session, const ToolResult&)> on_result;

  // --- what was seen; read under WaitUntil or when quiet ---
  std::vector<CreateSessionRequest> created;
  std::vector<StartTurnRequest> started;
  std::vector<UpdateSessionRequest> updated;
  std::vector<ForkRequest> forked;
  std::map<std::string, TenantUsage> usage;  ///< By tenant; CreateSession counts there.
  std::vector<RewindRequest> rewound;
  std::vector<DeleteRequest> deleted;
  std::vector<SteerTurnRequest> steered;
  std::vector<ApprovalView> approvals;
  std::vector<ResolveApprovalRequest> resolved;
  std::vector<ListApprovalsRequest> approvals_asked;
  std::vector<GrantView> grants;
  std::vector<ListGrantsRequest> grants_asked;
  std::vector<RevokeGrantRequest> revoked;
  std::vector<DecisionView> decisions;
  std::map<std::string, ScriptView> scripts;
  /// What an export does before it answers; without a lock. Empty: nothing.
  std::function<Status(const std::string& path, const PortProgress& progress)> on_export;
  std::vector<ToolView> tools;
  std::string tools_asked = "-";
  std::vector<ModelView> models;
  std::vector<SearchRequest> searched;
  std::vector<PruneRequest> pruned;
  std::vector<SearchHit> hits;
  std::string explained;  ///< "session/turn"
  std::vector<StepReuse> steps;
  std::vector<ToolResult> results;
  std::string verified = "-";
  int watches = 0;  ///< Open ones.
  int watches_total = 0;
  int hosts = 0;               ///< Connected ones.
  int64_t refused_events = 0;  ///< OnEvent said false.
  TokenTrace trace;
  int64_t token_calls = 0;
  VerifyReport report;
  RuntimeStats stats;

  // --- Runtime ---
  Result<SessionView> CreateSession(const CreateSessionRequest& request) override;
  Result<SessionView> GetSession(const std::string& session) override;
  Result<std::vector<SessionView>> ListSessions(int64_t page_size, const std::string& page_token,
                                                std::string* next_page_token) override;
  Result<SessionView> UpdateSession(const UpdateSessionRequest& request) override;
  Result<SessionView> ForkSession(const ForkRequest& request) override;
  Result<RewindView> RewindSession(const RewindRequest& request) override;
  Result<DeleteView> DeleteSession(const DeleteRequest& request) override;
  Result<SessionView> PinSession(const std::string& session, bool pinned) override;
  Result<StepReuse> PrefetchSession(const std::string& session) override;
  Result<SessionView> ReleaseSession(const std::string& session) override;
  Result<TurnView> StartTurn(const StartTurnRequest& request) override;
  Result<TurnView> SteerTurn(const SteerTurnRequest& request) override;
  Result<TurnView> CancelTurn(const std::string& session, const std::string& turn) override;
  Result<TurnView> GetTurn(const std::string& session, const std::string& turn) override;
  Result<TurnView> WaitTurn(const std::string& session, const std::string& turn,
                            int64_t timeout_ms) override;
  Result<std::vector<ApprovalView>> ListApprovals(const ListApprovalsRequest& request) override;
  Result<ApprovalView> GetApproval(const std::string& session,
                                   const std::string& approval) override;
  Result<ApprovalView> ResolveApproval(const ResolveApprovalRequest& request) override;
  Result<std::vector<GrantView>> ListGrants(const ListGrantsRequest& request) override;
  Result<GrantView> RevokeGrant(const RevokeGrantRequest& request) override;
  Result<DecisionView> ExplainDecision(const std::string& session, const std::string& turn,
                                       const std::string& call) override;
  Result<std::vector<ToolView>> ListTools(const std::string& session) override;
  Result<std::vector<ModelView>> ListModels() override;
  Result<ScriptView> PutScript(const PutScriptRequest& request) override;
  Result<ScriptView> GetScript(const std::string& script) override;
  Result<std::vector<ScriptView>> ListScripts(int64_t scripts_max,
                                              const std::string& after) override;
  Status DeleteScript(const std::string& script) override;
  Result<std::unique_ptr<Subscription>> Watch(const WatchOptions& options,
                                              EventSubscriber* subscriber) override;
  Result<std::unique_ptr<ToolHostConnection>> ConnectToolHost(const std::string& session,
                                                              const std::vector<std::string>& tools,
                                                              ToolHostSink* sink) override;
  Result<TokenTrace> ReadTokens(const std::string& session, int64_t begin, int64_t count) override;
  Result<std::vector<SearchHit>> Search(const SearchRequest& request) override;
  Result<std::vector<StepReuse>> Explain(const std::string& session,
                                         const std::string& turn) override;
  Result<BackupReport> Backup(const std::string& path) override;
  Result<CompactReport> Compact() override;
  Result<PruneView> PruneSessions(const PruneRequest& request) override;
  Result<std::vector<NoteView>> ListNotes(const ListNotesRequest& request,
                                          std::string* next_page_token) override;
  Result<NoteView> DeleteNote(const std::string& note) override;
  Result<ExportView> ExportSession(const std::string& session, const std::string& path,
                                   const PortProgress& progress) override;
  Result<ImportView> ImportSession(const ImportRequest& request,
                                   const PortProgress& progress) override;
  Result<TenantUsage> ReadTenant(const std::string& tenant) override;
  Result<VerifyReport> Verify(const std::string& session) override;
  Result<RuntimeStats> Stats() override;

 private:
  struct Session {
    SessionView view;
    std::vector<Event> events;
    std::map<std::string, TurnView> turns;
    ToolHostSink* sink = nullptr;
    std::set<std::string> open_calls;
  };
  class FakeSubscription;
  class FakeHost;

  Status TakeFailure();
  Result<Session*> Find(const std::string& session);

  std::recursive_mutex mutex_;  ///< Held during callbacks, as the real control thread is.
  std::condition_variable_any changed_;
  Status failure_;
  std::map<std::string, Session> sessions_;
  std::set<FakeSubscription*> subscriptions_;
};

}  // namespace baleen
