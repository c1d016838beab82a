// Fork, rewind, undo, delete and pin as a host sees them: the same bits as a session that never did
// any of it, refusals that say why, watchers that are told, restarts that change nothing.
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel());
}

CreateSessionRequest Session(const std::string& id) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.title = "title of " + id;
  request.settings.system_prompt = "You are small.";
  request.settings.tokens_max = 12;
  request.settings.sampling.seed = 5;
  // No early end: every generation has 12 tokens, whatever the model draws.
  request.settings.script = R"(
return function(message)
  local reply = baleen.generate { user = message }
  if message == "endless" then
    while true do baleen.generate { user = message } end
  end
  return reply.content
end
)";
  return request;
}

StartTurnRequest Turn(const std::string& session, const std::string& text) {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  request.trace_logits = true;
  return request;
}

ForkRequest Fork(const std::string& session, const std::string& fork, HistoryPoint at = {}) {
  ForkRequest request;
  request.session = session;
  request.fork = fork;
  request.at = std::move(at);
  return request;
}

RewindRequest Rewind(const std::string& session, HistoryPoint to) {
  RewindRequest request;
  request.session = session;
  request.to = std::move(to);
  return request;
}

RewindRequest Undo(const std::string& session) {
  RewindRequest request;
  request.session = session;
  request.undo = true;
  return request;
}

DeleteRequest Delete(const std::string& session) {
  DeleteRequest request;
  request.session = session;
  return request;
}

HistoryPoint AfterTurn(const std::string& turn) {
  HistoryPoint point;
  point.turn = turn;
  return point;
}

HistoryPoint AtTokens(int64_t tokens) {
  HistoryPoint point;
  point.tokens = tokens;
  return point;
}

std::vector<std::string> Kinds(const std::vector<Event>& events) {
  std::vector<std::string> kinds;
  for (const Event& event : events) kinds.push_back(event.kind);
  return kinds;
}

/// Session "s" with the turns "one", "two" and "three".
std::unique_ptr<Runtime> RuntimeWithThreeTurns(const TempDirectory& temp) {
  auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  for (const char* text : {"one", "two", "three"}) {
    REQUIRE(RunTurn(*runtime, Turn("s", text)).state == TurnState::kSucceeded);
  }
  return runtime;
}

void RequireClean(Runtime& runtime) {
  const VerifyReport report = Must(runtime.Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
}

}  // namespace

TEST_CASE("AForkGoesOnWithTheSameBitsAsItsOrigin") {
  const TempDirectory temp;
  const auto runtime = RuntimeWithThreeTurns(temp);
  const SessionView fork = Must(runtime->ForkSession(Fork("s", "f")));
  REQUIRE(fork.session == "f");
  REQUIRE(fork.parent == "s");
  REQUIRE(fork.settings.title == "title of s");
  REQUIRE(fork.tokens == Must(runtime->GetSession("s")).tokens);
  REQUIRE(fork.turns == 3);
  REQUIRE(RunTurn(*runtime, Turn("s", "four")).turn == "t4");
  REQUIRE(RunTurn(*runtime, Turn("f", "four")).turn == "t4");
  const TokenTrace origin = ReadAll(*runtime, "s");
  const TokenTrace forked = ReadAll(*runtime, "f");
  REQUIRE(Sampled(origin) == 48);
  REQUIRE(forked.ids == origin.ids);
  REQUIRE(forked.logits_hashes == origin.logits_hashes);
  // At the first turn; the second one then differs from the origin's, and equals a twin's.
  REQUIRE(Must(runtime->ForkSession(Fork("s", "g", AfterTurn("t1")))).turns == 1);
  REQUIRE(RunTurn(*runtime, Turn("g", "other")).turn == "t2");
  REQUIRE_OK(runtime->CreateSession(Session("twin")));
  RunTurn(*runtime, Turn("twin", "one"));
  RunTurn(*runtime, Turn("twin", "other"));
  const TokenTrace twin = ReadAll(*runtime, "twin");
  REQUIRE(ReadAll(*runtime, "g").ids == twin.ids);
  REQUIRE(ReadAll(*runtime, "g").logits_hashes == twin.logits_hashes);
  const auto events = AllEvents(*runtime, "f");
  REQUIRE(std::count_if(events.begin(), events.end(), [](const Event& event) {
            return event.kind == "session_forked" && Parse(event.payload)["session"] == "s";
          }) == 1);
  RequireClean(*runtime);
}

