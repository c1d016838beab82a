// Scripts in sessions: their policy beside the session's, their tools, and flows whose steps
// outlive the process.
#include "runtime/sessions/journal_json.h"
#include "runtime/store/journal.h"
#include "tests/runtime/scripted_session.h"

namespace baleen {
namespace {

constexpr char kPayAndLook[] = R"(
return function(message)
  local text = ""
  for _, name in ipairs { "pay", "look" } do
    local content, outcome = baleen.call(name, { x = tonumber(message) })
    text = text .. outcome .. ":" .. content .. "|"
  end
  return text
end)";

}  // namespace

TEST_CASE("AScriptsPolicyTightensTheSessionsAndLoosensNothing") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  // The session allows everything: what the script says counts.
  auto strict = Scripted("strict", std::string(R"(policy {
    deny { tool = "pay", args = { x = "1*" }, why = "too dear" },
    ask { tool = "look", why = "it is private" } })") +
                                       kPayAndLook);
  strict.settings.policy.rules = {{"*", "", "allow", ""}};
  REQUIRE_OK(runtime->CreateSession(strict));
  Shop host(*runtime, "strict");
  std::string turn = Start(*runtime, "strict", "12");
  const ApprovalView asked = Pending(*runtime, "strict");
  CHECK(asked.description == "it is private");
  CHECK(asked.calls.at(0).name == "look");
  Answer(*runtime, asked, true);
  TurnView view = End(*runtime, "strict", turn);
  CHECK(view.text ==
        R"(DENIED:This call was not run: the script denies it (too dear).|OK:{"x":12}|)");
  CHECK(host.ran() == "look ");

  // The session denies and asks: the script can't say otherwise.
  auto loose = Scripted("loose", std::string(R"(policy { allow { tool = "*" } })") + kPayAndLook);
  loose.settings.policy.rules = {{"pay", "", "deny", "never"}, {"look", "", "ask", "mine"}};
  REQUIRE_OK(runtime->CreateSession(loose));
  Shop other(*runtime, "loose");
  turn = Start(*runtime, "loose");
  const ApprovalView mine = Pending(*runtime, "loose");
  CHECK(mine.description == "mine");
  Answer(*runtime, mine, false);
  view = End(*runtime, "loose", turn);
  CHECK(view.text.starts_with(
      "DENIED:This call was not run: the session's policy denies it (never).|DENIED:"));
  CHECK(other.ran().empty());
}

TEST_CASE("ASessionTellsRulesThatAreAboutNoneOfItsToolsOrCantDecide") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  const std::string script =
      std::string("\npolicy { deny { tool = 'py' }, ask { tool = 'look' } }") + "\n" + kPayAndLook;
  auto request = Scripted("odd", script);
  request.settings.script_name = "odd.lua";
  request.settings.policy.rules = {{"wirte", "", "allow", ""}, {"github_*", "", "allow", ""},
                                   {"bash", "", "deny", ""},   {"pay", "", "allow", ""},
                                   {"p*", "", "ask", ""},      {"*", "EFFECT", "deny", ""}};
  const std::vector<std::string> expected = {
      "policy, rule 1: this allow is about no tool of this session: none is called 'wirte'; did "
      "you "
      "mean 'write'?",
      "policy, rule 2: this allow is about no tool of this session: none matches 'github_*'",
      "policy, rule 4: this allow of 'pay' never decides: the ask of 'p*' (rule 5) is of every "
      "such "
      "call, and the strictest rule counts",
      "odd.lua:2: this deny is about no tool of this session: none is called 'py'"};
  CHECK(Must(runtime->CreateSession(request)).policy_notes == expected);
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  CHECK(Must(runtime->GetSession("odd")).policy_notes == expected);
  UpdateSessionRequest update;
  update.session = "odd";
  update.mask = {"policy"};
  update.settings.policy.rules = {{"pay", "", "ask", ""}};
  CHECK(Must(runtime->UpdateSession(update)).policy_notes ==
        std::vector<std::string>{expected.back()});
  auto plain = Scripted("plain", kPayAndLook);
  plain.settings.policy.rules = {{"look", "", "allow", ""}, {"glob", "", "deny", ""}};
  CHECK(Must(runtime->CreateSession(plain)).policy_notes.empty());
}

