// Requests that are repeated: at random, while the first is on its way, long after its answer, and
// over kills and power cuts. Each has one answer and one effect.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "tests/faults/seeds.h"
#include "tests/runtime/fixture.h"
#include "tests/sim/history.h"
#include "tests/sim/machine.h"

namespace baleen {
namespace {

constexpr int64_t kReplaysPerWorld = 500;
constexpr int kStepsToSettle = 200'000;

class Replayer {
 public:
  Replayer(uint64_t seed, const Model* model)
      : machine_(seed, model, {"look"}), random_(machine_.random()) {}

  void Run(int64_t replays) {
    Create();
    while (replayed_ < replays) Something();
    Settle();
    // Whoever has no answer asks until there is one; then nobody's request is open.
    for (size_t i = 0; i < sent_.size(); ++i) {
      sent_[i].send();
      Settle();
    }
    Judge();
  }

  int64_t restarts() const { return restarts_; }
  const std::map<std::string, int64_t>& effects() const { return effects_; }

 private:
  struct Sent {
    std::string method;
    std::string session;
    std::string text;  ///< Of turns and steering.
    std::function<void()> send;
    std::optional<std::string> answer;  ///< What the first one that succeeded said.
  };

  int64_t Draw(int64_t below) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(below));
  }

  void Something() {
    const int64_t roll = Draw(1000);
    if (roll < 40) return Create();
    if (roll < 80) return Fork();
    if (roll < 200) return Start();
    if (roll < 240) return Steer();
    if (roll < 300) return Deny();
    if (roll < 330) return Rewind();
    if (roll < 345) return Delete();
    if (roll < 700) return Replay();
    if (roll < 705) return Restart(/*power_cut=*/false);
    if (roll < 708) return Restart(/*power_cut=*/true);
    if (roll < 720) return machine_.LetTimePass();
    for (int i = 0; i < 12; ++i) machine_.Step();
  }

  void Replay() {
    ++replayed_;
    // One of the last is likely to be on its way still.
    const int64_t count = std::ssize(sent_);
    const int64_t back = Draw(2) == 0 ? Draw(std::min<int64_t>(count, 3)) : Draw(count);
    sent_[static_cast<size_t>(count - 1 - back)].send();
  }

  void Restart(bool power_cut) {
    ++restarts_;
    power_cut ? machine_.CutPower() : machine_.Kill();
    machine_.Boot();
  }

  /// Sends `request` under an id of its own, now and whenever it is replayed. `say` tells an answer
  /// from any other.
  template <typename View, typename Request, typename Verb>
  void Send(const char* method, Request request, const std::string& text, Verb verb,
            std::string (*say)(const View&)) {
    const size_t index = sent_.size();
    request.request_id = method + std::to_string(index);
    Sent sent;
    sent.method = method;
    if constexpr (!std::is_same_v<Request, CreateSessionRequest>) sent.session = request.session;
    sent.text = text;
    sent.send = [this, index, request, verb, say] {
      std::invoke(verb, machine_.control(), request, [this, index, say](const Result<View>& view) {
        Note(index, view.ok() ? Result<std::string>(say(*view)) : view.status());
      });
    };
    sent_.push_back(std::move(sent));
    sent_.back().send();
  }

  void Note(size_t index, const Result<std::string>& answer) {
    Sent& sent = sent_[index];
    CAPTURE(sent.method, sent.session, index);
    if (answer.ok()) {
      if (!sent.answer.has_value()) sent.answer = *answer;
      REQUIRE(*sent.answer == *answer);
    } else if (sent.answer.has_value()) {
      // What it made, or whose turn it was about, may be gone.
      REQUIRE(answer.status().code() == StatusCode::kNotFound);
    }
  }

  static std::string SaySession(const SessionView& view) { return view.session; }
  static std::string SayTurn(const TurnView& view) { return view.turn; }
  static std::string SayApproval(const ApprovalView& view) {
    return view.approval + " " + ApprovalStateName(view.state) + " " + view.reason;
  }
  static std::string SayRewind(const RewindView& view) {
    return view.session.session + " left " + std::to_string(view.left_timeline) + " at " +
           std::to_string(view.left_tokens) + ", kept " + std::to_string(view.kept_seq);
  }
  static std::string SayDelete(const DeleteView& view) {
    return view.session + " of " + std::to_string(view.tokens) + " tokens";
  }

