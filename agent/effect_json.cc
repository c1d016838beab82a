// Effects and events as JSON text, for the journal and for comparing replays.
//
// The member names are stored: don't rename them.
#include <nlohmann/json.hpp>

#include "agent/effect.h"
#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRoles[] = {"system",    "developer", "user",
                                  "assistant", "tool",      "latest_reminder"};
constexpr const char* kReasons[] = {"stop", "length", "tool_calls"};

Json CallJson(const ToolCall& call) {
  return Json{{"id", call.id}, {"name", call.name}, {"arguments", call.arguments}};
}

Json CallsJson(const std::vector<ToolCall>& calls) {
  Json out = Json::array();
  for (const ToolCall& call : calls) out.push_back(CallJson(call));
  return out;
}

// What is empty is left out, always: equal messages give equal text, and a journal holds thousands.
Json MessageJson(const Message& message) {
  Json out{{"role", kRoles[static_cast<int>(message.role)]}, {"content", message.content}};
  if (!message.reasoning.empty()) out["reasoning"] = message.reasoning;
  if (!message.tool_calls.empty()) out["tool_calls"] = CallsJson(message.tool_calls);
  if (!message.tool_call_id.empty()) out["tool_call_id"] = message.tool_call_id;
  if (!message.tools.empty()) out["tools"] = message.tools;
  return out;
}

// Members that were written empty before they were left out.
void DropEmpty(Json& json, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const auto member = json.find(name);
    if (member == json.end()) continue;
    const bool no_text = member->is_string() && member->get_ref<const std::string&>().empty();
    const bool zero = member->is_number_integer() && *member == 0;
    if (no_text || zero || member->empty()) json.erase(member);
  }
}

// Reads the members of one object and remembers the first thing that was wrong.
class MemberReader {
 public:
  MemberReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) Fail("must be an object");
  }

  void Text(const char* name, std::string* out) {
    const Json* member = Find(name, &Json::is_string, "a string");
    if (member != nullptr) *out = member->get_ref<const std::string&>();
  }
  /// Empty if it isn't there.
  void OptionalText(const char* name, std::string* out) {
    if (json_.contains(name)) Text(name, out);
  }
  void Bool(const char* name, bool* out) {
    const Json* member = Find(name, &Json::is_boolean, "a boolean");
    if (member != nullptr) *out = member->get<bool>();
  }
  void Integer(const char* name, int64_t* out) {
    const Json* member = Find(name, &Json::is_number_integer, "an integer");
    if (member == nullptr) return;
    const bool fits = !member->is_number_unsigned() || member->get<uint64_t>() <= INT64_MAX;
    if (!fits || member->get<int64_t>() < 0) {
      Fail(std::string("'") + name + "' must be an integer from 0 to 2^63-1");
    } else {
      *out = member->get<int64_t>();
    }
  }
  /// The position of the member's text in `names`.
  template <size_t count>
  void Name(const char* name, const char* const (&names)[count], int* out) {
    std::string text;
    Text(name, &text);
    for (size_t i = 0; i < count; ++i) {
      if (text != names[i]) continue;
      *out = static_cast<int>(i);
      return;
    }
    Fail(std::string("'") + name + "' has the unknown value '" + text.substr(0, 64) + "'");
  }
  const Json& OptionalList(const char* name) {
    static const Json kEmpty = Json::array();
    return json_.contains(name) ? List(name) : kEmpty;
  }
  const Json& List(const char* name) {
    static const Json kEmpty = Json::array();
    const Json* member = Find(name, &Json::is_array, "an array");
    return member == nullptr ? kEmpty : *member;
  }
  const Json& Object(const char* name) {
    static const Json kEmpty = Json::object();
    const Json* member = Find(name, &Json::is_object, "an object");
    return member == nullptr ? kEmpty : *member;
  }
  void Fail(const std::string& what) {
    if (status_.ok()) status_ = InvalidArgumentError(where_ + ": " + what);
  }
  void Take(const Status& inner) {
    if (status_.ok()) status_ = inner;
  }
  const Status& status() const { return status_; }
  /// Every member must have been asked for.
  Status Finish() {
    if (status_.ok() && json_.size() != asked_.size()) {
      for (const auto& [name, value] : json_.items()) {
        bool known = false;
        for (const char* asked : asked_) known |= name == asked;
        if (!known) Fail("unknown member '" + name.substr(0, 64) + "'");
      }
    }
    return status_;
  }

 private:
  const Json* Find(const char* name, bool (Json::*is_type)() const noexcept, const char* type) {
    asked_.push_back(name);
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(name);
    if (found == json_.end()) {
      Fail(std::string("member '") + name + "' is missing");
      return nullptr;
    }
    if (((*found).*is_type)()) return &*found;
    Fail(std::string("'") + name + "' must be " + type);
    return nullptr;
  }

  const Json& json_;
  std::string where_;
  std::vector<const char*> asked_;
  Status status_;
};