constexpr char kDouble[] = R"(
tool "double" {
  about = "Doubles, with a look first.",
  args = { x = int "How many" },
  run = function(args)
    local content = baleen.call("look", { x = args.x })
    return 2 * args.x .. " after " .. content
  end,
}
return function(message)
  local content, outcome = baleen.call("double", { x = tonumber(message) })
  return outcome .. ":" .. content
end)";

TEST_CASE("ToolsOfAScriptGoThroughTheSessionsPolicyAndItsJournal") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Scripted("free", kDouble)));
  const SessionView view = Must(runtime->GetSession("free"));
  REQUIRE(view.settings.script_tools.size() == 1);
  CHECK(view.settings.script_tools[0].name == "double");
  Shop host(*runtime, "free");
  CHECK(End(*runtime, "free", Start(*runtime, "free", "21")).text == R"(OK:42 after {"x":21})");
  CHECK(Count(*runtime, "free", "tool_calls") == 2);
  // The schema is the one that the model is told, and is checked like any other.
  const TurnView wrong = End(*runtime, "free", Start(*runtime, "free", "1.5"));
  CHECK(wrong.text.starts_with("ERROR:"));
  CHECK(Count(*runtime, "free", "tool_calls") == 3);

  auto denied = Scripted("denied", kDouble);
  denied.settings.policy.rules = {{"double", "", "deny", "no doubling"}};
  REQUIRE_OK(runtime->CreateSession(denied));
  CHECK(End(*runtime, "denied", Start(*runtime, "denied")).text ==
        "DENIED:This call was not run: the session's policy denies it (no doubling).");
}

TEST_CASE("AToolOfAScriptThatWaitsForLeaveRunsAfterARestart") {
  const TempDirectory temp;
  std::string turn;
  auto request = Scripted("s", kDouble);
  request.settings.policy.rules = {{"double", "", "ask", "it doubles"}};
  {
    const auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(request));
    turn = Start(*runtime, "s", "4");
    Pending(*runtime, "s");
  }
  const auto runtime = OpenRuntime(Options(temp));
  Shop host(*runtime, "s");
  Answer(*runtime, Pending(*runtime, "s"), true);
  CHECK(End(*runtime, "s", turn).text == R"(OK:8 after {"x":4})");
}

constexpr char kAtOnce[] = R"(
tool "buy" {
  about = "Pays, and looks what came.",
  args = { x = int "How much" },
  traits = { idempotent = true, parallel = true },
  run = function(args)
    local paid, outcome = baleen.call("pay", { x = args.x })
    return outcome .. paid .. " then " .. baleen.call("look", { x = args.x + 10 })
  end,
}
return function(message)
  local calls, text = {}, ""
  for i = 1, 3 do calls[i] = { name = "buy", arguments = { x = i } } end
  for _, result in ipairs(baleen.call_tools(calls)) do text = text .. result.content .. "|" end
  return text
end)";

TEST_CASE("BodiesThatRunAtOnceAreAskedAboutTogetherAndGoOnAfterRestarts") {
  const TempDirectory temp;
  auto request = Scripted("s", kAtOnce);
  request.settings.host_tools[1].effect = EffectClass::kPure;
  request.settings.policy.rules = {{"pay", "", "ask", "it costs"}, {"buy", "", "allow", ""}};
  std::string turn;
  {
    const auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(request));
    turn = Start(*runtime, "s");
    const ApprovalView asked = Pending(*runtime, "s");
    REQUIRE(asked.calls.size() == 3);
    for (int i = 0; i < 3; ++i) {
      CHECK(asked.calls[i].arguments == "{\"x\":" + std::to_string(i + 1) + "}");
    }
    CHECK(Count(*runtime, "s", "tool_calls") == 2);  // theirs, and one of the three bodies
  }
  {
    const auto runtime = OpenRuntime(Options(temp));
    Host cashier([](const ToolCall& call) { return call.arguments; });
    cashier.Serve(*runtime, "s", {"pay"});
    Answer(*runtime, Pending(*runtime, "s"), true);
    // Until each has gone on to look, which nobody does here.
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", "", false}, &recorder));
    REQUIRE(recorder.WaitFor("tool_calls", 3));
    CHECK(cashier.ran().size() == 3);
  }
  const auto runtime = OpenRuntime(Options(temp));
  Shop host(*runtime, "s");
  CHECK(End(*runtime, "s", turn).text == R"(OK{"x":1} then {"x":11}|OK{"x":2} then {"x":12}|)"
                                         R"(OK{"x":3} then {"x":13}|)");
  CHECK(host.ran() == "look look look ");
  CHECK(Count(*runtime, "s", "tool_calls") == 3);
}

