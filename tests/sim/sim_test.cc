// The runtime from one seed: its real control loop, agents and journal, with time, disk, tokens,
// tools and clients of the simulation's. Clients start, steer, cancel, approve and repeat
// themselves; the process is killed, the power cut, the disk full; and then every history must be
// one that may be.
#include <algorithm>
#include <deque>
#include <iostream>
#include <map>
#include <set>

#include "tests/faults/seeds.h"
#include "tests/runtime/fixture.h"
#include "tests/sim/history.h"
#include "tests/sim/machine.h"

namespace baleen {
namespace {

constexpr int kSteps = 160;
constexpr int kStepsToSettle = 200'000;
const std::vector<std::string>& Tools() {
  static const std::vector<std::string> tools = {"look", "note", "pay"};
  return tools;
}

/// A client that watches one session: durable events, each once and in order, over every restart.
class Watcher final : public EventSubscriber {
 public:
  bool OnEvent(const Event& event) override {
    if (event.seq == 0) return true;
    if (event.kind == "timeline") {
      ok = false;
      return true;
    }
    ok = ok && event.seq == last_seq + 1;
    last_seq = event.seq;
    cursor = event.cursor;
    return true;
  }
  void OnEnd(const Status&) override {}
  void Forget() {
    last_seq = 0;
    cursor.clear();
  }

  bool ok = true;
  int64_t last_seq = 0;
  std::string cursor;
};

struct Counts {
  int64_t seeds = 0;
  int64_t kills = 0;
  int64_t power_cuts = 0;
  int64_t faults = 0;
  int64_t turns = 0;
  int64_t calls = 0;
  int64_t approvals = 0;
  int64_t steers = 0;
  int64_t repeats = 0;
  std::map<std::string, int64_t> states;
};

class World final : public ToolHostSink {
 public:
  World(uint64_t seed, const Model* model, Counts& counts)
      : counts_(counts), machine_(seed, model, Tools()), random_(machine_.random()) {
    for (const char* id : {"a", "b"}) {
      watchers_[id];
      CreateSessionRequest request;
      request.session = id;
      for (const std::string& tool : Tools()) request.settings.host_tools.push_back(Spec(tool));
      request.settings.policy.rules = {{"pay", "", "ask", "it pays"}};
      if (Draw(3) == 0) request.settings.policy.rules.push_back({"note", "", "ask", ""});
      if (Draw(6) == 0) request.settings.policy.rules.push_back({"look", "", "deny", ""});
      if (Draw(3) == 0) request.settings.policy.approval_ms_max = 20'000;
      if (Draw(3) == 0) request.settings.turn_budget.tokens = 100 + Draw(400);
      if (Draw(4) == 0) request.settings.turn_budget.tool_calls = 1 + Draw(5);
      if (Draw(4) == 0) request.settings.turn_budget.wall_ms = 1 + Draw(3000);
      if (Draw(6) == 0) request.settings.budget.tokens = 500 + Draw(2000);
      request.request_id = std::string("make-") + id;
      requests_.push_back([this, request] {
        machine_.control().CreateSession(request, {}, [](const Result<SessionView>&) {});
      });
      bool made = false;
      machine_.control().CreateSession(request, {}, [&](const Result<SessionView>& view) {
        REQUIRE_OK(view);
        made = true;
      });
      while (!made) REQUIRE(machine_.Step());
    }
    Connect();
  }

  void Run() {
    for (int step = 0; step < kSteps; ++step) {
      CAPTURE(step);
      Something();
      for (const auto& [id, watcher] : watchers_) {
        CAPTURE(id, watcher.last_seq);
        REQUIRE(watcher.ok);
      }
    }
    Settle();
    Judge();
  }

  bool OnCall(const std::string& session, const ToolCall& call, int64_t) override {
    if (Draw(20) == 0) return false;  // it is about to leave
    offered_.push_back({session, call});
    return true;
  }
  void OnCancel(const std::string&, const std::string&) override {}

 private:
  struct Offer {
    std::string session;
    ToolCall call;
  };

  int64_t Draw(int64_t below) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(below));
  }
  std::string AnySession() { return Draw(2) == 0 ? "a" : "b"; }

