// Fork, rewind, delete, search, explain and upkeep <-> wire messages.
#include <algorithm>
#include <utility>

#include "runtime/grpc/convert.h"
#include "tools_sdk/utf8.h"

namespace baleen::wire {
namespace {

constexpr char kSettingsPath[] = "settings.";

// The wire's values are one more each: its 0 is what nobody said.
static_assert(static_cast<int>(v1::FileRestore::UNCHANGED) ==
              static_cast<int>(FileAction::kUnchanged) + 1);
static_assert(static_cast<int>(v1::FileRestore::NOT_KEPT) ==
              static_cast<int>(FileAction::kNotKept) + 1);

void ToWirePoint(const std::string& session, const HistoryPoint& point, v1::HistoryPoint* out) {
  if (point.tokens.has_value()) out->set_tokens(*point.tokens);
  if (!point.turn.empty()) out->set_turn(TurnNameOf(session, point.turn));
  out->set_timeline(point.timeline);
}

Result<HistoryPoint> FromWirePoint(const std::string& session, const v1::HistoryPoint& point,
                                   const std::string& field) {
  HistoryPoint out;
  if (point.at_case() == v1::HistoryPoint::kTurn) {
    ASSIGN_OR_RETURN(TurnName name, ParseTurnName(point.turn(), field + ".turn"));
    if (name.session != session) {
      return BadField(field + ".turn", "a turn of session '" + session + "'", point.turn());
    }
    out.turn = std::move(name.turn);
  }
  if (point.at_case() == v1::HistoryPoint::kTokens) out.tokens = point.tokens();
  out.timeline = point.timeline();
  return out;
}

}  // namespace

void ToWire(const UpdateSessionRequest& request, v1::UpdateSessionRequest* out) {
  out->mutable_session()->set_name(SessionName(request.session));
  ToWire(request.settings, out->mutable_session()->mutable_settings());
  for (const std::string& path : request.mask) {
    out->mutable_update_mask()->add_paths(ReplaceInvalidUtf8(kSettingsPath + path));
  }
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<UpdateSessionRequest> FromWire(const v1::UpdateSessionRequest& request) {
  UpdateSessionRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.session().name(), "session.name"));
  ASSIGN_OR_RETURN(out.settings, FromWire(request.session().settings()));
  for (const std::string& path : request.update_mask().paths()) {
    if (!path.starts_with(kSettingsPath)) {
      return BadField("update_mask", "paths of settings, as settings.title", path);
    }
    out.mask.push_back(path.substr(std::string_view(kSettingsPath).size()));
  }
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const ForkRequest& request, v1::ForkSessionRequest* out) {
  out->set_name(SessionName(request.session));
  ToWirePoint(request.session, request.at, out->mutable_at());
  out->set_session_id(ReplaceInvalidUtf8(request.fork));
  out->set_title(ReplaceInvalidUtf8(request.title));
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<ForkRequest> FromWire(const v1::ForkSessionRequest& request) {
  ForkRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.name(), "name"));
  ASSIGN_OR_RETURN(out.at, FromWirePoint(out.session, request.at(), "at"));
  out.fork = request.session_id();
  if (!out.fork.empty()) RETURN_IF_ERROR(CheckSessionId(out.fork, "session_id"));
  out.title = request.title();
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const RewindRequest& request, v1::RewindSessionRequest* out) {
  out->set_name(SessionName(request.session));
  ToWirePoint(request.session, request.to, out->mutable_to());
  out->set_undo(request.undo);
  out->set_validate_only(request.validate_only);
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
  switch (request.scope) {
    case RewindScope::kConversation: out->set_scope(v1::CONVERSATION); break;
    case RewindScope::kFiles: out->set_scope(v1::FILES); break;
    case RewindScope::kBoth: out->set_scope(v1::BOTH); break;
  }
}

Result<RewindRequest> FromWire(const v1::RewindSessionRequest& request) {
  RewindRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.name(), "name"));
  ASSIGN_OR_RETURN(out.to, FromWirePoint(out.session, request.to(), "to"));
  out.undo = request.undo();
  out.validate_only = request.validate_only();
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  switch (request.scope()) {
    case v1::REWIND_SCOPE_UNSPECIFIED:
    case v1::CONVERSATION: break;
    case v1::FILES: out.scope = RewindScope::kFiles; break;
    case v1::BOTH: out.scope = RewindScope::kBoth; break;
    default:  // of a newer client: doing less than it asks for would be a surprise
      return BadField("scope", "CONVERSATION, FILES or BOTH", std::to_string(request.scope()));
  }
  return out;
}

