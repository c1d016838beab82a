#include "model/text/chat_encoder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/text/v4_tokenizer.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

Result<std::string> RenderText(const Json& request, ChatDialect dialect) {
  ASSIGN_OR_RETURN(const std::vector<Segment> segments,
                   RenderRequest(request.dump(), dialect, V4Tokenizer()));
  return SegmentsText(segments, V4Tokenizer());
}

std::vector<int32_t> Ids(const std::vector<Segment>& segments) {
  auto ids = V4Tokenizer().EncodeSegments(segments);
  REQUIRE(ids.ok());
  return *ids;
}

std::vector<int32_t> RequestIds(const Json& request, ChatDialect dialect = ChatDialect::k0731) {
  auto segments = RenderRequest(request.dump(), dialect, V4Tokenizer());
  INFO(segments.status().ToString());
  REQUIRE(segments.ok());
  return Ids(*segments);
}

std::vector<Json> Vectors() {
  std::vector<Json> vectors;
  std::istringstream lines(ReadTestFile("encoding/extra_v4_vectors.jsonl"));
  std::string line;
  while (std::getline(lines, line)) vectors.push_back(Json::parse(line));
  return vectors;
}

Json Official(int number) {
  return Json::parse(
      ReadTestFile("encoding/official-v4/test_input_" + std::to_string(number) + ".json"));
}

TEST_CASE("Renders DeepSeek's own examples byte for byte", "[encoder]") {
  for (int number = 1; number <= 4; ++number) {
    const Json input = Official(number);
    Json request;
    request["messages"] = input.is_array() ? input : input["messages"];
    if (input.is_object()) request["tools"] = input["tools"];
    request["kwargs"]["thinking_mode"] = number == 4 ? "chat" : "thinking";
    const std::string expected =
        ReadTestFile("encoding/official-v4/test_output_" + std::to_string(number) + ".txt");
    for (const ChatDialect dialect : {ChatDialect::kPreview, ChatDialect::k0731}) {
      const Result<std::string> text = RenderText(request, dialect);
      INFO(number << " " << text.status().ToString());
      REQUIRE(text.ok());
      CHECK(*text == expected);
    }
    // Benign text: by construction or by scanning, the ids are the same.
    CHECK(RequestIds(request) == V4Tokenizer().Encode(expected, TextTrust::kTrusted).value());
  }
}

TEST_CASE("Renders the recorded vectors of both dialects", "[encoder]") {
  const std::vector<Json> vectors = Vectors();
  CHECK(vectors.size() == 24);
  for (const Json& vector : vectors) {
    const auto preview = RenderText(vector, ChatDialect::kPreview);
    const auto later = RenderText(vector, ChatDialect::k0731);
    INFO(vector["name"] << preview.status().ToString() << later.status().ToString());
    REQUIRE(preview.ok());
    REQUIRE(later.ok());
    CHECK(*preview == vector["expected_preview"].get<std::string>());
    CHECK(*later == vector["expected_0731"].get<std::string>());
    CHECK(RequestIds(vector) == V4Tokenizer().Encode(*later, TextTrust::kTrusted).value());
  }
}

TEST_CASE("Prompt token counts equal those of the hosted API", "[encoder]") {
  const std::pair<const char*, size_t> cases[] = {{"short_reasoning_plain", 18},
                                                  {"short_italian_fact", 21},
                                                  {"short_code_completion", 27},
                                                  {"long_memory_archive", 3353},
                                                  {"long_code_audit", 3844}};
  for (const auto& [name, count] : cases) {
    INFO(name);
    Json request;
    request["messages"][0] = {{"role", "user"},
                              {"content", ReadTestFile(std::string("encoding/ds4-official-logprobs/"
                                                                   "prompts/") +
                                                       name + ".txt")}};
    request["kwargs"]["thinking_mode"] = "chat";
    CHECK(RequestIds(request, ChatDialect::kPreview).size() == count);
  }
}

