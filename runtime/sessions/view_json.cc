#include "runtime/sessions/view_json.h"

#include <cstdio>
#include <string>

#include "runtime/sessions/approval_json.h"
#include "runtime/sessions/journal_json.h"
#include "runtime/sessions/settings_json.h"

namespace baleen {

const char* SessionStateName(SessionState state) {
  switch (state) {
    case SessionState::kIdle: return "IDLE";
    case SessionState::kRunning: return "RUNNING";
    case SessionState::kBroken: return "BROKEN";
    case SessionState::kRequiresAction: return "REQUIRES_ACTION";
  }
  return "BROKEN";
}

namespace {

using Json = nlohmann::ordered_json;

Json ErrorJson(const Status& status) {
  if (status.ok()) return nullptr;
  return {{"code", std::string(StatusCodeName(status.code()))},
          {"reason", status.reason()},
          {"message", status.message()}};
}

/// Text that we wrote as JSON.
Json Parsed(const std::string& text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? Json(nullptr) : json;
}

}  // namespace

Json ViewJson(const SessionView& view) {
  return {{"session", view.session},
          {"settings", Parsed(SettingsToJson(view.settings))},
          {"state", SessionStateName(view.state)},
          {"tokens", view.tokens},
          {"context_tokens", view.context_tokens},
          {"turns", view.turns},
          {"created_ms", view.created_ms},
          {"updated_ms", view.updated_ms},
          {"head_cursor", view.head_cursor},
          {"open_turn", view.open_turn},
          {"pinned", view.pinned},
          {"timeline", view.timeline},
          {"parent", view.parent},
          {"tenant", view.tenant},
          {"schema_notes", view.schema_notes},
          {"policy_notes", view.policy_notes},
          {"pending_approvals", view.pending_approvals}};
}

Json ViewJson(const TenantUsage& usage) {
  return {{"sessions", usage.sessions}, {"stored_bytes", usage.stored_bytes}};
}

Json ViewJson(const TurnView& view) {
  return {{"session", view.session},
          {"turn", view.turn},
          {"state", TurnStateName(view.state)},
          {"text", view.text},
          {"error", ErrorJson(view.error)},
          {"tokens_reused_ram", view.tokens_reused_ram},
          {"tokens_reused_disk", view.tokens_reused_disk},
          {"tokens_recomputed", view.tokens_recomputed},
          {"tokens_prefilled", view.tokens_prefilled},
          {"tokens_generated", view.tokens_generated},
          {"calls_cut", view.calls_cut},
          {"waiting_on", view.waiting_on},
          {"waiting_detail", view.waiting_detail},
          {"waiting_since_ms", view.waiting_since_ms},
          {"spend",
           {{"tokens", view.spend.tokens},
            {"wall_ms", view.spend.wall_ms},
            {"tool_calls", view.spend.tool_calls},
            {"micro_usd", view.spend.micro_usd}}},
          {"budget",
           {{"tokens", view.budget.tokens},
            {"wall_ms", view.budget.wall_ms},
            {"tool_calls", view.budget.tool_calls},
            {"micro_usd", view.budget.micro_usd}}},
          {"unsent", view.unsent},
          {"files", view.files}};
}

Json ViewJson(const ApprovalView& view) {
  const Json budget = {{"owner", view.budget.owner},
                       {"resource", view.budget.resource},
                       {"limit", view.budget.limit},
                       {"spent", view.budget.spent},
                       {"extend", view.budget.extend}};
  Json calls = Json::array();
  for (const ToolCall& call : view.calls) {
    calls.push_back({{"id", call.id}, {"name", call.name}, {"arguments", Parsed(call.arguments)}});
  }
  return {{"session", view.session},
          {"approval", view.approval},
          {"turn", view.turn},
          {"requester", view.requester},
          {"subject", view.subject},
          {"title", view.title},
          {"description", view.description},
          {"calls", calls},
          {"budget", view.budget.owner.empty() ? Json(nullptr) : budget},
          {"allowed_decisions", view.allowed_decisions},
          {"requested_ms", view.requested_ms},
          {"expires_ms", view.expires_ms},
          {"state", ApprovalStateName(view.state)},
          {"scope", GrantScopeName(view.scope)},
          {"granted_calls", view.granted_calls},
          {"resolved_by", view.resolved_by},
          {"reason", view.reason},
          {"resolved_ms", view.resolved_ms},
          {"revoked_by", view.revoked_by},
          {"revoked_ms", view.revoked_ms}};
}

Json ViewJson(const GrantView& view) { return Parsed(GrantToJson(view)); }

Json ViewJson(const DecisionView& view) {
  return {{"session", view.session},
          {"turn", view.turn},
          {"call", view.call},
          {"tool", view.tool},
          {"arguments_sha256", view.arguments_sha256},
          {"decision", view.decision},
          {"decided_by", view.decided_by},
          {"why", view.why},
          {"grant", view.grant},
          {"approval", view.approval},
          {"approval_state", view.approval.empty() ? "" : ApprovalStateName(view.approval_state)},
          {"resolved_by", view.resolved_by},
          {"reason", view.reason},
          {"decided_ms", view.decided_ms},
          {"outcome", view.outcome}};
}

Json ViewJson(const ScriptView& view) {
  Json notes = Json::array();
  for (const ScriptNote& note : view.notes) {
    notes.push_back({{"line", note.line}, {"message", note.message}});
  }
  return {{"script", view.script},
          {"source", view.source},
          {"bytes", view.bytes},
          {"updated_ms", view.updated_ms},
          {"notes", notes}};
}

Json ViewJson(const ToolView& view) {
  return {{"name", view.spec.name},
          {"description", view.spec.description},
          {"parameters", Parsed(view.spec.parameters)},
          {"effect", EffectClassName(view.spec.effect)},
          {"timeout_ms", view.spec.timeout_ms},
          {"output_bytes_max", view.spec.output_bytes_max},
          {"origin", view.origin},
          {"available", view.available}};
}

Json ViewJson(const ModelView& view) {
  return {{"engine", view.engine},
          {"model", view.model},
          {"url", view.url},
          {"fingerprint", view.fingerprint},
          {"arithmetic_id", view.arithmetic_id},
          {"context_tokens_max", view.context_tokens_max},
          {"vocabulary", view.vocabulary},
          {"layers", view.layers}};
}

Json ViewJson(const RewindView& view) {
  Json json = Parsed(RewindViewToJson(view));
  json["session"] = ViewJson(view.session);
  return json;
}

Json ViewJson(const DeleteView& view) { return Parsed(DeleteViewToJson(view)); }

Json ViewJson(const SearchHit& hit) {
  return {{"session", hit.session},   {"turn", hit.turn},        {"kind", hit.kind},
          {"seq", hit.seq},           {"time_ms", hit.time_ms},  {"snippet", hit.snippet},
          {"sessions", hit.sessions}, {"timeline", hit.timeline}};
}

Json ViewJson(const NoteView& view) {
  return {{"note", view.note},
          {"workspace", view.workspace},
          {"session", view.session},
          {"time_ms", view.time_ms},
          {"text", view.text}};
}

Json ViewJson(const StepReuse& step) {
  return {{"turn", step.turn},
          {"step", step.step},
          {"context_tokens", step.context_tokens},
          {"reused_ram", step.reused_ram},
          {"reused_disk", step.reused_disk},
          {"recomputed", step.recomputed},
          {"prefilled", step.prefilled},
          {"generated", step.generated},
          {"bytes_read", step.bytes_read},
          {"restore_ms", step.restore_ms},
          {"prefill_ms", step.prefill_ms},
          {"reasons", step.reasons}};
}

Json ViewJson(const TokenTrace& trace) {
  // Not every reader of JSON keeps 64 bits of a number.
  Json hashes = Json::array();
  for (const uint64_t hash : trace.logits_hashes) {
    char text[20];
    std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash));
    hashes.push_back(text);
  }
  return {{"begin", trace.begin}, {"ids", trace.ids}, {"logits_hashes", hashes}};
}

