// Generations: prompt suffix -> tokens -> engine -> journal -> deltas -> assistant message.
#include <algorithm>
#include <utility>

#include "runtime/observer.h"
#include "runtime/sessions/call_results.h"
#include "runtime/sessions/compaction.h"
#include "runtime/sessions/constraint.h"
#include "runtime/sessions/control_loop.h"
#include "tools_sdk/schema.h"

namespace baleen {
namespace {

/// The text that ends a block of tool calls; what a model writes after it is never read.
constexpr char kToolCallsEnd[] = "</\uFF5CDSML\uFF5Ctool_calls>";
/// Progress events are at least this far apart.
constexpr int64_t kProgressIntervalMs = 500;

ContextStart ContextStartFor(const SessionSettings& settings, const ToolSet& tools) {
  ContextStart start;
  start.system = settings.system_prompt;
  start.thinking = ModeOf(settings);
  start.reasoning_effort = settings.reasoning_effort;
  for (const ToolSpec& spec : tools.specs()) start.tools.push_back(FunctionObjectJson(spec));
  return start;
}

/// `tokens`: of the whole context.
GenerationFigures FiguresOf(const GenerationState& generation, int64_t tokens, int64_t now_ms) {
  GenerationFigures figures;
  figures.restore_seconds = generation.reuse.restore_ms / 1e3;
  figures.prefill_seconds = generation.reuse.prefill_ms / 1e3;
  if (generation.synced) {
    figures.decode_seconds = static_cast<double>(now_ms - generation.synced_ms) / 1e3;
  }
  figures.tokens = tokens - generation.prompt_end;
  return figures;
}

struct PromptRequest {
  ContextStart start;
  /// The context so far, if it may end inside its opening (a cut can fall anywhere); else empty.
  std::vector<int32_t> kept;
  bool has_opening = false;
  bool needs_eos = false;
  std::vector<Message> append;
};

/// The context begins with an opening (system prompt, tools). One that a cut has shortened is
/// completed, so that the model gets it whole; everything else that was cut is closed by an end.
Result<std::vector<int32_t>> PromptTokens(const SessionEncoder& encoder, const Tokenizer& tokenizer,
                                          const PromptRequest& request) {
  if (!request.has_opening) {
    std::vector<Segment> segments = encoder.Start(request.start);
    ASSIGN_OR_RETURN(const std::vector<int32_t> opening, tokenizer.EncodeSegments(segments));
    if (request.kept.size() < opening.size() &&
        std::equal(request.kept.begin(), request.kept.end(), opening.begin())) {
      for (Segment& segment :
           encoder.UserTurn(request.append, request.start.thinking, /*needs_eos=*/false)) {
        segments.push_back(std::move(segment));
      }
      ASSIGN_OR_RETURN(std::vector<int32_t> prompt, tokenizer.EncodeSegments(segments));
      prompt.erase(prompt.begin(), prompt.begin() + static_cast<int64_t>(request.kept.size()));
      return prompt;
    }
  }
  return tokenizer.EncodeSegments(
      encoder.UserTurn(request.append, request.start.thinking, request.needs_eos));
}

SamplingOptions SamplingFor(const TurnStart& start, const GenerateEffect& effect) {
  SamplingOptions options;
  options.temperature = effect.temperature.value_or(start.sampling.temperature);
  options.top_p = start.sampling.top_p;
  options.min_p = start.sampling.min_p;
  options.top_k = start.sampling.top_k;
  options.seed = effect.seed.value_or(start.sampling.seed);
  return options;
}

}  // namespace

Status ControlLoop::CheckContext(const SessionSettings& settings, const ToolSet& tools) const {
  return encoder_.Check(ContextStartFor(settings, tools));
}

void ControlLoop::BeginGeneration(SessionRun& session, const GenerateEffect& effect) {
  if (effect.append.empty()) {
    return FinishTurn(session, TurnState::kFailed, "",
                      InvalidArgumentError("script: baleen.generate got no message to append"));
  }
  if (session.turn->open_compaction.has_value()) return BeginCompaction(session, effect);
  session.turn->generation = std::make_unique<GenerationState>();
  session.turn->generation->step = session.turn->step;
  session.turn->generations += 1;
  auto append =
      WithHead(session, WithOwedResults(effect.append, session.open_calls, session.known_results));
  if (!append.ok()) return FinishTurn(session, TurnState::kFailed, "", append.status());
  std::vector<std::string> steers;
  for (Message& message : SteersForStep(*session.turn, &steers)) {
    append->push_back(std::move(message));
  }
  EncodePrompt(session, *std::move(append),
               [this, effect, steers](SessionRun& run, const std::vector<int32_t>& prompt) {
                 const int64_t context = std::ssize(run.tokens) - run.context_begin;
                 const int64_t room = CompactionRoom(run.settings);
                 const int64_t most = ContextTokensMax(run.settings);
                 // One that is shorter than instruction and summary wouldn't gain.
                 const bool due = room < most && context + std::ssize(prompt) >= room &&
                                  context > instruction_tokens_ + SummaryTokensMax(most);
                 if (!due || !effect.refuses_compaction.empty()) {
                   return JournalPrompt(run, effect, prompt, steers);
                 }
                 run.turn->generations -= 1;  // it comes once more, over the new context
                 if (!effect.asks_to_compact) return BeginCompaction(run, effect);
                 TellCompactionDue(run, effect, {context + std::ssize(prompt), most});
               });
}

void ControlLoop::EncodePrompt(SessionRun& session, std::vector<Message> append,
                               std::function<void(SessionRun&, const std::vector<int32_t>&)> then) {
  PromptRequest request;
  request.start = ContextStartFor(session.settings, session.tools);
  request.has_opening = session.has_opening;
  const auto begin = static_cast<size_t>(session.context_begin);
  const size_t end = session.tokens.size();
  if (!request.has_opening) request.kept = session.tokens.Ids(begin, end);
  request.needs_eos = begin != end && session.tokens.back() != encoder_.ids().eos;
  request.append = std::move(append);
  if (!session.settings.engine.empty()) session.turn->generation->messages = request.append;
  // Half a million words take half a second: not on this thread.
  const bool queued =
      parts_.pool->queue().TryPush([this, id = session.record.id, epoch = session.turn->epoch,
                                    then = std::move(then), request = std::move(request)] {
        auto prompt = PromptTokens(encoder_, *parts_.model->tokenizer(), request);
        // Owners: this closure and the one on the mailbox.
        auto shared = std::make_shared<Result<std::vector<int32_t>>>(std::move(prompt));
        Post([this, id, epoch, then, shared] {
          SessionRun* run = FindTurn(id, epoch);
          if (run == nullptr || run->turn->view.state != TurnState::kRunning) return;
          if (!shared->ok()) {
            return FinishTurn(*run, TurnState::kFailed, "",
                              shared->status().WithContext("encoding the prompt"));
          }
          then(*run, **shared);
        });
      });
  if (!queued) {
    FinishTurn(session, TurnState::kFailed, "",
               ResourceExhaustedError("the tool pool's queue is full; try again", "QUOTA"));
  }
}

void ControlLoop::JournalPrompt(SessionRun& session, const GenerateEffect& effect,
                                const std::vector<int32_t>& prompt,
                                const std::vector<std::string>& steers) {
  const auto begin = static_cast<int64_t>(session.tokens.size());
  const int64_t end = begin + static_cast<int64_t>(prompt.size());
  const int64_t most = ContextTokensMax(session.settings);
  const int64_t context = end - session.context_begin;
  if (context >= most) {
    std::string why = "the context would have " + std::to_string(context) +
                      " tokens; the model takes " + std::to_string(most);
    if (!effect.refuses_compaction.empty()) {
      why += "; it was not compacted: " + effect.refuses_compaction;
    }
    return FinishTurn(session, TurnState::kFailed, "", ResourceExhaustedError(why, "CONTEXT_FULL"));
  }
  const bool enough = HasBudget(
      session, PromptNeed(session.settings.prices, std::ssize(prompt)),
      [this, id = session.record.id, epoch = session.turn->epoch, effect, prompt, steers] {
        if (SessionRun* run = FindTurn(id, epoch)) {
          JournalPrompt(*run, effect, prompt, steers);
        }
      });
  if (!enough) return;
  GenerateStart start;
  start.steers = steers;
  start.turn = session.turn->view.turn;
  start.step = session.turn->step;
  start.effect = EffectToJson(effect);
  // Only a turn's first step is likely to: later ones aren't worth a second text of a long input.
  const std::string& input = session.turn->start.input;
  if (start.step == 1 && start.effect == EffectToJson(UserSays(input))) start.effect.clear();
  start.prompt_begin = begin;
  start.prompt_end = end;
  start.messages = std::move(session.turn->generation->messages);
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kGenerate, GenerateStartToJson(start)));
  batch.tokens.push_back({session.record.id, begin, prompt, {}});
  session.tokens.Append(prompt);
  session.record.tokens = end;
  session.has_opening = true;
  session.open_calls.clear();
  session.known_results.clear();
  DropSteers(*session.turn, steers);
  Commit(session, std::move(batch), Durability::kKernel,
         [this, id = session.record.id, epoch = session.turn->epoch, effect, begin,
          end](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (status.ok() && run != nullptr && run->turn->view.state == TurnState::kRunning) {
             // The last token of the previous generation was sampled, but never computed.
             SubmitJob(*run, effect, end, std::max<int64_t>(0, begin - 1));
           }
         });
}

