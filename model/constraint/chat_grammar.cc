#include "model/constraint/chat_grammar.h"

#include <algorithm>
#include <utility>

#include "model/constraint/schema_grammar.h"

namespace baleen {
namespace {

RuleId Text(Grammar& grammar) {
  Rule rule;
  rule.kind = Rule::Kind::kText;
  return grammar.Add(std::move(rule));
}

Result<RuleId> Call(const ToolSpec& tool, Grammar& grammar) {
  auto parameters = CompileParameters(tool.parameters, &grammar);
  if (!parameters.ok()) return parameters.status().WithContext("tool '" + tool.name + "'");
  return grammar.Sequence(
      {grammar.Literal(MarkupSymbols("<｜DSML｜invoke name=\"" + tool.name + "\">\n")),
       *parameters});
}

/// From the blank line before the block to EOS.
Result<RuleId> Calls(const ChatShape& shape, RuleId eos, Grammar& grammar) {
  std::vector<RuleId> calls;
  std::vector<const ToolSpec*> tools;
  for (const ToolSpec& tool : shape.tools) {
    if (shape.choice == ToolChoice::kNamed && tool.name != shape.tool) continue;
    ASSIGN_OR_RETURN(const RuleId call, Call(tool, grammar));
    calls.push_back(call);
    tools.push_back(&tool);
  }
  grammar.Measure();  // once: it looks at every rule
  for (size_t i = 0; i < calls.size(); ++i) {
    if (grammar.height(calls[i]) <= kStackDepthMax) continue;
    return FailedPreconditionError(
        "tool '" + tools[i]->name + "': no arguments can satisfy its schema; mend the schema",
        "UNSATISFIABLE");
  }
  const RuleId call = grammar.Choice(std::move(calls));
  Rule block;
  block.kind = Rule::Kind::kItems;
  block.parts = {call, call};
  block.close = grammar.Literal(MarkupSymbols("</｜DSML｜tool_calls>"));
  block.min = 1;
  block.max = shape.choice == ToolChoice::kNamed ? 1 : kCallsPerMessageMax;
  return grammar.Sequence({grammar.Literal(MarkupSymbols("\n\n<｜DSML｜tool_calls>\n")),
                           grammar.Add(std::move(block)), eos});
}

Status CheckChoice(const ChatShape& shape) {
  const bool found = std::any_of(shape.tools.begin(), shape.tools.end(),
                                 [&](const ToolSpec& tool) { return tool.name == shape.tool; });
  if (shape.choice == ToolChoice::kNamed && !found) {
    return InvalidArgumentError(
        "tool_choice names the tool '" + shape.tool.substr(0, 64) + "', which isn't declared",
        "BAD_FIELD");
  }
  if (shape.choice == ToolChoice::kRequired && shape.tools.empty()) {
    return InvalidArgumentError("tool_choice is 'required', but no tool is declared", "BAD_FIELD");
  }
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<const Grammar>> CompileChat(const ChatShape& shape) {
  RETURN_IF_ERROR(CheckChoice(shape));
  auto grammar = std::make_shared<Grammar>();  // owners: the caller, and automata over it
  const RuleId eos = grammar->Literal(std::vector<Symbol>{kEosSymbol});
  std::vector<RuleId> endings;
  const bool must_call =
      shape.choice == ToolChoice::kRequired || shape.choice == ToolChoice::kNamed;
  RuleId answer = kNoRule;
  if (!shape.answer_schema.empty() && !must_call) {
    auto value = CompileAnswer(shape.answer_schema, grammar.get());
    if (!value.ok()) return value.status().WithContext("answer schema");
    grammar->Measure();
    if (grammar->height(*value) > kStackDepthMax) {
      return FailedPreconditionError("answer schema: no value can satisfy it; mend the schema",
                                     "UNSATISFIABLE");
    }
    answer = grammar->Sequence({*value, eos});
  }
  RuleId calls = kNoRule;
  if (shape.choice != ToolChoice::kNone && !shape.tools.empty()) {
    ASSIGN_OR_RETURN(calls, Calls(shape, eos, *grammar));
  }
  RuleId content = kNoRule;
  if (must_call) {
    content = calls;
  } else if (answer != kNoRule) {
    content = calls == kNoRule ? answer : grammar->Choice({answer, calls});
  } else {
    content =
        grammar->Sequence({Text(*grammar), calls == kNoRule ? eos : grammar->Choice({eos, calls})});
  }
  RuleId root = content;
  if (shape.thinking == ThinkingMode::kThinking) {
    root = grammar->Sequence(
        {Text(*grammar), grammar->Literal(std::vector<Symbol>{kThinkCloseSymbol}), content});
  }
  RETURN_IF_ERROR(grammar->Finish(root));
  return std::shared_ptr<const Grammar>(std::move(grammar));
}

}  // namespace baleen
