// The harness calls a linked-in plugin without a runtime, and keeps to the host's rules.
#include <baleen/plugin_harness.h>
#include <baleen/plugin_tool.h>
#include <poll.h>

#include <catch2/catch.hpp>
#include <string>

std::string BaleenHarnessIn17();

BALEEN_PLUGIN("harnessed", "1.2",
              Tool("twice", "Says a text twice.")
                  .Argument<std::string>("text", "What is said.")
                  .Optional<int>("times", "How often instead.")
                  .Pure()
                  .OutputBytesMax(100)
                  .Run([](Call& call) -> std::string {
                    call.Progress("reading \"it\"");
                    std::string said;
                    const int times = call.Get<int>("times").value_or(2);
                    for (int i = 0; i < times && !call.Cancelled(); ++i) {
                      if (!call.Write(*call.Get<std::string>("text"))) break;
                    }
                    call.CheckCancelled();
                    return said;
                  }),
              Tool("fd", "Waits.").Run([](Call& call) -> std::string {
                pollfd fd = {call.cancel_fd(), POLLIN, 0};
                return poll(&fd, 1, 0) == 1 ? "readable" : "not yet";
              }));

namespace baleen::plugin {
namespace {

TEST_CASE("TheHarnessCallsToolsAndKeepsTheHostsRules") {
  const Harness harness(baleen_plugin_entry);
  REQUIRE(harness.Call("twice", {{"text", "ab"}}).output == "abab");
  REQUIRE(harness.Call("twice", {{"text", "ab"}, {"times", 3}}).output == "ababab");
  REQUIRE(harness.Call("twice", {{"text", "ab"}, {"times", 3.0}}).output == "ababab");
  REQUIRE(harness.Call("twice", {{"text", "a"}}).progress == "reading \"it\"");
  const Seen full = harness.Call("twice", {{"text", std::string(60, 'x')}});
  REQUIRE((full.ok && full.full && full.output == std::string(100, 'x')));
}

TEST_CASE("TheHarnessTellsOfWrongTypesFailuresAndCancellation") {
  const Harness harness(baleen_plugin_entry);
  for (const Value& wrong : {Value("3"), Value(3.5), Value(int64_t{1} << 40), Value(true)}) {
    const Seen seen = harness.Call("twice", {{"text", "a"}, {"times", wrong}});
    REQUIRE(!seen.ok);
    REQUIRE(seen.failure == BALEEN_FAILURE_ERROR);
    REQUIRE(seen.text.find("'times'") != std::string::npos);
  }
  CallOptions options;
  options.cancel_after_writes = 2;
  const Seen seen = harness.Call("twice", {{"text", "a"}, {"times", 50}}, options);
  REQUIRE(seen.failure == BALEEN_FAILURE_ABORTED);
  REQUIRE(seen.output == "aa");
  REQUIRE(harness.Call("fd", {}).output == "not yet");
  options.cancelled = true;
  REQUIRE(harness.Call("fd", {}, options).output == "readable");
}

TEST_CASE("TheWrapperWritesSchemasThatAreJson") {
  const Harness harness(baleen_plugin_entry);
  REQUIRE(
      View(harness.tool("twice").parameters) ==
      R"({"type":"object","properties":{"text":{"type":"string","description":"What is said."},)"
      R"("times":{"type":"integer","description":"How often instead."}},"required":["text"],)"
      R"("additionalProperties":false})");
  REQUIRE(Quoted("a\"\\\n\x01") == "\"a\\\"\\\\\\u000a\\u0001\"");
  REQUIRE(BaleenHarnessIn17() == "3");
}

TEST_CASE("TheHarnessRefusesABrokenEntry") {
  baleen_plugin broken = baleen_plugin_entry;
  broken.abi_major = 9;
  REQUIRE_THROWS_AS(Harness(broken), std::runtime_error);
  broken = baleen_plugin_entry;
  broken.struct_size = 12;
  REQUIRE_THROWS_AS(Harness(broken), std::runtime_error);
  broken = baleen_plugin_entry;
  broken.get_factory = [](const char*) -> const void* { return nullptr; };
  REQUIRE_THROWS_AS(Harness(broken), std::runtime_error);
}

}  // namespace
}  // namespace baleen::plugin