void ControlLoop::SubmitJob(SessionRun& session, const GenerateEffect& effect, int64_t prompt_end,
                            int64_t computed_before) {
  TurnRun& turn = *session.turn;
  if (turn.generation == nullptr) turn.generation = std::make_unique<GenerationState>();
  const auto go_on = [this, id = session.record.id, epoch = turn.epoch, effect, prompt_end,
                      computed_before] {
    if (SessionRun* run = FindTurn(id, epoch)) SubmitJob(*run, effect, prompt_end, computed_before);
  };
  if (!HasBudget(session, {.tokens = 1}, go_on)) return;
  GenerationState& generation = *turn.generation;
  generation.effect = effect;
  generation.content.clear();
  generation.reasoning.clear();
  generation.synced = false;
  generation.stop = std::make_shared<std::atomic<bool>>(false);
  generation.step = turn.step;
  generation.prompt_end = prompt_end;
  generation.detokenizer = std::make_unique<StreamingDetokenizer>(*parts_.model->tokenizer());
  generation.parser = std::make_unique<StreamingChatParser>(ModeOf(session.settings));
  generation.prefill_begin_ms = parts_.clock->SteadyMs();
  generation.job = next_id_++;
  generation.constraint = ConstraintFor(turn.start, effect, turn.generations);
  const bool elsewhere = !session.settings.engine.empty();
  if (elsewhere) DropAnswer(session);
  // An answer that was begun goes on here, and begins anew elsewhere.
  const auto context = static_cast<int64_t>(session.tokens.size());
  const int64_t begin = elsewhere ? context : prompt_end;
  StreamTokens(session, session.tokens.Ids(static_cast<size_t>(begin), session.tokens.size()),
               /*publish=*/false);
  int64_t tokens_max = effect.tokens_max > 0 ? effect.tokens_max : turn.start.tokens_max;
  tokens_max = std::min(tokens_max, AnswerRoom(session, begin));
  const int64_t left = SampledTokensLeft(Accounts(session), session.settings.prices);
  generation.capped = left < tokens_max - (context - begin);
  if (generation.capped) tokens_max = context - begin + left;
  jobs_[generation.job] = {session.record.id, turn.epoch};
  ArmWall(session);
  ExpectCommand(session, true);
  const Status status = elsewhere ? SubmitElsewhere(session, effect, tokens_max)
                                  : SubmitHere(session, effect, tokens_max, computed_before);
  if (status.ok()) return;
  jobs_.erase(generation.job);
  FinishTurn(session, TurnState::kFailed, "", status);
}

