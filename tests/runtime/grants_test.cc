// Grants: how long they hold, what revokes them, and what is listed of them and of tools and
// models.
#include <map>
#include <set>

#include "tests/runtime/calling_session.h"
#include "tests/runtime/waiting_turns.h"

namespace baleen {
namespace {

/// A turn whose calls are asked about, and granted so far; answers what was granted.
ApprovalView Grant(Runtime& runtime, const std::string& session, GrantScope scope,
                   int64_t number = 1) {
  const std::string turn = Start(runtime, session);
  ResolveApprovalRequest yes = Resolve(Pending(runtime, session, number), true, scope);
  yes.resolved_by = "ann";
  yes.reason = "they are harmless";
  const ApprovalView granted = Must(runtime.ResolveApproval(yes));
  REQUIRE(TextOf(runtime, session, turn) == "OK:first|OK:second|");
  return granted;
}

RevokeGrantRequest Revoke(const ApprovalView& approval) {
  RevokeGrantRequest request;
  request.session = approval.session;
  request.approval = approval.approval;
  request.revoked_by = "bob";
  request.request_id = "revoke-" + approval.session;
  return request;
}

/// Whether the session's next turn has to ask; it is cancelled then.
bool Asks(Runtime& runtime, const std::string& session) {
  const std::string turn = Start(runtime, session);
  while (true) {
    const TurnView view = Must(runtime.GetTurn(session, turn));
    if (view.state != TurnState::kRunning) {
      REQUIRE(TextOf(runtime, session, turn) == "OK:first|OK:second|");
      return false;
    }
    if (!Must(runtime.GetSession(session)).pending_approvals.empty()) break;
    std::this_thread::yield();
  }
  REQUIRE_OK(runtime.CancelTurn(session, turn));
  REQUIRE(Must(runtime.WaitTurn(session, turn, kPatienceMs)).state == TurnState::kCancelled);
  return true;
}

std::vector<GrantView> GrantsOf(Runtime& runtime, const std::string& session) {
  ListGrantsRequest request;
  request.session = session;
  return Must(runtime.ListGrants(request));
}

}  // namespace

TEST_CASE("BeyondItsTurnAGrantOfACommandIsOfThatCommand") {
  const TempDirectory temp;
  temp.Write("work/a.txt", "a");
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest session;
  session.session = "s";
  session.settings.workspace = temp.File("work");
  session.settings.tools = {"bash"};
  session.settings.script = R"(return function(message)
    for command in message:gmatch("[^|]+") do baleen.call("bash", { command = command }) end
    return "done"
  end)";
  REQUIRE_OK(runtime->CreateSession(session));
  int64_t number = 0;
  // Whether a turn with these commands asks once more than `granted`, which are answered so.
  const auto asks = [&](const std::string& commands, std::vector<GrantScope> granted) {
    StartTurnRequest request;
    request.session = "s";
    request.input = {commands};
    const std::string turn = Must(runtime->StartTurn(request)).turn;
    for (const GrantScope scope : granted) {
      number += 1;
      REQUIRE_OK(runtime->ResolveApproval(Resolve(Pending(*runtime, "s", number), true, scope)));
    }
    while (true) {
      const TurnView view = Must(runtime->GetTurn("s", turn));
      if (view.state != TurnState::kRunning) {
        Must(runtime->WaitTurn("s", turn, kPatienceMs));  // its end is on its way to the disk
        return false;
      }
      if (!Must(runtime->GetSession("s")).pending_approvals.empty()) break;
      std::this_thread::yield();
    }
    number += 1;
    REQUIRE_OK(runtime->CancelTurn("s", turn));
    Must(runtime->WaitTurn("s", turn, kPatienceMs));
    return true;
  };
  CHECK(asks("true", {}));
  CHECK_FALSE(asks("true|false", {GrantScope::kTurn}));  // all of that turn's
  CHECK(asks("true", {}));
  CHECK_FALSE(asks("true|true", {GrantScope::kSession}));
  CHECK_FALSE(asks("true", {}));
  CHECK(asks("true ; rm a.txt", {}));
  CHECK(asks("false", {}));
  CHECK_FALSE(asks("false", {GrantScope::kWorkspace}));
  CHECK_FALSE(asks("false|true", {}));
  const std::string same(300, 'x');
  CHECK_FALSE(asks("echo " + same + "1", {GrantScope::kSession}));
  CHECK_FALSE(asks("echo " + same + "1", {}));
  CHECK(asks("echo " + same + "2", {}));
  const auto grants = GrantsOf(*runtime, "s");
  REQUIRE(grants.size() == 3);
  CHECK(grants[0].tools == std::vector<std::string>{"bash true"});
  CHECK(FileContent(temp.File("work/a.txt")) == "a");
}

