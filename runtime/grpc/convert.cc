#include "runtime/grpc/convert.h"

#include <cmath>
#include <utility>

#include "tools_sdk/utf8.h"

namespace baleen::wire {
namespace {

Status CheckUnit(float value, std::string_view field, float least, float most) {
  if (std::isfinite(value) && value >= least && value <= most) return OkStatus();
  return BadField(field,
                  "a number in [" + std::to_string(least) + ", " + std::to_string(most) + "]",
                  std::to_string(value));
}

Status CheckNotNegative(int64_t value, std::string_view field) {
  if (value >= 0) return OkStatus();
  return BadField(field, "0 or more", std::to_string(value));
}

v1::EffectClass ToWireEffect(EffectClass effect) {
  switch (effect) {
    case EffectClass::kPure: return v1::EFFECT_CLASS_PURE;
    case EffectClass::kIdempotent: return v1::EFFECT_CLASS_IDEMPOTENT;
    case EffectClass::kEffect: return v1::EFFECT_CLASS_EFFECT;
  }
  return v1::EFFECT_CLASS_EFFECT;
}

}  // namespace

void ToWire(const ToolSpec& spec, v1::ToolSpec* out) {
  out->set_name(ReplaceInvalidUtf8(spec.name));
  out->set_description(ReplaceInvalidUtf8(spec.description));
  out->set_parameters(ReplaceInvalidUtf8(spec.parameters));
  out->set_effect(ToWireEffect(spec.effect));
  out->set_timeout_ms(spec.timeout_ms);
  out->set_output_bytes_max(spec.output_bytes_max);
}

Result<ToolSpec> FromWire(const v1::ToolSpec& spec) {
  RETURN_IF_ERROR(CheckNotNegative(spec.timeout_ms(), "settings.host_tools.timeout_ms"));
  RETURN_IF_ERROR(
      CheckNotNegative(spec.output_bytes_max(), "settings.host_tools.output_bytes_max"));
  ToolSpec out;
  out.name = spec.name();
  out.description = spec.description();
  out.parameters = spec.parameters();
  if (spec.effect() == v1::EFFECT_CLASS_PURE) out.effect = EffectClass::kPure;
  if (spec.effect() == v1::EFFECT_CLASS_IDEMPOTENT) out.effect = EffectClass::kIdempotent;
  if (spec.timeout_ms() > 0) out.timeout_ms = spec.timeout_ms();
  if (spec.output_bytes_max() > 0) out.output_bytes_max = spec.output_bytes_max();
  return out;
}

void SetTime(int64_t time_ms, google::protobuf::Timestamp* out) {
  int64_t seconds = time_ms / 1000;
  int64_t rest_ms = time_ms % 1000;
  if (rest_ms < 0) {  // nanos count forwards, also before 1970
    --seconds;
    rest_ms += 1000;
  }
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(rest_ms * 1'000'000));
}

int64_t TimeMs(const google::protobuf::Timestamp& time) {
  // The range of Timestamp (years 1 to 9999); outside it the product could overflow.
  if (time.seconds() < -62'135'596'800 || time.seconds() > 253'402'300'799) return 0;
  return time.seconds() * 1000 + time.nanos() / 1'000'000;
}

void ToWire(const SamplingSettings& sampling, v1::Sampling* out) {
  out->set_temperature(sampling.temperature);
  out->set_top_p(sampling.top_p);
  out->set_min_p(sampling.min_p);
  out->set_top_k(sampling.top_k);
  out->set_seed(sampling.seed);
}

Result<SamplingSettings> FromWire(const v1::Sampling& sampling) {
  SamplingSettings out;
  if (sampling.has_temperature()) out.temperature = sampling.temperature();
  if (sampling.has_top_p()) out.top_p = sampling.top_p();
  if (sampling.has_min_p()) out.min_p = sampling.min_p();
  if (sampling.has_top_k()) out.top_k = sampling.top_k();
  if (sampling.has_seed()) out.seed = sampling.seed();
  RETURN_IF_ERROR(CheckUnit(out.temperature, "sampling.temperature", 0.0F, 100.0F));
  RETURN_IF_ERROR(CheckUnit(out.top_p, "sampling.top_p", 0.0F, 1.0F));
  RETURN_IF_ERROR(CheckUnit(out.min_p, "sampling.min_p", 0.0F, 1.0F));
  RETURN_IF_ERROR(CheckNotNegative(out.top_k, "sampling.top_k"));
  return out;
}

