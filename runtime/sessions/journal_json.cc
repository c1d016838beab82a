#include "runtime/sessions/journal_json.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/sessions/json_members.h"
#include "runtime/sessions/turn_settings_json.h"
#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

/// As FileAction. Persisted: don't rename.
constexpr const char* kFileActions[] = {"unchanged", "restore",  "delete",
                                        "recreate",  "conflict", "not_kept"};

using Json = nlohmann::ordered_json;
using Reader = JsonMembers;

/// Leaves out what equals `usual`, which is what readers assume of a missing member: it can't
/// change any more. Most turns have nothing unusual, and a journal holds many.
Json Unusual(const Json& json, const Json& usual) {
  Json out = Json::object();
  for (const auto& [name, value] : json.items()) {
    if (usual.at(name) != value) out[name] = value;
  }
  return out;
}

Json FilesToJson(const std::vector<FileRestore>& files) {
  Json out = Json::array();
  for (const FileRestore& file : files) {
    Json& entry =
        out.emplace_back(Json{{"path", file.path}, {"action", FileActionName(file.action)}});
    if (!file.why.empty()) entry["why"] = file.why;
  }
  return out;
}

/// What is always asked of a step, and of the rest what isn't zero.
Json ReuseToJson(const ReuseReport& reuse) {
  Json json = {{"reused_ram", reuse.reused_ram}, {"reused_disk", reuse.reused_disk},
               {"recomputed", reuse.recomputed}, {"prefilled", reuse.prefilled},
               {"restore_ms", reuse.restore_ms}, {"prefill_ms", reuse.prefill_ms}};
  if (reuse.bytes_read != 0) json["bytes_read"] = reuse.bytes_read;
  const RowWaits& rows = reuse.rows;
  if (rows.units != 0 || rows.waits != 0 || rows.late != 0) {
    json["rows"] = {{"units", rows.units},
                    {"bytes", rows.bytes},
                    {"waits", rows.waits},
                    {"late", rows.late},
                    {"wait_ms", rows.wait_ms}};
  }
  if (reuse.parked != 0) json["parked"] = reuse.parked;
  if (!reuse.reasons.empty()) json["reasons"] = reuse.reasons;
  return json;
}

Status ReadReuse(Reader& parent, ReuseReport* reuse) {
  const Json* json = parent.Find("reuse");
  if (json == nullptr) return OkStatus();
  Reader reader(*json, "reuse");
  reader.Get("reused_ram", &reuse->reused_ram);
  reader.Get("reused_disk", &reuse->reused_disk);
  reader.Get("recomputed", &reuse->recomputed);
  reader.Get("prefilled", &reuse->prefilled);
  reader.Get("bytes_read", &reuse->bytes_read);
  reader.Get("restore_ms", &reuse->restore_ms);
  reader.Get("prefill_ms", &reuse->prefill_ms);
  reader.Get("parked", &reuse->parked);
  if (const Json* json_rows = reader.Find("rows")) {
    Reader rows(*json_rows, "reuse.rows");
    rows.Get("units", &reuse->rows.units);
    rows.Get("bytes", &reuse->rows.bytes);
    rows.Get("waits", &reuse->rows.waits);
    rows.Get("late", &reuse->rows.late);
    rows.Get("wait_ms", &reuse->rows.wait_ms);
    RETURN_IF_ERROR(rows.status());
  }
  if (const Json* reasons = reader.Array("reasons")) {
    for (const Json& reason : *reasons) {
      if (reason.is_string()) reuse->reasons.push_back(reason.get<std::string>());
    }
  }
  return reader.status();
}

}  // namespace

std::string TurnOf(std::string_view payload) {
  constexpr std::string_view kStart = "{\"turn\":\"";
  if (!payload.starts_with(kStart)) return "";
  const size_t end = payload.find('"', kStart.size());
  return std::string(payload.substr(kStart.size(), end - kStart.size()));
}

const char* TurnStateName(TurnState state) {
  switch (state) {
    case TurnState::kRunning: return "RUNNING";
    case TurnState::kSucceeded: return "SUCCEEDED";
    case TurnState::kFailed: return "FAILED";
    case TurnState::kCancelled: return "CANCELLED";
  }
  return "FAILED";
}

