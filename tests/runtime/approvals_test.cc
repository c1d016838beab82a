// Approvals: what is asked, by whom it is answered, how far a grant goes, and what of it outlives
// the process. And: no call without a result, however its turn ends.
#include <set>

#include "runtime/sessions/call_results.h"
#include "runtime/sessions/policy.h"
#include "tests/runtime/waiting_turns.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

int64_t Count(const std::vector<Event>& events, const std::string& kind) {
  return std::count_if(events.begin(), events.end(),
                       [&](const Event& event) { return event.kind == kind; });
}

}  // namespace

TEST_CASE("ADenialIsToldToTheModelAndNothingRuns") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Asking("s")));
  Host host;
  host.Serve(*runtime, "s");
  const std::string turn = Start(*runtime, "s");
  const ApprovalView approval = Pending(*runtime, "s");
  REQUIRE(approval.calls.size() == 2);
  REQUIRE(approval.calls[0].name == "first");
  REQUIRE(Parse(approval.calls[0].arguments)["x"] == 1);
  REQUIRE(approval.description == "it changes things");
  REQUIRE(approval.requester == "s/" + turn);
  // The wait can be seen wherever one looks.
  const SessionView view = Must(runtime->GetSession("s"));
  REQUIRE(view.state == SessionState::kRequiresAction);
  REQUIRE(view.pending_approvals == std::vector<std::string>{approval.approval});
  const TurnView waiting = Must(runtime->GetTurn("s", turn));
  REQUIRE(waiting.waiting_on == "APPROVAL");
  REQUIRE(waiting.waiting_since_ms == approval.requested_ms);
  ResolveApprovalRequest no = Resolve(approval, false);
  no.reason = "too dear";
  no.resolved_by = "ann";
  const ApprovalView denied = Must(runtime->ResolveApproval(no));
  REQUIRE(denied.state == ApprovalState::kDenied);
  REQUIRE(denied.resolved_by == "ann");
  const std::string text = TextOf(*runtime, "s", turn);
  REQUIRE(text.starts_with("DENIED:"));
  REQUIRE(text.find("too dear") != std::string::npos);
  REQUIRE(host.ran().empty());
  REQUIRE(Count(AllEvents(*runtime, "s"), "tool_dispatched") == 0);
  REQUIRE(Must(runtime->GetSession("s")).state == SessionState::kIdle);
}

TEST_CASE("AnyPartOfWhatIsAskedCanBeGranted") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Asking("s")));
  Host host;
  host.Serve(*runtime, "s");
  const std::string turn = Start(*runtime, "s");
  const ApprovalView approval = Pending(*runtime, "s");
  ResolveApprovalRequest part = Resolve(approval, true);
  part.calls = {approval.calls[1].id};
  REQUIRE(Must(runtime->ResolveApproval(part)).granted_calls == part.calls);
  const std::string text = TextOf(*runtime, "s", turn);
  REQUIRE(text.starts_with("DENIED:"));
  REQUIRE(text.find("|OK:second|") != std::string::npos);
  REQUIRE(host.ran() == std::vector<std::string>{"second"});
}

