// What comes from an endpoint: events out of bytes cut anywhere, answers out of chunks of every
// kind seen in the wild, and refusals of what isn't one.
#include "runtime/remote/chat_answer.h"

#include <nlohmann/json.hpp>

#include "runtime/remote/chat_request.h"
#include "runtime/remote/sse_reader.h"
#include "tests/remote/recorded_streams.h"
#include "tests/store/status_checks.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

std::vector<std::string> Events(std::string_view bytes, size_t piece) {
  SseReader reader(1 << 20);
  std::vector<std::string> data;
  while (!bytes.empty()) {
    REQUIRE_OK(reader.Push(bytes.substr(0, piece), &data));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return data;
}

Result<ChatAnswer> Answer(const std::string& stream, ChatAnswerReader::Limits limits = {}) {
  ChatAnswerReader reader(limits);
  for (const std::string& event : Events(stream, 1 << 20)) {
    RETURN_IF_ERROR(reader.Push(event).status());
  }
  return reader.Finish();
}

std::string Calls(const std::string& deltas) {
  return "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":" + deltas + "}}]}\n\n";
}
constexpr char kStop[] =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

}  // namespace

TEST_CASE("EventsAreTheSameHoweverTheirBytesAreCut") {
  const std::string bytes =
      "\xEF\xBB\xBF: comment\r\ndata: a\r\ndata:b\n\ndata\n\nevent: x\rid: 3\rdata:  c\r\r\n"
      "data: d\n\n\n\ndata: cut";
  const std::vector<std::string> whole = {"a\nb", "", " c", "d"};
  for (size_t piece = 1; piece < bytes.size(); ++piece) REQUIRE(Events(bytes, piece) == whole);
}

TEST_CASE("AnEventThatIsTooLargeIsRefusedForGood") {
  SseReader reader(100);
  std::vector<std::string> data;
  REQUIRE_ERROR(reader.Push("data: " + std::string(200, 'x'), &data),
                StatusCode::kResourceExhausted, "100 bytes");
  REQUIRE(!reader.Push("\n\ndata: y\n\n", &data).ok());
  REQUIRE(data.empty());
  SseReader lines(100);
  std::string many;
  for (int i = 0; i < 60; ++i) many += "data: x\n";
  REQUIRE(!lines.Push(many, &data).ok());
}

TEST_CASE("ARecordedStreamGivesItsReasoningCallAndUsage") {
  const ChatAnswer answer = Must(Answer(RecordedStream("deepseek_tool_call.json")));
  REQUIRE(answer.message.reasoning ==
          "The user asks about the weather in San Francisco. I should use the weather tool.");
  REQUIRE(answer.message.tool_calls.size() == 1);
  REQUIRE(answer.message.tool_calls[0].name == "weather");
  REQUIRE(answer.message.tool_calls[0].arguments == R"({"location": "San Francisco"})");
  REQUIRE(answer.reason == FinishReason::kToolCalls);
  REQUIRE(answer.usage.prompt_tokens == 374);
  REQUIRE(answer.usage.cached_tokens == 256);
  REQUIRE(answer.usage.completion_tokens == 61);
  REQUIRE(answer.notes.empty());
  const ChatAnswer cut = Must(Answer(RecordedStream("deepseek_cut.json")));
  REQUIRE(cut.reason == FinishReason::kLength);
  REQUIRE(cut.message.reasoning == "We need to respond with OK.");
}

TEST_CASE("AStreamThatEndsWithoutDoneIsWholeOnceItsEndWasSaid") {
  const ChatAnswer answer =
      Must(Answer(ReadWhole(std::string(kTestData) + "/remote/transformers_serve.sse")));
  REQUIRE(answer.message.content.size() == 24);
  REQUIRE(answer.reason == FinishReason::kLength);
  REQUIRE(answer.usage.prompt_tokens == 29);
  REQUIRE(answer.usage.cached_tokens == -1);
}

