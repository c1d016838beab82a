// The example scripts, played through with what a model and tools could say.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "agent/script_check.h"
#include "tests/agent/script_run.h"

namespace baleen {
namespace {

std::string ReadExample(const std::string& name) {
  std::ifstream file(std::string(BALEEN_EXAMPLES) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

GeneratedEvent Says(std::string text) {
  GeneratedEvent event;
  event.message.content = std::move(text);
  return event;
}

template <typename Wanted>
const Wanted& Take(const ScriptRun& run) {
  INFO(run.status.ToString() << " " << EffectToJson(run.effect));
  REQUIRE(std::holds_alternative<Wanted>(run.effect));
  return std::get<Wanted>(run.effect);
}

TEST_CASE("EveryExampleIsShortCleanAndLoads") {
  int64_t examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BALEEN_EXAMPLES)) {
    const std::string name = entry.path().filename();
    CAPTURE(name);
    const std::string script = ReadExample(name);
    CHECK(std::count(script.begin(), script.end(), '\n') < 100);
    const auto findings = LintScript(script, name);
    REQUIRE(findings.ok());
    CHECK(findings->empty());
    AgentOptions options;
    options.script = script;
    options.script_name = name;
    const auto agent = Agent::Create(options);
    CAPTURE(agent.status().ToString());
    CHECK(agent.ok());
    ++examples;
  }
  CHECK(examples == 5);
}

TEST_CASE("TheNightlyAuditEditsWhatIsApprovedAndNothingElse") {
  ScriptRun run(ReadExample("nightly_audit.lua"));
  REQUIRE(run.Step(UserTurnEvent{"old versions"}));
  CHECK(Take<AccountEffect>(run).tokens == 400'000);
  REQUIRE(run.Step(AccountEvent{}));
  Take<SleepEffect>(run);
  REQUIRE(run.Step(ClockEvent{1'000'000}));
  CHECK(Take<CallToolsEffect>(run).calls[0].name == "project_files");
  REQUIRE(run.Step(ToolResultsEvent{{{"c1", ToolOutcome::kOk, "begun", 0}}}));
  for (int i = 0; i < 5; ++i) {  // the body reads
    const auto& calls = Take<CallToolsEffect>(run).calls;
    CHECK(calls[0].name == "read");
    const bool there = i == 0;
    REQUIRE(run.Step(ToolResultsEvent{{{calls[0].id, there ? ToolOutcome::kOk : ToolOutcome::kError,
                                        there ? "find_package(Lua 5.3)" : "no such file", 0}}}));
  }
  Take<AccountEffect>(run);
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<GenerateEffect>(run).append[0].content.find("find_package(Lua 5.3)") !=
        std::string::npos);
  REQUIRE(run.Step(Says(R"([{"file":"CMakeLists.txt","problem":"old","change":"5.4","risk":"low"},)"
                        R"({"file":"b.txt","problem":"old","change":"2","risk":"high"}])")));
  CHECK(!Take<AccountEffect>(run).opens);
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<ApproveEffect>(run).title == "Change CMakeLists.txt");
  REQUIRE(run.Step(ApprovalEvent{true, "ann", ""}));
  Take<GenerateEffect>(run);
  GeneratedEvent edits;
  edits.message.tool_calls = {{"1", "edit", R"({"path":"CMakeLists.txt"})"},
                              {"2", "edit", R"({"path":"b.txt"})"},
                              {"3", "read", R"({"path":"x/.env"})"}};
  REQUIRE(run.Step(edits));
  const auto& verdicts = Take<CallToolsEffect>(run).verdicts;
  REQUIRE(verdicts.size() == 2);
  CHECK(verdicts[0].call_id == "2");
  CHECK(verdicts[0].why == "nobody has approved a change of this file");
  CHECK(verdicts[1].why == "secrets stay out of the context");
  REQUIRE(run.Step(ToolResultsEvent{{{"1", ToolOutcome::kOk, "", 0},
                                     {"2", ToolOutcome::kDenied, "", 0},
                                     {"3", ToolOutcome::kDenied, "", 0}}}));
  REQUIRE(run.Step(Says("Done.")));
  CHECK(Take<ApproveEffect>(run).title == "Change b.txt");
  REQUIRE(run.Step(ApprovalEvent{false, "ann", "not that"}));
  REQUIRE(run.Step(ClockEvent{1'060'000}));
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<FinishEffect>(run).text.find(R"("seconds":60)") != std::string::npos);
  CHECK(Take<FinishEffect>(run).text.find("was denied by ann: not that") != std::string::npos);
}

/// What a call of bash says.
std::string Ran(int exit_code) {
  return "output\n[exit code: " + std::to_string(exit_code) + "; 5 ms]";
}

/// What the turn of a fork gives that calls a tool.
ChildTurnEnd Called(int exit_code) {
  return {true,
          R"({"content":"[exit code: )" + std::to_string(exit_code) + R"(; 5 ms]","outcome":"OK"})",
          "",
          50,
          0,
          1,
          0};
}

