// LocalRuntime: the threads of an in-process runtime, and the blocking calls that hosts make.
//
// Split by room: local_runtime.cc (opening, closing, the verbs of sessions), local_upkeep.cc (the
// stores as wholes: claims, counts, checks, backups), local_scripts.cc (scripts under names). Used
// through Runtime (runtime/runtime.h).
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "model/model.h"
#include "runtime/clock.h"
#include "runtime/engine/engine.h"
#include "runtime/http_tools/script_requests.h"
#include "runtime/runtime.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/note_book.h"
#include "runtime/sessions/outside_tools.h"
#include "runtime/sessions/retention.h"
#include "runtime/sessions/search.h"
#include "runtime/sessions/session_export.h"
#include "runtime/sessions/tenant_counter.h"
#include "runtime/store/data_directory.h"
#include "runtime/store/file_history.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/kv_upkeep.h"
#include "runtime/store/script_shelf.h"
#include "runtime/store/search_index.h"
#include "runtime/worker.h"
#include "runtime/workspace/worktrees.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// Threads: any, but for Open and the end.
class LocalRuntime final : public Runtime {
 public:
  static Result<std::unique_ptr<Runtime>> Open(const RuntimeOptions& options);
  ~LocalRuntime() override;

  Result<SessionView> CreateSession(const CreateSessionRequest& request) override {
    // On the caller's thread: servers may have to be asked, and a script read.
    ASSIGN_OR_RETURN(const std::vector<ToolSpec> outside, OutsideSpecs());
    ASSIGN_OR_RETURN(const CreateSessionRequest whole, WithScript(request));
    return Ask<SessionView>([&](auto done) { control_->CreateSession(whole, outside, done); });
  }
  Result<SessionView> GetSession(const std::string& session) override {
    return Ask<SessionView>([&](auto done) { control_->GetSession(session, done); });
  }
  Result<std::vector<SessionView>> ListSessions(int64_t page_size, const std::string& page_token,
                                                std::string* next_page_token) override;
  Result<SessionView> UpdateSession(const UpdateSessionRequest& request) override {
    return Ask<SessionView>([&](auto done) { control_->UpdateSession(request, done); });
  }
  Result<SessionView> ForkSession(const ForkRequest& request) override {
    return Ask<SessionView>([&](auto done) { control_->ForkSession(request, done); });
  }
  Result<RewindView> RewindSession(const RewindRequest& request) override {
    return Ask<RewindView>([&](auto done) { control_->RewindSession(request, done); });
  }
  Result<DeleteView> DeleteSession(const DeleteRequest& request) override {
    return Ask<DeleteView>([&](auto done) { control_->DeleteSession(request, done); });
  }
  Result<SessionView> PinSession(const std::string& session, bool pinned) override {
    return Ask<SessionView>([&](auto done) { control_->PinSession(session, pinned, done); });
  }
  Result<StepReuse> PrefetchSession(const std::string& session) override {
    return Ask<StepReuse>([&](auto done) { control_->PrefetchSession(session, done); });
  }
  Result<SessionView> ReleaseSession(const std::string& session) override {
    ASSIGN_OR_RETURN(SessionView view,
                     Ask<SessionView>([&](auto done) { control_->ReleaseSession(session, done); }));
    SettleKv();
    return view;
  }
  Result<TurnView> StartTurn(const StartTurnRequest& request) override {
    return Ask<TurnView>([&](auto done) { control_->StartTurn(request, done); });
  }
  Result<TurnView> SteerTurn(const SteerTurnRequest& request) override {
    return Ask<TurnView>([&](auto done) { control_->SteerTurn(request, done); });
  }
  Result<TurnView> CancelTurn(const std::string& session, const std::string& turn) override {
    return Ask<TurnView>([&](auto done) { control_->CancelTurn(session, turn, done); });
  }
  Result<TurnView> GetTurn(const std::string& session, const std::string& turn) override {
    return Ask<TurnView>([&](auto done) { control_->GetTurn(session, turn, done); });
  }
  Result<TurnView> WaitTurn(const std::string& session, const std::string& turn,
                            int64_t timeout_ms) override;
  Result<std::vector<ApprovalView>> ListApprovals(const ListApprovalsRequest& request) override {
    return Ask<std::vector<ApprovalView>>(
        [&](auto done) { control_->ListApprovals(request, done); });
  }
  Result<ApprovalView> GetApproval(const std::string& session,
                                   const std::string& approval) override {
    return Ask<ApprovalView>([&](auto done) { control_->GetApproval(session, approval, done); });
  }
  Result<ApprovalView> ResolveApproval(const ResolveApprovalRequest& request) override {
    return Ask<ApprovalView>([&](auto done) { control_->ResolveApproval(request, done); });
  }
  Result<std::vector<GrantView>> ListGrants(const ListGrantsRequest& request) override {
    return Ask<std::vector<GrantView>>([&](auto done) { control_->ListGrants(request, done); });
  }
  Result<DecisionView> ExplainDecision(const std::string& session, const std::string& turn,
                                       const std::string& call) override {
    return Ask<DecisionView>(
        [&](auto done) { control_->ExplainDecision(session, turn, call, done); });
  }
  Result<GrantView> RevokeGrant(const RevokeGrantRequest& request) override {
    return Ask<GrantView>([&](auto done) { control_->RevokeGrant(request, done); });
  }
  Result<std::vector<ToolView>> ListTools(const std::string& session) override {
    std::vector<ToolSpec> outside;
    if (session.empty()) {
      ASSIGN_OR_RETURN(outside, OutsideSpecs());
    }
    return Ask<std::vector<ToolView>>(
        [&](auto done) { control_->ListTools(session, outside, done); });
  }
  Result<ScriptView> PutScript(const PutScriptRequest& request) override;
  Result<ScriptView> GetScript(const std::string& script) override;
  Result<std::vector<ScriptView>> ListScripts(int64_t scripts_max,
                                              const std::string& after) override;
  Status DeleteScript(const std::string& script) override { return scripts_->Delete(script); }
  Result<std::vector<ModelView>> ListModels() override;
  Result<std::unique_ptr<Subscription>> Watch(const WatchOptions& options,
                                              EventSubscriber* subscriber) override;
  Result<std::unique_ptr<ToolHostConnection>> ConnectToolHost(const std::string& session,
                                                              const std::vector<std::string>& tools,
                                                              ToolHostSink* sink) override;
  Result<TokenTrace> ReadTokens(const std::string& session, int64_t begin, int64_t count) override {
    return Ask<TokenTrace>([&](auto done) { control_->ReadTokens(session, begin, count, done); });
  }
  Result<std::vector<SearchHit>> Search(const SearchRequest& request) override;
  Result<std::vector<NoteView>> ListNotes(const ListNotesRequest& request,
                                          std::string* next_page_token) override;
  Result<NoteView> DeleteNote(const std::string& note) override;
  Result<std::vector<StepReuse>> Explain(const std::string& session,
                                         const std::string& turn) override;
  Result<BackupReport> Backup(const std::string& path) override;
  Result<CompactReport> Compact() override;
  Result<ExportView> ExportSession(const std::string& session, const std::string& path,
                                   const PortProgress& progress) override;
  Result<ImportView> ImportSession(const ImportRequest& request,
                                   const PortProgress& progress) override;
  Result<PruneView> PruneSessions(const PruneRequest& request) override;
  Result<TenantUsage> ReadTenant(const std::string& tenant) override;
  Result<VerifyReport> Verify(const std::string& session) override;
  Result<RuntimeStats> Stats() override;

