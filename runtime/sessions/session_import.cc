#include "runtime/sessions/session_import.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/sessions/approval_json.h"
#include "runtime/sessions/archive_payloads.h"
#include "runtime/sessions/journal_json.h"
#include "runtime/sessions/settings_json.h"

namespace baleen {
namespace {

constexpr std::array kKinds = {
    event_kind::kSessionCreated,    event_kind::kSessionForked,     event_kind::kSessionRewound,
    event_kind::kSessionUpdated,    event_kind::kTurnStarted,       event_kind::kGenerate,
    event_kind::kGenerated,         event_kind::kGenerationDropped, event_kind::kCompactionStarted,
    event_kind::kCompacted,         event_kind::kSteered,           event_kind::kToolCalls,
    event_kind::kToolDispatched,    event_kind::kToolResult,        event_kind::kToolResults,
    event_kind::kApprovalRequested, event_kind::kApprovalResolved,  event_kind::kStepStarted,
    event_kind::kStepEnded,         event_kind::kCancelRequested,   event_kind::kTurnFinished};

/// More updates than anybody makes, and far from where counting them would overflow.
constexpr int64_t kRevisionMax = int64_t{1} << 50;

class Importer {
 public:
  Importer(const PortParts& parts, const ImportRequest& request, int64_t vocabulary,
           ArchiveReader& archive)
      : parts_(parts), request_(request), vocabulary_(vocabulary), archive_(archive) {}

  Result<ImportPlan> Run() {
    RETURN_IF_ERROR(FirstReading());
    RETURN_IF_ERROR(CheckHistory());
    RETURN_IF_ERROR(MakeSettings());
    plan_.view.kv_taken = MayTakeKv();
    if (plan_.view.kv_taken) RETURN_IF_ERROR(SecondReading());
    return std::move(plan_);
  }

 private:
  Status Wrong(const std::string& what) const {
    return DataLossError("archive '" + request_.path + "': " + what +
                         "; nothing of it was imported");
  }

  /// Checks every frame; keeps the history, counts the KV.
  Status FirstReading() {
    while (true) {
      ASSIGN_OR_RETURN(ArchiveRecord record, archive_.Next());
      RETURN_IF_ERROR(Progress());
      switch (record.kind) {
        case ArchiveFrame::kEnd: return OkStatus();
        case ArchiveFrame::kHeader: RETURN_IF_ERROR(TakeHeader(record.payload)); break;
        case ArchiveFrame::kEvent: RETURN_IF_ERROR(TakeEvent(record.payload)); break;
        case ArchiveFrame::kTokens: RETURN_IF_ERROR(TakeTokens(record.payload)); break;
        case ArchiveFrame::kBlock: ++blocks_; break;
        case ArchiveFrame::kCheckpoint: break;
      }
    }
  }

  Status Progress() const {
    if (!parts_.progress || parts_.progress(archive_.bytes_read(), archive_.bytes_total())) {
      return OkStatus();
    }
    return CancelledError("the import was cancelled; nothing was imported");
  }

  Status TakeHeader(const std::string& payload) {
    ASSIGN_OR_RETURN(header_, ArchiveHeaderFromJson(payload));
    plan_.session.id = header_.session;
    plan_.session.title = header_.title;
    plan_.session.created_ms = header_.created_ms;
    return OkStatus();
  }

  /// A grant that somebody gave elsewhere covers no call here.
  void DropGrant(EventRecord& event) {
    if (event.kind != event_kind::kApprovalResolved) return;
    auto end = ApprovalEndFromJson(event.payload);
    if (!end.ok() || end->scope == GrantScope::kOnce) return;
    end->scope = GrantScope::kOnce;
    event.payload = ApprovalEndToJson(*end);
    if (!grants_dropped_)
      plan_.view.notes.push_back("the archive's grants were left out: ask again");
    grants_dropped_ = true;
  }