TEST_CASE("TriageAppliesTheSmallestPatchThatPassesAndSomebodyApproves") {
  ScriptRun run(ReadExample("triage.lua"));
  REQUIRE(run.Step(UserTurnEvent{"make test"}));
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<CallToolsEffect>(run).calls[0].name == "bash");
  REQUIRE(run.Step(ToolResultsEvent{{{"c1", ToolOutcome::kOk, Ran(1), 0}}}));
  CHECK(Take<GenerateEffect>(run).append[0].content.find("`make test` says:\noutput") !=
        std::string::npos);
  REQUIRE(run.Step(Says(R"(["disk","net","cpu"])")));
  for (int i = 0; i < 3; ++i) {
    CHECK(Take<ForkEffect>(run).label == "try " + std::to_string(i + 1));
    CHECK(Take<ForkEffect>(run).worktree == ForkEffect::Worktree::kTracked);
    REQUIRE(run.Step(ForkedEvent{"kid" + std::to_string(i), "copied: 2 files"}));
  }
  REQUIRE(Take<ChildTurnsEffect>(run).turns.size() == 3);
  CHECK(Take<ChildTurnsEffect>(run).turns[1].text.find("the cause is: net") != std::string::npos);
  REQUIRE(run.Step(ChildTurnsEvent{{ChildTurnEnd{true, "Done.", "", 100, 0, 0, 0},
                                    ChildTurnEnd{true, "Fixed.", "", 100, 0, 0, 0},
                                    ChildTurnEnd{true, "Hm.", "", 100, 0, 0, 0}}}));
  const std::string small = "--- a/src/a.c\n+++ b/src/a.c\n@@ -1 +1 @@\n-a\n+b\n";
  for (const auto& [kid, diff] : std::vector<std::pair<std::string, std::string>>{
           {"kid0", small + "--- a/b.c\n+++ b/b.c\n@@ -1 +1 @@\n-a\n+b\n"},
           {"kid1", small},
           {"kid2", "--- a/c\n+++ b/c\n@@ -1 +1 @@\n-a\n+b\n"}}) {
    CHECK(Take<WorktreeEffect>(run).session == kid);
    CHECK(!Take<WorktreeEffect>(run).removes);
    REQUIRE(run.Step(WorktreeEvent{diff, ""}));
  }
  // The tests of one were cut short by a crash: they run again.
  REQUIRE(Take<ChildTurnsEffect>(run).turns.size() == 3);
  ChildTurnEnd unknown = Called(0);
  unknown.text = R"({"content":"","outcome":"UNKNOWN"})";
  REQUIRE(run.Step(ChildTurnsEvent{{Called(0), unknown, Called(1)}}));
  for (const char* const kid : {"kid0", "kid2", "kid1"}) {
    if (kid == std::string("kid1")) {
      REQUIRE(Take<ChildTurnsEffect>(run).turns.size() == 1);
      CHECK(Take<ChildTurnsEffect>(run).turns[0].session == kid);
      REQUIRE(run.Step(ChildTurnsEvent{{Called(0)}}));
    }
    CHECK(Take<WorktreeEffect>(run).session == kid);
    CHECK(Take<WorktreeEffect>(run).removes);
    REQUIRE(run.Step(WorktreeEvent{}));
  }
  CHECK(Take<ApproveEffect>(run).title == "Apply the fix for: net");
  CHECK(Take<ApproveEffect>(run).description.find("diff: " + small) != std::string::npos);
  REQUIRE(run.Step(ApprovalEvent{true, "ann", ""}));
  const CallToolsEffect apply = Take<CallToolsEffect>(run);
  CHECK(apply.calls[0].name == "apply_diff");
  CHECK(apply.calls[0].arguments.find("src/a.c") != std::string::npos);
  CHECK(apply.verdicts.empty());
  REQUIRE(run.Step(ToolResultsEvent{{{apply.calls[0].id, ToolOutcome::kOk, "applied", 0}}}));
  const std::string last = Take<CallToolsEffect>(run).calls[0].id;
  REQUIRE(run.Step(ToolResultsEvent{{{last, ToolOutcome::kOk, Ran(0), 0}}}));
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<FinishEffect>(run).text == R"({"cause":"net","passes":true,"tries":3})");
}

TEST_CASE("TriageDoesntApplyAPatchOfItsTests") {
  ScriptRun run(ReadExample("triage.lua") +
                "\nreturn function(message) return (select(2, pcall(s.apply, s, message))) end");
  REQUIRE(run.Step(UserTurnEvent{"--- a/tests/a.py\n+++ b/tests/a.py\n@@ -1 +1 @@\n-a\n+b\n"}));
  const auto& verdicts = Take<CallToolsEffect>(run).verdicts;
  REQUIRE(verdicts.size() == 1);
  CHECK(verdicts[0].deny);
  CHECK(verdicts[0].why == "tests/a.py: a fix changes no tests");
}

TEST_CASE("ATreeIsSummarisedByForksAndRemembered") {
  ScriptRun run(ReadExample("summarise_tree.lua"));
  REQUIRE(run.Step(UserTurnEvent{"*.h"}));
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<CallToolsEffect>(run).calls[0].name == "glob");
  REQUIRE(run.Step(ToolResultsEvent{{{"c1", ToolOutcome::kOk, "a.h\nb.h\n[2 of 2 paths]", 0}}}));
  for (const char* const path : {"a.h", "b.h"}) {
    CHECK(Take<ForkEffect>(run).label == path);
    REQUIRE(run.Step(ForkedEvent{std::string("kid-") + path[0]}));
  }
  REQUIRE(Take<ChildTurnsEffect>(run).turns.size() == 2);
  REQUIRE(run.Step(ChildTurnsEvent{
      {ChildTurnEnd{true, R"({"purpose":"It adds.","decides":["x","y"]})", "", 9, 1, 1, 0},
       ChildTurnEnd{false, "", "cancelled", 9, 1, 1, 0}}}));
  const auto& note = Take<CallToolsEffect>(run);
  CHECK(note.calls[0].name == "remember");
  CHECK(note.calls[0].arguments == R"({"text":"a.h: It adds. Decides: x; y"})");
  CHECK(note.verdicts.empty());
  REQUIRE(
      run.Step(ToolResultsEvent{{{note.calls[0].id, ToolOutcome::kOk, "remembered as n1", 0}}}));
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<FinishEffect>(run).text ==
        R"({"files":2,"remembered":1,"unread":["b.h: cancelled"]})");
}

}  // namespace
}  // namespace baleen
