#include "model/constraint/chat_grammar.h"

#include <catch2/catch.hpp>
#include <string>

#include "model/constraint/automaton.h"
#include "model/constraint/schema_grammar.h"
#include "model/text/chat_parser.h"
#include "tests/constraint/small_vocabulary.h"

namespace baleen {
namespace {

constexpr std::string_view kEos = "<｜end▁of▁sentence｜>";
constexpr std::string_view kThinkClose = "</think>";

/// Symbols of a completion whose control tokens are written as their literals.
std::vector<Symbol> Symbols(std::string_view text) {
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(kEos) || rest.starts_with(kThinkClose)) {
      symbols.push_back(rest.starts_with(kEos) ? kEosSymbol : kThinkCloseSymbol);
      at += rest.starts_with(kEos) ? kEos.size() : kThinkClose.size();
      continue;
    }
    const size_t next = std::min(rest.find(kEos), rest.find(kThinkClose));
    for (const Symbol symbol : MarkupSymbols(rest.substr(0, next))) symbols.push_back(symbol);
    at += std::min(next, rest.size());
  }
  return symbols;
}

bool Accepts(const ChatShape& shape, std::string_view text) {
  Automaton automaton(MustCompile(shape));
  StateId state = automaton.start();
  for (const Symbol symbol : Symbols(text)) state = automaton.Next(state, symbol);
  return automaton.Complete(state);
}

ChatShape Shape(ToolChoice choice = ToolChoice::kAuto, ThinkingMode mode = ThinkingMode::kChat) {
  ChatShape shape;
  shape.thinking = mode;
  shape.choice = choice;
  shape.tools = {MakeTool("get_weather", R"({"type":"object","properties":{"city":{"type":"string"},
          "days":{"type":"integer","minimum":1,"maximum":9},"any":{"type":["string","null"]}},
          "required":["city"]})"),
                 MakeTool("now", R"({"type":"object","properties":{}})")};
  return shape;
}

std::string Block(const std::string& calls) {
  return "\n\n<｜DSML｜tool_calls>\n" + calls + "</｜DSML｜tool_calls><｜end▁of▁sentence｜>";
}

std::string Call(const std::string& name, const std::string& parameters) {
  return "<｜DSML｜invoke name=\"" + name + "\">\n" + parameters + "</｜DSML｜invoke>\n";
}

std::string Parameter(const std::string& name, const std::string& is_string,
                      const std::string& value) {
  return "<｜DSML｜parameter name=\"" + name + "\" string=\"" + is_string + "\">" + value +
         "</｜DSML｜parameter>\n";
}

const std::string kEnd = "<｜end▁of▁sentence｜>";

TEST_CASE("The reference's own calls are in the grammar, and the strict parser reads them",
          "[chat]") {
  const std::string city = Parameter("city", "true", "Paris");
  const std::vector<std::string> good = {
      Block(Call("get_weather", city)),
      "Let me check." + Block(Call("get_weather", city + Parameter("days", "false", "3"))),
      Block(Call("get_weather", Parameter("days", "false", "9") + city) + Call("now", "")),
      Block(Call("now", "\n")),  // as the reference renders a call without parameters
      Block(Call("get_weather", Parameter("city", "true", "a</b\n\"q\" <｜DSM"))),
      Block(Call("get_weather", Parameter("city", "true", ""))),
      Block(Call("get_weather", city + Parameter("any", "true", "null"))),
      Block(Call("get_weather", city + Parameter("any", "false", "null"))),
      "Just text." + kEnd,
      "2 < 3\n\n<b>" + kEnd,
      kEnd};
  for (const std::string& text : good) {
    INFO(text);
    CHECK(Accepts(Shape(), text));
    CHECK(ParseCompletion(text, ThinkingMode::kChat).ok());
  }
}

TEST_CASE("What breaks a call can't be written", "[chat]") {
  const std::string city = Parameter("city", "true", "Paris");
  const std::vector<std::string> bad = {
      Block(""),                                                    // no call
      Block(Call("get_wether", city)),                              // no such tool
      Block(Call("get_weather", "")),                               // city is missing
      Block(Call("get_weather", city + city)),                      // twice
      Block(Call("get_weather", Parameter("town", "true", "x"))),   // no such parameter
      Block(Call("get_weather", Parameter("city", "false", "1"))),  // string by schema
      Block(Call("get_weather", city + Parameter("days", "true", "3"))),
      Block(Call("get_weather", city + Parameter("days", "false", "10"))),
      Block(Call("get_weather", city + Parameter("days", "false", "3.5"))),
      Block(Call("get_weather", city + Parameter("any", "false", "\"s\""))),
      Block(Call("now", "") + "\n"),
      "\n<｜DSML｜tool_calls>\n" + Call("now", "") + "</｜DSML｜tool_calls>" + kEnd,
      "text<｜DSML｜tool_calls>",
      "a" + Block(Call("now", "")) + "more" + kEnd,
      "</think>" + kEnd,
      "never ends"};
  for (const std::string& text : bad) {
    INFO(text);
    CHECK_FALSE(Accepts(Shape(), text));
  }
}

