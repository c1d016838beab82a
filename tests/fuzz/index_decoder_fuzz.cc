// Fuzz: hostile bytes as entries of the KV store's index. Either refused, or encoding gives them
// back.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "runtime/store/index_codec.h"

namespace {

constexpr size_t kCheckpointKeyBytes = 1 + 32 + 4 + 16;

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size_bytes) {
  const std::string_view value(reinterpret_cast<const char*>(bytes), size_bytes);
  if (const auto entry = baleen::DecodeBlockEntry(value); entry.has_value()) {
    Require(entry->number != 0 && entry->bytes >= entry->resident_bytes);
    Require(baleen::EncodeBlockEntry(*entry) == value);
  }
  if (const auto tombstone = baleen::DecodeTombstone(value); tombstone.has_value()) {
    Require(baleen::EncodeTombstone(*tombstone) == value);
  }
  const std::string_view key = value.substr(0, kCheckpointKeyBytes);
  const std::string_view rest = value.substr(key.size());
  if (const auto found = baleen::DecodeCheckpointEntry(key, rest); found.has_value()) {
    Require(baleen::CheckpointIndexKey(found->entry) == key);
    Require(baleen::EncodeCheckpointEntry(*found) == rest);
  }
  if (const auto block = baleen::KeyInIndex(value, baleen::kBlockTag); block.has_value()) {
    Require(baleen::BlockIndexKey(*block) == value);
  }
  Require((baleen::NumberInKey(value) == 0) || value.size() >= 8);
  return 0;
}