  std::string AnySession() {
    std::vector<std::string> made;
    for (const Sent& sent : sent_) {
      const bool makes = sent.method == "create" || sent.method == "fork";
      if (makes && sent.answer.has_value()) made.push_back(*sent.answer);
    }
    return made.empty() ? "none" : made[static_cast<size_t>(Draw(std::ssize(made)))];
  }
  SessionView Look(const std::string& session) {
    SessionView view;
    machine_.control().GetSession(session, [&](const Result<SessionView>& found) {
      if (found.ok()) view = *found;
    });
    return view;
  }

  void Create() {
    CreateSessionRequest request;
    ToolSpec spec;
    spec.name = "look";
    spec.description = "Looks.";
    spec.parameters = R"({"type":"object","properties":{"n":{"type":"integer"}}})";
    request.settings.host_tools = {spec};
    request.settings.policy.rules = {{"look", "", "ask", ""}};
    const auto create = [](ControlLoop& control, const CreateSessionRequest& wanted,
                           const Answer<SessionView>& answer) {
      control.CreateSession(wanted, /*outside=*/{}, answer);
    };
    Send("create", request, "", create, &SaySession);
  }
  void Fork() {
    ForkRequest request;
    request.session = AnySession();
    Send("fork", request, "", &ControlLoop::ForkSession, &SaySession);
  }
  void Start() {
    StartTurnRequest request;
    request.session = AnySession();
    request.input = {"u" + std::to_string(sent_.size())};
    request.tokens_max = 400;
    Send("start", request, request.input[0], &ControlLoop::StartTurn, &SayTurn);
  }
  void Steer() {
    SteerTurnRequest request;
    request.session = AnySession();
    request.turn = Look(request.session).open_turn;
    request.input = {"s" + std::to_string(sent_.size())};
    request.delivery = Draw(2) == 0 ? SteerDelivery::kNextStep : SteerDelivery::kAfterTurn;
    if (request.turn.empty()) return;
    Send("steer", request, request.input[0], &ControlLoop::SteerTurn, &SayTurn);
  }
  /// Answers a question with a no: what is asked for would need a host.
  void Deny() {
    std::vector<ApprovalView> waiting;
    machine_.control().ListApprovals(
        {"", false}, [&](const Result<std::vector<ApprovalView>>& all) { waiting = Must(all); });
    if (waiting.empty()) return;
    const ApprovalView& asked = waiting[static_cast<size_t>(Draw(std::ssize(waiting)))];
    ResolveApprovalRequest request;
    request.session = asked.session;
    request.approval = asked.approval;
    request.reason = "r" + std::to_string(sent_.size());
    Send("resolve", request, "", &ControlLoop::ResolveApproval, &SayApproval);
  }
  void Rewind() {
    RewindRequest request;
    request.session = AnySession();
    const int64_t tokens = Look(request.session).tokens;
    if (tokens == 0) return;
    request.to.tokens = Draw(tokens);
    Send("rewind", request, "", &ControlLoop::RewindSession, &SayRewind);
  }
  void Delete() {
    DeleteRequest request;
    request.session = AnySession();
    Send("delete", request, "", &ControlLoop::DeleteSession, &SayDelete);
  }

  /// Until nothing goes on any more.
  void Settle() {
    for (int step = 0; step < kStepsToSettle; ++step) {
      if (machine_.Step()) continue;
      std::vector<ApprovalView> waiting;
      machine_.control().ListApprovals(
          {"", false}, [&](const Result<std::vector<ApprovalView>>& all) { waiting = Must(all); });
      if (!waiting.empty()) {
        Deny();
      } else if (machine_.control().RunningTurns() == 0) {
        return;
      } else {
        machine_.LetTimePass();
      }
    }
    FAIL("it never ends");
  }