Status ReadCall(const Json& json, ToolCall* out) {
  MemberReader reader(json, "tool_calls[]");
  reader.Text("id", &out->id);
  reader.Text("name", &out->name);
  reader.Text("arguments", &out->arguments);
  return reader.Finish();
}

Status ReadMessage(const Json& json, Message* out) {
  MemberReader reader(json, "event.message");
  int role = 0;
  reader.Name("role", kRoles, &role);
  out->role = static_cast<Role>(role);
  reader.Text("content", &out->content);
  reader.OptionalText("reasoning", &out->reasoning);
  for (const Json& call : reader.OptionalList("tool_calls")) {
    reader.Take(ReadCall(call, &out->tool_calls.emplace_back()));
  }
  reader.OptionalText("tool_call_id", &out->tool_call_id);
  for (const Json& tool : reader.OptionalList("tools")) {
    if (tool.is_string()) {
      out->tools.push_back(tool.get_ref<const std::string&>());
    } else {
      reader.Fail("'tools' must hold strings");
    }
  }
  return reader.Finish();
}

Status ReadResult(const Json& json, ToolResult* out) {
  const char* const outcomes[] = {ToolOutcomeName(ToolOutcome::kOk),
                                  ToolOutcomeName(ToolOutcome::kError),
                                  ToolOutcomeName(ToolOutcome::kDenied),
                                  ToolOutcomeName(ToolOutcome::kTimeout),
                                  ToolOutcomeName(ToolOutcome::kAborted),
                                  ToolOutcomeName(ToolOutcome::kUnknown),
                                  ToolOutcomeName(ToolOutcome::kAbortedBeforeDispatch)};
  MemberReader reader(json, "event.results[]");
  int outcome = 0;
  reader.Text("call_id", &out->call_id);
  reader.Name("outcome", outcomes, &outcome);
  out->outcome = static_cast<ToolOutcome>(outcome);
  reader.Text("content", &out->content);
  reader.Integer("content_bytes", &out->content_bytes);
  for (const Json& entry : reader.OptionalList("files")) {
    MemberReader file(entry, "event.results[].files[]");
    ChangedFile& changed = out->files.emplace_back();
    file.Text("path", &changed.path);
    file.Text("before", &changed.before);
    file.Text("after", &changed.after);
    reader.Take(file.Finish());
  }
  return reader.Finish();
}

Status ReadUserTurn(MemberReader* reader, AgentEvent* out) {
  reader->Text("text", &out->emplace<UserTurnEvent>().text);
  return reader->Finish();
}

Status ReadGenerated(MemberReader* reader, AgentEvent* out) {
  GeneratedEvent& event = out->emplace<GeneratedEvent>();
  int reason = 0;
  reader->Take(ReadMessage(reader->Object("message"), &event.message));
  reader->Name("reason", kReasons, &reason);
  event.reason = static_cast<FinishReason>(reason);
  reader->OptionalText("parse_error", &event.parse_error);
  reader->Integer("tokens", &event.tokens);
  return reader->Finish();
}

Status ReadToolResults(MemberReader* reader, AgentEvent* out) {
  ToolResultsEvent& event = out->emplace<ToolResultsEvent>();
  for (const Json& result : reader->List("results")) {
    reader->Take(ReadResult(result, &event.results.emplace_back()));
  }
  return reader->Finish();
}

Status ReadApproval(MemberReader* reader, AgentEvent* out) {
  ApprovalEvent& event = out->emplace<ApprovalEvent>();
  reader->Bool("granted", &event.granted);
  reader->Text("by", &event.by);
  reader->Text("reason", &event.reason);
  return reader->Finish();
}

Status ReadAccount(MemberReader* reader, AgentEvent* out) {
  AccountEvent& event = out->emplace<AccountEvent>();
  reader->Integer("tokens", &event.tokens);
  reader->Integer("wall_ms", &event.wall_ms);
  reader->Integer("tool_calls", &event.tool_calls);
  reader->Integer("micro_usd", &event.micro_usd);
  return reader->Finish();
}