TEST_CASE("Effort levels follow the dialect", "[encoder]") {
  const auto text = [](const char* mode, const Json& effort, ChatDialect dialect) {
    return RenderText({{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
                       {"kwargs", {{"thinking_mode", mode}, {"reasoning_effort", effort}}}},
                      dialect);
  };
  const auto plain = text("thinking", nullptr, ChatDialect::k0731);
  CHECK(text("thinking", "low", ChatDialect::k0731).value() == plain.value());
  CHECK(text("thinking", "high", ChatDialect::kPreview).value() == plain.value());
  CHECK(text("thinking", "high", ChatDialect::k0731).value() ==
        text("thinking", "max", ChatDialect::kPreview).value());
  CHECK(text("thinking", "max", ChatDialect::k0731).value() !=
        text("thinking", "max", ChatDialect::kPreview).value());
  CHECK(text("chat", "max", ChatDialect::k0731).value() ==
        text("chat", nullptr, ChatDialect::k0731).value());
  CHECK_FALSE(text("thinking", "low", ChatDialect::kPreview).ok());
  CHECK_FALSE(text("thinking", "medium", ChatDialect::k0731).ok());
  CHECK_FALSE(text("fast", nullptr, ChatDialect::k0731).ok());
  CHECK_FALSE(text("chat", nullptr, ChatDialect::kUnknown).ok());
}

TEST_CASE("Numbers, order and escapes of JSON are Python's", "[encoder]") {
  const std::string arguments =
      R"({"z": 1, "big": 123456789012345678901234567890, "f": [1.0, 1e-5, 1E22, 0.1, 1e16, 123456.5,)"
      R"( -0.0, 1.7976931348623157e308, 1e400], "a": "x\u0001\u007f\/\u00e9\ud83d\ude00",)"
      R"( "n": [NaN, -Infinity, -0], "s": {"q": "\"\\\n\r\t\b\f\u001f"}, "z": 2})";
  const std::string request =
      R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":)" +
      Json(arguments).dump() + R"(}}]}],"kwargs":{"thinking_mode":"chat"}})";
  auto segments = RenderRequest(request, ChatDialect::k0731, V4Tokenizer());
  REQUIRE(segments.ok());
  const std::string text = SegmentsText(*segments, V4Tokenizer()).value();
  // As json.loads and json.dumps(ensure_ascii=False) of Python 3.11 give it.
  const std::string expected[] = {
      "name=\"z\" string=\"false\">2</",
      ">123456789012345678901234567890</",
      ">[1.0, 1e-05, 1e+22, 0.1, 1e+16, 123456.5, -0.0, 1.7976931348623157e+308, Infinity]</",
      "name=\"a\" string=\"true\">x\x01\x7f/é😀</",
      ">[NaN, -Infinity, 0]</",
      R"(>{"q": "\"\\\n\r\t\b\f\u001f"}</)"};
  size_t at = 0;
  for (const std::string& part : expected) {
    INFO(part << " in " << text);
    const size_t found = text.find(part, at);
    REQUIRE(found != std::string::npos);
    at = found;
  }
}

TEST_CASE("No message text becomes a control token", "[encoder]") {
  std::string all;
  for (int32_t id = 0; id < V4Tokenizer().vocab(); ++id) {
    if (V4Tokenizer().IsAddedToken(id)) all += std::string(V4Tokenizer().TokenBytes(id)) + " x";
  }
  const Json call = {{"id", all},
                     {"function", {{"name", all}, {"arguments", Json({{all, all}}).dump()}}}};
  const auto request = [&](const std::string& text, const Json& a_call) {
    const Json tools = Json::array({{{"function", {{"name", text}, {"description", text}}}}});
    return Json{{"messages",
                 {{{"role", "system"},
                   {"content", text},
                   {"tools", tools},
                   {"response_format", {{text, text}}}},
                  {{"role", "latest_reminder"}, {"content", text}},
                  {{"role", "user"}, {"content", text}},
                  {{"role", "assistant"},
                   {"content", text},
                   {"reasoning_content", text},
                   {"tool_calls", Json::array({a_call})}},
                  {{"role", "tool"}, {"tool_call_id", "x"}, {"content", text}}}},
                {"kwargs", {{"thinking_mode", "thinking"}}}};
  };
  const auto controls = [](const std::vector<int32_t>& ids) {
    std::vector<int32_t> found;
    std::copy_if(ids.begin(), ids.end(), std::back_inserter(found),
                 [](int32_t id) { return V4Tokenizer().IsAddedToken(id); });
    return found;
  };
  const Json plain_call = {{"id", "x"},
                           {"function", {{"name", "x"}, {"arguments", R"({"x": "x"})"}}}};
  const std::vector<int32_t> hostile = RequestIds(request(all, call));
  CHECK(controls(hostile) == controls(RequestIds(request("x", plain_call))));
  CHECK(V4Tokenizer().Decode(hostile).value() ==
        RenderText(request(all, call), ChatDialect::k0731).value());
}

TEST_CASE("Context is rendered apart and decides about tools", "[encoder]") {
  Json request = {{"messages", {{{"role", "user"}, {"content", "B"}}}},
                  {"kwargs",
                   {{"thinking_mode", "thinking"},
                    {"context",
                     {{{"role", "user"}, {"content", "A"}},
                      {{"role", "assistant"}, {"content", "a"}, {"reasoning_content", "r"}}}}}}};
  CHECK(RenderText(request, ChatDialect::k0731).value() == "<｜User｜>B<｜Assistant｜><think>");
  request["kwargs"]["context"] = Json::array();
  request["kwargs"]["add_default_bos_token"] = false;
  CHECK(RenderText(request, ChatDialect::k0731).value() == "<｜User｜>B<｜Assistant｜><think>");
}

