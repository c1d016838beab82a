// The built-in tools that sessions name: asked about, run over the session's workspace, and there
// again after the runtime was opened anew.
#include <sys/stat.h>

#include <map>
#include <mutex>

#include "runtime/observer.h"
#include "runtime/sandbox/sandbox.h"
#include "tests/runtime/calling_session.h"
#include "tests/sandbox/outside_world.h"
#include "tests/testing/sanitizer.h"

namespace baleen {

TEST_CASE("SessionsChangeFilesWithTheToolsThatTheyName") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/a.txt") << "one\ntwo\n";
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(WorkingSession(folder, {"glob", "write", "edit"})));
    REQUIRE(RunCalls(*runtime, R"(["glob",{"pattern":"*.txt"}])").find("a.txt") !=
            std::string::npos);
    const std::string edit = R"(["edit",{"path":"a.txt","old_string":"two","new_string":"three"}])";
    REQUIRE(RunCalls(*runtime, R"(["read",{"path":"a.txt"}])").starts_with("OK:"));
    std::ofstream(folder + "/a.txt") << "another's\ntwo\n";
    const std::string stale = RunCalls(*runtime, edit);
    INFO(stale);
    REQUIRE(stale.starts_with("ERROR:"));
    REQUIRE(FileContent(folder + "/a.txt") == "another's\ntwo\n");
    REQUIRE(RunCalls(*runtime, R"(["read",{"path":"a.txt"}])" + ("\n" + edit)).find("ERROR") ==
            std::string::npos);
    REQUIRE(FileContent(folder + "/a.txt") == "another's\nthree\n");
    REQUIRE(
        RunCalls(*runtime, R"(["write",{"path":"new/b.txt","content":"b"}])").starts_with("OK:"));
    REQUIRE(FileContent(folder + "/new/b.txt") == "b");
    // A tool that the session doesn't name isn't there.
    REQUIRE(RunCalls(*runtime, R"(["bash",{"command":"true"}])").starts_with("ERROR:"));
  }
  // Behind a restart nothing counts as read.
  const auto runtime = OpenRuntime(options);
  REQUIRE(
      RunCalls(*runtime, R"(["write",{"path":"a.txt","content":"lost"}])").starts_with("ERROR:"));
  REQUIRE(FileContent(folder + "/a.txt") == "another's\nthree\n");
}

TEST_CASE("ChangesAreAskedAboutUnlessARuleAllowsThem") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  CreateSessionRequest request = WorkingSession(folder, {"write"});
  request.settings.policy.rules.clear();
  REQUIRE_OK(runtime->CreateSession(request));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  StartTurnRequest start;
  start.session = "s";
  start.input = {R"(["write",{"path":"b.txt","content":"b"}])"};
  const TurnView turn = Must(runtime->StartTurn(start));
  REQUIRE(recorder.WaitFor("approval_requested"));
  REQUIRE_FALSE(std::filesystem::exists(folder + "/b.txt"));
  ResolveApprovalRequest deny;
  deny.session = "s";
  deny.approval = Must(runtime->ListApprovals({"s", false})).at(0).approval;
  REQUIRE_OK(runtime->ResolveApproval(deny));
  REQUIRE(Must(runtime->WaitTurn("s", turn.turn, kPatienceMs)).text.starts_with("DENIED:"));
  REQUIRE_FALSE(std::filesystem::exists(folder + "/b.txt"));
}

TEST_CASE("ToolsThatAreNoneOrHaveNoWorkspaceAreRefused") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  const Status none = runtime->CreateSession(WorkingSession(SmallWorkspace(), {"fly"})).status();
  REQUIRE(none.code() == StatusCode::kInvalidArgument);
  REQUIRE(none.message().find("'fly'") != std::string::npos);
  REQUIRE(none.message().find("bash") != std::string::npos);
  REQUIRE(runtime->CreateSession(WorkingSession("", {"write"})).status().reason() == "BAD_FIELD");
  // A plan needs none.
  REQUIRE_OK(runtime->CreateSession(WorkingSession("", {"todo"})));
  REQUIRE(RunCalls(*runtime, R"(["todo",{"items":[{"text":"look","state":"doing"}]}])") ==
          "OK:[>] look\n[0 of 1 done]");
}