TEST_CASE("AForkInsideATurnKeepsThePartAndCanGoOn") {
  const TempDirectory temp;
  auto runtime = RuntimeWithThreeTurns(temp);
  const TokenTrace origin = ReadAll(*runtime, "s");
  const auto length = std::ssize(origin.ids);
  // Everywhere: nothing, the middle of the opening, of a user's text, of an answer, the very end.
  int forks = 0;
  for (int64_t tokens = 0; tokens <= length; tokens += tokens < 30 ? 1 : 5) {
    const std::string id = "f" + std::to_string(tokens);
    CAPTURE(tokens);
    const SessionView fork = Must(runtime->ForkSession(Fork("s", id, AtTokens(tokens))));
    REQUIRE(fork.tokens == tokens);
    REQUIRE(RunTurn(*runtime, Turn(id, "next")).state == TurnState::kSucceeded);
    const TokenTrace trace = ReadAll(*runtime, id);
    REQUIRE(std::equal(trace.ids.begin(), trace.ids.begin() + tokens, origin.ids.begin()));
    REQUIRE(std::ssize(trace.ids) > tokens + 12);
    // Each turn that began has one end, so that a restart finds nothing open.
    const auto events = AllEvents(*runtime, id);
    const auto count = [&](const std::string& kind) {
      return std::count_if(events.begin(), events.end(),
                           [&](const Event& event) { return event.kind == kind; });
    };
    REQUIRE(count("turn_started") == count("turn_finished"));
    ++forks;
  }
  REQUIRE(forks > 35);
  // A cut inside the opening is completed: the context is that of a fresh session.
  REQUIRE_OK(runtime->CreateSession(Session("fresh")));
  RunTurn(*runtime, Turn("fresh", "next"));
  const auto fresh = ReadAll(*runtime, "fresh");
  for (const std::string id : {"f0", "f1", "f9"}) {
    REQUIRE(ReadAll(*runtime, id).ids == fresh.ids);
    REQUIRE(ReadAll(*runtime, id).logits_hashes == fresh.logits_hashes);
  }
  RequireClean(*runtime);
  const std::string last = "f" + std::to_string(30 + (length - 30) / 5 * 5);
  const auto before = ReadAll(*runtime, last).ids;
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  REQUIRE(Must(runtime->Stats()).turns_running == 0);
  REQUIRE(ReadAll(*runtime, last).ids == before);
}