  /// Runs `work` on the control thread and waits for it. false: the runtime is closing; not run.
  bool OnControl(const std::function<void()>& work) {
    std::promise<void> ran;
    const bool posted = control_->Post([&] {
      work();
      ran.set_value();
    });
    if (posted) ran.get_future().wait();
    return posted;
  }
  ControlLoop& control() { return *control_; }

  template <typename T, typename Request>
  Result<T> Ask(const Request& request) {
    // Owners: this caller and the answer, which may come after other work of the control thread.
    auto promise = std::make_shared<std::promise<Result<T>>>();
    auto future = promise->get_future();
    const bool posted = OnControl([&] {
      request(Answer<T>([promise](Result<T> result) { promise->set_value(std::move(result)); }));
    });
    if (!posted) return UnavailableError("the runtime is closing", "DRAINING");
    future.wait();
    try {
      return future.get();
    } catch (const std::future_error&) {  // the answer was dropped: nobody runs it any more
      return UnavailableError("the runtime is closing", "DRAINING");
    }
  }

 private:
  /// Of tools that new sessions have from plugins and servers, which may have to be asked.
  Result<std::vector<ToolSpec>> OutsideSpecs() {
    ASSIGN_OR_RETURN(const OutsideToolList list, outside_->Ask());
    std::vector<ToolSpec> specs;
    for (const OutsideTool& tool : list.tools) specs.push_back(tool.spec);
    return specs;
  }
  LocalRuntime() = default;

