#include "model/text/chat_parser.h"

#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "tests/text/v4_tokenizer.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

std::vector<Json> Vectors() {
  std::vector<Json> vectors;
  std::istringstream lines(ReadTestFile("encoding/parse_vectors.jsonl"));
  std::string line;
  while (std::getline(lines, line)) vectors.push_back(Json::parse(line));
  return vectors;
}

ThinkingMode Mode(const Json& vector) {
  return vector["mode"] == "thinking" ? ThinkingMode::kThinking : ThinkingMode::kChat;
}

/// Everything a parse shows, so that two parses compare as one string.
std::string Outcome(const ChatDelta& joined, const Result<Message>& message) {
  std::string text = "R[" + joined.reasoning + "] C[" + joined.content + "]";
  for (const ToolCall& call : joined.finished_calls) text += " " + call.name + call.arguments;
  if (!message.ok()) return text + " " + message.status().reason() + message.status().ToString();
  text += " -> R[" + message->reasoning + "] C[" + message->content + "]";
  for (const ToolCall& call : message->tool_calls) text += " " + call.name + call.arguments;
  return text;
}

std::string ParsePieces(const std::vector<std::string>& pieces, ThinkingMode mode) {
  StreamingChatParser parser(mode);
  ChatDelta joined;
  for (const std::string& piece : pieces) {
    ChatDelta delta = parser.Push(piece);
    joined.reasoning += delta.reasoning;
    joined.content += delta.content;
    for (ToolCall& call : delta.finished_calls) joined.finished_calls.push_back(std::move(call));
  }
  return Outcome(joined, parser.Finish());
}

TEST_CASE("The strict parser agrees with the reference's recorded answers", "[parser]") {
  const std::vector<Json> vectors = Vectors();
  CHECK(vectors.size() == 14);
  for (const Json& vector : vectors) {
    const auto message = ParseCompletion(vector["text"].get<std::string>(), Mode(vector));
    INFO(vector["name"] << " " << message.status().ToString());
    REQUIRE(message.ok() == vector["ok"].get<bool>());
    if (!message.ok()) {
      CHECK(message.status().code() == StatusCode::kInvalidArgument);
      continue;
    }
    const Json& expected = vector["result"];
    CHECK(message->role == Role::kAssistant);
    CHECK(message->content == expected["content"].get<std::string>());
    CHECK(message->reasoning == expected["reasoning_content"].get<std::string>());
    REQUIRE(message->tool_calls.size() == expected["tool_calls"].size());
    for (size_t i = 0; i < message->tool_calls.size(); ++i) {
      const Json& call = expected["tool_calls"][i]["function"];
      CHECK(message->tool_calls[i].name == call["name"].get<std::string>());
      CHECK(message->tool_calls[i].arguments == call["arguments"].get<std::string>());
    }
  }
}

TEST_CASE("Any cut of the text gives the same parse", "[parser]") {
  std::mt19937 random(5);
  std::vector<std::pair<std::string, ThinkingMode>> texts;
  for (const Json& vector : Vectors()) {
    const auto text = vector["text"].get<std::string>();
    texts.emplace_back(text, Mode(vector));
    // Cut short anywhere, and damaged anywhere.
    for (int i = 0; i < 20; ++i) {
      texts.emplace_back(text.substr(0, random() % text.size()), Mode(vector));
      std::string damaged = text;
      damaged.replace(random() % text.size(), random() % 4, std::string(random() % 3, '\n'));
      texts.emplace_back(damaged, Mode(vector));
    }
  }
  texts.emplace_back("2 < 3\n\n\n\n<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>",
                     ThinkingMode::kChat);
  texts.emplace_back("\n\n<｜DSML｜tool_call<｜end▁of▁sentence｜>", ThinkingMode::kChat);
  for (const auto& [text, mode] : texts) {
    INFO(text);
    const std::string whole = ParsePieces({text}, mode);
    std::vector<std::string> bytes;
    for (const char byte : text) bytes.emplace_back(1, byte);
    REQUIRE(ParsePieces(bytes, mode) == whole);
    for (int round = 0; round < 5; ++round) {
      std::vector<std::string> pieces;
      for (size_t at = 0; at < text.size();) {
        const size_t size = random() % 12;
        pieces.push_back(text.substr(at, size));
        at += size;
      }
      REQUIRE(ParsePieces(pieces, mode) == whole);
    }
  }
}

