// Retention: sessions that go by themselves, and those that never do.
#include "runtime/sessions/retention.h"

#include <atomic>
#include <future>

#include "runtime/clock.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

std::vector<std::string> Names(const PruneView& view) {
  std::vector<std::string> names;
  for (const PrunedSession& gone : view.sessions) names.push_back(gone.session);
  return names;
}

std::vector<std::string> Stored(Runtime& runtime) {
  std::vector<std::string> names;
  for (const SessionView& view : Must(runtime.ListSessions(0, "", nullptr))) {
    names.push_back(view.session);
  }
  return names;
}

void Make(Runtime& runtime, const std::string& id, const std::string& input = "hello") {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script =
      "return function(m) return baleen.generate { user = m, max_tokens = 5 }.content end";
  REQUIRE_OK(runtime.CreateSession(request));
  StartTurnRequest turn;
  turn.session = id;
  turn.input = {input};
  REQUIRE(RunTurn(runtime, turn).state == TurnState::kSucceeded);
}

PruneRequest Request(int64_t unused_ms_max, int64_t bytes_max, bool validate_only) {
  return {RetentionLimits{unused_ms_max, bytes_max}, validate_only};
}

}  // namespace

TEST_CASE("WhatIsTooOldGoesFirstAndThenTheLeastRecentlyUsedUntilTheRestFits") {
  const std::vector<RetentionCandidate> all = {{"new", "", 900, 30, false},
                                               {"pinned", "", 100, 50, true},
                                               {"older", "", 200, 20, false},
                                               {"old", "", 300, 40, false}};
  const auto names = [&](RetentionLimits limits) {
    std::string names;
    for (const auto& gone : PlanRetention(all, limits, 1000).gone) names += gone.session + " ";
    return names;
  };
  REQUIRE(names({0, 0}).empty());
  REQUIRE(names({700, 0}) == "older ");
  REQUIRE(names({800, 0}).empty());
  REQUIRE(names({1, 0}) == "older old new ");
  REQUIRE(names({0, 140}).empty());
  REQUIRE(names({0, 139}) == "older ");
  REQUIRE(names({0, 119}) == "older old ");
  REQUIRE(names({0, 1}) == "older old new ");
  REQUIRE(names({750, 100}) == "older old ");
  const RetentionPlan plan = PlanRetention(all, {750, 100}, 1000);
  REQUIRE(plan.bytes_before == 140);
  REQUIRE(plan.bytes_after == 80);
  REQUIRE(plan.reasons[0].find("not used for 0.0 days") == 0);
  REQUIRE(plan.reasons[1].find("120 bytes; the limit is 100") != std::string::npos);
  REQUIRE_ERROR(CheckRetention({-1, 0}), StatusCode::kInvalidArgument, "-1");
}

TEST_CASE("NeitherAPinnedSessionNorOneInUseGoesAndAPreviewSaysWhatWill") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  for (const char* id : {"idle", "pinned", "watched", "other"}) Make(*runtime, id);
  REQUIRE_OK(runtime->PinSession("pinned", true));
  Recorder recorder;
  auto watching = Must(runtime->Watch({"watched", "", false}, &recorder));
  // Nothing is younger than a millisecond by then.
  const Clock clock;
  const int64_t since = clock.WallMs();
  while (clock.WallMs() < since + 3) {
  }
  const PruneView preview = Must(runtime->PruneSessions(Request(1, 0, true)));
  REQUIRE(Names(preview) == std::vector<std::string>{"idle", "other"});
  REQUIRE(Stored(*runtime).size() == 4);
  const PruneView done = Must(runtime->PruneSessions(Request(1, 0, false)));
  REQUIRE(Names(done) == Names(preview));
  REQUIRE(Stored(*runtime) == std::vector<std::string>{"pinned", "watched"});
  REQUIRE(runtime->GetSession("idle").status().reason() == "SESSION_UNKNOWN");
  watching.reset();
  REQUIRE(Names(Must(runtime->PruneSessions(Request(1, 0, false)))) ==
          std::vector<std::string>{"watched"});
  // Without limits of its own, a runtime deletes nothing.
  REQUIRE(Must(runtime->PruneSessions({})).sessions.empty());
  REQUIRE(runtime->PruneSessions(Request(-1, 0, false)).status().reason() == "BAD_FIELD");
}

TEST_CASE("BytesAreThoseOfASessionsOwnTextAndTokens") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  Make(*runtime, "small");
  Make(*runtime, "large", std::string(2000, 'x'));
  ForkRequest fork;
  fork.session = "large";
  fork.fork = "fork";
  REQUIRE_OK(runtime->ForkSession(fork));
  const PruneView all = Must(runtime->PruneSessions(Request(0, 1, true)));
  REQUIRE(all.bytes_after == 0);
  std::map<std::string, int64_t> bytes;
  for (const PrunedSession& gone : all.sessions) bytes[gone.session] = gone.bytes;
  REQUIRE(bytes.size() == 3);
  REQUIRE(bytes["large"] - bytes["small"] > 4 * 1990);
  REQUIRE(bytes["fork"] < 1000);  // what it shares is its origin's
  REQUIRE(all.bytes_before == bytes["small"] + bytes["large"] + bytes["fork"]);
  // Only the least recently used goes when the others fit.
  const PruneView one = Must(runtime->PruneSessions(Request(0, all.bytes_before - 1, false)));
  REQUIRE(Names(one) == std::vector<std::string>{"small"});
  REQUIRE(one.bytes_after == all.bytes_before - bytes["small"]);
  // A fork keeps what it shares with an origin that goes.
  REQUIRE_OK(runtime->PinSession("fork", true));
  const std::vector<int32_t> shared = ReadAll(*runtime, "fork").ids;
  REQUIRE(Names(Must(runtime->PruneSessions(Request(0, 1, false)))) ==
          std::vector<std::string>{"large"});
  REQUIRE(ReadAll(*runtime, "fork").ids == shared);
}

TEST_CASE("ARuntimeWithLimitsDeletesAtItsStartAndTellsWhy") {
  const TempDirectory temp;
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  {
    const auto runtime = OpenRuntime(options);
    Make(*runtime, "gone");
    Make(*runtime, "kept");
    REQUIRE_OK(runtime->PinSession("kept", true));
  }
  std::promise<PruneView> told;
  std::atomic<int> times = 0;
  options.retention.unused_ms_max = 1;
  options.on_pruned = [&](const PruneView& pruned) {
    if (times.fetch_add(1) == 0) told.set_value(pruned);
  };
  const auto runtime = OpenRuntime(options);
  auto future = told.get_future();
  REQUIRE(future.wait_for(std::chrono::milliseconds(kPatienceMs)) == std::future_status::ready);
  const PruneView pruned = future.get();
  REQUIRE(Names(pruned) == std::vector<std::string>{"gone"});
  REQUIRE(pruned.sessions[0].reason.find("not used for") == 0);
  REQUIRE(Stored(*runtime) == std::vector<std::string>{"kept"});
}

}  // namespace baleen
