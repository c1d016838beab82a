// LocalRuntime: the threads of an in-process runtime, and the blocking calls that hosts make.
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "model/model.h"
#include "model/text/tokenizer.h"
#include "runtime/clock.h"
#include "runtime/default_model.h"
#include "runtime/engine/engine.h"
#include "runtime/runtime.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/search.h"
#include "runtime/sessions/session_import.h"
#include "runtime/store/data_directory.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/kv_upkeep.h"
#include "runtime/store/search_index.h"
#include "runtime/worker.h"
#include "tools_sdk/builtin/builtin.h"

namespace baleen {
namespace {

/// Jobs that may wait for a storage thread before the engine is held back.
constexpr size_t kStorageQueueLimit = 64;
constexpr size_t kPoolQueueLimit = 1024;
constexpr int64_t kTimelinesPage = 256;

class LocalRuntime;

class LocalSubscription final : public Subscription {
 public:
  LocalSubscription(LocalRuntime* runtime, std::string session, uint64_t id)
      : runtime_(runtime), session_(std::move(session)), id_(id) {}
  ~LocalSubscription() override;

 private:
  LocalRuntime* runtime_;
  std::string session_;
  uint64_t id_;
};

class LocalHostConnection final : public ToolHostConnection {
 public:
  LocalHostConnection(LocalRuntime* runtime, std::string session, uint64_t id)
      : runtime_(runtime), session_(std::move(session)), id_(id) {}
  ~LocalHostConnection() override;
  Status SubmitResult(const std::string& session, const ToolResult& result) override;

 private:
  LocalRuntime* runtime_;
  std::string session_;
  uint64_t id_;
};

class LocalRuntime final : public Runtime {
 public:
  static Result<std::unique_ptr<Runtime>> Open(const RuntimeOptions& options);
  ~LocalRuntime() override;

  Result<SessionView> CreateSession(const CreateSessionRequest& request) override {
    return Ask<SessionView>([&](auto done) { control_->CreateSession(request, done); });
  }
  Result<SessionView> GetSession(const std::string& session) override {
    return Ask<SessionView>([&](auto done) { control_->GetSession(session, done); });
  }
  Result<std::vector<SessionView>> ListSessions(int64_t page_size, const std::string& page_token,
                                                std::string* next_page_token) override;
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
  Result<std::unique_ptr<Subscription>> Watch(const WatchOptions& options,
                                              EventSubscriber* subscriber) override;
  Result<std::unique_ptr<ToolHostConnection>> ConnectToolHost(const std::string& session,
                                                              const std::vector<std::string>& tools,
                                                              ToolHostSink* sink) override;
  Result<TokenTrace> ReadTokens(const std::string& session, int64_t begin, int64_t count) override {
    return Ask<TokenTrace>([&](auto done) { control_->ReadTokens(session, begin, count, done); });
  }
  Result<std::vector<SearchHit>> Search(const SearchRequest& request) override;
  Result<std::vector<StepReuse>> Explain(const std::string& session,
                                         const std::string& turn) override;
  Result<BackupReport> Backup(const std::string& path) override;
  Result<CompactReport> Compact() override;
  Result<ExportView> ExportSession(const std::string& session, const std::string& path,
                                   const PortProgress& progress) override;
  Result<ImportView> ImportSession(const ImportRequest& request,
                                   const PortProgress& progress) override;
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
    return future.get();
  }

 private:
  LocalRuntime() = default;

  /// The KV store is a cache: one that can't be read is replaced by an empty one, and that is
  /// noted.
  Status OpenKvStore(const KvStoreOptions& options);
  KvScope Scope() const { return {model_->fingerprint(), model_->arithmetic_id(), "default"}; }
  /// What every session's timelines and the live sequences need of the KV store.
  Result<std::vector<KvClaim>> Claims(const KvClaimant& claimant);
  Status CountTimelines(RuntimeStats* stats) const;
  /// A connection of the caller's own: long reads must not hold up the control thread.
  Result<std::unique_ptr<Journal>> OpenReader() const;

  Result<PortParts> MakePortParts(const PortProgress& progress) const;