std::string TurnStartToJson(const TurnStart& start) {
  const TurnStart usual;
  Json json = {{"turn", start.turn}, {"input", start.input}, {"tokens_max", start.tokens_max}};
  const auto add = [&json](const char* name, const Json& unusual) {
    if (!unusual.empty()) json[name] = unusual;
  };
  add("sampling", Unusual(SamplingToJson(start.sampling), SamplingToJson(usual.sampling)));
  add("budget", Unusual(BudgetToJson(start.budget), BudgetToJson(usual.budget)));
  if (start.trace_logits) json["trace_logits"] = true;
  if (start.trigger != usual.trigger) json["trigger"] = start.trigger;
  if (start.constraint.has_value()) {  // there, even if usual: the session's may be another
    json["constraint"] = Unusual(ConstraintToJson(*start.constraint), ConstraintToJson({}));
  }
  if (!start.errand.empty()) json["errand"] = start.errand;
  if (!start.parent.empty()) json["parent"] = start.parent;
  return JsonText(json);
}

Result<TurnStart> TurnStartFromJson(std::string_view json) {
  TurnStart start;
  Reader reader(json, "turn_started");
  reader.Get("turn", &start.turn);
  reader.Get("errand", &start.errand);
  reader.Get("parent", &start.parent);
  reader.Get("input", &start.input);
  reader.Get("tokens_max", &start.tokens_max);
  reader.Get("trace_logits", &start.trace_logits);
  RETURN_IF_ERROR(ReadSampling(reader, &start.sampling));
  RETURN_IF_ERROR(ReadConstraint(reader, &start.constraint));
  RETURN_IF_ERROR(ReadBudget(reader, "budget", &start.budget));
  reader.Get("trigger", &start.trigger);
  RETURN_IF_ERROR(reader.status());
  return start;
}

std::string GenerateStartToJson(const GenerateStart& start) {
  Json json = {{"turn", start.turn}, {"step", start.step}};
  if (!start.effect.empty()) json["effect"] = start.effect;
  json["prompt_begin"] = start.prompt_begin;
  json["prompt_end"] = start.prompt_end;
  if (!start.steers.empty()) json["steers"] = start.steers;
  if (!start.messages.empty()) json["messages"] = MessagesToJson(start.messages);
  return JsonText(json);
}

Result<GenerateStart> GenerateStartFromJson(std::string_view json) {
  GenerateStart start;
  Reader reader(json, "generate");
  reader.Get("turn", &start.turn);
  reader.Get("step", &start.step);
  reader.Get("effect", &start.effect);
  reader.Get("prompt_begin", &start.prompt_begin);
  reader.Get("prompt_end", &start.prompt_end);
  reader.Get("steers", &start.steers);
  std::string messages;
  reader.Get("messages", &messages);
  RETURN_IF_ERROR(reader.status());
  if (!messages.empty()) {
    ASSIGN_OR_RETURN(start.messages, MessagesFromJson(messages));
  }
  return start;
}

std::string CompactionEndToJson(const CompactionEnd& end) {
  Json json = {{"turn", end.turn},
               {"step", end.step},
               {"reopen_tokens", end.reopen_tokens},
               {"context_begin", end.context_begin},
               {"goal", end.goal},
               {"notes", end.notes},
               {"summary", end.summary},
               {"reuse", ReuseToJson(end.reuse)}};
  if (end.revision != 0) json["revision"] = end.revision;
  return JsonText(json);
}

Result<CompactionEnd> CompactionEndFromJson(std::string_view json) {
  CompactionEnd end;
  Reader reader(json, "compacted");
  reader.Get("turn", &end.turn);
  reader.Get("step", &end.step);
  reader.Get("reopen_tokens", &end.reopen_tokens);
  reader.Get("context_begin", &end.context_begin);
  reader.Get("goal", &end.goal);
  reader.Get("notes", &end.notes);
  reader.Get("summary", &end.summary);
  reader.Get("revision", &end.revision);
  RETURN_IF_ERROR(ReadReuse(reader, &end.reuse));
  RETURN_IF_ERROR(reader.status());
  return end;
}