TEST_CASE("AWholeAnswerIsReadAsAStreamIs") {
  ChatAnswerReader reader({});
  const std::string whole = R"({"object":"chat.completion","choices":[{"index":0,"message":{
    "role":"assistant","content":"hi","reasoning":"so","tool_calls":[{"id":"a","type":"function",
    "function":{"name":"f","arguments":{"x":1}}}]},"finish_reason":"tool_calls"}],
    "usage":{"prompt_tokens":3,"completion_tokens":4}})";
  const AnswerText text = Must(reader.Push(whole));
  REQUIRE(text.content == "hi");
  REQUIRE(text.reasoning == "so");
  const ChatAnswer answer = Must(reader.Finish());
  REQUIRE(answer.message.tool_calls[0].arguments == R"({"x":1})");
}

TEST_CASE("CallsAreToldApartByTheirIndexWhateverTheirIds") {
  // Ids that change within a call.
  ChatAnswer answer = Must(Answer(
      Calls(R"([{"index":0,"id":"f:0","function":{"name":"read","arguments":""}}])") +
      Calls(R"([{"index":0,"id":"a","function":{"arguments":"{\"path\":\"RE"}}])") +
      Calls(R"([{"index":0,"id":"b","function":{"name":"","arguments":"ADME\"}"}}])") + kStop));
  REQUIRE(answer.message.tool_calls.size() == 1);
  REQUIRE(answer.message.tool_calls[0].arguments == R"({"path":"README"})");
  REQUIRE(answer.reason == FinishReason::kToolCalls);  // although it says "stop"
  // All numbered alike, each whole.
  answer = Must(Answer(
      Calls(R"([{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}])") +
      Calls(R"([{"index":0,"id":"b","function":{"name":"g","arguments":"{\"x\":1}"}}])") + kStop));
  REQUIRE(answer.message.tool_calls.size() == 2);
  REQUIRE(answer.message.tool_calls[1].name == "g");
  // No numbers at all.
  answer = Must(Answer(Calls(R"([{"id":"a","function":{"name":"f","arguments":"{\"x\""}}])") +
                       Calls(R"([{"function":{"arguments":":1}"}}])") +
                       Calls(R"([{"id":"b","function":{"name":"g"}}])") + kStop));
  REQUIRE(answer.message.tool_calls.size() == 2);
  REQUIRE(answer.message.tool_calls[0].arguments == R"({"x":1})");
  REQUIRE(answer.message.tool_calls[1].arguments == "{}");
}

TEST_CASE("CallsThatCantBeReadOrWereCutAreNotTaken") {
  ChatAnswer answer = Must(Answer(
      Calls(
          R"([{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":1,"id":"b","function":{"name":"g","arguments":"{\"x\":"}}])") +
      kStop));
  REQUIRE(answer.message.tool_calls.empty());
  REQUIRE(answer.fault.find("call 2 (g)") != std::string::npos);
  answer = Must(Answer(Calls(R"([{"index":0,"id":"a","function":{"arguments":"{}"}}])") + kStop));
  REQUIRE(answer.fault.find("no name") != std::string::npos);
  answer = Must(
      Answer(Calls(R"([{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}])") +
             "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"));
  REQUIRE(answer.calls_cut);
  REQUIRE(answer.message.tool_calls.empty());
}

