// FlashStore: a KV store filled with synthetic rows at V4-Flash's true sizes, for benchmarks.
//
// The rows are incompressible and mean nothing; keys, units, checkpoints and flushes are those of a
// session that grows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/store/kv_store.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

/// Bytes of KV per token at V4-Flash's shape, rows of 584 bytes: what every figure is held against.
inline constexpr double kFlashTokenBytes = 3514.25;
/// A checkpoint at a block's border: 128 window rows of 43 layers, and the previous windows of the
/// CSA compressors.
inline constexpr int64_t kFlashCheckpointBytes = int64_t{43} * 128 * 583 + 430'080;
inline constexpr int32_t kFlashCsaLayers = 21;
inline constexpr int32_t kFlashHcaLayers = 20;
inline constexpr int64_t kFlashTopK = 512;

/// Unit 0: index keys and HCA rows; unit i: the rows of the i-th CSA layer.
Result<BlockShape> FlashShape(int64_t block_tokens);

/// The chain of one synthetic session.
class FlashSession {
 public:
  FlashSession(int64_t number, int64_t tokens, int64_t block_tokens);

  int64_t blocks() const { return static_cast<int64_t>(keys_.size()); }
  int64_t block_tokens() const { return block_tokens_; }
  const BlockKey& key(int64_t block) const { return keys_[static_cast<size_t>(block)]; }
  std::span<const BlockKey> keys() const { return keys_; }
  std::span<const int32_t> all_tokens() const { return tokens_; }
  std::span<const int32_t> tokens(int64_t block) const;
  static KvScope scope() { return {"flash", "synthetic", "bench"}; }

  /// Blocks [first, last) with a checkpoint and a flush every `checkpoint_tokens`.
  Status Write(KvStore& store, const BlockShape& shape, int64_t first, int64_t last,
               int64_t checkpoint_tokens) const;

 private:
  int64_t number_;
  int64_t block_tokens_;
  std::vector<int32_t> tokens_;
  std::vector<BlockKey> keys_;
};

/// Incompressible bytes from a number.
void FillRandom(uint64_t seed, std::span<std::byte> out);

/// The KV store of a bench, in `folder`.
Result<std::unique_ptr<KvStore>> OpenFlashStore(const std::string& folder, int reader_threads);

}  // namespace baleen::cli
