#include "model/kv_checkpoint.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace baleen {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is written by memcpy");

// On-disk, don't renumber.
enum class Section : uint32_t {
  kWindow = 1,
  kEntries = 2,
  kPreviousValue = 3,
  kPreviousGate = 4,
  kPendingValue = 5,
  kPendingGate = 6,
  kIndexKeys = 7,
  kIndexPreviousValue = 8,
  kIndexPreviousGate = 9,
  kIndexPendingValue = 10,
  kIndexPendingGate = 11,
  kSelection = 12,
};

uint32_t KindCode(LayerKind kind) {
  switch (kind) {
    case LayerKind::kWindow: return 0;
    case LayerKind::kCsa: return 4;
    case LayerKind::kHca: return 128;
  }
  return 0;
}

uint32_t SectionCount(LayerKind kind) {
  switch (kind) {
    case LayerKind::kWindow: return 1;
    case LayerKind::kCsa: return 12;
    case LayerKind::kHca: return 4;
  }
  return 0;
}

/// The next query sees window-1 earlier tokens and itself, so the ring's oldest row is dead.
int64_t WindowRowsHeld(const ModelConfig& config, int64_t position) {
  return std::min(position, config.window - 1);
}

int64_t OpenRowCount(const BlockRows& rows, int64_t position) {
  return position % kBlockTokens * rows.rows_per_block / kBlockTokens;
}

/// Floats of the state's parts at `position`.
size_t PreviousFloats(const CompressorState& c, int64_t position) {
  return c.overlaps() && position >= c.ratio ? static_cast<size_t>(c.ratio * c.dim) : 0;
}
size_t PendingFloats(const CompressorState& c, int64_t position) {
  return static_cast<size_t>(position % c.ratio * c.width);
}

