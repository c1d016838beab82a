#include "runtime/sessions/constraint.h"

#include <utility>

#include "runtime/sessions/control_loop.h"
#include "tools_sdk/schema.h"

namespace baleen {
namespace {

constexpr std::string_view kToolPrefix = "tool:";
/// Of a session: what its turns begin with, and what they go on with.
constexpr size_t kGrammarsKept = 2;

Result<ToolChoice> ReadToolChoice(const std::string& text) {
  if (text == "auto") return ToolChoice::kAuto;
  if (text == "none") return ToolChoice::kNone;
  if (text == "required") return ToolChoice::kRequired;
  if (text.starts_with(kToolPrefix)) return ToolChoice::kNamed;
  return InvalidArgumentError("tool_choice is '" + text.substr(0, 64) +
                                  "': expected 'auto', 'none', 'required' or 'tool:NAME'",
                              "BAD_FIELD");
}

Status CheckFields(const ConstraintSettings& constraint) {
  if (constraint.thinking_tokens < -1) {
    return InvalidArgumentError("thinking_tokens is " + std::to_string(constraint.thinking_tokens) +
                                    ": expected 0 or more, or -1 for no limit",
                                "BAD_FIELD");
  }
  if (constraint.answer_schema.empty()) return OkStatus();
  return Schema::ParseValue(constraint.answer_schema, "answer").status();
}

}  // namespace

ThinkingMode ModeOf(const SessionSettings& settings) {
  return settings.thinking == "thinking" ? ThinkingMode::kThinking : ThinkingMode::kChat;
}

Result<ChatShape> ShapeOf(const ConstraintSettings& constraint, const SessionSettings& settings,
                          const ToolSet& tools) {
  ChatShape shape;
  shape.thinking = ModeOf(settings);
  ASSIGN_OR_RETURN(shape.choice, ReadToolChoice(constraint.tool_choice));
  if (shape.choice == ToolChoice::kNamed) {
    shape.tool = constraint.tool_choice.substr(kToolPrefix.size());
  }
  shape.tools = tools.specs();
  shape.answer_schema = constraint.answer_schema;
  return shape;
}

Status CheckConstraint(const ConstraintSettings& constraint, const SessionSettings& settings,
                       const ToolSet& tools) {
  RETURN_IF_ERROR(CheckFields(constraint));
  ASSIGN_OR_RETURN(const ChatShape shape, ShapeOf(constraint, settings, tools));
  return CompileChat(shape).status();
}

Result<std::shared_ptr<const Grammar>> GrammarFor(const ConstraintSettings& constraint,
                                                  SessionRun* session) {
  RETURN_IF_ERROR(CheckFields(constraint));
  std::vector<CompiledConstraint>& kept = session->constraints;
  for (const CompiledConstraint& compiled : kept) {
    if (compiled.tool_choice == constraint.tool_choice &&
        compiled.answer_schema == constraint.answer_schema) {
      return compiled.grammar;
    }
  }
  ASSIGN_OR_RETURN(const ChatShape shape, ShapeOf(constraint, session->settings, session->tools));
  ASSIGN_OR_RETURN(auto grammar, CompileChat(shape));
  if (kept.size() >= kGrammarsKept) kept.erase(kept.begin());
  kept.push_back({constraint.tool_choice, constraint.answer_schema, grammar});
  return grammar;
}

std::vector<std::string> SchemaNotes(const SessionSettings& settings, const ToolSet& tools) {
  std::vector<std::string> notes = tools.notes();
  if (settings.constraint.answer_schema.empty()) return notes;
  if (const auto schema = Schema::ParseValue(settings.constraint.answer_schema, "answer");
      schema.ok()) {
    notes.insert(notes.end(), schema->notes().begin(), schema->notes().end());
  }
  return notes;
}

std::optional<ConstraintSettings> ConstraintFor(const TurnStart& start,
                                                const GenerateEffect& effect, int64_t generation) {
  if (!start.constraint.has_value()) return std::nullopt;
  ConstraintSettings constraint = *start.constraint;
  // A turn that had to begin with a call would otherwise never come to an answer.
  if (generation > 1 && constraint.tool_choice != "none") constraint.tool_choice = "auto";
  if (effect.tool_choice.has_value()) constraint.tool_choice = *effect.tool_choice;
  if (effect.answer_schema.has_value()) constraint.answer_schema = *effect.answer_schema;
  if (effect.thinking_tokens.has_value()) constraint.thinking_tokens = *effect.thinking_tokens;
  return constraint;
}

std::string AnswerFault(const ConstraintSettings& constraint, const Message& message) {
  if (constraint.answer_schema.empty() || !message.tool_calls.empty()) return "";
  const auto schema = Schema::ParseValue(constraint.answer_schema, "answer");
  return (schema.ok() ? schema->Validate(message.content) : schema.status()).message();
}

Result<std::unique_ptr<TokenConstraint>> ControlLoop::MakeConstraint(
    SessionRun& session, const std::optional<ConstraintSettings>& constraint) const {
  if (!constraint.has_value()) return std::unique_ptr<TokenConstraint>();
  ConstraintParts parts;
  ASSIGN_OR_RETURN(parts.grammar, GrammarFor(*constraint, &session));
  parts.tokenizer = parts_.model->tokenizer();
  parts.trie = &trie_;
  parts.ids = encoder_.ids();
  parts.thinking = ModeOf(session.settings) == ThinkingMode::kThinking;
  parts.thinking_tokens = constraint->thinking_tokens;
  return std::make_unique<TokenConstraint>(parts);
}

}  // namespace baleen