std::string GenerationDropToJson(const GenerationDrop& drop) {
  return JsonText<Json>({{"turn", drop.turn},
                         {"step", drop.step},
                         {"tokens_begin", drop.tokens_begin},
                         {"tokens_end", drop.tokens_end}});
}

Result<GenerationDrop> GenerationDropFromJson(std::string_view json) {
  GenerationDrop drop;
  Reader reader(json, "generation_dropped");
  reader.Get("turn", &drop.turn);
  reader.Get("step", &drop.step);
  reader.Get("tokens_begin", &drop.tokens_begin);
  reader.Get("tokens_end", &drop.tokens_end);
  RETURN_IF_ERROR(reader.status());
  return drop;
}

std::string StepStartToJson(const StepStart& start) {
  Json json = {{"turn", start.turn}, {"step", start.step}, {"effect", start.effect}};
  if (start.until_ms > 0) json["until_ms"] = start.until_ms;
  return JsonText(json);
}

Result<StepStart> StepStartFromJson(std::string_view json) {
  StepStart start;
  Reader reader(json, "step_started");
  reader.Get("turn", &start.turn);
  reader.Get("step", &start.step);
  reader.Get("effect", &start.effect);
  reader.Get("until_ms", &start.until_ms);
  RETURN_IF_ERROR(reader.status());
  return start;
}

std::string StepAnswerToJson(const StepAnswer& answer) {
  Json json = {{"turn", answer.turn}, {"step", answer.step}};
  json["event"] = Json::parse(AgentEventToJson(answer.event), nullptr, false);
  if (std::holds_alternative<GeneratedEvent>(answer.event))
    json["reuse"] = ReuseToJson(answer.reuse);
  if (answer.calls_cut) json["calls_cut"] = true;
  return JsonText(json);
}

Result<StepAnswer> StepAnswerFromJson(std::string_view json) {
  StepAnswer answer;
  Reader reader(json, "step answer");
  reader.Get("turn", &answer.turn);
  reader.Get("step", &answer.step);
  RETURN_IF_ERROR(ReadReuse(reader, &answer.reuse));
  reader.Get("calls_cut", &answer.calls_cut);
  const Json* event = reader.Find("event");
  RETURN_IF_ERROR(reader.status());
  if (event == nullptr) return DataLossError("step answer: member 'event' is missing");
  ASSIGN_OR_RETURN(answer.event, AgentEventFromJson(event->dump()));
  return answer;
}

std::string ToolProposalToJson(const ToolProposal& proposal) {
  Json json = {{"turn", proposal.turn},
               {"step", proposal.step},
               {"effect", proposal.effect},
               {"phase", proposal.dispatched ? "DISPATCHED" : "PROPOSED"}};
  for (const CallJudgement& judged : proposal.judged) {
    Json entry = {{"call", judged.call}, {"decision", judged.decision}, {"by", judged.by}};
    if (!judged.why.empty()) entry["why"] = judged.why;
    if (!judged.grant.empty()) entry["grant"] = judged.grant;
    json["judged"].push_back(std::move(entry));
  }
  return JsonText(json);
}

Result<ToolProposal> ToolProposalFromJson(std::string_view json) {
  ToolProposal proposal;
  std::string phase;
  Reader reader(json, "tool_calls");
  reader.Get("turn", &proposal.turn);
  reader.Get("step", &proposal.step);
  reader.Get("effect", &proposal.effect);
  reader.Get("phase", &phase);
  if (const Json* judged = reader.Array("judged")) {
    for (const Json& entry : *judged) {
      Reader fields(entry, "tool_calls.judged[]");
      CallJudgement& one = proposal.judged.emplace_back();
      fields.Get("call", &one.call);
      fields.Get("decision", &one.decision);
      fields.Get("by", &one.by);
      fields.Get("why", &one.why);
      fields.Get("grant", &one.grant);
      RETURN_IF_ERROR(fields.status());
    }
  }
  RETURN_IF_ERROR(reader.status());
  proposal.dispatched = phase != "PROPOSED";
  return proposal;
}

