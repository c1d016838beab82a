#include "runtime/engine/kv_tiers.h"

#include <utility>

namespace baleen {

BlockShape StoredShape(const KvLayout& layout) {
  std::vector<StoredStream> streams;
  streams.reserve(layout.streams.size());
  for (const KvStream& stream : layout.streams) {
    const int64_t offset = layout.units[static_cast<size_t>(stream.unit)].offset + stream.offset;
    streams.push_back({stream.name, stream.row_bytes, stream.rows, offset, stream.unit});
  }
  // A shape that the store refuses leaves it without blocks: every one is then recomputed.
  auto shape = BlockShape::Make(std::move(streams), layout.block_bytes);
  return shape.ok() ? std::move(shape).value() : BlockShape();
}

KvTiers::KvTiers(const KvHome& where, const KvTierOptions& wanted)
    : home(where),
      options(wanted),
      layout(KvLayout::Make(where.model->config(), where.model->row_format())),
      shape(StoredShape(layout)),
      ram(wanted.ram_bytes),
      loader(where.store, &layout, &shape, &ram, wanted.row_wait) {}

}  // namespace baleen