void ToWire(const ConstraintSettings& constraint, v1::Constraint* out) {
  out->set_tool_choice(ReplaceInvalidUtf8(constraint.tool_choice));
  out->set_answer_schema(ReplaceInvalidUtf8(constraint.answer_schema));
  if (constraint.thinking_tokens >= 0) out->set_thinking_tokens(constraint.thinking_tokens);
}

Result<ConstraintSettings> FromWire(const v1::Constraint& constraint) {
  RETURN_IF_ERROR(CheckNotNegative(constraint.thinking_tokens(), "constraint.thinking_tokens"));
  ConstraintSettings out;
  if (!constraint.tool_choice().empty()) out.tool_choice = constraint.tool_choice();
  out.answer_schema = constraint.answer_schema();
  if (constraint.has_thinking_tokens()) out.thinking_tokens = constraint.thinking_tokens();
  return out;
}

void ToWire(const SessionSettings& settings, v1::SessionSettings* out) {
  out->set_title(ReplaceInvalidUtf8(settings.title));
  out->set_workspace(ReplaceInvalidUtf8(settings.workspace));
  out->set_script(ReplaceInvalidUtf8(settings.script));
  out->set_script_name(ReplaceInvalidUtf8(settings.script_name));
  out->set_system_prompt(ReplaceInvalidUtf8(settings.system_prompt));
  out->set_thinking(settings.thinking == "thinking" ? v1::SessionSettings::THINKING
                                                    : v1::SessionSettings::CHAT);
  out->set_reasoning_effort(ReplaceInvalidUtf8(settings.reasoning_effort));
  for (const std::string& tool : settings.tools) out->add_tools(ReplaceInvalidUtf8(tool));
  for (const std::string& one : settings.defer_tools) {
    out->add_defer_tools(ReplaceInvalidUtf8(one));
  }
  for (const std::string& host : settings.network_hosts) {
    out->add_network_hosts(ReplaceInvalidUtf8(host));
  }
  for (const std::string& path : settings.readable_secrets) {
    out->add_readable_secrets(ReplaceInvalidUtf8(path));
  }
  for (const ToolSpec& spec : settings.host_tools) ToWire(spec, out->add_host_tools());
  ToWire(settings.sampling, out->mutable_sampling());
  out->set_tokens_max(settings.tokens_max);
  ToWire(settings.constraint, out->mutable_constraint());
  ToWire(settings.policy, out->mutable_policy());
  ToWire(settings.budget, out->mutable_budget());
  ToWire(settings.turn_budget, out->mutable_turn_budget());
  ToWire(settings.prices, out->mutable_prices());
  out->set_engine(ReplaceInvalidUtf8(settings.engine));
  out->set_goal(ReplaceInvalidUtf8(settings.goal));
  for (const std::string& note : settings.notes) out->add_notes(ReplaceInvalidUtf8(note));
  out->set_compact_at_percent(settings.compact_at_percent == 0 ? -1 : settings.compact_at_percent);
}

