// bash and its jobs as a session has them.
#include "runtime/sandbox/bash_tools.h"

#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/workspace/workspace.h"
#include "runtime/workspace/workspace_editor.h"
#include "tests/sandbox/outside_world.h"
#include "tests/testing/temp_directory.h"
#include "tools_sdk/builtin/grep.h"
#include "tools_sdk/builtin/read.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

struct Fixture {
  Fixture() {
    files = std::move(*Workspace::Open(temp.path()));
    editor = std::make_unique<WorkspaceEditor>(files);
    context.files = files.get();
    context.changes = editor.get();
    context.cancelled = &cancelled;
    bash = std::make_unique<BashTools>(sandbox, ProcessBounds{temp.path(), nullptr});
    tools = bash->tools();
  }
  bool Ready() {
    if (sandbox->Get().kind() != SandboxKind::kNone) return true;
    WARN("SKIP: " << sandbox->Get().reason());
    return false;
  }
  std::string Run(size_t which, const Json& arguments) {
    result = tools[which]->Call({"id", tools[which]->spec().name, arguments.dump()}, context);
    CHECK(result.call_id == "id");
    CHECK(static_cast<int64_t>(result.content.size()) <= tools[which]->spec().output_bytes_max);
    CHECK(Utf8ValidPrefix(result.content) == result.content.size());
    return result.content;
  }
  std::string Bash(const std::string& command) { return Run(0, {{"command", command}}); }

  TempDirectory temp;
  std::shared_ptr<const Workspace> files;
  std::unique_ptr<WorkspaceEditor> editor;
  std::shared_ptr<LazySandbox> sandbox = std::make_shared<LazySandbox>();
  std::unique_ptr<BashTools> bash;
  std::vector<std::shared_ptr<Tool>> tools;
  std::atomic<bool> cancelled = false;
  CallContext context;
  ToolResult result;
};

