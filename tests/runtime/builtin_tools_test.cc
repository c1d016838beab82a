// The built-in tools that sessions name: asked about, run over the session's workspace, and there
// again after the runtime was opened anew.
#include <mutex>

#include "runtime/observer.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

/// Its script makes the calls that the user gives as JSON, "[name, arguments]" on each line, and
/// returns "OUTCOME:content" of each.
CreateSessionRequest Session(const std::string& workspace, std::vector<std::string> tools) {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(
return function(message)
  local answers = {}
  for line in message:gmatch("[^\n]+") do
    local call = baleen.json.decode(line)
    local content, outcome = baleen.call(call[1], call[2])
    answers[#answers + 1] = outcome .. ":" .. content
  end
  return table.concat(answers, "\n--\n")
end
)";
  request.settings.workspace = workspace;
  request.settings.tools = std::move(tools);
  request.settings.policy.rules = {{"*", "", "allow", ""}};
  return request;
}

std::string Run(Runtime& runtime, const std::string& calls) {
  StartTurnRequest request;
  request.session = "s";
  request.input = {calls};
  const TurnView view = RunTurn(runtime, request);
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  return view.text;
}

std::string Content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("SessionsChangeFilesWithTheToolsThatTheyName") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/a.txt") << "one\ntwo\n";
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Session(folder, {"glob", "write", "edit"})));
    REQUIRE(Run(*runtime, R"(["glob",{"pattern":"*.txt"}])").find("a.txt") != std::string::npos);
    const std::string edit = R"(["edit",{"path":"a.txt","old_string":"two","new_string":"three"}])";
    REQUIRE(Run(*runtime, R"(["read",{"path":"a.txt"}])").starts_with("OK:"));
    std::ofstream(folder + "/a.txt") << "another's\ntwo\n";
    const std::string stale = Run(*runtime, edit);
    INFO(stale);
    REQUIRE(stale.starts_with("ERROR:"));
    REQUIRE(Content(folder + "/a.txt") == "another's\ntwo\n");
    REQUIRE(Run(*runtime, R"(["read",{"path":"a.txt"}])" + ("\n" + edit)).find("ERROR") ==
            std::string::npos);
    REQUIRE(Content(folder + "/a.txt") == "another's\nthree\n");
    REQUIRE(Run(*runtime, R"(["write",{"path":"new/b.txt","content":"b"}])").starts_with("OK:"));
    REQUIRE(Content(folder + "/new/b.txt") == "b");
    // A tool that the session doesn't name isn't there.
    REQUIRE(Run(*runtime, R"(["bash",{"command":"true"}])").starts_with("ERROR:"));
  }
  // Behind a restart nothing counts as read.
  const auto runtime = OpenRuntime(options);
  REQUIRE(Run(*runtime, R"(["write",{"path":"a.txt","content":"lost"}])").starts_with("ERROR:"));
  REQUIRE(Content(folder + "/a.txt") == "another's\nthree\n");
}

TEST_CASE("ChangesAreAskedAboutUnlessARuleAllowsThem") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  CreateSessionRequest request = Session(folder, {"write"});
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
  const Status none = runtime->CreateSession(Session(SmallWorkspace(), {"fly"})).status();
  REQUIRE(none.code() == StatusCode::kInvalidArgument);
  REQUIRE(none.message().find("'fly'") != std::string::npos);
  REQUIRE(none.message().find("bash") != std::string::npos);
  REQUIRE(runtime->CreateSession(Session("", {"write"})).status().reason() == "BAD_FIELD");
  // A plan needs none.
  REQUIRE_OK(runtime->CreateSession(Session("", {"todo"})));
  REQUIRE(Run(*runtime, R"(["todo",{"items":[{"text":"look","state":"doing"}]}])") ==
          "OK:[>] look\n[0 of 1 done]");
}

TEST_CASE("ACommandsJobsEndWithItsSession") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Session(folder, {"bash"})));
    const std::string out =
        Run(*runtime, R"(["bash",{"command":"echo $((40 + 2)) > made; cat made"}])");
    INFO(out);
    if (out.find("no sandbox") != std::string::npos) return;  // refused, as it must be
    REQUIRE(out.starts_with("OK:"));
    REQUIRE(out.find("42") != std::string::npos);
    REQUIRE(Content(folder + "/made") == "42\n");
    REQUIRE(Run(*runtime, R"(["bash",{"command":"sleep 1000 & echo begun","background":true}])")
                .starts_with("OK:"));
  }
  const auto runtime = OpenRuntime(options);  // the jobs' table began anew
  REQUIRE(Run(*runtime, R"(["bash_output",{"job":"job-1"}])").starts_with("ERROR:"));
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
  CreateSessionRequest request = Session(folder, {"bash"});
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
  const std::string out =
      Run(*runtime, R"(["bash",{"command":"exec 3<>/dev/tcp/127.0.0.1/${HTTP_PROXY##*:}; )"
                    R"(printf 'CONNECT example.net:443 HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3"}])");
  INFO(out);
  if (out.find("no command runs") != std::string::npos) return;  // refused, as it must be
  CHECK(out.find("HTTP/1.1 403") != std::string::npos);
  CHECK(out.find("[network refused: example.net:443: not among") != std::string::npos);
  CHECK(hearer.heard == "s example.net:443 not among the session's network_hosts\n");
}

TEST_CASE("AQuestionWaitsForItsAnswerOverARestart") {
  const TempDirectory temp;
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  constexpr char kAsk[] = R"(["ask_user",{"question":"Which one?","options":["red","blue"]}])";
  std::string turn;
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(Session("", {"ask_user"})));  // an allow doesn't answer it
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
  CreateSessionRequest request = Session("", {"ask_user"});
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

}  // namespace baleen