Result<SessionSettings> FromWire(const v1::SessionSettings& settings) {
  RETURN_IF_ERROR(CheckNotNegative(settings.tokens_max(), "settings.tokens_max"));
  SessionSettings out;
  out.title = settings.title();
  out.workspace = settings.workspace();
  out.script = settings.script();
  out.script_name = settings.script_name();
  out.system_prompt = settings.system_prompt();
  if (settings.thinking() == v1::SessionSettings::THINKING) {
    out.thinking = "thinking";
  } else if (settings.thinking() != v1::SessionSettings::CHAT &&
             settings.thinking() != v1::SessionSettings::THINKING_UNSPECIFIED) {
    return BadField("settings.thinking", "CHAT or THINKING", std::to_string(settings.thinking()));
  }
  out.reasoning_effort = settings.reasoning_effort();
  out.tools.assign(settings.tools().begin(), settings.tools().end());
  out.defer_tools.assign(settings.defer_tools().begin(), settings.defer_tools().end());
  out.network_hosts.assign(settings.network_hosts().begin(), settings.network_hosts().end());
  out.readable_secrets.assign(settings.readable_secrets().begin(),
                              settings.readable_secrets().end());
  for (const v1::ToolSpec& spec : settings.host_tools()) {
    ASSIGN_OR_RETURN(ToolSpec tool, FromWire(spec));
    out.host_tools.push_back(std::move(tool));
  }
  ASSIGN_OR_RETURN(out.sampling, FromWire(settings.sampling()));
  if (settings.tokens_max() > 0) out.tokens_max = settings.tokens_max();
  ASSIGN_OR_RETURN(out.constraint, FromWire(settings.constraint()));
  ASSIGN_OR_RETURN(out.policy, FromWire(settings.policy()));
  ASSIGN_OR_RETURN(out.budget, FromWire(settings.budget()));
  ASSIGN_OR_RETURN(out.turn_budget, FromWire(settings.turn_budget()));
  ASSIGN_OR_RETURN(out.prices, FromWire(settings.prices()));
  out.engine = settings.engine();
  out.goal = settings.goal();
  out.notes.assign(settings.notes().begin(), settings.notes().end());
  if (settings.compact_at_percent() < -1) {
    return BadField("settings.compact_at_percent", "-1 to 99",
                    std::to_string(settings.compact_at_percent()));
  }
  if (settings.compact_at_percent() != 0) {
    out.compact_at_percent = std::max(0, settings.compact_at_percent());
  }
  return out;
}

v1::Session::State ToWire(SessionState state) {
  switch (state) {
    case SessionState::kIdle: return v1::Session::IDLE;
    case SessionState::kRunning: return v1::Session::RUNNING;
    case SessionState::kBroken: return v1::Session::BROKEN;
    case SessionState::kRequiresAction: return v1::Session::REQUIRES_ACTION;
  }
  return v1::Session::BROKEN;
}

void ToWire(const SessionView& view, v1::Session* out) {
  out->set_name(SessionName(view.session));
  ToWire(view.settings, out->mutable_settings());
  out->set_state(ToWire(view.state));
  out->set_tokens(view.tokens);
  out->set_context_tokens(view.context_tokens);
  out->set_turns(view.turns);
  SetTime(view.created_ms, out->mutable_create_time());
  SetTime(view.updated_ms, out->mutable_update_time());
  out->set_head_cursor(ReplaceInvalidUtf8(view.head_cursor));
  out->set_open_turn(TurnNameOf(view.session, view.open_turn));
  out->set_pinned(view.pinned);
  out->set_timeline(view.timeline);
  if (!view.parent.empty()) out->set_parent(SessionName(view.parent));
  out->set_tenant(ReplaceInvalidUtf8(view.tenant));
  for (const std::string& note : view.schema_notes) out->add_schema_notes(ReplaceInvalidUtf8(note));
  for (const std::string& note : view.policy_notes) out->add_policy_notes(ReplaceInvalidUtf8(note));
  for (const std::string& approval : view.pending_approvals) {
    out->add_pending_approvals(ApprovalNameOf(view.session, approval));
  }
}

Result<SessionView> FromWire(const v1::Session& session) {
  SessionView out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(session.name(), "session.name"));
  ASSIGN_OR_RETURN(out.settings, FromWire(session.settings()));
  // A state of a newer server is neither idle nor running for us: the careful reading is broken.
  out.state = session.state() == v1::Session::IDLE              ? SessionState::kIdle
              : session.state() == v1::Session::RUNNING         ? SessionState::kRunning
              : session.state() == v1::Session::REQUIRES_ACTION ? SessionState::kRequiresAction
                                                                : SessionState::kBroken;
  out.tokens = session.tokens();
  out.context_tokens = session.context_tokens();
  out.turns = session.turns();
  out.created_ms = TimeMs(session.create_time());
  out.updated_ms = TimeMs(session.update_time());
  out.head_cursor = session.head_cursor();
  out.schema_notes.assign(session.schema_notes().begin(), session.schema_notes().end());
  out.policy_notes.assign(session.policy_notes().begin(), session.policy_notes().end());
  for (const std::string& name : session.pending_approvals()) {
    ASSIGN_OR_RETURN(ApprovalName pending, ParseApprovalName(name, "session.pending_approvals"));
    out.pending_approvals.push_back(std::move(pending.approval));
  }
  if (!session.open_turn().empty()) {
    ASSIGN_OR_RETURN(TurnName open, ParseTurnName(session.open_turn(), "session.open_turn"));
    out.open_turn = std::move(open.turn);
  }
  out.pinned = session.pinned();
  out.timeline = session.timeline();
  if (!session.parent().empty()) {
    ASSIGN_OR_RETURN(out.parent, ParseSessionName(session.parent(), "session.parent"));
  }
  out.tenant = session.tenant();
  return out;
}

