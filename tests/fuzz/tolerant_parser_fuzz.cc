// Any text gives an answer; every call in it is declared and validates.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "model/text/tolerant_parser.h"

namespace {

// Capitals stand for pieces of markup, well and badly spelled.
std::string Expand(std::string_view text) {
  static constexpr std::array<std::string_view, 16> kPieces = {
      "</think>",
      "<｜end▁of▁sentence｜>",
      "<｜DSML｜tool_calls>\n",
      "</｜DSML｜tool_calls>",
      "<｜DSML｜invoke name=\"f\">\n",
      "</｜DSML｜invoke>\n",
      "<｜DSML｜parameter name=\"a\" string=\"true\">",
      "</｜DSML｜parameter>\n",
      "<|DSML|function_calls>",
      "<invoke name=\"f\">",
      "</invoke>",
      "<parameter name=\"a\">",
      "</parameter>",
      "string=\"false\">",
      "{\"a\":1}",
      "<DSML｜invoke name=\"g\">"};
  std::string expanded;
  for (const char c : text) {
    const auto index = static_cast<size_t>(c - 'A');
    expanded += index < kPieces.size() ? kPieces[index] : std::string_view(&c, 1);
  }
  return expanded;
}

const baleen::ToolSet& Tools() {
  static const baleen::ToolSet tools = [] {
    baleen::ToolSet set;
    baleen::ToolSpec spec;
    spec.name = "f";
    spec.parameters = R"({"type":"object","properties":{"a":{"type":["string","integer"]}}})";
    if (!set.Add(spec).ok()) std::abort();
    return set;
  }();
  return tools;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  const std::string text = Expand({reinterpret_cast<const char*>(bytes + 1), size - 1});
  baleen::CompletionSource source;
  if ((bytes[0] & 1) != 0) source.mode = baleen::ThinkingMode::kThinking;
  if ((bytes[0] & 2) != 0) source.end = baleen::CompletionEnd::kTokenLimit;
  const baleen::RecoveredMessage recovered = baleen::RecoverCompletion(text, source, Tools());
  for (const baleen::ToolCall& call : recovered.message.tool_calls) {
    if (!Tools().CheckCall(call).ok()) std::abort();
  }
  if (recovered.cut && !recovered.message.tool_calls.empty()) std::abort();
  return 0;
}