TEST_CASE("AScriptThatDoesNotLoadMakesNoSession") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  const std::pair<const char*, const char*> cases[] = {
      {"\nerror 'not today'", "script.lua:2: not today"},
      {"policy { deny { tool = 'a', match = { { tool = 'b' } } } }", "doesn't match b {}"},
      {"tool 'pay' { about = 'P', run = function() end }", "'pay'"},
      {"local x = 1", "must return function(message), or declare"},
  };
  for (const auto& [script, expected] : cases) {
    CAPTURE(script);
    const auto made = runtime->CreateSession(Scripted("s", script));
    CAPTURE(made.status().ToString());
    CHECK(!made.ok());
    CHECK(made.status().message().find(expected) != std::string::npos);
  }
  auto claims = Scripted("s", "");
  claims.settings.script_tools = {Spec("mine")};
  CHECK(runtime->CreateSession(claims).status().reason() == "BAD_FIELD");
}

constexpr char kFlow[] = R"(
local s = session.current()
flow("pay", { budget = { tool_calls = 1 } }, function(f, input)
  local begun = f:now()
  s:call("look", { x = 1 })
  f:sleep("100ms")
  f:approve { title = "Pay " .. input, euros = 5 }
  local paid = s:call("pay", { x = 5 })
  return begun .. " " .. paid.outcome
end))";