TEST_CASE("RewindGoesBackAndUndoReturns") {
  const TempDirectory temp;
  auto runtime = RuntimeWithThreeTurns(temp);
  const SessionView before = Must(runtime->GetSession("s"));
  RewindRequest preview = Rewind("s", AfterTurn("t1"));
  preview.validate_only = true;
  const RewindView planned = Must(runtime->RewindSession(preview));
  REQUIRE(Must(runtime->GetSession("s")).head_cursor == before.head_cursor);
  const RewindView rewound = Must(runtime->RewindSession(Rewind("s", AfterTurn("t1"))));
  REQUIRE(rewound.session.timeline == 2);
  REQUIRE(rewound.session.turns == 1);
  REQUIRE(rewound.session.tokens == planned.session.tokens);
  REQUIRE(rewound.left_tokens == before.tokens);
  REQUIRE(rewound.left_turns == 3);
  REQUIRE(rewound.kept_seq == planned.kept_seq);
  // Names of turns are never used twice, and the left ones are no longer there.
  REQUIRE(RunTurn(*runtime, Turn("s", "other")).turn == "t4");
  REQUIRE_ERROR(runtime->GetTurn("s", "t2"), StatusCode::kNotFound, "t2");
  const auto other = ReadAll(*runtime, "s");
  const RewindView undone = Must(runtime->RewindSession(Undo("s")));
  REQUIRE(undone.session.head_cursor == before.head_cursor);
  REQUIRE(undone.session.tokens == before.tokens);
  REQUIRE(Must(runtime->GetTurn("s", "t2")).state == TurnState::kSucceeded);
  REQUIRE_ERROR(runtime->GetTurn("s", "t4"), StatusCode::kNotFound, "t4");
  const auto refused = runtime->RewindSession(Undo("s"));
  REQUIRE_ERROR(refused, StatusCode::kFailedPrecondition, "first timeline");
  REQUIRE(refused.status().reason() == "NOTHING_TO_UNDO");
  // The timeline that undo left is still there, by its number.
  HistoryPoint second;
  second.timeline = 2;
  REQUIRE(Must(runtime->RewindSession(Rewind("s", second))).session.turns == 2);
  REQUIRE(ReadAll(*runtime, "s").ids == other.ids);
  REQUIRE(RunTurn(*runtime, Turn("s", "more")).turn == "t5");
  const auto more = ReadAll(*runtime, "s");
  RequireClean(*runtime);
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  REQUIRE(ReadAll(*runtime, "s").ids == more.ids);
  // And a twin that never went back has the same bits.
  REQUIRE_OK(runtime->CreateSession(Session("twin")));
  for (const char* text : {"one", "other", "more"}) RunTurn(*runtime, Turn("twin", text));
  REQUIRE(ReadAll(*runtime, "twin").ids == more.ids);
  REQUIRE(ReadAll(*runtime, "twin").logits_hashes == more.logits_hashes);
}

TEST_CASE("PointsThatDoNotExistAreRefusedAndNamed") {
  const TempDirectory temp;
  const auto runtime = RuntimeWithThreeTurns(temp);
  const int64_t length = Must(runtime->GetSession("s")).tokens;
  const auto refuse = [&](const HistoryPoint& point, StatusCode code, const std::string& words) {
    const auto fork = runtime->ForkSession(Fork("s", "f", point));
    REQUIRE_ERROR(fork, code, words);
    REQUIRE_ERROR(runtime->RewindSession(Rewind("s", point)), code, words);
    if (code != StatusCode::kInvalidArgument) REQUIRE(fork.status().reason() == "POINT_UNKNOWN");
  };
  refuse(AfterTurn("t4"), StatusCode::kNotFound, "t4");
  refuse(AfterTurn("x"), StatusCode::kNotFound, "'x'");
  refuse(AtTokens(length + 1), StatusCode::kOutOfRange, std::to_string(length));
  refuse(AtTokens(-1), StatusCode::kOutOfRange, "-1");
  HistoryPoint point;
  point.timeline = 2;
  refuse(point, StatusCode::kNotFound, "timeline 2");
  point.timeline = -1;
  refuse(point, StatusCode::kInvalidArgument, "-1");
  point = AfterTurn("t1");
  point.tokens = 3;
  refuse(point, StatusCode::kInvalidArgument, "got both");
  REQUIRE_ERROR(runtime->ForkSession(Fork("none", "f")), StatusCode::kNotFound, "none");
  REQUIRE_ERROR(runtime->ForkSession(Fork("s", "s")), StatusCode::kAlreadyExists, "'s'");
  REQUIRE_ERROR(runtime->ForkSession(Fork("s", "No")), StatusCode::kInvalidArgument, "No");
  ForkRequest title = Fork("s", "f");
  title.title = "\xff";
  REQUIRE_ERROR(runtime->ForkSession(title), StatusCode::kInvalidArgument, "UTF-8");
  REQUIRE(Must(runtime->ListSessions(0, "", nullptr)).size() == 1);
}

