// Bytes of a hostile endpoint, in pieces: never a crash, never more than the limits, and the same
// answer however the bytes are cut.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/remote/chat_answer.h"
#include "runtime/remote/sse_reader.h"

namespace {

using baleen::ChatAnswer;
using baleen::ChatAnswerReader;
using baleen::Result;
using baleen::SseReader;

Result<ChatAnswer> Read(std::string_view bytes, size_t piece) {
  SseReader events(4096);
  ChatAnswerReader answer({1024, 4});
  while (!bytes.empty()) {
    std::vector<std::string> data;
    const baleen::Status status = events.Push(bytes.substr(0, piece), &data);
    for (const std::string& event : data) {
      answer.Push(event).status().IgnoreError("Finish says it again");
    }
    if (!status.ok()) return status;
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return answer.Finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = Read(bytes, bytes.size() + 1);
  const auto cut = Read(bytes, 1 + size % 7);
  if (whole.ok() != cut.ok()) std::abort();
  if (!whole.ok()) {
    if (whole.status().ToString() != cut.status().ToString()) std::abort();
    baleen::ErrorOfAnswer(static_cast<int>(400 + size % 200), bytes).IgnoreError("any will do");
    return 0;
  }
  if (whole->message.content != cut->message.content) std::abort();
  if (whole->message.tool_calls.size() != cut->message.tool_calls.size()) std::abort();
  if (whole->message.tool_calls.size() > 4) std::abort();
  return 0;
}