void ToWire(const RewindView& view, v1::RewindSessionResponse* out) {
  ToWire(view.session, out->mutable_session());
  out->set_kept_seq(view.kept_seq);
  out->set_left_tokens(view.left_tokens);
  out->set_left_turns(view.left_turns);
  out->set_left_timeline(view.left_timeline);
  for (const FileRestore& file : view.files) {
    v1::FileRestore* entry = out->add_files();
    entry->set_path(ReplaceInvalidUtf8(file.path));
    entry->set_action(static_cast<v1::FileRestore::Action>(static_cast<int>(file.action) + 1));
    entry->set_why(ReplaceInvalidUtf8(file.why));
  }
  for (const std::string& note : view.notes) out->add_notes(ReplaceInvalidUtf8(note));
}

Result<RewindView> FromWire(const v1::RewindSessionResponse& response) {
  RewindView out;
  ASSIGN_OR_RETURN(out.session, FromWire(response.session()));
  out.kept_seq = response.kept_seq();
  out.left_tokens = response.left_tokens();
  out.left_turns = response.left_turns();
  out.left_timeline = response.left_timeline();
  for (const v1::FileRestore& file : response.files()) {
    // What a newer server does otherwise is for the reader to look at.
    const bool known =
        file.action() >= v1::FileRestore::UNCHANGED && file.action() <= v1::FileRestore::NOT_KEPT;
    out.files.push_back({file.path(),
                         known ? static_cast<FileAction>(static_cast<int>(file.action()) - 1)
                               : FileAction::kConflict,
                         file.why()});
  }
  out.notes.assign(response.notes().begin(), response.notes().end());
  return out;
}

void ToWire(const DeleteRequest& request, v1::DeleteSessionRequest* out) {
  out->set_name(SessionName(request.session));
  out->set_validate_only(request.validate_only);
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<DeleteRequest> FromWire(const v1::DeleteSessionRequest& request) {
  DeleteRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.name(), "name"));
  out.validate_only = request.validate_only();
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const DeleteView& view, v1::DeleteSessionResponse* out) {
  out->set_name(SessionName(view.session));
  out->set_tokens(view.tokens);
  out->set_turns(view.turns);
  out->set_timelines(view.timelines);
  out->set_forks(view.forks);
}

Result<DeleteView> FromWire(const v1::DeleteSessionResponse& response) {
  DeleteView out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(response.name(), "name"));
  out.tokens = response.tokens();
  out.turns = response.turns();
  out.timelines = response.timelines();
  out.forks = response.forks();
  return out;
}

void ToWire(const std::vector<SearchHit>& hits, v1::SearchSessionsResponse* out) {
  for (const SearchHit& hit : hits) {
    v1::SearchHit* wire = out->add_hits();
    wire->set_session(SessionName(hit.session));
    wire->set_turn(TurnNameOf(hit.session, hit.turn));
    wire->set_kind(ReplaceInvalidUtf8(hit.kind));
    wire->set_seq(hit.seq);
    SetTime(hit.time_ms, wire->mutable_time());
    wire->set_snippet(ReplaceInvalidUtf8(hit.snippet));
    wire->set_sessions(hit.sessions);
    wire->set_timeline(hit.timeline);
  }
}

Result<std::vector<SearchHit>> FromWire(const v1::SearchSessionsResponse& response) {
  std::vector<SearchHit> hits;
  for (const v1::SearchHit& wire : response.hits()) {
    SearchHit hit;
    ASSIGN_OR_RETURN(hit.session, ParseSessionName(wire.session(), "hit.session"));
    if (!wire.turn().empty()) {
      ASSIGN_OR_RETURN(TurnName name, ParseTurnName(wire.turn(), "hit.turn"));
      hit.turn = std::move(name.turn);
    }
    hit.kind = wire.kind();
    hit.seq = wire.seq();
    hit.time_ms = TimeMs(wire.time());
    hit.snippet = wire.snippet();
    hit.sessions = wire.sessions();
    hit.timeline = wire.timeline();
    hits.push_back(std::move(hit));
  }
  return hits;
}

