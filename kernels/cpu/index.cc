// IndexTopK: keys are unpacked once per call into channel-major panels of 32, each panel is scored
// against every head of every token, then each token selects on its own.  Source: spec
// section 2.5.8.
#include <algorithm>

#include "kernels/check.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/top_k.h"
#include "kernels/quantise.h"

namespace baleen::kernels::cpu {
namespace {

// Scores of a chunk of tokens may take this many floats (64 MiB); longer calls go chunk by chunk.
constexpr int64_t kScoresMax = int64_t{1} << 24;
constexpr int64_t kPanelsPerUnit = 4;

struct ScaleTable {
  float values[256];
  ScaleTable() {
    for (int code = 0; code < 256; ++code) values[code] = DecodeE8M0(static_cast<uint8_t>(code));
  }
};

const float* ScaleValues() {
  static const ScaleTable table;
  return table.values;
}

// Unpacks keys [first, first + count), count <= 16, to lanes [0, 16) of `panel`; missing keys are
// 0.
void UnpackHalf(const LeafTable& leaf, const PagedRows& keys, int64_t first, int64_t count,
                float* row, float* panel) {
  const int64_t dim = keys.dim;
  const RowPlace place = PlaceOf(keys, first);
  const bool together = count == kLaneCount && place.row + kLaneCount <= keys.rows_per_block;
  if (together && keys.format == RowFormat::kPacked && dim % 8 == 0) {
    leaf.unpack_index_keys(
        {.codes = place.planes->codes + place.row * (dim / 2),
         .scales = place.planes->scales + place.row * CeilDivide(dim, kIndexScaleBlock),
         .scale_values = ScaleValues(),
         .dim = dim,
         .panel = panel});
    return;
  }
  for (int64_t lane = 0; lane < kLaneCount; ++lane) {
    if (lane < count) {
      const RowPlace at = PlaceOf(keys, first + lane);
      DecodeIndexKey(*at.planes, at.row, dim, keys.format, row);
    } else {
      std::fill_n(row, dim, 0.0f);
    }
    for (int64_t k = 0; k < dim; ++k) panel[k * kPanelRows + lane] = row[k];
  }
}

// A run of tokens whose scores are held at once.
struct Chunk {
  int64_t begin;  ///< First token.
  int64_t end;
  int64_t rows;   ///< Keys that the last of them sees.
  float* scores;  ///< [end - begin, rows]
};

// Scores panel `index` for the tokens of the chunk that see any of it.
void ScorePanel(const LeafTable& leaf, const IndexTopKParams& p, const Chunk& chunk, int64_t index,
                WorkerScratch& scratch) {
  const int64_t dim = p.keys.dim;
  const int64_t first = index * kPanelRows;
  const int64_t count = std::min(kPanelRows, chunk.rows - first);
  int64_t begin = chunk.begin;
  while (p.visible[begin] <= first) ++begin;  // ends: the last token sees every row of the chunk
  float* panel = scratch.rows.Reserve(dim * (kPanelRows + 1));
  float* row = panel + dim * kPanelRows;
  UnpackHalf(leaf, p.keys, first, std::min(kLaneCount, count), row, panel);
  if (count > kLaneCount) {
    UnpackHalf(leaf, p.keys, first + kLaneCount, count - kLaneCount, row, panel + kLaneCount);
  } else {
    for (int64_t k = 0; k < dim; ++k) {
      std::fill_n(panel + k * kPanelRows + kLaneCount, kLaneCount, 0.0f);
    }
  }
  leaf.index_scores({.panel = panel,
                     .keys = count,
                     .dim = dim,
                     .q = p.q + begin * p.heads * dim,
                     .weights = p.weights + begin * p.heads,
                     .heads = p.heads,
                     .tokens = chunk.end - begin,
                     .scores = chunk.scores + (begin - chunk.begin) * chunk.rows + first,
                     .scores_stride = chunk.rows});
}

}  // namespace

void IndexTopK(Machine& m, const IndexTopKParams& p) {
  DCHECK(std::is_sorted(p.visible, p.visible + p.tokens));
  DCHECK(p.tokens == 0 || p.visible[p.tokens - 1] <= p.keys.rows);
  WorkerScratch& own = m.workers[0];
  int64_t begin = 0;
  for (; begin < p.tokens && p.visible[begin] <= p.topk; ++begin) {
    SelectTopK(nullptr, p.visible[begin], p.topk, own, p.selected + begin * p.topk);
  }
  while (begin < p.tokens) {
    int64_t end = begin + 1;
    while (end < p.tokens && p.visible[end] * (end + 1 - begin) <= kScoresMax) ++end;
    const int64_t rows = p.visible[end - 1];
    const Chunk chunk = {begin, end, rows, m.shared_scores.Reserve(rows * (end - begin))};
    const int64_t panels = CeilDivide(rows, kPanelRows);
    const int64_t cost =
        kPanelsPerUnit * kPanelRows * p.keys.dim * (2 * p.heads * (end - begin) + 4);
    m.pool.For(CeilDivide(panels, kPanelsPerUnit), cost, [&](int64_t unit, int worker) {
      const int64_t last = std::min(panels, (unit + 1) * kPanelsPerUnit);
      for (int64_t i = unit * kPanelsPerUnit; i < last; ++i) {
        ScorePanel(m.leaf, p, chunk, i, m.workers[static_cast<size_t>(worker)]);
      }
    });
    m.pool.For(end - begin, 8 * rows, [&](int64_t i, int worker) {
      const int64_t t = begin + i;
      SelectTopK(chunk.scores + i * rows, p.visible[t], p.topk,
                 m.workers[static_cast<size_t>(worker)], p.selected + t * p.topk);
    });
    begin = end;
  }
}

}  // namespace baleen::kernels::cpu
