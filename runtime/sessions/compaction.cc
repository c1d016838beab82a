// A context that nears its limit: the instruction is appended to the live prefix, the model writes
// a summary, and goal, notes and summary stand in place of what was before. Nothing is lost: a
// rewind or fork to the point before the instruction has the whole context again.
#include "runtime/sessions/compaction.h"

#include <algorithm>
#include <utility>

#include "runtime/sessions/call_results.h"
#include "runtime/sessions/control_loop.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr char kInstruction[] =
    "This conversation's context is nearly full. What you write now will stand in its place; the "
    "messages above will be gone. Write notes to yourself with all that is needed to go on: what "
    "was asked, what was decided and why, what was done and how it came out, names, paths and "
    "figures exactly as they are, what is still open, and the next step. Call no tools, and don't "
    "answer the user.";
constexpr size_t kGoalBytesMax = 4096;
constexpr size_t kPinnedBytesMax = 64 << 10;
constexpr char kResultFollows[] = "(the result follows after your notes)";

}  // namespace

Message CompactionInstruction() {
  Message message;
  message.content = kInstruction;
  return message;
}

int64_t InstructionTokens(const SessionEncoder& encoder, const Tokenizer& tokenizer) {
  const auto ids = tokenizer.EncodeSegments(encoder.UserTurn(
      {CompactionInstruction()}, ThinkingMode::kChat, /*previous_needs_eos=*/true));
  return ids.ok() ? std::ssize(*ids) : static_cast<int64_t>(sizeof(kInstruction));
}

int64_t SummaryTokensMax(int64_t context_tokens) {
  return std::clamp<int64_t>(context_tokens / 16, 64, 4096);
}

std::string CompactedHead(const std::string& goal, const std::vector<std::string>& notes,
                          const std::string& summary) {
  std::string text =
      "[This conversation was compacted: its earlier messages are replaced by this one.]\n";
  if (!goal.empty()) text += "\nGoal:\n" + goal + "\n";
  if (!notes.empty()) text += "\nPinned notes:\n";
  for (const std::string& note : notes) text += "- " + note + "\n";
  return text + "\nNotes on what has happened:\n" + summary;
}

std::vector<Message> FoldedResults(const std::vector<Message>& append,
                                   const std::vector<ToolCall>& calls) {
  std::vector<Message> folded = append;
  for (Message& message : folded) {
    if (message.role != Role::kTool) continue;
    const auto call = std::find_if(calls.begin(), calls.end(), [&](const ToolCall& one) {
      return one.id == message.tool_call_id;
    });
    const std::string what =
        call == calls.end() ? message.tool_call_id : call->name + " " + call->arguments;
    message.role = Role::kUser;
    message.tool_call_id.clear();
    message.content = "Result of your call " + what + ":\n" + message.content;
  }
  return folded;
}

Status CheckCompaction(const SessionSettings& settings) {
  if (settings.compact_at_percent < 0 || settings.compact_at_percent > 99) {
    return InvalidArgumentError("compact_at_percent is " +
                                    std::to_string(settings.compact_at_percent) +
                                    ": expected 0 (never) to 99",
                                "BAD_FIELD");
  }
  size_t bytes = settings.goal.size();
  bool valid = Utf8ValidPrefix(settings.goal) == settings.goal.size();
  for (const std::string& note : settings.notes) {
    bytes += note.size();
    valid = valid && Utf8ValidPrefix(note) == note.size();
  }
  if (!valid) return InvalidArgumentError("goal or a note is not valid UTF-8", "BAD_FIELD");
  if (bytes > kPinnedBytesMax) {
    return InvalidArgumentError("goal and notes have " + std::to_string(bytes) +
                                    " bytes: expected at most " + std::to_string(kPinnedBytesMax),
                                "BAD_FIELD");
  }
  return OkStatus();
}

