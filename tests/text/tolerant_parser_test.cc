// The failure modes of models that write calls without a grammar, as serving stacks have met them,
// numbered as in our notes on the encoding. Those that no parser can cause or mend are tested where
// they belong:
//   6 calls of declared tools always constrained, 7 thinking budget, 9 and 13 exact replay of
//   tokens:
//     tests/runtime/constraint_test.cc
//   8 effort levels, 10 place of the tools, 11 generation prompt, 12 control tokens in data:
//     tests/text/chat_encoder_test.cc
//   14 resumed state equals uninterrupted state: tests/runtime/resume_test.cc
//   17 size of the mask, 18 control tokens never sampled: tests/constraint/token_constraint_test.cc
//   19 required calls behind reasoning: tests/constraint/chat_grammar_test.cc
//   20 logits of every token, control tokens included: tests/oracle
#include "model/text/tolerant_parser.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "model/text/chat_parser.h"

namespace baleen {
namespace {

const ToolSet& Tools() {
  static const ToolSet tools = [] {
    ToolSet set;
    ToolSpec spec;
    spec.name = "weather";
    spec.parameters = R"({"type":"object","properties":{"city":{"type":"string"},
        "days":{"type":"integer"},"note":{"type":["string","null"]}},
        "required":["city"],"additionalProperties":false})";
    REQUIRE(set.Add(spec).ok());
    spec.name = "now";
    spec.parameters = R"({"type":"object","properties":{}})";
    REQUIRE(set.Add(spec).ok());
    spec.name = "raw";
    spec.parameters = R"({"type":"object","properties":{"input":{"type":"object"}}})";
    REQUIRE(set.Add(spec).ok());
    return set;
  }();
  return tools;
}

RecoveredMessage Recover(const std::string& text, ThinkingMode mode = ThinkingMode::kChat,
                         CompletionEnd end = CompletionEnd::kStopped) {
  return RecoverCompletion(text, {mode, end}, Tools());
}

/// Everything that came out, so that two outcomes compare as one string.
std::string Shown(const RecoveredMessage& recovered) {
  std::string text = "R[" + recovered.message.reasoning + "] C[" + recovered.message.content + "]";
  for (const ToolCall& call : recovered.message.tool_calls) {
    text += " " + call.name + call.arguments;
  }
  if (!recovered.refused.empty()) text += " refused " + std::to_string(recovered.refused.size());
  if (recovered.cut) text += " cut";
  return text;
}

const std::string kEos = "<｜end▁of▁sentence｜>";
const std::string kCity =
    "<｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter>\n";
const std::string kCall = "<｜DSML｜invoke name=\"weather\">\n" + kCity + "</｜DSML｜invoke>\n";
const std::string kBlock = "<｜DSML｜tool_calls>\n" + kCall + "</｜DSML｜tool_calls>";
const std::string kParis = R"( weather{"city": "Paris"})";

