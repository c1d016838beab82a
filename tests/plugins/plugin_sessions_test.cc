// Plugins in sessions: their tools are asked about, misbehave, go missing, and the session goes on.
#include "runtime/sandbox/sandbox.h"
#include "tests/runtime/calling_session.h"
#include "tests/testing/sanitizer.h"

namespace baleen {
namespace {

RuntimeOptions Options(const TempDirectory& temp, bool with_plugin = true) {
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  if (!with_plugin) return options;
  // AddressSanitizer: kNoHostInSandbox.
  const bool sandboxed = !kAddressSanitizer && Sandbox::Probe().kind() != SandboxKind::kNone;
  (sandboxed ? options.plugins : options.plugins_unsandboxed) = {BAD_CALLS_PLUGIN};
  return options;
}

/// Lets each of the plugin's tools run, by its name: a pattern would not do without a sandbox.
std::vector<PolicyRule> EachAllowed() {
  std::vector<PolicyRule> rules;
  for (const char* tool : {"types", "tally", "crash", "hang", "stubborn"}) {
    rules.push_back({tool, "", "allow", ""});
  }
  return rules;
}

std::string Run(Runtime& runtime, const std::string& text) {
  StartTurnRequest request;
  request.session = "s";
  request.input = {text};
  const TurnView view = RunTurn(runtime, request);
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  return view.text;
}

}  // namespace

TEST_CASE("APluginsToolsServeSessionsWhateverTheyDo") {
  const TempDirectory temp;
  {
    const auto runtime = OpenRuntime(Options(temp));
    const SessionView view = Must(runtime->CreateSession(CallingSession("s", EachAllowed())));
    REQUIRE(view.settings.outside_tools.size() > 10);
    REQUIRE(Run(*runtime, "types hello") == "OK:hello|-1|-1.000000|0");
    REQUIRE(Run(*runtime, "tally") == "OK:1 s/t2.c1");
    REQUIRE(Run(*runtime, "crash").starts_with("UNKNOWN:"));
    REQUIRE(Run(*runtime, "hang").starts_with("TIMEOUT:"));
    REQUIRE(Run(*runtime, "types").starts_with("ERROR:"));  // the schema is checked
    REQUIRE(Run(*runtime, "types again").starts_with("OK:again"));
  }
  {
    const auto runtime = OpenRuntime(Options(temp, /*with_plugin=*/false));
    const std::string missing = Run(*runtime, "types hello");
    INFO(missing);
    REQUIRE(missing.starts_with("ERROR:"));
    REQUIRE(missing.find("isn't loaded") != std::string::npos);
  }
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE(Run(*runtime, "types back").starts_with("OK:back"));
}

TEST_CASE("APluginsToolIsAskedAboutUnlessARuleAllows") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(CallingSession("s", {{"tally", "", "allow", ""}})));
  REQUIRE(Run(*runtime, "tally").starts_with("OK:"));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  StartTurnRequest request;
  request.session = "s";
  request.input = {"types asked"};  // it says that it is pure; that is its own word
  const TurnView turn = Must(runtime->StartTurn(request));
  REQUIRE(recorder.WaitFor("approval_requested"));
  const auto waiting = Must(runtime->ListApprovals({"s", false}));
  REQUIRE(waiting.size() == 1);
  REQUIRE(waiting[0].description.find("plugin") != std::string::npos);
  ResolveApprovalRequest grant;
  grant.session = "s";
  grant.approval = waiting[0].approval;
  grant.grant = true;
  REQUIRE_OK(runtime->ResolveApproval(grant));
  REQUIRE(Must(runtime->WaitTurn("s", turn.turn, kPatienceMs)).text.starts_with("OK:asked"));
}

