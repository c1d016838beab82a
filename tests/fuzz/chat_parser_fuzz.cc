// Any text in any pieces: the pieces parse as the whole does. Two control bytes stand for markup,
// so that the fuzzer reaches the grammar's inside.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "model/text/chat_parser.h"

namespace {

std::string Expand(std::string_view text) {
  static constexpr std::array<std::string_view, 13> kPieces = {"</think>",
                                                               "<think>",
                                                               "<｜end▁of▁sentence｜>",
                                                               "\n\n<｜DSML｜tool_calls",
                                                               ">\n",
                                                               "<｜DSML｜invoke",
                                                               " name=\"",
                                                               "\">\n",
                                                               "<｜DSML｜parameter",
                                                               "\" string=\"true\">",
                                                               "</｜DSML｜parameter",
                                                               "</｜DSML｜invoke",
                                                               "</｜DSML｜tool_calls>"};
  std::string expanded;
  for (const char c : text) {
    const auto index = static_cast<size_t>(c - 'A');
    expanded += index < kPieces.size() ? kPieces[index] : std::string_view(&c, 1);
  }
  return expanded;
}

std::string Shown(const baleen::Result<baleen::Message>& message) {
  if (!message.ok()) return message.status().ToString();
  std::string text = message->reasoning + "\x01" + message->content;
  for (const auto& call : message->tool_calls) text += "\x02" + call.name + "\x03" + call.arguments;
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2) return 0;
  const auto mode =
      (bytes[0] & 1) != 0 ? baleen::ThinkingMode::kThinking : baleen::ThinkingMode::kChat;
  const size_t step = 1 + bytes[1] % 16;
  const std::string text = Expand({reinterpret_cast<const char*>(bytes) + 2, size - 2});
  baleen::StreamingChatParser parser(mode);
  std::string content;
  for (size_t at = 0; at < text.size(); at += step) {
    content += parser.Push(std::string_view(text).substr(at, step)).content;
  }
  if (content != parser.partial().content) std::abort();
  const auto pieces = parser.Finish();
  if (Shown(pieces) != Shown(baleen::ParseCompletion(text, mode))) std::abort();
  if (pieces.ok() && content != pieces->content) std::abort();
  return 0;
}
