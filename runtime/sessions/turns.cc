// Turns: begin, advance by the agent's effects, finish, cancel.
#include <algorithm>
#include <utility>

#include "runtime/observer.h"
#include "runtime/sessions/constraint.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/cursor.h"
#include "tools_sdk/utf8.h"

namespace baleen {

std::string JoinInput(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += "\n\n";
    text += part;
  }
  return text;
}

Status ValidateInput(const std::string& input, int64_t input_bytes_max) {
  if (static_cast<int64_t>(input.size()) > input_bytes_max) {
    return InvalidArgumentError("the input has " + std::to_string(input.size()) +
                                    " bytes; at most " + std::to_string(input_bytes_max) +
                                    " are taken in one turn",
                                "BAD_FIELD");
  }
  if (Utf8ValidPrefix(input) != input.size())
    return InvalidArgumentError("the input is not valid UTF-8", "BAD_FIELD");
  return OkStatus();
}

namespace {

constexpr int64_t kEventsPage = 256;

/// What must be left of the budgets before `effect` begins; none: it ends something, and always
/// may.
std::optional<BudgetNeed> NeedOf(const Effect& effect, const std::vector<ChildRun>& children) {
  if (std::holds_alternative<GenerateEffect>(effect)) return BudgetNeed{.tokens = 1};
  if (const auto* calls = std::get_if<CallToolsEffect>(&effect)) {
    return BudgetNeed{.tool_calls = std::ssize(calls->calls)};
  }
  // Forks that run hold all that is left of some budgets, which is no reason to ask about a step
  // between their turns; further ones begin when there is enough.
  const bool forks_run =
      std::any_of(children.begin(), children.end(), [](const auto& one) { return one.Runs(); });
  if (forks_run) return std::nullopt;
  if (std::holds_alternative<ChildTurnsEffect>(effect)) return BudgetNeed{.tokens = 1};
  const auto* account = std::get_if<AccountEffect>(&effect);
  const auto* worktree = std::get_if<WorktreeEffect>(&effect);
  const bool ends = std::holds_alternative<FinishEffect>(effect) ||
                    std::holds_alternative<StopTurnsEffect>(effect) ||
                    (account != nullptr && !account->opens) ||
                    (worktree != nullptr && worktree->removes);
  if (ends) return std::nullopt;
  return BudgetNeed{.micro_usd = 0};  // such as the time: it costs some itself
}

Status TooManySteps(int64_t steps) {
  return ResourceExhaustedError(
      "the script has taken " + std::to_string(steps) +
          " steps (turn_steps_max): it may never end; divide its work among several turns, or do "
          "less in between",
      "TURN_STEPS");
}

Status ValidateTurn(const StartTurnRequest& request, const std::string& input,
                    int64_t input_bytes_max) {
  if (request.tokens_max < 0) {
    return InvalidArgumentError("tokens_max is " + std::to_string(request.tokens_max) +
                                    ": expected 0 (the session's default) or more",
                                "BAD_FIELD");
  }
  RETURN_IF_ERROR(ValidateInput(input, input_bytes_max));
  if (request.budget.has_value()) RETURN_IF_ERROR(CheckBudget(*request.budget));
  if (request.sampling.has_value()) {
    SamplingOptions options;
    options.temperature = request.sampling->temperature;
    options.top_p = request.sampling->top_p;
    options.min_p = request.sampling->min_p;
    options.top_k = request.sampling->top_k;
    RETURN_IF_ERROR(options.Validate());
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<TurnRun>> ControlLoop::MakeTurn(const SessionRun& session,
                                                       const TurnStart& start) {
  auto turn = std::make_unique<TurnRun>();
  turn->epoch = next_id_++;
  turn->begun_ms = parts_.clock->SteadyMs();
  turn->start = start;
  turn->view.session = session.record.id;
  turn->view.turn = start.turn;
  turn->budget = start.budget;
  AgentOptions options;
  options.script = session.settings.script;
  if (!session.settings.script_name.empty()) options.script_name = session.settings.script_name;
  // A replay finds no more than the first run did.
  const auto& specs = session.tools.specs();
  options.tools.assign(specs.begin(), specs.begin() + static_cast<int64_t>(session.tools_told));
  for (const ToolSpec& spec : session.settings.outside_tools) {
    if (spec.of_mcp_server) options.mcp_tools.push_back(spec.name);
  }
  options.errand = start.trigger == "COMPACT" ? R"({"compact":true})" : start.errand;
  options.first_turn = start.turn == "t1";
  options.task = NamesTool(session.settings, kTaskTool);
  options.seed = start.sampling.seed;
  ASSIGN_OR_RETURN(turn->agent, Agent::Create(options));
  return turn;
}

void ControlLoop::StartTurn(const StartTurnRequest& request, const Answer<TurnView>& reply) {
  StartErrand(request, {}, reply);
}

void ControlLoop::StartErrand(const StartTurnRequest& request, const Errand& errand,
                              const Answer<TurnView>& reply) {
  const auto answer =
      FirstOnly(kStartTurnMethod, request.request_id, reply,
                [this, request, errand, reply] { StartErrand(request, errand, reply); });
  if (!answer) return;
  if (auto earlier = EarlierAnswer(request.request_id, kStartTurnMethod); earlier.ok()) {
    return GetTurn(request.session, IdFromAnswer(*earlier), answer);
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& session = **loaded;
  if (session.state == SessionState::kBroken) {
    return answer(FailedPreconditionError(session.broken.message(), "SESSION_BROKEN"));
  }
  if (Status status = CheckIdle(session); !status.ok()) return answer(status);
  if (Status status = CheckHead(session, request.expected_head); !status.ok()) {
    return answer(status);
  }
  if (RunningTurns() >= parts_.options.running_turns_max) {
    return answer(ResourceExhaustedError(
        std::to_string(RunningTurns()) + " turns run already; try again when one has ended",
        "QUOTA"));
  }
  TurnStart start;
  start.errand = errand.text;
  start.parent = errand.parent;
  start.input = JoinInput(request.input);
  if (Status status = ValidateTurn(request, start.input, parts_.options.input_bytes_max);
      !status.ok()) {
    return answer(status);
  }
  if (request.trace_logits) {
    if (Status status = CheckHasKv(session, "trace_logits"); !status.ok()) return answer(status);
  }
  if (Status status = LoadTokens(session); !status.ok()) return answer(status);
  if (Status status = ReadSpent(session); !status.ok()) return answer(status);
  if (request.compact) {
    if (Status status = CheckCompactable(session); !status.ok()) return answer(status);
    start.trigger = "COMPACT";
  }
  start.turn = "t" + std::to_string(session.last_turn + 1);
  start.sampling = request.sampling.value_or(session.settings.sampling);
  start.tokens_max = request.tokens_max > 0 ? request.tokens_max : session.settings.tokens_max;
  start.trace_logits = request.trace_logits;
  start.budget = request.budget.value_or(session.settings.turn_budget);
  start.constraint = request.constraint.value_or(session.settings.constraint);
  if (Status status = GrammarFor(*start.constraint, &session).status(); !status.ok()) {
    return answer(status);
  }
  auto turn = MakeTurn(session, start);
  if (!turn.ok()) return answer(turn.status());
  session.turn = std::move(turn).value();
  session.turn->started_seq = session.record.last_seq + 1;
  session.turn->started_tokens = session.record.tokens;
  session.turns += 1;
  session.last_turn += 1;
  session.state = SessionState::kRunning;

  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kTurnStarted, TurnStartToJson(start)));
  if (!request.request_id.empty()) {
    batch.answers.push_back(
        {request.request_id, kStartTurnMethod, AnswerJson(start.turn), session.record.updated_ms});
  }
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch, answer](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (!status.ok() || run == nullptr) {
             return answer(status.ok() ? InternalError("the turn ended before it began") : status);
           }
           answer(ViewTurn(*run));
           // A cancel may have been quicker than this commit: then its end is on its way.
           if (run->turn->view.state == TurnState::kRunning) BeginTurn(*run);
         });
}

