// Constrained generations through a whole runtime: a model of random weights can't break a call, an
// answer or a budget, whatever happens in between.
#include "runtime/sessions/constraint.h"

#include "runtime/sessions/settings_json.h"
#include "tests/runtime/fixture.h"
#include "tools_sdk/schema.h"

namespace baleen {
namespace {

constexpr int32_t kThinkClose = 262;  // of the tiny tokenizer
constexpr int32_t kDsml = 263;

constexpr char kNoteSchema[] = R"({"type":"object","properties":{
    "text":{"type":"string","minLength":60,"maxLength":90},
    "tags":{"type":"array","items":{"enum":["a","bb",7]},"maxItems":3},
    "count":{"type":"integer","minimum":-12,"maximum":340}},"required":["text","count"]})";

RuntimeOptions Options(const std::string& data_dir) { return WorkerOptions(data_dir, TinyModel()); }

ToolSpec HostTool(const std::string& name, const std::string& parameters) {
  ToolSpec tool;
  tool.name = name;
  tool.parameters = parameters;
  tool.effect = EffectClass::kPure;
  return tool;
}

/// One generation per turn; the turn's text says what came of it.
constexpr char kOnce[] = R"(
return function(message)
  local reply = baleen.generate { user = message }
  local text = reply.finish_reason .. "|" .. (reply.parse_error or "") .. "|" .. reply.content
  for _, call in ipairs(reply.tool_calls) do
    text = text .. "|" .. call.name .. call.arguments_json
  end
  return text
end
)";

CreateSessionRequest Session(const std::string& choice, const std::string& script = kOnce) {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = script;
  request.settings.script_name = "once.lua";
  request.settings.tokens_max = 4000;
  request.settings.sampling.seed = 5;
  request.settings.constraint.tool_choice = choice;
  request.settings.host_tools = {HostTool("note", kNoteSchema),
                                 HostTool("now", R"({"type":"object","properties":{}})")};
  return request;
}

StartTurnRequest Turn(const std::string& text = "go") {
  StartTurnRequest request;
  request.session = "s";
  request.input = {text};
  request.trace_logits = true;
  return request;
}

/// The calls of the last generation, as journalled.
std::vector<ToolCall> LastCalls(Runtime& runtime) {
  std::vector<ToolCall> calls;
  for (const Event& event : AllEvents(runtime, "s")) {
    if (event.kind != "generated") continue;
    calls.clear();
    const nlohmann::json payload = Parse(event.payload);
    const auto& message = payload["event"]["message"];
    for (const auto& call : message.value("tool_calls", nlohmann::json::array())) {
      calls.push_back({call["id"], call["name"], call["arguments"]});
    }
  }
  return calls;
}

/// What the model wrote, without the prompts.
std::vector<int32_t> SampledIds(const TokenTrace& trace) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < trace.ids.size(); ++i) {
    if (trace.logits_hashes[i] != 0) ids.push_back(trace.ids[i]);
  }
  return ids;
}

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

TEST_CASE("RequiredCallsOfARandomModelParseAndValidate") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  const CreateSessionRequest session = Session("required");
  REQUIRE_OK(runtime->CreateSession(session));
  ToolSet tools;
  for (const ToolSpec& spec : session.settings.host_tools) REQUIRE_OK(tools.Add(spec));
  for (int turn = 0; turn < 5; ++turn) {
    StartTurnRequest request = Turn();
    request.sampling = session.settings.sampling;
    request.sampling->seed = static_cast<uint64_t>(100 + turn);
    const TurnView view = RunTurn(*runtime, request);
    CAPTURE(view.text, view.error.ToString());
    REQUIRE(view.text.starts_with("tool_calls||"));
    const auto calls = LastCalls(*runtime);
    REQUIRE_FALSE(calls.empty());
    for (const ToolCall& call : calls) REQUIRE_OK(tools.CheckCall(call));
  }
}

