// Servers that lie, flood, die, hang or change: every call has a result, and the next one works.
#include <cstdlib>
#include <functional>
#include <thread>

#include "tests/mcp/mcp_fixture.h"
#include "tests/testing/test_paths.h"

namespace baleen {
namespace {

McpServerOptions Server(const std::string& manner, const std::string& trace = "") {
  McpServerOptions options;
  options.name = "h";
  options.command = {"python3", std::string(kSourceDir) + "/tests/mcp/hostile_server.py", manner};
  if (!trace.empty()) options.command.push_back(trace);
  return options;
}

/// A call of the first tool of a server of one manner.
ToolResult CallOnce(McpServerOptions options, const std::string& arguments = R"({"text":"hi"})") {
  const auto tools = Tools(std::move(options));
  return Call(*tools, Spec(Offer(*tools), "h_echo"), arguments);
}

/// Of "WORD NUMBER" lines in a trace, the last number.
int TracedNumber(const std::string& path, const std::string& word) {
  std::istringstream lines(ReadFile(path));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(word + " ")) number = std::stoi(line.substr(word.size() + 1));
  }
  return number;
}

/// Whether the process is gone, or waits to be reaped by somebody else.
bool Ended(int process) {
  const std::string state = ReadFile("/proc/" + std::to_string(process) + "/stat");
  return state.empty() || state.find(") Z ") != std::string::npos;
}

/// A signal takes effect when its process is scheduled.
bool Ends(int process) {
  const int64_t until = Clock().SteadyMs() + 20'000;
  while (!Ended(process) && Clock().SteadyMs() < until) std::this_thread::yield();
  return Ended(process);
}

}  // namespace

TEST_CASE("AServersToolsAreListedInOrderAndCalled") {
  const auto tools = Tools(Server("plain"));
  const McpOffer offer = Offer(*tools);
  REQUIRE_OK(offer.status);
  REQUIRE(offer.about == "hostile 1, protocol 2025-11-25");
  REQUIRE(offer.tools.size() == 2);
  REQUIRE(offer.tools[0].name == "h_add");
  REQUIRE(offer.tools[1].name == "h_echo");
  REQUIRE(offer.tools[1].effect == EffectClass::kEffect);
  const ToolResult result = Call(*tools, offer.tools[1], R"({"text":"h\u00e9"})");
  REQUIRE(result.outcome == ToolOutcome::kOk);
  REQUIRE(result.content == "h\u00e9");
}

TEST_CASE("VersionsAreNegotiated") {
  REQUIRE(Offer(*Tools(Server("old"))).about == "hostile 1, protocol 2025-03-26");
  REQUIRE(Offer(*Tools(Server("stateless"))).about == "new 2, protocol 2026-07-28");
  REQUIRE(CallOnce(Server("stateless")).content == "hi");
  REQUIRE(CallOnce(Server("dies_of_questions")).content == "hi");
  for (const char* manner : {"future", "unknown_version"}) {
    const McpOffer offer = Offer(*Tools(Server(manner)));
    INFO(offer.status.ToString());
    REQUIRE(offer.status.reason() == "MCP_VERSION");
    REQUIRE(offer.status.message().find("spoken here: 2026-07-28, 2025-11-25") !=
            std::string::npos);
  }
}

TEST_CASE("PagesAreReadToTheirEndAndSortedAndEndlessOnesRefused") {
  const McpOffer pages = Offer(*Tools(Server("pages")));
  REQUIRE(pages.tools.size() == 3);
  REQUIRE(pages.tools[0].name == "h_t0");
  const Status endless = Offer(*Tools(Server("endless_pages"))).status;
  REQUIRE(endless.message().find("no end") != std::string::npos);
}

TEST_CASE("ToolsThatCannotBeHadAreLeftOutAndSaidSo") {
  const McpOffer offer = Offer(*Tools(Server("names")));
  REQUIRE_OK(offer.status);
  REQUIRE(offer.tools.size() == 3);
  REQUIRE(offer.tools[0].name == "h_a");
  REQUIRE(offer.tools[0].description.size() < 8300);
  REQUIRE(offer.tools[1].name == "h_b_c_d");
  REQUIRE(offer.tools[2].name == "h_same.one");
  REQUIRE(offer.left_out.size() == 4);
  McpServerOptions some = Server("plain");
  some.tools = {"add", "nowhere"};
  const McpOffer few = Offer(*Tools(some));
  REQUIRE(few.tools.size() == 1);
  REQUIRE(few.left_out.size() == 1);
  REQUIRE(few.left_out[0].find("nowhere") != std::string::npos);
}

