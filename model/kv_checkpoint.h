// KV checkpoints: the mutable remainder of a KvCache as bytes.
//
// On-disk format, don't renumber. Little-endian, canonical: equal states give equal bytes.
//   header   u32 magic, u32 version, u32 row format, u32 layers, u32 head_dim, u32 rope_dim,
//            u32 window, u32 index_dim, u64 position
//   layer    u32 kind, u32 sections, then per section u32 id, u64 bytes, bytes
// Which sections a layer has follows from its kind; how long each must be, from the position
// (the selection's, from its count). No checksum and no fingerprint here: whoever stores the bytes
// adds both. Called by KvCache only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "model/config.h"
#include "model/kv_cache_state.h"
#include "tools_sdk/status.h"

namespace baleen {

inline constexpr uint32_t kKvCheckpointMagic = 0x564B4C42;  ///< "BLKV"
inline constexpr uint32_t kKvCheckpointVersion = 2;

std::string SaveKvCheckpoint(const KvCacheState& state);

/// Safe on any bytes: every length is compared with what the configuration and the position demand
/// before anything is allocated or copied.
/// Errors: DATA_LOSS naming the field or section, what was expected and what was found.
Result<std::unique_ptr<KvCacheState>> LoadKvCheckpoint(const ModelConfig& config,
                                                       kernels::RowFormat format,
                                                       std::vector<std::shared_ptr<KvBlock>> blocks,
                                                       std::string_view checkpoint);

}  // namespace baleen
