// Fuzz: hostile bytes as a stored unit, shape or checkpoint. Either refused, or encoding gives them
// back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "runtime/store/block_codec.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

/// A checksum hides everything behind it from a fuzzer, so the input is also taken as the contents
/// of a unit that is then encoded and damaged.
void FuzzEncoded(std::string_view bytes) {
  if (bytes.size() < 8) return;
  const std::vector<int32_t> tokens = {bytes[0], bytes[1], bytes[2]};
  const auto size = static_cast<int64_t>(bytes.size());
  const int32_t unit = bytes[3] & 1;
  const auto shape = baleen::BlockShape::Make({{"a", size, 1, 0, unit}}, size);
  Require(shape.ok());
  const auto payload = std::as_bytes(std::span(bytes));
  std::string value = baleen::EncodeUnit({}, tokens, *shape, unit, payload);
  std::vector<std::byte> out(bytes.size());
  Require(baleen::LoadUnit(value, {}, tokens, *shape, unit, out).ok());
  Require(std::equal(out.begin(), out.end(), payload.begin(), payload.end()));
  value[static_cast<uint8_t>(bytes[7]) % value.size()] ^= 1;
  Require(!baleen::LoadUnit(value, {}, tokens, *shape, unit, out).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size_bytes) {
  const std::string_view value(reinterpret_cast<const char*>(bytes), size_bytes);
  if (const auto head = baleen::DecodeResident(value, {}); head.ok()) {
    Require(head->extent.size() + head->tokens.size() * 4 < value.size());
  }
  if (const auto shape = baleen::DecodeShape(value); shape.ok()) {
    // Varints have longer forms that say the same, so the first encoding may differ.
    const auto again = baleen::DecodeShape(baleen::EncodeShape(*shape));
    Require(again.ok() && again->hash() == shape->hash());
  }
  if (const auto checkpoint = baleen::DecodeCheckpoint(value, {}); checkpoint.ok()) {
    Require(baleen::CheckCheckpoint(*checkpoint).ok());
  }
  FuzzEncoded(value);
  return 0;
}