bool Has(const std::string& text, std::string_view part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

TEST_CASE("BashSchemasAreSupportedAndCommandsAskForLeave") {
  for (const ToolSpec& spec : BashToolSpecs()) {
    INFO(spec.name);
    CHECK(Schema::Parse(spec.parameters).ok());
  }
  CHECK(BashToolSpecs()[0].effect == EffectClass::kEffect);
}

TEST_CASE("BashAnswersWithOutputAndExitCode") {
  Fixture f;
  if (!f.Ready()) return;
  f.temp.Write("sub/a.txt", "hello");
  CHECK(Has(f.Bash("echo out; echo err >&2; exit 3"), "out\nerr\n[exit code: 3; "));
  CHECK(f.result.outcome == ToolOutcome::kOk);
  CHECK(Has(f.Run(0, {{"command", "cat a.txt; pwd"}, {"workdir", "sub"}}), "hello"));
  CHECK(Has(f.Bash("echo 'one\ntwo' > made.txt && wc -l < made.txt"), "2\n[exit code: 0"));
  CHECK(Has(f.Run(0, {{"command", "true"}, {"workdir", "../"}}), "outside the workspace"));
  CHECK(f.result.outcome == ToolOutcome::kError);
  CHECK(Has(f.Run(0, {{"command", "true"}, {"workdir", "none"}}), "No such file"));
  CHECK(Has(f.Bash(std::string("a\0b", 3)), "NUL"));
  CHECK(Has(f.Bash("printf '\\377\\000x'"), "\xEF\xBF\xBD"));
  CHECK(Has(f.Bash("kill -KILL $$"), "[exit code: 137"));
  CHECK(Has(f.Bash("cat"), "[exit code: 0"));  // nobody types
}

TEST_CASE("BashEndsWhatRunsTooLongOrIsCancelled") {
  Fixture f;
  if (!f.Ready()) return;
  CHECK(Has(f.Run(0, {{"command", "echo begun; sleep 300"}, {"timeout_s", 0.4}}),
            "it ran longer than 400 ms and was ended"));
  CHECK(f.result.outcome == ToolOutcome::kTimeout);
  f.cancelled = true;
  CHECK(Has(f.Bash("sleep 300"), "it was stopped"));
}

TEST_CASE("LongOutputIsCutAndTheRestCanBeRead") {
  Fixture f;
  if (!f.Ready()) return;
  const std::string shown = f.Bash("seq 1 50000");
  CHECK(shown.starts_with("1\n2\n3\n"));
  CHECK(Has(shown, "bytes left out here; all of it is in '.baleen/output-1.txt'"));
  CHECK(Has(shown, "\n49999\n50000\n[exit code: 0"));
  const auto read = NewReadTool();
  CHECK(read->Call({"r", "read", R"({"path":".baleen/output-1.txt","offset":25000,"limit":1})"},
                   f.context)
            .content.starts_with("25000: 25000\n"));
  // It isn't in the way of a search of the tree.
  const auto grep = NewGrepTool();
  CHECK(grep->Call({"g", "grep", R"({"pattern":"25000"})"}, f.context)
            .content.starts_with("[no match"));
  CHECK(Has(f.Bash("seq 1 50000"), ".baleen/output-2.txt"));
}

/// Clock ticks since the machine began: when the first process of the command's namespace did, and
/// when it was called. Zero: it has no such process of its own.
std::pair<int64_t, int64_t> BeginOfSandbox(Fixture& f) {
  std::ifstream uptime("/proc/uptime");
  double called_s = 0;
  uptime >> called_s;
  const std::string told = f.Bash("cut -d' ' -f22 /proc/1/stat");
  return {std::atoll(told.c_str()), static_cast<int64_t>(called_s * sysconf(_SC_CLK_TCK))};
}

TEST_CASE("ACommandThatIsExpectedFindsItsSandboxMade") {
  Fixture f;
  if (!f.Ready()) return;
  if (f.sandbox->Get().kind() != SandboxKind::kBubblewrap) {
    WARN("SKIP: only bubblewrap makes sandboxes ahead");
    return;
  }
  const auto [begun, called] = BeginOfSandbox(f);
  CHECK(begun >= called);
  // The first, and the next one of the same answer; it may be slow where others work.
  for (int i = 0; i < 2; ++i) {
    bool ahead = false;
    for (int tries = 0; tries < 100 && !ahead; ++tries) {
      if (i == 0) {
        f.bash->Expect(true);
        f.bash->Prepare();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100 + 10 * tries));
      const auto [at, call] = BeginOfSandbox(f);
      ahead = at < call;
    }
    CHECK(ahead);
  }
  while (OutsideWorld::Marked(f.temp.path()) == 0) std::this_thread::yield();
  f.bash->Expect(false);
  f.bash->Prepare();
  CHECK(OutsideWorld::Marked(f.temp.path()) == 0);
  CHECK(Has(f.Bash("echo still"), "still"));
  CHECK(OutsideWorld::Marked(f.temp.path()) == 0);
}

TEST_CASE("JobsTellWhatIsNewAndEndWhenAsked") {
  Fixture f;
  if (!f.Ready()) return;
  CHECK(Has(f.Run(0, {{"command",
                       "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; "
                       "sleep 300"},
                      {"background", true}}),
            "started 'job-1'"));
  std::string seen;
  while (seen.find("one") == std::string::npos) seen += f.Run(1, {{"job", "job-1"}});
  f.temp.Write("go", "");
  std::string more;
  while (more.find("two") == std::string::npos) more += f.Run(1, {{"job", "job-1"}});
  CHECK(more.find("one") == std::string::npos);
  CHECK(Has(more, "[still running]"));
  CHECK(Has(f.Run(2, {{"job", "job-1"}}), "it was stopped and was ended"));
  CHECK(Has(f.Run(1, {{"job", "job-9"}}), "there are: job-1"));
  CHECK(Has(f.Run(0, {{"command", "echo done"}, {"background", true}}), "'job-2'"));
  CHECK(Has(f.Run(1, {{"job", "job-2"}, {"wait_s", 60}}), "done\n[exit code: 0"));
  for (int i = 0; i < 8; ++i) f.Run(0, {{"command", "sleep 300"}, {"background", true}});
  CHECK(Has(f.Run(0, {{"command", "sleep 300"}, {"background", true}}), "8 background jobs run"));
}

}  // namespace
}  // namespace baleen