TEST_CASE("AGrantGoesAsFarAsItsScope") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  const std::string workspace = SmallWorkspace();
  std::map<std::string, Host> hosts;
  for (const char* id : {"a", "b", "c"}) {
    REQUIRE_OK(runtime->CreateSession(Asking(id, id[0] == 'c' ? "" : workspace)));
    hosts[id].Serve(*runtime, id);
  }
  // Once: the next turn asks again. So does one after a grant for the turn.
  int64_t number = 0;
  for (const GrantScope scope : {GrantScope::kOnce, GrantScope::kTurn, GrantScope::kSession}) {
    const std::string turn = Start(*runtime, "a");
    const ApprovalView approval = Pending(*runtime, "a", ++number);
    REQUIRE_OK(runtime->ResolveApproval(Resolve(approval, true, scope)));
    REQUIRE(TextOf(*runtime, "a", turn) == "OK:first|OK:second|");
  }
  // For the session: it doesn't; another one does.
  REQUIRE(TextOf(*runtime, "a", Start(*runtime, "a")) == "OK:first|OK:second|");
  const std::string turn = Start(*runtime, "b");
  const ApprovalView approval = Pending(*runtime, "b");
  REQUIRE_OK(runtime->ResolveApproval(Resolve(approval, true, GrantScope::kWorkspace)));
  REQUIRE(TextOf(*runtime, "b", turn) == "OK:first|OK:second|");
  // For the workspace: a new session in it needn't ask, one without it must, and may not grant so.
  REQUIRE_OK(runtime->CreateSession(Asking("d", workspace)));
  hosts["d"].Serve(*runtime, "d");
  REQUIRE(TextOf(*runtime, "d", Start(*runtime, "d")) == "OK:first|OK:second|");
  Start(*runtime, "c");
  const ApprovalView other = Pending(*runtime, "c");
  REQUIRE_ERROR(runtime->ResolveApproval(Resolve(other, true, GrantScope::kWorkspace)),
                StatusCode::kInvalidArgument, "doesn't take 'grant:workspace'");
  // A rewind to before the grant takes a session's back; a deleted session's go with it.
  RewindRequest back;
  back.session = "a";
  back.to.turn = "t2";
  REQUIRE_OK(runtime->RewindSession(back));
  REQUIRE(TextOf(*runtime, "a", Start(*runtime, "a")) == "OK:first|OK:second|");  // the workspace's
  DeleteRequest gone;
  gone.session = "b";
  hosts.erase("b");
  REQUIRE_OK(runtime->DeleteSession(gone));
  Start(*runtime, "a");
  Pending(*runtime, "a", 3);
}

TEST_CASE("AnApprovalAndItsGrantsOutliveTheProcess") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  ApprovalView before;
  std::string turn;
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Asking("s", SmallWorkspace())));
    turn = Start(*runtime, "s");
    before = Pending(*runtime, "s");
  }
  {
    const auto runtime = OpenRuntime(options);
    const auto waiting = Must(runtime->ListApprovals({"", false}));
    REQUIRE(waiting.size() == 1);
    REQUIRE(waiting[0].approval == before.approval);
    REQUIRE(waiting[0].requested_ms == before.requested_ms);
    Host host;
    host.Serve(*runtime, "s");
    ResolveApprovalRequest yes = Resolve(before, true, GrantScope::kWorkspace);
    yes.request_id = "once";
    REQUIRE_OK(runtime->ResolveApproval(yes));
    REQUIRE(Must(runtime->ResolveApproval(yes)).state == ApprovalState::kGranted);  // the first's
    REQUIRE(TextOf(*runtime, "s", turn) == "OK:first|OK:second|");
    REQUIRE(host.ran().size() == 2);
    // Answered: a second answer comes too late, and one to nothing is told so.
    REQUIRE(runtime->ResolveApproval(Resolve(before, false)).status().reason() == "NOT_AWAITING");
    ApprovalView none = before;
    none.approval = "t9-a1";
    REQUIRE(runtime->ResolveApproval(Resolve(none, true)).status().reason() == "ITEM_UNKNOWN");
  }
  const auto runtime = OpenRuntime(options);
  const auto all = Must(runtime->ListApprovals({"s", true}));
  REQUIRE(all.size() == 1);
  REQUIRE(all[0].scope == GrantScope::kWorkspace);
  REQUIRE(Must(runtime->ListApprovals({"", false})).empty());
  REQUIRE_OK(runtime->CreateSession(Asking("t", SmallWorkspace())));
  Host host;
  host.Serve(*runtime, "t");
  REQUIRE(TextOf(*runtime, "t", Start(*runtime, "t")) == "OK:first|OK:second|");
}

