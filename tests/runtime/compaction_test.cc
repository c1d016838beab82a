// Contexts that near their limit: compacted, gone on with, reopened; the same after any restart.
#include "runtime/sessions/compaction.h"

#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

constexpr int64_t kContext = 4096;
constexpr char kOneAnswer[] = R"(
return function(message) return baleen.generate({ user = message }).content end
)";

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel(1, kContext));
}

CreateSessionRequest Session(const std::string& id = "s") {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script = kOneAnswer;
  request.settings.tokens_max = 16;
  request.settings.sampling.seed = 3;
  request.settings.notes = {"the door code is 4711"};
  return request;
}

StartTurnRequest Turn(int number, size_t bytes = 900) {
  StartTurnRequest request;
  request.session = "s";
  std::string text = "turn " + std::to_string(number) + ":";
  while (text.size() < bytes) text += " word " + std::to_string(text.size() * number % 97);
  request.input = {text};
  return request;
}

StartTurnRequest Compact(const std::string& note = "") {
  StartTurnRequest request;
  request.session = "s";
  request.compact = true;
  if (!note.empty()) request.input = {note};
  return request;
}

std::vector<Json> Compactions(Runtime& runtime, const std::string& session = "s") {
  std::vector<Json> found;
  for (const Event& event : AllEvents(runtime, session)) {
    if (event.kind == "compacted") found.push_back(Parse(event.payload));
  }
  return found;
}

/// Tokens from `begin` on as text: they are bytes.
std::string TextFrom(const TokenTrace& trace, int64_t begin) {
  std::string text;
  for (size_t i = static_cast<size_t>(begin); i < trace.ids.size(); ++i) {
    if (trace.ids[i] >= 3 && trace.ids[i] < 259) text += static_cast<char>(trace.ids[i] - 3);
  }
  return text;
}

void Succeeds(const TurnView& turn) {
  INFO(turn.error.ToString());
  REQUIRE(turn.state == TurnState::kSucceeded);
}

}  // namespace

TEST_CASE("AContextThatNearsItsLimitIsCompactedAndTheSessionGoesOn") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session()));
  for (int i = 1; i <= 8; ++i) Succeeds(RunTurn(*runtime, Turn(i)));
  const auto compactions = Compactions(*runtime);
  REQUIRE(compactions.size() >= 2);
  const Json& first = compactions[0];
  const TokenTrace trace = ReadAll(*runtime, "s");
  // The summary was taken over the live prefix.
  REQUIRE(first["reuse"]["reused_ram"].get<int64_t>() > first["reopen_tokens"].get<int64_t>() - 64);
  REQUIRE(first["reuse"]["recomputed"] == 0);
  REQUIRE(first["goal"] == Turn(1).input[0]);
  REQUIRE(first["context_begin"].get<int64_t>() < kContext);
  const Json& last = compactions.back();
  const std::string context = TextFrom(trace, last["context_begin"].get<int64_t>());
  REQUIRE(trace.ids[last["context_begin"].get<size_t>()] == 0);  // begin of sentence
  REQUIRE(context.find("Goal:\n" + Turn(1).input[0] + "\n") != std::string::npos);
  REQUIRE(context.find("- the door code is 4711\n") != std::string::npos);
  REQUIRE(context.find(last["summary"].get<std::string>()) != std::string::npos);
  const SessionView view = Must(runtime->GetSession("s"));
  REQUIRE(view.context_tokens == view.tokens - last["context_begin"].get<int64_t>());
  REQUIRE(view.context_tokens < kContext);
  REQUIRE(view.tokens > kContext);

  // The old head, whole: on a fork, and by a rewind.
  ForkRequest fork;
  fork.session = "s";
  fork.fork = "f";
  fork.at.tokens = first["reopen_tokens"].get<int64_t>();
  REQUIRE(Must(runtime->ForkSession(fork)).context_tokens == *fork.at.tokens);
  RewindRequest rewind;
  rewind.session = "s";
  rewind.to.tokens = fork.at.tokens;
  REQUIRE(Must(runtime->RewindSession(rewind)).session.context_tokens == *fork.at.tokens);
  Succeeds(RunTurn(*runtime, Turn(99, 20)));
  const TokenTrace reopened = ReadAll(*runtime, "s");
  REQUIRE(std::equal(trace.ids.begin(), trace.ids.begin() + *fork.at.tokens, reopened.ids.begin()));
  rewind.to = {};
  rewind.undo = true;
  REQUIRE(Must(runtime->RewindSession(rewind)).session.context_tokens == view.context_tokens);
}

