// LocalRuntime's opening and closing, and the verbs of sessions.
#include "runtime/sessions/local_runtime.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "model/text/tokenizer.h"
#include "runtime/default_model.h"
#include "runtime/http_tools/script_requests.h"
#include "runtime/http_tools/web_fetch.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/network_proxy.h"
#include "runtime/sessions/known_secrets.h"
#include "runtime/sessions/session_import.h"
#include "runtime/sessions/settings_json.h"
#include "tools_sdk/builtin/builtin.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

/// Jobs that may wait for a storage thread before the engine is held back.
constexpr size_t kStorageQueueLimit = 64;
constexpr size_t kPoolQueueLimit = 1024;
/// Calls of plugins and servers at once: these threads do nothing but wait.
constexpr int kOutsideThreads = 16;
constexpr int64_t kRetentionIntervalMs = 3'600'000;

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

/// A URL may hold a name and a password, and a key in its query.
std::string WithoutSecrets(const std::string& url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string::npos) return "";
  const size_t begin = scheme + 3;
  const size_t path = std::min(url.find_first_of("/?#", begin), url.size());
  const size_t user = url.rfind('@', path);
  const size_t host = user != std::string::npos && user >= begin && user < path ? user + 1 : begin;
  return url.substr(0, begin) + url.substr(host, url.find_first_of("?#", path) - host);
}

NoteView ViewOf(const StoredNote& note) {
  return {"n" + std::to_string(note.key), note.workspace, note.session, note.time_ms, note.text};
}

Result<int64_t> NoteKey(const std::string& note, const std::string& field) {
  int64_t key = 0;
  const char* const end = note.data() + note.size();
  if (note.starts_with('n')) {
    const auto parsed = std::from_chars(note.data() + 1, end, key);
    if (parsed.ec == std::errc() && parsed.ptr == end && key > 0) return key;
  }
  return InvalidArgumentError(field + ": expected a note's id, as n12, got '" +
                                  ReplaceInvalidUtf8(note.substr(0, 40)) + "'",
                              "BAD_FIELD");
}

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

}  // namespace

Result<std::unique_ptr<Runtime>> LocalRuntime::Open(const RuntimeOptions& given) {
  RETURN_IF_ERROR(given.Validate());
  RuntimeOptions options = given;
  if (options.model_path.empty()) {
    ASSIGN_OR_RETURN(options.model_path, DefaultModelPath());
  }
  auto runtime = std::unique_ptr<LocalRuntime>(new LocalRuntime());
  runtime->options_ = options;
  runtime->builtins_ = MakeBuiltinTools();
  runtime->optional_tools_ = MakeOptionalTools();
  ASSIGN_OR_RETURN(auto web_fetch, WebFetch::Create(options.web_fetch_hosts));
  runtime->optional_tools_.push_back(std::move(web_fetch));
  ASSIGN_OR_RETURN(runtime->script_requests_,
                   ScriptRequests::Create(options.script_http_hosts, options.secrets));
  runtime->redactor_ = MakeRedactor(options);
  // Owners: plugins, the sessions' tools, and the control loop.
  const auto sandbox = std::make_shared<LazySandbox>();
  ASSIGN_OR_RETURN(runtime->outside_,
                   OutsideTools::Open(options, runtime->redactor_.get(), sandbox));
  ASSIGN_OR_RETURN(runtime->directory_, DataDirectory::Open(options.data_dir));
  runtime->scripts_ = std::make_unique<ScriptShelf>(runtime->directory_->scripts_path());
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

  runtime->file_history_ = std::make_unique<FileHistory>(runtime->directory_->file_history_path(),
                                                         options.file_history_bytes);
  runtime->worktrees_ = std::make_unique<Worktrees>(runtime->directory_->worktrees_path());
  runtime->notes_book_ = std::make_unique<NoteBook>(
      runtime->directory_->notes_path(), &runtime->clock_,
      [owner = runtime.get()](const SearchRequest& request) { return owner->Search(request); },
      [owner = runtime.get()](const std::string& id) { return owner->WorkspaceOf(id); });

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
  runtime->journal_worker_ = std::make_unique<Worker>(1, kStorageQueueLimit);
  runtime->kv_worker_ = std::make_unique<Worker>(1, kStorageQueueLimit);
  runtime->pool_ = std::make_unique<Worker>(options.tool_threads, kPoolQueueLimit);
  runtime->outside_pool_ = std::make_unique<Worker>(kOutsideThreads, kPoolQueueLimit);

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
      [owner = runtime.get()](const KvClaimant& claimant) {
        owner->EnforceRetention();  // first: what goes claims nothing
        owner->SweepFileHistory();
        owner->SweepWorktrees();
        return owner->Claims(claimant);
      });
  parts.upkeep = runtime->upkeep_.get();
  parts.file_history = runtime->file_history_.get();
  parts.worktrees = runtime->worktrees_.get();
  parts.notes = runtime->notes_book_.get();
  for (const auto& tool : runtime->builtins_) parts.builtin_tools.push_back(tool.get());
  parts.redactor = runtime->redactor_.get();
  parts.outside = runtime->outside_.get();
  parts.script_requests = runtime->script_requests_.get();
  parts.outside_pool = runtime->outside_pool_.get();
  parts.sandbox = sandbox;
  parts.resolver = std::make_shared<NameResolver>();  // owners: as ControlParts says
  for (const auto& tool : runtime->optional_tools_) parts.optional_tools.push_back(tool.get());
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
  ASSIGN_OR_RETURN(runtime->remote_,
                   RemoteEngine::Create(options.engines, runtime->model_->tokenizer(),
                                        &runtime->control_->encoder(), runtime->control_.get()));
  runtime->control_->AttachRemote(runtime->remote_.get());
  runtime->control_thread_ = std::thread([control = runtime->control_.get()] { control->Run(); });
  Status recovered;
  runtime->OnControl([&] { recovered = runtime->control_->RecoverOpenTurns(&runtime->notes_); });
  RETURN_IF_ERROR(recovered);
  if (options.retention.unused_ms_max > 0 || options.retention.bytes_max > 0) {
    runtime->OnControl([&] { runtime->control_->RepeatUpkeep(kRetentionIntervalMs); });
  }
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
  if (remote_ != nullptr) remote_->Stop();
  if (pool_ != nullptr) pool_->Stop();
  if (outside_pool_ != nullptr) outside_pool_->Stop();
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