TEST_CASE("AnApprovalThatNobodyAnswersExpiresAndSaysSo") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  std::string turn;
  {
    const auto runtime = OpenRuntime(options);
    CreateSessionRequest request = Asking("s");
    request.settings.policy.approval_ms_max = 1;
    REQUIRE_OK(runtime->CreateSession(request));
    turn = Start(*runtime, "s");
  }
  // Whether it expired in that process or while none ran.
  const auto runtime = OpenRuntime(options);
  const std::string text = TextOf(*runtime, "s", turn);
  REQUIRE(text.starts_with("DENIED:"));
  REQUIRE(text.find("expired") != std::string::npos);
  const auto all = Must(runtime->ListApprovals({"s", true}));
  REQUIRE(all.at(0).state == ApprovalState::kExpired);
  REQUIRE(all.at(0).resolved_by == "expiry");
}

TEST_CASE("ACancelledTurnLeavesNoCallWithoutAResult") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  const auto runtime = OpenRuntime(options);
  CreateSessionRequest request = Asking("s");
  request.settings.policy.rules = {{"second", "", "ask", ""}};
  REQUIRE_OK(runtime->CreateSession(request));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  // The first waits for a host that never comes, the second for leave.
  const std::string turn = Start(*runtime, "s");
  REQUIRE(recorder.WaitFor("approval_requested"));
  REQUIRE(recorder.WaitFor("tool_dispatched"));
  REQUIRE_OK(runtime->CancelTurn("s", turn));
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
  const auto events = AllEvents(*runtime, "s");
  REQUIRE(events.back().kind == "turn_finished");
  REQUIRE(Count(events, "cancel_requested") == 1);
  for (const Event& event : events) {
    if (event.kind == "approval_resolved") REQUIRE(Parse(event.payload)["state"] == "CANCELLED");
    if (event.kind != "tool_results") continue;
    const auto results = Parse(event.payload)["event"]["results"];
    REQUIRE(results.size() == 2);
    REQUIRE(results[0]["outcome"] == "UNKNOWN");  // offered: nobody knows
    REQUIRE(results[1]["outcome"] == "ABORTED_BEFORE_DISPATCH");
  }
  REQUIRE(Count(events, "tool_results") == 1);
  REQUIRE(Must(runtime->ListApprovals({"", false})).empty());
}

TEST_CASE("WhatTheModelAskedForIsAnsweredInTheContextEvenIfItsTurnEndedBefore") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  CreateSessionRequest request = Asking("s");
  request.settings.script.clear();
  request.settings.constraint.tool_choice = "tool:first";
  request.settings.sampling.seed = 3;
  std::string turn;
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(request));
    turn = Start(*runtime, "s");
    Pending(*runtime, "s");
    REQUIRE_OK(runtime->CancelTurn("s", turn));
    REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
  }
  const auto runtime = OpenRuntime(options);
  const int64_t before = Must(runtime->GetSession("s")).tokens;
  StartTurnRequest next;
  next.session = "s";
  next.input = {"go on"};
  next.constraint = ConstraintSettings{};
  next.constraint->tool_choice = "none";
  next.tokens_max = 4;
  RunTurn(*runtime, next);
  const TokenTrace trace = ReadAll(*runtime, "s");
  std::string text;
  for (size_t i = static_cast<size_t>(before); i < trace.ids.size(); ++i) {
    if (trace.ids[i] >= 3 && trace.ids[i] < 259) text += static_cast<char>(trace.ids[i] - 3);
  }
  INFO(text);
  const size_t result = text.find("<tool_result>ABORTED_BEFORE_DISPATCH");
  REQUIRE(result != std::string::npos);
  REQUIRE(text.find("go on", result) != std::string::npos);
}