  static ToolSpec Spec(const std::string& name) {
    ToolSpec spec;
    spec.name = name;
    spec.description = name;
    spec.parameters = R"({"type":"object","properties":{"n":{"type":"integer"}}})";
    spec.effect = name == "look"   ? EffectClass::kPure
                  : name == "note" ? EffectClass::kIdempotent
                                   : EffectClass::kEffect;
    return spec;
  }

  void Something() {
    const int64_t roll = Draw(1000);
    if (roll < 60) return StartTurn();
    if (roll < 75) return Steer();
    if (roll < 85) return Cancel();
    if (roll < 135) return Resolve();
    if (roll < 160) return Repeat();
    if (roll < 175) return Host();
    if (roll < 260) return Answer();
    if (roll < 275) return machine_.LetTimePass();
    if (roll < 279) return Kill();
    if (roll < 282) return CutPower();
    if (roll < 284) return SpoilDisk();
    // The machine works faster than anybody outside.
    for (int i = 0; i < 12; ++i) machine_.Step();
  }

  void Connect() {
    for (auto& [id, watcher] : watchers_) {
      WatchOptions options;
      options.session = id;
      options.after = watcher.cursor;
      const auto watching = machine_.control().AddWatcher(options, &watcher);
      CAPTURE(id, watcher.cursor);
      REQUIRE_OK(watching.status());
      hosts_[id] = Must(machine_.control().AddHost(id, Tools(), this));
    }
  }

  /// A client sends it now, and again whenever it has had no answer or is in doubt.
  void Send(const std::function<void()>& request) {
    requests_.push_back(request);
    request();
  }

  void StartTurn() {
    StartTurnRequest request;
    request.session = AnySession();
    request.input = {"u" + std::to_string(++names_)};
    request.tokens_max = 400;
    request.request_id = "start-" + request.input[0];
    Send([this, request] {
      machine_.control().StartTurn(request, [this, request](const Result<TurnView>& view) {
        if (view.ok()) started_[request.session + "/" + request.input[0]] = view->turn;
      });
    });
  }

  /// The session's running turn, or empty.
  std::string OpenTurn(const std::string& session) {
    std::string turn;
    machine_.control().GetSession(session, [&](const Result<SessionView>& view) {
      if (view.ok()) turn = view->open_turn;
    });
    return turn;
  }

  void Steer() {
    SteerTurnRequest request;
    request.session = AnySession();
    request.turn = OpenTurn(request.session);
    if (request.turn.empty()) return;
    request.input = {"s" + std::to_string(++names_)};
    request.delivery = Draw(2) == 0 ? SteerDelivery::kNextStep : SteerDelivery::kAfterTurn;
    request.request_id = "steer-" + request.input[0];
    Send([this, request] {
      machine_.control().SteerTurn(request, [this, request](const Result<TurnView>& view) {
        if (view.ok()) steered_.insert(request.session + "/" + request.input[0]);
      });
    });
  }

  void Cancel() {
    const std::string session = AnySession();
    const std::string turn = OpenTurn(session);
    if (turn.empty()) return;
    machine_.control().CancelTurn(session, turn,
                                  [this, session, turn](const Result<TurnView>& view) {
                                    if (view.ok() && view->state == TurnState::kRunning)
                                      cancelled_.insert(session + "/" + turn);
                                  });
  }

  std::vector<ApprovalView> Waiting() {
    std::vector<ApprovalView> waiting;
    machine_.control().ListApprovals({"", false},
                                     [&](const Result<std::vector<ApprovalView>>& views) {
                                       if (views.ok()) waiting = *views;
                                     });
    return waiting;
  }

  void Resolve(bool always_grant = false) {
    const auto waiting = Waiting();
    if (waiting.empty()) return;
    const ApprovalView& approval = waiting[static_cast<size_t>(Draw(std::ssize(waiting)))];
    ResolveApprovalRequest request;
    request.session = approval.session;
    request.approval = approval.approval;
    request.grant = always_grant || Draw(4) != 0;
    if (request.grant && approval.subject == "budget") {
      request.extend = 1 + Draw(500);
      if (always_grant) request.extend = 1 << 20;
    } else if (request.grant) {
      if (Draw(3) == 0) request.scope = Draw(2) == 0 ? GrantScope::kTurn : GrantScope::kSession;
      if (Draw(3) == 0) request.calls = {approval.calls[0].id};
    }
    request.request_id = "resolve-" + std::to_string(++names_);
    Send([this, request] {
      machine_.control().ResolveApproval(
          request, [this, request](const Result<ApprovalView>& view) {
            if (!view.ok() || view->state == ApprovalState::kPending) return;
            resolved_[request.session + "/" + request.approval] = ApprovalStateName(view->state);
          });
    });
  }