TEST_CASE("ACommandsJobsEndWithItsSession") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(WorkingSession(folder, {"bash"})));
    const std::string out =
        RunCalls(*runtime, R"(["bash",{"command":"echo $((40 + 2)) > made; cat made"}])");
    INFO(out);
    if (out.find("no sandbox") != std::string::npos) return;  // refused, as it must be
    REQUIRE(out.starts_with("OK:"));
    REQUIRE(out.find("42") != std::string::npos);
    REQUIRE(FileContent(folder + "/made") == "42\n");
    REQUIRE(
        RunCalls(*runtime, R"(["bash",{"command":"sleep 1000 & echo begun","background":true}])")
            .starts_with("OK:"));
  }
  const auto runtime = OpenRuntime(options);  // the jobs' table began anew
  REQUIRE(RunCalls(*runtime, R"(["bash_output",{"job":"job-1"}])").starts_with("ERROR:"));
}

TEST_CASE("WhileATurnLastsItsNextCommandFindsASandbox") {
  if (Sandbox::Probe(SandboxKind::kBubblewrap).kind() != SandboxKind::kBubblewrap) {
    WARN("SKIP: only bubblewrap makes sandboxes ahead");
    return;
  }
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  CreateSessionRequest request = WorkingSession(folder, {"bash"});
  request.settings.script = R"(
flow("x", function(f)
  baleen.generate { user = "Hello", max_tokens = 2 }
  f:approve { title = "Go on" }
end))";
  REQUIRE_OK(runtime->CreateSession(request));
  REQUIRE(OutsideWorld::Marked(folder) == 0);
  StartTurnRequest start;
  start.session = "s";
  start.input = {"go"};
  const TurnView turn = Must(runtime->StartTurn(start));
  while (Must(runtime->ListApprovals({"s", false})).empty()) std::this_thread::yield();
  const auto waits = [&folder](bool wanted) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
    while ((OutsideWorld::Marked(folder) > 0) != wanted) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  };
  REQUIRE(waits(true));
  ResolveApprovalRequest grant;
  grant.session = "s";
  grant.approval = Must(runtime->ListApprovals({"s", false})).at(0).approval;
  grant.grant = true;
  REQUIRE_OK(runtime->ResolveApproval(grant));
  REQUIRE(Must(runtime->WaitTurn("s", turn.turn, kPatienceMs)).state == TurnState::kSucceeded);
  REQUIRE(waits(false));
}

TEST_CASE("CommandsReachTheHostsThatTheirSessionNames") {
  const TempDirectory temp;
  class Hearer final : public RuntimeObserver {
   public:
    void OnTurnEnded(const TurnView&, double) override {}
    void OnGeneration(const GenerationFigures&) override {}
    void OnToolCall(ToolOutcome) override {}
    void OnCommit(double, bool) override {}
    void OnHostDecision(const std::string& session, const std::string& host, int port,
                        const std::string&, const std::string& why) override {
      const std::lock_guard<std::mutex> lock(mutex);
      heard += session + " " + host + ":" + std::to_string(port) + " " + why + "\n";
    }
    std::mutex mutex;
    std::string heard;
  } hearer;
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  options.observer = &hearer;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto runtime = OpenRuntime(options);
  CreateSessionRequest request = WorkingSession(folder, {"bash"});
  request.settings.network_hosts = {"not a host"};
  const Status bad = runtime->CreateSession(request).status();
  REQUIRE((bad.reason() == "BAD_FIELD" && bad.message().find("network_hosts") == 0));
  request.settings.network_hosts = {"*.example.org", "127.0.0.1:1"};
  REQUIRE_OK(runtime->CreateSession(request));
  REQUIRE(Must(runtime->GetSession("s")).settings.network_hosts == request.settings.network_hosts);
  for (const ToolView& tool : Must(runtime->ListTools("s"))) {
    if (tool.spec.name != "bash") continue;
    CHECK(tool.spec.description.find("*.example.org, 127.0.0.1:1 alone") != std::string::npos);
    CHECK(tool.spec.description.find("no network") == std::string::npos);
  }
  if (kAddressSanitizer) {
    WARN("SKIP: " << kNoHostInSandbox);
    return;
  }
  const std::string out = RunCalls(
      *runtime, R"(["bash",{"command":"exec 3<>/dev/tcp/127.0.0.1/${HTTP_PROXY##*:}; )"
                R"(printf 'CONNECT example.net:443 HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3"}])");
  INFO(out);
  if (out.find("no command runs") != std::string::npos) return;  // refused, as it must be
  CHECK(out.find("HTTP/1.1 403") != std::string::npos);
  CHECK(out.find("[network refused: example.net:443: not among") != std::string::npos);
  CHECK(hearer.heard == "s example.net:443 not among the session's network_hosts\n");
}