  /// Returns once the KV store has what turns that ended and sessions that were released before
  /// this call leave in it: the KV thread writes it behind them. Who looks at the store as a whole
  /// calls this first; else an export would lack blocks, and a sweep take them for new ones.
  void SettleKv() {
    engine_->AwaitRequests();
    std::promise<void> written;
    if (kv_worker_->queue().Push([&] { written.set_value(); })) written.get_future().wait();
  }

  RuntimeOptions options_;
  Clock clock_;
  std::unique_ptr<DataDirectory> directory_;
  std::unique_ptr<Journal> writer_;
  std::unique_ptr<Journal> reader_;
  std::unique_ptr<KvStore> kv_;
  std::mutex search_mutex_;
  std::unique_ptr<SearchIndex> search_;  // guarded by search_mutex_; opened by the first search
  std::vector<std::string> notes_;       // what Open found and mended
  std::unique_ptr<Model> model_;
  std::vector<std::unique_ptr<Tool>> builtins_;
  std::unique_ptr<Worker> journal_worker_;
  std::unique_ptr<Worker> kv_worker_;  // apart: a flush of KV must not delay a token's commit
  std::unique_ptr<Worker> pool_;
  std::unique_ptr<ControlLoop> control_;
  std::unique_ptr<Engine> engine_;
  std::map<int64_t, KvChain> chains_;  // by timeline, from the last upkeep; one run at a time
  std::unique_ptr<KvUpkeep> upkeep_;   // its thread asks the control thread and the engine
  std::thread control_thread_;
};

LocalSubscription::~LocalSubscription() {
  runtime_->OnControl([this] { runtime_->control().RemoveWatcher(session_, id_); });
}

LocalHostConnection::~LocalHostConnection() {
  runtime_->OnControl([this] { runtime_->control().RemoveHost(session_, id_); });
}

Status LocalHostConnection::SubmitResult(const std::string& session, const ToolResult& result) {
  return runtime_
      ->Ask<std::string>(
          [&](auto done) { runtime_->control().SubmitHostResult(session, id_, result, done); })
      .status();
}

Result<std::unique_ptr<Runtime>> LocalRuntime::Open(const RuntimeOptions& given) {
  RETURN_IF_ERROR(given.Validate());
  RuntimeOptions options = given;
  if (options.model_path.empty()) {
    ASSIGN_OR_RETURN(options.model_path, DefaultModelPath());
  }
  auto runtime = std::unique_ptr<LocalRuntime>(new LocalRuntime());
  runtime->options_ = options;
  ASSIGN_OR_RETURN(runtime->directory_, DataDirectory::Open(options.data_dir));
  JournalOptions journal;
  journal.path = runtime->directory_->journal_path();
  journal.accept_earlier_state = options.accept_earlier_journal;
  ASSIGN_OR_RETURN(runtime->writer_, Journal::Open(journal));
  runtime->notes_ = runtime->writer_->notes();
  journal.read_only = true;
  ASSIGN_OR_RETURN(runtime->reader_, Journal::Open(journal));
  KvStoreOptions kv;
  kv.path = runtime->directory_->kv_path();
  RETURN_IF_ERROR(runtime->OpenKvStore(kv));

  ModelOptions model;
  model.mode = options.mode == "pure" ? NumericMode::kPure : NumericMode::kNative;
  model.backend = options.backend;
  model.threads = options.threads;
  model.fingerprint_cache = options.data_dir;
  model.access = options.map_weights ? WeightAccess::kMapped : WeightAccess::kRead;
  ASSIGN_OR_RETURN(runtime->model_, Model::Open(options.model_path, model));
  if (runtime->model_->tokenizer() == nullptr) {
    return NotFoundError(
        "model '" + options.model_path +
        "' has no tokenizer.json; put the checkpoint's tokenizer beside its weights");
  }
  runtime->builtins_ = MakeBuiltinTools();
  runtime->journal_worker_ = std::make_unique<Worker>(1, kStorageQueueLimit);
  runtime->kv_worker_ = std::make_unique<Worker>(1, kStorageQueueLimit);
  runtime->pool_ = std::make_unique<Worker>(options.tool_threads, kPoolQueueLimit);

  ControlParts parts;
  parts.options = options;
  parts.clock = &runtime->clock_;
  parts.model = runtime->model_.get();
  parts.journal_writer = runtime->writer_.get();
  parts.journal_reader = runtime->reader_.get();
  parts.journal_worker = runtime->journal_worker_.get();
  parts.pool = runtime->pool_.get();
  runtime->upkeep_ = std::make_unique<KvUpkeep>(
      runtime->kv_.get(),
      KvUpkeepOptions{kBlockTokens, options.kv_disk_bytes, options.checkpoint_policy != "full"},
      [owner = runtime.get()](const KvClaimant& claimant) { return owner->Claims(claimant); });
  parts.upkeep = runtime->upkeep_.get();
  for (const auto& tool : runtime->builtins_) parts.builtin_tools.push_back(tool.get());
  ASSIGN_OR_RETURN(runtime->control_, ControlLoop::Create(parts));

  KvHome home;
  home.model = runtime->model_.get();
  home.store = runtime->kv_.get();
  home.storage = &runtime->kv_worker_->queue();
  home.scope = runtime->Scope();
  KvTierOptions tiers;
  tiers.ram_bytes = options.kv_ram_bytes;
  tiers.lazy = options.lazy_resume;
  tiers.row_wait = std::chrono::milliseconds(options.row_wait_ms);
  tiers.policy = options.checkpoint_policy == "full"   ? CheckpointPolicy::kFull
                 : options.checkpoint_policy == "zero" ? CheckpointPolicy::kZero
                                                       : CheckpointPolicy::kPeriodic;
  EngineOptions engine;
  engine.prefill_chunk_tokens = options.prefill_chunk_tokens;
  engine.checkpoint_interval_tokens = options.checkpoint_interval_tokens;
  engine.resident_sequences_max = options.resident_sequences_max;
  engine.jobs_max = options.running_turns_max;
  runtime->engine_ = std::make_unique<Engine>(home, tiers, engine, runtime->control_.get());
  runtime->control_->AttachEngine(runtime->engine_.get());
  runtime->control_thread_ = std::thread([control = runtime->control_.get()] { control->Run(); });
  Status recovered;
  runtime->OnControl([&] { recovered = runtime->control_->RecoverOpenTurns(&runtime->notes_); });
  RETURN_IF_ERROR(recovered);
  return std::unique_ptr<Runtime>(std::move(runtime));
}

Status LocalRuntime::OpenKvStore(const KvStoreOptions& options) {
  bool dropped = false;
  auto opened = KvStore::Open(options, &dropped);
  if (!opened.ok() && opened.status().code() == StatusCode::kDataLoss) {
    notes_.push_back("the KV store was damaged and begins empty; sessions recompute: " +
                     opened.status().message());
    RETURN_IF_ERROR(KvStore::Remove(options.path));
    opened = KvStore::Open(options, &dropped);
  }
  if (dropped) {
    notes_.push_back("the KV store had an older format and begins empty; sessions recompute");
  }
  ASSIGN_OR_RETURN(kv_, std::move(opened));
  return OkStatus();
}

LocalRuntime::~LocalRuntime() {
  // The control thread first, while all whom it asks still work: a refusal of theirs would end an
  // open turn that the next Open is to continue. What they post to it from now on is dropped.
  if (control_ != nullptr) control_->Close();
  if (control_thread_.joinable()) control_thread_.join();
  upkeep_.reset();  // before the engine, of which it asks what is live
  if (control_ != nullptr) control_->StopTools();
  if (engine_ != nullptr) engine_->Stop();
  if (pool_ != nullptr) pool_->Stop();
  if (kv_worker_ != nullptr) kv_worker_->Stop();
  if (journal_worker_ != nullptr) journal_worker_->Stop();
}

Result<std::vector<SessionView>> LocalRuntime::ListSessions(int64_t page_size,
                                                            const std::string& page_token,
                                                            std::string* next_page_token) {
  if (page_size < 0) {
    return InvalidArgumentError("page_size is negative; expected 1 to 1000, or 0 for 100",
                                "BAD_FIELD");
  }
  const int64_t limit = page_size == 0 ? 100 : std::min<int64_t>(page_size, 1000);
  ASSIGN_OR_RETURN(auto views, Ask<std::vector<SessionView>>([&](auto done) {
                     control_->ListSessions(limit, page_token, done);
                   }));
  if (next_page_token != nullptr) {
    const bool more = static_cast<int64_t>(views.size()) == limit;
    *next_page_token = more ? views.back().session : "";
  }
  return views;
}

Result<TurnView> LocalRuntime::WaitTurn(const std::string& session, const std::string& turn,
                                        int64_t timeout_ms) {
  auto promise = std::make_shared<std::promise<Result<TurnView>>>();  // owners: caller, waiter
  auto future = promise->get_future();
  OnControl([&] {
    control_->AwaitTurn(session, turn,
                        [promise](Result<TurnView> view) { promise->set_value(std::move(view)); });
  });
  if (future.wait_for(std::chrono::milliseconds(timeout_ms)) != std::future_status::ready) {
    return DeadlineExceededError("turn " + turn + " of session '" + session +
                                 "' still runs after " + std::to_string(timeout_ms) +
                                 " ms; it goes on");
  }
  return future.get();
}

Result<std::unique_ptr<Subscription>> LocalRuntime::Watch(const WatchOptions& options,
                                                          EventSubscriber* subscriber) {
  Result<uint64_t> id = InternalError("not run");
  OnControl([&] { id = control_->AddWatcher(options, subscriber); });
  RETURN_IF_ERROR(id.status());
  return std::unique_ptr<Subscription>(
      std::make_unique<LocalSubscription>(this, options.session, *id));
}

Result<std::unique_ptr<ToolHostConnection>> LocalRuntime::ConnectToolHost(
    const std::string& session, const std::vector<std::string>& tools, ToolHostSink* sink) {
  Result<uint64_t> id = InternalError("not run");
  OnControl([&] { id = control_->AddHost(session, tools, sink); });
  RETURN_IF_ERROR(id.status());
  return std::unique_ptr<ToolHostConnection>(
      std::make_unique<LocalHostConnection>(this, session, *id));
}

Result<PortParts> LocalRuntime::MakePortParts(const PortProgress& progress) const {
  PortParts parts;
  parts.kv = kv_.get();
  parts.scope = Scope();
  parts.block_tokens = kBlockTokens;
  parts.progress = progress;
  ASSIGN_OR_RETURN(parts.key, ArchiveKey::OpenOrMake(directory_->archive_key_path()));
  return parts;
}

Result<ExportView> LocalRuntime::ExportSession(const std::string& session, const std::string& path,
                                               const PortProgress& progress) {
  ASSIGN_OR_RETURN(const SessionRecord record,
                   Ask<SessionRecord>([&](auto done) { control_->FindForExport(session, done); }));
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  ASSIGN_OR_RETURN(PortParts parts, MakePortParts(progress));
  const BlockShape shape = StoredShape(KvLayout::Make(model_->config(), model_->row_format()));
  parts.journal = journal.get();
  parts.shape = &shape;
  SettleKv();
  return baleen::ExportSession(parts, record, path);
}

Result<ImportView> LocalRuntime::ImportSession(const ImportRequest& request,
                                               const PortProgress& progress) {
  if (!request.request_id.empty()) {
    auto earlier =
        Ask<SessionView>([&](auto done) { control_->FindImport(request.request_id, done); });
    if (earlier.ok()) {
      ImportView view;
      view.session = *std::move(earlier);
      view.notes.push_back("imported earlier under this request id");
      return view;
    }
  }
  ASSIGN_OR_RETURN(PortParts parts, MakePortParts(progress));
  const BlockShape shape = StoredShape(KvLayout::Make(model_->config(), model_->row_format()));
  parts.shape = &shape;
  ASSIGN_OR_RETURN(ImportPlan read, ReadArchive(parts, request, model_->config().vocab));
  const auto plan =
      std::make_shared<ImportPlan>(std::move(read));  // owners: this, the control loop
  ImportView view = plan->view;
  ASSIGN_OR_RETURN(view.session,
                   Ask<SessionView>([&](auto done) { control_->AddImport(request, plan, done); }));
  return view;
}

Result<std::unique_ptr<Journal>> LocalRuntime::OpenReader() const {
  JournalOptions options;
  options.path = directory_->journal_path();
  options.read_only = true;
  return Journal::Open(options);
}

Result<std::vector<SearchHit>> LocalRuntime::Search(const SearchRequest& request) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  const std::lock_guard<std::mutex> lock(search_mutex_);
  for (int attempt = 0;; ++attempt) {
    if (search_ == nullptr) {
      ASSIGN_OR_RETURN(search_, SearchIndex::Open(directory_->search_path()));
    }
    auto hits = SearchSessions(*journal, *search_, request);
    if (hits.status().code() != StatusCode::kDataLoss || attempt > 0) return hits;
    search_.reset();  // a damaged index is made anew; damage in the journal comes back
    RETURN_IF_ERROR(SearchIndex::Remove(directory_->search_path()));
  }
}