void ToWire(const StartTurnRequest& request, v1::StartTurnRequest* out) {
  out->set_parent(SessionName(request.session));
  for (const std::string& part : request.input) out->add_input(ReplaceInvalidUtf8(part));
  if (request.sampling.has_value()) ToWire(*request.sampling, out->mutable_sampling());
  out->set_tokens_max(request.tokens_max);
  out->set_compact(request.compact);
  out->set_trace_logits(request.trace_logits);
  if (request.constraint.has_value()) ToWire(*request.constraint, out->mutable_constraint());
  if (request.budget.has_value()) ToWire(*request.budget, out->mutable_budget());
  out->set_expected_head(ReplaceInvalidUtf8(request.expected_head));
  out->set_request_id(ReplaceInvalidUtf8(request.request_id));
}

Result<StartTurnRequest> FromWire(const v1::StartTurnRequest& request) {
  RETURN_IF_ERROR(CheckNotNegative(request.tokens_max(), "tokens_max"));
  StartTurnRequest out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(request.parent(), "parent"));
  out.input.assign(request.input().begin(), request.input().end());
  if (request.has_sampling()) {
    ASSIGN_OR_RETURN(out.sampling, FromWire(request.sampling()));
  }
  out.tokens_max = request.tokens_max();
  out.compact = request.compact();
  out.trace_logits = request.trace_logits();
  if (request.has_constraint()) {
    ASSIGN_OR_RETURN(out.constraint, FromWire(request.constraint()));
  }
  if (request.has_budget()) {
    ASSIGN_OR_RETURN(out.budget, FromWire(request.budget()));
  }
  out.expected_head = request.expected_head();
  out.request_id = request.request_id();
  return out;
}

void ToWire(const TurnView& view, v1::Turn* out) {
  out->set_name(TurnNameOf(view.session, view.turn));
  switch (view.state) {
    case TurnState::kRunning: out->set_state(v1::Turn::RUNNING); break;
    case TurnState::kSucceeded: out->set_state(v1::Turn::SUCCEEDED); break;
    case TurnState::kFailed: out->set_state(v1::Turn::FAILED); break;
    case TurnState::kCancelled: out->set_state(v1::Turn::CANCELLED); break;
  }
  out->set_text(ReplaceInvalidUtf8(view.text));
  if (!view.error.ok()) {
    out->mutable_error()->set_code(static_cast<int>(view.error.code()));
    out->mutable_error()->set_reason(ReplaceInvalidUtf8(view.error.reason()));
    out->mutable_error()->set_message(ReplaceInvalidUtf8(view.error.message()));
  }
  v1::TokenUse* use = out->mutable_tokens();
  use->set_reused_ram(view.tokens_reused_ram);
  use->set_reused_disk(view.tokens_reused_disk);
  use->set_recomputed(view.tokens_recomputed);
  use->set_prefilled(view.tokens_prefilled);
  use->set_generated(view.tokens_generated);
  out->set_calls_cut(view.calls_cut);
  ToWire(view.spend, out->mutable_spend());
  ToWire(view.budget, out->mutable_budget());
  for (const std::string& text : view.unsent) out->add_unsent(ReplaceInvalidUtf8(text));
  for (const std::string& path : view.files) out->add_files(ReplaceInvalidUtf8(path));
  out->set_waiting_on(ReplaceInvalidUtf8(view.waiting_on));
  out->set_waiting_detail(ReplaceInvalidUtf8(view.waiting_detail));
  if (view.waiting_since_ms != 0) SetTime(view.waiting_since_ms, out->mutable_waiting_since());
}