int64_t ControlLoop::AnswerRoom(const SessionRun& session, int64_t begin) const {
  const int64_t context = begin - session.context_begin;
  const int64_t most = ContextTokensMax(session.settings);
  const int64_t kept = most - instruction_tokens_ - SummaryTokensMax(most);
  // Where a compaction is to come, instruction and summary must fit behind the answer.
  const bool compacts = session.turn->compaction == nullptr &&
                        CompactionRoom(session.settings) < most && context < kept;
  return (compacts ? kept : most) - context;
}

Status ControlLoop::SubmitHere(SessionRun& session, const GenerateEffect& effect,
                               int64_t tokens_max, int64_t computed_before) {
  const TurnRun& turn = *session.turn;
  GenerateJob job;
  job.id = turn.generation->job;
  job.sequence = session.record.id;
  const int64_t before = session.context_begin;
  job.prefix = session.tokens.From(static_cast<size_t>(before));
  job.generation_begin = turn.generation->prompt_end - before;
  job.computed_before = std::max<int64_t>(0, computed_before - before);
  job.fork_position = std::max<int64_t>(0, session.fork_position - before);
  job.tokens_max = tokens_max;
  job.sampling = SamplingFor(turn.start, effect);
  job.eos_id = encoder_.ids().eos;
  if (!session.tools.specs().empty()) job.stop_text = kToolCallsEnd;
  job.hash_logits = turn.start.trace_logits;
  job.cancelled = turn.generation->stop;
  ASSIGN_OR_RETURN(job.constraint, MakeConstraint(session, turn.generation->constraint));
  return engine_->Submit(std::move(job));
}

SessionRun* ControlLoop::FindJob(uint64_t job) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return nullptr;
  return FindTurn(found->second.first, found->second.second);
}

