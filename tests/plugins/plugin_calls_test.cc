// Calls of plugins that misbehave: a clear outcome each, in bounded time, and nothing left behind.
#include <sys/wait.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "runtime/plugins/plugin_set.h"
#include "tests/store/status_checks.h"
#include "tests/testing/sanitizer.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

/// In each of these places a plugin's misbehaviour comes to the same.
std::vector<PluginPlace> PlacesOutside() {
  std::vector<PluginPlace> places = {PluginPlace::kProcess};
  if (kAddressSanitizer) {
    WARN("SKIP plugins in the sandbox: " << kNoHostInSandbox);
    return places;
  }
  if (Sandbox::Probe().kind() != SandboxKind::kNone) places.push_back(PluginPlace::kSandbox);
  if (places.size() == 1) WARN("SKIP plugins in the sandbox: " << Sandbox::Probe().reason());
  return places;
}

PluginOptions OptionsOf(PluginPlace place, const std::string& path) {
  PluginOptions options;
  options.sandbox = std::make_shared<LazySandbox>();
  (place == PluginPlace::kSandbox   ? options.paths
   : place == PluginPlace::kProcess ? options.unsandboxed_paths
                                    : options.in_process_paths)
      .push_back(path);
  return options;
}

std::unique_ptr<PluginSet> Load(PluginPlace place) {
  return Must(PluginSet::Load(OptionsOf(place, BAD_CALLS_PLUGIN)));
}

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

ToolResult Call(const PluginSet& set, const std::string& tool, const std::string& arguments = "{}",
                const std::atomic<bool>* cancelled = nullptr) {
  for (const auto& found : set.tools()) {
    if (found->spec().name != tool) continue;
    CallContext context;
    context.cancelled = cancelled;
    context.deadline_ms = NowMs() + found->spec().timeout_ms;
    return found->Call({"s/t1.c1", tool, arguments}, context);
  }
  FAIL("no tool " << tool);
  return {};
}

size_t OpenDescriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