Result<std::vector<StepReuse>> LocalRuntime::Explain(const std::string& session,
                                                     const std::string& turn) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  return ExplainSession(*journal, session, turn);
}

Result<BackupReport> LocalRuntime::Backup(const std::string& path) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  BackupReport report;
  report.path = path;
  SettleKv();
  RETURN_IF_ERROR(DataDirectory::Build(path, [&](const DataDirectory& draft) -> Status {
    RETURN_IF_ERROR(journal->Backup(draft.journal_path()));
    RETURN_IF_ERROR(kv_->Backup(draft.kv_path()));
    JournalOptions copy;
    copy.path = draft.journal_path();
    ASSIGN_OR_RETURN(const auto written, Journal::Open(copy));
    ASSIGN_OR_RETURN(report.journal_bytes, written->BytesOnDisk());
    return OkStatus();
  }));
  return report;
}

Result<CompactReport> LocalRuntime::Compact() {
  auto promise = std::make_shared<std::promise<Result<CompactReport>>>();  // owners: caller, worker
  auto future = promise->get_future();
  const auto compact = [this]() -> Result<CompactReport> {
    CompactReport report;
    ASSIGN_OR_RETURN(report.journal_bytes_before, writer_->BytesOnDisk());
    RETURN_IF_ERROR(writer_->Compact());
    ASSIGN_OR_RETURN(report.journal_bytes_after, writer_->BytesOnDisk());
    return report;
  };
  if (!journal_worker_->queue().Push([promise, compact] { promise->set_value(compact()); })) {
    return UnavailableError("the runtime is closing", "DRAINING");
  }
  ASSIGN_OR_RETURN(CompactReport report, future.get());
  SettleKv();
  ASSIGN_OR_RETURN(report.kv_bytes_before, kv_->BytesOnDisk());
  RETURN_IF_ERROR(upkeep_->Run().status());
  RETURN_IF_ERROR(kv_->Compact().status());
  ASSIGN_OR_RETURN(report.kv_bytes_after, kv_->BytesOnDisk());
  return report;
}

