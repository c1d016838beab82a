// The fingerprint of a model: SHA-256 over what its answers depend on.
//
// Config, every tensor's name, type, shape and content, and the tokenizer. Independent of sharding,
// file names and dialect of tensor names. Called by Model::Open and `baleen inspect`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "model/checkpoint/checkpoint.h"
#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

struct FingerprintOptions {
  /// Folder in which fingerprints are remembered by the identity (name, size, mtime, inode, device)
  /// of the checkpoint's files; created if needed. Empty: nothing is remembered. Reading 150 GiB
  /// takes minutes, so daemons want one.
  std::string cache_folder;
  /// Called while hashing with (bytes done, bytes total); may be empty. Not called on a cache hit.
  std::function<void(int64_t, int64_t)> progress;
};

/// 64 lower-case hex digits.
std::string Sha256Hex(std::span<const std::byte> bytes);

/// Fingerprint of any source. `tokenizer_sha256`: hex digest of tokenizer.json, or empty.
Result<std::string> FingerprintOf(const WeightSource& source, const std::string& tokenizer_sha256,
                                  const std::function<void(int64_t, int64_t)>& progress);

/// Fingerprint of an open checkpoint, from the cache if its files are the same as then. A cache
/// that can't be read or written costs time only.
Result<std::string> CheckpointFingerprint(const Checkpoint& checkpoint,
                                          const FingerprintOptions& options);

}  // namespace baleen