  // local_scripts.cc
  /// The request with the text of its stored script.
  Result<CreateSessionRequest> WithScript(const CreateSessionRequest& request) const;

  // local_runtime.cc
  /// The KV store is a cache: one that can't be read is replaced by an empty one, and that is
  /// noted.
  Status OpenKvStore(const KvStoreOptions& options);
  KvScope Scope() const { return {model_->fingerprint(), model_->arithmetic_id(), "default"}; }
  /// A connection of the caller's own: long reads must not hold up the control thread.
  Result<std::unique_ptr<Journal>> OpenReader() const;

  /// Of a session as the journal has it; "": none.
  std::string WorkspaceOf(const std::string& session) const;
  Result<PortParts> MakePortParts(const PortProgress& progress) const;

  // local_upkeep.cc
  /// What every session's timelines and the live sequences need of the KV store.
  Result<std::vector<KvClaim>> Claims(const KvClaimant& claimant);
  Status CountTimelines(RuntimeStats* stats) const;
  /// All sessions as retention sees them; their bytes only if it has a limit for them.
  Result<std::vector<RetentionCandidate>> Candidates(bool with_bytes);
  /// The history of files forgets sessions that are gone.
  void SweepFileHistory();
  /// Removes those of deleted sessions, and of forks that were never made.
  void SweepWorktrees();
  /// Names of the worktrees that sessions work in.
  Result<std::set<std::string>> WorkedIn(Journal& journal) const;
  /// What the options' limits say, and tells of it.
  void EnforceRetention();
  /// Returns once the KV store has what turns that ended and sessions that were released before
  /// this call leave in it: the KV thread writes it behind them. Who looks at the store as a whole
  /// calls this first; else an export would lack blocks, and a sweep take them for new ones.
  void SettleKv();

  RuntimeOptions options_;
  Clock clock_;
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<Journal> writer_;
  std::unique_ptr<Journal> reader_;
  std::unique_ptr<KvStore> kv_;
  std::unique_ptr<ScriptShelf> scripts_;
  std::unique_ptr<FileHistory> file_history_;
  std::unique_ptr<Worktrees> worktrees_;
  std::unique_ptr<NoteBook> notes_book_;
  std::mutex search_mutex_;
  // Guarded by search_mutex_; opened by the first search.
  std::unique_ptr<SearchIndex> search_index_;
  std::unique_ptr<SessionSearch> search_;
  std::mutex tenants_mutex_;
  std::unique_ptr<TenantCounter> tenants_;  // guarded by tenants_mutex_; made by the first question
  std::vector<std::string> notes_;          // what Open found and mended
  std::unique_ptr<Model> model_;
  std::vector<std::unique_ptr<Tool>> builtins_, optional_tools_;
  std::unique_ptr<Redactor> redactor_;  // before whoever borrows it
  std::unique_ptr<OutsideTools> outside_;
  std::unique_ptr<ScriptRequests> script_requests_;
  std::unique_ptr<Worker> journal_worker_;
  std::unique_ptr<Worker> kv_worker_;  // apart: a flush of KV must not delay a token's commit
  std::unique_ptr<Worker> pool_;
  std::unique_ptr<Worker> outside_pool_;
  std::unique_ptr<ControlLoop> control_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<RemoteEngine> remote_;
  /// By timeline and first token, from the last upkeep; one run at a time.
  std::map<std::pair<int64_t, int64_t>, KvChain> chains_;
  std::mutex prune_mutex_;  // one run at a time; the sizes are its
  struct TimelineSize {
    int64_t last_seq = 0;
    int64_t tokens = 0;
    int64_t bytes = 0;
  };
  std::map<int64_t, TimelineSize> sizes_;  // by timeline; guarded by prune_mutex_
  std::unique_ptr<KvUpkeep> upkeep_;       // its thread asks the control thread and the engine
  std::thread control_thread_;
};

}  // namespace baleen
