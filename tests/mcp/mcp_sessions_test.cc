// MCP servers in sessions: their tools are asked about, drift, go missing, and the session goes on.
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/runtime/calling_session.h"
#include "tests/testing/test_paths.h"
#include "tools_sdk/tool_set.h"

namespace baleen {
namespace {

RuntimeOptions Options(const TempDirectory& temp, const std::string& manner) {
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  if (manner.empty()) return options;
  McpServerOptions server;
  server.name = "h";
  server.command = {"python3", std::string(kSourceDir) + "/tests/mcp/hostile_server.py", manner,
                    temp.File("trace")};
  options.mcp_servers = {server};
  return options;
}

std::string Run(Runtime& runtime, const std::string& session, const std::string& text) {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  const TurnView view = RunTurn(runtime, request);
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  return view.text;
}

}  // namespace

TEST_CASE("ASessionKeepsTheServersToolsThatItWasMadeWith") {
  const TempDirectory temp;
  const std::vector<PolicyRule> allow = {{"h_*", "", "allow", ""}};
  {
    const auto runtime = OpenRuntime(Options(temp, "drift"));
    const SessionView view = Must(runtime->CreateSession(CallingSession("s", allow)));
    REQUIRE(view.settings.outside_tools.size() == 2);
    for (const char* session : {"", "s"}) {
      int64_t of_server = 0;
      for (const ToolView& tool : Must(runtime->ListTools(session))) {
        REQUIRE((tool.origin == "mcp") == tool.spec.name.starts_with("h_"));
        of_server += tool.origin == "mcp" ? 1 : 0;
      }
      REQUIRE(of_server == 2);
    }
    REQUIRE(Run(*runtime, "s", "h_echo hello") == "OK:hello");
    REQUIRE(Run(*runtime, "s", "h_echo").starts_with("ERROR:"));  // it is another tool by now
  }
  {
    const auto runtime = OpenRuntime(Options(temp, ""));
    const std::string missing = Run(*runtime, "s", "h_add");
    INFO(missing);
    REQUIRE(missing.starts_with("ERROR:"));
    REQUIRE(missing.find("isn't loaded") != std::string::npos);
  }
  const auto runtime = OpenRuntime(Options(temp, "drift"));
  const std::string drifted = Run(*runtime, "s", "h_echo again");
  INFO(drifted);
  REQUIRE(drifted.starts_with("ERROR:"));
  REQUIRE(drifted.find("Send it your keys") != std::string::npos);
  REQUIRE(Run(*runtime, "s", "h_add").starts_with("OK:"));  // that one is as it was
  REQUIRE_OK(runtime->CreateSession(CallingSession("t", allow)));
  REQUIRE(Run(*runtime, "t", "h_echo again") == "OK:again");
}

TEST_CASE("AServersToolIsAskedAboutUnlessARuleAllows") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp, "plain"));
  REQUIRE_OK(runtime->CreateSession(CallingSession("s", {})));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  StartTurnRequest request;
  request.session = "s";
  request.input = {"h_echo asked"};
  const TurnView turn = Must(runtime->StartTurn(request));
  REQUIRE(recorder.WaitFor("approval_requested"));
  const auto waiting = Must(runtime->ListApprovals({"s", false}));
  REQUIRE(waiting.size() == 1);
  ResolveApprovalRequest grant;
  grant.session = "s";
  grant.approval = waiting[0].approval;
  grant.grant = true;
  REQUIRE_OK(runtime->ResolveApproval(grant));
  REQUIRE(Must(runtime->WaitTurn("s", turn.turn, kPatienceMs)).text == "OK:asked");
}

TEST_CASE("PatternsOfServersToolsAreOfTheseAndOutliveTheServer") {
  const TempDirectory temp;
  const std::vector<PolicyRule> rules = {
      {"*", "", "allow", ""}, {"mcp:*", "", "deny", "is a server's"}, {"mcp:x_*", "", "ask", ""}};
  auto request = CallingSession("s", rules);
  request.settings.script =
      "on.tool_result('mcp:h_*', function(result) result.content = 'hooked ' .. result.content "
      "end)" +
      request.settings.script;
  {
    const auto runtime = OpenRuntime(Options(temp, "plain"));
    REQUIRE_OK(runtime->CreateSession(request));
    const std::string denied = Run(*runtime, "s", "h_echo x");
    INFO(denied);
    CHECK(denied.find("is a server's") != std::string::npos);
    CHECK(denied.find("hooked ") != std::string::npos);
    CHECK(Run(*runtime, "s", "list").find("hooked ") == std::string::npos);
    for (const char* pattern : {"mcp:", "mpc:*", "mcp:h.echo", "mcp:a:b"}) {
      CAPTURE(pattern);
      const Status bad =
          runtime->CreateSession(CallingSession("t", {{pattern, "", "deny", ""}})).status();
      CHECK(bad.reason() == "BAD_FIELD");
      CHECK(bad.message().find("names no tool") != std::string::npos);
    }
  }
  // What the session was made with says whose tools they are, not what is configured now.
  const auto runtime = OpenRuntime(Options(temp, ""));
  CHECK(Run(*runtime, "s", "h_echo x").find("is a server's") != std::string::npos);
}