  void Judge() {
    std::set<std::string> made;
    std::set<std::string> deleted;
    std::map<std::string, int64_t> rewinds;
    for (const Sent& sent : sent_) {
      if (!sent.answer.has_value()) continue;
      effects_[sent.method] += 1;
      if (sent.method == "create" || sent.method == "fork") made.insert(*sent.answer);
      if (sent.method == "delete") deleted.insert(sent.session);
      if (sent.method == "rewind") rewinds[sent.session] += 1;
    }
    const auto count = [&](const char* method) { return effects_[method]; };
    REQUIRE(std::ssize(made) == count("create") + count("fork"));
    REQUIRE(std::ssize(deleted) == count("delete"));
    std::set<std::string> there;
    for (const SessionRecord& record : Must(machine_.reader().ListSessions("", 10'000))) {
      there.insert(record.id);
    }
    std::set<std::string> expected;
    std::set_difference(made.begin(), made.end(), deleted.begin(), deleted.end(),
                        std::inserter(expected, expected.end()));
    REQUIRE(there == expected);
    for (const std::string& session : there) JudgeSession(session, rewinds[session]);
    const auto report = Must(machine_.reader().Verify(""));
    CAPTURE(report.problems);
    REQUIRE(report.problems.empty());
  }

  void JudgeSession(const std::string& session, int64_t rewinds) {
    CAPTURE(session, rewinds);
    // Each rewind that was carried out began a timeline.
    REQUIRE(std::ssize(Must(machine_.reader().ListTimelines(session, 0, 1000))) == 1 + rewinds);
    std::map<std::string, std::string> turns;  // text -> turn, or steering
    std::set<std::string> resolved;
    for (const EventRecord& event : AllEventsOf(machine_.reader(), session)) {
      const Json payload = Json::parse(event.payload);
      CAPTURE(event.seq, event.kind, event.payload);
      if (event.kind == "turn_started" && payload.value("trigger", "USER") == "USER") {
        REQUIRE(turns.emplace(payload["input"], payload["turn"]).second);
      } else if (event.kind == "steered") {
        REQUIRE(turns.emplace(payload["input"], payload["turn"]).second);
      } else if (event.kind == "approval_resolved") {
        REQUIRE(resolved.insert(payload["approval"]).second);
      }
    }
    for (const Sent& sent : sent_) {
      if (sent.session != session || sent.text.empty()) continue;
      const auto found = turns.find(sent.text);
      CAPTURE(sent.method, sent.text);
      // A rewind may have left it behind.
      if (sent.answer.has_value() && rewinds == 0) REQUIRE(found != turns.end());
      if (found == turns.end()) continue;
      REQUIRE(sent.answer.has_value());
      REQUIRE(found->second == *sent.answer);
    }
  }

  Machine machine_;
  std::mt19937_64& random_;
  std::vector<Sent> sent_;
  int64_t replayed_ = 0;
  int64_t restarts_ = 0;
  std::map<std::string, int64_t> effects_;
};

void ReplayRequests(int64_t replays) {
  ModelOptions options;
  options.threads = 1;
  const auto model = Must(Model::Open(TinyModel(), options));
  int64_t restarts = 0;
  std::map<std::string, int64_t> effects;
  for (const uint64_t seed : Seeds(static_cast<uint64_t>(replays / kReplaysPerWorld))) {
    CAPTURE(seed);
    Replayer world(seed, model.get());
    world.Run(kReplaysPerWorld);
    restarts += world.restarts();
    for (const auto& [method, number] : world.effects()) effects[method] += number;
  }
  std::cout << "replays: " << replays << ", restarts: " << restarts << "\n";
  for (const auto& [method, number] : effects)
    std::cout << "  " << method << ": " << number << "\n";
}

}  // namespace

TEST_CASE("ARequestThatIsRepeatedOverRestartsHasOneEffect") { ReplayRequests(2000); }
TEST_CASE("ARequestThatIsRepeatedTenThousandTimesHasOneEffect", "[.long]") {
  ReplayRequests(10'000);
}

}  // namespace baleen
