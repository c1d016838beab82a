// LocalRuntime's stores as wholes: what they hold, whether it is sound, what may go, and copies.
#include <algorithm>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "runtime/sessions/cursor.h"
#include "runtime/sessions/journal_json.h"
#include "runtime/sessions/local_runtime.h"
#include "runtime/sessions/settings_json.h"

namespace baleen {
namespace {

constexpr int64_t kTimelinesPage = 256;

/// Tokens that a model sees, or saw, together.
struct Context {
  int64_t begin = 0;
  int64_t end = 0;
};

/// The timeline's context and, if it was compacted, the one before, which a rewind reopens.
Result<std::vector<Context>> ContextsOf(Journal& journal, const TimelineRecord& timeline) {
  ASSIGN_OR_RETURN(const auto events,
                   journal.ReadEventsOfKind(timeline.session, event_kind::kCompacted, 0,
                                            kRowsPerReadMax, timeline.number));
  std::vector<Context> contexts;
  int64_t begin = 0;
  for (const EventRecord& event : events) {
    contexts.push_back({begin, event.tokens});
    begin = event.tokens;
  }
  contexts.push_back({begin, timeline.tokens});
  // Of those before, nobody will go on soon.
  if (contexts.size() > 2) contexts.erase(contexts.begin(), contexts.end() - 2);
  return contexts;
}

}  // namespace

Result<std::unique_ptr<Journal>> LocalRuntime::OpenReader() const {
  JournalOptions options;
  options.path = directory_->journal_path();
  options.read_only = true;
  return Journal::Open(options);
}

void LocalRuntime::SettleKv() {
  engine_->AwaitRequests();
  std::promise<void> written;
  if (kv_worker_->queue().Push([&] { written.set_value(); })) written.get_future().wait();
}

Result<std::vector<KvClaim>> LocalRuntime::Claims(const KvClaimant& claimant) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  std::vector<KvClaim> claims(1);
  std::map<std::pair<int64_t, int64_t>, KvChain>
      chains;  // those of timelines that are gone stay behind
  // First the journal, then what is live: a block that moves from one to the other is in either.
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, journal->ListTimelines("", after, kTimelinesPage));
    if (page.empty()) break;
    for (const TimelineRecord& timeline : page) {
      after = timeline.key;
      if (timeline.session.empty()) continue;  // its forks claim what they share
      const auto session = journal->GetSession(timeline.session);
      bool running = false;
      const bool asked = OnControl([&] { running = control_->IsRunning(timeline.session); });
      if (!asked) return CancelledError("the runtime is closing");
      auto contexts = ContextsOf(*journal, timeline);
      if (contexts.status().code() == StatusCode::kNotFound) continue;  // deleted meanwhile
      RETURN_IF_ERROR(contexts.status());
      for (const Context& context : *contexts) {
        const auto read = [&](int64_t from, int64_t count) -> Result<std::vector<int32_t>> {
          ASSIGN_OR_RETURN(TokenRun run,
                           journal->ReadTimelineTokens(timeline.key, context.begin + from, count));
          return std::move(run.ids);
        };
        KvChain& chain = chains[{timeline.key, context.begin}];
        if (const auto known = chains_.find({timeline.key, context.begin});
            known != chains_.end()) {
          chain = std::move(known->second);
        }
        auto made = claimant.Claim(context.end - context.begin, read, Scope(), &chain);
        if (made.status().code() == StatusCode::kNotFound) break;
        RETURN_IF_ERROR(made.status());
        KvClaim claim = *std::move(made);
        claim.fork_position = std::max<int64_t>(timeline.base_tokens - 1 - context.begin, 0);
        claim.used_ms = timeline.updated_ms;
        claim.pinned = session.ok() && session->pinned;
        claim.held = running || claim.pinned;
        claims.push_back(std::move(claim));
      }
    }
  }
  chains_ = std::move(chains);
  claims[0].keys = engine_->LiveKeys();
  claims[0].held = true;
  return claims;
}

