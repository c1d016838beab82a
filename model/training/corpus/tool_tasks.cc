// Tasks over invented tools.
#include <algorithm>
#include <utility>

#include "model/text/json_value.h"
#include "model/training/corpus/invented_tool.h"
#include "model/training/corpus/tasks.h"

namespace baleen::training {
namespace {

constexpr std::string_view kAskKey[] = {" and tell me the {k}",    " and say what the {k} is",
                                        ", what is the {k}",       " and give me its {k}",
                                        "; I need the {k}",        " to learn the {k}",
                                        ". What {k} does it have", " and report the {k}"};
constexpr std::string_view kAskEnds[] = {"", ".", "?", " please.", "!", ", thanks."};
constexpr std::string_view kLeads[] = {"",       "",     "OK. ",   "Thanks. ",
                                       "Good. ", "So, ", "Well, ", "Fine. "};
constexpr std::string_view kLaterKey[] = {
    "What is the {k}",  "And the {k}", "Tell me the {k}", "Which {k} does it have",
    "What was the {k}", "The {k}",     "Give me the {k}", "Now the {k}"};
constexpr std::string_view kErrors[] = {
    "no such {n}: {w}",    "{w} is not available",  "permission denied for {w}",
    "the {n} {w} is busy", "{n} {w} was not found", "cannot reach {w}",
    "invalid {n} {w}"};
constexpr std::string_view kDone[] = {"ok", "done", "OK", "success", "accepted"};
constexpr std::string_view kFirst[] = {"First ", "", "Please ", "Now ", "I want you to "};
constexpr std::string_view kThen[] = {", then ", " and then ", "; after that ", ", and next ",
                                      ". Then "};
constexpr std::string_view kWith[] = {" with the result", " with what you get", " using that",
                                      " with it", " with the answer"};
constexpr std::string_view kWithKey[] = {" with its {k}", " with the {k}", " using the {k}",
                                         " with the {k} you get"};
constexpr std::string_view kOf[] = {" of {x}", " for {x}", " {x}", " with {p} {x}", " with {x}"};
constexpr std::string_view kBoth[] = {" and ", ", and also ", " and at once ", "; also "};
constexpr std::string_view kGive[] = {"{x}",      "Use {x}",  "It is {x}", "The {p} is {x}",
                                      "Take {x}", "{p}: {x}", "{x} it is", "Then {x}",
                                      "\"{x}\""};
constexpr std::string_view kGiveEnds[] = {"", ".", " please.", "!", ", thanks.", " then."};

Message UserMessage(std::string text) {
  Message message;
  message.role = Role::kUser;
  message.content = std::move(text);
  return message;
}

Message ResultMessage(std::string text) {
  Message message;
  message.role = Role::kTool;
  message.content = std::move(text);
  return message;
}

Message Says(std::string text) {
  Message message;
  message.role = Role::kAssistant;
  message.content = std::move(text);
  return message;
}

Message Calls(std::vector<ToolCall> calls) {
  Message message;
  message.role = Role::kAssistant;
  message.tool_calls = std::move(calls);
  return message;
}

Exchange CallExchange(Message before, std::vector<ToolCall> calls) {
  return {{std::move(before)}, Calls(std::move(calls)), Skill::kCall, ""};
}

Exchange AnswerExchange(Message before, std::string text, std::string value) {
  return {{std::move(before)}, Says(std::move(text)), Skill::kAnswer, std::move(value)};
}

Conversation NewConversation(Draw& draw, const char* task, const std::vector<InventedTool>& tools) {
  Conversation conversation;
  conversation.task = task;
  conversation.system = std::string(draw.One(kSystemPrompts));
  for (const InventedTool& tool : tools) conversation.tools.push_back(tool.Spec());
  return conversation;
}

struct Field {
  std::string key;
  std::string value;
  bool is_number = false;
};

std::vector<Field> InventFields(Draw& draw, int64_t count) {
  std::vector<Field> fields;
  while (static_cast<int64_t>(fields.size()) < count) {
    const Attribute& known = draw.One(kAttributes);
    Field field{std::string(known.name), "", known.kind == ValueKind::kNumber};
    if (draw.Chance(0.35)) field.key = draw.Word();
    const bool same = std::any_of(fields.begin(), fields.end(),
                                  [&](const Field& other) { return other.key == field.key; });
    if (same) continue;
    field.value = draw.Value(known.kind);
    fields.push_back(std::move(field));
  }
  return fields;
}

/// A result that states fields: JSON, lines, or one line.
std::string FieldsText(Draw& draw, const std::vector<Field>& fields) {
  const int64_t form = draw.Below(4);
  std::string text;
  for (const Field& field : fields) {
    if (!text.empty()) text += form < 2 ? ", " : form == 2 ? "\n" : "; ";
    if (form < 2) {
      text +=
          QuoteJson(field.key) + ": " + (field.is_number ? field.value : QuoteJson(field.value));
    } else {
      text += field.key + (form == 2 ? ": " : " is ") + field.value;
    }
  }
  return form < 2 ? "{" + text + "}" : text;
}

std::string Stated(const Field& field) { return "The " + field.key + " is " + field.value + "."; }

/// A call's result and what the assistant makes of it; asks further about it now and then.
void AddResult(Draw& draw, const InventedTool& tool, double bare, const std::string& asked_key,
               std::vector<Field> fields, Conversation* out) {
  if (asked_key.empty() && draw.Chance(bare)) {
    out->exchanges.push_back(
        {{ResultMessage(std::string(draw.One(kDone)))}, Says("Done."), {}, ""});
    return;
  }
  if (draw.Chance(0.08)) {
    const std::string word = draw.Word();
    const std::string error = Fill(draw.One(kErrors), {{"n", tool.noun}, {"w", word}});
    out->exchanges.push_back(
        AnswerExchange(ResultMessage("ERROR: " + error), "The tool failed: " + error + ".", error));
    return;
  }
  if (asked_key.empty() && draw.Chance(0.5)) {
    const std::string value = draw.Value(draw.One(kAttributes).kind);
    out->exchanges.push_back(
        AnswerExchange(ResultMessage(value), "The result is " + value + ".", value));
    return;
  }
  const std::string text = FieldsText(draw, fields);
  const auto asked = std::find_if(fields.begin(), fields.end(),
                                  [&](const Field& field) { return field.key == asked_key; });
  if (asked != fields.end()) {
    out->exchanges.push_back(AnswerExchange(ResultMessage(text), Stated(*asked), asked->value));
  } else {
    out->exchanges.push_back({{ResultMessage(text)}, Says("Done."), {}, ""});
  }
  draw.Shuffle(fields);
  for (int64_t more = draw.One({0, 0, 1, 2}); more > 0 && !fields.empty(); --more) {
    const Field field = fields.back();
    fields.pop_back();
    if (field.key == asked_key) continue;
    const std::string question =
        Fill(draw.Phrase({kLeads, kLaterKey, kAskEnds}), {{"k", field.key}});
    out->exchanges.push_back(AnswerExchange(UserMessage(question), Stated(field), field.value));
  }
}

/// The request without its last mark, so that more can follow.
std::string OpenEnded(std::string text) {
  while (!text.empty() && (text.back() == '.' || text.back() == '?' || text.back() == '!')) {
    text.pop_back();
  }
  return text;
}

/// A rough count: a task stops adding requests in time.
bool Full(const Conversation& conversation, const TaskSetting& setting) {
  int64_t bytes =
      conversation.tools.empty() ? 0 : 850;  // The fixed text costs fewer tokens per byte.
  for (const ToolSpec& tool : conversation.tools) {
    bytes += static_cast<int64_t>(tool.parameters.size() + tool.description.size()) + 40;
  }
  for (const Exchange& exchange : conversation.exchanges) {
    for (const Message& message : exchange.append)
      bytes += static_cast<int64_t>(message.content.size()) + 20;
    bytes += static_cast<int64_t>(exchange.reply.content.size()) + 10;
    for (const ToolCall& call : exchange.reply.tool_calls) {
      bytes += static_cast<int64_t>(call.arguments.size()) + 130;
    }
  }
  return bytes / 2.7 > static_cast<double>(setting.tokens_max - 120);
}

}  // namespace

Conversation ToolTask(Draw& draw, const TaskSetting& setting, const ToolTaskOptions& options) {
  const int64_t count = options.tools > 0 ? options.tools : draw.One<int64_t>({1, 2, 2, 3, 4});
  ToolOptions shape;
  shape.parameters_max = options.parameters_max;
  const std::vector<InventedTool> tools = InventTools(draw, count, options.alike, shape);
  Conversation out = NewConversation(draw, "tools", tools);
  const int64_t requests =
      options.requests > 0 ? options.requests : draw.One<int64_t>({1, 2, 3, 3, 4});
  for (int64_t i = 0; i < requests; ++i) {
    const InventedTool& tool = draw.One(tools);
    const std::vector<std::string> values = InventValues(draw, tool);
    std::string request = RequestFor(draw, tool, values);
    std::vector<Field> fields = InventFields(draw, draw.One<int64_t>({1, 2, 3}));
    std::string asked;
    if (draw.Chance(0.35 * (1 - options.bare))) {
      asked = draw.One(fields).key;
      request = OpenEnded(request) + Fill(draw.Phrase({kAskKey, kAskEnds}), {{"k", asked}});
    }
    out.exchanges.push_back(CallExchange(UserMessage(request), {CallOf(tool, values)}));
    AddResult(draw, tool, options.bare, asked, std::move(fields), &out);
    if (Full(out, setting)) break;
  }
  out.used = draw.used();
  return out;
}

Conversation ChainTask(Draw& draw, const TaskSetting& setting) {
  ToolOptions shape;
  shape.parameters_max = 1;
  std::vector<InventedTool> tools = InventTools(draw, draw.One<int64_t>({2, 2, 3}), 0.4, shape);
  for (InventedTool& tool : tools) {
    // What passes from call to call is text.
    if (tool.parameters[0].kind == ValueKind::kFlag ||
        tool.parameters[0].kind == ValueKind::kNumber ||
        tool.parameters[0].kind == ValueKind::kDecimal) {
      tool.parameters[0].kind = ValueKind::kCode;
    }
  }
  Conversation out = NewConversation(draw, "chain", tools);
  for (int64_t round = draw.One<int64_t>({1, 2, 2}); round > 0; --round) {
    if (!out.exchanges.empty() && Full(out, setting)) break;
    std::vector<size_t> order(tools.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    draw.Shuffle(order);
    const size_t steps = tools.size() > 2 && draw.Chance(0.3) ? 3 : 2;
    std::vector<std::string> values;
    for (size_t i = 0; i < steps; ++i) {
      values.push_back(draw.ValueUnlike(tools[order[i]].parameters[0].kind, values));
    }
    const InventedTool& first = tools[order[0]];
    const auto opening = draw.Parts({kFirst, kOf, kThen, kWith, kAskEnds});
    std::string request = std::string(opening[0]) + SpokenWork(draw, first) +
                          Fill(opening[1], {{"x", values[0]}, {"p", first.parameters[0].name}});
    std::vector<std::string> results;
    for (size_t i = 1; i < steps; ++i) {
      const bool keyed = draw.Chance(0.4);
      std::vector<Field> fields = InventFields(draw, draw.One<int64_t>({1, 2, 3}));
      const std::string key = fields[0].key;
      fields[0].value = values[i];
      fields[0].is_number = false;
      draw.Shuffle(fields);
      results.push_back(keyed ? FieldsText(draw, fields) : values[i]);
      const std::string work = SpokenWork(draw, tools[order[i]]);
      request += std::string(i == 1 ? opening[2] : draw.One(kThen)) + work;
      request += keyed ? Fill(draw.One(kWithKey), {{"k", key}})
                       : std::string(i == 1 ? opening[3] : draw.One(kWith));
    }
    request = Capitalised(request) + std::string(opening[4]);
    Message before = UserMessage(request);
    for (size_t i = 0; i < steps; ++i) {
      out.exchanges.push_back(CallExchange(before, {CallOf(tools[order[i]], {values[i]})}));
      if (i + 1 < steps) before = ResultMessage(results[i]);
    }
    if (draw.Chance(0.5)) {
      out.exchanges.push_back(
          {{ResultMessage(std::string(draw.One(kDone)))}, Says("Done."), {}, ""});
    } else {
      const std::string value = draw.ValueUnlike(ValueKind::kWord, values);
      out.exchanges.push_back(
          AnswerExchange(ResultMessage(value), "The result is " + value + ".", value));
    }
  }
  out.used = draw.used();
  return out;
}

Conversation PairTask(Draw& draw, const TaskSetting& setting) {
  static_cast<void>(setting);
  ToolOptions shape;
  shape.parameters_max = 2;
  const std::vector<InventedTool> tools =
      InventTools(draw, draw.One<int64_t>({1, 2, 2, 3}), 0.4, shape);
  Conversation out = NewConversation(draw, "pair", tools);
  const InventedTool& first = draw.One(tools);
  const InventedTool& second = draw.One(tools);
  const auto one = InventValues(draw, first);
  const auto two = InventValues(draw, second);
  std::string rest = RequestFor(draw, second, two);
  if (!rest.empty() && rest[0] >= 'A' && rest[0] <= 'Z') rest[0] = static_cast<char>(rest[0] + 32);
  const std::string joint(draw.One(kBoth));
  const std::string request = OpenEnded(RequestFor(draw, first, one)) + joint + rest;
  out.exchanges.push_back(
      CallExchange(UserMessage(request), {CallOf(first, one), CallOf(second, two)}));
  const std::string a = draw.Word();
  const std::string b = draw.ValueUnlike(ValueKind::kWord, std::vector<std::string>{a});
  Exchange answer =
      AnswerExchange(ResultMessage(a), "The results are " + a + " and " + b + ".", a + " and " + b);
  answer.append.push_back(ResultMessage(b));
  out.exchanges.push_back(std::move(answer));
  out.used = draw.used();
  return out;
}

Conversation MissingTask(Draw& draw, const TaskSetting& setting) {
  static_cast<void>(setting);
  ToolOptions shape;
  shape.parameters_min = 2;
  std::vector<InventedTool> tools = InventTools(draw, draw.One<int64_t>({1, 1, 2, 3}), 0.4, shape);
  for (InventedTool& tool : tools) {
    for (InventedParameter& parameter : tool.parameters) {
      parameter.required = true;
      if (parameter.kind == ValueKind::kFlag) parameter.kind = ValueKind::kWord;
    }
  }
  Conversation out = NewConversation(draw, "missing", tools);
  const InventedTool& tool = draw.One(tools);
  const std::vector<std::string> values = InventValues(draw, tool);
  const size_t gap = static_cast<size_t>(draw.Below(static_cast<int64_t>(values.size())));
  std::vector<std::string> stated = values;
  stated[gap].clear();
  const std::string& name = tool.parameters[gap].name;
  Exchange question = {{UserMessage(RequestFor(draw, tool, stated))},
                       Says("Which " + name + " should I use?"),
                       Skill::kMissing,
                       name};
  out.exchanges.push_back(std::move(question));
  const std::string given =
      Fill(draw.Phrase({kLeads, kGive, kGiveEnds}), {{"x", values[gap]}, {"p", name}});
  out.exchanges.push_back(CallExchange(UserMessage(given), {CallOf(tool, values)}));
  AddResult(draw, tool, 0.5, "", InventFields(draw, 2), &out);
  out.used = draw.used();
  return out;
}

Conversation NoToolTask(Draw& draw, const TaskSetting& setting) {
  std::vector<InventedTool> tools = InventTools(draw, draw.One<int64_t>({2, 3, 3, 4, 5}), 0);
  const InventedTool other = tools.back();
  tools.pop_back();
  // Neither the verb nor the noun of what is asked may be on offer.
  std::erase_if(tools, [&](const InventedTool& tool) {
    return tool.noun == other.noun || (tool.verb != nullptr && tool.verb == other.verb);
  });
  if (tools.empty()) return NoToolTask(draw, setting);
  Conversation out = NewConversation(draw, "no_tool", tools);
  const bool asks_first = draw.Chance(0.5);
  const auto refuse = [&] {
    out.exchanges.push_back({{UserMessage(RequestFor(draw, other, InventValues(draw, other)))},
                             Says("None of my tools can do that."),
                             Skill::kNoTool,
                             ""});
  };
  if (asks_first) refuse();
  if (draw.Chance(0.7)) {
    const InventedTool& tool = draw.One(tools);
    const auto values = InventValues(draw, tool);
    out.exchanges.push_back(
        CallExchange(UserMessage(RequestFor(draw, tool, values)), {CallOf(tool, values)}));
    AddResult(draw, tool, 0.6, "", InventFields(draw, 1), &out);
  }
  if (!asks_first) refuse();
  out.used = draw.used();
  return out;
}

}  // namespace baleen::training