  Status TakeEvent(const std::string& payload) {
    ASSIGN_OR_RETURN(EventRecord event, ArchiveEventFromJson(payload));
    const auto expected = static_cast<int64_t>(plan_.history.events.size()) + 1;
    if (event.seq != expected) {
      return Wrong("event " + std::to_string(event.seq) + " where " + std::to_string(expected) +
                   " was expected");
    }
    const int64_t before = plan_.history.events.empty() ? 0 : plan_.history.events.back().tokens;
    if (event.tokens < before || event.tokens > header_.tokens) {
      return Wrong("event " + std::to_string(event.seq) + " saw " + std::to_string(event.tokens) +
                   " tokens, expected " + std::to_string(before) + " to " +
                   std::to_string(header_.tokens));
    }
    const bool known = std::any_of(kKinds.begin(), kKinds.end(),
                                   [&](const char* kind) { return event.kind == kind; });
    if (!known) return Wrong("event kind '" + event.kind.substr(0, 80) + "' is unknown");
    DropGrant(event);
    plan_.history.events.push_back(std::move(event));
    return OkStatus();
  }

  Status TakeTokens(const std::string& payload) {
    ASSIGN_OR_RETURN(const TokenRun run, DecodeArchiveTokens(payload));
    TokenRun& all = plan_.history.tokens;
    const auto have = static_cast<int64_t>(all.ids.size());
    if (run.begin != have || have + static_cast<int64_t>(run.ids.size()) > header_.tokens) {
      return Wrong("token ids from " + std::to_string(run.begin) + " where " +
                   std::to_string(have) + " was expected, of " + std::to_string(header_.tokens));
    }
    for (const int32_t id : run.ids) {
      if (id < vocabulary_) continue;
      return OutOfRangeError("archive '" + request_.path + "': token id " + std::to_string(id) +
                             ", but this model's vocabulary has " + std::to_string(vocabulary_) +
                             " entries: the session belongs to another tokenizer; serve the model "
                             "that it was made with");
    }
    all.ids.insert(all.ids.end(), run.ids.begin(), run.ids.end());
    if (!run.logits_hashes.empty() || !all.logits_hashes.empty()) {
      all.logits_hashes.resize(static_cast<size_t>(have));
      all.logits_hashes.insert(all.logits_hashes.end(), run.logits_hashes.begin(),
                               run.logits_hashes.end());
      all.logits_hashes.resize(all.ids.size());
    }
    return OkStatus();
  }

  /// Whether the history is one that the runtime can go on from.
  Status CheckHistory() {
    const auto& events = plan_.history.events;
    if (static_cast<int64_t>(events.size()) != header_.events ||
        static_cast<int64_t>(plan_.history.tokens.ids.size()) != header_.tokens) {
      return Wrong("the header counts " + std::to_string(header_.events) + " events and " +
                   std::to_string(header_.tokens) + " tokens, found " +
                   std::to_string(events.size()) + " and " +
                   std::to_string(plan_.history.tokens.ids.size()));
    }
    bool open = false;
    for (const EventRecord& event : events) {
      RETURN_IF_ERROR(CheckPayload(event).WithContext("archive '" + request_.path + "', event " +
                                                      std::to_string(event.seq)));
      if (event.kind == event_kind::kTurnStarted) open = true;
      if (event.kind == event_kind::kTurnFinished) open = false;
    }
    if (open) {
      return FailedPreconditionError("archive '" + request_.path +
                                     "': its last turn had not ended; export it when it has");
    }
    plan_.view.events = static_cast<int64_t>(events.size());
    plan_.view.tokens = header_.tokens;
    return OkStatus();
  }