Status ControlLoop::ReadCompaction(SessionRun& session, const std::optional<EventRecord>& last) {
  session.context_begin = 0;
  session.context_head.clear();
  session.goal.clear();
  session.notes.clear();
  if (!last.has_value()) return OkStatus();
  ASSIGN_OR_RETURN(CompactionEnd end, CompactionEndFromJson(last->payload));
  if (end.context_begin < 0 || end.context_begin > session.record.tokens) {
    return DataLossError("event " + std::to_string(last->seq) + " compacts up to token " +
                         std::to_string(end.context_begin) + ", of " +
                         std::to_string(session.record.tokens));
  }
  session.context_begin = end.context_begin;
  session.context_head = CompactedHead(end.goal, end.notes, end.summary);
  const bool goal_holds = end.revision >= session.marks.goal_revision;
  const bool notes_hold = end.revision >= session.marks.notes_revision;
  session.goal = goal_holds ? std::move(end.goal) : session.settings.goal;
  session.notes = notes_hold ? std::move(end.notes) : session.settings.notes;
  return OkStatus();
}

int64_t ControlLoop::CompactionRoom(const SessionSettings& settings) const {
  const int64_t most = ContextTokensMax(settings);
  const int64_t reserve = instruction_tokens_ + SummaryTokensMax(most) + most / 64;
  // So small a context would hold little but instruction and summary.
  if (settings.compact_at_percent == 0 || reserve > most / 2) return most;
  return std::min(most * settings.compact_at_percent / 100, most - reserve);
}

Status ControlLoop::CheckCompactable(const SessionRun& session) const {
  const int64_t context = std::ssize(session.tokens) - session.context_begin;
  if (context == 0) {
    return FailedPreconditionError(
        "session '" + session.record.id + "' has no context that could be compacted",
        "NOTHING_TO_COMPACT");
  }
  const int64_t most = ContextTokensMax(session.settings);
  const int64_t needed = instruction_tokens_ + SummaryTokensMax(most);
  if (context + needed < most) return OkStatus();
  return ResourceExhaustedError("the context has " + std::to_string(context) + " tokens, of " +
                                    std::to_string(most) + "; a compaction needs " +
                                    std::to_string(needed) + " more: rewind, then compact",
                                "CONTEXT_FULL");
}

void ControlLoop::TellCompactionDue(SessionRun& session, const GenerateEffect& effect,
                                    const CompactionDueEvent& due) {
  session.turn->generation.reset();
  StepStart start;
  start.turn = session.turn->view.turn;
  start.step = session.turn->step;
  start.effect = EffectToJson(effect);
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kStepStarted, StepStartToJson(start)));
  EndFlowStep(session, due, std::move(batch));
}

void ControlLoop::BeginCompaction(SessionRun& session, std::optional<GenerateEffect> effect,
                                  std::optional<CompactEffect> step) {
  TurnRun& turn = *session.turn;
  turn.compaction = std::make_unique<CompactionState>();
  turn.compaction->effect = std::move(effect);
  turn.compaction->step = std::move(step);
  if (turn.open_compaction.has_value()) {
    const GenerateStart start = *std::exchange(turn.open_compaction, std::nullopt);
    turn.compaction->prompt_begin = start.prompt_begin;
    turn.view.tokens_generated += std::ssize(session.tokens) - start.prompt_end;
    return AskForSummary(session, start.prompt_end, std::ssize(session.tokens));
  }
  if (Status status = CheckCompactable(session); !status.ok()) {
    const bool is_step = turn.compaction->step.has_value();
    if (is_step) turn.compaction.reset();
    if (is_step) return EndFlowStep(session, CompactedEvent{"", status.message()}, {});
    return FinishTurn(session, TurnState::kFailed, "", status);
  }
  turn.generation = std::make_unique<GenerationState>();
  turn.generation->step = turn.step;
  // Results that the model has not seen yet come whole with what follows.
  std::vector<ToolResult> known = session.known_results;
  for (ToolResult& result : known) result.content = kResultFollows;
  EncodePrompt(session, WithOwedResults({CompactionInstruction()}, session.open_calls, known),
               [this](SessionRun& run, const std::vector<int32_t>& prompt) {
                 JournalInstruction(run, prompt);
               });
}