TEST_CASE("ACompactionIsTheSameEveryTimeAndAfterARestartAtAnyPointOfIt") {
  const auto run = [](const std::vector<std::string>& stop_at, const StartTurnRequest& last) {
    const TempDirectory temp;
    auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(Session()));
    for (int i = 1; i <= 3; ++i) Succeeds(RunTurn(*runtime, Turn(i)));
    Recorder recorder;
    auto watching =
        Must(runtime->Watch({"s", Must(runtime->GetSession("s")).head_cursor, true}, &recorder));
    const std::string turn = Must(runtime->StartTurn(last)).turn;
    for (const std::string& kind : stop_at) {
      REQUIRE(recorder.WaitFor(kind));
      watching.reset();
      runtime.reset();
      runtime = OpenRuntime(Options(temp));
      watching = Must(runtime->Watch({"s", "", true}, &recorder));
    }
    const TurnView ended = Must(runtime->WaitTurn("s", turn, kPatienceMs));
    Succeeds(ended);
    REQUIRE(Compactions(*runtime).size() == 1);
    Succeeds(RunTurn(*runtime, Turn(5, 100)));
    // The summary's tokens are counted like others, before and after a restart.
    return std::make_pair(ReadAll(*runtime, "s").ids, ended.tokens_generated);
  };
  for (const StartTurnRequest& last : {Turn(4), Compact("remember the milk")}) {
    const auto whole = run({}, last);
    REQUIRE(whole.second > 0);
    REQUIRE(run({}, last) == whole);
    REQUIRE(run({"compaction_started"}, last) == whole);
    REQUIRE(run({"compacted"}, last) == whole);
    REQUIRE(run({"compaction_started", "compacted"}, last) == whole);
  }
}

TEST_CASE("ATurnThatOnlyCompactsPinsItsNote") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session()));
  REQUIRE_ERROR(runtime->StartTurn(Compact()), StatusCode::kFailedPrecondition, "no context");
  Succeeds(RunTurn(*runtime, Turn(1, 200)));
  const TurnView turn = RunTurn(*runtime, Compact("keep the milk cold"));
  Succeeds(turn);
  Succeeds(RunTurn(*runtime, Turn(2, 200)));
  Succeeds(RunTurn(*runtime, Compact()));
  const auto compactions = Compactions(*runtime);
  REQUIRE(compactions.size() == 2);
  REQUIRE(turn.text == compactions[0]["summary"].get<std::string>());
  REQUIRE(compactions[1]["notes"] == Json({"the door code is 4711", "keep the milk cold"}));
  REQUIRE(compactions[1]["goal"] == Turn(1, 200).input[0]);
  REQUIRE(Must(runtime->GetSession("s")).context_tokens == 0);
  REQUIRE_ERROR(runtime->StartTurn(Compact()), StatusCode::kFailedPrecondition, "no context");
  // Nothing of a summary is streamed as an answer.
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  Succeeds(RunTurn(*runtime, Turn(3, 200)));
  REQUIRE(recorder.WaitFor("turn_finished", 5));
  const size_t deltas = recorder.Of("delta").size();
  Succeeds(RunTurn(*runtime, Compact()));
  REQUIRE(recorder.WaitFor("turn_finished", 6));
  REQUIRE(recorder.Of("delta").size() == deltas);
}