TEST_CASE("WhoWatchesSeesWhatAPluginWritesAndHowFarItIs") {
  const TempDirectory temp;
  for (const bool in_process : {false, true}) {
    INFO(in_process);
    RuntimeOptions options = Options(temp, !in_process);
    if (in_process) options.plugins_in_process = {BAD_CALLS_PLUGIN};
    options.data_dir = temp.File(in_process ? "inside" : "outside");
    const auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(CallingSession("s", {{"wait", "", "allow", ""}})));
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
    StartTurnRequest request;
    request.session = "s";
    request.input = {"wait"};
    const TurnView turn = Must(runtime->StartTurn(request));
    nlohmann::json told;
    for (int64_t count = 1; told["text"] != "waiting"; ++count) {
      REQUIRE(recorder.WaitFor("tool_progress", count));
      told = Parse(recorder.Of("tool_progress").at(static_cast<size_t>(count) - 1).payload);
    }
    CHECK(told["tool"] == "wait");
    CHECK(told["message"] == "0 of 1");
    CHECK(told["output_end"] == 7);
    REQUIRE_OK(runtime->CancelTurn("s", turn.turn));
    REQUIRE_OK(runtime->WaitTurn("s", turn.turn, kPatienceMs));
  }
}

TEST_CASE("APatternAllowsNoToolOfAPluginThatLeftTheSandbox") {
  for (const auto plugins :
       {&RuntimeOptions::plugins_unsandboxed, &RuntimeOptions::plugins_in_process}) {
    const TempDirectory temp;
    RuntimeOptions options = Options(temp, /*with_plugin=*/false);
    options.*plugins = {BAD_CALLS_PLUGIN};
    const auto runtime = OpenRuntime(options);
    for (const auto& [session, rule] : {std::pair{"all", "*"}, std::pair{"some", "tal*"}}) {
      CreateSessionRequest request = CallingSession("s", {{rule, "", "allow", ""}});
      request.session = session;
      REQUIRE_OK(runtime->CreateSession(request));
      StartTurnRequest turn;
      turn.session = session;
      turn.input = {"tally"};
      Recorder recorder;
      const auto watching = Must(runtime->Watch({session, "", true}, &recorder));
      REQUIRE_OK(runtime->StartTurn(turn));
      REQUIRE(recorder.WaitFor("approval_requested"));
      const auto asked = Must(runtime->ListApprovals({session, false}));
      CHECK(asked.at(0).description.find("without a sandbox") != std::string::npos);
    }
    REQUIRE_OK(runtime->CreateSession(CallingSession("s", {{"tally", "", "allow", ""}})));
    CHECK(Run(*runtime, "tally").starts_with("OK:"));
  }
}

TEST_CASE("InProcessACallThatIgnoresItsEndIsLeftAlone") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp, /*with_plugin=*/false);
  options.plugins_in_process = {BAD_CALLS_PLUGIN};
  const auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(CallingSession("s", EachAllowed())));
  const std::string file = temp.File("go");
  const std::string left = Run(*runtime, "stubborn " + file);
  INFO(left);
  REQUIRE(left.starts_with("TIMEOUT:"));
  REQUIRE(left.find("was left alone") != std::string::npos);
  std::ofstream(file) << "go";  // else the runtime could not close
  REQUIRE(Run(*runtime, "types again").starts_with("OK:again"));
}

TEST_CASE("ARuntimeDoesNotOpenWithAPluginThatIsUnfitOrSessionsThatClaimTools") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp, /*with_plugin=*/false);
  options.plugins_unsandboxed = {std::string(BAD_ENTRY_FOLDER) + "/BAD_MAJOR.so"};
  REQUIRE(Runtime::Open(options).status().reason() == "PLUGIN_UNFIT");
  options.plugins_unsandboxed = {"/no/such/plugin.so"};
  REQUIRE(Runtime::Open(options).status().code() == StatusCode::kNotFound);
  options.plugins_unsandboxed.clear();
  const auto runtime = OpenRuntime(options);
  CreateSessionRequest claims = CallingSession("s", {});
  claims.settings.outside_tools.emplace_back();
  REQUIRE(runtime->CreateSession(claims).status().code() == StatusCode::kInvalidArgument);
}

}  // namespace baleen