void ControlLoop::Advance(SessionRun& session, const AgentEvent& event) {
  // A cancel that came while a generation was ending: nothing further may be dispatched.
  if (session.turn->cancelled->load()) {
    return FinishTurn(session, TurnState::kCancelled, "", CancelledError("the turn was cancelled"));
  }
  auto effect = session.turn->agent->Resume(event);
  if (!effect.ok()) {
    return FinishTurn(session, TurnState::kFailed, "", effect.status().WithContext("script"));
  }
  Perform(session, *effect);
}

void ControlLoop::Perform(SessionRun& session, const Effect& effect) {
  if (const auto need = NeedOf(effect, session.turn->children); need.has_value()) {
    const bool enough = HasBudget(
        session, *need, [this, id = session.record.id, epoch = session.turn->epoch, effect] {
          if (SessionRun* run = FindTurn(id, epoch)) Perform(*run, effect);
        });
    if (!enough) return;
    if (session.turn->step >= parts_.options.turn_steps_max) {
      return FinishTurn(session, TurnState::kFailed, "", TooManySteps(session.turn->step));
    }
  }
  session.turn->step += 1;
  if (const auto* generate = std::get_if<GenerateEffect>(&effect)) {
    return BeginGeneration(session, *generate);
  }
  if (const auto* calls = std::get_if<CallToolsEffect>(&effect)) {
    return BeginToolCalls(session, *calls);
  }
  if (const auto* finish = std::get_if<FinishEffect>(&effect)) {
    return FinishTurn(session, TurnState::kSucceeded, finish->text, OkStatus());
  }
  BeginFlowStep(session, effect);
}