TEST_CASE("AGrantIsListedAndHoldsUntilItIsRevoked") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  ApprovalView granted;
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Asking("s")));
    Host host;
    host.Serve(*runtime, "s");
    granted = Grant(*runtime, "s", GrantScope::kSession);
    const auto grants = GrantsOf(*runtime, "s");
    REQUIRE(grants.size() == 1);
    REQUIRE(grants[0].session == "s");
    REQUIRE(grants[0].approval == granted.approval);
    REQUIRE(grants[0].scope == GrantScope::kSession);
    REQUIRE(grants[0].workspace.empty());
    REQUIRE(grants[0].tools == std::vector<std::string>{"first", "second"});
    REQUIRE(grants[0].granted_by == "ann");
    REQUIRE(grants[0].reason == "they are harmless");
    REQUIRE(grants[0].granted_ms == granted.resolved_ms);
    REQUIRE_FALSE(Asks(*runtime, "s"));
    const GrantView gone = Must(runtime->RevokeGrant(Revoke(granted)));
    REQUIRE(gone.tools == grants[0].tools);
    REQUIRE(GrantsOf(*runtime, "s").empty());
    REQUIRE(Asks(*runtime, "s"));
    // A repeat gets the first answer; anything else is told that there is no such grant.
    REQUIRE(Must(runtime->RevokeGrant(Revoke(granted))).granted_ms == gone.granted_ms);
    RevokeGrantRequest again = Revoke(granted);
    again.request_id.clear();
    REQUIRE(runtime->RevokeGrant(again).status().reason() == "ITEM_UNKNOWN");
    again.session = "nobody";
    REQUIRE(runtime->RevokeGrant(again).status().reason() == "SESSION_UNKNOWN");
  }
  const auto runtime = OpenRuntime(options);
  REQUIRE(GrantsOf(*runtime, "s").empty());
  REQUIRE(GrantsOf(*runtime, "").empty());
  REQUIRE(Must(runtime->RevokeGrant(Revoke(granted))).granted_by == "ann");
  const ApprovalView view = Must(runtime->GetApproval("s", granted.approval));
  REQUIRE(view.state == ApprovalState::kRevoked);
  REQUIRE(view.resolved_by == "ann");
  REQUIRE(view.resolved_ms == granted.resolved_ms);
  REQUIRE(view.revoked_by == "bob");
  REQUIRE(view.revoked_ms >= granted.resolved_ms);
  Host host;
  host.Serve(*runtime, "s");
  REQUIRE(Asks(*runtime, "s"));
}

TEST_CASE("NoRewindAndNoForkBringsARevokedGrantBack") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(Asking("s")));
  RewindRequest rewind;
  rewind.session = "s";
  {
    Host host;
    host.Serve(*runtime, "s");
    const ApprovalView granted = Grant(*runtime, "s", GrantScope::kSession);
    REQUIRE_FALSE(Asks(*runtime, "s"));
    // Another timeline, on which it holds as well.
    rewind.to.turn = "t1";
    REQUIRE_OK(runtime->RewindSession(rewind));
    REQUIRE(GrantsOf(*runtime, "s").size() == 1);
    REQUIRE_OK(runtime->RevokeGrant(Revoke(granted)));
    // To the point between, to the timeline that was left, and to a point of that one.
    REQUIRE_OK(runtime->RewindSession(rewind));
    REQUIRE(GrantsOf(*runtime, "s").empty());
    rewind.to = {};
    rewind.to.timeline = 1;
    REQUIRE_OK(runtime->RewindSession(rewind));
    REQUIRE(Must(runtime->GetSession("s")).timeline == 1);
    REQUIRE(GrantsOf(*runtime, "s").empty());
    rewind.to.turn = "t1";
    REQUIRE_OK(runtime->RewindSession(rewind));
    REQUIRE(GrantsOf(*runtime, "s").empty());
    REQUIRE(Asks(*runtime, "s"));
  }
  ForkRequest fork;
  fork.session = "s";
  fork.fork = "f";
  fork.at.turn = "t1";
  fork.at.timeline = 2;
  REQUIRE_OK(runtime->ForkSession(fork));
  REQUIRE(GrantsOf(*runtime, "f").empty());
  runtime.reset();
  runtime = OpenRuntime(options);
  REQUIRE(GrantsOf(*runtime, "").empty());
  Host host;
  host.Serve(*runtime, "f");
  REQUIRE(Asks(*runtime, "f"));
}