TEST_CASE("ARunningSessionCanBeForkedButNotRewoundOrDeleted") {
  const TempDirectory temp;
  const auto runtime = RuntimeWithThreeTurns(temp);
  const int64_t border = Must(runtime->GetSession("s")).tokens;
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  REQUIRE_OK(runtime->StartTurn(Turn("s", "endless")));
  REQUIRE(recorder.WaitFor("generated", 6));
  for (const Status& status :
       {runtime->RewindSession(Rewind("s", AfterTurn("t1"))).status(),
        runtime->RewindSession(Undo("s")).status(), runtime->DeleteSession(Delete("s")).status(),
        runtime->ForkSession(Fork("s", "x", AfterTurn("t4"))).status()}) {
    INFO(status.ToString());
    REQUIRE(status.code() == StatusCode::kFailedPrecondition);
    REQUIRE(status.reason() == "SESSION_BUSY");
  }
  // Its head is where the running turn began; a number of tokens reaches into it.
  REQUIRE(Must(runtime->ForkSession(Fork("s", "f"))).tokens == border);
  REQUIRE(Must(runtime->ForkSession(Fork("s", "g", AtTokens(border + 9)))).tokens == border + 9);
  REQUIRE(RunTurn(*runtime, Turn("f", "four")).state == TurnState::kSucceeded);
  REQUIRE(RunTurn(*runtime, Turn("g", "four")).state == TurnState::kSucceeded);
  REQUIRE(Must(runtime->PinSession("s", true)).pinned);
  REQUIRE_OK(runtime->CancelTurn("s", "t4"));
  REQUIRE_OK(runtime->WaitTurn("s", "t4", kPatienceMs));
  const auto origin = ReadAll(*runtime, "s").ids;
  const auto part = ReadAll(*runtime, "g").ids;
  REQUIRE(std::equal(part.begin(), part.begin() + border + 9, origin.begin()));
  RequireClean(*runtime);
}

TEST_CASE("WatchersAreToldOfARewindAndMissNothing") {
  const TempDirectory temp;
  const auto runtime = RuntimeWithThreeTurns(temp);
  const std::string left = Must(runtime->GetSession("s")).head_cursor;
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", left, false}, &recorder));
  const int64_t kept = Must(runtime->RewindSession(Rewind("s", AfterTurn("t1")))).kept_seq;
  RunTurn(*runtime, Turn("s", "other"));
  REQUIRE(recorder.WaitFor("turn_finished"));
  const std::vector<std::string> expected = {"timeline", "session_rewound", "turn_started",
                                             "generate", "generated",       "turn_finished"};
  auto seen = recorder.events();
  REQUIRE(Kinds(seen) == expected);
  REQUIRE(Parse(seen[0].payload)["kept_seq"] == kept);
  REQUIRE(Parse(seen[0].payload)["timeline"] == 2);
  for (size_t i = 0; i < seen.size(); ++i) REQUIRE(seen[i].seq == kept + static_cast<int64_t>(i));

  // Someone who comes back with a cursor of the timeline that was left gets the same.
  Recorder late;
  const auto again = Must(runtime->Watch({"s", left, false}, &late));
  REQUIRE(late.WaitFor("turn_finished"));
  REQUIRE(Kinds(late.events()) == expected);
  // A cursor that lies before the cut sees no difference.
  Recorder early;
  const std::string first = "v1:s:2";
  const auto from_start = Must(runtime->Watch({"s", first, false}, &early));
  REQUIRE(early.WaitFor("turn_finished", 2));
  REQUIRE(early.events()[0].seq == 3);
  REQUIRE(early.Of("timeline").empty());
  // Every cursor of the new timeline works, and what they don't know is told.
  for (const Event& event : seen) {
    Recorder from;
    const auto resumed = Must(runtime->Watch({"s", event.cursor, false}, &from));
    if (event.kind != "turn_finished") REQUIRE(from.WaitFor("turn_finished"));
    for (const Event& next : from.events()) REQUIRE(next.seq > event.seq);
  }
  for (const std::string bad : {"v1:s:3.1", "v1:s:2.99", "v1:s:99"}) {
    Recorder none;
    const auto refused = runtime->Watch({"s", bad, false}, &none);
    REQUIRE_ERROR(refused, StatusCode::kOutOfRange, bad);
    REQUIRE(refused.status().reason() == "CURSOR_EXPIRED");
  }
  for (const std::string bad : {"v1:s:1.1", "v1:s:.1", "v1:s:2.", "v1:s:2.x", "v1:s:-2.1", "s"}) {
    Recorder none;
    REQUIRE_ERROR(runtime->Watch({"s", bad, false}, &none), StatusCode::kInvalidArgument,
                  "not a cursor");
  }
  // Undo: told again, and the events that it brings back follow.
  const int64_t before = std::ssize(recorder.events());
  REQUIRE_OK(runtime->RewindSession(Undo("s")));
  REQUIRE(recorder.WaitFor("turn_finished", 3));
  seen = recorder.events();
  REQUIRE(seen[static_cast<size_t>(before)].kind == "timeline");
  REQUIRE(seen.back().cursor == left);
  REQUIRE(seen.back().kind == "turn_finished");
}