Status ReadChildTurn(MemberReader* reader, ChildTurnEnd* out) {
  reader->Bool("succeeded", &out->succeeded);
  reader->Text("text", &out->text);
  reader->Text("error", &out->error);
  reader->Integer("tokens", &out->tokens);
  reader->Integer("wall_ms", &out->wall_ms);
  reader->Integer("tool_calls", &out->tool_calls);
  reader->Integer("micro_usd", &out->micro_usd);
  for (const Json& path : reader->OptionalList("files")) {
    if (path.is_string()) out->files.push_back(path.get<std::string>());
  }
  return reader->Finish();
}

Status ReadChildTurns(MemberReader* reader, AgentEvent* out) {
  ChildTurnsEvent& event = out->emplace<ChildTurnsEvent>();
  for (const Json& end : reader->List("ends")) {
    MemberReader of_one(end, "event.ends[]");
    std::optional<ChildTurnEnd>& out_end = event.ends.emplace_back();
    if (!end.is_null()) reader->Take(ReadChildTurn(&of_one, &out_end.emplace()));
  }
  return reader->Finish();
}

// The members of the only entry beside its kind, or the entries as a list.
Json OneOrMany(const char* one, const char* many, const char* list, Json entries) {
  if (entries.size() != 1) return Json{{"kind", many}, {list, std::move(entries)}};
  Json out{{"kind", one}};
  out.update(entries[0]);
  return out;
}

struct EffectWriter {
  Json operator()(const GenerateEffect& effect) const {
    Json append = Json::array();
    for (const Message& message : effect.append) append.push_back(MessageJson(message));
    Json out{{"kind", "generate"}, {"append", std::move(append)}};
    if (effect.tokens_max != 0) out["tokens_max"] = effect.tokens_max;
    if (effect.temperature) out["temperature"] = *effect.temperature;
    if (effect.seed) out["seed"] = *effect.seed;
    if (effect.tool_choice) out["tool_choice"] = *effect.tool_choice;
    if (effect.answer_schema) out["answer_schema"] = *effect.answer_schema;
    if (effect.thinking_tokens) out["thinking_tokens"] = *effect.thinking_tokens;
    if (effect.asks_to_compact) out["asks_to_compact"] = true;
    if (!effect.refuses_compaction.empty()) out["refuses_compaction"] = effect.refuses_compaction;
    return out;
  }
  Json operator()(const CallToolsEffect& effect) const {
    Json out{{"kind", "call_tools"}, {"calls", CallsJson(effect.calls)}};
    for (const CallVerdict& verdict : effect.verdicts) {
      out["verdicts"].push_back(Json{{"call", verdict.call_id},
                                     {"decision", verdict.deny ? "deny" : "ask"},
                                     {"why", verdict.why}});
    }
    return out;
  }
  Json operator()(const SleepEffect& effect) const {
    return Json{{"kind", "sleep"}, {"ms", effect.ms}};
  }
  Json operator()(const ApproveEffect& effect) const {
    return Json{{"kind", "approve"}, {"title", effect.title}, {"description", effect.description}};
  }
  Json operator()(const AccountEffect& effect) const {
    if (!effect.opens) return Json{{"kind", "close_account"}};
    return Json{{"kind", "open_account"},          {"name", effect.name},
                {"tokens", effect.tokens},         {"wall_ms", effect.wall_ms},
                {"tool_calls", effect.tool_calls}, {"micro_usd", effect.micro_usd}};
  }
  Json operator()(const ForkEffect& effect) const {
    Json out{{"kind", "fork"}, {"label", effect.label}};
    if (effect.clean) out["clean"] = true;
    if (effect.worktree != ForkEffect::Worktree::kNone) {
      out["worktree"] = effect.worktree == ForkEffect::Worktree::kAll ? "all" : "tracked";
    }
    return out;
  }
  Json operator()(const WorktreeEffect& effect) const {
    return Json{{"kind", effect.removes ? "remove_worktree" : "diff"}, {"session", effect.session}};
  }
  Json operator()(const CompactEffect& effect) const {
    return Json{{"kind", "compact"}, {"keep", effect.keep}};
  }
  // One alone is written as it was before there could be several.
  Json operator()(const ChildTurnsEffect& effect) const {
    Json turns = Json::array();
    for (const ChildTurn& turn : effect.turns) {
      if (turn.runs) {
        turns.push_back(Json{{"session", turn.session}, {"runs", true}});
        continue;
      }
      turns.push_back(Json{{"session", turn.session},
                           {"text", turn.text},
                           {"errand", turn.errand},
                           {"tokens", turn.tokens},
                           {"wall_ms", turn.wall_ms},
                           {"tool_calls", turn.tool_calls},
                           {"micro_usd", turn.micro_usd}});
    }
    return OneOrMany("child_turn", "child_turns", "turns", std::move(turns));
  }
  Json operator()(const StopTurnsEffect& effect) const {
    return Json{{"kind", "stop_turns"}, {"sessions", effect.sessions}};
  }
  Json operator()(const FinishEffect& effect) const {
    return Json{{"kind", "finish"}, {"text", effect.text}};
  }
};