Result<TurnView> FromWire(const v1::Turn& turn) {
  TurnView out;
  ASSIGN_OR_RETURN(TurnName name, ParseTurnName(turn.name(), "turn.name"));
  out.session = std::move(name.session);
  out.turn = std::move(name.turn);
  switch (turn.state()) {
    case v1::Turn::RUNNING: out.state = TurnState::kRunning; break;
    case v1::Turn::SUCCEEDED: out.state = TurnState::kSucceeded; break;
    case v1::Turn::CANCELLED: out.state = TurnState::kCancelled; break;
    default: out.state = TurnState::kFailed; break;
  }
  out.text = turn.text();
  if (turn.has_error()) {
    const int code = turn.error().code();
    const bool known = code > 0 && code <= static_cast<int>(StatusCode::kUnauthenticated);
    out.error = Status(known ? static_cast<StatusCode>(code) : StatusCode::kUnknown,
                       turn.error().message(), turn.error().reason());
  }
  out.tokens_reused_ram = turn.tokens().reused_ram();
  out.tokens_reused_disk = turn.tokens().reused_disk();
  out.tokens_recomputed = turn.tokens().recomputed();
  out.tokens_prefilled = turn.tokens().prefilled();
  out.tokens_generated = turn.tokens().generated();
  out.calls_cut = turn.calls_cut();
  out.spend = FromWire(turn.spend());
  ASSIGN_OR_RETURN(out.budget, FromWire(turn.budget()));
  out.unsent.assign(turn.unsent().begin(), turn.unsent().end());
  out.files.assign(turn.files().begin(), turn.files().end());
  out.waiting_on = turn.waiting_on();
  out.waiting_detail = turn.waiting_detail();
  if (turn.has_waiting_since()) out.waiting_since_ms = TimeMs(turn.waiting_since());
  return out;
}

void ToWire(const Event& event, v1::Event* out) {
  out->set_session(SessionName(event.session));
  out->set_turn(TurnNameOf(event.session, event.turn));
  out->set_kind(ReplaceInvalidUtf8(event.kind));
  out->set_payload(ReplaceInvalidUtf8(event.payload));
  out->set_cursor(ReplaceInvalidUtf8(event.cursor));
  out->set_seq(event.seq);
  SetTime(event.time_ms, out->mutable_time());
}

Result<Event> FromWire(const v1::Event& event) {
  Event out;
  ASSIGN_OR_RETURN(out.session, ParseSessionName(event.session(), "event.session"));
  if (!event.turn().empty()) {
    ASSIGN_OR_RETURN(TurnName name, ParseTurnName(event.turn(), "event.turn"));
    out.turn = std::move(name.turn);
  }
  out.kind = event.kind();
  out.payload = event.payload();
  out.cursor = event.cursor();
  out.seq = event.seq();
  out.time_ms = TimeMs(event.time());
  return out;
}

void ToWire(const TokenTrace& trace, v1::ReadTokensResponse* out) {
  out->set_begin(trace.begin);
  out->mutable_ids()->Add(trace.ids.begin(), trace.ids.end());
  out->mutable_logits_hashes()->Add(trace.logits_hashes.begin(), trace.logits_hashes.end());
}

TokenTrace FromWire(const v1::ReadTokensResponse& response) {
  TokenTrace out;
  out.begin = response.begin();
  out.ids.assign(response.ids().begin(), response.ids().end());
  out.logits_hashes.assign(response.logits_hashes().begin(), response.logits_hashes().end());
  return out;
}

void ToWire(const VerifyReport& report, v1::VerifySessionResponse* out) {
  out->set_sessions(report.sessions);
  out->set_events(report.events);
  out->set_tokens(report.tokens);
  out->set_blocks(report.blocks);
  out->set_checkpoints(report.checkpoints);
  out->set_block_bytes(report.block_bytes);
  out->set_checkpoint_bytes(report.checkpoint_bytes);
  out->set_file_changes(report.file_changes);
  out->set_file_contents(report.file_contents);
  out->set_file_content_bytes(report.file_content_bytes);
  for (const std::string& problem : report.problems) out->add_problems(ReplaceInvalidUtf8(problem));
}

VerifyReport FromWire(const v1::VerifySessionResponse& response) {
  VerifyReport out;
  out.sessions = response.sessions();
  out.events = response.events();
  out.tokens = response.tokens();
  out.blocks = response.blocks();
  out.checkpoints = response.checkpoints();
  out.block_bytes = response.block_bytes();
  out.checkpoint_bytes = response.checkpoint_bytes();
  out.file_changes = response.file_changes();
  out.file_contents = response.file_contents();
  out.file_content_bytes = response.file_content_bytes();
  out.problems.assign(response.problems().begin(), response.problems().end());
  return out;
}