TEST_CASE("ToolChoiceNoneAndNamedHoldAndATurnMayChangeThem") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  REQUIRE_OK(runtime->CreateSession(Session("none")));
  StartTurnRequest request = Turn();
  request.tokens_max = 300;
  REQUIRE_OK(RunTurn(*runtime, request).error);
  REQUIRE(LastCalls(*runtime).empty());
  REQUIRE_FALSE(Contains(SampledIds(ReadAll(*runtime, "s")), kDsml));

  request = Turn();
  request.constraint = ConstraintSettings{"tool:now", "", -1};
  REQUIRE(RunTurn(*runtime, request).text == "tool_calls|||now{}");
  request.constraint->tool_choice = "tool:later";
  REQUIRE(StatusOf(runtime->StartTurn(request)).reason() == "BAD_FIELD");
  request.constraint->tool_choice = "sometimes";
  REQUIRE(StatusOf(runtime->StartTurn(request)).reason() == "BAD_FIELD");
  request.constraint = ConstraintSettings{"auto", "", -2};
  REQUIRE(StatusOf(runtime->StartTurn(request)).reason() == "BAD_FIELD");
}

TEST_CASE("RequiredHoldsForTheFirstGenerationOfATurnAndScriptsMaySayOtherwise") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  REQUIRE_OK(runtime->CreateSession(Session("tool:now", R"(
return function(message)
  local first = baleen.generate { user = message }
  local second = baleen.generate { user = message, max_tokens = 30 }
  local third = baleen.generate { user = message, tool_choice = "tool:now" }
  local fourth = baleen.generate { user = message, tool_choice = "none", answer_schema = "{\"enum\":[17]}" }
  return #first.tool_calls .. #second.tool_calls .. #third.tool_calls .. fourth.content
end)")));
  const TurnView view = RunTurn(*runtime, Turn());
  CAPTURE(view.error.ToString());
  REQUIRE(view.text == "10117");
}

TEST_CASE("AnswersFollowTheirSchemaAndWhatTheMaskCantKeepIsChecked") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  REQUIRE_OK(runtime->CreateSession(Session("none")));
  const auto schema = Must(Schema::ParseValue(kNoteSchema, "answer"));
  StartTurnRequest request = Turn();
  request.constraint = ConstraintSettings{"none", kNoteSchema, -1};
  for (int turn = 0; turn < 3; ++turn) {
    const TurnView view = RunTurn(*runtime, request);
    CAPTURE(view.text);
    REQUIRE(view.text.starts_with("stop||{"));
    REQUIRE_OK(schema.Validate(view.text.substr(6)));
  }
  request.constraint->answer_schema = R"({"type":"string","maxLength":3,"pattern":"^never this$"})";
  const TurnView view = RunTurn(*runtime, request);
  CAPTURE(view.text);
  REQUIRE(view.text.starts_with("stop|answer: "));
  REQUIRE(view.text.find("does not match the pattern") != std::string::npos);
}

TEST_CASE("TheThinkingBudgetClosesTheReasoning") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  CreateSessionRequest session = Session("tool:now");
  session.settings.thinking = "thinking";
  session.settings.constraint.thinking_tokens = 12;
  REQUIRE_OK(runtime->CreateSession(session));
  REQUIRE(RunTurn(*runtime, Turn()).text == "tool_calls|||now{}");
  const std::vector<int32_t> ids = SampledIds(ReadAll(*runtime, "s"));
  const auto close = std::find(ids.begin(), ids.end(), kThinkClose);
  REQUIRE(close != ids.end());
  // At most three more tokens, of one byte each, complete a character.
  REQUIRE(close - ids.begin() <= 15);
}

TEST_CASE("CallsThatTheTokenLimitCutAreCountedAndNeverRun") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  REQUIRE_OK(runtime->CreateSession(Session("tool:note")));
  StartTurnRequest request = Turn();
  request.tokens_max = 80;  // the shortest call has over a hundred bytes
  const TurnView view = RunTurn(*runtime, request);
  REQUIRE(view.text.starts_with("length|"));
  REQUIRE(view.calls_cut == 1);
  REQUIRE(view.tokens_generated == 80);  // nothing was forced
  REQUIRE(LastCalls(*runtime).empty());
  REQUIRE(Must(runtime->GetTurn("s", view.turn)).calls_cut == 1);
}

