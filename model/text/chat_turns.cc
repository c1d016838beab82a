#include "model/text/chat_turns.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

namespace baleen {
namespace {

// Arguments come as JSON text of an object. Anything else, an object proper included, becomes one
// parameter named "arguments": so the reference does (it raises only for JSON text of a
// non-object, which is treated alike here).
std::vector<TurnParameter> ReadParameters(const JsonValue& arguments) {
  std::vector<TurnParameter> parameters;
  const auto add = [&](std::string_view name, const JsonValue& value) {
    const bool is_string = value.IsString();
    parameters.push_back({std::string(name), is_string ? value.text : DumpJson(value), is_string});
  };
  if (arguments.IsString()) {
    const Result<JsonValue> parsed = ParseJson(arguments.text);
    if (parsed.ok() && parsed->IsObject()) {
      for (const auto& [name, value] : parsed->members) add(name, value);
      return parameters;
    }
  }
  add("arguments", arguments);
  return parameters;
}

/// Reads one message's fields, remembering where it is for error messages.
class MessageReader {
 public:
  MessageReader(const JsonValue& message, std::string where)
      : message_(message), where_(std::move(where)) {}

  Result<Turn> Read() const {
    if (!message_.IsObject()) return Error("", "an object", message_);
    Turn turn;
    const JsonValue* role = message_.Find("role");
    if (role == nullptr || !role->IsString()) return Error("role", "a string", Value(role));
    turn.role = role->text;
    RETURN_IF_ERROR(ReadContent(&turn));
    if (turn.role != "user" && turn.role != "tool") {
      RETURN_IF_ERROR(ReadReasoning(&turn));
      RETURN_IF_ERROR(ReadCalls(&turn));
      RETURN_IF_ERROR(ReadTools(message_.Find("tools"), &turn));
      const JsonValue* format = message_.Find("response_format");
      if (format != nullptr && format->Truthy()) turn.response_format = DumpJson(*format);
    }
    if (turn.role == "tool") return turn;
    const JsonValue* task = message_.Find("task");
    if (task != nullptr && !task->IsNull()) {
      if (!task->IsString()) return Error("task", "a string", *task);
      turn.task = task->text;
    }
    const JsonValue* without_eos = message_.Find("wo_eos");
    turn.without_eos = without_eos != nullptr && without_eos->Truthy();
    return turn;
  }

  Status ReadTools(const JsonValue* tools, Turn* turn) const {
    if (tools == nullptr || !tools->Truthy()) return OkStatus();
    if (!tools->IsArray()) return Error("tools", "an array", *tools);
    for (const JsonValue& tool : tools->items) {
      const JsonValue* function = tool.Find("function");
      if (function == nullptr) return Error("tools", "objects with a member `function`", tool);
      turn->tools.push_back(DumpJson(*function));
    }
    return OkStatus();
  }

 private:
  static const JsonValue& Value(const JsonValue* value) {
    static const JsonValue null;
    return value == nullptr ? null : *value;
  }

  Status Error(std::string_view field, std::string_view expected, const JsonValue& got) const {
    constexpr size_t kShownMax = 80;
    std::string shown = DumpJson(got);
    if (shown.size() > kShownMax) shown = shown.substr(0, kShownMax) + "...";
    std::string place = where_;
    if (!field.empty()) place += "." + std::string(field);
    return InvalidArgumentError(place + ": expected " + std::string(expected) + ", got " + shown);
  }

  Status ReadContent(Turn* turn) const {
    const JsonValue* content = message_.Find("content");
    if (turn->role == "tool") {
      TurnBlock& block = turn->blocks.emplace_back();
      block.is_result = true;
      const JsonValue* id = message_.Find("tool_call_id");
      if (id != nullptr) block.call_id = id->PythonStr().value_or("");
      if (content == nullptr) return OkStatus();
      return ReadResult(*content, &block.text);
    }
    if (turn->role == "user") {
      TurnBlock& block = turn->blocks.emplace_back();
      if (content == nullptr) return OkStatus();
      if (!content->IsString()) return Error("content", "a string", *content);
      block.text = content->text;
      return OkStatus();
    }
    // A reminder's content is formatted as it is, so that null reads "None"; elsewhere null and
    // other empty values count as no text.
    const bool verbatim = turn->role == "latest_reminder";
    if (!verbatim && !Value(content).Truthy()) return OkStatus();
    const std::optional<std::string> text = Value(content).PythonStr();
    if (!text.has_value()) return Error("content", "a string", Value(content));
    turn->content = *text;
    return OkStatus();
  }

  // A tool's content: a scalar, or a list of parts.
  Status ReadResult(const JsonValue& content, std::string* text) const {
    if (!content.IsArray()) {
      const std::optional<std::string> plain = content.PythonStr();
      if (!plain.has_value()) return Error("content", "a string or an array of parts", content);
      *text = *plain;
      return OkStatus();
    }
    for (size_t i = 0; i < content.items.size(); ++i) {
      const JsonValue& part = content.items[i];
      if (!part.IsObject()) return Error("content", "parts that are objects", part);
      if (i > 0) *text += "\n\n";
      const JsonValue& type = Value(part.Find("type"));
      if (type.IsString() && type.text == "text") {
        const JsonValue* part_text = part.Find("text");
        if (part_text == nullptr) continue;
        if (!part_text->IsString()) return Error("content", "a string as `text`", part);
        *text += part_text->text;
      } else {
        *text += "[Unsupported " + type.PythonStr().value_or(DumpJson(type)) + "]";
      }
    }
    return OkStatus();
  }