class Writer {
 public:
  template <typename T>
  void Put(T value) {
    PutBytes(std::as_bytes(std::span(&value, 1)));
  }
  void PutBytes(std::span<const std::byte> bytes) {
    out_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void BeginSection(Section id, size_t bytes) {
    Put(static_cast<uint32_t>(id));
    Put(static_cast<uint64_t>(bytes));
  }
  void PutFloats(Section id, const std::vector<float>& values) {
    BeginSection(id, values.size() * sizeof(float));
    PutBytes(std::as_bytes(std::span(values)));
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

void PutWindow(Writer& writer, const ModelConfig& config, const RowBuffer& window,
               int64_t position) {
  const int64_t held = WindowRowsHeld(config, position);
  writer.BeginSection(Section::kWindow, static_cast<size_t>(held * window.shape().RowBytes()));
  for (int p = 0; p < kRowPlanes; ++p) {
    for (int64_t row = position - held; row < position; ++row) {
      writer.PutBytes(window.PlaneBytes(static_cast<RowPlane>(p), row % config.window, 1));
    }
  }
}

void PutOpenRows(Writer& writer, Section id, const KvCacheState& state, const BlockRows& rows) {
  const int64_t count = OpenRowCount(rows, state.position());
  writer.BeginSection(id, static_cast<size_t>(count * rows.shape.RowBytes()));
  for (int p = 0; p < kRowPlanes; ++p) {
    if (rows.offsets.offset[p] < 0) continue;
    writer.PutBytes(
        state.open_unit(rows.unit).subspan(static_cast<size_t>(rows.offsets.offset[p]),
                                           static_cast<size_t>(count * rows.shape.plane_bytes[p])));
  }
}

/// Reads forward; every read is checked.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(std::as_bytes(std::span(bytes))) {}

  template <typename T>
  Status Expect(std::string_view what, T expected) {
    T found{};
    if (rest_.size() < sizeof(T)) return Truncated(what, sizeof(T));
    std::memcpy(&found, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    if (found == expected) return OkStatus();
    return Mismatch(what, std::to_string(expected), std::to_string(found));
  }

  Status Get(std::string_view what, uint64_t* value) {
    if (rest_.size() < sizeof(*value)) return Truncated(what, sizeof(*value));
    std::memcpy(value, rest_.data(), sizeof(*value));
    rest_ = rest_.subspan(sizeof(*value));
    return OkStatus();
  }

  /// A section's header, which must announce exactly `bytes`, all of which must be there.
  Status BeginSection(Section id, size_t bytes) {
    const std::string name = "section " + std::to_string(static_cast<uint32_t>(id));
    RETURN_IF_ERROR(Expect(name, static_cast<uint32_t>(id)));
    RETURN_IF_ERROR(Expect("length of " + name, static_cast<uint64_t>(bytes)));
    if (rest_.size() < bytes) return Truncated(name, bytes);
    return OkStatus();
  }

  /// Requires: BeginSection vouched for the bytes.
  void Take(std::span<std::byte> out) {
    if (out.empty()) return;
    std::memcpy(out.data(), rest_.data(), out.size());
    rest_ = rest_.subspan(out.size());
  }

  Status Floats(Section id, size_t count, std::vector<float>* out) {
    RETURN_IF_ERROR(BeginSection(id, count * sizeof(float)));
    out->resize(count);
    Take(std::as_writable_bytes(std::span(*out)));
    return OkStatus();
  }

  /// Ascending numbers of blocks below `blocks`.
  Status Selection(int64_t blocks, std::vector<int32_t>* out) {
    RETURN_IF_ERROR(Expect("section 12", static_cast<uint32_t>(Section::kSelection)));
    uint64_t bytes = 0;
    RETURN_IF_ERROR(Get("length of section 12", &bytes));
    const auto limit = static_cast<uint64_t>(blocks) * sizeof(int32_t);
    if (bytes > limit || bytes % sizeof(int32_t) != 0) {
      return Mismatch("length of section 12", "at most " + std::to_string(limit) + " in fours",
                      std::to_string(bytes));
    }
    if (rest_.size() < bytes) return Truncated("section 12", bytes);
    out->resize(bytes / sizeof(int32_t));
    Take(std::as_writable_bytes(std::span(*out)));
    int64_t next = 0;
    for (const int32_t block : *out) {
      if (block < next || block >= blocks) {
        return Mismatch("selection", "ascending blocks below " + std::to_string(blocks),
                        std::to_string(block));
      }
      next = block + 1;
    }
    return OkStatus();
  }

  Status End() const {
    if (rest_.empty()) return OkStatus();
    return Mismatch("end of checkpoint", "no more bytes", std::to_string(rest_.size()) + " bytes");
  }

 private:
  Status Truncated(std::string_view what, size_t need) const {
    return Mismatch(what, std::to_string(need) + " bytes", std::to_string(rest_.size()) + " bytes");
  }
  static Status Mismatch(std::string_view what, const std::string& expected,
                         const std::string& found) {
    return DataLossError("KV checkpoint, " + std::string(what) + ": expected " + expected +
                         ", found " + found + "; recompute this span from its tokens");
  }

  std::span<const std::byte> rest_;
};

Status ReadWindow(Reader& reader, const ModelConfig& config, int64_t position, RowBuffer& window) {
  const int64_t held = WindowRowsHeld(config, position);
  RETURN_IF_ERROR(
      reader.BeginSection(Section::kWindow, static_cast<size_t>(held * window.shape().RowBytes())));
  for (int p = 0; p < kRowPlanes; ++p) {
    for (int64_t row = position - held; row < position; ++row) {
      reader.Take(window.MutablePlaneBytes(static_cast<RowPlane>(p), row % config.window, 1));
    }
  }
  return OkStatus();
}

Status ReadOpenRows(Reader& reader, Section id, KvCacheState& state, const BlockRows& rows) {
  const int64_t count = OpenRowCount(rows, state.position());
  RETURN_IF_ERROR(reader.BeginSection(id, static_cast<size_t>(count * rows.shape.RowBytes())));
  for (int p = 0; p < kRowPlanes; ++p) {
    if (rows.offsets.offset[p] < 0) continue;
    reader.Take(state.mutable_open_unit(rows.unit).subspan(
        static_cast<size_t>(rows.offsets.offset[p]),
        static_cast<size_t>(count * rows.shape.plane_bytes[p])));
  }
  return OkStatus();
}

/// Section ids of a compressor's four parts, in file order.
struct CompressorSections {
  Section previous_value;
  Section previous_gate;
  Section pending_value;
  Section pending_gate;
};
constexpr CompressorSections kMainSections = {Section::kPreviousValue, Section::kPreviousGate,
                                              Section::kPendingValue, Section::kPendingGate};
constexpr CompressorSections kIndexSections = {
    Section::kIndexPreviousValue, Section::kIndexPreviousGate, Section::kIndexPendingValue,
    Section::kIndexPendingGate};

void PutCompressor(Writer& writer, const CompressorSections& ids, const CompressorState& c) {
  if (c.overlaps()) {
    writer.PutFloats(ids.previous_value, c.previous_value);
    writer.PutFloats(ids.previous_gate, c.previous_gate);
  }
  writer.PutFloats(ids.pending_value, c.pending_value);
  writer.PutFloats(ids.pending_gate, c.pending_gate);
}

Status ReadCompressor(Reader& reader, const CompressorSections& ids, int64_t position,
                      CompressorState& c) {
  if (c.overlaps()) {
    const size_t count = PreviousFloats(c, position);
    RETURN_IF_ERROR(reader.Floats(ids.previous_value, count, &c.previous_value));
    RETURN_IF_ERROR(reader.Floats(ids.previous_gate, count, &c.previous_gate));
  }
  const size_t count = PendingFloats(c, position);
  RETURN_IF_ERROR(reader.Floats(ids.pending_value, count, &c.pending_value));
  return reader.Floats(ids.pending_gate, count, &c.pending_gate);
}

Status ReadLayer(Reader& reader, KvCacheState& state, LayerKv& layer) {
  RETURN_IF_ERROR(reader.Expect("layer kind", KindCode(layer.kind)));
  RETURN_IF_ERROR(reader.Expect("number of sections", SectionCount(layer.kind)));
  RETURN_IF_ERROR(ReadWindow(reader, state.config(), state.position(), layer.window));
  if (layer.kind == LayerKind::kWindow) return OkStatus();
  RETURN_IF_ERROR(ReadOpenRows(reader, Section::kEntries, state, layer.entries));
  RETURN_IF_ERROR(ReadCompressor(reader, kMainSections, state.position(), layer.compressor));
  if (layer.kind == LayerKind::kHca) return OkStatus();
  RETURN_IF_ERROR(ReadOpenRows(reader, Section::kIndexKeys, state, layer.index_keys));
  RETURN_IF_ERROR(ReadCompressor(reader, kIndexSections, state.position(), layer.index_compressor));
  return reader.Selection(state.position() / kBlockTokens, &layer.selected_blocks);
}

Status ReadHeader(Reader& reader, const ModelConfig& config, kernels::RowFormat format,
                  int64_t* position) {
  RETURN_IF_ERROR(reader.Expect("magic", kKvCheckpointMagic));
  RETURN_IF_ERROR(reader.Expect("version", kKvCheckpointVersion));
  RETURN_IF_ERROR(reader.Expect("row format", static_cast<uint32_t>(format)));
  RETURN_IF_ERROR(reader.Expect("layers", static_cast<uint32_t>(config.layers)));
  RETURN_IF_ERROR(reader.Expect("head_dim", static_cast<uint32_t>(config.head_dim)));
  RETURN_IF_ERROR(reader.Expect("rope_dim", static_cast<uint32_t>(config.rope_dim)));
  RETURN_IF_ERROR(reader.Expect("window", static_cast<uint32_t>(config.window)));
  RETURN_IF_ERROR(reader.Expect("index_dim", static_cast<uint32_t>(config.index_dim)));
  uint64_t value = 0;
  RETURN_IF_ERROR(reader.Get("position", &value));
  if (value > static_cast<uint64_t>(config.positions_max)) {
    return DataLossError("KV checkpoint, position: expected at most " +
                         std::to_string(config.positions_max) + ", found " + std::to_string(value) +
                         "; recompute this span from its tokens");
  }
  *position = static_cast<int64_t>(value);
  return OkStatus();
}

Status CheckBlocks(const std::vector<std::shared_ptr<KvBlock>>& blocks, int64_t position,
                   const KvLayout& layout) {
  const auto expected = static_cast<size_t>(position / kBlockTokens);
  if (blocks.size() != expected) {
    return DataLossError("KV checkpoint at position " + std::to_string(position) + ": expected " +
                         std::to_string(expected) + " blocks, got " +
                         std::to_string(blocks.size()) + "; load exactly the sealed blocks");
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::string where = "KV block " + std::to_string(i) + ": expected ";
    const auto units = blocks[i] == nullptr ? 0 : static_cast<size_t>(blocks[i]->units());
    if (units != layout.units.size()) {
      return DataLossError(where + std::to_string(layout.units.size()) + " units, found " +
                           std::to_string(units) + "; recompute this span from its tokens");
    }
    for (size_t u = 0; u < units; ++u) {
      const auto unit = static_cast<int32_t>(u);
      if (!blocks[i]->present(unit) && u > 0) continue;
      const size_t found = blocks[i]->present(unit) ? blocks[i]->unit(unit).size() : 0;
      if (found == static_cast<size_t>(layout.units[u].bytes)) continue;
      return DataLossError(where + std::to_string(layout.units[u].bytes) + " bytes in unit " +
                           std::to_string(u) + ", found " + std::to_string(found) +
                           "; recompute this span from its tokens");
    }
  }
  return OkStatus();
}

}  // namespace

std::string SaveKvCheckpoint(const KvCacheState& state) {
  const ModelConfig& config = state.config();
  Writer writer;
  writer.Put(kKvCheckpointMagic);
  writer.Put(kKvCheckpointVersion);
  writer.Put(static_cast<uint32_t>(state.layout().format));
  writer.Put(static_cast<uint32_t>(config.layers));
  writer.Put(static_cast<uint32_t>(config.head_dim));
  writer.Put(static_cast<uint32_t>(config.rope_dim));
  writer.Put(static_cast<uint32_t>(config.window));
  writer.Put(static_cast<uint32_t>(config.index_dim));
  writer.Put(static_cast<uint64_t>(state.position()));
  for (const LayerKv& layer : state.layers()) {
    writer.Put(KindCode(layer.kind));
    writer.Put(SectionCount(layer.kind));
    PutWindow(writer, config, layer.window, state.position());
    if (layer.kind == LayerKind::kWindow) continue;
    PutOpenRows(writer, Section::kEntries, state, layer.entries);
    PutCompressor(writer, kMainSections, layer.compressor);
    if (layer.kind == LayerKind::kHca) continue;
    PutOpenRows(writer, Section::kIndexKeys, state, layer.index_keys);
    PutCompressor(writer, kIndexSections, layer.index_compressor);
    writer.BeginSection(Section::kSelection, layer.selected_blocks.size() * sizeof(int32_t));
    writer.PutBytes(std::as_bytes(std::span(layer.selected_blocks)));
  }
  return writer.Take();
}

Result<std::unique_ptr<KvCacheState>> LoadKvCheckpoint(const ModelConfig& config,
                                                       kernels::RowFormat format,
                                                       std::vector<std::shared_ptr<KvBlock>> blocks,
                                                       std::string_view checkpoint) {
  Reader reader(checkpoint);
  int64_t position = 0;
  RETURN_IF_ERROR(ReadHeader(reader, config, format, &position));
  auto state = std::make_unique<KvCacheState>(config, format);
  RETURN_IF_ERROR(CheckBlocks(blocks, position, state->layout()));
  state->Adopt(std::move(blocks), position);
  for (size_t l = 0; l < state->layers().size(); ++l) {
    const Status status = ReadLayer(reader, *state, state->layers()[l]);
    if (!status.ok()) return status.WithContext("layer " + std::to_string(l));
  }
  RETURN_IF_ERROR(reader.End());
  return state;
}

}  // namespace baleen