  void Repeat() {
    ++counts_.repeats;
    requests_[static_cast<size_t>(Draw(std::ssize(requests_)))]();
  }

  /// The host of a session leaves, or comes back.
  void Host() {
    const std::string session = AnySession();
    if (hosts_.contains(session)) {
      machine_.control().RemoveHost(session, hosts_[session]);
      hosts_.erase(session);
      return;
    }
    const auto host = machine_.control().AddHost(session, Tools(), this);
    if (host.ok()) hosts_[session] = *host;
  }

  /// The host works on one of the calls that it was given, and answers.
  void Answer() {
    if (offered_.empty()) return;
    const auto at = offered_.begin() + Draw(std::ssize(offered_));
    const Offer offer = *at;
    offered_.erase(at);
    ledger_[offer.session + "/" + offer.call.id] += 1;
    if (!hosts_.contains(offer.session)) return;  // it left; its answer reaches nobody
    ToolResult result;
    result.call_id = offer.call.id;
    result.content = "r" + std::to_string(++names_);
    if (Draw(5) == 0) result.outcome = ToolOutcome::kError;
    const std::string key = offer.session + "/" + offer.call.id;
    machine_.control().SubmitHostResult(offer.session, hosts_[offer.session], result,
                                        [this, key, result](const Result<std::string>& taken) {
                                          if (taken.ok()) accepted_[key] = result.content;
                                        });
  }

  void Kill() {
    ++counts_.kills;
    machine_.Kill();
    Reboot();
  }
  void CutPower() {
    ++counts_.power_cuts;
    machine_.CutPower();
    // What was shown but not yet synced may be gone, and a cursor beyond the head with it.
    for (auto& [id, watcher] : watchers_) watcher.Forget();
    Reboot();
  }
  void SpoilDisk() {
    ++counts_.faults;
    machine_.disk().FailAt(Draw(20), Draw(2) == 0 ? Fault::kNoSpace : Fault::kShortWrite);
    for (int i = 0; i < 60; ++i) machine_.Step();
    machine_.disk().FailAt(1 << 30, Fault::kNone);
    Kill();  // a session whose journal refused a write stands still until then
  }
  void Reboot() {
    offered_.clear();
    hosts_.clear();
    machine_.Boot();
    Connect();
  }

  /// No more mischief: everything that was begun comes to its end.
  void Settle() {
    if (hosts_.size() < 2) {
      for (const char* id : {"a", "b"}) {
        if (!hosts_.contains(id)) hosts_[id] = Must(machine_.control().AddHost(id, Tools(), this));
      }
    }
    for (int step = 0; step < kStepsToSettle; ++step) {
      if (machine_.Step()) continue;
      if (!offered_.empty()) {
        Answer();
      } else if (!Waiting().empty()) {
        Resolve(/*always_grant=*/true);
      } else if (OpenTurn("a").empty() && OpenTurn("b").empty()) {
        return;
      } else {
        machine_.LetTimePass();
      }
    }
    for (const char* id : {"a", "b"}) {
      const std::string turn = OpenTurn(id);
      if (turn.empty()) continue;
      std::string whole;
      for (const EventRecord& event : AllEventsOf(machine_.reader(), id)) {
        whole += std::to_string(event.seq) + " " + event.kind + " " + event.payload.substr(0, 300) +
                 "\n";
      }
      machine_.control().GetTurn(id, turn, [&](const Result<TurnView>& view) {
        FAIL("turn " << id << "/" << turn << " is stuck: it waits for " << view->waiting_on << " "
                     << view->waiting_detail << "\n"
                     << whole);
      });
    }
  }