void ToWire(const StepReuse& reuse, v1::StepReuse* out) {
  out->set_step(reuse.step);
  out->set_context_tokens(reuse.context_tokens);
  out->set_reused_ram(reuse.reused_ram);
  out->set_reused_disk(reuse.reused_disk);
  out->set_recomputed(reuse.recomputed);
  out->set_prefilled(reuse.prefilled);
  out->set_generated(reuse.generated);
  out->set_bytes_read(reuse.bytes_read);
  out->set_restore_ms(reuse.restore_ms);
  out->set_prefill_ms(reuse.prefill_ms);
  for (const std::string& reason : reuse.reasons) out->add_reasons(ReplaceInvalidUtf8(reason));
}

Result<StepReuse> FromWire(const v1::StepReuse& reuse) {
  StepReuse out;
  if (!reuse.turn().empty()) {
    ASSIGN_OR_RETURN(TurnName name, ParseTurnName(reuse.turn(), "step.turn"));
    out.turn = std::move(name.turn);
  }
  out.step = reuse.step();
  out.context_tokens = reuse.context_tokens();
  out.reused_ram = reuse.reused_ram();
  out.reused_disk = reuse.reused_disk();
  out.recomputed = reuse.recomputed();
  out.prefilled = reuse.prefilled();
  out.generated = reuse.generated();
  out.bytes_read = reuse.bytes_read();
  out.restore_ms = reuse.restore_ms();
  out.prefill_ms = reuse.prefill_ms();
  out.reasons.assign(reuse.reasons().begin(), reuse.reasons().end());
  return out;
}

void ToWire(const std::string& session, const std::vector<StepReuse>& steps,
            v1::ExplainSessionResponse* out) {
  for (const StepReuse& step : steps) {
    v1::StepReuse* wire = out->add_steps();
    ToWire(step, wire);
    wire->set_turn(TurnNameOf(session, step.turn));
  }
}

Result<std::vector<StepReuse>> FromWire(const v1::ExplainSessionResponse& response) {
  std::vector<StepReuse> steps;
  for (const v1::StepReuse& wire : response.steps()) {
    ASSIGN_OR_RETURN(StepReuse step, FromWire(wire));
    steps.push_back(std::move(step));
  }
  return steps;
}

void ToWire(const TenantUsage& usage, v1::Tenant* out) {
  out->set_sessions(usage.sessions);
  out->set_stored_bytes(usage.stored_bytes);
}

TenantUsage FromWire(const v1::Tenant& tenant) {
  return {tenant.sessions(), tenant.stored_bytes()};
}

void ToWire(const BackupReport& report, v1::BackupResponse* out) {
  out->set_path(ReplaceInvalidUtf8(report.path));
  out->set_journal_bytes(report.journal_bytes);
}

BackupReport FromWire(const v1::BackupResponse& response) {
  return {response.path(), response.journal_bytes()};
}

void ToWire(const CompactReport& report, v1::CompactResponse* out) {
  out->set_journal_bytes_before(report.journal_bytes_before);
  out->set_journal_bytes_after(report.journal_bytes_after);
  out->set_kv_bytes_before(report.kv_bytes_before);
  out->set_kv_bytes_after(report.kv_bytes_after);
}

CompactReport FromWire(const v1::CompactResponse& response) {
  return {response.journal_bytes_before(), response.journal_bytes_after(),
          response.kv_bytes_before(), response.kv_bytes_after()};
}

void ToWire(const NoteView& view, v1::Note* out) {
  out->set_name("notes/" + view.note);
  out->set_workspace(ReplaceInvalidUtf8(view.workspace));
  out->set_session(SessionName(view.session));
  SetTime(view.time_ms, out->mutable_create_time());
  out->set_text(ReplaceInvalidUtf8(view.text));
}

Result<NoteView> FromWire(const v1::Note& note) {
  NoteView out;
  ASSIGN_OR_RETURN(out.note, ParseNoteName(note.name(), "name"));
  out.workspace = note.workspace();
  ASSIGN_OR_RETURN(out.session, ParseSessionName(note.session(), "session"));
  out.time_ms = TimeMs(note.create_time());
  out.text = note.text();
  return out;
}

void ToWire(const ListNotesRequest& request, v1::ListNotesRequest* out) {
  out->set_workspace(ReplaceInvalidUtf8(request.workspace));
  out->set_page_size(static_cast<int32_t>(std::clamp<int64_t>(request.page_size, -1, INT32_MAX)));
  out->set_page_token(ReplaceInvalidUtf8(request.page_token));
}

