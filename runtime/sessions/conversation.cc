#include "runtime/sessions/conversation.h"

#include <utility>
#include <variant>

#include "runtime/sessions/journal_json.h"

namespace baleen {

Status Conversation::Take(const EventRecord& event, const TextOfTokens& text) {
  seq_ = event.seq;
  if (event.kind == event_kind::kGenerate || event.kind == event_kind::kCompactionStarted) {
    return TakePrompt(event, text);
  }
  if (event.kind == event_kind::kCompacted) {
    messages_.clear();
    call_ids_.clear();
    open_ = false;
    return OkStatus();
  }
  if (event.kind == event_kind::kGenerated) return TakeAnswer(event);
  if (event.kind == event_kind::kGenerationDropped) {
    ASSIGN_OR_RETURN(const GenerationDrop drop, GenerationDropFromJson(event.payload));
    answer_begin_ = drop.tokens_end;
  }
  return OkStatus();
}

Status Conversation::TakePrompt(const EventRecord& event, const TextOfTokens& text) {
  ASSIGN_OR_RETURN(GenerateStart start, GenerateStartFromJson(event.payload));
  if (open_ && start.prompt_begin > answer_begin_) {
    // An answer that a cancel or a cut left unfinished: what was shown of it was said.
    Message partial = text(answer_begin_, start.prompt_begin);
    partial.role = Role::kAssistant;
    partial.tool_calls.clear();
    if (!partial.content.empty()) Append(std::move(partial), start.turn);
  }
  for (Message& message : start.messages) Append(std::move(message), start.turn);
  open_ = true;
  answer_begin_ = start.prompt_end;
  return OkStatus();
}

Status Conversation::TakeAnswer(const EventRecord& event) {
  ASSIGN_OR_RETURN(StepAnswer answer, StepAnswerFromJson(event.payload));
  auto* generated = std::get_if<GeneratedEvent>(&answer.event);
  if (generated == nullptr) return OkStatus();
  Append(std::move(generated->message), answer.turn);
  open_ = false;
  return OkStatus();
}

void Conversation::Append(Message message, const std::string& turn) {
  if (!message.tool_calls.empty()) call_ids_.clear();
  for (ToolCall& call : message.tool_calls) {
    call.id = call_ids_[call.id] = turn + "-" + call.id;
  }
  if (message.role == Role::kTool) {
    const auto known = call_ids_.find(message.tool_call_id);
    if (known == call_ids_.end()) {
      // A result without its call (a cut fell between): servers refuse such a message.
      message.role = Role::kUser;
      message.content = "Result of " + message.tool_call_id + ": " + message.content;
    } else {
      message.tool_call_id = known->second;
    }
  }
  messages_.push_back(std::move(message));
}

}  // namespace baleen
