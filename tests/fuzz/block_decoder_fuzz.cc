// Fuzz: hostile bytes as a stored block or checkpoint. Either refused, or encoding gives them back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "runtime/store/block_codec.h"

namespace {

/// A checksum hides everything behind it from a fuzzer, so the input's last byte also chooses
/// whether it is taken as it is, or as the fields of a value that is then encoded.
void FuzzEncoded(std::string_view bytes) {
  baleen::StoredBlock block;
  if (bytes.size() < 8) return;
  for (int i = 0; i < 3; ++i) block.tokens.push_back(bytes[static_cast<size_t>(i)]);
  block.streams.push_back({std::string(bytes.substr(0, 4)), bytes[4], bytes[5], bytes[6]});
  for (const char c : bytes) block.bytes.push_back(static_cast<std::byte>(c));
  std::string value = baleen::EncodeBlock({}, block.tokens, block.streams, block.bytes);
  const bool fits = baleen::CheckBlock(block.tokens, block.streams, block.bytes.size()).ok();
  const auto decoded = baleen::DecodeBlock(value, {});
  if (decoded.ok() != fits) std::abort();
  if (decoded.ok() && decoded->bytes != block.bytes) std::abort();
  value[static_cast<uint8_t>(bytes[7]) % value.size()] ^= 1;
  if (baleen::DecodeBlock(value, {}).ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size_bytes) {
  const std::string_view value(reinterpret_cast<const char*>(bytes), size_bytes);
  if (const auto block = baleen::DecodeBlock(value, {}); block.ok()) {
    if (baleen::EncodeBlock({}, block->tokens, block->streams, block->bytes).size() >
        value.size()) {
      std::abort();
    }
  }
  if (const auto checkpoint = baleen::DecodeCheckpoint(value, {}); checkpoint.ok()) {
    if (!baleen::CheckCheckpoint(*checkpoint).ok()) std::abort();
  }
  FuzzEncoded(value);
  return 0;
}