Result<std::vector<ModelView>> LocalRuntime::ListModels() {
  ModelView own;
  own.model = options_.model_path;
  own.fingerprint = model_->fingerprint();
  own.arithmetic_id = model_->arithmetic_id();
  own.context_tokens_max = model_->config().positions_max;
  own.vocabulary = model_->config().vocab;
  own.layers = model_->config().layers;
  std::vector<ModelView> models = {own};
  for (const RemoteEngineOptions& engine : options_.engines) {
    ModelView view;
    view.engine = "remote:" + engine.name;
    view.model = engine.model;
    view.url = WithoutSecrets(engine.url);
    view.context_tokens_max = engine.context_tokens;
    view.vocabulary = own.vocabulary;
    models.push_back(std::move(view));
  }
  return models;
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

Result<std::vector<SearchHit>> LocalRuntime::Search(const SearchRequest& request) {
  const std::lock_guard<std::mutex> lock(search_mutex_);
  for (int attempt = 0;; ++attempt) {
    if (search_ == nullptr) {
      ASSIGN_OR_RETURN(auto journal, OpenReader());
      ASSIGN_OR_RETURN(search_index_, SearchIndex::Open(directory_->search_path()));
      search_ = std::make_unique<SessionSearch>(std::move(journal));
    }
    auto hits = search_->Find(*search_index_, request);
    if (hits.status().code() != StatusCode::kDataLoss || attempt > 0) return hits;
    search_.reset();  // a damaged index is made anew; damage in the journal comes back
    search_index_.reset();
    RETURN_IF_ERROR(SearchIndex::Remove(directory_->search_path()));
  }
}

std::string LocalRuntime::WorkspaceOf(const std::string& session) const {
  const auto journal = OpenReader();
  if (!journal.ok()) return "";
  const auto record = (*journal)->GetSession(session);
  if (!record.ok()) return "";
  SettingsMarks marks;
  const auto settings = SettingsFromJson(record->settings, &marks);
  if (!settings.ok()) return "";
  return marks.worktree_of.empty() ? settings->workspace : marks.worktree_of;
}

Result<std::vector<NoteView>> LocalRuntime::ListNotes(const ListNotesRequest& request,
                                                      std::string* next_page_token) {
  if (request.page_size < 0) {
    return InvalidArgumentError("page_size is negative; expected 1 to 1000, or 0 for 100",
                                "BAD_FIELD");
  }
  int64_t after = 0;
  if (!request.page_token.empty()) {
    ASSIGN_OR_RETURN(after, NoteKey(request.page_token, "page_token"));
  }
  const int64_t limit = request.page_size == 0 ? 100 : std::min<int64_t>(request.page_size, 1000);
  ASSIGN_OR_RETURN(const auto notes, notes_book_->store().List(request.workspace, after, limit));
  std::vector<NoteView> views;
  for (const StoredNote& note : notes) views.push_back(ViewOf(note));
  if (next_page_token != nullptr) {
    *next_page_token = std::ssize(views) == limit ? views.back().note : "";
  }
  return views;
}

Result<NoteView> LocalRuntime::DeleteNote(const std::string& note) {
  ASSIGN_OR_RETURN(const int64_t key, NoteKey(note, "note"));
  ASSIGN_OR_RETURN(const StoredNote gone, notes_book_->store().Forget(key));
  return ViewOf(gone);
}

Result<std::vector<StepReuse>> LocalRuntime::Explain(const std::string& session,
                                                     const std::string& turn) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  return ExplainSession(*journal, session, turn);
}

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
  if (file_history_bytes < 0) return bad("file_history_bytes", "at least 0");
  if (row_wait_ms < 0) return bad("row_wait_ms", "at least 0");
  if (tool_threads < 1) return bad("tool_threads", "at least 1");
  if (running_turns_max < 1) return bad("running_turns_max", "at least 1");
  if (turn_steps_max < 1) return bad("turn_steps_max", "at least 1");
  return CheckRetention(retention);
}

Result<std::unique_ptr<Runtime>> Runtime::Open(const RuntimeOptions& options) {
  return LocalRuntime::Open(options);
}

}  // namespace baleen