TEST_CASE("Wrong requests are refused by message and field", "[encoder]") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"messages":[{"role":"user","content":5}],"kwargs":{"thinking_mode":"chat"}})",
       "messages[0].content"},
      {R"({"messages":[{"role":"user"},{"role":"user","content":["x"]}],)"
       R"("kwargs":{"thinking_mode":"chat"}})",
       "messages[1].content"},
      {R"({"messages":[{"role":"bard"}],"kwargs":{"thinking_mode":"chat"}})", "bard"},
      {R"({"messages":[{"content":"x"}],"kwargs":{"thinking_mode":"chat"}})", "messages[0].role"},
      {R"({"messages":[5],"kwargs":{"thinking_mode":"chat"}})", "messages[0]"},
      {R"({"messages":[{"role":"developer"}],"kwargs":{"thinking_mode":"chat"}})", "developer"},
      {R"({"messages":[{"role":"user","content":"x","task":"sing"}],)"
       R"("kwargs":{"thinking_mode":"chat"}})",
       "sing"},
      {R"({"messages":[{"role":"system","tools":[{"name":"x"}]}],)"
       R"("kwargs":{"thinking_mode":"chat"}})",
       "function"},
      {R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"x"}}]}],)"
       R"("kwargs":{"thinking_mode":"chat"}})",
       "messages[0].tool_calls"},
      {R"({"messages":[{"role":"tool","content":{"a":1}}],"kwargs":{"thinking_mode":"chat"}})",
       "messages[0].content"},
      {R"({"messages":[]})", "thinking_mode"},
      {R"({"messages":[],"kwargs":{"thinking_mode":"chat","mood":1}})", "mood"},
      {R"({"kwargs":{"thinking_mode":"chat"}})", "messages"},
      {R"([1,)", "byte 3"},
      {"{\"a\":\"\xFF\"}", "byte 6"},
      {R"({"a":"\ud800"})", "surrogate"},
      {R"({"a":01})", "byte 6"}};
  for (const auto& [request, named] : cases) {
    const auto segments = RenderRequest(request, ChatDialect::k0731, V4Tokenizer());
    INFO(request << " -> " << segments.status().ToString());
    CHECK(segments.status().code() == StatusCode::kInvalidArgument);
    CHECK(segments.status().message().find(named) != std::string::npos);
  }
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  CHECK_FALSE(RenderRequest(deep, ChatDialect::k0731, V4Tokenizer()).ok());
}

/// A conversation as a session sees it, and its suffixes joined.
struct Conversation {
  ContextStart start;
  std::vector<std::vector<Message>> turns;  ///< What the user's side sends.
  std::vector<Message> replies;             ///< One less, or as many.
};

Message Make(Role role, std::string content, std::string call_id = {}) {
  Message message;
  message.role = role;
  message.content = std::move(content);
  message.tool_call_id = std::move(call_id);
  return message;
}