Result<VerifyReport> LocalRuntime::Verify(const std::string& session) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  ASSIGN_OR_RETURN(const JournalReport text, journal->Verify(session));
  ASSIGN_OR_RETURN(const KvStoreReport kv, kv_->Verify());
  VerifyReport report;
  report.sessions = text.sessions;
  report.events = text.events;
  report.tokens = text.tokens;
  report.blocks = kv.blocks;
  report.block_bytes = kv.block_bytes;
  report.checkpoints = kv.checkpoints;
  report.checkpoint_bytes = kv.checkpoint_bytes;
  report.problems = text.problems;
  report.problems.insert(report.problems.end(), kv.problems.begin(), kv.problems.end());
  return report;
}

Result<std::vector<KvClaim>> LocalRuntime::Claims(const KvClaimant& claimant) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  std::vector<KvClaim> claims(1);
  std::map<int64_t, KvChain> chains;  // those of timelines that are gone stay behind
  // First the journal, then what is live: a block that moves from one to the other is in either.
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, journal->ListTimelines("", after, kTimelinesPage));
    if (page.empty()) break;
    for (const TimelineRecord& timeline : page) {
      after = timeline.key;
      if (timeline.session.empty()) continue;  // its forks claim what they share
      const auto read = [&](int64_t begin, int64_t count) -> Result<std::vector<int32_t>> {
        ASSIGN_OR_RETURN(TokenRun run, journal->ReadTimelineTokens(timeline.key, begin, count));
        return std::move(run.ids);
      };
      KvChain& chain = chains[timeline.key];
      if (const auto known = chains_.find(timeline.key); known != chains_.end()) {
        chain = std::move(known->second);
      }
      auto made = claimant.Claim(timeline.tokens, read, Scope(), &chain);
      if (made.status().code() == StatusCode::kNotFound) continue;  // deleted meanwhile
      RETURN_IF_ERROR(made.status());
      KvClaim claim = *std::move(made);
      claim.fork_position = std::max<int64_t>(timeline.base_tokens - 1, 0);
      claim.used_ms = timeline.updated_ms;
      const auto session = journal->GetSession(timeline.session);
      bool running = false;
      const bool asked = OnControl([&] { running = control_->IsRunning(timeline.session); });
      if (!asked) return CancelledError("the runtime is closing");
      claim.pinned = session.ok() && session->pinned;
      claim.held = running || claim.pinned;
      claims.push_back(std::move(claim));
    }
  }
  chains_ = std::move(chains);
  claims[0].keys = engine_->LiveKeys();
  claims[0].held = true;
  return claims;
}