TEST_CASE("Markup never leaks into the deltas, and plain text isn't swallowed", "[parser]") {
  StreamingChatParser parser(ThinkingMode::kThinking);
  CHECK(parser.Push("so </thi").reasoning == "so ");
  CHECK(parser.Push("s").reasoning == "</this");
  CHECK(parser.Push("</think>2 <").content == "2 ");
  CHECK(parser.Push(" 3\n").content == "< 3");
  CHECK(parser.Push("\n<｜DSM").content.empty());
  CHECK(parser.Push("L｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<").content.empty());
  CHECK(parser.Push("｜DSML｜parameter name=\"a\" string=\"true\">v</").finished_calls.empty());
  CHECK(parser.Push("｜DSML｜parameter>\n</｜DSML｜invoke").finished_calls.empty());
  const ChatDelta delta = parser.Push(">\n</｜DSML｜tool");
  REQUIRE(delta.finished_calls.size() == 1);
  CHECK(delta.finished_calls[0].name == "f");
  CHECK(delta.finished_calls[0].arguments == R"({"a": "v"})");
  CHECK(parser.Push("_calls>").content.empty());
  CHECK(parser.partial().content == "2 < 3");
  const auto message = parser.Finish();
  REQUIRE(message.ok());
  CHECK(message->reasoning == "so </this");
  CHECK(message->content == "2 < 3");
}

TEST_CASE("A stream that is cut short gives up what it held back", "[parser]") {
  StreamingChatParser parser(ThinkingMode::kChat);
  CHECK(parser.Push("2 <").content == "2 ");
  CHECK(parser.Flush().content == "<");
  CHECK(parser.partial().content == "2 <");
  CHECK(parser.Push("x").content.empty());
  CHECK_FALSE(parser.Finish().ok());
}

TEST_CASE("Text cut short is an error that says so, wherever it is cut", "[parser]") {
  const std::string text =
      "r</think>c\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>\n"
      "<｜DSML｜invoke name=\"g\">\n<｜DSML｜parameter name=\"a\" string=\"false\">1"
      "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
  REQUIRE(ParseCompletion(text, ThinkingMode::kThinking).ok());
  for (size_t size = 0; size < text.size(); ++size) {
    const auto message = ParseCompletion(text.substr(0, size), ThinkingMode::kThinking);
    INFO(size << " " << message.status().ToString());
    REQUIRE_FALSE(message.ok());
    CHECK((message.status().reason() == "REASONING_UNFINISHED" ||
           message.status().reason() == "EOS_MISSING" ||
           message.status().reason() == "CALLS_UNFINISHED"));
  }
}

TEST_CASE("The grammar's corners", "[parser]") {
  const std::string open = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n";
  const std::string close = "\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
  const auto arguments = [&](const std::string& body) -> std::string {
    const auto message = ParseCompletion(open + body + close, ThinkingMode::kChat);
    if (!message.ok()) return message.status().reason();
    return message->tool_calls.at(0).arguments;
  };
  const auto parameter = [](const std::string& head, const std::string& value) {
    return "<｜DSML｜parameter" + head + value + "</｜DSML｜parameter>";
  };
  CHECK(arguments(parameter(R"( name="a" string="true">)", "x\n\"<&\t\\")) ==
        R"({"a": "x\n\"<&\t\\"})");
  CHECK(arguments(parameter(R"( name="a" string="true">)", "1") + "\n" +
                  parameter(R"( name="b" string="false">)", "[1, 2]")) ==
        R"({"a": "1", "b": [1, 2]})");
  CHECK(arguments(parameter(R"( name="a" string="true">)", "1") + "\n" +
                  parameter(R"( name="a" string="true">)", "2")) == "CHAT_SYNTAX");
  CHECK(arguments(parameter(R"( name="a" string="maybe">)", "1")) == "CHAT_SYNTAX");
  CHECK(arguments(parameter(R"(  name="a" string="true">)", "1")) == "CHAT_SYNTAX");
  CHECK(arguments(parameter(R"( name="a" string="true">)", "1") + "\n\n" +
                  parameter(R"( name="b" string="true">)", "2")) == "CHAT_SYNTAX");
  CHECK(arguments(parameter(R"( name="" string="true">)", "")) == R"({"": ""})");
  // The first attribute that fits ends the name.
  CHECK(arguments(parameter(R"( name="a" string="no" string="true">)", "1")) ==
        R"({"a\" string=\"no": "1"})");
  for (const char* token : {"<think>", "</think>", "<｜begin▁of▁sentence｜>", "｜DSML｜"}) {
    const auto message =
        ParseCompletion(std::string("x") + token + "<｜end▁of▁sentence｜>", ThinkingMode::kChat);
    CHECK(message.status().reason() == "CHAT_SYNTAX");
  }
  const auto early = ParseCompletion("hm" + open + close, ThinkingMode::kThinking);
  CHECK(early.status().message().find("</think>") != std::string::npos);
  const auto after =
      ParseCompletion("x<｜end▁of▁sentence｜>y<｜end▁of▁sentence｜>", ThinkingMode::kChat);
  CHECK(after.status().reason() == "CHAT_SYNTAX");
  const auto empty =
      ParseCompletion("\n\n<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>", ThinkingMode::kChat);
  REQUIRE(empty.ok());
  CHECK(empty->tool_calls.empty());
}

}  // namespace
}  // namespace baleen