TEST_CASE("ExpectedHeadGuardsForkRewindAndDelete") {
  const TempDirectory temp;
  const auto runtime = RuntimeWithThreeTurns(temp);
  const std::string head = Must(runtime->GetSession("s")).head_cursor;
  const std::string stale = "v1:s:2";
  ForkRequest fork = Fork("s", "f");
  RewindRequest rewind = Rewind("s", AfterTurn("t2"));
  DeleteRequest remove = Delete("s");
  fork.expected_head = rewind.expected_head = remove.expected_head = stale;
  for (const Status& status :
       {runtime->ForkSession(fork).status(), runtime->RewindSession(rewind).status(),
        runtime->DeleteSession(remove).status()}) {
    INFO(status.ToString());
    REQUIRE(status.code() == StatusCode::kAborted);
    REQUIRE(status.reason() == "HEAD_MOVED");
  }
  fork.expected_head = rewind.expected_head = head;
  REQUIRE_OK(runtime->ForkSession(fork));
  REQUIRE_OK(runtime->RewindSession(rewind));
  // The head of a timeline that was left is stale, though the event is the same kind of event.
  StartTurnRequest turn = Turn("s", "four");
  turn.expected_head = head;
  REQUIRE_ERROR(runtime->StartTurn(turn), StatusCode::kAborted, head);
  remove.expected_head = Must(runtime->GetSession("s")).head_cursor;
  REQUIRE_OK(runtime->DeleteSession(remove));
}

TEST_CASE("RepeatedRequestsAreAnsweredOnce") {
  const TempDirectory temp;
  const auto runtime = RuntimeWithThreeTurns(temp);
  ForkRequest fork = Fork("s", "");
  fork.request_id = "request-1";
  const std::string id = Must(runtime->ForkSession(fork)).session;
  REQUIRE(Must(runtime->ForkSession(fork)).session == id);
  RewindRequest rewind = Rewind("s", AfterTurn("t2"));
  rewind.request_id = "request-1";  // ids are per method
  const RewindView first = Must(runtime->RewindSession(rewind));
  const RewindView second = Must(runtime->RewindSession(rewind));
  REQUIRE(second.session.timeline == first.session.timeline);
  REQUIRE(second.kept_seq == first.kept_seq);
  REQUIRE(second.left_turns == 3);
  RewindRequest undo = Undo("s");
  undo.request_id = "request-2";
  REQUIRE(Must(runtime->RewindSession(undo)).session.timeline == 1);
  REQUIRE(Must(runtime->RewindSession(undo)).session.timeline == 1);
  DeleteRequest remove = Delete(id);
  remove.request_id = "request-3";
  const DeleteView gone = Must(runtime->DeleteSession(remove));
  REQUIRE(gone.turns == 3);
  REQUIRE(Must(runtime->DeleteSession(remove)).tokens == gone.tokens);
  REQUIRE_ERROR(runtime->DeleteSession(Delete(id)), StatusCode::kNotFound, id);
  REQUIRE(Must(runtime->ListSessions(0, "", nullptr)).size() == 1);
}