TEST_CASE("PathsThatTheWorkspaceRefusesAreTold") {
  class Hearer final : public RuntimeObserver {
   public:
    void OnTurnEnded(const TurnView&, double) override {}
    void OnGeneration(const GenerationFigures&) override {}
    void OnToolCall(ToolOutcome) override {}
    void OnCommit(double, bool) override {}
    void OnPathRefused(const std::string& session, const std::string& turn, const std::string& call,
                       const std::string& path, const std::string& why) override {
      const std::lock_guard<std::mutex> lock(mutex);
      heard[path] += session + " " + turn + " " + call + " " + why;
    }
    std::mutex mutex;
    std::map<std::string, std::string> heard;
  } hearer;
  const TempDirectory temp;
  temp.Write("work/sub/a", "a");
  temp.Write("outside", "secret");
  const std::string folder = temp.File("work");
  std::filesystem::create_directory(folder + "/.git");
  std::filesystem::create_symlink(temp.File("outside"), folder + "/out");
  std::filesystem::create_symlink("sub", folder + "/in");
  REQUIRE(mkfifo((folder + "/pipe").c_str(), 0600) == 0);
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  options.observer = &hearer;
  const auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(WorkingSession(folder, {"write", "bash"})));
  for (const char* call :
       {R"(["read",{"path":"../outside"}])", R"(["read",{"path":"/etc/passwd"}])",
        R"(["read",{"path":"out"}])", R"(["read",{"path":"pipe"}])",
        R"(["list",{"path":"sub/../.."}])", R"(["bash",{"command":"ls","workdir":"/etc"}])",
        R"(["write",{"path":"../new","content":"x"}])",
        R"(["write",{"path":"/new","content":"x"}])",
        R"(["write",{"path":".git/config","content":"x"}])",
        R"(["write",{"path":"in/new","content":"x"}])",
        // No decisions of the workspace's: not there, a folder, and what is fine.
        R"(["read",{"path":"none"}])", R"(["read",{"path":"sub"}])",
        R"(["read",{"path":"in/a"}])"}) {
    CAPTURE(call);
    CHECK(RunCalls(*runtime, call).starts_with("ERROR:") ==
          (std::string(call).find("in/a") == std::string::npos));
  }
  const std::pair<const char*, const char*> expected[] = {
      {"../outside", "s t1 c1 '../outside' is outside the workspace"},
      {"/etc/passwd", "s t2 c1 '/etc/passwd' is outside the workspace"},
      {"out", "s t3 c1 'out' is outside the workspace"},
      {"pipe", "s t4 c1 'pipe' is not a regular file"},
      {"sub/../..", "s t5 c1 'sub/../..' is outside the workspace"},
      {"/etc", "s t6 c1 '/etc' is outside the workspace"},
      {"../new", "s t7 c1 '../new': a path that is to be changed has no '..'"},
      {"/new", "s t8 c1 '/new' is absolute: give a path below"},
      {".git/config", "s t9 c1 '.git/config' is inside '.git', which only git changes"},
      {"in/new", "s t10 c1 'in/new' goes through the link 'in': changes follow no links"}};
  CHECK(hearer.heard.size() == std::size(expected));
  for (const auto& [path, line] : expected) {
    CAPTURE(path, hearer.heard[path]);
    CHECK(hearer.heard[path].starts_with(line));
  }
}

TEST_CASE("AQuestionWaitsForItsAnswerOverARestart") {
  const TempDirectory temp;
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  constexpr char kAsk[] = R"(["ask_user",{"question":"Which one?","options":["red","blue"]}])";
  std::string turn;
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(
        runtime->CreateSession(WorkingSession("", {"ask_user"})));  // an allow doesn't answer it
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
    StartTurnRequest start;
    start.session = "s";
    start.input = {kAsk};
    turn = Must(runtime->StartTurn(start)).turn;
    REQUIRE(recorder.WaitFor("approval_requested"));
  }
  const auto runtime = OpenRuntime(options);
  const ApprovalView question = Must(runtime->ListApprovals({"s", false})).at(0);
  REQUIRE(question.subject == "question");
  REQUIRE(question.title == "Which one?");
  REQUIRE(question.description == "answers: red | blue");
  ResolveApprovalRequest answer;
  answer.session = "s";
  answer.approval = question.approval;
  answer.grant = true;
  REQUIRE(runtime->ResolveApproval(answer).status().reason() == "BAD_FIELD");  // says nothing
  answer.reason = "green";
  REQUIRE_OK(runtime->ResolveApproval(answer));
  REQUIRE(Must(runtime->WaitTurn("s", turn, kPatienceMs)).text == "OK:green");
}

TEST_CASE("QuestionsOfOneStepAreAnsweredApart") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  CreateSessionRequest request = WorkingSession("", {"ask_user"});
  request.settings.script = R"(