Status LocalRuntime::CountTimelines(RuntimeStats* stats) const {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  ASSIGN_OR_RETURN(stats->journal_bytes, journal->BytesOnDisk());
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, journal->ListTimelines("", after, kRowsPerReadMax));
    if (page.empty()) return OkStatus();
    for (const TimelineRecord& timeline : page) {
      after = timeline.key;
      stats->journal_tokens += timeline.tokens - timeline.base_tokens;
      if (timeline.session.empty()) continue;  // deleted, but forks are based on it
      ++stats->timelines;
      stats->timeline_tokens += timeline.tokens;
      if (timeline.number == 1) ++stats->sessions;
    }
  }
}

Result<RuntimeStats> LocalRuntime::Stats() {
  RuntimeStats stats;
  OnControl([&] { stats.turns_running = control_->RunningTurns(); });
  stats.sequences_resident = engine_->resident();
  stats.engine_wakeups = engine_->wakeups();
  ASSIGN_OR_RETURN(stats.kv_bytes_on_disk, kv_->BytesOnDisk());
  const KvLayout layout = KvLayout::Make(model_->config(), model_->row_format());
  stats.block_tokens = kBlockTokens;
  stats.block_payload_bytes = layout.payload_bytes;
  stats.fingerprint = model_->fingerprint();
  stats.arithmetic_id = model_->arithmetic_id();
  stats.model_path = options_.model_path;
  stats.notes = notes_;
  for (std::string& note : upkeep_->Notes()) stats.notes.push_back(std::move(note));
  // A damaged cache is worth a note, not a server that can't say how it is.
  if (const auto counters = kv_->Counters(); counters.ok()) {
    stats.kv_blocks = counters->blocks;
    stats.kv_block_bytes = counters->block_bytes;
    stats.kv_write_amplification = counters->WriteAmplification();
    stats.kv_blocks_found = counters->blocks_found;
    stats.kv_blocks_missed = counters->blocks_missed;
  } else {
    stats.notes.push_back("the KV store could not be counted: " + counters.status().message());
  }
  RETURN_IF_ERROR(CountTimelines(&stats));
  return stats;
}

}  // namespace