TEST_CASE("Markers spelled with ordinary bytes are no way out of the text", "[chat]") {
  Automaton automaton(MustCompile(Shape()));
  for (const std::string_view marker :
       {"｜DSML｜", "<think>", "</think>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"}) {
    StateId state = automaton.start();
    const std::string text = "so <" + std::string(marker);
    for (size_t i = 0; i < text.size(); ++i) {
      REQUIRE(state != kDeadState);
      state = automaton.Next(state, static_cast<uint8_t>(text[i]));
    }
    INFO(marker);
    CHECK(state == kDeadState);
  }
}

TEST_CASE("tool_choice decides whether calls may, must or can't come", "[chat]") {
  const std::string now = Block(Call("now", ""));
  const std::string two = Block(Call("now", "") + Call("now", ""));
  const std::string text = "no" + kEnd;
  ChatShape named = Shape(ToolChoice::kNamed);
  named.tool = "now";
  CHECK(Accepts(Shape(ToolChoice::kNone), text));
  CHECK_FALSE(Accepts(Shape(ToolChoice::kNone), now));
  CHECK_FALSE(Accepts(Shape(ToolChoice::kRequired), text));
  CHECK_FALSE(Accepts(Shape(ToolChoice::kRequired), "well" + now));
  CHECK(Accepts(Shape(ToolChoice::kRequired), now));
  CHECK(Accepts(Shape(ToolChoice::kRequired), two));
  CHECK(Accepts(named, now));
  CHECK_FALSE(Accepts(named, two));
  CHECK_FALSE(Accepts(named, Block(Call("get_weather", Parameter("city", "true", "x")))));
  named.tool = "later";
  CHECK(CompileChat(named).status().reason() == "BAD_FIELD");
  ChatShape none;
  none.choice = ToolChoice::kRequired;
  CHECK(CompileChat(none).status().reason() == "BAD_FIELD");
}

TEST_CASE("Reasoning comes first, and calls are no part of it", "[chat]") {
  const std::string now = Block(Call("now", ""));
  const ChatShape thinking = Shape(ToolChoice::kAuto, ThinkingMode::kThinking);
  CHECK(Accepts(thinking, "hm</think>yes" + kEnd));
  CHECK(Accepts(thinking, "</think>" + now));
  CHECK_FALSE(Accepts(thinking, "hm" + now));
  CHECK_FALSE(Accepts(thinking, "hm" + kEnd));
  CHECK_FALSE(Accepts(thinking, "hm</think>a</think>b" + kEnd));
  CHECK(Accepts(Shape(ToolChoice::kRequired, ThinkingMode::kThinking), "hm</think>" + now));
}

TEST_CASE("A final answer follows its schema, calls stay possible before it", "[chat]") {
  ChatShape shape = Shape();
  shape.answer_schema = R"({"type":"object","properties":{"ok":{"type":"boolean"}},
                            "required":["ok"],"additionalProperties":false})";
  CHECK(Accepts(shape, R"({"ok": true})" + kEnd));
  CHECK(Accepts(shape, Block(Call("now", ""))));
  CHECK_FALSE(Accepts(shape, "{}" + kEnd));
  CHECK_FALSE(Accepts(shape, "sure: {\"ok\": true}" + kEnd));
  shape.choice = ToolChoice::kNone;
  CHECK_FALSE(Accepts(shape, Block(Call("now", ""))));
  shape.answer_schema = R"({"type":"string"})";
  CHECK(Accepts(shape, R"("a <b>")" + kEnd));
  CHECK_FALSE(Accepts(shape, R"("a <think> b")" + kEnd));
}

TEST_CASE("Impossible and unreadable schemas name the tool", "[chat]") {
  ChatShape shape;
  shape.tools = {OneParameter(R"({"type":"integer","minimum":2,"maximum":1})")};
  Status status = CompileChat(shape).status();
  CHECK(status.reason() == "UNSATISFIABLE");
  CHECK(status.message().find("tool 'f'") != std::string::npos);
  shape.tools = {OneParameter(R"({"$ref":"#/none"})")};
  status = CompileChat(shape).status();
  CHECK(status.reason() == "BAD_SCHEMA");
  CHECK(status.message().find("tool 'f'") != std::string::npos);
  shape.tools = {MakeTool("f", R"({"type":"object","required":["a\"b"]})")};
  CHECK(CompileChat(shape).status().reason() == "BAD_SCHEMA");
  shape.tools = {};
  shape.answer_schema = "false";
  CHECK(CompileChat(shape).status().message().find("answer schema") != std::string::npos);
}

}  // namespace
}  // namespace baleen
