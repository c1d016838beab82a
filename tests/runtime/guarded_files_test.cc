// Files that agents, CI, editors or git obey: no rule and no earlier answer lets a call write one
// unasked. And secret files, which no call reads.
#include "runtime/observer.h"
#include "runtime/sessions/guarded_writes.h"
#include "tests/runtime/calling_session.h"
#include "tests/runtime/waiting_turns.h"

namespace baleen {
namespace {

/// Keeps "PATH: WHY" of what is refused.
class Refusals final : public RuntimeObserver {
 public:
  void OnTurnEnded(const TurnView&, double) override {}
  void OnGeneration(const GenerationFigures&) override {}
  void OnToolCall(ToolOutcome) override {}
  void OnCommit(double, bool) override {}
  void OnPathRefused(const std::string&, const std::string&, const std::string&,
                     const std::string& path, const std::string& why) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    lines_ += path + ": " + why + "\n";
  }
  std::string lines() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return lines_;
  }

 private:
  std::mutex mutex_;
  std::string lines_;
};

std::string Paths(const std::string& tool, const nlohmann::json& arguments) {
  ToolCall call;
  call.name = tool;
  call.arguments = arguments.dump();
  std::string paths;
  for (const GuardedWrite& write :
       GuardedWritesOf(call, {"/data/tree", "/home/ann/project", "/home/ann/flows/patch.lua"})) {
    paths += write.path + " ";
  }
  return paths;
}

std::string OfCommand(const std::string& command, const std::string& folder = "") {
  return Paths("bash", {{"command", command}, {"workdir", folder}});
}

/// A session that makes the calls of its input, all of them allowed.
CreateSessionRequest Allowed(const TempDirectory& temp, const std::string& id = "s") {
  auto request = WorkingSession(temp.File("work"), {"write", "edit", "bash"});
  request.session = id;
  return request;
}

std::string Write(const std::string& path) {
  return nlohmann::json({"write", {{"path", path}, {"content", "x"}}}).dump();
}

/// Starts a turn with these calls, and answers the `number`th approval of the session with `scope`.
ApprovalView Granted(Runtime& runtime, const std::string& calls, GrantScope scope, int64_t number) {
  const std::string turn = Start(runtime, "s", calls);
  const ApprovalView approval = Pending(runtime, "s", number);
  REQUIRE_OK(runtime.ResolveApproval(Resolve(approval, true, scope)));
  REQUIRE(Must(runtime.WaitTurn("s", turn, kPatienceMs)).state == TurnState::kSucceeded);
  return approval;
}

}  // namespace

TEST_CASE("WhatACallWouldWriteIsReadFromItsArguments") {
  CHECK(Paths("write", {{"path", "./sub//AGENTS.md"}}) == "sub/AGENTS.md ");
  CHECK(Paths("edit", {{"path", "x/patch.lua"}}) == "x/patch.lua ");
  CHECK(Paths("edit", {{"path", "x/other.lua"}}).empty());
  CHECK(Paths("read", {{"path", "AGENTS.md"}}).empty());
  CHECK(Paths("write", {{"path", 7}}).empty());
  CHECK(Paths("apply_diff", {{"diff",
                              "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+b\n"
                              "--- a/.mcp.json\n+++ b/.mcp.json\n@@ -1 +1 @@\n-a\n+b\n"}}) ==
        ".mcp.json ");
  CHECK(OfCommand("cat AGENTS.md > copy").empty());
  CHECK(OfCommand("echo x | tee a; echo y >> AGENTS.md 2> .envrc") == "AGENTS.md .envrc ");
  CHECK(OfCommand("cd .github && echo x > workflows/ci.yml") == ".github/workflows/ci.yml ");
  // From wherever it may have gone by then.
  CHECK(OfCommand("cd .github; cd workflows; echo x > ci.yml") ==
        ".github/ci.yml .github/workflows/ci.yml ");
  CHECK(OfCommand("echo x > ci.yml", ".github/workflows") == ".github/workflows/ci.yml ");
  CHECK(OfCommand("echo x > ../AGENTS.md", "sub") == "AGENTS.md ");
  CHECK(OfCommand("echo x > /data/tree/AGENTS.md") == "AGENTS.md ");
  CHECK(OfCommand("echo x > /tmp/AGENTS.md").empty());
  CHECK(OfCommand("bash -c 'echo x > AGENTS.md'") == "AGENTS.md ");
}