TEST_CASE("WhoWatchesSeesHowFarAServersToolIs") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp, "progresses");
  options.secrets = {{"API", "it-is-a-key-on-it", "", "", {"127.0.0.1"}}};
  const auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(WorkingSession("", {})));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  REQUIRE(RunCalls(*runtime, R"(["h_echo",{"text":"it-is-a-key-"}])") == "OK:[secret API]");
  const std::vector<Event> events = recorder.Of("tool_progress");
  REQUIRE(!events.empty());
  for (const Event& event : events) {
    INFO(event.payload);
    CHECK(event.seq == 0);
    const nlohmann::json told = Parse(event.payload);
    CHECK(told["tool"] == "h_echo");
    CHECK(told["total"] == 10);
    CHECK(told["progress"] < 3);
    CHECK(told["message"] == "[secret API] it");
    CHECK(told["text"] == "");
  }
  for (const Event& event : AllEvents(*runtime, "s")) CHECK(event.kind != "tool_progress");
}

TEST_CASE("ASessionIsNotMadeWithoutAServerUnlessItIsOptional") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp, "dies_at_once");
  {
    const auto runtime = OpenRuntime(options);  // nothing is begun yet
    const Status status = runtime->CreateSession(CallingSession("s", {})).status();
    INFO(status.ToString());
    REQUIRE(status.code() == StatusCode::kUnavailable);
    REQUIRE(status.message().find("MCP server 'h'") != std::string::npos);
  }
  options.mcp_servers[0].optional = true;
  const auto runtime = OpenRuntime(options);
  REQUIRE(Must(runtime->CreateSession(CallingSession("s", {}))).settings.outside_tools.empty());
}

TEST_CASE("MoreToolsThanASessionMayHaveAreRefusedWithAWayOut") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp, "many");
  options.mcp_servers[0].tools = {"t1", "t2"};
  {
    const auto runtime = OpenRuntime(options);
    REQUIRE(Must(runtime->CreateSession(CallingSession("s", {}))).settings.outside_tools.size() ==
            2);
  }
  options.mcp_servers[0].tools.clear();
  const auto runtime = OpenRuntime(options);
  const Status status = runtime->CreateSession(CallingSession("t", {})).status();
  INFO(status.ToString());
  REQUIRE(status.code() == StatusCode::kResourceExhausted);
  REQUIRE(status.message().find("tools = [") != std::string::npos);
}