void ToWire(const RuntimeStats& stats, v1::Stats* out) {
  out->set_sessions(stats.sessions);
  out->set_turns_running(stats.turns_running);
  out->set_sequences_resident(stats.sequences_resident);
  out->set_kv_bytes_on_disk(stats.kv_bytes_on_disk);
  out->set_block_tokens(stats.block_tokens);
  out->set_block_payload_bytes(stats.block_payload_bytes);
  out->set_engine_wakeups(stats.engine_wakeups);
  out->set_fingerprint(ReplaceInvalidUtf8(stats.fingerprint));
  out->set_arithmetic_id(ReplaceInvalidUtf8(stats.arithmetic_id));
  out->set_model_path(ReplaceInvalidUtf8(stats.model_path));
  for (const std::string& note : stats.notes) out->add_notes(ReplaceInvalidUtf8(note));
  out->set_timelines(stats.timelines);
  out->set_timeline_tokens(stats.timeline_tokens);
  out->set_journal_tokens(stats.journal_tokens);
  out->set_journal_bytes(stats.journal_bytes);
  out->set_kv_blocks(stats.kv_blocks);
  out->set_kv_block_bytes(stats.kv_block_bytes);
  out->set_kv_write_amplification(stats.kv_write_amplification);
  out->set_kv_blocks_found(stats.kv_blocks_found);
  out->set_kv_blocks_missed(stats.kv_blocks_missed);
  out->set_kv_bytes_in_ram(stats.kv_bytes_in_ram);
  out->set_kv_blocks_evicted(stats.kv_blocks_evicted);
}

RuntimeStats FromWire(const v1::Stats& stats) {
  RuntimeStats out;
  out.sessions = stats.sessions();
  out.turns_running = stats.turns_running();
  out.sequences_resident = stats.sequences_resident();
  out.kv_bytes_on_disk = stats.kv_bytes_on_disk();
  out.block_tokens = stats.block_tokens();
  out.block_payload_bytes = stats.block_payload_bytes();
  out.engine_wakeups = stats.engine_wakeups();
  out.fingerprint = stats.fingerprint();
  out.arithmetic_id = stats.arithmetic_id();
  out.model_path = stats.model_path();
  out.notes.assign(stats.notes().begin(), stats.notes().end());
  out.timelines = stats.timelines();
  out.timeline_tokens = stats.timeline_tokens();
  out.journal_tokens = stats.journal_tokens();
  out.journal_bytes = stats.journal_bytes();
  out.kv_blocks = stats.kv_blocks();
  out.kv_block_bytes = stats.kv_block_bytes();
  out.kv_write_amplification = stats.kv_write_amplification();
  out.kv_blocks_found = stats.kv_blocks_found();
  out.kv_blocks_missed = stats.kv_blocks_missed();
  out.kv_bytes_in_ram = stats.kv_bytes_in_ram();
  out.kv_blocks_evicted = stats.kv_blocks_evicted();
  return out;
}

void ToWire(const ToolResult& result, v1::Result* out) {
  out->set_call_id(ReplaceInvalidUtf8(result.call_id));
  switch (result.outcome) {
    case ToolOutcome::kOk: out->set_outcome(v1::OUTCOME_OK); break;
    case ToolOutcome::kError: out->set_outcome(v1::OUTCOME_ERROR); break;
    case ToolOutcome::kDenied: out->set_outcome(v1::OUTCOME_DENIED); break;
    case ToolOutcome::kTimeout: out->set_outcome(v1::OUTCOME_TIMEOUT); break;
    case ToolOutcome::kAborted: out->set_outcome(v1::OUTCOME_ABORTED); break;
    case ToolOutcome::kUnknown: out->set_outcome(v1::OUTCOME_UNKNOWN); break;
    case ToolOutcome::kAbortedBeforeDispatch:
      out->set_outcome(v1::OUTCOME_ABORTED_BEFORE_DISPATCH);
      break;
  }
  out->set_content(ReplaceInvalidUtf8(result.content));
  out->set_content_bytes(result.content_bytes);
}

