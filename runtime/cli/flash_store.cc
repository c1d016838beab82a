#include "runtime/cli/flash_store.h"

#include <algorithm>
#include <cstring>

namespace baleen::cli {
namespace {

constexpr int64_t kAlignment = 64;
// A packed entry: 448 codes, 7 scales, 64 bf16 channels; an index key: 64 bytes and 4 scales.
constexpr int64_t kEntryPlanes[] = {448, 7, 128};
constexpr int64_t kIndexPlanes[] = {64, 4};
constexpr int64_t kCsaRatio = 4;
constexpr int64_t kHcaRatio = 128;
constexpr int64_t kVocab = 129280;

void AddPlanes(std::vector<StoredStream>& streams, const std::string& name,
               std::span<const int64_t> planes, int64_t rows, int32_t unit, int64_t& end) {
  for (size_t p = 0; p < planes.size(); ++p) {
    const int64_t offset = (end + kAlignment - 1) / kAlignment * kAlignment;
    streams.push_back({name + "." + std::to_string(p), planes[p], rows, offset, unit});
    end = offset + planes[p] * rows;
  }
}

uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

Result<BlockShape> FlashShape(int64_t block_tokens) {
  std::vector<StoredStream> streams;
  int64_t end = 0;
  for (int32_t l = 0; l < kFlashCsaLayers; ++l) {
    AddPlanes(streams, "C" + std::to_string(l) + ".index", kIndexPlanes, block_tokens / kCsaRatio,
              0, end);
  }
  for (int32_t l = 0; l < kFlashHcaLayers; ++l) {
    AddPlanes(streams, "H" + std::to_string(l) + ".kv", kEntryPlanes, block_tokens / kHcaRatio, 0,
              end);
  }
  for (int32_t l = 0; l < kFlashCsaLayers; ++l) {
    AddPlanes(streams, "C" + std::to_string(l) + ".kv", kEntryPlanes, block_tokens / kCsaRatio,
              l + 1, end);
  }
  return BlockShape::Make(std::move(streams), (end + kAlignment - 1) / kAlignment * kAlignment);
}

void FillRandom(uint64_t seed, std::span<std::byte> out) {
  uint64_t state = Mix(seed + 1);
  for (size_t at = 0; at < out.size(); at += sizeof(state)) {
    state += 0x9e3779b97f4a7c15;
    const uint64_t word = Mix(state);
    std::memcpy(out.data() + at, &word, std::min(sizeof(word), out.size() - at));
  }
}

FlashSession::FlashSession(int64_t number, int64_t tokens, int64_t block_tokens)
    : number_(number), block_tokens_(block_tokens), tokens_(static_cast<size_t>(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    tokens_[i] = static_cast<int32_t>(Mix(static_cast<uint64_t>(number) << 32 | i) % kVocab);
  }
  BlockKey parent{};
  for (int64_t block = 0; block < tokens / block_tokens; ++block) {
    parent = NextBlockKey(parent, this->tokens(block), scope());
    keys_.push_back(parent);
  }
}

std::span<const int32_t> FlashSession::tokens(int64_t block) const {
  return std::span(tokens_).subspan(static_cast<size_t>(block * block_tokens_),
                                    static_cast<size_t>(block_tokens_));
}

Status FlashSession::Write(KvStore& store, const BlockShape& shape, int64_t first, int64_t last,
                           int64_t checkpoint_tokens) const {
  std::vector<std::byte> bytes(static_cast<size_t>(shape.block_bytes()));
  StoredCheckpoint checkpoint;
  checkpoint.state.resize(static_cast<size_t>(kFlashCheckpointBytes));
  for (int64_t block = first; block < last; ++block) {
    const auto seed = static_cast<uint64_t>(number_ << 32 | block);
    FillRandom(seed, bytes);
    RETURN_IF_ERROR(store.PutBlock(key(block), tokens(block), shape, bytes));
    const int64_t position = (block + 1) * block_tokens_;
    if (position % checkpoint_tokens != 0 && block + 1 != last) continue;
    checkpoint.position = position;
    FillRandom(~seed, std::as_writable_bytes(std::span(checkpoint.state)));
    RETURN_IF_ERROR(store.PutCheckpoint(key(block), checkpoint));
    RETURN_IF_ERROR(store.Flush());
  }
  return OkStatus();
}

Result<std::unique_ptr<KvStore>> OpenFlashStore(const std::string& folder, int reader_threads) {
  KvStoreOptions options;
  options.path = folder + "/kv";
  options.reader_threads = reader_threads;
  return KvStore::Open(options, nullptr);
}

}  // namespace baleen::cli