TEST_CASE("WhatIsNoAnswerIsAStatus") {
  REQUIRE_ERROR(Answer("data: <html>\n\n"), StatusCode::kInvalidArgument, "no JSON object");
  REQUIRE_ERROR(Answer("data: " + std::string(100'000, '[') + "\n\n"), StatusCode::kInvalidArgument,
                "no JSON object");
  REQUIRE_ERROR(Answer("data: {\"choices\":7}\n\n"), StatusCode::kInvalidArgument, "no array");
  REQUIRE_ERROR(Answer("data: {\"choices\":[7]}\n\n"), StatusCode::kInvalidArgument, "no object");
  REQUIRE_ERROR(Answer("data: {\"choices\":[{\"delta\":[]}]}\n\n"), StatusCode::kInvalidArgument,
                "delta");
  REQUIRE_ERROR(Answer(Calls("{}")), StatusCode::kInvalidArgument, "no array");
  REQUIRE_ERROR(Answer("data: {\"error\":{\"message\":\"out of\\nmemory\"}}\n\n"),
                StatusCode::kUnavailable, "out of memory");
  REQUIRE_ERROR(Answer(TextStream({"x"}, "content_filter")), StatusCode::kPermissionDenied,
                "content filter");
  REQUIRE_ERROR(Answer("data: {\"choices\":[]}\n\n"), StatusCode::kUnavailable, "broke off");
  REQUIRE_ERROR(Answer(TextStream({std::string(2000, 'x')}), {1000, 8}),
                StatusCode::kResourceExhausted, "1000 bytes");
  std::string many;
  for (int i = 0; i < 9; ++i) {
    many += Calls("[{\"index\":" + std::to_string(i) + ",\"function\":{\"name\":\"f\"}}]");
  }
  REQUIRE_ERROR(Answer(many, {1 << 20, 8}), StatusCode::kResourceExhausted, "8 tool calls");
}

TEST_CASE("HttpErrorsHaveTheirCodes") {
  const auto code = [](int status, const std::string& body) {
    const Status error = ErrorOfAnswer(status, body);
    return std::string(StatusCodeName(error.code())) + "/" + error.reason();
  };
  REQUIRE(code(401, "") == "UNAUTHENTICATED/ENGINE_REFUSED");
  REQUIRE(code(403, "{}") == "PERMISSION_DENIED/ENGINE_REFUSED");
  REQUIRE(code(429, "slow down") == "RESOURCE_EXHAUSTED/ENGINE_BUSY");
  REQUIRE(code(503, "[[[") == "UNAVAILABLE/ENGINE_FAULT");
  REQUIRE(code(422, R"({"detail":[{"msg":"bad"}]})") == "INVALID_ARGUMENT/ENGINE_REFUSED");
  REQUIRE(code(400, R"({"error":{"message":"This model's maximum context length is 8 tokens"}})") ==
          "OUT_OF_RANGE/CONTEXT_FULL");
  REQUIRE(ErrorOfAnswer(400, "\xFF" + std::string(100'000, 'x')).message().size() < 1000);
}

TEST_CASE("ARequestSaysWhatTheSessionAsksForAndNoMore") {
  ChatRequest request;
  request.system = "Be brief.";
  Message user;
  user.content = "one";
  request.messages = {user, user};
  Message assistant;
  assistant.role = Role::kAssistant;
  assistant.reasoning = "hm";
  assistant.tool_calls = {{"t1-call-1-1", "read", R"({"path":"a"})"}};
  request.messages.push_back(assistant);
  Message result;
  result.role = Role::kTool;
  result.tool_call_id = "t1-call-1-1";
  result.content = "text";
  request.messages.push_back(result);
  request.tools.resize(1);
  request.tools[0].name = "read";
  request.tools[0].parameters = R"({"type":"object"})";
  request.tool_choice = "tool:read";
  request.answer_schema = R"({"type":"object"})";
  request.tokens_max = 9;
  RemoteEngineOptions options;
  options.model = "m";
  options.key = "secret";
  options.extra = R"({"chat_template_kwargs":{"thinking":true}})";
  const std::string text = ChatRequestJson(request, options);
  REQUIRE(text.find("secret") == std::string::npos);
  Json json = Json::parse(text);
  REQUIRE(json["messages"].size() == 4);
  REQUIRE(json["messages"][0] == Json({{"role", "system"}, {"content", "Be brief."}}));
  REQUIRE(json["messages"][1]["content"] == "one\n\none");
  REQUIRE(json["messages"][2]["reasoning_content"] == "hm");
  REQUIRE(json["messages"][2]["tool_calls"][0]["function"]["arguments"] == R"({"path":"a"})");
  REQUIRE(json["messages"][3]["tool_call_id"] == "t1-call-1-1");
  REQUIRE(json["tool_choice"]["function"]["name"] == "read");
  REQUIRE(json["response_format"]["json_schema"]["schema"]["type"] == "object");
  REQUIRE(json["chat_template_kwargs"]["thinking"] == true);
  REQUIRE(json["max_tokens"] == 9);
  REQUIRE(!json.contains("top_k"));
  options.pass_reasoning = false;
  json = Json::parse(ChatRequestJson(request, options));
  REQUIRE(!json["messages"][2].contains("reasoning_content"));
}

}  // namespace baleen