TEST_CASE("ARestartInTheMiddleOfAConstrainedGenerationChangesNoToken") {
  const TempDirectory temp;
  TokenTrace expected;
  std::string text;
  {
    const auto runtime = OpenRuntime(Options(temp.File("whole")));
    CreateSessionRequest session = Session("tool:note");
    session.settings.thinking = "thinking";
    session.settings.constraint.thinking_tokens = 40;
    REQUIRE_OK(runtime->CreateSession(session));
    const TurnView view = RunTurn(*runtime, Turn());
    text = view.text;
    REQUIRE(text.starts_with("tool_calls||"));
    expected = ReadAll(*runtime, "s");
  }
  int restarts = 0;
  auto runtime = OpenRuntime(Options(temp.File("broken")));
  CreateSessionRequest session = Session("tool:note");
  session.settings.thinking = "thinking";
  session.settings.constraint.thinking_tokens = 40;
  REQUIRE_OK(runtime->CreateSession(session));
  REQUIRE_OK(runtime->StartTurn(Turn()));
  int64_t next = std::ssize(expected.ids) - 150;
  while (true) {
    const SessionView view = Must(runtime->GetSession("s"));
    if (view.open_turn.empty()) break;
    if (view.tokens < next) continue;
    next = view.tokens + 25;
    runtime.reset();
    ++restarts;
    runtime = OpenRuntime(Options(temp.File("broken")));
  }
  CAPTURE(restarts);
  REQUIRE(restarts >= 2);
  REQUIRE(Must(runtime->GetTurn("s", "t1")).text == text);
  const TokenTrace resumed = ReadAll(*runtime, "s");
  REQUIRE(resumed.ids == expected.ids);
  REQUIRE(resumed.logits_hashes == expected.logits_hashes);
}

TEST_CASE("AnAssistantTurnIsReplayedFromItsTokensNeverRenderedAgain") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  // A free message of random bytes, then a call: neither would come out of a renderer like this.
  REQUIRE_OK(runtime->CreateSession(Session("auto")));
  StartTurnRequest request = Turn();
  request.tokens_max = 120;
  REQUIRE_OK(RunTurn(*runtime, request).error);
  request.constraint = ConstraintSettings{"tool:note", "", -1};
  request.tokens_max = 4000;
  const TurnView call = RunTurn(*runtime, request);
  REQUIRE(call.text.starts_with("tool_calls||"));
  const TokenTrace before = ReadAll(*runtime, "s");
  REQUIRE(Sampled(before) > 200);
  StartTurnRequest more = Turn("and now?");
  more.tokens_max = 50;
  const TurnView next = RunTurn(*runtime, more);
  const TokenTrace after = ReadAll(*runtime, "s");
  REQUIRE(std::equal(before.ids.begin(), before.ids.end(), after.ids.begin()));
  REQUIRE(std::equal(before.logits_hashes.begin(), before.logits_hashes.end(),
                     after.logits_hashes.begin()));
  // All of it was still live: the context was extended, not rebuilt.
  CHECK(next.tokens_recomputed <= 1);
  CHECK(next.tokens_reused_ram >= std::ssize(before.ids) - 1);
}

TEST_CASE("SchemasThatNothingSatisfiesAreRefusedAndWhatIsNotEnforcedIsNamed") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  CreateSessionRequest session = Session("auto");
  session.settings.host_tools = {HostTool(
      "f",
      R"({"type":"object","properties":{"a":{"enum":[1],"type":"string"}},"required":["a"]})")};
  const Status refused = StatusOf(runtime->CreateSession(session));
  REQUIRE(refused.reason() == "UNSATISFIABLE");
  REQUIRE(refused.message().find("tool 'f'") != std::string::npos);
  session.settings.host_tools = {
      HostTool("f", R"({"type":"object","properties":{"a":{"type":"string","pattern":"^a"}}})")};
  const SessionView view = Must(runtime->CreateSession(session));
  REQUIRE(view.schema_notes ==
          std::vector<std::string>{"tool 'f': parameters.a: 'pattern' is checked once the text is "
                                   "whole, not while it is written"});
  StartTurnRequest request = Turn();
  request.constraint = ConstraintSettings{"none", "false", -1};
  REQUIRE(StatusOf(runtime->StartTurn(request)).reason() == "UNSATISFIABLE");
  request.constraint->answer_schema = "{";
  REQUIRE(StatusOf(runtime->StartTurn(request)).reason() == "BAD_SCHEMA");
}

