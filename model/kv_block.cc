#include "model/kv_block.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/integer_math.h"
#include "model/kv_rows.h"

namespace baleen {
namespace {

/// What one kind of row of one layer adds to a unit.
struct RowGroup {
  int64_t layer = 0;
  KvRowKind kind = KvRowKind::kEntry;
  RowShape shape;
  int64_t rows = 0;
};

/// Appends the planes of `group` to the layout's last unit.
void AddStreams(KvLayout& layout, const RowGroup& group) {
  KvUnit& unit = layout.units.back();
  for (int p = 0; p < kRowPlanes; ++p) {
    if (group.shape.plane_bytes[p] == 0) continue;
    KvStream stream;
    stream.name.append("L").append(std::to_string(group.layer));
    stream.name.append(group.kind == KvRowKind::kEntry ? ".kv." : ".index.");
    stream.name.append(RowPlaneName(static_cast<RowPlane>(p)));
    stream.layer = group.layer;
    stream.kind = group.kind;
    stream.unit = static_cast<int32_t>(layout.units.size()) - 1;
    stream.row_bytes = group.shape.plane_bytes[p];
    stream.rows = group.rows;
    stream.offset = unit.bytes;
    const int64_t plane_bytes = group.rows * stream.row_bytes;
    unit.bytes += CeilDivide(plane_bytes, kPlaneAlignment) * kPlaneAlignment;
    layout.payload_bytes += plane_bytes;
    layout.streams.push_back(std::move(stream));
  }
}

}  // namespace

KvLayout KvLayout::Make(const ModelConfig& config, kernels::RowFormat format) {
  KvLayout layout;
  layout.format = format;
  const RowShape entry = RowShape::Entry(config, format);
  const RowShape key = RowShape::IndexKey(config, format);
  layout.units.emplace_back();
  for (int64_t l = 0; l < config.layers; ++l) {
    const int64_t ratio = config.Ratio(l);
    if (ratio == kHcaRatio) {
      AddStreams(layout, {l, KvRowKind::kEntry, entry, kBlockTokens / ratio});
    } else if (ratio == kCsaRatio) {
      AddStreams(layout, {l, KvRowKind::kIndexKey, key, kBlockTokens / ratio});
    }
  }
  for (int64_t l = 0; l < config.layers; ++l) {
    if (config.Ratio(l) != kCsaRatio) continue;
    layout.units.emplace_back();
    AddStreams(layout, {l, KvRowKind::kEntry, entry, kBlockTokens / kCsaRatio});
  }
  for (KvUnit& unit : layout.units) {
    unit.offset = layout.block_bytes;
    layout.block_bytes += unit.bytes;
  }
  return layout;
}

KvBlock::KvBlock(std::vector<Bytes> units) : slots_(units.size()) {
  for (size_t u = 0; u < units.size(); ++u) {
    slots_[u].bytes = std::move(units[u]);
    slots_[u].state.store(State::kPresent, std::memory_order_release);
  }
}

KvBlock::KvBlock(const KvBlockId& id, Bytes resident, size_t units) : id_(id), slots_(units) {
  slots_.front().bytes = std::move(resident);
  slots_.front().state.store(State::kPresent, std::memory_order_release);
}

bool KvBlock::complete() const {
  for (int32_t u = 0; u < units(); ++u) {
    if (!present(u)) return false;
  }
  return true;
}

int64_t KvBlock::resident_bytes() const {
  int64_t bytes = 0;
  for (int32_t u = 0; u < units(); ++u) {
    if (present(u)) bytes += static_cast<int64_t>(unit(u).size());
  }
  return bytes;
}

KvBlock::Bytes KvBlock::Gather() const {
  Bytes all;
  for (int32_t u = 0; u < units(); ++u) {
    DCHECK(present(u));
    all.insert(all.end(), unit(u).begin(), unit(u).end());
  }
  return all;
}

std::span<std::byte> KvBlock::Claim(int32_t unit, int64_t bytes) {
  State expected = State::kAbsent;
  if (!slot(unit).state.compare_exchange_strong(expected, State::kClaimed,
                                                std::memory_order_acq_rel)) {
    return {};
  }
  slot(unit).bytes.assign(static_cast<size_t>(bytes), std::byte{0});
  return slot(unit).bytes;
}

void KvBlock::Publish(int32_t unit) {
  DCHECK(slot(unit).state.load() == State::kClaimed);
  slot(unit).state.store(State::kPresent, std::memory_order_release);
}

void KvBlock::Abandon(int32_t unit) {
  DCHECK(slot(unit).state.load() == State::kClaimed);
  slot(unit).bytes.clear();
  slot(unit).state.store(State::kAbsent, std::memory_order_release);
}

}  // namespace baleen