TEST_CASE("NoRuleLetsAGuardedFileBeWrittenUnasked") {
  const TempDirectory temp;
  temp.Write("work/a.txt", "a");
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Allowed(temp)));
  CHECK(RunCalls(*runtime, Write("b.txt")).starts_with("OK:"));
  const std::string turn = Start(*runtime, "s", Write(".github/workflows/ci.yml"));
  const ApprovalView approval = Pending(*runtime, "s");
  CHECK(approval.description ==
        "it writes what others obey: '.github/workflows/ci.yml', CI runs what it says");
  const DecisionView why = Must(runtime->ExplainDecision("s", turn, approval.calls.at(0).id));
  CHECK(why.decision == "ask");
  CHECK(why.decided_by == "guarded file");
  CHECK(why.why == approval.description);
  CHECK(!std::filesystem::exists(temp.File("work/.github")));
  ResolveApprovalRequest no = Resolve(approval, false);
  no.reason = "not that";
  REQUIRE_OK(runtime->ResolveApproval(no));
  CHECK(Must(runtime->WaitTurn("s", turn, kPatienceMs)).text.find("not that") != std::string::npos);
  CHECK(!std::filesystem::exists(temp.File("work/.github")));
  // What is denied stays so, and what a rule asks about says why that is.
  auto strict = Allowed(temp, "strict");
  strict.settings.policy.rules.push_back({"write", "", "deny", "read only"});
  REQUIRE_OK(runtime->CreateSession(strict));
  CHECK(RunCalls(*runtime, Write("AGENTS.md"), "strict").find("read only") != std::string::npos);
  auto asking = Allowed(temp, "asking");
  asking.settings.policy.rules.push_back({"write", "", "ask", "look at it"});
  REQUIRE_OK(runtime->CreateSession(asking));
  Start(*runtime, "asking", Write("AGENTS.md"));
  CHECK(Pending(*runtime, "asking").description ==
        "look at it; it writes what others obey: 'AGENTS.md', agents obey it");
}

TEST_CASE("AGrantOfAGuardedFileIsOfThatFile") {
  const TempDirectory temp;
  temp.Write("work/a.txt", "a");
  const auto runtime = OpenRuntime(Options(temp));
  auto request = Allowed(temp);
  request.settings.policy.rules = {};
  REQUIRE_OK(runtime->CreateSession(request));
  int64_t number = 0;
  Granted(*runtime, Write("a1.txt"), GrantScope::kSession, ++number);
  CHECK(RunCalls(*runtime, Write("a2.txt")).starts_with("OK:"));
  // Leave to write is none for what others obey; and what there is of that is of one file.
  const ApprovalView asked = Granted(*runtime, Write("AGENTS.md"), GrantScope::kSession, ++number);
  CHECK(std::count(asked.allowed_decisions.begin(), asked.allowed_decisions.end(),
                   "grant:workspace") == 0);
  CHECK(FileContent(temp.File("work/AGENTS.md")) == "x");
  CHECK(RunCalls(*runtime, Write("AGENTS.md")).starts_with("OK:"));
  Granted(*runtime, Write("sub/AGENTS.md"), GrantScope::kTurn, ++number);
  Granted(*runtime, Write("CLAUDE.md") + "\n" + Write("CLAUDE.md"), GrantScope::kTurn, ++number);
  const std::string edit =
      R"(["edit", {"path": "AGENTS.md", "old_string": "x", "new_string": "y"}])";
  Granted(*runtime, edit, GrantScope::kOnce, ++number);
  // Of a command it is that very command, in its turn too.
  const auto command = [](const std::string& text) {
    return nlohmann::json({"bash", {{"command", text}}}).dump();
  };
  const std::string plain = command("true");
  const std::string turn = Start(*runtime, "s", plain + "\n" + command("echo > .envrc"));
  REQUIRE_OK(
      runtime->ResolveApproval(Resolve(Pending(*runtime, "s", ++number), true, GrantScope::kTurn)));
  CHECK(Pending(*runtime, "s", ++number).description ==
        "it writes what others obey: '.envrc', shells run it on entering the folder");
  REQUIRE_OK(runtime->CancelTurn("s", turn));
}

