// Generations by engines elsewhere: the session's history goes out as messages, and the answer is
// journalled, shown and acted on as one of the embedded engine is.
#include <algorithm>
#include <utility>

#include "model/text/tolerant_parser.h"
#include "runtime/sessions/constraint.h"
#include "runtime/sessions/control_loop.h"

namespace baleen {
namespace {

constexpr std::string_view kRemotePrefix = "remote:";

std::string NameOf(const std::string& engine) { return engine.substr(kRemotePrefix.size()); }

/// Whether text may hold calls that the engine left in it, as its model wrote them.
bool MayHoldCalls(const std::string& content) {
  return content.find("invoke") != std::string::npos ||
         content.find("tool_call") != std::string::npos ||
         content.find("function_call") != std::string::npos;
}

/// The engine's own count, and what else is to be known of an answer.
ReuseReport ReportOf(const ChatAnswer& answer, const std::string& engine) {
  ReuseReport report;
  const AnswerUsage& usage = answer.usage;
  report.reused_ram = std::max<int64_t>(0, usage.cached_tokens);
  report.prefilled = std::max<int64_t>(0, usage.prompt_tokens - report.reused_ram);
  report.reasons.push_back(
      usage.prompt_tokens < 0
          ? engine + " told no usage"
          : engine + " counts " + std::to_string(usage.prompt_tokens) + " prompt tokens, " +
                std::to_string(report.reused_ram) + " of them cached, and " +
                std::to_string(std::max<int64_t>(0, usage.completion_tokens)) + " generated");
  report.reasons.insert(report.reasons.end(), answer.notes.begin(), answer.notes.end());
  return report;
}

}  // namespace

const RemoteEngineOptions* ControlLoop::EngineOf(const SessionSettings& settings) const {
  if (remote_ == nullptr || !settings.engine.starts_with(kRemotePrefix)) return nullptr;
  return remote_->Find(NameOf(settings.engine));
}

Status ControlLoop::CheckEngine(const SessionSettings& settings) const {
  if (settings.engine.empty() || EngineOf(settings) != nullptr) return OkStatus();
  std::string known = "''";
  for (const RemoteEngineOptions& engine : parts_.options.engines) {
    known += ", 'remote:" + engine.name + "'";
  }
  return NotFoundError(
      "engine is '" + settings.engine.substr(0, 80) + "': expected one of " + known,
      "ENGINE_UNKNOWN");
}

Status ControlLoop::CheckHasKv(const SessionRun& session, const std::string& verb) const {
  if (session.settings.engine.empty()) return OkStatus();
  return FailedPreconditionError("session '" + session.record.id + "' thinks on '" +
                                     session.settings.engine +
                                     "', which keeps no KV here: " + verb + " doesn't apply to it",
                                 "ENGINE_REMOTE");
}

int64_t ControlLoop::ContextTokensMax(const SessionSettings& settings) const {
  const RemoteEngineOptions* engine = EngineOf(settings);
  return engine == nullptr ? parts_.model->config().positions_max : engine->context_tokens;
}

void ControlLoop::StopGeneration(TurnRun& turn) {
  if (turn.generation == nullptr) return;
  turn.generation->stop->store(true);
  if (remote_ != nullptr && !turn.generation->engine_wait.empty()) {
    remote_->Cancel(turn.generation->job);
  }
}

Status ControlLoop::SubmitElsewhere(SessionRun& session, const GenerateEffect& effect,
                                    int64_t tokens_max) {
  GenerationState& generation = *session.turn->generation;
  const auto text = [&](int64_t begin, int64_t end) {
    StreamingDetokenizer detokenizer(*parts_.model->tokenizer());
    StreamingChatParser parser(ModeOf(session.settings));
    for (int64_t i = begin; i < end; ++i) {
      parser.Push(detokenizer.Push(session.tokens[static_cast<size_t>(i)]));
    }
    parser.Flush();
    return parser.partial();
  };
  while (true) {
    ASSIGN_OR_RETURN(const auto page,
                     parts_.journal_reader->ReadEvents(session.record.id,
                                                       session.conversation.seq(), kJournalPage));
    if (page.empty()) break;
    for (const EventRecord& event : page) {
      RETURN_IF_ERROR(session.conversation.Take(event, text));
    }
  }
  RemoteJob job;
  job.id = generation.job;
  job.engine = NameOf(session.settings.engine);
  job.thinking = ModeOf(session.settings) == ThinkingMode::kThinking;
  job.cancelled = generation.stop;
  ChatRequest& request = job.request;
  request.system = session.settings.system_prompt;
  request.messages = session.conversation.messages();
  request.tools = session.tools.specs();
  request.sampling = session.turn->start.sampling;
  if (effect.temperature.has_value()) request.sampling.temperature = *effect.temperature;
  if (effect.seed.has_value()) request.sampling.seed = *effect.seed;
  request.reasoning_effort = session.settings.reasoning_effort;
  if (generation.constraint.has_value()) {
    request.tool_choice = generation.constraint->tool_choice;
    request.answer_schema = generation.constraint->answer_schema;
  }
  request.tokens_max = tokens_max;
  generation.engine_wait = session.settings.engine;
  return remote_->Submit(std::move(job));
}

void ControlLoop::DropAnswer(SessionRun& session) {
  GenerationState& generation = *session.turn->generation;
  generation.answer.reset();
  const auto end = static_cast<int64_t>(session.tokens.size());
  if (end == generation.prompt_end) return;
  const GenerationDrop drop = {session.turn->view.turn, generation.step, generation.prompt_end,
                               end};
  JournalBatch batch;
  batch.events.push_back(
      NewEvent(session, event_kind::kGenerationDropped, GenerationDropToJson(drop)));
  Commit(session, std::move(batch), Durability::kKernel, [](const Status&) {});
  // Whoever has shown the beginning takes it back.
  PublishLive(session, event_kind::kSnapshot,
              DeltaToJson(drop.turn + "." + std::to_string(drop.step), 0, "", ""));
}

void ControlLoop::OnText(uint64_t job, const std::vector<int32_t>& ids, const AnswerText& text) {
  mailbox_.WaitBelow();
  Post([this, job, ids, text] {
    SessionRun* session = FindJob(job);
    if (session == nullptr) return;
    GenerationState& generation = *session->turn->generation;
    generation.synced = true;
    generation.pending_ids.insert(generation.pending_ids.end(), ids.begin(), ids.end());
    generation.pending_text.content += text.content;
    generation.pending_text.reasoning += text.reasoning;
    FlushTokens(*session);
  });
}

void ControlLoop::OnRepeat(uint64_t job, int64_t wait_ms, const Status& why) {
  Post([this, job, wait_ms, why] {
    SessionRun* session = FindJob(job);
    if (session == nullptr) return;
    session->turn->generation->engine_wait = session->settings.engine + ", asked again in " +
                                             std::to_string(wait_ms) +
                                             " ms: " + Redacted(why.message());
    NoteWait(*session);
  });
}

void ControlLoop::OnAnswer(uint64_t job, const Status& status, const ChatAnswer& answer,
                           const std::vector<int32_t>& ids) {
  Post([this, job, status, answer, ids] {
    SessionRun* session = FindJob(job);
    jobs_.erase(job);
    if (session == nullptr) return;
    GenerationState& generation = *session->turn->generation;
    generation.ended = true;
    generation.status = status;
    generation.end = status.code() == StatusCode::kCancelled  ? JobEnd::kCancelled
                     : !status.ok()                           ? JobEnd::kFailed
                     : answer.reason == FinishReason::kLength ? JobEnd::kLength
                                                              : JobEnd::kStop;
    if (status.ok()) {
      generation.answer = answer;
      generation.reuse = ReportOf(answer, session->settings.engine);
      for (std::string& reason : generation.reuse.reasons) reason = Redacted(reason);
      generation.pending_ids.insert(generation.pending_ids.end(), ids.begin(), ids.end());
    }
    FlushTokens(*session);
  });
}

GeneratedEvent ControlLoop::TakeAnswer(SessionRun& session, bool* calls_cut) {
  GenerationState& generation = *session.turn->generation;
  ChatAnswer answer = *std::exchange(generation.answer, std::nullopt);
  GeneratedEvent event;
  event.message = std::move(answer.message);
  event.parse_error = answer.fault;
  event.reason = answer.reason;
  event.tokens = static_cast<int64_t>(session.tokens.size()) - generation.prompt_end;
  *calls_cut = answer.calls_cut;
  session.turn->view.calls_cut += answer.calls_cut ? 1 : 0;
  const bool may_call = !session.tools.specs().empty() && generation.constraint.has_value() &&
                        generation.constraint->tool_choice != "none";
  if (may_call && answer.fault.empty() && event.message.tool_calls.empty() &&
      event.reason == FinishReason::kStop && MayHoldCalls(event.message.content)) {
    RecoveredMessage read = RecoverCompletion(
        event.message.content, {ThinkingMode::kChat, CompletionEnd::kStopped}, session.tools);
    if (!read.message.tool_calls.empty()) {
      event.message.content = std::move(read.message.content);
      event.message.tool_calls = std::move(read.message.tool_calls);
      event.reason = FinishReason::kToolCalls;
      generation.reuse.reasons.push_back("the engine left calls in its text; read there");
      generation.reuse.reasons.insert(generation.reuse.reasons.end(), read.repairs.begin(),
                                      read.repairs.end());
    }
  }
  for (size_t i = 0; i < event.message.tool_calls.size(); ++i) {
    event.message.tool_calls[i].id =
        "call-" + std::to_string(generation.step) + "-" + std::to_string(i + 1);
  }
  if (event.parse_error.empty() && generation.constraint.has_value()) {
    event.parse_error = AnswerFault(*generation.constraint, event.message);
  }
  return event;
}

}  // namespace baleen