TEST_CASE("AScriptThatIsKeptMakesSessionsAndOutlivesNeitherChangesNorItsOwnEnd") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  const auto put = [&](const std::string& source, const std::string& name = "greet") {
    return runtime->PutScript({name, source, false});
  };
  const ScriptView kept = Must(put("return function(message) return 'one ' .. message end"));
  CHECK(kept.notes.empty());
  CHECK(kept.updated_ms > 0);
  CreateSessionRequest request;
  request.session = "first";
  request.stored_script = "greet";
  const SessionView first = Must(runtime->CreateSession(request));
  CHECK(first.settings.script == kept.source);
  CHECK(first.settings.script_name == "greet.lua");
  // Notes are no reason to refuse; what doesn't load is, and leaves what was there.
  const ScriptView noted =
      Must(put("local function f() return ipars end return function() return 'two' end"));
  REQUIRE(noted.notes.size() == 1);
  CHECK(noted.notes[0].line == 1);
  CHECK(noted.notes[0].message.find("ipars") != std::string::npos);
  CHECK(put("return function(").status().message().find("greet.lua:1:") != std::string::npos);
  CHECK(put("return function() end", "No Name").status().reason() == "BAD_FIELD");
  CHECK(put("return function() end --" + std::string(300'000, 'x'), "big").status().code() ==
        StatusCode::kInvalidArgument);
  Must(runtime->PutScript({"", "return function() return '' end", true}));
  Must(put("return function() return 'b' end", "another"));
  const auto list = Must(runtime->ListScripts(0, ""));
  REQUIRE(list.size() == 2);
  CHECK(list[0].script == "another");
  CHECK(list[1].bytes == std::ssize(noted.source));
  CHECK(list[1].source.empty());
  CHECK(Must(runtime->ListScripts(1, "another"))[0].script == "greet");

  // A backup has them, and so has the next process.
  REQUIRE_OK(runtime->Backup(temp.File("copy")));
  REQUIRE_OK(runtime->DeleteScript("another"));
  CHECK(runtime->DeleteScript("another").reason() == "SCRIPT_UNKNOWN");
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  CHECK(Must(runtime->GetScript("greet")).source == noted.source);
  request.session = "second";
  REQUIRE_OK(runtime->CreateSession(request));
  CHECK(End(*runtime, "first", Start(*runtime, "first", "x")).text == "one x");
  CHECK(End(*runtime, "second", Start(*runtime, "second", "x")).text == "two");
  request.session = "third";
  request.stored_script = "none";
  CHECK(runtime->CreateSession(request).status().reason() == "SCRIPT_UNKNOWN");
  request.stored_script = "../greet";
  CHECK(runtime->CreateSession(request).status().reason() == "BAD_FIELD");
  request.stored_script = "greet";
  request.settings.script = "return function() return '' end";
  CHECK(runtime->CreateSession(request).status().reason() == "BAD_FIELD");
  runtime.reset();
  RuntimeOptions copy = Options(temp);
  copy.data_dir = temp.File("copy");
  CHECK(Must(OpenRuntime(copy)->ListScripts(0, "")).size() == 2);
}

TEST_CASE("AFlowGoesOnOverRestartsAtTheStepThatItHadReached") {
  const TempDirectory temp;
  std::string turn, begun;
  {
    const auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(Scripted("s", kFlow)));
    Shop host(*runtime, "s");
    turn = Start(*runtime, "s", "ben");
    const ApprovalView approval = Pending(*runtime, "s");
    CHECK(approval.subject == "flow");
    CHECK(approval.title == "Pay ben");
    CHECK(approval.description == "euros: 5");
    CHECK(approval.allowed_decisions == std::vector<std::string>{"grant:once", "deny"});
    CHECK(Must(runtime->GetTurn("s", turn)).waiting_on == "APPROVAL");
    for (const Event& event : AllEvents(*runtime, "s")) {
      if (event.kind != "step_ended" || !begun.empty()) continue;
      const auto payload = Parse(event.payload);
      if (payload["event"]["kind"] != "clock") continue;
      begun = std::to_string(payload["event"]["unix_ms"].get<int64_t>() / 1000);
    }
  }
  {
    const auto runtime = OpenRuntime(Options(temp));
    Shop host(*runtime, "s");
    Answer(*runtime, Pending(*runtime, "s"), true);
    // Its second call is one more than the flow may make: it asks, and waits over a restart too.
    const ApprovalView budget = Pending(*runtime, "s", 2);
    CHECK(budget.subject == "budget");
    CHECK(budget.budget.owner == "pay@1");
    CHECK(budget.budget.resource == "tool_calls");
    CHECK(budget.budget.spent == 1);
    CHECK(host.ran().empty());
  }
  const auto runtime = OpenRuntime(Options(temp));
  Shop host(*runtime, "s");
  Answer(*runtime, Pending(*runtime, "s", 2), true);
  const TurnView view = End(*runtime, "s", turn);
  CHECK(view.error.ToString() == "OK");
  CHECK(view.text == begun + " OK");
  CHECK(host.ran() == "pay ");
  CHECK(Count(*runtime, "s", "approval_requested") == 2);
  CHECK(Count(*runtime, "s", "step_started") == Count(*runtime, "s", "step_ended"));
}

TEST_CASE("ADeniedStepEndsTheFlowWithItsReason") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Scripted("s", kFlow)));
  Shop host(*runtime, "s");
  const std::string turn = Start(*runtime, "s", "ben");
  Answer(*runtime, Pending(*runtime, "s"), false, "not him");
  const TurnView view = End(*runtime, "s", turn);
  CHECK(view.state == TurnState::kFailed);
  CHECK(view.error.message().find("script.lua:7: 'Pay ben' was denied by ann: not him") !=
        std::string::npos);
  CHECK(host.ran() == "look ");
}