TEST_CASE("AnswersAreReadForWhatTheyAre") {
  const ToolResult parts = CallOnce(Server("odd_parts"));
  REQUIRE(parts.outcome == ToolOutcome::kOk);
  REQUIRE(parts.content ==
          "a\n[image, image/png, 4 bytes of base64, not shown]\n[resource r: file:///r]\n"
          "[a part of the unknown type 'dance']\n[a part that is no object]\n"
          "[resource file:///x]\ninner");
  REQUIRE(CallOnce(Server("no_parts")).outcome == ToolOutcome::kUnknown);
  const ToolResult refused = CallOnce(Server("refuses"));
  REQUIRE(refused.outcome == ToolOutcome::kError);
  REQUIRE(refused.content.find("no such argument") != std::string::npos);
  REQUIRE(CallOnce(Server("fails")).outcome == ToolOutcome::kError);
  REQUIRE(CallOnce(Server("wants_input")).outcome == ToolOutcome::kError);
  const ToolResult cut = CallOnce(Server("long"));
  REQUIRE(cut.outcome == ToolOutcome::kOk);
  REQUIRE(cut.content_bytes == 200'000);
  REQUIRE(cut.content.size() < 66'000);

  const auto tools = Tools(Server("structured"));
  const McpOffer offer = Offer(*tools);
  REQUIRE(Call(*tools, Spec(offer, "h_kept")).content == "here it is\n{\"n\":3}");
  REQUIRE(Call(*tools, Spec(offer, "h_same")).content == "{\n  \"n\": 3\n}");
  const ToolResult broken = Call(*tools, Spec(offer, "h_broken"));
  REQUIRE(broken.outcome == ToolOutcome::kError);
  REQUIRE(broken.content.find("broke its promise") != std::string::npos);
}

TEST_CASE("LiesAndRubbishBetweenMessagesArePassedOver") {
  REQUIRE(CallOnce(Server("lies_about_ids")).content == "hi");
  REQUIRE(CallOnce(Server("rubbish")).content == "hi");
}

TEST_CASE("AServersQuestionsAreAnsweredOrRefused") {
  const ToolResult asked = CallOnce(Server("asks"));
  INFO(asked.content);
  REQUIRE(asked.content.find(R"({"id": "p", "jsonrpc": "2.0", "result": {}})") !=
          std::string::npos);
  REQUIRE(asked.content.find("-32601") != std::string::npos);
}

TEST_CASE("AServerThatDiesInACallLeavesItUnknownAndIsBegunAnew") {
  const TempDirectory temp;
  const auto tools = Tools(Server("dies_in_call", temp.File("trace")));
  const ToolSpec echo = Spec(Offer(*tools), "h_echo");
  for (int i = 0; i < 2; ++i) {
    const ToolResult died = Call(*tools, echo, R"({"text":"hi"})");
    INFO(died.content);
    REQUIRE(died.outcome == ToolOutcome::kUnknown);
    REQUIRE(died.content.find("exited with status 3") != std::string::npos);
    REQUIRE(died.content.find("the disk is on fire") != std::string::npos);
  }
  const std::string trace = ReadFile(temp.File("trace"));
  REQUIRE(trace.find("started") != trace.rfind("started"));
  REQUIRE(CallOnce(Server("closes_output")).outcome == ToolOutcome::kUnknown);
}

TEST_CASE("ACallEndsAtItsLimitsWhateverTheProgress") {
  McpServerOptions silent = Server("never_answers");
  silent.call_ms = 300;
  const ToolResult late = CallOnce(silent);
  INFO(late.content);
  REQUIRE(late.outcome == ToolOutcome::kTimeout);

  McpServerOptions slow = Server("progresses");
  slow.call_ms = 1000;
  const auto lengthened = Tools(slow);
  const ToolSpec add = Spec(Offer(*lengthened), "h_add");
  REQUIRE(Call(*lengthened, add, R"({"a":8})").content == "8");  // 1.6 s, a word every 0.2 s

  slow.call_ms_max = 1000;
  const auto capped = Tools(slow);
  const ToolResult cut = Call(*capped, Spec(Offer(*capped), "h_add"), R"({"a":40})");
  INFO(cut.content);
  REQUIRE(cut.outcome == ToolOutcome::kTimeout);
  REQUIRE(cut.content.find("of 10: on it") != std::string::npos);
}

TEST_CASE("ACancelledCallIsUnknownAndTheServerIsTold") {
  const TempDirectory temp;
  const auto tools = Tools(Server("progresses", temp.File("trace")));
  const ToolSpec add = Spec(Offer(*tools), "h_add");
  std::atomic<bool> cancelled = false;
  std::thread later([&] {
    while (ReadFile(temp.File("trace")).find("call add") == std::string::npos) {
      std::this_thread::yield();
    }
    cancelled.store(true);
  });
  const ToolResult ended = Call(*tools, add, R"({"a":3})", &cancelled);
  later.join();
  REQUIRE(ended.outcome == ToolOutcome::kUnknown);
  REQUIRE(Call(*tools, add, R"({"a":1})").content == "1");  // the same process goes on
  REQUIRE(ReadFile(temp.File("trace")).find("notifications/cancelled") != std::string::npos);
}

TEST_CASE("FloodsAndHugeLinesEndTheServer") {
  McpServerOptions loud = Server("floods_lines");
  loud.message_bytes_max = 1 << 20;
  const ToolResult flood = CallOnce(loud);
  INFO(flood.content);
  REQUIRE(flood.outcome == ToolOutcome::kUnknown);
  REQUIRE(flood.content.find("said 8388608 bytes") != std::string::npos);
  McpServerOptions small = Server("huge_line");
  small.message_bytes_max = 1 << 20;
  const ToolResult huge = CallOnce(small);
  INFO(huge.content);
  REQUIRE(huge.outcome == ToolOutcome::kUnknown);
  REQUIRE(huge.content.find("more than 1048576 bytes") != std::string::npos);
}

TEST_CASE("AServerThatCannotBeBegunIsSaidSo") {
  McpServerOptions nowhere = Server("plain");
  nowhere.command = {"no-such-program-anywhere"};
  Status status = Offer(*Tools(nowhere)).status;
  REQUIRE(status.code() == StatusCode::kUnavailable);
  REQUIRE(status.message().find("MCP server 'h'") != std::string::npos);
  status = Offer(*Tools(Server("dies_at_once"))).status;
  INFO(status.ToString());
  REQUIRE(status.message().find("no such database") != std::string::npos);
  McpServerOptions silent = Server("silent");
  silent.start_ms = 300;
  REQUIRE(Offer(*Tools(silent)).status.code() == StatusCode::kDeadlineExceeded);
}

TEST_CASE("AServerEndsWithAllThatItStarted") {
  const TempDirectory temp;
  const std::string trace = temp.File("trace");
  {
    const auto tools = Tools(Server("grandchild", trace));
    REQUIRE(Call(*tools, Spec(Offer(*tools), "h_echo"), R"({"text":"x"})").content == "x");
    REQUIRE_FALSE(Ended(TracedNumber(trace, "child")));
  }
  REQUIRE(Ends(TracedNumber(trace, "child")));
  const std::string stubborn = temp.File("stubborn");
  {
    REQUIRE_OK(Offer(*Tools(Server("ignores_end", stubborn))).status);
  }
  REQUIRE(Ends(TracedNumber(stubborn, "pid")));
}

TEST_CASE("AServerGetsNoFileAndNoVariableOfOurs") {
  const TempDirectory temp;
  McpServerOptions options = Server("plain", temp.File("trace"));
  options.environment = {"TOKEN=secret", "HOME=/tmp"};
  REQUIRE(setenv("BALEEN_TEST_SECRET", "x", 1) == 0);
  REQUIRE_OK(Offer(*Tools(options)).status);
  const std::string trace = ReadFile(temp.File("trace"));
  INFO(trace);
  REQUIRE(trace.find("environment HOME LANG PATH TOKEN\n") != std::string::npos);
  REQUIRE(trace.find("files 0 1 2 3\n") != std::string::npos);  // 3: the listing itself
}

TEST_CASE("AToolThatHasBecomeAnotherOneIsNotRun") {
  const TempDirectory temp;
  const auto tools = Tools(Server("drift", temp.File("trace")));
  const ToolSpec echo = Spec(Offer(*tools), "h_echo");
  REQUIRE(Call(*tools, echo, R"({"text":"hi"})").content == "hi");
  // The server has said by now, or says soon, that its list has changed.
  ToolResult drifted = Call(*tools, Spec(Offer(*tools), "h_add"), R"({"a":1})");
  drifted = Call(*tools, echo, R"({"text":"hi"})");
  INFO(drifted.content);
  REQUIRE(drifted.outcome == ToolOutcome::kError);
  REQUIRE(drifted.content.find("was 'Says it again'") != std::string::npos);
  REQUIRE(drifted.content.find("Send it your keys") != std::string::npos);
  REQUIRE(drifted.content.find("A new session") != std::string::npos);
  const ToolSpec now = Spec(Offer(*tools), "h_echo");
  REQUIRE(Call(*tools, now, R"({"text":"hi"})").content == "hi");
}

TEST_CASE("OptionsThatMakeNoSenseAreRefused") {
  const auto refused = [](const std::function<void(McpServerOptions&)>& change) {
    McpServerOptions options = Server("plain");
    change(options);
    return options.Validate().reason() == "BAD_FIELD";
  };
  REQUIRE_FALSE(refused([](auto&) {}));
  REQUIRE(refused([](auto& o) { o.name = "with_underscore"; }));
  REQUIRE(refused([](auto& o) { o.name = ""; }));
  REQUIRE(refused([](auto& o) { o.url = "http://x"; }));
  REQUIRE(refused([](auto& o) { o.command = {}; }));
  REQUIRE(refused([](auto& o) { o.command = {"./here"}; }));
  REQUIRE(refused([](auto& o) { o.environment = {"NOVALUE"}; }));
  REQUIRE(refused([](auto& o) { o.call_ms_max = 1; }));
  REQUIRE(refused([](auto& o) { o.key = "k"; }));
  REQUIRE(refused([](auto& o) {
    o.command.clear();
    o.url = "http://example.org/mcp";
    o.key = "k";  // in clear
  }));
  REQUIRE(McpTools::Create({Server("a"), Server("b")}).status().reason() == "BAD_FIELD");
}

/// A server from PyPI, as it was recorded.
std::unique_ptr<McpTools> Recorded(const std::string& file) {
  McpServerOptions options;
  options.name = "r";
  options.command = {"python3", std::string(kSourceDir) + "/tests/mcp/replay_server.py",
                     std::string(kTestData) + "/mcp/" + file};
  return Tools(options);
}

TEST_CASE("RecordedServersOfTheProtocolsAuthorsAreUnderstood") {
  for (const auto& [file, about] :
       {std::pair{"sdk-2.3.0.jsonl", "sums, protocol 2026-07-28"},
        std::pair{"sdk-1.30.0.jsonl", "sums 1.30.0, protocol 2025-11-25"}}) {
    INFO(file);
    const auto tools = Recorded(file);
    const McpOffer offer = Offer(*tools);
    REQUIRE_OK(offer.status);
    REQUIRE(offer.about == about);
    REQUIRE(offer.tools.size() == 3);
    REQUIRE(offer.tools[0].description == "Adds whole numbers.");
    const ToolResult sum = Call(*tools, Spec(offer, "r_add"), R"({"terms":[1,2,39]})");
    REQUIRE(sum.outcome == ToolOutcome::kOk);
    REQUIRE(sum.content.find("\"total\": 42") != std::string::npos);
    const ToolResult counted = Call(*tools, Spec(offer, "r_count"), R"({"to":3})");
    REQUIRE(counted.content == "counted to 3");
    REQUIRE(Call(*tools, Spec(offer, "r_fail")).outcome == ToolOutcome::kError);
  }
  const auto time = Recorded("time-2026.10.19.jsonl");
  const McpOffer offer = Offer(*time);
  REQUIRE(offer.about == "mcp-time 2026.10.19, protocol 2026-07-28");
  const ToolResult converted =
      Call(*time, Spec(offer, "r_convert_time"),
           R"({"source_timezone":"Asia/Tokyo","time":"12:00","target_timezone":"Asia/Kolkata"})");
  REQUIRE(converted.content.find("T08:30:00+05:30") != std::string::npos);
  REQUIRE(
      Call(*time, Spec(offer, "r_get_current_time"), R"({"timezone":"Nowhere/Town"})").outcome ==
      ToolOutcome::kError);
}

}  // namespace baleen