TEST_CASE("AScriptThatAsksForTheImpossibleEndsItsTurnCleanly") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp.File("data")));
  REQUIRE_OK(runtime->CreateSession(Session("auto", R"(
return function(message)
  if message == "never" then baleen.generate { user = message, answer_schema = "false" } end
  if message == "unread" then baleen.generate { user = message, answer_schema = "{" } end
  if message == "nobody" then baleen.generate { user = message, tool_choice = "tool:later" } end
  local reply = baleen.generate { user = message, tool_choice = "tool:now" }
  return #reply.tool_calls .. "|" .. reply.tool_calls[1].name
end)")));
  const std::pair<const char*, const char*> turns[] = {
      {"never", "UNSATISFIABLE"}, {"unread", "BAD_SCHEMA"}, {"nobody", "BAD_FIELD"}};
  for (const auto& [text, reason] : turns) {
    const TurnView view = RunTurn(*runtime, Turn(text));
    CAPTURE(text, view.error.ToString());
    REQUIRE(view.state == TurnState::kFailed);
    REQUIRE(view.error.reason() == reason);
    REQUIRE(view.tokens_generated == 0);
  }
  // The session goes on.
  REQUIRE(RunTurn(*runtime, Turn("well")).text == "1|now");
}

TEST_CASE("JournalsFromBeforeConstraintsReadAsTheyWereMeant") {
  const TurnStart old = Must(TurnStartFromJson(
      R"({"turn":"t1","input":"x","sampling":{},"tokens_max":5,"trace_logits":false})"));
  REQUIRE_FALSE(old.constraint.has_value());
  REQUIRE_FALSE(ConstraintFor(old, GenerateEffect{}, 1).has_value());
  const SessionSettings settings = Must(SettingsFromJson(R"({"workspace":"","host_tools":[]})"));
  REQUIRE(settings.constraint.tool_choice == "auto");
  REQUIRE(settings.constraint.thinking_tokens == -1);
  TurnStart start;
  start.constraint = ConstraintSettings{"tool:x", "{}", 7};
  const TurnStart again = Must(TurnStartFromJson(TurnStartToJson(start)));
  REQUIRE(again.constraint->tool_choice == "tool:x");
  REQUIRE(again.constraint->answer_schema == "{}");
  REQUIRE(again.constraint->thinking_tokens == 7);
}

TEST_CASE("ATurnsBeginIsReadBackWhetherUsualOrNot") {
  TurnStart usual;
  usual.turn = "t1";
  usual.input = "x";
  usual.constraint = ConstraintSettings{};
  const std::string json = TurnStartToJson(usual);
  CHECK(json == R"({"turn":"t1","input":"x","tokens_max":0,"constraint":{}})");
  TurnStart again = Must(TurnStartFromJson(json));
  REQUIRE(again.constraint.has_value());
  CHECK(again.constraint->thinking_tokens == -1);
  CHECK(again.sampling.temperature == 1.0f);
  CHECK(TurnStartToJson(again) == json);

  TurnStart other = usual;
  other.sampling.top_k = 5;
  other.budget.tool_calls = 3;
  other.trace_logits = true;
  other.trigger = "STEER";
  other.constraint->thinking_tokens = 0;
  again = Must(TurnStartFromJson(TurnStartToJson(other)));
  CHECK(again.sampling.top_k == 5);
  CHECK(again.budget.tool_calls == 3);
  CHECK(again.trace_logits);
  CHECK(again.trigger == "STEER");
  CHECK(again.constraint->thinking_tokens == 0);
  CHECK(again.sampling.top_p == 1.0f);
}

}  // namespace baleen