TEST_CASE("ARepeatOfARewindThatChangedNothingChangesNothing") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  Must(runtime->WaitTurn("s", Must(runtime->StartTurn(Turn("s", "hello"))).turn, kPatienceMs));
  REQUIRE_OK(runtime->RewindSession(Rewind("s", AtTokens(0))));
  RewindRequest here = Rewind("s", {});
  here.to.timeline = 2;
  here.request_id = "11111111-1111-4111-8111-111111111111";
  const RewindView stood = Must(runtime->RewindSession(here));
  REQUIRE(stood.left_timeline == 2);
  REQUIRE_OK(runtime->RewindSession(Undo("s")));
  REQUIRE(Must(runtime->GetSession("s")).timeline == 1);
  const RewindView repeat = Must(runtime->RewindSession(here));
  REQUIRE(repeat.left_timeline == 2);
  REQUIRE(repeat.kept_seq == stood.kept_seq);
  REQUIRE(Must(runtime->GetSession("s")).timeline == 1);
}

TEST_CASE("DeleteEndsWatchersAndLeavesForksWhole") {
  const TempDirectory temp;
  auto runtime = RuntimeWithThreeTurns(temp);
  REQUIRE_OK(runtime->ForkSession(Fork("s", "f", AfterTurn("t2"))));
  RunTurn(*runtime, Turn("f", "other"));
  REQUIRE_OK(runtime->ForkSession(Fork("f", "g")));
  Recorder recorder;
  auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  REQUIRE_OK(runtime->PinSession("s", true));
  const auto pinned = runtime->DeleteSession(Delete("s"));
  REQUIRE_ERROR(pinned, StatusCode::kFailedPrecondition, "unpin");
  REQUIRE(pinned.status().reason() == "SESSION_PINNED");
  REQUIRE_FALSE(Must(runtime->PinSession("s", false)).pinned);
  DeleteRequest preview = Delete("s");
  preview.validate_only = true;
  const DeleteView planned = Must(runtime->DeleteSession(preview));
  REQUIRE(planned.forks == 1);
  REQUIRE(planned.turns == 3);
  REQUIRE(planned.timelines == 1);
  REQUIRE_OK(runtime->GetSession("s"));
  REQUIRE_OK(runtime->DeleteSession(Delete("s")));
  REQUIRE(recorder.WaitForEnd());
  REQUIRE(recorder.end().reason() == "SESSION_UNKNOWN");
  REQUIRE_ERROR(runtime->GetSession("s"), StatusCode::kNotFound, "'s'");
  REQUIRE_OK(runtime->DeleteSession(Delete("f")));
  // A fork of a fork of a deleted session: it goes on, also after a restart.
  const auto before = ReadAll(*runtime, "g").ids;
  watching.reset();
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  REQUIRE(ReadAll(*runtime, "g").ids == before);
  REQUIRE(Must(runtime->GetSession("g")).parent.empty());
  REQUIRE(RunTurn(*runtime, Turn("g", "five")).turn == "t4");
  RequireClean(*runtime);
  // The name is free again.
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  REQUIRE(RunTurn(*runtime, Turn("s", "one")).turn == "t1");
}

TEST_CASE("ForksOfOneSessionRunAtOnceAndDoNotDisturbEachOther") {
  const TempDirectory temp;
  const auto runtime = RuntimeWithThreeTurns(temp);
  std::vector<std::string> ids;
  for (int i = 0; i < 6; ++i) {
    ids.push_back("f" + std::to_string(i));
    REQUIRE_OK(runtime->ForkSession(Fork("s", ids.back(), AfterTurn("t2"))));
  }
  for (const std::string& id : ids) REQUIRE_OK(runtime->StartTurn(Turn(id, "say " + id)));
  for (const std::string& id : ids) REQUIRE_OK(runtime->WaitTurn(id, "t3", kPatienceMs));
  for (const std::string& id : {ids[0], ids[5]}) {
    const std::string twin = "twin-" + id;
    REQUIRE_OK(runtime->CreateSession(Session(twin)));
    for (const std::string& text : {std::string("one"), std::string("two"), "say " + id}) {
      RunTurn(*runtime, Turn(twin, text));
    }
    REQUIRE(ReadAll(*runtime, twin).logits_hashes == ReadAll(*runtime, id).logits_hashes);
  }
  RequireClean(*runtime);
}

}  // namespace baleen