ListNotesRequest FromWire(const v1::ListNotesRequest& request) {
  return {request.workspace(), request.page_size(), request.page_token()};
}

void ToWire(const PruneRequest& request, v1::PruneSessionsRequest* out) {
  if (request.limits.has_value()) {
    out->mutable_limits()->set_unused_ms_max(request.limits->unused_ms_max);
    out->mutable_limits()->set_bytes_max(request.limits->bytes_max);
  }
  out->set_validate_only(request.validate_only);
}

PruneRequest FromWire(const v1::PruneSessionsRequest& request) {
  PruneRequest out;
  if (request.has_limits()) {
    out.limits = RetentionLimits{request.limits().unused_ms_max(), request.limits().bytes_max()};
  }
  out.validate_only = request.validate_only();
  return out;
}

void ToWire(const PruneView& view, v1::PruneSessionsResponse* out) {
  for (const PrunedSession& gone : view.sessions) {
    v1::PruneSessionsResponse::PrunedSession* wire = out->add_sessions();
    wire->set_name(SessionName(gone.session));
    SetTime(gone.used_ms, wire->mutable_use_time());
    wire->set_bytes(gone.bytes);
    wire->set_reason(ReplaceInvalidUtf8(gone.reason));
  }
  out->set_bytes_before(view.bytes_before);
  out->set_bytes_after(view.bytes_after);
}

Result<PruneView> FromWire(const v1::PruneSessionsResponse& response) {
  PruneView view;
  for (const auto& wire : response.sessions()) {
    PrunedSession gone;
    ASSIGN_OR_RETURN(gone.session, ParseSessionName(wire.name(), "sessions.name"));
    gone.used_ms = TimeMs(wire.use_time());
    gone.bytes = wire.bytes();
    gone.reason = wire.reason();
    view.sessions.push_back(std::move(gone));
  }
  view.bytes_before = response.bytes_before();
  view.bytes_after = response.bytes_after();
  return view;
}

void ToWire(const ExportView& view, v1::ExportSessionResponse* out) {
  out->set_path(ReplaceInvalidUtf8(view.path));
  out->set_bytes(view.bytes);
  out->set_events(view.events);
  out->set_tokens(view.tokens);
  out->set_blocks(view.blocks);
  out->set_blocks_missing(view.blocks_missing);
  out->set_checkpoints(view.checkpoints);
  for (const std::string& note : view.notes) out->add_notes(ReplaceInvalidUtf8(note));
}

ExportView FromWire(const v1::ExportSessionResponse& response) {
  ExportView view;
  view.path = response.path();
  view.bytes = response.bytes();
  view.events = response.events();
  view.tokens = response.tokens();
  view.blocks = response.blocks();
  view.blocks_missing = response.blocks_missing();
  view.checkpoints = response.checkpoints();
  view.notes.assign(response.notes().begin(), response.notes().end());
  return view;
}

void ToWire(const ImportRequest& request, v1::ImportSessionRequest* out) {
  out->set_path(request.path);
  out->set_session_id(request.session);
  out->set_workspace(request.workspace);
  out->set_trust_kv(request.trust_kv);
  out->set_request_id(request.request_id);
}

ImportRequest FromWire(const v1::ImportSessionRequest& request) {
  return {request.path(),     request.session_id(), request.workspace(),
          request.trust_kv(), request.request_id(), /*tenant=*/""};
}

void ToWire(const ImportView& view, v1::ImportSessionResponse* out) {
  ToWire(view.session, out->mutable_session());
  out->set_events(view.events);
  out->set_tokens(view.tokens);
  out->set_blocks(view.blocks);
  out->set_checkpoints(view.checkpoints);
  out->set_kv_taken(view.kv_taken);
  for (const std::string& note : view.notes) out->add_notes(ReplaceInvalidUtf8(note));
}

Result<ImportView> FromWire(const v1::ImportSessionResponse& response) {
  ImportView view;
  ASSIGN_OR_RETURN(view.session, FromWire(response.session()));
  view.events = response.events();
  view.tokens = response.tokens();
  view.blocks = response.blocks();
  view.checkpoints = response.checkpoints();
  view.kv_taken = response.kv_taken();
  view.notes.assign(response.notes().begin(), response.notes().end());
  return view;
}

}  // namespace baleen::wire