std::string SteerInputToJson(const SteerInput& steer) {
  return JsonText<Json>(
      {{"turn", steer.turn},
       {"steer", steer.steer},
       {"input", steer.input},
       {"delivery", steer.delivery == SteerDelivery::kNextStep ? "NEXT_STEP" : "AFTER_TURN"}});
}

Result<SteerInput> SteerInputFromJson(std::string_view json) {
  SteerInput steer;
  std::string delivery;
  Reader reader(json, "steered");
  reader.Get("turn", &steer.turn);
  reader.Get("steer", &steer.steer);
  reader.Get("input", &steer.input);
  reader.Get("delivery", &delivery);
  RETURN_IF_ERROR(reader.status());
  if (delivery == "AFTER_TURN") steer.delivery = SteerDelivery::kAfterTurn;
  return steer;
}

std::string TurnEndToJson(const TurnView& turn) {
  Json json = {{"turn", turn.turn}, {"state", TurnStateName(turn.state)}, {"text", turn.text}};
  Json& usage = json["usage"] = Json::object();
  const std::pair<const char*, int64_t> counts[] = {
      {"reused_ram", turn.tokens_reused_ram}, {"reused_disk", turn.tokens_reused_disk},
      {"recomputed", turn.tokens_recomputed}, {"prefilled", turn.tokens_prefilled},
      {"generated", turn.tokens_generated},   {"calls_cut", turn.calls_cut},
      {"tokens", turn.spend.tokens},          {"wall_ms", turn.spend.wall_ms},
      {"tool_calls", turn.spend.tool_calls},  {"micro_usd", turn.spend.micro_usd}};
  for (const auto& [name, count] : counts) {
    if (count != 0) usage[name] = count;
  }
  if (!turn.unsent.empty()) json["unsent"] = turn.unsent;
  if (!turn.files.empty()) json["files"] = turn.files;
  if (!turn.error.ok()) {
    json["error"] = {{"code", static_cast<int>(turn.error.code())},
                     {"message", turn.error.message()},
                     {"reason", turn.error.reason()}};
  }
  return JsonText(json);
}

Result<TurnView> TurnEndFromJson(std::string_view session, std::string_view json) {
  TurnView turn;
  turn.session = std::string(session);
  std::string state;
  Reader reader(json, "turn_finished");
  reader.Get("turn", &turn.turn);
  reader.Get("state", &state);
  reader.Get("text", &turn.text);
  turn.state = state == "SUCCEEDED"   ? TurnState::kSucceeded
               : state == "CANCELLED" ? TurnState::kCancelled
                                      : TurnState::kFailed;
  if (const Json* usage = reader.Find("usage")) {
    Reader counts(*usage, "usage");
    counts.Get("reused_ram", &turn.tokens_reused_ram);
    counts.Get("reused_disk", &turn.tokens_reused_disk);
    counts.Get("recomputed", &turn.tokens_recomputed);
    counts.Get("prefilled", &turn.tokens_prefilled);
    counts.Get("generated", &turn.tokens_generated);
    counts.Get("calls_cut", &turn.calls_cut);
    counts.Get("tokens", &turn.spend.tokens);
    counts.Get("wall_ms", &turn.spend.wall_ms);
    counts.Get("tool_calls", &turn.spend.tool_calls);
    counts.Get("micro_usd", &turn.spend.micro_usd);
    RETURN_IF_ERROR(counts.status());
  }
  reader.Get("unsent", &turn.unsent);
  reader.Get("files", &turn.files);
  if (const Json* error = reader.Find("error")) {
    Reader fields(*error, "error");
    int64_t code = static_cast<int64_t>(StatusCode::kUnknown);
    std::string message;
    std::string reason;
    fields.Get("code", &code);
    fields.Get("message", &message);
    fields.Get("reason", &reason);
    RETURN_IF_ERROR(fields.status());
    turn.error = Status(static_cast<StatusCode>(code), message, reason);
  }
  RETURN_IF_ERROR(reader.status());
  return turn;
}

std::string AnswerJson(std::string_view id) { return JsonText<Json>({{"id", id}}); }

std::string IdFromAnswer(std::string_view json) {
  std::string id;
  Reader reader(json, "answer");
  reader.Get("id", &id);
  return id;
}