void ControlLoop::OnProgress(uint64_t job, int64_t tokens_done, int64_t tokens_total) {
  Post([this, job, tokens_done, tokens_total] {
    SessionRun* session = FindJob(job);
    if (session == nullptr) return;
    GenerationState& generation = *session->turn->generation;
    generation.prefill_done = tokens_done;
    generation.prefill_total = tokens_total;
    generation.disk_wait.clear();
    const int64_t now = parts_.clock->SteadyMs();
    if (now - generation.last_progress_ms < kProgressIntervalMs && tokens_done < tokens_total) {
      return;
    }
    generation.last_progress_ms = now;
    if (parts_.upkeep != nullptr) parts_.upkeep->ScheduleIfDue();
    const double seconds =
        std::max<double>(1e-3, static_cast<double>(now - generation.prefill_begin_ms) / 1e3);
    const double rate = static_cast<double>(tokens_done) / seconds;
    PublishLive(*session, event_kind::kProgress,
                ProgressToJson("PREFILL", tokens_done, tokens_total, rate,
                               static_cast<double>(tokens_total - tokens_done) / rate));
  });
}

void ControlLoop::OnSynced(uint64_t job, const ReuseReport& report) {
  Post([this, job, report] {
    if (NotePrefetch(job, report)) return;
    if (SessionRun* session = FindJob(job)) {
      GenerationState& generation = *session->turn->generation;
      generation.reuse = report;
      if (!generation.synced) generation.synced_ms = parts_.clock->SteadyMs();
      generation.synced = true;
      generation.disk_wait.clear();
    }
  });
}

void ControlLoop::OnWaiting(uint64_t job, int64_t rows) {
  Post([this, job, rows] {
    if (SessionRun* session = FindJob(job)) {
      session->turn->generation->disk_wait = std::to_string(rows) + " units of stored rows";
      NoteWait(*session);
    }
  });
}

void ControlLoop::OnToken(uint64_t job, int64_t position, int32_t id, uint64_t hash) {
  static_cast<void>(position);  // implied: tokens of a job arrive in order
  mailbox_.WaitBelow();
  Post([this, job, id, hash] {
    SessionRun* session = FindJob(job);
    if (session == nullptr) return;
    GenerationState& generation = *session->turn->generation;
    generation.disk_wait.clear();
    generation.pending_ids.push_back(id);
    if (session->turn->start.trace_logits) generation.pending_hashes.push_back(hash);
    FlushTokens(*session);
  });
}

void ControlLoop::OnDone(uint64_t job, JobEnd end, const Status& status) {
  Post([this, job, end, status] {
    if (EndPrefetch(job, status)) return;
    SessionRun* session = FindJob(job);
    jobs_.erase(job);
    if (session == nullptr) return;
    GenerationState& generation = *session->turn->generation;
    generation.ended = true;
    generation.end = end;
    generation.status = status;
    FlushTokens(*session);
  });
}

void ControlLoop::FlushTokens(SessionRun& session) {
  GenerationState& generation = *session.turn->generation;
  if (generation.commit_running) return;
  if (generation.pending_ids.empty()) {
    if (generation.ended) EndGeneration(session);
    return;
  }
  TokenRun run;
  run.session = session.record.id;
  run.begin = static_cast<int64_t>(session.tokens.size());
  run.ids = std::move(generation.pending_ids);
  run.logits_hashes = std::move(generation.pending_hashes);
  generation.pending_ids.clear();
  generation.pending_hashes.clear();
  session.tokens.Append(run.ids);
  session.record.tokens = static_cast<int64_t>(session.tokens.size());
  session.turn->view.tokens_generated += static_cast<int64_t>(run.ids.size());
  generation.commit_running = true;
  JournalBatch batch;
  std::vector<int32_t> ids = run.ids;
  AnswerText text = std::exchange(generation.pending_text, {});
  batch.tokens.push_back(std::move(run));
  // Handed to the kernel before anybody sees the tokens: what was shown survives a kill.
  Commit(session, std::move(batch), Durability::kKernel,
         [this, id = session.record.id, epoch = session.turn->epoch, ids = std::move(ids),
          text = std::move(text)](const Status& status) {
           SessionRun* run_session = FindTurn(id, epoch);
           if (!status.ok() || run_session == nullptr) return;
           run_session->turn->generation->commit_running = false;
           if (run_session->settings.engine.empty()) {
             StreamTokens(*run_session, ids, /*publish=*/true);
           } else {
             StreamText(*run_session, text, /*publish=*/true);
           }
           FlushTokens(*run_session);
         });
}

