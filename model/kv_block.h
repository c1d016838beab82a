// KvBlock: 256 tokens of sealed KV rows, in units that may be absent.
//
// Unit 0 holds what every step reads: the index keys of CSA layers and the entries of HCA layers.
// Each further unit holds one CSA layer's entries, which a step reads only where its selection
// points. A block restored from a store may begin with unit 0 alone; the rest comes through a
// KvRowSource when a step needs it, or behind its back. Knows no files.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "model/config.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Tokens per block; a multiple of 128 = lcm(4, 128), so that a block ends on a border of every
/// compressor.
inline constexpr int64_t kBlockTokens = 256;

enum class KvRowKind { kEntry, kIndexKey };

/// One plane of rows inside a block, e.g. the E4M3 codes of layer 2's entries.
struct KvStream {
  std::string name;  ///< "L2.kv.codes", "L2.index.scales", ...
  int64_t layer = 0;
  KvRowKind kind = KvRowKind::kEntry;
  int32_t unit = 0;
  int64_t row_bytes = 0;
  int64_t rows = 0;    ///< Rows per block.
  int64_t offset = 0;  ///< Byte offset in the unit; multiple of 64.
};

/// What is present or absent as a whole.
struct KvUnit {
  int64_t bytes = 0;   ///< Multiple of 64; planes are padded to 64.
  int64_t offset = 0;  ///< Of the unit where all units lie one after another.
};

/// Where every plane of a block lives. Derived from config and row format alone.
struct KvLayout {
  kernels::RowFormat format = kernels::RowFormat::kPacked;
  std::vector<KvStream> streams;  ///< By unit.
  std::vector<KvUnit> units;      ///< [1 + CSA layers]
  int64_t block_bytes = 0;        ///< Of all units, with alignment padding.
  int64_t payload_bytes = 0;      ///< Without.

  static KvLayout Make(const ModelConfig& config, kernels::RowFormat format);
};

/// What its owner finds a block by; all zeros: nothing.
using KvBlockId = std::array<uint8_t, 32>;

/// A unit is absent, or present for good: its bytes never change again.
/// shared_ptr owners: the sequences that share the prefix, the cache of blocks in RAM, and the
/// store while it writes or reads.
/// Threads: any number of readers; a unit is filled by the one thread that claimed it.
class KvBlock {
 public:
  using Bytes = std::vector<std::byte>;

  /// Every unit present. Shapes: units[u] has KvLayout::units[u].bytes.
  explicit KvBlock(std::vector<Bytes> units);
  /// Only unit 0 present, of `units` in all.
  KvBlock(const KvBlockId& id, Bytes resident, size_t units);
  KvBlock(const KvBlock&) = delete;

  const KvBlockId& id() const { return id_; }
  int32_t units() const { return static_cast<int32_t>(slots_.size()); }
  bool present(int32_t unit) const {
    return slot(unit).state.load(std::memory_order_acquire) == State::kPresent;
  }
  /// Somebody fills it.
  bool claimed(int32_t unit) const {
    return slot(unit).state.load(std::memory_order_acquire) == State::kClaimed;
  }
  bool complete() const;
  /// Requires: present(unit).
  std::span<const std::byte> unit(int32_t unit) const { return slot(unit).bytes; }
  /// Bytes of all present units.
  int64_t resident_bytes() const;
  /// All units one after another. Requires: complete().
  Bytes Gather() const;

  /// Takes an absent unit for filling: `bytes` of room, zeroed. Empty: it is present, or somebody
  /// else has it.
  std::span<std::byte> Claim(int32_t unit, int64_t bytes);
  /// The claimed unit is filled.
  void Publish(int32_t unit);
  /// The claimed unit can't be filled; it is absent again.
  void Abandon(int32_t unit);

 private:
  enum class State : uint8_t { kAbsent, kClaimed, kPresent };
  struct Slot {
    std::atomic<State> state{State::kAbsent};
    Bytes bytes;
  };
  const Slot& slot(int32_t unit) const { return slots_[static_cast<size_t>(unit)]; }
  Slot& slot(int32_t unit) { return slots_[static_cast<size_t>(unit)]; }

  KvBlockId id_{};
  std::vector<Slot> slots_;  ///< [units]
};

/// One unit of one block of a sequence.
struct KvUnitRef {
  std::shared_ptr<KvBlock> block;  ///< Owners: see KvBlock.
  int64_t index = 0;               ///< Of the block in the sequence.
  int32_t unit = 0;
};

/// Where a step gets the units that its selection points at and its blocks lack.
/// Threads: called by the thread of the forward pass.
class KvRowSource {
 public:
  virtual ~KvRowSource() = default;
  /// Returns OK once all of `units` are present.
  /// Errors: DEADLINE_EXCEEDED: not yet, try the step again; anything else: they can't be had. The
  /// step is undone.
  virtual Status Fetch(std::span<const KvUnitRef> units) = 0;
};

}  // namespace baleen