void ControlLoop::FinishTurn(SessionRun& session, TurnState state, std::string text,
                             const Status& error) {
  TurnView& view = session.turn->view;
  if (view.state != TurnState::kRunning) return;  // its end is on its way
  view.state = state;
  view.text = std::move(text);
  view.error = {error.code(), Redacted(error.message()), error.reason()};
  session.turn->cancelled->store(true);  // whatever still runs for this turn may stop
  StopGeneration(*session.turn);
  CancelChildren(*session.turn);
  PauseClock(*session.turn);
  view.spend = SpendOf(session);
  view.budget = session.turn->budget;
  if (session.turn->tools != nullptr) {
    for (const auto& stop : session.turn->tools->stop) stop->store(true);
  }
  JournalBatch batch;
  if (session.turn->tools != nullptr) EndStep(session, batch);
  CancelApprovals(session, batch);
  session.following = FollowingTurn(session);
  if (session.following == nullptr) {
    for (const Steer& steer : session.turn->steers) view.unsent.push_back(steer.input);
  }
  session.turn->steers.clear();
  // The end of a turn and the begin of the one that follows are one commit.
  batch.events.push_back(NewEvent(session, event_kind::kTurnFinished, TurnEndToJson(view)));
  if (session.following != nullptr) {
    TurnRun& next = *session.following;
    batch.events.push_back(
        NewEvent(session, event_kind::kTurnStarted, TurnStartToJson(next.start)));
    next.started_seq = session.record.last_seq;
    next.started_tokens = session.record.tokens;
    session.turns += 1;
    session.last_turn += 1;
  }
  if (session.spent.has_value()) AddSpend(view.spend, &*session.spent);
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (!status.ok() || run == nullptr) return;  // Break has ended the turn
           run->state = SessionState::kIdle;
           auto following = std::move(run->following);
           EndTurnInMemory(*run, std::move(following));
           if (parts_.upkeep != nullptr) parts_.upkeep->ScheduleIfDue();
         });
}

void ControlLoop::EndTurnInMemory(SessionRun& session, std::unique_ptr<TurnRun> following) {
  const TurnView view = session.turn->view;
  if (parts_.options.observer != nullptr) {
    const int64_t ms = parts_.clock->SteadyMs() - session.turn->begun_ms;
    parts_.options.observer->OnTurnEnded(view, static_cast<double>(ms) / 1e3);
  }
  session.turn = std::move(following);
  if (session.turn == nullptr) ExpectCommand(session, false);
  auto waiters = std::move(session.turn_waiters);
  session.turn_waiters.clear();
  for (const auto& waiter : waiters) waiter(view);
  if (session.turn != nullptr) BeginTurn(session);
}

void ControlLoop::CancelTurn(const std::string& session, const std::string& turn,
                             const Answer<TurnView>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& run = **loaded;
  if (run.turn == nullptr || run.turn->view.turn != turn) return GetTurn(session, turn, answer);
  if (run.turn->view.state != TurnState::kRunning) return answer(ViewTurn(run));
  const bool first = !run.turn->cancelled->exchange(true);
  StopGeneration(*run.turn);
  JournalBatch batch;
  if (first) {
    batch.events.push_back(NewEvent(run, event_kind::kCancelRequested, CancelRequestToJson(turn)));
  }
  // Recorded before it is answered: a turn that was cancelled doesn't go on after a restart.
  Commit(run, std::move(batch), Durability::kSynced,
         [this, session, turn, answer](const Status& status) {
           if (!status.ok()) return answer(status);
           GetTurn(session, turn, answer);
         });
  // A generation ends through the engine, so that every token it made is journalled first.
  if (run.turn->generation != nullptr && run.turn->generation->job != 0) return;
  if (run.turn->tools != nullptr) {
    for (const auto& [index, wait] : run.turn->tools->at_host) {
      const auto host = run.hosts.find(run.turn->tools->calls[index].name);
      if (wait.handed && host != run.hosts.end()) {
        host->second.sink->OnCancel(session, turn + "." + run.turn->tools->calls[index].id);
      }
    }
  }
  FinishTurn(run, TurnState::kCancelled, "", CancelledError("the turn was cancelled"));
}

void ControlLoop::GetTurn(const std::string& session, const std::string& turn,
                          const Answer<TurnView>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& run = **loaded;
  if (run.turn != nullptr && run.turn->view.turn == turn) return answer(ViewTurn(run));
  int64_t after = 0;
  while (true) {
    auto events = parts_.journal_reader->ReadEventsOfKind(session, event_kind::kTurnFinished, after,
                                                          kEventsPage);
    if (!events.ok()) return answer(events.status());
    if (events->empty()) break;
    for (const EventRecord& event : *events) {
      after = event.seq;
      auto view = TurnEndFromJson(session, event.payload);
      if (view.ok() && view->turn == turn) return answer(std::move(view).value());
    }
  }
  answer(NotFoundError("session '" + session + "' has no turn '" + turn + "'", "ITEM_UNKNOWN"));
}

void ControlLoop::AwaitTurn(const std::string& session, const std::string& turn,
                            const Answer<TurnView>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& run = **loaded;
  if (run.turn == nullptr || run.turn->view.turn != turn) return GetTurn(session, turn, answer);
  run.turn_waiters.push_back([answer](const TurnView& view) { answer(view); });
}

}  // namespace baleen