TEST_CASE("ACancelThatWasAnsweredHoldsAfterARestart") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  std::string turn;
  {
    const auto runtime = OpenRuntime(options);
    CreateSessionRequest request = Asking("s");
    request.settings.script = R"(return function(message)
      return baleen.generate { user = message, max_tokens = 100000 }.content end)";
    REQUIRE_OK(runtime->CreateSession(request));
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
    turn = Start(*runtime, "s");
    REQUIRE(recorder.WaitFor("delta"));
    REQUIRE_OK(runtime->CancelTurn("s", turn));
  }
  // The runtime went at once; most often before the engine had stopped.
  const auto runtime = OpenRuntime(options);
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kCancelled);
}

TEST_CASE("APolicyDeniesAsksAndAllowsByTheStrictestRule") {
  ToolSpec write = Spec("fs.write");
  ToolSpec read = Spec("fs.read");
  read.effect = EffectClass::kPure;
  PolicySettings policy;
  const auto judge = [&](const ToolSpec& tool, ToolOrigin origin) {
    return JudgeCall(policy, tool, origin, "{}").decision;
  };
  REQUIRE(judge(read, ToolOrigin::kBuiltin) == PolicyDecision::kAllow);
  REQUIRE(judge(write, ToolOrigin::kBuiltin) == PolicyDecision::kAsk);
  REQUIRE(judge(write, ToolOrigin::kHost) == PolicyDecision::kAllow);
  policy.rules = {{"fs.*", "", "allow", ""}};
  REQUIRE(judge(write, ToolOrigin::kBuiltin) == PolicyDecision::kAllow);
  policy.rules.push_back({"*", "EFFECT", "ask", "why"});
  REQUIRE(JudgeCall(policy, write, ToolOrigin::kHost, "{}").why == "why");
  REQUIRE(judge(write, ToolOrigin::kHost) == PolicyDecision::kAsk);
  REQUIRE(judge(read, ToolOrigin::kHost) == PolicyDecision::kAllow);
  policy.rules.push_back({"*.write", "", "deny", ""});
  REQUIRE(judge(write, ToolOrigin::kHost) == PolicyDecision::kDeny);
  for (const auto& [pattern, text, matches] : {std::tuple("", "", true),
                                               {"*", "", true},
                                               {"a*", "abc", true},
                                               {"*c", "abc", true},
                                               {"a*c*", "abcd", true},
                                               {"a*bc", "abbc", true},
                                               {"ab", "abc", false},
                                               {"b*", "abc", false},
                                               {"*a*a*", "a", false},
                                               {"**", "x", true}}) {
    CAPTURE(pattern, text);
    REQUIRE(MatchesWildcard(pattern, text) == matches);
  }
}

TEST_CASE("APolicyJudgesCommandsByTheirParts") {
  const ToolSpec bash = Spec("bash");
  PolicySettings policy;
  policy.rules = {{"bash", "", "allow", "", {{"git"}, {"status", "log"}}},
                  {"bash", "", "deny", "never", {{"rm"}}},
                  {"b*", "EFFECT", "deny", "", {}, "*.key"},
                  {"read", "", "deny", "", {{"git"}}}};
  const auto judge = [&](const std::string& command, ToolOrigin origin = ToolOrigin::kBuiltin) {
    const PolicyVerdict verdict =
        JudgeCall(policy, bash, origin, R"({"command":")" + command + R"("})");
    return std::string(PolicyDecisionName(verdict.decision)) + " by " + verdict.by + " " +
           verdict.why;
  };
  CHECK(judge("git status | git log") ==
        "allow by rule 1: allow bash argv at command 1 `git status`");
  CHECK(judge("git status && rm -rf /") ==
        "deny by rule 2: deny bash argv at command 2 `rm -rf /`: never");
  CHECK(judge("git log > a.key") == "deny by rule 3: deny b* EFFECT writes `> a.key`");
  CHECK(judge("git log; touch a") == "ask by default `touch a`: no rule of the policy names it");
  CHECK(judge("git log; touch a", ToolOrigin::kHost) == "allow by default ");
  CHECK(judge("git $x") ==
        "ask by command it can't be judged by its words: a variable in `git $x`");
  policy.rules.push_back({"bash", "", "allow", ""});
  CHECK(judge("touch a > b") == "allow by rule 5: allow bash ");
  CHECK(judge("touch a; rm b") == "deny by rule 2: deny bash argv at command 2 `rm b`: never");
  CHECK(judge("$x a").starts_with("ask by command "));
  CHECK(JudgeCall(policy, bash, ToolOrigin::kBuiltin, "{}").by == "rule 5: allow bash");
}