Status RuntimeOptions::Validate() const {
  const auto bad = [](const std::string& field, const std::string& expected) {
    return InvalidArgumentError("option " + field + ": expected " + expected, "BAD_FIELD");
  };
  if (data_dir.empty()) return bad("data_dir", "a folder");
  if (mode != "native" && mode != "pure")
    return bad("mode", "'native' or 'pure', got '" + mode + "'");
  if (prefill_chunk_tokens < 1) return bad("prefill_chunk_tokens", "at least 1");
  if (checkpoint_interval_tokens < 1) return bad("checkpoint_interval_tokens", "at least 1");
  if (checkpoint_policy != "periodic" && checkpoint_policy != "full" &&
      checkpoint_policy != "zero") {
    return bad("checkpoint_policy", "periodic, full or zero, got '" + checkpoint_policy + "'");
  }
  if (resident_sequences_max < 1) return bad("resident_sequences_max", "at least 1");
  if (kv_disk_bytes < 0) return bad("kv_disk_bytes", "at least 0");
  if (kv_ram_bytes < 0) return bad("kv_ram_bytes", "at least 0");
  if (row_wait_ms < 0) return bad("row_wait_ms", "at least 0");
  if (tool_threads < 1) return bad("tool_threads", "at least 1");
  if (running_turns_max < 1) return bad("running_turns_max", "at least 1");
  return OkStatus();
}

Result<std::unique_ptr<Runtime>> Runtime::Open(const RuntimeOptions& options) {
  return LocalRuntime::Open(options);
}

}  // namespace baleen