  static Status CheckPayload(const EventRecord& event) {
    if (event.kind == event_kind::kTurnStarted) return TurnStartFromJson(event.payload).status();
    if (event.kind == event_kind::kGenerate) return GenerateStartFromJson(event.payload).status();
    if (event.kind == event_kind::kCompactionStarted) {
      return GenerateStartFromJson(event.payload).status();
    }
    if (event.kind == event_kind::kCompacted) return CompactionEndFromJson(event.payload).status();
    if (event.kind == event_kind::kGenerationDropped) {
      return GenerationDropFromJson(event.payload).status();
    }
    if (event.kind == event_kind::kToolCalls) return ToolProposalFromJson(event.payload).status();
    if (event.kind == event_kind::kToolDispatched) {
      return ToolDispatchFromJson(event.payload).status();
    }
    if (event.kind == event_kind::kApprovalRequested) {
      return ApprovalFromJson("", event.payload).status();
    }
    if (event.kind == event_kind::kApprovalResolved) {
      return ApprovalEndFromJson(event.payload).status();
    }
    if (event.kind == event_kind::kTurnFinished) return TurnEndFromJson("", event.payload).status();
    if (event.kind == event_kind::kStepStarted) return StepStartFromJson(event.payload).status();
    if (event.kind == event_kind::kGenerated || event.kind == event_kind::kToolResult ||
        event.kind == event_kind::kToolResults || event.kind == event_kind::kStepEnded) {
      return StepAnswerFromJson(event.payload).status();
    }
    return OkStatus();
  }

  /// A folder that an archive names is not one that its tools may read here.
  Status MakeSettings() {
    SettingsMarks marks;
    auto settings = SettingsFromJson(header_.settings, &marks);
    if (!settings.ok()) return settings.status().WithContext("archive '" + request_.path + "'");
    for (const int64_t revision :
         {marks.revision, marks.goal_revision, marks.notes_revision, marks.budget_revision}) {
      if (revision < 0 || revision > kRevisionMax) {
        return Wrong("the settings' revision is " + std::to_string(revision));
      }
    }
    marks.tenant = request_.tenant;
    marks.worktree_of.clear();  // whose grants and notes it would have
    plan_.settings = *std::move(settings);
    if (!plan_.settings.workspace.empty() && plan_.settings.workspace != request_.workspace) {
      plan_.view.notes.push_back("the archive's workspace '" + plan_.settings.workspace +
                                 (request_.workspace.empty()
                                      ? "' was left out: the session has no file tools until it is "
                                        "imported with a workspace"
                                      : "' was replaced"));
    }
    plan_.settings.workspace = request_.workspace;
    if (request_.workspace.empty()) plan_.settings.tools.clear();
    if (!plan_.settings.network_hosts.empty()) {
      plan_.view.notes.push_back("the hosts that commands may reach were left out");
      plan_.settings.network_hosts.clear();
    }
    if (!plan_.settings.readable_secrets.empty()) {
      plan_.view.notes.push_back("the secret files that may be read were left out");
      plan_.settings.readable_secrets.clear();
    }
    // Nor may it say what needs no asking here.
    if (std::erase_if(plan_.settings.policy.rules,
                      [](const PolicyRule& rule) { return rule.decision == "allow"; }) > 0) {
      plan_.view.notes.push_back("the policy's rules that allow calls were left out");
    }
    if (std::exchange(plan_.settings.policy.ignore_taint, false)) {
      plan_.view.notes.push_back("the policy's ignore_taint was left out");
    }
    plan_.session.settings = SettingsToJson(plan_.settings, marks);
    return OkStatus();
  }

  bool Same(const std::string& archived, const std::string& here, const std::string& what) {
    if (archived == here) return true;
    plan_.view.notes.push_back("imported as text: its KV was computed under " + what + " " +
                               archived.substr(0, 64) + ", here it is " + here.substr(0, 64) +
                               "; the context is computed again at the next turn");
    return false;
  }

  bool MayTakeKv() {
    if (blocks_ == 0) {
      plan_.view.notes.push_back(
          "the archive holds no KV; the context is computed at the next turn");
      return false;
    }
    if (!Same(header_.fingerprint, parts_.scope.fingerprint, "model") ||
        !Same(header_.arithmetic_id, parts_.scope.arithmetic_id, "arithmetic") ||
        !Same(std::to_string(header_.kv_format), std::to_string(kKvFormatVersion), "KV format") ||
        !Same(std::to_string(header_.block_tokens), std::to_string(parts_.block_tokens),
              "a block length of") ||
        !Same(header_.block_shape, ShapeHex(*parts_.shape), "the block shape")) {
      return false;
    }
    if (request_.trust_kv || archive_.SignedBy(parts_.key)) return true;
    plan_.view.notes.push_back(
        "imported as text: another installation signed the archive, and whether KV rows fit their "
        "tokens can't be seen without computing them; the context is computed again at the next "
        "turn. If the file is your own, import it with trust_kv (--trust-kv)");
    return false;
  }