Json ViewJson(const ExportView& view) {
  return {{"path", view.path},
          {"bytes", view.bytes},
          {"events", view.events},
          {"tokens", view.tokens},
          {"blocks", view.blocks},
          {"blocks_missing", view.blocks_missing},
          {"checkpoints", view.checkpoints},
          {"notes", view.notes}};
}

Json ViewJson(const ImportView& view) {
  return {{"session", ViewJson(view.session)},
          {"events", view.events},
          {"tokens", view.tokens},
          {"blocks", view.blocks},
          {"checkpoints", view.checkpoints},
          {"kv_taken", view.kv_taken},
          {"notes", view.notes}};
}

Json ViewJson(const BackupReport& report) {
  return {{"path", report.path}, {"journal_bytes", report.journal_bytes}};
}

Json ViewJson(const PruneView& view) {
  Json sessions = Json::array();
  for (const PrunedSession& gone : view.sessions) {
    sessions.push_back({{"session", gone.session},
                        {"used_ms", gone.used_ms},
                        {"bytes", gone.bytes},
                        {"reason", gone.reason}});
  }
  return {{"sessions", sessions},
          {"bytes_before", view.bytes_before},
          {"bytes_after", view.bytes_after}};
}

Json ViewJson(const CompactReport& report) {
  return {{"journal_bytes_before", report.journal_bytes_before},
          {"journal_bytes_after", report.journal_bytes_after},
          {"kv_bytes_before", report.kv_bytes_before},
          {"kv_bytes_after", report.kv_bytes_after}};
}