ToolResult FromWire(const v1::Result& result) {
  ToolResult out;
  out.call_id = result.call_id();
  switch (result.outcome()) {
    case v1::OUTCOME_UNSPECIFIED:
    case v1::OUTCOME_OK: out.outcome = ToolOutcome::kOk; break;
    case v1::OUTCOME_ERROR: out.outcome = ToolOutcome::kError; break;
    case v1::OUTCOME_DENIED: out.outcome = ToolOutcome::kDenied; break;
    case v1::OUTCOME_TIMEOUT: out.outcome = ToolOutcome::kTimeout; break;
    case v1::OUTCOME_ABORTED: out.outcome = ToolOutcome::kAborted; break;
    case v1::OUTCOME_ABORTED_BEFORE_DISPATCH:
      out.outcome = ToolOutcome::kAbortedBeforeDispatch;
      break;
    default: out.outcome = ToolOutcome::kUnknown; break;  // of a newer host
  }
  out.content = result.content();
  out.content_bytes = result.content_bytes();
  return out;
}

void ToWire(const std::string& session, const ToolView& view, v1::Tool* out) {
  out->set_name(ReplaceInvalidUtf8(ToolNameOf(session, view.spec.name)));
  ToWire(view.spec, out->mutable_spec());
  out->set_origin(view.origin == "plugin"   ? v1::Tool::PLUGIN
                  : view.origin == "mcp"    ? v1::Tool::MCP
                  : view.origin == "host"   ? v1::Tool::HOST
                  : view.origin == "script" ? v1::Tool::SCRIPT
                  : view.origin == "http"   ? v1::Tool::HTTP
                                            : v1::Tool::BUILTIN);
  out->set_available(view.available);
}

Result<ToolView> FromWire(const v1::Tool& tool) {
  ToolView out;
  ASSIGN_OR_RETURN(out.spec, FromWire(tool.spec()));
  switch (tool.origin()) {
    case v1::Tool::BUILTIN: out.origin = "builtin"; break;
    case v1::Tool::PLUGIN: out.origin = "plugin"; break;
    case v1::Tool::HOST: out.origin = "host"; break;
    case v1::Tool::SCRIPT: out.origin = "script"; break;
    case v1::Tool::HTTP: out.origin = "http"; break;
    case v1::Tool::MCP: out.origin = "mcp"; break;
    default: break;  // of a newer server
  }
  out.available = tool.available();
  return out;
}

void ToWire(const ScriptView& view, v1::Script* out) {
  // One that was only looked at has no name.
  if (!view.script.empty()) out->set_name(ScriptNameOf(view.script));
  out->set_source(ReplaceInvalidUtf8(view.source));
  out->set_bytes(view.bytes);
  SetTime(view.updated_ms, out->mutable_update_time());
  for (const ScriptNote& note : view.notes) {
    v1::Script::Note* wire = out->add_notes();
    wire->set_line(note.line);
    wire->set_message(ReplaceInvalidUtf8(note.message));
  }
}

Result<ScriptView> FromWire(const v1::Script& script) {
  ScriptView view;
  if (!script.name().empty()) {
    ASSIGN_OR_RETURN(view.script, ParseScriptName(script.name(), "name"));
  }
  view.source = script.source();
  view.bytes = script.bytes();
  view.updated_ms = TimeMs(script.update_time());
  for (const v1::Script::Note& note : script.notes()) {
    view.notes.push_back({note.line(), note.message()});
  }
  return view;
}

void ToWire(const ModelView& view, v1::Model* out) {
  out->set_name(ReplaceInvalidUtf8(ModelNameOf(view.engine)));
  out->set_engine(ReplaceInvalidUtf8(view.engine));
  out->set_model(ReplaceInvalidUtf8(view.model));
  out->set_url(ReplaceInvalidUtf8(view.url));
  out->set_fingerprint(ReplaceInvalidUtf8(view.fingerprint));
  out->set_arithmetic_id(ReplaceInvalidUtf8(view.arithmetic_id));
  out->set_context_tokens_max(view.context_tokens_max);
  out->set_vocabulary(view.vocabulary);
  out->set_layers(view.layers);
}

ModelView FromWire(const v1::Model& model) {
  ModelView out;
  out.engine = model.engine();
  out.model = model.model();
  out.url = model.url();
  out.fingerprint = model.fingerprint();
  out.arithmetic_id = model.arithmetic_id();
  out.context_tokens_max = model.context_tokens_max();
  out.vocabulary = model.vocabulary();
  out.layers = model.layers();
  return out;
}

}  // namespace baleen::wire