  Status SecondReading() {
    keys_ = KeysOfBlocks(plan_.history.tokens.ids, parts_);
    RETURN_IF_ERROR(archive_.Rewind());
    int64_t next = 0;
    while (true) {
      ASSIGN_OR_RETURN(const ArchiveRecord record, archive_.Next());
      RETURN_IF_ERROR(Progress());
      if (record.kind == ArchiveFrame::kEnd) break;
      if (record.kind == ArchiveFrame::kBlock) RETURN_IF_ERROR(StoreBlock(record.payload, &next));
      if (record.kind == ArchiveFrame::kCheckpoint)
        RETURN_IF_ERROR(StoreCheckpoint(record.payload));
    }
    return parts_.kv->Flush();
  }

  std::span<const int32_t> Tokens(int64_t begin, int64_t count) const {
    return std::span<const int32_t>(plan_.history.tokens.ids)
        .subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  }

  Status StoreBlock(const std::string& payload, int64_t* next) {
    ASSIGN_OR_RETURN(const ArchiveBlock block,
                     DecodeArchiveBlock(payload, parts_.shape->block_bytes()));
    if (block.index < *next || block.index >= static_cast<int64_t>(keys_.size())) {
      return Wrong("block " + std::to_string(block.index) + " where one of " +
                   std::to_string(*next) + " to " + std::to_string(keys_.size()) + " was expected");
    }
    *next = block.index + 1;
    RETURN_IF_ERROR(parts_.kv->PutBlock(
        keys_[static_cast<size_t>(block.index)],
        Tokens(block.index * parts_.block_tokens, parts_.block_tokens), *parts_.shape,
        std::as_bytes(std::span(block.bytes.data(), block.bytes.size()))));
    ++plan_.view.blocks;
    return OkStatus();
  }

  Status StoreCheckpoint(const std::string& payload) {
    ASSIGN_OR_RETURN(StoredCheckpoint checkpoint, DecodeArchiveCheckpoint(payload));
    if (checkpoint.position > header_.tokens) {
      return Wrong("a checkpoint at token " + std::to_string(checkpoint.position) + " of " +
                   std::to_string(header_.tokens));
    }
    const int64_t border = checkpoint.position / parts_.block_tokens;
    const auto tail =
        Tokens(border * parts_.block_tokens, checkpoint.position - border * parts_.block_tokens);
    checkpoint.tail_tokens.assign(tail.begin(), tail.end());
    checkpoint.kinds = kTurnCheckpoint;  // Pins and forks are of the place it came from.
    const BlockKey parent = border == 0 ? BlockKey{} : keys_[static_cast<size_t>(border - 1)];
    RETURN_IF_ERROR(parts_.kv->PutCheckpoint(parent, checkpoint));
    ++plan_.view.checkpoints;
    return OkStatus();
  }

  const PortParts& parts_;
  const ImportRequest& request_;
  const int64_t vocabulary_;
  ArchiveReader& archive_;
  ArchiveHeader header_;
  int64_t blocks_ = 0;
  bool grants_dropped_ = false;
  std::vector<BlockKey> keys_;
  ImportPlan plan_;
};

}  // namespace

Result<ImportPlan> ReadArchive(const PortParts& parts, const ImportRequest& request,
                               int64_t vocabulary) {
  ASSIGN_OR_RETURN(const auto archive, ArchiveReader::Open(request.path));
  return Importer(parts, request, vocabulary, *archive).Run();
}

}  // namespace baleen
