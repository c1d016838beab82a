#include "model/training/corpus/invented_tool.h"

#include <algorithm>

#include "model/text/json_value.h"

namespace baleen::training {
namespace {

constexpr std::string_view kDescriptionHeads[] = {
    "{V} the {n}",           "{V} a {n}",      "{V} one {n}", "{V} {n}", "Tool to {v} the {n}",
    "Use this to {v} a {n}", "Can {v} the {n}"};
constexpr std::string_view kDescriptionTails[] = {
    "",           ".",          " by {p}",      " with the given {p}", " in the system.",
    " of a user", " right now", " by its {p}.", " for a given {p}"};

constexpr std::string_view kPlainHeads[] = {"Works on the {n}", "Something for the {n}", "{n}",
                                            "For the {n}", "Takes care of the {n}"};

constexpr std::string_view kOpeners[] = {
    "",           "",         "Please ",    "Can you ",   "I want you to ",
    "Could you ", "Now ",     "Hey, ",      "I need to ", "Time to ",
    "Go and ",    "Help me ", "Would you ", "Let us ",    "You should "};
constexpr std::string_view kWorks[] = {"{v} the {n}", "{v} the {n}",  "{v} a {n}",
                                       "{v} {n}",     "{v} this {n}", "{v} my {n}"};
constexpr std::string_view kNamed[] = {"use {t}",          "call {t}",   "run {t}",
                                       "run the {t} tool", "invoke {t}", "use the tool {t}",
                                       "try {t}"};
constexpr std::string_view kSingle[] = {" of {x}",    " for {x}", " in {x}",   " {x}",
                                        " named {x}", " to {x}",  " from {x}", " called {x}",
                                        ": {x}",      " \"{x}\"", " at {x}",   " with {x}"};
constexpr std::string_view kStated[] = {
    " with {p} {x}", " with {x} as the {p}", ", {p} {x}",           ", {p}={x}",
    ", {p}: {x}",    " using {p} {x}",       " where {p} is {x}",   " and {p} {x}",
    " ({p} {x})",    ", the {p} is \"{x}\"", " and set {p} to {x}", " whose {p} is {x}",
    ", {p} \"{x}\"", " and {x} for {p}"};
constexpr std::string_view kFlagOn[] = {" with {p}", ", {p}", " and {p}", " ({p})", ", {p} on"};
constexpr std::string_view kFlagOff[] = {" without {p}", ", not {p}", " and no {p}", ", {p} off"};
constexpr std::string_view kEnds[] = {"", "", ".", "?", " please.", ", thanks.", " now.", "!"};

std::string_view SpokenVerb(Draw& draw, const Verb& verb) {
  int64_t count = 0;
  while (count < static_cast<int64_t>(verb.spoken.size()) &&
         !verb.spoken[static_cast<size_t>(count)].empty())
    ++count;
  return verb.spoken[static_cast<size_t>(draw.Below(count))];
}

/// A noun of several words as a part of a name.
std::string Joined(std::string_view noun, std::string_view separator) {
  std::string name;
  for (const char letter : noun) {
    if (letter == ' ') {
      name += separator;
    } else {
      name += letter;
    }
  }
  return name;
}

std::string CamelCase(std::string_view noun) {
  std::string name;
  for (size_t at = 0; at < noun.size();) {
    const size_t end = std::min(noun.find(' ', at), noun.size());
    name += Capitalised(noun.substr(at, end - at));
    at = end + 1;
  }
  return name;
}

std::string InventName(Draw& draw, InventedTool* tool) {
  for (int tries = 0; tries < 400; ++tries) {
    const std::string verb(tool->verb->name);
    const int64_t style = draw.Below(20);
    std::string name;
    if (style < 10) {
      name = verb + "_" + Joined(tool->noun, "_");
    } else if (style < 13) {
      name = verb + CamelCase(tool->noun);
    } else if (style < 15) {
      name = Joined(tool->noun, "_") + "." + verb;
    } else if (style < 17) {
      name = Joined(tool->noun, "_") + "_" + verb;
    } else if (style < 18) {
      name = verb + "-" + Joined(tool->noun, "-");
    } else {
      const std::string end = draw.Word(1);
      name = draw.Word() + "_" + end;
    }
    if (draw.TakeName(name)) {
      if (style >= 18) tool->verb = nullptr;
      return name;
    }
    // A fixed verb and noun have few names: another noun helps.
    if (tries % 8 == 7) tool->noun = draw.Noun();
  }
  return Joined(tool->noun, "_");
}

std::vector<InventedParameter> InventParameters(Draw& draw, const ToolOptions& options) {
  std::vector<InventedParameter> parameters;
  const int64_t count = std::max(
      options.parameters_min,
      std::min(options.parameters_max,
               draw.Varied() ? draw.Between(2, 4) : draw.One<int64_t>({1, 1, 1, 2, 2, 3})));
  while (static_cast<int64_t>(parameters.size()) < count) {
    InventedParameter parameter;
    if (draw.Chance(0.65)) {
      const ParameterName& known = draw.One(kParameterNames);
      parameter = {std::string(known.name), known.kind, "", true};
      if (draw.Chance(0.3)) parameter.description = std::string(known.description);
    } else {
      parameter = {draw.Word(),
                   draw.One({ValueKind::kWord, ValueKind::kName, ValueKind::kNumber,
                             ValueKind::kFile, ValueKind::kCode, ValueKind::kWords}),
                   "", true};
    }
    const bool known = std::any_of(parameters.begin(), parameters.end(),
                                   [&](const auto& other) { return other.name == parameter.name; });
    if (known) continue;
    // Values of one kind are the ones that could change places.
    if (!parameters.empty() && parameters.back().kind != ValueKind::kFlag && draw.Varied()) {
      parameter.kind = parameters.back().kind;
    }
    parameter.required = parameters.empty() || draw.Chance(0.75);
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

const char* JsonType(ValueKind kind) {
  switch (kind) {
    case ValueKind::kNumber: return "integer";
    case ValueKind::kDecimal: return "number";
    case ValueKind::kFlag: return "boolean";
    default: return "string";
  }
}

bool IsText(ValueKind kind) {
  return kind != ValueKind::kNumber && kind != ValueKind::kDecimal && kind != ValueKind::kFlag;
}

}  // namespace

ToolSpec InventedTool::Spec() const {
  ToolSpec spec;
  spec.name = name;
  spec.description = description;
  std::string properties;
  std::string required;
  for (const InventedParameter& parameter : parameters) {
    if (!properties.empty()) properties += ",";
    properties += QuoteJson(parameter.name) + ":{\"type\":\"" + JsonType(parameter.kind) + "\"";
    if (!parameter.description.empty()) {
      properties += ",\"description\":" + QuoteJson(parameter.description);
    }
    properties += "}";
    if (!parameter.required) continue;
    if (!required.empty()) required += ",";
    required += QuoteJson(parameter.name);
  }
  spec.parameters =
      "{\"type\":\"object\",\"properties\":{" + properties + "},\"required\":[" + required + "]}";
  return spec;
}

InventedTool InventTool(Draw& draw, const ToolOptions& options) {
  InventedTool tool;
  tool.verb = options.verb != nullptr ? options.verb : &draw.One(kVerbs);
  tool.noun = options.noun.empty() ? draw.Noun() : options.noun;
  const Verb& verb = *tool.verb;
  tool.name = InventName(draw, &tool);
  tool.parameters = InventParameters(draw, options);
  const std::string parameter = tool.parameters.empty() ? "name" : tool.parameters[0].name;
  const std::string description = tool.verb == nullptr && draw.Chance(0.3)
                                      ? draw.Phrase({kPlainHeads, kDescriptionTails})
                                      : draw.Phrase({kDescriptionHeads, kDescriptionTails});
  tool.description =
      Fill(description,
           {{"V", Capitalised(verb.name)}, {"v", verb.name}, {"n", tool.noun}, {"p", parameter}});
  // A user who can't tell from the name speaks of the verb all the same, if the description does.
  if (tool.verb == nullptr && tool.description.find(std::string(verb.name)) != std::string::npos) {
    tool.verb = &verb;
  }
  return tool;
}

std::vector<InventedTool> InventTools(Draw& draw, int64_t count, double alike,
                                      const ToolOptions& options) {
  if (draw.Varied()) alike = 1;
  std::vector<InventedTool> tools = {InventTool(draw, options)};
  for (int tries = 0; static_cast<int64_t>(tools.size()) < count && tries < 200; ++tries) {
    ToolOptions wanted = options;
    if (draw.Chance(alike)) {
      if (draw.Varied()) {
        wanted.noun = draw.NounLike(tools[0].noun);
        if (draw.Chance(0.5)) wanted.verb = tools[0].verb;
      } else if (draw.Chance(0.5)) {
        wanted.verb = tools[0].verb;
      } else {
        wanted.noun = tools[0].noun;
      }
    }
    InventedTool tool = InventTool(draw, wanted);
    const bool same = std::any_of(tools.begin(), tools.end(), [&](const InventedTool& other) {
      return other.name == tool.name || (other.verb == tool.verb && other.noun == tool.noun) ||
             (other.noun == tool.noun && (other.verb == nullptr || tool.verb == nullptr));
    });
    if (!same) tools.push_back(std::move(tool));
  }
  draw.Shuffle(tools);
  return tools;
}

std::vector<std::string> InventValues(Draw& draw, const InventedTool& tool) {
  std::vector<std::string> values;
  for (const InventedParameter& parameter : tool.parameters) {
    const bool left_out = !parameter.required && draw.Chance(0.5);
    values.push_back(left_out ? "" : draw.ValueUnlike(parameter.kind, {}));
    // Checked against the others only now: an empty one would be inside any.
    for (int tries = 0; !left_out && tries < 20; ++tries) {
      const std::string& value = values.back();
      const bool alike =
          std::any_of(values.begin(), values.end() - 1, [&](const std::string& other) {
            return !other.empty() && (other.find(value) != std::string::npos ||
                                      value.find(other) != std::string::npos);
          });
      if (!alike || parameter.kind == ValueKind::kFlag) break;
      values.back() = draw.Value(parameter.kind);
    }
  }
  return values;
}

ToolCall CallOf(const InventedTool& tool, const std::vector<std::string>& values) {
  ToolCall call;
  call.name = tool.name;
  call.arguments = "{";
  for (size_t i = 0; i < tool.parameters.size(); ++i) {
    if (values[i].empty()) continue;
    if (call.arguments.size() > 1) call.arguments += ", ";
    call.arguments += QuoteJson(tool.parameters[i].name) + ": ";
    call.arguments += IsText(tool.parameters[i].kind) ? QuoteJson(values[i]) : values[i];
  }
  call.arguments += "}";
  return call;
}

std::string SpokenWork(Draw& draw, const InventedTool& tool) {
  if (tool.verb == nullptr || draw.Chance(0.15)) {
    return Fill(draw.One(kNamed), {{"t", tool.name}});
  }
  const std::string_view verb = SpokenVerb(draw, *tool.verb);
  return Fill(draw.One(kWorks), {{"v", verb}, {"n", tool.noun}});
}

std::string RequestFor(Draw& draw, const InventedTool& tool,
                       const std::vector<std::string>& values) {
  std::vector<size_t> order;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i].empty()) order.push_back(i);
  }
  if (draw.Chance(draw.Varied() ? 0.8 : 0.4)) draw.Shuffle(order);
  const bool named = tool.verb == nullptr || draw.Chance(0.15);
  // A bare value belongs to the one parameter that must be given; with more of them, or a gap, it
  // would not say which.
  const int64_t required =
      std::count_if(tool.parameters.begin(), tool.parameters.end(),
                    [](const InventedParameter& parameter) { return parameter.required; });
  const bool clear = order.size() == 1 && tool.parameters[order[0]].required && required == 1;
  std::vector<Draw::Phrases> lists = {kOpeners,
                                      named ? Draw::Phrases(kNamed) : Draw::Phrases(kWorks)};
  for (const size_t i : order) {
    const ValueKind kind = tool.parameters[i].kind;
    if (kind == ValueKind::kFlag) {
      lists.push_back(values[i] == "true" ? Draw::Phrases(kFlagOn) : Draw::Phrases(kFlagOff));
    } else if (clear && IsText(kind) && draw.Chance(0.55)) {
      lists.emplace_back(kSingle);
    } else {
      lists.emplace_back(kStated);
    }
  }
  lists.emplace_back(kEnds);
  const std::vector<std::string_view> parts = draw.Parts(lists);
  std::string text(parts[0]);
  text +=
      Fill(parts[1],
           {{"t", tool.name}, {"n", tool.noun}, {"v", named ? "" : SpokenVerb(draw, *tool.verb)}});
  for (size_t i = 0; i < order.size(); ++i) {
    text += Fill(parts[2 + i], {{"p", tool.parameters[order[i]].name}, {"x", values[order[i]]}});
  }
  return Capitalised(text) + std::string(parts.back());
}

}  // namespace baleen::training