TEST_CASE("AWorkspacesGrantIsRevokedInForksToo") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  const std::string workspace = SmallWorkspace();
  REQUIRE_OK(runtime->CreateSession(Asking("a", workspace)));
  REQUIRE_OK(runtime->CreateSession(Asking("b", workspace)));
  std::map<std::string, Host> hosts;
  for (const char* id : {"a", "b"}) hosts[id].Serve(*runtime, id);
  const ApprovalView granted = Grant(*runtime, "a", GrantScope::kWorkspace);
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "c";
  REQUIRE_OK(runtime->ForkSession(fork));
  REQUIRE_FALSE(Asks(*runtime, "b"));
  // Seen from each of them: whose it is, and that of the fork.
  REQUIRE(GrantsOf(*runtime, "b").size() == 2);
  REQUIRE(GrantsOf(*runtime, "b").front().workspace == workspace);
  REQUIRE(GrantsOf(*runtime, "").size() == 2);
  RevokeGrantRequest request = Revoke(granted);
  request.session = "b";
  REQUIRE(runtime->RevokeGrant(request).status().reason() == "ITEM_UNKNOWN");  // it isn't b's
  REQUIRE_OK(runtime->RevokeGrant(Revoke(granted)));
  REQUIRE(GrantsOf(*runtime, "").empty());
  for (const char* id : {"a", "b"}) REQUIRE(Asks(*runtime, id));
  REQUIRE(Must(runtime->GetApproval("c", granted.approval)).state == ApprovalState::kRevoked);
}

TEST_CASE("ApprovalsAndGrantsAreListedInPages") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  std::map<std::string, Host> hosts;
  for (const char* id : {"z", "a", "m"}) {
    REQUIRE_OK(runtime->CreateSession(Asking(id)));
    hosts[id].Serve(*runtime, id);
  }
  REQUIRE_OK(runtime->CreateSession(Asking("never-asked")));
  std::vector<std::string> expected;
  for (const SessionView& session : Must(runtime->ListSessions(10, "", nullptr))) {
    const std::string id = session.session;
    if (id == "never-asked") continue;
    for (int64_t number = 1; number <= 2; ++number) {
      const ApprovalView granted = Grant(*runtime, id, GrantScope::kSession, number);
      expected.push_back(id + "/" + granted.approval);
      if (number == 2) break;
      RevokeGrantRequest gone = Revoke(granted);  // so that the next turn asks again
      gone.request_id.clear();
      REQUIRE_OK(runtime->RevokeGrant(gone));
      expected.pop_back();
    }
  }
  for (int64_t size = 1; size <= 4; ++size) {
    std::vector<std::string> seen;
    ListGrantsRequest request;
    request.grants_max = size;
    while (true) {
      const auto page = Must(runtime->ListGrants(request));
      if (page.empty()) break;
      REQUIRE(std::ssize(page) <= size);
      for (const GrantView& grant : page) seen.push_back(grant.session + "/" + grant.approval);
      request.after = seen.back();
    }
    REQUIRE(seen == expected);
  }
  ListApprovalsRequest request{"z", true};
  request.approvals_max = 1;
  const auto first = Must(runtime->ListApprovals(request));
  REQUIRE(first.size() == 1);
  REQUIRE(first[0].state == ApprovalState::kRevoked);
  request.after = "z/" + first[0].approval;
  const auto second = Must(runtime->ListApprovals(request));
  REQUIRE(second.size() == 1);
  REQUIRE(second[0].state == ApprovalState::kGranted);
  request.after = "z/" + second[0].approval;
  REQUIRE(Must(runtime->ListApprovals(request)).empty());
  request.approvals_max = -1;
  REQUIRE(runtime->ListApprovals(request).status().reason() == "BAD_FIELD");
}

TEST_CASE("ToolsAreListedWithWhereTheyRunAndModelsWithWhatTheyAre") {
  const TempDirectory temp;
  const RuntimeOptions options = Options(temp);
  const auto runtime = OpenRuntime(options);
  CreateSessionRequest request = Asking("s", SmallWorkspace());
  request.settings.tools = {"glob"};
  REQUIRE_OK(runtime->CreateSession(request));
  const auto listed = [&] {
    std::string names;
    for (const ToolView& tool : Must(runtime->ListTools("s"))) {
      names += tool.spec.name + ":" + tool.origin + (tool.available ? " " : "? ");
    }
    return names;
  };
  const std::string own = "read:builtin list:builtin grep:builtin glob:builtin ";
  REQUIRE(listed() == own + "first:host? second:host? ");
  {
    Host host;
    host.Serve(*runtime, "s");
    REQUIRE(listed() == own + "first:host second:host ");
  }
  std::set<std::string> names;
  for (const ToolView& tool : Must(runtime->ListTools(""))) {
    REQUIRE(tool.origin == "builtin");
    REQUIRE(Parse(tool.spec.parameters).is_object());
    names.insert(tool.spec.name);
  }
  for (const char* name : {"read", "grep", "write", "edit", "bash"}) REQUIRE(names.contains(name));
  REQUIRE(runtime->ListTools("nobody").status().reason() == "SESSION_UNKNOWN");
  const auto models = Must(runtime->ListModels());
  const RuntimeStats stats = Must(runtime->Stats());
  REQUIRE(models.size() == 1);
  REQUIRE(models[0].engine.empty());
  REQUIRE(models[0].fingerprint == stats.fingerprint);
  REQUIRE(models[0].arithmetic_id == stats.arithmetic_id);
  REQUIRE(models[0].context_tokens_max > 0);
  REQUIRE(models[0].layers > 0);
}

}  // namespace baleen
