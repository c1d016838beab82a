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

TEST_CASE("ThreeTriesKeepTheBest") {
  ScriptRun run(ReadExample("three_tries.lua"));
  REQUIRE(run.Step(UserTurnEvent{"Why?"}));
  REQUIRE(run.Step(AccountEvent{}));
  REQUIRE(run.Step(Says(R"(["disk","net","cpu"])")));
  const char* const verdicts[] = {R"({"certain":"maybe","evidence":"slow"})",
                                  R"({"certain":"yes","evidence":"refused"})", ""};
  ChildTurnsEvent ends;
  for (int i = 0; i < 3; ++i) {
    CHECK(Take<ForkEffect>(run).label == "try " + std::to_string(i + 1));
    REQUIRE(run.Step(ForkedEvent{"kid" + std::to_string(i)}));
    ends.ends.push_back({i < 2, verdicts[i], "cancelled", 100, 0, 0, 0});
  }
  const std::vector<ChildTurn> asked = Take<ChildTurnsEffect>(run).turns;
  REQUIRE(asked.size() == 3);
  for (int i = 0; i < 3; ++i) CHECK(asked[i].session == "kid" + std::to_string(i));
  REQUIRE(run.Step(ends));
  const auto& prompt = Take<GenerateEffect>(run).append;
  REQUIRE(prompt.size() == 2);
  CHECK(prompt[1].content == "Most likely cause: net. Evidence: refused");
  REQUIRE(run.Step(Says("It is the net.")));
  REQUIRE(run.Step(AccountEvent{}));
  CHECK(Take<FinishEffect>(run).text == "It is the net.");
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
  REQUIRE(run.Step(
      ChildTurnsEvent{{{true, R"({"purpose":"It adds.","decides":["x","y"]})", "", 9, 1, 1, 0},
                       {false, "", "cancelled", 9, 1, 1, 0}}}));
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