TEST_CASE("ADiffThatSomebodyWasShownMayChangeGuardedFiles") {
  const TempDirectory temp;
  temp.Write("work/AGENTS.md", "a\n");
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(flow("f", function(f, input)
    if f and input:sub(1, 4) == "show" then
      f:approve { title = "Apply", diff = input:sub(5) }
      return session.current():apply(input:sub(5))
    end
    return session.current():apply(input)
  end))";
  request.settings.workspace = temp.File("work");
  request.settings.policy.rules = {{"*", "", "allow", ""}};
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string diff = "--- a/AGENTS.md\n+++ b/AGENTS.md\n@@ -1 +1 @@\n-a\n+b\n";
  std::string turn = Start(*runtime, "s", diff);
  const ApprovalView asked = Pending(*runtime, "s");
  CHECK(asked.calls.at(0).name == "apply_diff");
  CHECK(asked.description == "it writes what others obey: 'AGENTS.md', agents obey it");
  CHECK(FileContent(temp.File("work/AGENTS.md")) == "a\n");
  REQUIRE_OK(runtime->ResolveApproval(Resolve(asked, false)));
  CHECK(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kFailed);
  turn = Start(*runtime, "s", "show" + diff);
  REQUIRE_OK(runtime->ResolveApproval(Resolve(Pending(*runtime, "s", 2), true)));
  CHECK(Must(runtime->WaitTurn("s", turn, kPatienceMs)).state == TurnState::kSucceeded);
  CHECK(FileContent(temp.File("work/AGENTS.md")) == "b\n");
}

TEST_CASE("NoToolReadsASecretFileThatNobodyOpened") {
  const TempDirectory temp;
  temp.Write("work/.env", "hidden value\n");
  temp.Write("work/config/.env.test", "opened value\n");
  temp.Write("work/a.txt", "a\n");
  std::filesystem::create_symlink(".env", temp.File("work/plain"));
  Refusals refusals;
  RuntimeOptions options = Options(temp);
  options.observer = &refusals;
  const auto runtime = OpenRuntime(options);
  auto request = WorkingSession(temp.File("work"), {"write", "edit", "glob", "bash"});
  request.settings.readable_secrets = {"config/.env.*"};
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string said = RunCalls(*runtime, R"(["read", {"path": ".env"}]
["read", {"path": "plain"}]
["grep", {"pattern": "value"}]
["edit", {"path": ".env", "old_string": "hidden", "new_string": "x"}]
["write", {"path": "sub/.env", "content": "x"}]
["bash", {"command": "cat .env plain config/.env.test"}]
["glob", {"pattern": "**/.env*"}]
["list", {"path": "."}])");
  CAPTURE(said);
  CHECK(said.find("hidden value") == std::string::npos);
  CHECK(said.find("--allow-secret-file '.env'") != std::string::npos);
  CHECK(said.find("opened value") != std::string::npos);
  CHECK(said.find("config/.env.test\n") != std::string::npos);
  CHECK(FileContent(temp.File("work/.env")) == "hidden value\n");
  CHECK(!std::filesystem::exists(temp.File("work/sub/.env")));
  CHECK(refusals.lines().find(".env: '.env' is a secret file by its name ('.env')") !=
        std::string::npos);
  CHECK(refusals.lines().find("plain: 'plain' leads to a secret file") != std::string::npos);
  // It holds after a restart, is shown, and stays as it was made.
  CHECK(Must(runtime->GetSession("s")).settings.readable_secrets ==
        std::vector<std::string>{"config/.env.*"});
  UpdateSessionRequest update;
  update.session = "s";
  update.mask = {"readable_secrets"};
  REQUIRE_ERROR(runtime->UpdateSession(update), StatusCode::kInvalidArgument,
                "fixed when a session is made");
  auto bad = WorkingSession(temp.File("work"), {});
  bad.session = "bad";
  bad.settings.readable_secrets = {"../.env"};
  REQUIRE_ERROR(runtime->CreateSession(bad), StatusCode::kInvalidArgument, "readable_secrets: ");
}

TEST_CASE("ADiffDoesNotChangeASecretFile") {
  const TempDirectory temp;
  temp.Write("work/.env", "a\n");
  const auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(flow("f", function(f, input)
    return session.current():apply(input)
  end))";
  request.settings.workspace = temp.File("work");
  request.settings.policy.rules = {{"*", "", "allow", ""}};
  REQUIRE_OK(runtime->CreateSession(request));
  const std::string turn = Start(*runtime, "s", "--- a/.env\n+++ b/.env\n@@ -1 +1 @@\n-a\n+b\n");
  const TurnView view = Must(runtime->WaitTurn("s", turn, kPatienceMs));
  CHECK(view.error.message().find("is a secret file by its name") != std::string::npos);
  CHECK(FileContent(temp.File("work/.env")) == "a\n");
}

}  // namespace baleen