TEST_CASE("ASleepIsSeenCancelledAndSleptToItsEndOverARestart") {
  const TempDirectory temp;
  std::string turn;
  const std::string sleeps =
      R"(flow("nap", function(f, input) f:sleep(input) return "rested" end))";
  {
    const auto runtime = OpenRuntime(Options(temp));
    REQUIRE_OK(runtime->CreateSession(Scripted("long", sleeps)));
    REQUIRE_OK(runtime->CreateSession(Scripted("short", sleeps)));
    turn = Start(*runtime, "long", "300d");
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"long", "", true}, &recorder));
    REQUIRE(recorder.WaitFor("waiting"));
    CHECK(Must(runtime->GetTurn("long", turn)).waiting_on == "SLEEP");
    Start(*runtime, "short", "1s");
    Recorder second;
    const auto also = Must(runtime->Watch({"short", "", true}, &second));
    REQUIRE(second.WaitFor("step_started"));
  }
  const auto runtime = OpenRuntime(Options(temp));
  CHECK(End(*runtime, "short", "t1").text == "rested");
  CHECK(Must(runtime->GetTurn("long", turn)).waiting_on == "SLEEP");
  REQUIRE_OK(runtime->CancelTurn("long", turn));
  CHECK(End(*runtime, "long", turn).state == TurnState::kCancelled);
}

constexpr char kCompacts[] = R"(
local s = session.current()
flow("long", function(f, input)
  local _, nothing = pcall(s.compact, s)
  s:ask(input, { max_tokens = 8, tools = "none" })
  local summary = s:compact { keep = "the door is blue" }
  f:approve { title = "Go on" }
  s:ask("And now?", { max_tokens = 8, tools = "none" })
  return { summary = summary, nothing = nothing }
end))";

TEST_CASE("AScriptCompactsItsContextOnceAlsoOverARestart") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Scripted("s", kCompacts)));
  const std::string turn = Start(*runtime, "s", std::string(400, 'w'));
  Pending(*runtime, "s");
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  Answer(*runtime, Pending(*runtime, "s"), true);
  const TurnView view = End(*runtime, "s", turn);
  CAPTURE(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  const auto result = Parse(view.text);
  CHECK(result["nothing"].get<std::string>().find("no context that could be") != std::string::npos);
  CHECK(Count(*runtime, "s", "compaction_started") == 1);
  CHECK(Count(*runtime, "s", "compacted") == 1);
  for (const Event& event : AllEvents(*runtime, "s")) {
    if (event.kind != "compacted") continue;
    CHECK(Parse(event.payload)["summary"] == result["summary"]);
    CHECK(Parse(event.payload)["notes"].dump() == R"(["the door is blue"])");
  }
  const SessionView session = Must(runtime->GetSession("s"));
  CHECK(session.context_tokens < session.tokens);
}

TEST_CASE("AStepThatDiffersFromItsJournalIsRefusedAndNothingRuns") {
  const TempDirectory temp;
  {
    REQUIRE_OK(OpenRuntime(Options(temp))->CreateSession(Scripted("s", kPayAndLook)));
  }
  // What another script would have left: it looked first.
  {
    JournalOptions options;
    options.path = temp.File("data") + "/journal.db";
    const auto journal = Must(Journal::Open(options));
    SessionRecord record = Must(journal->GetSession("s"));
    TurnStart start;
    start.turn = "t1";
    start.input = "1";
    start.tokens_max = 10;
    ToolProposal proposal;
    proposal.turn = "t1";
    proposal.step = 1;
    proposal.effect = EffectToJson(CallToolsEffect{{{"c1", "look", R"({"x":1})"}}});
    JournalBatch batch;
    for (const auto& [kind, payload] :
         {std::pair<const char*, std::string>{event_kind::kTurnStarted, TurnStartToJson(start)},
          {event_kind::kToolCalls, ToolProposalToJson(proposal)}}) {
      EventRecord event;
      event.session = "s";
      event.kind = kind;
      event.payload = payload;
      event.seq = ++record.last_seq;
      batch.events.push_back(event);
    }
    REQUIRE_OK(journal->Commit(batch, Durability::kSynced));
  }
  const auto runtime = OpenRuntime(Options(temp));
  Shop host(*runtime, "s");
  const TurnView view = End(*runtime, "s", "t1");
  CHECK(view.state == TurnState::kFailed);
  CHECK(view.error.reason() == "SCRIPT_CHANGED");
  CHECK(host.ran().empty());
}

}  // namespace baleen