void ControlLoop::StreamTokens(SessionRun& session, const std::vector<int32_t>& ids, bool publish) {
  GenerationState& generation = *session.turn->generation;
  std::string text;
  for (const int32_t id : ids) text += generation.detokenizer->Push(id);
  ChatDelta delta = generation.parser->Push(text);
  StreamText(session, {std::move(delta.reasoning), std::move(delta.content)}, publish);
}

void ControlLoop::StreamText(SessionRun& session, const AnswerText& text, bool publish) {
  GenerationState& generation = *session.turn->generation;
  const auto offset = static_cast<int64_t>(generation.content.size() + generation.reasoning.size());
  generation.content += text.content;
  generation.reasoning += text.reasoning;
  // A summary is no answer: it is told whole, as what it is.
  if (!publish || text.empty() || session.turn->compaction != nullptr) return;
  PublishLive(session, event_kind::kDelta,
              DeltaToJson(session.turn->view.turn + "." + std::to_string(generation.step), offset,
                          text.content, text.reasoning));
}

void ControlLoop::EndGeneration(SessionRun& session) {
  TurnRun& turn = *session.turn;
  if (turn.view.state != TurnState::kRunning) return;
  GenerationState& generation = *turn.generation;
  AddReuse(generation.reuse, &turn.view);
  if (parts_.options.observer != nullptr) {
    parts_.options.observer->OnGeneration(
        FiguresOf(generation, std::ssize(session.tokens), parts_.clock->SteadyMs()));
  }
  if (PauseGeneration(session)) return;
  if (generation.end == JobEnd::kFailed) {
    return FinishTurn(session, TurnState::kFailed, "", generation.status.WithContext("engine"));
  }
  if (generation.end == JobEnd::kCancelled) {
    return FinishTurn(session, TurnState::kCancelled, generation.content,
                      CancelledError("the turn was cancelled"));
  }
  if (turn.compaction != nullptr) {
    generation.parser->Push(generation.detokenizer->Finish());
    return EndCompaction(session, generation.content + generation.parser->Flush().content);
  }
  if (generation.answer.has_value()) {
    bool cut = false;
    GeneratedEvent taken = TakeAnswer(session, &cut);
    return JournalGenerated(session, std::move(taken), cut);
  }
  generation.parser->Push(generation.detokenizer->Finish());
  GeneratedEvent event;
  event.tokens = static_cast<int64_t>(session.tokens.size()) - generation.prompt_end;
  auto message = generation.parser->Finish();
  bool calls_cut = false;
  if (message.ok()) {
    event.message = std::move(message).value();
    if (generation.constraint.has_value()) {
      event.parse_error = AnswerFault(*generation.constraint, event.message);
    }
    for (size_t i = 0; i < event.message.tool_calls.size(); ++i) {
      event.message.tool_calls[i].id =
          "call-" + std::to_string(generation.step) + "-" + std::to_string(i + 1);
    }
  } else {
    event.parse_error = message.status().message();
    calls_cut =
        generation.end == JobEnd::kLength && message.status().reason() == "CALLS_UNFINISHED";
    turn.view.calls_cut += calls_cut ? 1 : 0;
    StreamingDetokenizer whole(*parts_.model->tokenizer());
    for (size_t i = static_cast<size_t>(generation.prompt_end); i < session.tokens.size(); ++i) {
      if (session.tokens[i] != encoder_.ids().eos) {
        event.message.content += whole.Push(session.tokens[i]);
      }
    }
    event.message.content += whole.Finish();
  }
  event.message.role = Role::kAssistant;
  event.reason = !event.message.tool_calls.empty()   ? FinishReason::kToolCalls
                 : generation.end == JobEnd::kLength ? FinishReason::kLength
                                                     : FinishReason::kStop;
  JournalGenerated(session, std::move(event), calls_cut);
}

void ControlLoop::JournalGenerated(SessionRun& session, GeneratedEvent event, bool calls_cut) {
  StepAnswer answer;
  answer.turn = session.turn->view.turn;
  answer.step = session.turn->step;
  answer.event = std::move(event);
  answer.reuse = session.turn->generation->reuse;
  answer.calls_cut = calls_cut;
  session.turn->generation.reset();
  session.open_calls = std::get<GeneratedEvent>(answer.event).message.tool_calls;
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kGenerated, StepAnswerToJson(answer)));
  Commit(session, std::move(batch), Durability::kKernel,
         [this, id = session.record.id, epoch = session.turn->epoch,
          event = answer.event](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (status.ok() && run != nullptr && run->turn->view.state == TurnState::kRunning) {
             Advance(*run, event);
           }
         });
}

}  // namespace baleen