Json WithError(Json out, const std::string& error) {
  if (!error.empty()) out["error"] = error;
  return out;
}

Json EndJson(const ChildTurnEnd& end) {
  Json out{{"succeeded", end.succeeded}, {"text", end.text},       {"error", end.error},
           {"tokens", end.tokens},       {"wall_ms", end.wall_ms}, {"tool_calls", end.tool_calls},
           {"micro_usd", end.micro_usd}};
  if (!end.files.empty()) out["files"] = end.files;
  return out;
}

struct EventWriter {
  Json operator()(const UserTurnEvent& event) const {
    return Json{{"kind", "user_turn"}, {"text", event.text}};
  }
  Json operator()(const GeneratedEvent& event) const {
    Json out{{"kind", "generated"},
             {"message", MessageJson(event.message)},
             {"reason", kReasons[static_cast<int>(event.reason)]}};
    if (!event.parse_error.empty()) out["parse_error"] = event.parse_error;
    out["tokens"] = event.tokens;
    return out;
  }
  Json operator()(const ToolResultsEvent& event) const {
    Json results = Json::array();
    for (const ToolResult& result : event.results) {
      Json& out = results.emplace_back(Json{{"call_id", result.call_id},
                                            {"outcome", ToolOutcomeName(result.outcome)},
                                            {"content", result.content},
                                            {"content_bytes", result.content_bytes}});
      for (const ChangedFile& file : result.files) {
        out["files"].push_back(
            Json{{"path", file.path}, {"before", file.before}, {"after", file.after}});
      }
    }
    return Json{{"kind", "tool_results"}, {"results", std::move(results)}};
  }
  Json operator()(const ClockEvent& event) const {
    return Json{{"kind", "clock"}, {"unix_ms", event.unix_ms}};
  }
  Json operator()(const ApprovalEvent& event) const {
    return Json{{"kind", "approval"},
                {"granted", event.granted},
                {"by", event.by},
                {"reason", event.reason}};
  }
  Json operator()(const AccountEvent& event) const {
    return Json{{"kind", "account"},
                {"tokens", event.tokens},
                {"wall_ms", event.wall_ms},
                {"tool_calls", event.tool_calls},
                {"micro_usd", event.micro_usd}};
  }
  Json operator()(const ForkedEvent& event) const {
    Json out{{"kind", "forked"}, {"session", event.session}};
    if (!event.worktree.empty()) out["worktree"] = event.worktree;
    return WithError(std::move(out), event.error);
  }
  Json operator()(const WorktreeEvent& event) const {
    return WithError({{"kind", "worktree"}, {"diff", event.diff}}, event.error);
  }
  Json operator()(const CompactionDueEvent& event) const {
    return Json{
        {"kind", "compaction_due"}, {"tokens", event.tokens}, {"tokens_max", event.tokens_max}};
  }
  Json operator()(const CompactedEvent& event) const {
    return WithError({{"kind", "compacted"}, {"summary", event.summary}}, event.error);
  }
  Json operator()(const ChildTurnsEvent& event) const {
    Json ends = Json::array();
    for (const std::optional<ChildTurnEnd>& end : event.ends) {
      ends.push_back(end.has_value() ? EndJson(*end) : Json());
    }
    return OneOrMany("child_turn", "child_turns", "ends", std::move(ends));
  }
};

}  // namespace

std::string MessagesToJson(const std::vector<Message>& messages) {
  Json array = Json::array();
  for (const Message& message : messages) array.push_back(MessageJson(message));
  return JsonText(array);
}