  void Judge() {
    for (const char* id : {"a", "b"}) {
      const std::string prefix = std::string(id) + "/";
      const History history(machine_.reader(), id, ledger_);
      CAPTURE(id);
      // What was answered is so, whatever came after.
      for (const auto& [key, turn] : started_) {
        if (!key.starts_with(prefix)) continue;
        CAPTURE(key, turn);
        REQUIRE(history.turn_of_text.at(key.substr(2)) == turn);
      }
      for (const std::string& key : steered_) {
        if (key.starts_with(prefix)) REQUIRE(history.steered.contains(key.substr(2)));
      }
      for (const std::string& text : history.steered) {
        CAPTURE(text);
        REQUIRE(history.told.at(text) == 1);
      }
      for (const std::string& key : cancelled_) {
        CAPTURE(key);
        if (key.starts_with(prefix)) {
          REQUIRE(history.turn_states.at(key.substr(2)) == "CANCELLED");
        }
      }
      for (const auto& [key, state] : resolved_) {
        CAPTURE(key, state);
        if (key.starts_with(prefix)) REQUIRE(history.approval_ends.at(key.substr(2)) == state);
      }
      for (const auto& [key, content] : accepted_) {
        CAPTURE(key, content);
        // Of a tool that may run again another answer may be the one that counts.
        if (key.starts_with(prefix) && PaidFor(key)) {
          REQUIRE(history.results.at(key.substr(2)) == content);
        }
      }
      REQUIRE(watchers_.at(id).last_seq == AllEventsOf(machine_.reader(), id).back().seq);
      counts_.turns += std::ssize(history.turn_states);
      counts_.calls += std::ssize(history.results);
      counts_.approvals += std::ssize(history.approval_ends);
      counts_.steers += std::ssize(history.steered);
      for (const auto& [turn, state] : history.turn_states) counts_.states[state] += 1;
    }
    const auto report = Must(machine_.reader().Verify(""));
    CAPTURE(report.problems);
    REQUIRE(report.problems.empty());
    ++counts_.seeds;
  }

  /// Whether the call is one of "pay".
  bool PaidFor(const std::string& key) {
    for (const EventRecord& event : AllEventsOf(machine_.reader(), key.substr(0, 1))) {
      if (event.kind != "tool_calls") continue;
      const Json payload = Json::parse(event.payload);
      const Json effect = Json::parse(payload["effect"].get<std::string>());
      for (const auto& call : effect["calls"]) {
        const std::string id =
            payload["turn"].get<std::string>() + "." + call["id"].get<std::string>();
        if (id == key.substr(2)) return call["name"] == "pay";
      }
    }
    return false;
  }

  Counts& counts_;
  Machine machine_;
  std::mt19937_64& random_;
  int64_t names_ = 0;
  std::map<std::string, Watcher> watchers_;
  std::map<std::string, uint64_t> hosts_;
  std::vector<Offer> offered_;
  Ledger ledger_;
  std::vector<std::function<void()>> requests_;
  // What clients were told, by "session/...".
  std::map<std::string, std::string> started_;
  std::set<std::string> steered_;
  std::set<std::string> cancelled_;
  std::map<std::string, std::string> resolved_;
  std::map<std::string, std::string> accepted_;
};

void Simulate(const std::vector<uint64_t>& seeds) {
  ModelOptions options;
  options.threads = 1;
  const auto model = Must(Model::Open(TinyModel(), options));
  Counts counts;
  for (const uint64_t seed : seeds) {
    CAPTURE(seed);
    World world(seed, model.get(), counts);
    world.Run();
  }
  std::cout << "sim: " << counts.seeds << " seeds, " << counts.kills << " kills, "
            << counts.power_cuts << " power cuts, " << counts.faults << " disk faults, "
            << counts.turns << " turns, " << counts.calls << " calls, " << counts.approvals
            << " approvals, " << counts.steers << " steers, " << counts.repeats << " repeats\n";
  for (const auto& [state, number] : counts.states) {
    std::cout << "  " << state << ": " << number << "\n";
  }
}

std::vector<uint64_t> From(uint64_t first, uint64_t last) {
  if (Catch::rngSeed() != 0) return {Catch::rngSeed()};
  std::vector<uint64_t> seeds;
  for (uint64_t seed = first; seed <= last; ++seed) seeds.push_back(seed);
  return seeds;
}

}  // namespace

TEST_CASE("TurnsAreWhatTheyMayBeInAThousandSimulatedHistories") { Simulate(From(1, 1000)); }
TEST_CASE("TurnsAreWhatTheyMayBeInManySimulatedHistories", "[.long]") { Simulate(From(1, 20'000)); }

}  // namespace baleen