Result<BackupReport> LocalRuntime::Backup(const std::string& path) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  BackupReport report;
  report.path = path;
  SettleKv();
  RETURN_IF_ERROR(DataDirectory::Build(path, [&](const DataDirectory& draft) -> Status {
    RETURN_IF_ERROR(journal->Backup(draft.journal_path()));
    RETURN_IF_ERROR(kv_->Backup(draft.kv_path()));
    RETURN_IF_ERROR(scripts_->CopyTo(draft.scripts_path()));
    RETURN_IF_ERROR(file_history_->Backup(draft.file_history_path()));
    RETURN_IF_ERROR(notes_book_->store().Backup(draft.notes_path()));
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
  ASSIGN_OR_RETURN(const FileHistoryReport files, file_history_->Verify());
  report.file_changes = files.changes;
  report.file_contents = files.contents;
  report.file_content_bytes = files.content_bytes;
  report.problems.insert(report.problems.end(), files.problems.begin(), files.problems.end());
  ASSIGN_OR_RETURN(const auto notes, notes_book_->store().Verify());
  report.problems.insert(report.problems.end(), notes.begin(), notes.end());
  return report;
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

Result<TenantUsage> LocalRuntime::ReadTenant(const std::string& tenant) {
  if (tenant.empty()) return InvalidArgumentError("tenant: expected a name", "BAD_FIELD");
  const std::lock_guard<std::mutex> lock(tenants_mutex_);
  if (tenants_ == nullptr) {
    ASSIGN_OR_RETURN(auto journal, OpenReader());
    tenants_ = std::make_unique<TenantCounter>(std::move(journal));
  }
  return tenants_->Count(tenant);
}

Result<RuntimeStats> LocalRuntime::Stats() {
  RuntimeStats stats;
  OnControl([&] { stats.turns_running = control_->RunningTurns(); });
  stats.sequences_resident = engine_->resident();
  stats.engine_wakeups = engine_->wakeups();
  stats.kv_bytes_in_ram = engine_->kv_ram_bytes();
  stats.kv_blocks_evicted = upkeep_->blocks_evicted();
  ASSIGN_OR_RETURN(stats.kv_bytes_on_disk, kv_->BytesOnDisk());
  const KvLayout layout = KvLayout::Make(model_->config(), model_->row_format());
  stats.block_tokens = kBlockTokens;
  stats.block_payload_bytes = layout.payload_bytes;
  stats.fingerprint = model_->fingerprint();
  stats.arithmetic_id = model_->arithmetic_id();
  stats.model_path = options_.model_path;
  stats.notes = notes_;
  for (std::string& note : upkeep_->Notes()) stats.notes.push_back(std::move(note));
  for (std::string& note : file_history_->Notes()) stats.notes.push_back(std::move(note));
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

Result<std::vector<RetentionCandidate>> LocalRuntime::Candidates(bool with_bytes) {
  ASSIGN_OR_RETURN(const auto journal, OpenReader());
  std::map<std::string, RetentionCandidate> candidates;
  std::map<int64_t, TimelineSize> sizes;  // those of timelines that are gone stay behind
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, journal->ListTimelines("", after, kTimelinesPage));
    if (page.empty()) break;
    for (const TimelineRecord& timeline : page) {
      after = timeline.key;
      if (timeline.session.empty()) continue;  // its forks need it
      RetentionCandidate& candidate = candidates[timeline.session];
      candidate.used_ms = std::max(candidate.used_ms, timeline.updated_ms);
      if (!with_bytes) continue;
      TimelineSize& size = sizes[timeline.key];
      if (const auto known = sizes_.find(timeline.key); known != sizes_.end()) size = known->second;
      if (size.last_seq != timeline.last_seq || size.tokens != timeline.tokens) {
        size = {timeline.last_seq, timeline.tokens, 0};
        ASSIGN_OR_RETURN(size.bytes, journal->TimelineBytes(timeline.key));
      }
      candidate.bytes += size.bytes;
    }
  }
  if (with_bytes) sizes_ = std::move(sizes);
  std::vector<RetentionCandidate> all;
  for (auto& [id, candidate] : candidates) {
    const auto record = journal->GetSession(id);
    if (!record.ok()) continue;  // deleted meanwhile, or damaged: not for retention to judge
    candidate.session = id;
    candidate.head = HeadCursor(*record);
    bool in_use = false;
    if (!OnControl([&] { in_use = control_->IsInUse(id); })) {
      return UnavailableError("the runtime is closing", "DRAINING");
    }
    candidate.kept = record->pinned || in_use;
    all.push_back(std::move(candidate));
  }
  return all;
}

Result<PruneView> LocalRuntime::PruneSessions(const PruneRequest& request) {
  const RetentionLimits limits = request.limits.value_or(options_.retention);
  RETURN_IF_ERROR(CheckRetention(limits));
  const std::lock_guard<std::mutex> lock(prune_mutex_);
  ASSIGN_OR_RETURN(auto candidates, Candidates(/*with_bytes=*/limits.bytes_max > 0));
  const RetentionPlan plan = PlanRetention(std::move(candidates), limits, clock_.WallMs());
  PruneView view;
  view.bytes_before = view.bytes_after = plan.bytes_before;
  for (size_t i = 0; i < plan.gone.size(); ++i) {
    const RetentionCandidate& gone = plan.gone[i];
    if (!request.validate_only) {
      DeleteRequest wanted;
      wanted.session = gone.session;
      wanted.expected_head = gone.head;
      const Status deleted = Ask<DeleteView>([&](auto done) {
                               if (!control_->IsInUse(gone.session)) {
                                 return control_->DeleteSession(wanted, done);
                               }
                               done(FailedPreconditionError("it is in use", "SESSION_BUSY"));
                             }).status();
      if (deleted.reason() == "DRAINING") return deleted;
      if (!deleted.ok()) continue;  // used, pinned or deleted meanwhile
    }
    view.bytes_after -= gone.bytes;
    view.sessions.push_back({gone.session, gone.used_ms, gone.bytes, plan.reasons[i]});
  }
  return view;
}

void LocalRuntime::SweepFileHistory() {
  const auto owners = file_history_->Owners();
  const auto journal = OpenReader();
  if (!owners.ok() || !journal.ok()) return;  // the next upkeep looks again
  for (const FileOwner& owner : *owners) {
    const auto session = (*journal)->GetSession(owner.session);
    const bool gone = session.ok() ? session->created_ms != owner.created_ms
                                   : session.status().code() == StatusCode::kNotFound;
    if (gone) file_history_->Forget(owner).IgnoreError("the next upkeep tries again");
  }
}

Result<std::set<std::string>> LocalRuntime::WorkedIn(Journal& journal) const {
  std::set<std::string> names;
  const std::string root = directory_->worktrees_path() + "/";
  std::string after;
  while (true) {
    ASSIGN_OR_RETURN(const auto page, journal.ListSessions(after, kJournalPage));
    if (page.empty()) return names;
    after = page.back().id;
    for (const SessionRecord& record : page) {
      SettingsMarks marks;
      ASSIGN_OR_RETURN(const SessionSettings settings, SettingsFromJson(record.settings, &marks));
      if (marks.worktree_of.empty() || !settings.workspace.starts_with(root)) continue;
      names.insert(settings.workspace.substr(
          root.size(), settings.workspace.find('/', root.size()) - root.size()));
    }
  }
}

void LocalRuntime::SweepWorktrees() {
  const auto journal = OpenReader();
  if (!journal.ok()) return;  // the next upkeep looks again
  // Forks of a fork may work in its worktree when it is gone itself. Looked for only then.
  std::optional<Result<std::set<std::string>>> worked_in;
  const auto is_used = [&](const std::string& name) {
    if ((*journal)->GetSession(name).status().code() != StatusCode::kNotFound) return true;
    if (!worked_in.has_value()) worked_in = WorkedIn(**journal);
    return !worked_in->ok() || (*worked_in)->contains(name);
  };
  worktrees_->Sweep(is_used).IgnoreError("the next upkeep tries again");
}

void LocalRuntime::EnforceRetention() {
  if (options_.retention.unused_ms_max == 0 && options_.retention.bytes_max == 0) return;
  const auto pruned = PruneSessions({});
  if (!pruned.ok() || pruned->sessions.empty() || !options_.on_pruned) return;
  options_.on_pruned(*pruned);
}

}  // namespace baleen