Result<std::vector<Message>> MessagesFromJson(std::string_view json) {
  const Json parsed = Json::parse(json.begin(), json.end(), nullptr, false);
  if (!parsed.is_array()) return InvalidArgumentError("messages: not a JSON array");
  std::vector<Message> messages;
  for (const Json& entry : parsed) RETURN_IF_ERROR(ReadMessage(entry, &messages.emplace_back()));
  return messages;
}

std::string EffectToJson(const Effect& effect) {
  return JsonText(std::visit(EffectWriter(), effect));
}

GenerateEffect UserSays(std::string_view text) {
  GenerateEffect effect;
  effect.append.emplace_back();
  effect.append[0].role = Role::kUser;
  effect.append[0].content = std::string(text);
  return effect;
}

bool IsRecordedEffect(const Effect& effect, std::string_view recorded) {
  const std::string text = EffectToJson(effect);
  if (text == recorded) return true;
  Json json = Json::parse(recorded.begin(), recorded.end(), nullptr, false);
  if (!json.is_object() || !json.contains("append") || !json["append"].is_array()) return false;
  DropEmpty(json, {"tokens_max", "temperature", "seed"});
  for (Json& message : json["append"]) {
    if (!message.is_object()) return false;
    DropEmpty(message, {"reasoning", "tool_calls", "tool_call_id", "tools"});
  }
  return text == JsonText(json);
}

Result<std::vector<ToolCall>> CallsOfEffect(std::string_view json) {
  const Json parsed = Json::parse(json.begin(), json.end(), nullptr, false);
  MemberReader reader(parsed, "effect");
  std::vector<ToolCall> calls;
  for (const Json& call : reader.List("calls")) {
    reader.Take(ReadCall(call, &calls.emplace_back()));
  }
  RETURN_IF_ERROR(reader.status());
  return calls;
}

std::string AgentEventToJson(const AgentEvent& event) {
  return JsonText(std::visit(EventWriter(), event));
}

Result<AgentEvent> AgentEventFromJson(std::string_view json) {
  const Json parsed = Json::parse(json.begin(), json.end(), nullptr, false);
  if (parsed.is_discarded()) return InvalidArgumentError("event: not JSON");
  MemberReader reader(parsed, "event");
  std::string kind;
  reader.Text("kind", &kind);
  AgentEvent event;
  Status status;
  if (kind == "user_turn") {
    status = ReadUserTurn(&reader, &event);
  } else if (kind == "generated") {
    status = ReadGenerated(&reader, &event);
  } else if (kind == "tool_results") {
    status = ReadToolResults(&reader, &event);
  } else if (kind == "clock") {
    reader.Integer("unix_ms", &event.emplace<ClockEvent>().unix_ms);
    status = reader.Finish();
  } else if (kind == "approval") {
    status = ReadApproval(&reader, &event);
  } else if (kind == "account") {
    status = ReadAccount(&reader, &event);
  } else if (kind == "forked") {
    ForkedEvent& forked = event.emplace<ForkedEvent>();
    reader.Text("session", &forked.session);
    reader.OptionalText("worktree", &forked.worktree);
    reader.OptionalText("error", &forked.error);
    status = reader.Finish();
  } else if (kind == "worktree") {
    WorktreeEvent& worktree = event.emplace<WorktreeEvent>();
    reader.Text("diff", &worktree.diff);
    reader.OptionalText("error", &worktree.error);
    status = reader.Finish();
  } else if (kind == "compacted") {
    CompactedEvent& compacted = event.emplace<CompactedEvent>();
    reader.Text("summary", &compacted.summary);
    reader.OptionalText("error", &compacted.error);
    status = reader.Finish();
  } else if (kind == "compaction_due") {
    CompactionDueEvent& due = event.emplace<CompactionDueEvent>();
    reader.Integer("tokens", &due.tokens);
    reader.Integer("tokens_max", &due.tokens_max);
    status = reader.Finish();
  } else if (kind == "child_turn") {
    status =
        ReadChildTurn(&reader, &event.emplace<ChildTurnsEvent>().ends.emplace_back().emplace());
  } else if (kind == "child_turns") {
    status = ReadChildTurns(&reader, &event);
  } else {
    reader.Fail("unknown kind '" + kind.substr(0, 64) + "'");
    status = reader.Finish();
  }
  RETURN_IF_ERROR(status);
  return event;
}

}  // namespace baleen