Json ViewJson(const VerifyReport& report) {
  return {{"sessions", report.sessions},
          {"events", report.events},
          {"tokens", report.tokens},
          {"blocks", report.blocks},
          {"block_bytes", report.block_bytes},
          {"checkpoints", report.checkpoints},
          {"checkpoint_bytes", report.checkpoint_bytes},
          {"file_changes", report.file_changes},
          {"file_contents", report.file_contents},
          {"file_content_bytes", report.file_content_bytes},
          {"problems", report.problems}};
}

Json ViewJson(const RuntimeStats& stats) {
  return {{"sessions", stats.sessions},
          {"turns_running", stats.turns_running},
          {"sequences_resident", stats.sequences_resident},
          {"kv_bytes_on_disk", stats.kv_bytes_on_disk},
          {"block_tokens", stats.block_tokens},
          {"block_payload_bytes", stats.block_payload_bytes},
          {"engine_wakeups", stats.engine_wakeups},
          {"fingerprint", stats.fingerprint},
          {"arithmetic_id", stats.arithmetic_id},
          {"model_path", stats.model_path},
          {"notes", stats.notes},
          {"timelines", stats.timelines},
          {"timeline_tokens", stats.timeline_tokens},
          {"journal_tokens", stats.journal_tokens},
          {"journal_bytes", stats.journal_bytes},
          {"kv_blocks", stats.kv_blocks},
          {"kv_block_bytes", stats.kv_block_bytes},
          {"kv_write_amplification", stats.kv_write_amplification},
          {"kv_blocks_found", stats.kv_blocks_found},
          {"kv_blocks_missed", stats.kv_blocks_missed},
          {"kv_bytes_in_ram", stats.kv_bytes_in_ram},
          {"kv_blocks_evicted", stats.kv_blocks_evicted},
          {"sharing_factor", stats.SharingFactor()},
          {"kv_bytes_per_token", stats.KvBytesPerToken()}};
}

Json ViewJson(const Event& event) {
  return {{"session", event.session},         {"turn", event.turn},     {"kind", event.kind},
          {"payload", Parsed(event.payload)}, {"cursor", event.cursor}, {"seq", event.seq},
          {"time_ms", event.time_ms}};
}

}  // namespace baleen
