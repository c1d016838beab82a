#include "agent/effect.h"

#include <catch2/catch.hpp>

namespace baleen {
namespace {

GeneratedEvent FullEvent() {
  GeneratedEvent event;
  event.message.role = Role::kAssistant;
  event.message.content = "c \"quoted\" \n é";
  event.message.reasoning = "r";
  event.message.tool_calls = {{"i1", "read", R"({"z":1,"a":2.0})"}, {"i2", "list", "{}"}};
  event.message.tools = {"{}"};
  event.reason = FinishReason::kToolCalls;
  event.parse_error = "e";
  event.tokens = INT64_MAX;
  return event;
}

TEST_CASE("EventsComeBackAsTheyWere") {
  const AgentEvent events[] = {
      UserTurnEvent{"hello"},
      UserTurnEvent{},
      FullEvent(),
      GeneratedEvent{},
      ToolResultsEvent{},
      ToolResultsEvent{{{"a", ToolOutcome::kUnknown, "x", 9}, {"b", ToolOutcome::kDenied, "", 0}}},
      ChildTurnsEvent{{ChildTurnEnd{true, "done", "", 1, 2, 3, 4, {"a.txt"}}}},
      ChildTurnsEvent{{std::nullopt, ChildTurnEnd{false, "", "it failed", 1, 2, 3, 4}}},
      CompactionDueEvent{4000, 4096}};
  for (const AgentEvent& event : events) {
    const std::string json = AgentEventToJson(event);
    INFO(json);
    const Result<AgentEvent> back = AgentEventFromJson(json);
    INFO(back.status().message());
    REQUIRE(back.ok());
    CHECK(back->index() == event.index());
    CHECK(AgentEventToJson(*back) == json);
  }
  const auto full = std::get<GeneratedEvent>(*AgentEventFromJson(AgentEventToJson(FullEvent())));
  CHECK(full.message.tool_calls.at(0).arguments == R"({"z":1,"a":2.0})");
  CHECK(full.reason == FinishReason::kToolCalls);
  CHECK(full.tokens == INT64_MAX);
  CHECK(full.message.content == "c \"quoted\" \n é");
}

TEST_CASE("BrokenEventsAreRefusedByName") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "not JSON"},
      {"[]", "must be an object"},
      {"{}", "'kind' is missing"},
      {R"({"kind":1})", "'kind' must be a string"},
      {R"({"kind":"x"})", "unknown kind 'x'"},
      {R"({"kind":"user_turn"})", "'text' is missing"},
      {R"({"kind":"user_turn","text":"a","b":1})", "unknown member 'b'"},
      {R"({"kind":"tool_results","results":{}})", "'results' must be an array"},
      {R"({"kind":"tool_results","results":[1]})", "event.results[]: must be an object"},
      {R"({"kind":"tool_results","results":[{"call_id":"a","outcome":"FINE","content":"","content_bytes":0}]})",
       "unknown value 'FINE'"},
      {R"({"kind":"tool_results","results":[{"call_id":"a","outcome":"OK","content":"","content_bytes":-1}]})",
       "'content_bytes' must be an integer from 0"},
      {R"({"kind":"generated","message":{},"reason":"stop","parse_error":"","tokens":0})",
       "event.message: member 'role' is missing"}};
  for (const auto& [json, expected] : cases) {
    const Status status = AgentEventFromJson(json).status();
    INFO(json << " -> " << status.message());
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find(expected) != std::string::npos);
  }
}

TEST_CASE("EveryPrefixOfAnEventIsRefusedOrReadWithoutCrash") {
  const std::string json = AgentEventToJson(FullEvent());
  for (size_t size = 0; size < json.size(); ++size) {
    CHECK(!AgentEventFromJson(std::string_view(json).substr(0, size)).ok());
  }
}

TEST_CASE("TurnsOfForksThatRunAreNotToldTwice") {
  ChildTurn begins;
  begins.session = "a";
  begins.text = "mend it";
  begins.errand = "{}";
  ChildTurn runs;
  runs.session = "b";
  runs.runs = true;
  CHECK(
      EffectToJson(ChildTurnsEffect{{begins, runs}}) ==
      R"({"kind":"child_turns","turns":[{"session":"a","text":"mend it","errand":"{}","tokens":0,)"
      R"("wall_ms":0,"tool_calls":0,"micro_usd":0},{"session":"b","runs":true}]})");
  CHECK(EffectToJson(StopTurnsEffect{{"a", "b"}}) ==
        R"({"kind":"stop_turns","sessions":["a","b"]})");
  // As journals have had it since several could run.
  const std::string older =
      R"({"kind":"child_turns","ends":[{"succeeded":true,"text":"x","error":"","tokens":1,)"
      R"("wall_ms":1,"tool_calls":0,"micro_usd":0},{"succeeded":true,"text":"y","error":"",)"
      R"("tokens":1,"wall_ms":1,"tool_calls":0,"micro_usd":0}]})";
  const auto event = AgentEventFromJson(older);
  REQUIRE(event.ok());
  CHECK(std::get<ChildTurnsEvent>(*event).ends.at(1)->text == "y");
  CHECK(AgentEventToJson(*event) == older);
}

TEST_CASE("EffectsHaveOneText") {
  GenerateEffect generate = UserSays("hello");
  CHECK(EffectToJson(generate) ==
        R"({"kind":"generate","append":[{"role":"user","content":"hello"}]})");
  generate.append.clear();
  generate.tokens_max = 7;
  generate.temperature = 0.5f;
  generate.seed = 0;
  CHECK(EffectToJson(generate) ==
        R"({"kind":"generate","append":[],"tokens_max":7,"temperature":0.5,"seed":0})");
  CHECK(EffectToJson(CallToolsEffect{{{"c1", "read", "{}"}}}) ==
        R"({"kind":"call_tools","calls":[{"id":"c1","name":"read","arguments":"{}"}]})");
  CHECK(EffectToJson(FinishEffect{"t"}) == R"({"kind":"finish","text":"t"})");
}

TEST_CASE("EffectsAreKnownFromFullerTextOfOlderJournals") {
  // As journals had it while empty members were written.
  const std::string recorded =
      R"({"kind":"generate","append":[{"role":"user","content":"","reasoning":"","tool_calls":[],)"
      R"("tool_call_id":"","tools":[]}],"tokens_max":0,"temperature":null,"seed":null})";
  GenerateEffect generate = UserSays("");
  CHECK(IsRecordedEffect(generate, EffectToJson(generate)));
  CHECK(IsRecordedEffect(generate, recorded));
  generate.seed = 0;  // another wish than none
  CHECK(!IsRecordedEffect(generate, recorded));
  generate.seed.reset();
  generate.append[0].content = "x";
  CHECK(!IsRecordedEffect(generate, recorded));
  CHECK(!IsRecordedEffect(FinishEffect{"t"}, recorded));
  for (const char* other : {"", "[]", "{}", R"({"append":1})", R"({"append":[1]})"}) {
    CHECK(!IsRecordedEffect(generate, other));
  }
}

TEST_CASE("EventsOfOlderJournalsAreReadWithAllTheirEmptyMembers") {
  const auto event = AgentEventFromJson(
      R"({"kind":"generated","message":{"role":"assistant","content":"hi","reasoning":"",)"
      R"("tool_calls":[],"tool_call_id":"","tools":[]},"reason":"stop","parse_error":"","tokens":3})");
  REQUIRE(event.ok());
  CHECK(
      AgentEventToJson(*event) ==
      R"({"kind":"generated","message":{"role":"assistant","content":"hi"},"reason":"stop","tokens":3})");
}

}  // namespace
}  // namespace baleen
