// Model: weights + config + tokenizer + fingerprint, and the forward pass over a caller-owned
// cache.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

class Tokenizer;  // model/text/tokenizer.h

/// kNative: KV and index quantisation round trips as trained. kPure: none, what Hugging Face
/// transformers computes.
enum class NumericMode { kNative, kPure };

struct ModelOptions {
  NumericMode mode = NumericMode::kNative;
  std::string backend = "cpu";
  int threads = 0;  ///< <= 0: one per core.
  WeightAccess access = WeightAccess::kMapped;
  /// Folder in which Open remembers fingerprints, which take as long as reading all weights; empty:
  /// none.
  std::string fingerprint_cache;
  /// Called while loading with (bytes done, bytes total); may be empty.
  std::function<void(int64_t, int64_t)> progress;
};

/// Which logits a forward pass returns.
enum class LogitsWanted { kNone, kLast, kAll };

/// DeepSeek-V4, loaded. MTP tensors are checked, not kept: nothing runs them.
/// Immutable after Open, except for the scratch of the forward pass.
/// Threads: Forward from one thread at a time (the engine thread); the rest from any.
class Model {
 public:
  /// Loads a checkpoint folder (config.json, *.safetensors, tokenizer.json if present).
  /// Errors: NOT_FOUND, INVALID_ARGUMENT, DATA_LOSS naming the file, tensor or field.
  static Result<std::unique_ptr<Model>> Open(const std::string& path, const ModelOptions& options);

  /// A model without a tokenizer from any source of tensors. `fingerprint` is left as given.
  /// Errors: NOT_FOUND or INVALID_ARGUMENT listing the tensors that don't fit; DATA_LOSS for values
  /// that no model has; INVALID_ARGUMENT for an unknown backend or an impossible config.
  static Result<std::unique_ptr<Model>> FromWeights(const WeightSource& source,
                                                    const ModelOptions& options,
                                                    std::string fingerprint);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelConfig& config() const;
  NumericMode mode() const;
  kernels::RowFormat row_format() const;
  /// Null if the folder has no tokenizer.json.
  const Tokenizer* tokenizer() const;
  /// 64 hex digits: SHA-256 over config, tensor manifest with content hashes, tokenizer.
  const std::string& fingerprint() const;
  /// E.g. "native/cpu/1": KV never crosses arithmetic ids silently.
  const std::string& arithmetic_id() const;
  const kernels::Backend& backend() const;

  KvCache NewCache() const;
  Result<KvCache> RestoreCache(std::vector<std::shared_ptr<KvBlock>> blocks,
                               std::string_view checkpoint) const;
  /// See KvCache::Replay.
  KvCache ReplayCache(std::vector<std::shared_ptr<KvBlock>> blocks, int64_t position) const;

  /// Appends `tokens` to `cache`. Any split of the same tokens into calls gives the same bits.
  /// Shapes: logits [vocab] (kLast) or [tokens, vocab] (kAll), fp32; resized.
  /// Errors: INVALID_ARGUMENT for a token id outside the vocabulary, a call whose logits would take
  /// over 4 GiB, or a cache of another model or mode; OUT_OF_RANGE beyond positions_max: in these
  /// cases the cache is unchanged. INTERNAL if logits are not finite: the cache then holds the
  /// tokens and is of no use. If units are absent, what the row source answers: the cache then
  /// holds the first cache.tokens() - before of the tokens, and a call with the rest goes on.
  Status Forward(KvCache& cache, std::span<const int32_t> tokens, LogitsWanted wanted,
                 std::vector<float>* logits);

 private:
  class Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baleen