void ControlLoop::JournalInstruction(SessionRun& session, const std::vector<int32_t>& prompt) {
  const bool enough =
      HasBudget(session, PromptNeed(session.settings.prices, std::ssize(prompt)),
                [this, id = session.record.id, epoch = session.turn->epoch, prompt] {
                  if (SessionRun* run = FindTurn(id, epoch)) JournalInstruction(*run, prompt);
                });
  if (!enough) return;
  GenerateStart start;
  start.turn = session.turn->view.turn;
  start.step = session.turn->step;
  start.prompt_begin = std::ssize(session.tokens);
  start.prompt_end = start.prompt_begin + std::ssize(prompt);
  start.messages = std::move(session.turn->generation->messages);
  session.turn->compaction->prompt_begin = start.prompt_begin;
  JournalBatch batch;
  batch.events.push_back(
      NewEvent(session, event_kind::kCompactionStarted, GenerateStartToJson(start)));
  batch.tokens.push_back({session.record.id, start.prompt_begin, prompt, {}});
  session.tokens.Append(prompt);
  session.record.tokens = start.prompt_end;
  session.open_calls.clear();
  session.known_results.clear();
  Commit(session, std::move(batch), Durability::kKernel,
         [this, id = session.record.id, epoch = session.turn->epoch, start](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (!status.ok() || run == nullptr) return;
           if (run->turn->view.state != TurnState::kRunning) return;
           NoteWait(*run);
           AskForSummary(*run, start.prompt_end, std::max<int64_t>(0, start.prompt_begin - 1));
         });
}

void ControlLoop::AskForSummary(SessionRun& session, int64_t prompt_end, int64_t computed_before) {
  GenerateEffect summary;
  summary.tokens_max = SummaryTokensMax(ContextTokensMax(session.settings));
  summary.temperature = 0.0F;  // the same context gives the same summary
  summary.tool_choice = "none";
  summary.answer_schema = "";
  summary.thinking_tokens = 0;
  SubmitJob(session, summary, prompt_end, computed_before);
}

void ControlLoop::EndCompaction(SessionRun& session, std::string summary) {
  TurnRun& turn = *session.turn;
  const auto compaction = std::move(turn.compaction);
  CompactionEnd end;
  end.turn = turn.view.turn;
  end.step = turn.step;
  end.reopen_tokens = compaction->prompt_begin;
  end.context_begin = std::ssize(session.tokens);
  end.goal = session.goal;
  end.notes = session.notes;
  if (session.context_begin == 0) {
    end.goal = session.settings.goal;
    end.notes = session.settings.notes;
  }
  if (end.goal.empty()) {
    const auto first =
        parts_.journal_reader->ReadEventsOfKind(session.record.id, event_kind::kTurnStarted, 0, 1);
    if (first.ok() && !first->empty()) {
      const auto start = TurnStartFromJson(first->front().payload);
      if (start.ok()) end.goal = std::string(Utf8Prefix(start->input, kGoalBytesMax));
    }
  }
  const auto& step = compaction->step;
  if (step.has_value() && !step->keep.empty()) end.notes.push_back(step->keep);
  end.summary = summary.empty() ? "(none were written)" : std::move(summary);
  end.reuse = turn.generation->reuse;
  end.revision = session.marks.revision;
  turn.generation.reset();
  session.context_begin = end.context_begin;
  session.context_head = CompactedHead(end.goal, end.notes, end.summary);
  session.goal = end.goal;
  session.notes = end.notes;
  session.has_opening = false;
  session.open_calls.clear();
  session.known_results.clear();
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kCompacted, CompactionEndToJson(end)));
  if (step.has_value()) {
    return EndFlowStep(session, CompactedEvent{end.summary, ""}, std::move(batch));
  }
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = turn.epoch,
          effect = *compaction->effect](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (!status.ok() || run == nullptr) return;
           if (run->turn->view.state != TurnState::kRunning) return;
           BeginGeneration(*run, effect);
         });
}

Result<std::vector<Message>> ControlLoop::WithHead(const SessionRun& session,
                                                   const std::vector<Message>& append) {
  if (session.context_begin == 0 || std::ssize(session.tokens) != session.context_begin) {
    return append;
  }
  std::vector<ToolCall> calls;
  const auto last = parts_.journal_reader->LastEvent(session.record.id, event_kind::kGenerated);
  if (last.ok()) {
    ASSIGN_OR_RETURN(const StepAnswer answer, StepAnswerFromJson(last->payload));
    if (const auto* generated = std::get_if<GeneratedEvent>(&answer.event)) {
      calls = generated->message.tool_calls;
    }
  }
  std::vector<Message> whole(1);
  whole[0].content = session.context_head;
  for (Message& message : FoldedResults(append, calls)) whole.push_back(std::move(message));
  return whole;
}

}  // namespace baleen