std::string BranchOriginToJson(const BranchOrigin& origin) {
  return JsonText<Json>({{"session", origin.session},
                         {"timeline", origin.timeline},
                         {"seq", origin.seq},
                         {"tokens", origin.tokens}});
}

Result<BranchOrigin> BranchOriginFromJson(std::string_view json) {
  BranchOrigin origin;
  Reader reader(json, "origin of a timeline");
  reader.Get("session", &origin.session);
  reader.Get("timeline", &origin.timeline);
  reader.Get("seq", &origin.seq);
  reader.Get("tokens", &origin.tokens);
  RETURN_IF_ERROR(reader.status());
  return origin;
}

std::string DeleteViewToJson(const DeleteView& view) {
  return JsonText<Json>({{"session", view.session},
                         {"tokens", view.tokens},
                         {"turns", view.turns},
                         {"timelines", view.timelines},
                         {"forks", view.forks}});
}

Result<DeleteView> DeleteViewFromJson(std::string_view json) {
  DeleteView view;
  Reader reader(json, "answer to a delete");
  reader.Get("session", &view.session);
  reader.Get("tokens", &view.tokens);
  reader.Get("turns", &view.turns);
  reader.Get("timelines", &view.timelines);
  reader.Get("forks", &view.forks);
  RETURN_IF_ERROR(reader.status());
  return view;
}

const char* FileActionName(FileAction action) { return kFileActions[static_cast<int>(action)]; }

std::string RewindViewToJson(const RewindView& view) {
  return JsonText<Json>({{"session", view.session.session},
                         {"kept_seq", view.kept_seq},
                         {"left_tokens", view.left_tokens},
                         {"left_turns", view.left_turns},
                         {"left_timeline", view.left_timeline},
                         {"files", FilesToJson(view.files)},
                         {"notes", view.notes}});
}

Result<RewindView> RewindViewFromJson(std::string_view json) {
  RewindView view;
  Reader reader(json, "answer to a rewind");
  reader.Get("session", &view.session.session);
  reader.Get("kept_seq", &view.kept_seq);
  reader.Get("left_tokens", &view.left_tokens);
  reader.Get("left_turns", &view.left_turns);
  reader.Get("left_timeline", &view.left_timeline);
  reader.Get("notes", &view.notes);
  if (const Json* files = reader.Array("files"); files != nullptr) {
    for (const Json& entry : *files) {
      Reader member(entry, "answer to a rewind: files[]");
      FileRestore& file = view.files.emplace_back();
      std::string action;
      member.Get("path", &file.path);
      member.Get("action", &action);
      member.Get("why", &file.why);
      RETURN_IF_ERROR(member.status());
      const auto name = std::find(std::begin(kFileActions), std::end(kFileActions), action);
      if (name == std::end(kFileActions))
        return DataLossError("a file's action is '" + action + "'");
      file.action = static_cast<FileAction>(name - std::begin(kFileActions));
    }
  }
  RETURN_IF_ERROR(reader.status());
  return view;
}

std::string TimelineToJson(int64_t timeline, int64_t kept_seq) {
  return JsonText<Json>({{"timeline", timeline}, {"kept_seq", kept_seq}});
}

std::string ProgressToJson(std::string_view phase, int64_t done, int64_t total, double rate,
                           double eta_s) {
  return JsonText<Json>({{"phase", phase},
                         {"done", done},
                         {"total", total},
                         {"tokens_per_s", rate},
                         {"eta_s", eta_s}});
}

std::string DeltaToJson(std::string_view item, int64_t offset, std::string_view content,
                        std::string_view reasoning) {
  return JsonText<Json>(
      {{"item", item}, {"offset", offset}, {"content", content}, {"reasoning", reasoning}});
}

std::string WaitingToJson(std::string_view what, std::string_view detail) {
  return JsonText<Json>({{"waiting_on", what}, {"detail", detail}});
}

std::string HeartbeatToJson(std::string_view what, std::string_view detail, int64_t since_ms) {
  return JsonText<Json>({{"waiting_on", what}, {"detail", detail}, {"since_ms", since_ms}});
}

}  // namespace baleen
