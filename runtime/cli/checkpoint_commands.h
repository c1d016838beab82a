// What `baleen inspect` and `baleen make-tiny` do, without flags: plain functions over streams.
//
// Knows checkpoints, not models: nothing is computed with the weights. Called by the command line
// and by tests.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "model/random_weights.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

struct InspectOptions {
  std::string model;  ///< Checkpoint folder.
  bool json = false;
  /// The fingerprint reads every byte unless it is in the cache.
  bool fingerprint = true;
  std::string fingerprint_cache;  ///< Folder; empty: none.
  std::function<void(int64_t, int64_t)> progress;
};

/// Prints what a checkpoint holds: dimensions, layer kinds, parameters, types, bytes, KV bytes per
/// token, tokenizer, fingerprint. Nothing is printed on error.
Status InspectCheckpoint(const InspectOptions& options, std::ostream& out);

struct MakeTinyOptions {
  std::string folder;
  uint64_t seed = 1;
  ModelConfig config = TinyConfig();
  RandomStorage storage = RandomStorage::kOfficial;
  int64_t shard_bytes = 0;  ///< 0: one file.
  /// tokenizer.json to copy into the folder; empty: none. `config.vocab` is not taken from it.
  std::string tokenizer;
};

/// Writes a seeded checkpoint with the architecture of DeepSeek-V4 and no knowledge whatsoever, and
/// prints what it wrote.
Status MakeTinyCheckpoint(const MakeTinyOptions& options, std::ostream& out);

/// Marginal KV bytes of one token of context, averaged over a compression period.
/// Packed: E4M3 codes, one E8M0 scale per 64 channels and BF16 rotary channels per entry; E2M1
/// codes and one scale per 32 channels per index key. `packed` false: everything F32 (mode `pure`).
double KvBytesPerToken(const ModelConfig& config, bool packed);

}  // namespace baleen::cli
