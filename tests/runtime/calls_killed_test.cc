// Kill -9 at each write of a tool call: proposed, allowed and dispatched, its body, its result, its
// tokens. Whatever the moment: no effect twice, no call without a result, one turn, one approval.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/faults/seeds.h"
#include "tests/runtime/fixture.h"
#include "tests/testing/child.h"

namespace baleen {
namespace {

/// The line after which the worker is killed, at once or up to `kLatenessUs` later: while it is on
/// its way to the next write.
constexpr std::array kPoints = {"turn_started",    "tool_calls", "approving",    "approved",
                                "tool_dispatched", "body",       "tool_results", "generate"};
constexpr int64_t kLatenessUs = 3000;

std::vector<std::string> Lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// Where a worker writes, and the files that a patching one changes.
std::string Ledger(const MemoryDirectory& temp) {
  for (const char* name : {"ledger-ws/log1", "ledger-ws/log2"}) temp.Write(name, "begin\nend\n");
  return temp.File("ledger");
}

void WaitMicroseconds(int64_t microseconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  while (std::chrono::steady_clock::now() < until) {
  }
}

/// Kills one worker at `point` and lets the next one end what it left.
void KillAt(const std::string& point, const std::string& effect, std::mt19937_64& random,
            std::map<std::string, int64_t>& outcomes) {
  const MemoryDirectory temp;
  const std::string ledger = temp.File("ledger");
  const std::vector<std::string> command = {CALL_WORKER, temp.File("data"), TinyModel(), ledger,
                                            effect};
  const auto late_us = static_cast<int64_t>(random() % kLatenessUs) * (random() % 4 == 0 ? 0 : 1);
  CAPTURE(point, effect, late_us);
  bool answered = false;  // the host was told that its result is kept
  {
    Child worker(command);
    REQUIRE(worker.started());
    std::string line;
    do {
      line = worker.ReadLine();
      REQUIRE(!line.empty());
      REQUIRE(!line.starts_with("error"));
    } while (line != point);
    WaitMicroseconds(late_us);
    worker.Kill();
    for (const std::string& rest : worker.ReadAll()) answered = answered || rest == "submitted";
  }
  Child worker(command);
  const std::vector<std::string> lines = worker.ReadAll();
  REQUIRE(worker.Wait() == 0);
  const auto count = [&](const std::string& line) {
    return std::count(lines.begin(), lines.end(), line);
  };
  CAPTURE(lines);
  // The second watcher sees the whole history.
  REQUIRE(count("turn_started") == 1);
  REQUIRE(count("tool_calls") == 1);
  REQUIRE(count("approval_requested") == 1);
  REQUIRE(count("approval_resolved") == 1);
  REQUIRE(count("tool_dispatched") == 1);
  REQUIRE(count("tool_results") == 1);
  REQUIRE(count("generate") == 1);
  REQUIRE(count("turn_finished") == 1);
  const std::string result = *std::find_if(
      lines.begin(), lines.end(), [](const auto& line) { return line.starts_with("result "); });
  const auto paid = std::ssize(Lines(ledger));
  CAPTURE(result, paid);
  if (effect == "EFFECT") {
    REQUIRE(paid <= 1);
    REQUIRE((result == "result OK turns 1" || result == "result UNKNOWN turns 1"));
    if (result == "result OK turns 1") REQUIRE(paid == 1);
    if (answered) REQUIRE(result == "result OK turns 1");
    // Nobody had dispatched it: then it runs, once.
    if (point == "turn_started" && late_us == 0) REQUIRE(paid == 1);
  } else {
    REQUIRE(result == "result OK turns 1");
    REQUIRE(paid >= 1);
    // The far side sees that it is the same call.
    for (const std::string& line : Lines(ledger)) REQUIRE(line == Lines(ledger)[0]);
  }
  outcomes[point + " " + effect + " " + result.substr(7, result.find(" turns") - 7) + " " +
           std::to_string(paid)] += 1;
}

void KillEverywhere(int64_t times) {
  const uint64_t seed = Seeds(1).front();
  std::mt19937_64 random(seed);
  std::map<std::string, int64_t> outcomes;
  for (int64_t i = 0; i < times; ++i) {
    for (const char* point : kPoints) {
      KillAt(point, i % 4 == 3 ? "IDEMPOTENT" : "EFFECT", random, outcomes);
    }
  }
  std::cout << "calls killed, seed " << seed << ":\n";
  for (const auto& [what, number] : outcomes) std::cout << "  " << what << ": " << number << "\n";
}

/// What flows have given, by their kind and outcome. The first of each is one that nobody killed.
using Texts = std::map<std::string, std::string>;

/// The outcome that a flow has told, after its text was compared with that of the twin that nobody
/// killed: each value of each step, to the last sampled token.
std::string CompareWithTwin(const std::string& kind, const std::vector<std::string>& lines,
                            Texts& texts) {
  constexpr std::string_view kBegin = "result ", kEnd = " turns 1";
  const std::string line = *std::find_if(lines.begin(), lines.end(),
                                         [&](const auto& one) { return one.starts_with(kBegin); });
  CAPTURE(line);
  REQUIRE(line.ends_with(kEnd));
  const std::string text = line.substr(kBegin.size(), line.size() - kBegin.size() - kEnd.size());
  const auto value = nlohmann::json::parse(text, nullptr, false);
  REQUIRE(value.is_object());
  const std::string outcome = value.value("outcome", "");
  // Nobody kills a twin into UNKNOWN: those are compared with each other.
  const auto [twin, first] = texts.try_emplace(kind + " " + outcome, text);
  CAPTURE(twin->second);
  REQUIRE(text == twin->second);
  if (outcome == "UNKNOWN" && first) {
    const auto known = nlohmann::json::parse(texts.at(kind + " OK"));
    for (const char* name : {"half", "halves", "drawn", "time_went_on"}) {
      REQUIRE(value.at(name) == known.at(name));
    }
  }
  return outcome;
}

/// As EndFlow, of a flow that applies diffs: each file has its new line, once, and no copy is left.
std::string EndPatch(const std::vector<std::string>& lines, const std::string& data,
                     const std::string& workspace, Texts& texts) {
  REQUIRE(CompareWithTwin("PATCH", lines, texts) == "OK");
  for (const char* name : {"/log1", "/log2"}) {
    REQUIRE(Lines(workspace + name) == std::vector<std::string>{"begin", "more", "end"});
  }
  for (const auto& entry : std::filesystem::directory_iterator(data + "/worktrees")) {
    REQUIRE(entry.path().filename().string().starts_with("gone-"));  // the upkeep's to remove
  }
  const auto count = [&](const std::string& line) {
    return std::count(lines.begin(), lines.end(), line);
  };
  // Two forks, their turns twice, two diffs, and each is closed. Turns end together or one by one;
  // one that was killed within its call is followed by two more.
  REQUIRE(count("step_started") >= 8);
  REQUIRE(count("step_started") <= 14);
  REQUIRE(count("step_ended") == count("step_started"));
  REQUIRE(count("tool_calls") == 1);
  REQUIRE(count("tool_results") == 1);
  return " OK";
}

/// What a flow that was killed once is worth after the next process has ended it: what came of it.
std::string EndFlow(const std::vector<std::string>& command, const std::string& ledger,
                    Texts& texts) {
  Child worker(command);
  const std::vector<std::string> lines = worker.ReadAll();
  CAPTURE(lines);
  REQUIRE(worker.Wait() == 0);
  if (command.back() == "PATCH") return EndPatch(lines, command[1], ledger + "-ws", texts);
  const auto count = [&](const std::string& line) {
    return std::count(lines.begin(), lines.end(), line);
  };
  const std::string outcome = CompareWithTwin(command.back(), lines, texts);
  const std::vector<std::string> paid = Lines(ledger);
  CAPTURE(outcome, paid);
  const bool unknown = outcome == "UNKNOWN";
  if (command.back() == "FLOW") {
    // Nobody knew whether it had paid: the flow asked, and went on when it was told to.
    REQUIRE((unknown || outcome == "OK"));
    REQUIRE(paid.size() <= 1);
    if (!unknown) REQUIRE(paid.size() == 1);
  } else {
    // The far side sees that it is the same call: for it this is one effect, and always the result.
    REQUIRE(outcome == "OK");
    REQUIRE(paid.size() >= 1);
    for (const std::string& line : paid) REQUIRE(line == paid[0]);
  }
  // now, sleep, approve, now, two accounts opened and closed, two forks, their turns twice; the
  // question.
  const int64_t steps = unknown ? 13 : 12;
  REQUIRE(count("turn_started") == 1);
  REQUIRE(count("step_started") >= steps);
  REQUIRE(count("step_started") <= steps + 2);  // the turns end together or one by one
  REQUIRE(count("step_ended") == count("step_started"));
  REQUIRE(count("approval_requested") == (unknown ? 3 : 2));
  REQUIRE(count("tool_calls") == 2);
  REQUIRE(count("tool_results") == 2);
  // A model that babbles may be asked to write its answer anew; each is asked for once.
  REQUIRE(count("generate") >= 1);
  REQUIRE(count("generate") == count("generated"));
  REQUIRE(count("turn_finished") == 1);
  return (unknown ? " UNKNOWN " : " OK ") + std::to_string(paid.size());
}

/// Runs a flow of each kind that nobody kills: how long the first takes, in microseconds.
int64_t RunTwins(Texts& texts) {
  std::optional<int64_t> first_us;
  for (const char* kind : {"FLOW", "IDEMPOTENT_FLOW", "PATCH"}) {
    const MemoryDirectory temp;
    const std::string ledger = Ledger(temp);
    const auto begin = std::chrono::steady_clock::now();
    const std::string ended =
        EndFlow({CALL_WORKER, temp.File("data"), TinyModel(), ledger, kind}, ledger, texts);
    REQUIRE(ended.starts_with(" OK"));
    const auto took = std::chrono::steady_clock::now() - begin;
    if (!first_us) first_us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  }
  return *first_us;
}

struct KilledFlows {
  std::mt19937_64 random;
  Texts texts;
  std::map<std::string, int64_t> outcomes;
};

/// Kills a flow right before or after the `nth` line `point`, and lets the next process end it.
void KillFlowAt(const std::string& kind, const std::string& point, int64_t nth,
                KilledFlows& flows) {
  const MemoryDirectory temp;
  const std::string ledger = Ledger(temp);
  const std::vector<std::string> command = {CALL_WORKER, temp.File("data"), TinyModel(), ledger,
                                            kind};
  const auto late_us =
      static_cast<int64_t>(flows.random() % kLatenessUs) * (flows.random() % 4 == 0 ? 0 : 1);
  CAPTURE(kind, point, nth, late_us);
  {
    Child worker(command);
    REQUIRE(worker.started());
    for (int64_t seen = 0; seen < nth;) {
      const std::string line = worker.ReadLine();
      REQUIRE(!line.empty());
      REQUIRE(!line.starts_with("error"));
      seen += line == point ? 1 : 0;
    }
    WaitMicroseconds(late_us);
    worker.Kill();
  }
  const std::string ended = EndFlow(command, ledger, flows.texts);
  flows.outcomes[kind + " " + point + " " + std::to_string(nth) + ended] += 1;
}

/// Kills flows at instants that nothing chose, all over the time that one takes.
void KillFlowsAtRandom(int64_t times) {
  const uint64_t seed = Seeds(1).front();
  KilledFlows flows{std::mt19937_64(seed), {}, {}};
  const int64_t whole_us = RunTwins(flows.texts);
  for (int64_t i = 1; i <= times; ++i) {
    const MemoryDirectory temp;
    const std::string ledger = Ledger(temp);
    const std::string kind = i % 4 == 3 ? "IDEMPOTENT_FLOW" : i % 4 == 1 ? "PATCH" : "FLOW";
    const std::vector<std::string> command = {CALL_WORKER, temp.File("data"), TinyModel(), ledger,
                                              kind};
    const auto at_us = static_cast<int64_t>(flows.random() % static_cast<uint64_t>(whole_us));
    CAPTURE(kind, at_us, whole_us);
    {
      Child worker(command);
      REQUIRE(worker.started());
      WaitMicroseconds(at_us);
      worker.Kill();
      worker.ReadAll();
    }
    flows.outcomes[kind + EndFlow(command, ledger, flows.texts)] += 1;
  }
  std::cout << "flows killed at any time within " << whole_us << " us, seed " << seed << ":\n";
  for (const auto& [what, number] : flows.outcomes)
    std::cout << "  " << what << ": " << number << "\n";
}

/// Every step's begin and end, and what lies within steps. Where flows of one effect class are
/// killed at a step's begin, those of the other are at its end.
void KillFlowEverywhere(int64_t times) {
  const uint64_t seed = Seeds(1).front();
  KilledFlows flows{std::mt19937_64(seed), {}, {}};
  RunTwins(flows.texts);
  const auto kill_at_steps = [&](const char* kind, int64_t steps, int64_t parity) {
    for (int64_t nth = 1; nth <= steps; ++nth) {
      KillFlowAt(kind, nth % 2 == parity ? "step_started" : "step_ended", nth, flows);
    }
  };
  for (int64_t i = 0; i < times; ++i) {
    for (const char* kind : {"FLOW", "IDEMPOTENT_FLOW"}) {
      kill_at_steps(kind, 12, (kind == std::string("FLOW") ? i : i + 1) % 2);
      for (const char* point : {"tool_calls", "tool_dispatched", "tool_results", "approved"}) {
        for (const int64_t nth : {1, 2}) KillFlowAt(kind, point, nth, flows);
      }
      KillFlowAt(kind, "body", 1, flows);
      KillFlowAt(kind, "generate", 1, flows);
    }
    kill_at_steps("PATCH", 8, i % 2);
    for (const char* point : {"tool_calls", "tool_dispatched", "tool_results"}) {
      KillFlowAt("PATCH", point, 1, flows);
    }
  }
  std::cout << "flows killed, seed " << seed << ":\n";
  for (const auto& [what, number] : flows.outcomes)
    std::cout << "  " << what << ": " << number << "\n";
}

}  // namespace

TEST_CASE("ACallThatIsKilledAtAnyWriteHasOneResultAndAtMostOneEffect") { KillEverywhere(4); }
TEST_CASE("ACallThatIsKilledAHundredTimesAtEachWrite", "[.long]") { KillEverywhere(100); }
TEST_CASE("AFlowThatIsKilledAtAnyStepEndsAsOneThatWasNot") { KillFlowEverywhere(1); }
TEST_CASE("AFlowThatIsKilledTwentyTimesAtEachStep", "[.long]") { KillFlowEverywhere(20); }
TEST_CASE("AFlowThatIsKilledAtRandomEndsAsOneThatWasNot") { KillFlowsAtRandom(4); }
TEST_CASE("AFlowThatIsKilledTwoHundredTimesAtRandom", "[.long]") { KillFlowsAtRandom(200); }

}  // namespace baleen