TEST_CASE("DeferredToolsAreCallableOnceFoundOnEveryBranchThatFoundThem") {
  const TempDirectory temp;
  RuntimeOptions options = Options(temp, "many");
  const std::string find = R"(find {"query":"tool t7, please"})";
  {
    const auto runtime = OpenRuntime(options);
    CreateSessionRequest request = CallingSession("s", {{"*", "", "allow", ""}});
    request.settings.tools = {"find_tools"};
    request.settings.script = R"(
return function(message)
  local name, text = message:match("^(%S+) ?(.*)$")
  if name == "told" then return tostring(#baleen.tools) end
  if name == "write" then
    local reply = baleen.generate { user = "Go", tool_choice = "tool:" .. text, max_tokens = 2000 }
    return reply.tool_calls[1] and reply.tool_calls[1].name or "none"
  end
  if name == "find" then name = "find_tools" end
  local content, outcome = baleen.call(name, text ~= "" and baleen.json.decode(text) or {})
  return outcome .. ":" .. content
end
)";
    const SessionView view = Must(runtime->CreateSession(request));
    REQUIRE(view.settings.outside_tools.size() > kToolsMax);  // more than anybody could be told of
    REQUIRE(Run(*runtime, "s", "told") == "1");
    REQUIRE(Run(*runtime, "s", "h_t7").starts_with("ERROR:"));
    REQUIRE(Run(*runtime, "s", R"(find {"query":"submarine"})") ==
            "OK:[no such tool; try other words]");
    const std::string found = Run(*runtime, "s", find);  // t4
    INFO(found);
    REQUIRE(found.starts_with("OK:{"));
    REQUIRE(found.find(R"("name":"h_t7")") != std::string::npos);
    REQUIRE(Run(*runtime, "s", "h_t7").starts_with("OK:"));
    REQUIRE(Run(*runtime, "s", "h_t8").starts_with("ERROR:"));
    // The grammar has it, too: the model can write its call.
    REQUIRE(Run(*runtime, "s", "write h_t7") == "h_t7");
    REQUIRE(Must(runtime->ListTools("s")).size() == view.settings.outside_tools.size() + 1);
    // Some are deferred, the others told of: h_t0 alone.
    request.session = "some";
    for (int i = 1; i <= 9; ++i) {
      request.settings.defer_tools.push_back("h_t" + std::to_string(i) + "*");
    }
    REQUIRE(Must(runtime->CreateSession(request)).settings.defer_tools.size() == 9);
    REQUIRE(Run(*runtime, "some", "told") == "2");
    REQUIRE(Run(*runtime, "some", "h_t0").starts_with("OK:"));
    REQUIRE(Run(*runtime, "some", "h_t7").starts_with("ERROR:"));
    REQUIRE(Run(*runtime, "some", find).find(R"("name":"h_t7")") != std::string::npos);
    REQUIRE(Run(*runtime, "some", "h_t7").starts_with("OK:"));
    REQUIRE(Run(*runtime, "some", R"(find {"query":"tool t0, please"})").find(R"("name":"h_t0")") ==
            std::string::npos);  // it is there already
    const std::vector<std::string> finds = {"find_tools"};
    const std::pair<std::vector<std::string>, std::string> kBad[] = {
        {{}, "h_*"}, {finds, ""}, {finds, std::string(300, 'x')}};
    for (const auto& [tools, pattern] : kBad) {
      request.session = "bad";
      request.settings.tools = tools;
      request.settings.defer_tools = {pattern};
      REQUIRE(runtime->CreateSession(request).status().reason() == "BAD_FIELD");
    }
  }
  const auto runtime = OpenRuntime(options);
  REQUIRE(Run(*runtime, "s", "h_t7").starts_with("OK:"));
  REQUIRE(Run(*runtime, "s", "told") == "1");  // what a replay is told, too
  ForkRequest fork;
  fork.session = "s";
  for (const auto& [turn, name, outcome] :
       std::vector<std::array<std::string, 3>>{{"t3", "early", "ERROR:"}, {"t4", "late", "OK:"}}) {
    fork.at.turn = turn;
    fork.fork = name;
    REQUIRE_OK(runtime->ForkSession(fork));
    REQUIRE(Run(*runtime, name, "h_t7").starts_with(outcome));
  }
  RewindRequest back;
  back.session = "s";
  back.to.turn = "t3";
  REQUIRE_OK(runtime->RewindSession(back));
  REQUIRE(Run(*runtime, "s", "h_t7").starts_with("ERROR:"));
  back = {};
  back.session = "s";
  back.undo = true;
  REQUIRE_OK(runtime->RewindSession(back));
  REQUIRE(Run(*runtime, "s", "h_t7").starts_with("OK:"));
}

TEST_CASE("WhatAServerTellsOfItsSecretsIsReadByNobody") {
  const TempDirectory temp;
  const std::string secret = "tok-4815162342-onetwothree4";
  {
    RuntimeOptions options = Options(temp, "tells_secrets");
    options.mcp_servers[0].environment = {"API_TOKEN=" + secret};
    const auto runtime = OpenRuntime(options);
    const SessionView view =
        Must(runtime->CreateSession(CallingSession("s", {{"*", "", "allow", ""}})));
    REQUIRE(view.settings.outside_tools.at(1).description ==
            "Says it again, with [secret mcp.h.API_TOKEN]");
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
    REQUIRE(Run(*runtime, "s", "h_echo x") ==
            "OK:[secret mcp.h.API_TOKEN] [secret mcp.h.API_TOKEN]");
    for (const Event& event : recorder.events()) {
      REQUIRE(event.payload.find("4815162342") == std::string::npos);
    }
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(temp.File("data"))) {
    if (!entry.is_regular_file()) continue;
    INFO(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    REQUIRE(bytes.find("4815162342") == std::string::npos);
  }
}

TEST_CASE("AClosingRuntimeWaitsForNoServer") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp, "never_answers"));
  REQUIRE_OK(runtime->CreateSession(CallingSession("s", {{"*", "", "allow", ""}})));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  StartTurnRequest request;
  request.session = "s";
  request.input = {"h_echo x"};
  REQUIRE_OK(runtime->StartTurn(request));
  REQUIRE(recorder.WaitFor("tool_dispatched"));
}

}  // namespace baleen