TEST_CASE("PoliciesThatAreNoneAreRefusedByName") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  const auto refused = [&](const PolicySettings& policy, const std::string& words) {
    CreateSessionRequest request = Asking("s");
    request.settings.policy = policy;
    REQUIRE_ERROR(runtime->CreateSession(request), StatusCode::kInvalidArgument, words);
  };
  refused({{{"*", "", "perhaps", ""}}, 0}, "decision is 'perhaps'");
  refused({{{"", "", "ask", ""}}, 0}, "expected a tool's name");
  refused({{{"*", "SIDE", "ask", ""}}, 0}, "effect is 'SIDE'");
  refused({{{"*", "", "ask", "", {{"a"}}, "b"}}, 0}, "either argv or writes");
  refused({{{"*", "", "ask", "", {{}}}}, 0}, "alternatives for each word, got 0");
  refused({{}, -1}, "approval_ms_max");
  refused({std::vector<PolicyRule>(257), 0}, "257 rules");
}

TEST_CASE("OwedResultsStandInTheOrderOfTheCalls") {
  const std::vector<ToolCall> calls = {{"c1", "f", "{}"}, {"c2", "g", "{}"}, {"c3", "h", "{}"}};
  Message two;
  two.role = Role::kTool;
  two.tool_call_id = "c2";
  two.content = "two";
  Message user;
  user.content = "hello";
  const auto whole = WithOwedResults({user, two}, calls, {{"c3", ToolOutcome::kOk, "three", 5}});
  REQUIRE(whole.size() == 4);
  REQUIRE(whole[0].content.starts_with("ABORTED_BEFORE_DISPATCH: "));
  REQUIRE(whole[1].content == "two");
  REQUIRE(whole[2].content == "three");
  REQUIRE(whole[3].content == "hello");
  // Nothing owed: as it was, whatever its order.
  REQUIRE(WithOwedResults({user, two}, {calls[1]}, {})[0].content == "hello");
}

TEST_CASE("AnArchivesGrantsAndAllowancesCoverNothingHere") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest request = Asking("s");
  request.settings.policy.rules.push_back({"nothing", "", "allow", ""});
  request.settings.network_hosts = {"example.org"};
  request.settings.policy.ignore_taint = true;
  REQUIRE_OK(runtime->CreateSession(request));
  {
    Host host;
    host.Serve(*runtime, "s");
    const std::string turn = Start(*runtime, "s");
    REQUIRE_OK(
        runtime->ResolveApproval(Resolve(Pending(*runtime, "s"), true, GrantScope::kSession)));
    TextOf(*runtime, "s", turn);
  }
  REQUIRE_OK(runtime->ExportSession("s", temp.File("archive"), {}));
  ImportRequest import;
  import.path = temp.File("archive");
  import.session = "copy";
  const ImportView view = Must(runtime->ImportSession(import, {}));
  REQUIRE(AnyContains(nlohmann::json(view.notes), "grants were left out"));
  REQUIRE(AnyContains(nlohmann::json(view.notes), "allow calls were left out"));
  REQUIRE(AnyContains(nlohmann::json(view.notes), "hosts that commands may reach were left out"));
  REQUIRE(Must(runtime->GetSession("copy")).settings.network_hosts.empty());
  REQUIRE_FALSE(Must(runtime->GetSession("copy")).settings.policy.ignore_taint);
  Start(*runtime, "copy");
  REQUIRE(Pending(*runtime, "copy", 2).calls.size() == 2);
}

}  // namespace baleen
