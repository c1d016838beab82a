// Stored rows of the compressed KV cache: their formats, and where they lie.
//
// Layout only: kernels/quantise.h knows the codes. Shared by the ops and by the model's cache.
#pragma once

#include <cstdint>
#include <span>

namespace baleen::kernels {

/// How compressed KV rows are stored. kPacked: E4M3 codes + E8M0 scales + bf16 rope for entries,
/// E2M1 codes + E8M0 scales for index keys. kFloat: plain fp32 (mode `pure`).
enum class RowFormat { kPacked, kFloat };

inline constexpr int kKvScaleBlock = 64;     ///< Channels per E8M0 scale of a packed entry.
inline constexpr int kIndexScaleBlock = 32;  ///< Channels per E8M0 scale of a packed index key.

/// Planes of a run of stored rows; which are set depends on the format.
struct RowPlanes {
  const uint8_t* codes =
      nullptr;  ///< entries: [rows, nope] E4M3; index keys: [rows, dim/2] E2M1 pairs.
  const uint8_t* scales =
      nullptr;  ///< entries: [rows, ceil(nope/64)]; index keys: [rows, ceil(dim/32)].
  const uint16_t* rope = nullptr;  ///< entries: [rows, rope] bf16; index keys: null.
  const float* values = nullptr;   ///< kFloat: [rows, dim].
};

struct MutableRowPlanes {
  uint8_t* codes = nullptr;
  uint8_t* scales = nullptr;
  uint16_t* rope = nullptr;
  float* values = nullptr;
};

/// Rows behind a block table: row j lives in tables[j / rows_per_block] at j % rows_per_block. The
/// last table entry may be a partly filled private tail.
struct PagedRows {
  RowFormat format = RowFormat::kPacked;
  std::span<const RowPlanes> tables;
  int64_t rows_per_block = 0;
  int64_t rows = 0;
  int64_t dim = 0;   ///< Channels of a row.
  int64_t rope = 0;  ///< Of these, the last `rope` are rotary (0 for index keys).
};

}  // namespace baleen::kernels
