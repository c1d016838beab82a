// Any bytes: encoding never crashes, and what is valid UTF-8 decodes to itself, however it is cut
// into segments.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "model/text/tokenizer.h"
#include "tools_sdk/utf8.h"

namespace {

const baleen::Tokenizer& SharedTokenizer() {
  static const std::unique_ptr<baleen::Tokenizer> tokenizer = [] {
    auto loaded =
        baleen::Tokenizer::Load(std::string(BALEEN_TEST_DATA) + "/tokenizer/tokenizer.json");
    if (!loaded.ok()) std::abort();
    return std::move(loaded).value();
  }();
  return *tokenizer;
}

void CheckDecodes(const baleen::Result<std::vector<int32_t>>& ids, std::string_view text) {
  if (!ids.ok()) std::abort();
  const auto decoded = SharedTokenizer().Decode(*ids);
  if (!decoded.ok() || *decoded != text) std::abort();
  baleen::StreamingDetokenizer stream(SharedTokenizer());
  std::string joined;
  for (const int32_t id : *ids) joined += stream.Push(id);
  if (joined + stream.Finish() != text) std::abort();
}

}  // namespace

/// Loads the vocabulary outside the timed inputs: instrumented, it takes many seconds.
extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  SharedTokenizer();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto data = SharedTokenizer().Encode(text, baleen::TextTrust::kData);
  const auto trusted = SharedTokenizer().Encode(text, baleen::TextTrust::kTrusted);
  const bool valid = baleen::Utf8ValidPrefix(text) == text.size();
  if (data.ok() != valid || trusted.ok() != valid) std::abort();
  if (!valid) return 0;
  CheckDecodes(data, text);
  CheckDecodes(trusted, text);
  for (const int32_t id : *data) {
    if (SharedTokenizer().IsAddedToken(id)) std::abort();
  }
  using Kind = baleen::Segment::Kind;
  const size_t cut = size == 0 ? 0 : bytes[0] % size;
  CheckDecodes(
      SharedTokenizer().EncodeSegments({{Kind::kTrusted, 0, std::string(text.substr(0, cut))},
                                        {Kind::kData, 0, std::string(text.substr(cut))}}),
      text);
  return 0;
}