TEST_CASE("AHookIsAskedBeforeACompactionAndSaysWhatIsKept") {
  const auto run = [](const std::string& stop_at) {
    const TempDirectory temp;
    auto runtime = OpenRuntime(Options(temp));
    CreateSessionRequest request = Session();
    request.settings.script = R"lua(
on.before_compact(function(event)
  if event.reason == "asked" then event.keep = event.keep .. " (" .. event.reason .. ")" end
  if event.reason == "full" and event.tokens < event.tokens_max then return note "it was due" end
end)
)lua" + std::string(kOneAnswer);
    REQUIRE_OK(runtime->CreateSession(request));
    for (int i = 1; i <= 3; ++i) Succeeds(RunTurn(*runtime, Turn(i)));
    Recorder recorder;
    auto watching =
        Must(runtime->Watch({"s", Must(runtime->GetSession("s")).head_cursor, true}, &recorder));
    const std::string turn = Must(runtime->StartTurn(Turn(4))).turn;
    if (!stop_at.empty()) {
      REQUIRE(recorder.WaitFor(stop_at));
      watching.reset();
      runtime.reset();
      runtime = OpenRuntime(Options(temp));
    }
    Succeeds(Must(runtime->WaitTurn("s", turn, kPatienceMs)));
    Succeeds(RunTurn(*runtime, Compact("remember the milk")));
    const auto compactions = Compactions(*runtime);
    REQUIRE(compactions.size() == 2);
    CHECK(compactions[0]["notes"] == Json({"the door code is 4711", "it was due"}));
    CHECK(compactions[1]["notes"] ==
          Json({"the door code is 4711", "it was due", "remember the milk (asked)"}));
    return ReadAll(*runtime, "s").ids;
  };
  const auto whole = run("");
  for (const char* const stop_at : {"step_ended", "compaction_started", "compacted", "generate"}) {
    CAPTURE(stop_at);
    REQUIRE(run(stop_at) == whole);
  }
}

TEST_CASE("AHookThatRefusesACompactionKeepsTheContextWhileThereIsRoom") {
  for (const char* const refuses : {"return deny 'not yet'", "error('a bug')"}) {
    CAPTURE(refuses);
    const TempDirectory temp;
    const auto runtime = OpenRuntime(Options(temp));
    CreateSessionRequest request = Session();
    request.settings.script = "on.before_compact(function() " + std::string(refuses) + " end)\n" +
                              std::string(kOneAnswer);
    REQUIRE_OK(runtime->CreateSession(request));
    const bool bug = refuses[0] == 'e';
    Succeeds(RunTurn(*runtime, Turn(1, 20)));
    TurnView turn = RunTurn(*runtime, Compact());
    REQUIRE(turn.state == TurnState::kFailed);
    REQUIRE(turn.error.message().find(bug ? "a bug" : "not yet") != std::string::npos);
    int64_t succeeded = 0;
    turn = {};
    for (int i = 1; i <= 9 && turn.error.ok(); ++i) {
      turn = RunTurn(*runtime, Turn(i, 500));
      succeeded += turn.state == TurnState::kSucceeded ? 1 : 0;
    }
    // Further than to where it was due, and not beyond what there is.
    REQUIRE(succeeded >= 4);
    REQUIRE(turn.error.reason() == "CONTEXT_FULL");
    REQUIRE(turn.error.message().find(bug ? "a bug" : "not yet") != std::string::npos);
    REQUIRE(Compactions(*runtime).empty());
    REQUIRE(Must(runtime->GetSession("s")).context_tokens > kContext * 80 / 100);
  }
}

TEST_CASE("WithoutCompactionAFullContextEndsTheTurn") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest request = Session();
  request.settings.compact_at_percent = 0;
  REQUIRE_OK(runtime->CreateSession(request));
  TurnView turn;
  for (int i = 1; i <= 5; ++i) turn = RunTurn(*runtime, Turn(i));
  REQUIRE(turn.error.reason() == "CONTEXT_FULL");
  REQUIRE(Compactions(*runtime).empty());
  REQUIRE_ERROR(runtime->StartTurn(Compact()), StatusCode::kResourceExhausted, "rewind");
  request.session = "t";
  request.settings.compact_at_percent = 100;
  REQUIRE_ERROR(runtime->CreateSession(request), StatusCode::kInvalidArgument, "99");
}

TEST_CASE("ResultsWhoseCallsAreGoneAreToldAsText") {
  Message result;
  result.role = Role::kTool;
  result.tool_call_id = "call-2-1";
  result.content = "42";
  Message user;
  user.content = "and?";
  const auto folded = FoldedResults({result, user}, {{"call-2-1", "read", R"({"path":"a"})"}});
  REQUIRE(folded[0].role == Role::kUser);
  REQUIRE(folded[0].content == "Result of your call read {\"path\":\"a\"}:\n42");
  REQUIRE(folded[1].content == "and?");
}

}  // namespace baleen
