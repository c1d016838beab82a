// Steering: what the user says while a turn runs, told at its next step or by a turn of its own.
// Never lost: what was not delivered comes back with the turn's end.
#include <algorithm>
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr char kSteerMethod[] = "SteerTurn";
constexpr size_t kSteersMax = 64;

}  // namespace

void ControlLoop::SteerTurn(const SteerTurnRequest& request, const Answer<TurnView>& reply) {
  const auto answer = FirstOnly(kSteerMethod, request.request_id, reply,
                                [this, request, reply] { SteerTurn(request, reply); });
  if (!answer) return;
  if (EarlierAnswer(request.request_id, kSteerMethod).ok()) {
    return GetTurn(request.session, request.turn, answer);
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& session = **loaded;
  if (session.turn == nullptr || session.turn->view.turn != request.turn) {
    return GetTurn(request.session, request.turn, [&](const Result<TurnView>& ended) {
      if (!ended.ok()) return answer(ended.status());
      answer(FailedPreconditionError("turn " + request.turn + " has ended; start another one",
                                     "TURN_NOT_STEERABLE"));
    });
  }
  TurnRun& turn = *session.turn;
  if (turn.view.state != TurnState::kRunning || turn.cancelled->load()) {
    return answer(FailedPreconditionError("turn " + request.turn + " is ending; start another one",
                                          "TURN_NOT_STEERABLE"));
  }
  const std::string input = JoinInput(request.input);
  if (Status status = ValidateInput(input, parts_.options.input_bytes_max); !status.ok()) {
    return answer(status);
  }
  if (input.empty()) return answer(InvalidArgumentError("the input is empty", "BAD_FIELD"));
  if (turn.steers.size() >= kSteersMax) {
    return answer(ResourceExhaustedError(
        std::to_string(kSteersMax) + " messages wait for turn " + request.turn + " already",
        "QUOTA"));
  }
  SteerInput steer;
  steer.turn = request.turn;
  steer.steer = request.turn + "-s" + std::to_string(++turn.steered);
  steer.input = input;
  steer.delivery = request.delivery;
  turn.steers.push_back({steer.steer, steer.input, steer.delivery});
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kSteered, SteerInputToJson(steer)));
  if (!request.request_id.empty()) {
    batch.answers.push_back(
        {request.request_id, kSteerMethod, AnswerJson(steer.steer), session.record.updated_ms});
  }
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = request.session, name = request.turn, answer](const Status& status) {
           if (!status.ok()) return answer(status);
           GetTurn(id, name, answer);
         });
}

std::vector<Message> ControlLoop::SteersForStep(const TurnRun& turn,
                                                std::vector<std::string>* ids) const {
  std::vector<Message> messages;
  for (const Steer& steer : turn.steers) {
    if (steer.delivery != SteerDelivery::kNextStep) continue;
    Message message;
    message.content = steer.input;
    messages.push_back(std::move(message));
    ids->push_back(steer.id);
  }
  return messages;
}

void ControlLoop::DropSteers(TurnRun& turn, const std::vector<std::string>& ids) {
  std::erase_if(turn.steers, [&](const Steer& steer) {
    return std::find(ids.begin(), ids.end(), steer.id) != ids.end();
  });
}

Status ControlLoop::RestoreSteers(TurnRun& turn, const std::vector<EventRecord>& events) {
  for (const EventRecord& event : events) {
    if (event.kind == event_kind::kSteered) {
      ASSIGN_OR_RETURN(SteerInput steer, SteerInputFromJson(event.payload));
      turn.steered += 1;
      turn.steers.push_back({steer.steer, steer.input, steer.delivery});
    } else if (event.kind == event_kind::kGenerate) {
      ASSIGN_OR_RETURN(const GenerateStart start, GenerateStartFromJson(event.payload));
      DropSteers(turn, start.steers);
    }
  }
  return OkStatus();
}

std::unique_ptr<TurnRun> ControlLoop::FollowingTurn(const SessionRun& session) {
  const TurnRun& turn = *session.turn;
  if (turn.view.state != TurnState::kSucceeded || turn.steers.empty()) return nullptr;
  std::vector<std::string> said;
  for (const Steer& steer : turn.steers) said.push_back(steer.input);
  TurnStart start = turn.start;
  start.turn = "t" + std::to_string(session.last_turn + 1);
  start.input = JoinInput(said);
  start.trigger = "STEER";                                        // whatever the one before was
  if (!start.errand.empty()) start.errand = R"({"request":{}})";  // a fork's: just talk, once
  start.parent.clear();
  auto following = MakeTurn(session, start);
  // Then it comes back with the end of this one; the next turn will say what is wrong.
  if (!following.ok()) return nullptr;
  return std::move(following).value();
}

void ControlLoop::BeginTurn(SessionRun& session) {
  session.state = SessionState::kRunning;
  ResumeClock(*session.turn);
  Heartbeat(session);
  Advance(session, UserTurnEvent{session.turn->start.input});
}

}  // namespace baleen