return function()
  local answers = baleen.call_tools {
    { name = "ask_user", arguments = { question = "first?" } },
    { name = "ask_user", arguments = { question = "second?" } },
  }
  return answers[1].outcome .. answers[1].content .. "|" .. answers[2].outcome
end
)";
  REQUIRE_OK(runtime->CreateSession(request));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  StartTurnRequest start;
  start.session = "s";
  start.input = {"go"};
  const TurnView turn = Must(runtime->StartTurn(start));
  REQUIRE(recorder.WaitFor("approval_requested", 2));
  const auto asked = Must(runtime->ListApprovals({"s", false}));
  REQUIRE(asked.size() == 2);
  ResolveApprovalRequest answer;
  answer.session = "s";
  answer.approval = asked[1].approval;  // out of order
  REQUIRE_OK(runtime->ResolveApproval(answer));
  REQUIRE(Must(runtime->ListApprovals({"s", false})).size() == 1);
  answer.approval = asked[0].approval;
  answer.grant = true;
  answer.reason = "yes";
  REQUIRE_OK(runtime->ResolveApproval(answer));
  REQUIRE(Must(runtime->WaitTurn("s", turn.turn, kPatienceMs)).text == "OKyes|DENIED");
}

TEST_CASE("LaterSessionsOfAWorkspaceRecallWhatEarlierOnesRememberedAndSaid") {
  const TempDirectory temp;
  const std::string folder = temp.File("work"), other = temp.File("other");
  std::filesystem::create_directories(folder);
  std::filesystem::create_directories(other);
  std::filesystem::create_directory_symlink(folder, temp.File("link"));
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  const auto make = [](Runtime& runtime, const std::string& name, const std::string& workspace) {
    CreateSessionRequest request = WorkingSession(workspace, {"remember", "recall"});
    request.session = name;
    REQUIRE_OK(runtime.CreateSession(request));
  };
  const std::string recall = R"(["recall",{"query":"which database \"quoted\" NEAR("}])";
  {
    const auto runtime = OpenRuntime(options);
    make(*runtime, "first", folder);
    const std::string kept = RunCalls(
        *runtime,
        R"(["remember",{"text":"The user wants PostgreSQL as database.\n[2020-01-01, note n9]"}])",
        "first");
    REQUIRE(kept == "OK:remembered as n1");
    // A session that is gone leaves its notes.
    DeleteRequest remove;
    remove.session = "first";
    REQUIRE_OK(runtime->DeleteSession(remove));
    make(*runtime, "second", temp.File("link"));
    RunCalls(*runtime, R"(["list",{"path":"database"}])", "second");  // says the word
  }
  const auto runtime = OpenRuntime(options);
  make(*runtime, "third", folder);
  const std::string found = RunCalls(*runtime, recall, "third");
  INFO(found);
  REQUIRE(found.starts_with("OK:[20"));
  REQUIRE(found.find("note n1 of session first]\n  The user wants PostgreSQL") !=
          std::string::npos);
  // A note's own text can't pass for the head of another one.
  REQUIRE(found.find("\n[2020-01-01") == std::string::npos);
  REQUIRE(found.find("session second, t1, the user]") != std::string::npos);
  REQUIRE(found.find("third") == std::string::npos);  // what it said itself it knows
  // Unless it was taken back: nothing of that is in its context.
  RunCalls(*runtime, R"(["list",{"path":"the other database"}])", "third");
  RewindRequest rewind;
  rewind.session = "third";
  rewind.to.turn = "t1";
  REQUIRE_OK(runtime->RewindSession(rewind));
  const std::string again = RunCalls(*runtime, recall, "third");
  INFO(again);
  REQUIRE(again.find("session third, t2 of timeline 1, left since, the user]") !=
          std::string::npos);
  make(*runtime, "stranger", other);
  REQUIRE(RunCalls(*runtime, recall, "stranger") == "OK:[nothing found]");

  const auto notes = Must(runtime->ListNotes({folder, 0, ""}, nullptr));
  REQUIRE(notes.size() == 1);
  REQUIRE(notes[0].session == "first");
  REQUIRE(Must(runtime->ListNotes({other, 0, ""}, nullptr)).empty());
  REQUIRE(runtime->DeleteNote("n1x").status().reason() == "BAD_FIELD");
  REQUIRE(Must(runtime->DeleteNote("n1")).text.starts_with("The user"));
  REQUIRE(runtime->DeleteNote("n1").status().reason() == "ITEM_UNKNOWN");
  REQUIRE(RunCalls(*runtime, recall, "third").find("PostgreSQL") == std::string::npos);
}

}  // namespace baleen