  Status ReadReasoning(Turn* turn) const {
    const JsonValue& reasoning = Value(message_.Find("reasoning_content"));
    if (!reasoning.Truthy()) return OkStatus();
    const std::optional<std::string> text = reasoning.PythonStr();
    if (!text.has_value()) return Error("reasoning_content", "a string", reasoning);
    turn->reasoning = *text;
    return OkStatus();
  }

  Status ReadCalls(Turn* turn) const {
    const JsonValue& calls = Value(message_.Find("tool_calls"));
    if (!calls.Truthy()) return OkStatus();
    if (!calls.IsArray()) return Error("tool_calls", "an array", calls);
    for (const JsonValue& call : calls.items) {
      const JsonValue& function = Value(call.Find("function"));
      const JsonValue* name = function.Find("name");
      const JsonValue* arguments = function.Find("arguments");
      if (name == nullptr || arguments == nullptr || !name->PythonStr().has_value()) {
        return Error("tool_calls", "`function` with `name` and `arguments`", call);
      }
      TurnCall& read = turn->calls.emplace_back();
      const JsonValue& outer_id = Value(call.Find("id"));
      const JsonValue& id = outer_id.Truthy() ? outer_id : Value(function.Find("id"));
      if (id.Truthy()) read.id = id.PythonStr().value_or("");
      read.name = *name->PythonStr();
      read.parameters = ReadParameters(*arguments);
    }
    return OkStatus();
  }

  const JsonValue& message_;
  std::string where_;
};

const char* RoleName(Role role) {
  switch (role) {
    case Role::kSystem: return "system";
    case Role::kDeveloper: return "developer";
    case Role::kUser: return "user";
    case Role::kAssistant: return "assistant";
    case Role::kTool: return "tool";
    case Role::kLatestReminder: return "latest_reminder";
  }
  return "user";
}

}  // namespace

Result<std::vector<Turn>> ReadTurns(const JsonValue& messages, std::string_view where) {
  if (!messages.IsArray()) {
    return InvalidArgumentError(std::string(where) + ": expected an array of messages");
  }
  std::vector<Turn> turns;
  turns.reserve(messages.items.size());
  for (size_t i = 0; i < messages.items.size(); ++i) {
    const MessageReader reader(messages.items[i],
                               std::string(where) + "[" + std::to_string(i) + "]");
    ASSIGN_OR_RETURN(Turn turn, reader.Read());
    turns.push_back(std::move(turn));
  }
  return turns;
}

Turn MakeTurn(const Message& message) {
  Turn turn;
  turn.role = RoleName(message.role);
  if (message.role == Role::kUser || message.role == Role::kTool) {
    turn.blocks.push_back({message.role == Role::kTool, message.content, message.tool_call_id});
    return turn;
  }
  turn.content = message.content;
  turn.reasoning = message.reasoning;
  for (const ToolCall& call : message.tool_calls) {
    JsonValue arguments;
    arguments.kind = JsonValue::Kind::kString;
    arguments.text = call.arguments;
    turn.calls.push_back({call.id, call.name, ReadParameters(arguments)});
  }
  for (const std::string& tool : message.tools) {
    const Result<JsonValue> parsed = ParseJson(tool);
    turn.tools.push_back(parsed.ok() ? DumpJson(*parsed) : tool);
  }
  return turn;
}

Status AttachTools(const JsonValue& tools, std::vector<Turn>* turns) {
  if (!tools.Truthy()) return OkStatus();
  Turn holder;
  RETURN_IF_ERROR(MessageReader(tools, "request").ReadTools(&tools, &holder));
  const bool fits =
      !turns->empty() && (turns->front().role == "system" || turns->front().role == "developer");
  if (!fits) {
    holder.role = "system";
    turns->insert(turns->begin(), std::move(holder));
    return OkStatus();
  }
  turns->front().tools = std::move(holder.tools);
  return OkStatus();
}

std::vector<Turn> FuseTurns(std::vector<Turn> turns) {
  std::vector<Turn> fused;
  fused.reserve(turns.size());
  for (Turn& turn : turns) {
    const bool is_result = turn.role == "tool";
    if (!is_result && turn.role != "user") {
      fused.push_back(std::move(turn));
      continue;
    }
    // Nothing but results may follow a user message that carries a task.
    const bool joins = !fused.empty() && fused.back().role == "user" &&
                       (is_result || !fused.back().task.has_value());
    if (joins) {
      std::move(turn.blocks.begin(), turn.blocks.end(), std::back_inserter(fused.back().blocks));
    } else {
      turn.role = "user";
      fused.push_back(std::move(turn));
    }
  }
  return fused;
}

void SortResults(const std::vector<Turn>& before, std::vector<Turn>* turns) {
  std::unordered_map<std::string, size_t> order;
  const auto note_calls = [&](const Turn& turn) {
    if (turn.role != "assistant" || turn.calls.empty()) return;
    order.clear();
    for (size_t i = 0; i < turn.calls.size(); ++i) {
      if (!turn.calls[i].id.empty()) order[turn.calls[i].id] = i;
    }
  };
  for (const Turn& turn : before) note_calls(turn);
  for (Turn& turn : *turns) {
    note_calls(turn);
    if (turn.role != "user" || order.empty()) continue;
    // By place, then as they came.
    std::vector<std::pair<size_t, size_t>> places;
    for (size_t i = 0; i < turn.blocks.size(); ++i) {
      if (!turn.blocks[i].is_result) continue;
      const auto found = order.find(turn.blocks[i].call_id);
      places.emplace_back(found == order.end() ? 0 : found->second, i);
    }
    std::sort(places.begin(), places.end());
    const std::vector<TurnBlock> unsorted = turn.blocks;
    size_t next = 0;
    for (TurnBlock& block : turn.blocks) {
      if (block.is_result) block = unsorted[places[next++].second];
    }
  }
}

}  // namespace baleen