/// Replaces every `from` of `text`.
std::string With(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

TEST_CASE("Perfect completions need no repair", "[tolerant]") {
  const RecoveredMessage call = Recover("Let me see.\n\n" + kBlock + kEos);
  CHECK(Shown(call) == "R[] C[Let me see.]" + kParis);
  CHECK(call.repairs.empty());
  const RecoveredMessage text = Recover("hm</think>2 < 3" + kEos, ThinkingMode::kThinking);
  CHECK(Shown(text) == "R[hm] C[2 < 3]");
  CHECK(text.repairs.empty());
}

TEST_CASE("1: malformed openers are read or refused, and loops of closers come to nothing",
          "[tolerant]") {
  CHECK(Shown(Recover("\n\n" + With(kBlock, "tool_calls", "toolcalls") + kEos)) ==
        "R[] C[]" + kParis);
  // No head: nothing says which tool was meant.
  CHECK(Shown(Recover("\n\n<｜DSML｜tool_calls>\n" + kCity +
                      "</｜DSML｜invoke>\n</｜DSML｜tool_calls>")) == "R[] C[] refused 1");
  std::string loop = "Done.\n\n" + kBlock;
  for (int i = 0; i < 50; ++i) loop += "</｜DSML｜invoke></｜DSML｜tool_calls>";
  CHECK(Shown(Recover(loop)) == "R[] C[Done.]" + kParis);
}

TEST_CASE("2: a call before the reasoning's end closes it; talk about calls does not",
          "[tolerant]") {
  const ThinkingMode thinking = ThinkingMode::kThinking;
  CHECK(Shown(Recover("I need it.\n\n" + kBlock + kEos, thinking)) == "R[I need it.] C[]" + kParis);
  CHECK(Shown(Recover("One writes " + kBlock + " there.</think>So.", thinking)) ==
        "R[One writes " + kBlock + " there.] C[So.]");
  // Not a whole, valid call: still reasoning.
  const std::string unknown = With(kBlock, "weather", "wether");
  CHECK(Shown(Recover("Maybe " + unknown, thinking)) == "R[Maybe " + unknown + "] C[]");
}

TEST_CASE("3: partial markup is text, and none of it vanishes", "[tolerant]") {
  for (const std::string text : {"2 <", "y</｜DSM", "a <b> c </b>", "<｜DSML｜", "if (a<b && c>d)",
                                 "<parameters>", "<invoked by=\"x\">", "<tool_calls"}) {
    INFO(text);
    CHECK(Shown(Recover(text)) == "R[] C[" + text + "]");
  }
  // While it streams, too.
  StreamingChatParser parser(ThinkingMode::kChat);
  CHECK(parser.Push("2 <").content == "2 ");
  CHECK(parser.Flush().content == "<");
}

TEST_CASE("4: other names, bars and wrappers of the same block", "[tolerant]") {
  std::vector<std::string> spelled = {With(kBlock, "tool_calls", "function_calls"),
                                      With(kBlock, "｜", "|"),
                                      With(kBlock, "｜", "｜｜"),
                                      With(kBlock, "<｜DSML", "<DSML"),
                                      With(kBlock, "｜DSML｜", "｜DSML"),
                                      With(kBlock, "｜DSML｜", ""),
                                      With(kBlock, "DSML｜", "DSML｜ "),
                                      kCall};
  for (const std::string& text : spelled) {
    INFO(text);
    const RecoveredMessage recovered = Recover("Well.\n\n" + text + kEos);
    CHECK(Shown(recovered) == "R[] C[Well.]" + kParis);
    CHECK_FALSE(recovered.repairs.empty());
    // The same shape with a tool that nobody declared is an error, or plain text.
    const RecoveredMessage unknown = Recover("Well.\n\n" + With(text, "weather", "wether") + kEos);
    CHECK(unknown.message.tool_calls.empty());
    CHECK(unknown.refused.size() == 1);
  }
  // Stopped, all calls closed, only the block isn't.
  CHECK(Shown(Recover("\n\n<｜DSML｜tool_calls>\n" + kCall)) == "R[] C[]" + kParis);
}

TEST_CASE("5: stray closers and empty blocks are absorbed, text after a block is kept",
          "[tolerant]") {
  CHECK(Shown(Recover("Fine.</｜DSML｜invoke>\n</｜DSML｜tool_calls>")) == "R[] C[Fine.\n]");
  CHECK(Shown(Recover("Fine.\n\n<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>" + kEos)) ==
        "R[] C[Fine.]");
  CHECK(Shown(Recover("A\n\n" + kBlock + "\nB" + kEos)) == "R[] C[A\nB]" + kParis);
  CHECK(Shown(Recover("A\n\n" + kBlock + "\n\n" + kBlock)) == "R[] C[A]" + kParis + kParis);
}

TEST_CASE("7: an answer with neither text nor call is said to be one", "[tolerant]") {
  CHECK(Shown(Recover("hm" + kEos, ThinkingMode::kThinking)) == "R[hm] C[]");
  CHECK_FALSE(Recover("hm" + kEos, ThinkingMode::kThinking).repairs.empty());
}

TEST_CASE("15: what was cut short is never taken, nor anything beside it", "[tolerant]") {
  const std::string open = "\n\n<｜DSML｜tool_calls>\n" + kCall +
                           "<｜DSML｜invoke name=\"weather\">\n" +
                           "<｜DSML｜parameter name=\"city\" string=\"true\">rm -rf /tmp/";
  for (const CompletionEnd end : {CompletionEnd::kStopped, CompletionEnd::kTokenLimit}) {
    CHECK(Shown(Recover(open, ThinkingMode::kChat, end)) == "R[] C[] cut");
  }
  // At the token limit even a block of whole calls is only a part of what was meant.
  CHECK(Shown(Recover("\n\n<｜DSML｜tool_calls>\n" + kCall, ThinkingMode::kChat,
                      CompletionEnd::kTokenLimit)) == "R[] C[] cut");
  // Every cut of a good completion gives no call, or the whole one.
  const std::string whole = "Well.\n\n" + kBlock;
  for (size_t size = 0; size < whole.size(); ++size) {
    const RecoveredMessage recovered =
        Recover(whole.substr(0, size), ThinkingMode::kChat, CompletionEnd::kTokenLimit);
    INFO(whole.substr(0, size));
    CHECK(recovered.message.tool_calls.empty());
  }
}

TEST_CASE("16: the attribute decides the type unless the schema leaves only another",
          "[tolerant]") {
  const auto with = [](const std::string& parameters) {
    return Shown(Recover("<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"weather\">\n" + parameters +
                         "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"));
  };
  const auto parameter = [](const std::string& name, const std::string& attribute,
                            const std::string& value) {
    return "<｜DSML｜parameter name=\"" + name + "\"" + attribute + ">" + value +
           "</｜DSML｜parameter>\n";
  };
  const std::string is_string = " string=\"true\"";
  const std::string is_json = " string=\"false\"";
  CHECK(with(parameter("city", is_string, "5")) == R"(R[] C[] weather{"city": "5"})");
  CHECK(with(parameter("city", is_json, "5")) == R"(R[] C[] weather{"city": "5"})");
  CHECK(with(parameter("city", is_json, "\"Rome\"")) == R"(R[] C[] weather{"city": "Rome"})");
  CHECK(with(parameter("city", "", "Rome")) == R"(R[] C[] weather{"city": "Rome"})");
  CHECK(with(parameter("note", is_string, "null") + kCity) ==
        R"(R[] C[] weather{"note": "null", "city": "Paris"})");
  CHECK(with(parameter("note", is_json, "null") + kCity) ==
        R"(R[] C[] weather{"note": null, "city": "Paris"})");
  CHECK(with(kCity + parameter("days", is_string, "3")) ==
        R"(R[] C[] weather{"city": "Paris", "days": 3})");
  CHECK(with(kCity + parameter("days", is_json, "three")) == "R[] C[] refused 1");
  CHECK(with(kCity + kCity) == "R[] C[] refused 1");
  CHECK(with(parameter("town", is_string, "x")) == "R[] C[] refused 1");
  // Wrappers, but only where the tool has no such parameter.
  CHECK(with(parameter("arguments", is_json, R"({"city":"Rome"})")) ==
        R"(R[] C[] weather{"city":"Rome"})");
  CHECK(with(parameter("input", is_string, R"({"city":"Rome"})")) ==
        R"(R[] C[] weather{"city":"Rome"})");
  CHECK(with(R"({"city":"Rome"})") == R"(R[] C[] weather{"city":"Rome"})");
  CHECK(Shown(Recover(With(kBlock, "weather", "raw"))) == R"(R[] C[] raw{"city": "Paris"})");
}

TEST_CASE("Values may hold anything, also markup of another style", "[tolerant]") {
  const std::string value = "<invoke name=\"now\">\n</invoke> a < b </parameter>";
  CHECK(Shown(Recover(With(kBlock, "Paris", value))) ==
        R"(R[] C[] weather{"city": "<invoke name=\"now\">\n</invoke> a < b </parameter>"})");
  CHECK(Recover(With(kBlock, "Paris", value) + "x").message.tool_calls.size() == 1);
}

TEST_CASE("Hostile texts take no longer than their size allows", "[tolerant]") {
  std::string openers;
  for (int i = 0; i < 100'000; ++i) openers += "<invoke name=\"";
  CHECK(Recover(openers).message.content == openers);
  std::string blocks;
  for (int i = 0; i < 20'000; ++i) blocks += "<｜DSML｜tool_calls><invoke name=\"now\">";
  CHECK(Recover(blocks).message.tool_calls.empty());
}

}  // namespace
}  // namespace baleen