bool Says(const ToolResult& result, const std::string& words) {
  INFO(result.content.substr(0, 1000));
  return result.content.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("ACrashLeavesAnEffectUnknownAndKeepsWhatWasWritten") {
  const auto set = Load(GENERATE(from_range(PlacesOutside())));
  const ToolResult crash = Call(*set, "crash");
  REQUIRE(crash.outcome == ToolOutcome::kUnknown);
  CHECK(Says(crash, "signal 11"));
  CHECK(Says(crash, "so far so good"));
  CHECK(Says(crash, "1 of 2"));
  CHECK(Says(crash, "about to crash"));
  CHECK(Says(crash, "may or may not have happened"));
  const ToolResult pure = Call(*set, "crash_pure");
  REQUIRE(pure.outcome == ToolOutcome::kError);
  CHECK(Says(pure, "signal 6"));
  const ToolResult left = Call(*set, "leave");
  REQUIRE(left.outcome == ToolOutcome::kUnknown);
  CHECK(Says(left, "exited with status 0 without an answer"));
  // The next call goes as if nothing had been.
  REQUIRE(Call(*set, "tally").content == "1 s/t1.c1");
  REQUIRE(Call(*set, "tally").content == "1 s/t1.c1");
}

TEST_CASE("ACallThatHangsIsEndedAtItsTimeLimit") {
  const auto set = Load(GENERATE(from_range(PlacesOutside())));
  const int64_t begin = NowMs();
  const ToolResult late = Call(*set, "hang");
  REQUIRE(late.outcome == ToolOutcome::kTimeout);
  CHECK(Says(late, "300 ms"));
  CHECK(Says(late, "may or may not have happened"));
  REQUIRE(NowMs() - begin >= 300);
}

TEST_CASE("ACancelledCallIsAskedFirstAndEndedThen") {
  const auto set = Load(GENERATE(from_range(PlacesOutside())));
  std::atomic<bool> cancelled{false};
  const auto soon = [&](const std::string& tool) {
    ToolResult result;
    do {  // on a busy machine a process may not have come to its tool's body in the grace
      cancelled = false;
      std::thread thread([&] { cancelled = true; });
      result = Call(*set, tool, "{}", &cancelled);
      thread.join();
    } while (result.outcome == ToolOutcome::kAbortedBeforeDispatch);
    return result;
  };
  const ToolResult asked = soon("wait");
  REQUIRE(asked.outcome == ToolOutcome::kAborted);
  CHECK(Says(asked, "waiting"));
  CHECK(Says(asked, "The call was broken off."));
  const ToolResult pure = soon("hang_pure");
  REQUIRE(pure.outcome == ToolOutcome::kAborted);
  CHECK(Says(pure, "hanging"));
  const ToolResult effect = soon("hang_effect");
  REQUIRE(effect.outcome == ToolOutcome::kUnknown);
}

TEST_CASE("RubbishFloodsAndPrintsAreBounded") {
  const auto set = Load(GENERATE(from_range(PlacesOutside())));
  const ToolResult printed = Call(*set, "print");
  REQUIRE(printed.outcome == ToolOutcome::kOk);
  REQUIRE(printed.content == "printed");
  const ToolResult rubbish = Call(*set, "rubbish");
  REQUIRE(rubbish.outcome == ToolOutcome::kOk);
  REQUIRE(rubbish.content == std::string("a\xEF\xBF\xBD\xEF\xBF\xBD\0b", 9));
  const ToolResult flood = Call(*set, "flood");
  REQUIRE(flood.outcome == ToolOutcome::kOk);
  REQUIRE(flood.content.starts_with(std::string(1000, 'x') + "\n[cut: 1000 of 1048576"));
  REQUIRE(flood.content.size() < 1100);
  REQUIRE(flood.content_bytes == (int64_t{100} << 20) + 3);
}

TEST_CASE("APluginThatSpeaksPastItsHostIsEnded") {
  const auto set = Load(GENERATE(from_range(PlacesOutside())));
  const int64_t begin = NowMs();
  const ToolResult forged = Call(*set, "forge");
  REQUIRE(forged.outcome == ToolOutcome::kUnknown);
  CHECK(Says(forged, "a frame of "));
  const ToolResult length = Call(*set, "forge_length");
  CHECK(Says(length, "a frame of 2147483647 bytes"));
  const ToolResult output = Call(*set, "forge_output");
  REQUIRE(output.outcome == ToolOutcome::kUnknown);
  CHECK(Says(output, "sent more output than it may"));
  CHECK(output.content.size() < 3000);
  const ToolResult hung_up = Call(*set, "hang_up");
  REQUIRE(hung_up.outcome == ToolOutcome::kUnknown);
  CHECK(Says(hung_up, "closed its socket"));
  REQUIRE(NowMs() - begin < 25'000);  // not the time limits of four calls
}

TEST_CASE("FailuresAreWhatTheToolSays") {
  const auto set = Load(GENERATE(from_range(PlacesOutside())));
  const ToolResult thrown = Call(*set, "throw");
  REQUIRE(thrown.outcome == ToolOutcome::kError);
  REQUIRE(thrown.content == "thrown");
  const ToolResult unknown = Call(*set, "unknown");
  REQUIRE(unknown.outcome == ToolOutcome::kUnknown);
  REQUIRE(unknown.content == "the line broke");
  REQUIRE(Call(*set, "types", R"({"text":"ä","integer":3.0,"number":2,"boolean":true})").content ==
          "ä|3|2.000000|1");
  REQUIRE(Call(*set, "types", R"({"text":"t"})").content == "t|-1|-1.000000|0");
  REQUIRE(Call(*set, "types", R"({"text":"t","integer":2.5})").outcome == ToolOutcome::kError);
  REQUIRE(Call(*set, "types", R"({"text":"t","integer":1e300})").outcome == ToolOutcome::kError);
  REQUIRE(Call(*set, "types", R"({"text":5})").outcome == ToolOutcome::kError);
}

TEST_CASE("NothingIsLeftBehind") {
  const auto set = Load(PluginPlace::kProcess);
  const size_t before = OpenDescriptors();
  const ToolResult child = Call(*set, "leave_child");
  REQUIRE(child.outcome == ToolOutcome::kOk);
  // Ended with its group; a zombie waits for whoever inherits it, but runs no more.
  const std::string stat = "/proc/" + child.content + "/stat";
  bool runs = true;
  for (int64_t until = NowMs() + 30'000; runs && NowMs() < until;) {
    std::FILE* file = std::fopen(stat.c_str(), "r");
    char state = 'X';
    if (file != nullptr) {
      if (std::fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 'X';
      std::fclose(file);
    }
    runs = state != 'X' && state != 'Z';
    if (runs) std::this_thread::yield();
  }
  REQUIRE(!runs);
  Call(*set, "crash_pure");
  REQUIRE(OpenDescriptors() == before);
  siginfo_t state{};
  REQUIRE((waitid(P_ALL, 0, &state, WEXITED | WNOHANG | WNOWAIT) == -1 || state.si_pid == 0));
}

TEST_CASE("InProcessACallIsAskedToStopAndAloneAtATime") {
  const auto set = Load(PluginPlace::kThisProcess);
  REQUIRE(set->plugins()[0].place == PluginPlace::kThisProcess);
  REQUIRE(Call(*set, "tally").content == "1 s/t1.c1");
  REQUIRE(Call(*set, "tally").content == "2 s/t1.c1");  // one process, one memory
  REQUIRE(Call(*set, "flood").content_bytes == (int64_t{100} << 20) + 3);
  std::atomic<bool> first{false};
  ToolResult waited;
  std::thread call([&] { waited = Call(*set, "wait", "{}", &first); });
  std::atomic<bool> second{true};
  ToolResult refused;
  do {
    refused = Call(*set, "tally", "{}", &second);
  } while (refused.outcome == ToolOutcome::kOk);  // until the first one is in
  REQUIRE(refused.outcome == ToolOutcome::kAbortedBeforeDispatch);
  first = true;
  call.join();
  REQUIRE(waited.outcome == ToolOutcome::kAborted);
}

TEST_CASE("PluginsThatAreUnfitAreRefusedWithTheReason") {
  const std::vector<std::pair<std::string, std::string>> unfit = {
      {"BAD_MAJOR", "is of ABI 2; this Baleen takes 1"},
      {"BAD_NO_ENTRY", "exports no baleen_plugin_entry"},
      {"BAD_SIZE", "incomplete baleen_plugin_entry (20 bytes"},
      {"BAD_NO_FACTORY", "no factory baleen.tools/1"},
      {"BAD_INIT", "failed to initialise (7): it is Sunday"},
      {"BAD_NULL_TOOL", "tool 0 is NULL"},
      {"BAD_TOOL_SIZE", "struct_size is 8"},
      {"BAD_NAME", "name"},
      {"BAD_SCHEMA", "JSON"},
      {"BAD_LENGTH", "expected at most 4096"},
      {"BAD_LIMIT", "output_bytes_max is -1"},
      {"BAD_CRASH", "signal 6"},
      {"BAD_EXIT", "exited with status 0"},
  };
  for (const auto& [which, words] : unfit) {
    std::vector<PluginPlace> places = PlacesOutside();
    // Else it would be us.
    if (which != "BAD_CRASH" && which != "BAD_EXIT") places.push_back(PluginPlace::kThisProcess);
    for (const PluginPlace place : places) {
      const auto set =
          PluginSet::Load(OptionsOf(place, std::string(BAD_ENTRY_FOLDER) + "/" + which + ".so"));
      INFO(which << " in place " << static_cast<int>(place) << ": " << set.status().ToString());
      REQUIRE(!set.ok());
      CHECK(set.status().reason() == "PLUGIN_UNFIT");
      CHECK(set.status().message().find(words) != std::string::npos);
      CHECK(set.status().message().find(which + ".so") != std::string::npos);
    }
  }
}

TEST_CASE("APluginBuiltWithTheFirstHeaderIsServed") {
  std::vector<PluginPlace> places = PlacesOutside();
  places.push_back(PluginPlace::kThisProcess);
  for (const PluginPlace place : places) {
    const auto set = Must(PluginSet::Load(OptionsOf(place, FIRST_HEADER_PLUGIN)));
    REQUIRE(set->plugins()[0].manifest.version == "1.0");
    REQUIRE(set->tools().size() == 1);
    const ToolSpec& spec = set->tools()[0]->spec();
    REQUIRE((spec.effect == EffectClass::kPure && spec.timeout_ms == 30'000));
    REQUIRE(Call(*set, "count", R"({"text":"a b\nc"})").content == "1 lines, 3 words, 5 bytes");
    REQUIRE(Call(*set, "count", R"({"text":1})").outcome == ToolOutcome::kError);
  }
}

TEST_CASE("FilesThatAreNoPluginsAreRefused") {
  const auto refusal = [](const std::string& path) {
    return PluginSet::Load(OptionsOf(PluginPlace::kProcess, path)).status();
  };
  REQUIRE(refusal("/no/such/plugin.so").code() == StatusCode::kNotFound);
  REQUIRE(refusal("/proc/self/status").reason() == "PLUGIN_UNFIT");
  REQUIRE(refusal("/dev/null").message().find("regular file") != std::string::npos);
  REQUIRE(refusal("/").message().find("regular file") != std::string::npos);
  PluginOptions twice = OptionsOf(PluginPlace::kProcess, BAD_CALLS_PLUGIN);
  twice.unsandboxed_paths.emplace_back(BAD_CALLS_PLUGIN);
  REQUIRE(PluginSet::Load(twice).status().code() == StatusCode::kAlreadyExists);
  PluginOptions taken = OptionsOf(PluginPlace::kProcess, BAD_CALLS_PLUGIN);
  taken.taken_names = {"read", "crash"};
  REQUIRE(PluginSet::Load(taken).status().code() == StatusCode::kAlreadyExists);
  PluginOptions nowhere = OptionsOf(PluginPlace::kProcess, BAD_CALLS_PLUGIN);
  nowhere.tool_host = "/no/such/host";
  REQUIRE(PluginSet::Load(nowhere).status().code() == StatusCode::kUnavailable);
}

}  // namespace baleen