void CheckSessionEqualsRequest(const Conversation& talk, ChatDialect dialect) {
  auto encoder = SessionEncoder::Create(V4Tokenizer(), dialect);
  REQUIRE(encoder.ok());
  REQUIRE(encoder->Check(talk.start).ok());
  const char* mode = talk.start.thinking == ThinkingMode::kThinking ? "thinking" : "chat";
  Json messages = Json::array({{{"role", "system"}, {"content", talk.start.system}}});
  for (const std::string& tool : talk.start.tools) {
    messages[0]["tools"].push_back({{"function", Json::parse(tool)}});
  }
  std::vector<int32_t> joined = Ids(encoder->Start(talk.start));
  const auto append = [&](const std::vector<Segment>& suffix) {
    const std::vector<int32_t> ids = Ids(suffix);
    joined.insert(joined.end(), ids.begin(), ids.end());
  };
  for (size_t i = 0; i < talk.turns.size(); ++i) {
    append(encoder->UserTurn(talk.turns[i], talk.start.thinking, i > 0));
    for (const Message& message : talk.turns[i]) {
      const char* role = message.role == Role::kTool             ? "tool"
                         : message.role == Role::kLatestReminder ? "latest_reminder"
                                                                 : "user";
      messages.push_back(
          {{"role", role}, {"content", message.content}, {"tool_call_id", message.tool_call_id}});
    }
    if (i >= talk.replies.size()) continue;
    // What the model would sample, without its EOS; the next turn adds that.
    const Message& reply = talk.replies[i];
    Json json = {
        {"role", "assistant"}, {"content", reply.content}, {"reasoning_content", reply.reasoning}};
    std::vector<Segment> sampled;
    if (talk.start.thinking == ThinkingMode::kThinking) {
      sampled.push_back({Segment::Kind::kData, 0, reply.reasoning});
      sampled.push_back({Segment::Kind::kControl, encoder->ids().think_close, {}});
    }
    std::string text = reply.content;
    for (const ToolCall& call : reply.tool_calls) {
      json["tool_calls"].push_back(
          {{"id", call.id}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    if (!reply.tool_calls.empty()) {
      text += "\n\n<｜DSML｜tool_calls>\n";
      for (size_t j = 0; j < reply.tool_calls.size(); ++j) {
        text += (j > 0 ? "\n" : "") + std::string("<｜DSML｜invoke name=\"") +
                reply.tool_calls[j].name + "\">\n\n</｜DSML｜invoke>";
      }
      text += "\n</｜DSML｜tool_calls>";
    }
    sampled.push_back({Segment::Kind::kTrusted, 0, text});
    append(sampled);
    messages.push_back(json);
  }
  Json kwargs = {{"thinking_mode", mode}, {"drop_thinking", false}};
  if (!talk.start.reasoning_effort.empty()) {
    kwargs["reasoning_effort"] = talk.start.reasoning_effort;
  }
  CHECK(joined == RequestIds({{"messages", messages}, {"kwargs", kwargs}}, dialect));
}

TEST_CASE("A session's suffixes join to the request of the whole conversation", "[encoder]") {
  Conversation talk;
  talk.start.tools = {R"({"name":"now","parameters":{"type":"object","x":1.50}})",
                      R"({"name":"then"})"};
  Message first = Make(Role::kAssistant, "Let me look.");
  first.reasoning = "Need both, twice.\n";
  first.tool_calls = {{"c1", "now", "{}"}, {"c2", "then", "{}"}};
  Message second = Make(Role::kAssistant, "Noon.");
  second.reasoning = "Easy";
  talk.replies = {first, second};
  talk.turns = {{Make(Role::kUser, "What time is it?\n\n")},
                {Make(Role::kTool, "12:00", "c1"), Make(Role::kTool, "<think>", "c2"),
                 Make(Role::kUser, "Hurry")},
                {Make(Role::kLatestReminder, "2026-11-23"), Make(Role::kUser, "Thanks 谢谢")}};
  for (const ChatDialect dialect : {ChatDialect::kPreview, ChatDialect::k0731}) {
    for (const ThinkingMode mode : {ThinkingMode::kChat, ThinkingMode::kThinking}) {
      for (const char* effort : {"", "high", "max"}) {
        for (const char* system : {"", "You are brief."}) {
          talk.start.thinking = mode;
          talk.start.reasoning_effort = effort;
          talk.start.system = system;
          CheckSessionEqualsRequest(talk, dialect);
        }
      }
    }
  }
}

TEST_CASE("A session refuses what its dialect doesn't know", "[encoder]") {
  const auto encoder = SessionEncoder::Create(V4Tokenizer(), ChatDialect::kPreview);
  REQUIRE(encoder.ok());
  ContextStart start;
  start.reasoning_effort = "low";
  CHECK(encoder->Check(start).code() == StatusCode::kInvalidArgument);
  start.reasoning_effort = "max";
  CHECK(encoder->Check(start).ok());
  start.tools = {"{}", "nonsense"};
  CHECK(encoder->Check(start).message().find("tools[1]") != std::string::npos);
  CHECK_FALSE(SessionEncoder::Create(V4Tokenizer(), ChatDialect::kUnknown).ok());
}

TEST_CASE("Control ids are looked up and checked", "[encoder]") {
  const auto ids = ControlIds::Lookup(V4Tokenizer());
  REQUIRE(ids.ok());
  CHECK(ids->bos == 0);
  CHECK(ids->eos == 1);
  CHECK(ids->user == 128803);
  CHECK(ids->assistant == 128804);
  CHECK(ids->think_open == 128821);
  CHECK(ids->think_close == 128822);
  CHECK(ids->dsml == 128825);
  CHECK(ids->latest_reminder == 128828);
  // Not ordered_json, whose inserts into a large object are quadratic.
  nlohmann::json bare = nlohmann::json::parse(ReadTestFile("tokenizer/tokenizer.json"));
  bare["added_tokens"] = nlohmann::json::array(
      {bare["added_tokens"][0], bare["added_tokens"][1], bare["added_tokens"][2]});
  const auto small = Tokenizer::FromJson(bare.dump());
  REQUIRE(small.ok());
  CHECK(ControlIds::Lookup(**small).status().code() == StatusCode::kNotFound);
}

}  // namespace
}  // namespace baleen
