// Approvals: what is asked, by whom it is answered, how far a grant goes, and what of it outlives
// the process. And: no call without a result, however its turn ends.
#include <set>

#include "runtime/sessions/call_results.h"
#include "runtime/sessions/policy.h"
#include "tests/runtime/fixture.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

/// Calls "first" and "second" with the number that the user gives, and tells what came of it.
constexpr char kTwoCalls[] = R"(
return function(message)
  local results = baleen.call_tools {
    { name = "first", arguments = { x = tonumber(message) } },
    { name = "second", arguments = { x = tonumber(message) } },
  }
  local text = ""
  for _, result in ipairs(results) do text = text .. result.outcome .. ":" .. result.content .. "|" end
  return text
end
)";

ToolSpec Spec(const std::string& name) {
  ToolSpec spec;
  spec.name = name;
  spec.description = "Does " + name + ".";
  spec.parameters = R"({"type":"object","properties":{"x":{"type":"integer"}}})";
  spec.timeout_ms = kPatienceMs;
  return spec;
}

CreateSessionRequest Asking(const std::string& id, const std::string& workspace = "") {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script = kTwoCalls;
  request.settings.workspace = workspace;
  request.settings.host_tools = {Spec("first"), Spec("second")};
  request.settings.policy.rules = {{"*", "EFFECT", "ask", "it changes things"}};
  return request;
}

/// Answers every call with its name, and counts them.
class Host final : public ToolHostSink {
 public:
  void Serve(Runtime& runtime, const std::string& session) {
    connection_ = Must(runtime.ConnectToolHost(session, {"first", "second"}, this));
    thread_ = std::thread([this, session] {
      std::unique_lock<std::mutex> lock(mutex_);
      while (true) {
        changed_.wait(lock, [this] { return stop_ || !calls_.empty(); });
        if (calls_.empty()) return;
        const ToolCall call = calls_.front();
        calls_.erase(calls_.begin());
        ran_.push_back(call.name);
        lock.unlock();
        ToolResult result;
        result.call_id = call.id;
        result.content = call.name;
        static_cast<void>(connection_->SubmitResult(session, result).ok());  // or it has ended
        lock.lock();
      }
    });
  }
  ~Host() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }
  bool OnCall(const std::string&, const ToolCall& call, int64_t) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(call);
    changed_.notify_all();
    return true;
  }
  void OnCancel(const std::string&, const std::string&) override {}
  std::vector<std::string> ran() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ran_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ToolCall> calls_;
  std::vector<std::string> ran_;
  bool stop_ = false;
  std::unique_ptr<ToolHostConnection> connection_;
  std::thread thread_;
};

std::string Start(Runtime& runtime, const std::string& session, const std::string& text = "1") {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  return Must(runtime.StartTurn(request)).turn;
}

/// The approval that the session's turn waits for.
ApprovalView Pending(Runtime& runtime, const std::string& session, int64_t number = 1) {
  Recorder recorder;
  const auto watching = Must(runtime.Watch({session, "", false}, &recorder));
  REQUIRE(recorder.WaitFor("approval_requested", number));
  const auto waiting = Must(runtime.ListApprovals({session, false}));
  REQUIRE(waiting.size() == 1);
  return waiting[0];
}

ResolveApprovalRequest Resolve(const ApprovalView& approval, bool grant,
                               GrantScope scope = GrantScope::kOnce) {
  ResolveApprovalRequest request;
  request.session = approval.session;
  request.approval = approval.approval;
  request.grant = grant;
  request.scope = scope;
  return request;
}

std::string TextOf(Runtime& runtime, const std::string& session, const std::string& turn) {
  const TurnView view = Must(runtime.WaitTurn(session, turn, kPatienceMs));
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  return view.text;
}

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel());
}

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
    return JudgeCall(policy, tool, origin).decision;
  };
  REQUIRE(judge(read, ToolOrigin::kBuiltin) == PolicyDecision::kAllow);
  REQUIRE(judge(write, ToolOrigin::kBuiltin) == PolicyDecision::kAsk);
  REQUIRE(judge(write, ToolOrigin::kHost) == PolicyDecision::kAllow);
  policy.rules = {{"fs.*", "", "allow", ""}};
  REQUIRE(judge(write, ToolOrigin::kBuiltin) == PolicyDecision::kAllow);
  policy.rules.push_back({"*", "EFFECT", "ask", "why"});
  REQUIRE(JudgeCall(policy, write, ToolOrigin::kHost).why == "why");
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
  Start(*runtime, "copy");
  REQUIRE(Pending(*runtime, "copy", 2).calls.size() == 2);
}

}  // namespace baleen
