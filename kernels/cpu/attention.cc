// SparseAttention: keys become a list of fp32 rows (window rows in place, entries dequantised),
// then the leaf attends some heads at a time.  Source: spec sections 2.5.4, 2.5.5.
#include <algorithm>

#include "kernels/check.h"
#include "kernels/cpu/ops.h"
#include "kernels/quantise.h"

namespace baleen::kernels::cpu {
namespace {

constexpr int64_t kDecodeCost = 4;    // Operations per dequantised channel, roughly.
constexpr int64_t kHeadGroup = 16;    // Heads of a unit when one token is shared by threads.
constexpr int64_t kRowsPerUnit = 16;  // Rows dequantised per unit.
// Dequantising every entry up front may take this many floats (64 MiB) when tokens select their
// own.
constexpr int64_t kGatherAllMax = int64_t{1} << 24;

int64_t SelectedCount(const SparseAttentionParams& p, int64_t t) {
  if (p.entries.rows == 0) return 0;
  if (p.selected == nullptr) return p.visible[t];
  const int32_t* selected = p.selected + t * p.topk;
  int64_t count = 0;
  while (count < p.topk && selected[count] >= 0) ++count;
  return count;
}

int64_t EntryOf(const SparseAttentionParams& p, int64_t t, int64_t index) {
  return p.selected == nullptr ? index : p.selected[t * p.topk + index];
}

// Whether the row's block has its planes here; one without was selected by no token.
bool IsHere(const SparseAttentionParams& p, int64_t row) {
  const RowPlanes& planes = *PlaceOf(p.entries, row).planes;
  return planes.codes != nullptr || planes.values != nullptr;
}

void DecodeRow(const SparseAttentionParams& p, int64_t row, float* out) {
  DCHECK(row >= 0 && row < p.entries.rows);
  const RowPlace place = PlaceOf(p.entries, row);
  DecodeEntry(*place.planes, place.row, p.dim, p.entries.rope, p.entries.format, out);
}

// Rows that it pays to dequantise once for all tokens: [0, result).
int64_t SharedRows(const SparseAttentionParams& p) {
  int64_t needed = 0;
  int64_t uses = 0;
  for (int64_t t = 0; t < p.tokens; ++t) {
    const int64_t count = SelectedCount(p, t);
    if (count > 0) needed = std::max(needed, EntryOf(p, t, count - 1) + 1);
    uses += count;
  }
  const bool pays = p.selected == nullptr || (needed <= uses && needed * p.dim <= kGatherAllMax);
  return pays ? needed : 0;
}

// The keys of token t in order. Entries lie at rows[row], or, where `gathered`, at rows[index].
int64_t ListKeys(const SparseAttentionParams& p, int64_t t, const float* rows, bool gathered,
                 Scratch<const float*>& list, const float*** keys) {
  const int64_t entries = SelectedCount(p, t);
  const int64_t window = p.window_end[t] - p.window_begin[t];
  *keys = list.Reserve(window + entries + 1);
  int64_t count = 0;
  for (int64_t s = p.window_begin[t]; s < p.window_end[t]; ++s) {
    (*keys)[count++] = p.window + s * p.dim;
  }
  for (int64_t i = 0; i < entries; ++i) {
    (*keys)[count++] = rows + (gathered ? i : EntryOf(p, t, i)) * p.dim;
  }
  return count;
}

struct KeyList {
  const float* const* keys;
  int64_t count;
};

void AttendHeads(const LeafTable& leaf, const SparseAttentionParams& p, const KeyList& list,
                 int64_t t, int64_t head, int64_t heads, WorkerScratch& scratch) {
  const int64_t first = (t * p.heads + head) * p.dim;
  const int64_t stride = CeilDivide(heads, kLaneCount) * kLaneCount;
  leaf.attend({.q = p.q + first,
               .heads = heads,
               .dim = p.dim,
               .keys = list.keys,
               .count = list.count,
               .sink = p.sink != nullptr ? p.sink + head : nullptr,
               .scale = p.scale,
               .scores = scratch.scores.Reserve((list.count + 1) * stride),
               .out = p.out + first});
}

int64_t AttendCost(const SparseAttentionParams& p, int64_t heads, int64_t keys) {
  return 4 * heads * keys * p.dim;
}

// Token after token, the threads share its rows and heads.
void AttendTogether(Machine& m, const SparseAttentionParams& p, int64_t shared, float* rows) {
  for (int64_t t = 0; t < p.tokens; ++t) {
    const int64_t entries = SelectedCount(p, t);
    if (shared == 0 && entries > 0) {
      rows = m.shared_rows.Reserve(entries * p.dim);
      m.pool.For(CeilDivide(entries, kRowsPerUnit), kRowsPerUnit * p.dim * kDecodeCost,
                 [&](int64_t unit, int) {
                   const int64_t end = std::min(entries, (unit + 1) * kRowsPerUnit);
                   for (int64_t i = unit * kRowsPerUnit; i < end; ++i) {
                     DecodeRow(p, EntryOf(p, t, i), rows + i * p.dim);
                   }
                 });
    }
    const float** keys = nullptr;
    const int64_t count = ListKeys(p, t, rows, shared == 0, m.workers[0].keys, &keys);
    m.pool.For(CeilDivide(p.heads, kHeadGroup), AttendCost(p, kHeadGroup, count),
               [&](int64_t unit, int worker) {
                 const int64_t head = unit * kHeadGroup;
                 AttendHeads(m.leaf, p, {keys, count}, t, head,
                             std::min(kHeadGroup, p.heads - head),
                             m.workers[static_cast<size_t>(worker)]);
               });
  }
}

// Each thread takes whole tokens.
void AttendApart(Machine& m, const SparseAttentionParams& p, int64_t shared, const float* rows) {
  const int64_t typical =
      p.window_end[p.tokens - 1] - p.window_begin[p.tokens - 1] + SelectedCount(p, p.tokens - 1);
  m.pool.For(p.tokens, AttendCost(p, p.heads, typical), [&](int64_t t, int worker) {
    WorkerScratch& scratch = m.workers[static_cast<size_t>(worker)];
    const float* entries = rows;
    if (shared == 0) {
      const int64_t count = SelectedCount(p, t);
      float* own = scratch.rows.Reserve(std::max<int64_t>(1, count * p.dim));
      for (int64_t i = 0; i < count; ++i) DecodeRow(p, EntryOf(p, t, i), own + i * p.dim);
      entries = own;
    }
    const float** keys = nullptr;
    const int64_t count = ListKeys(p, t, entries, shared == 0, scratch.keys, &keys);
    AttendHeads(m.leaf, p, {keys, count}, t, 0, p.heads, scratch);
  });
}

}  // namespace

void SparseAttention(Machine& m, const SparseAttentionParams& p) {
  const int64_t shared = SharedRows(p);
  float* rows = m.shared_rows.Reserve(std::max<int64_t>(1, shared * p.dim));
  m.pool.For(CeilDivide(shared, kRowsPerUnit), kRowsPerUnit * p.dim * kDecodeCost,
             [&](int64_t unit, int) {
               const int64_t end = std::min(shared, (unit + 1) * kRowsPerUnit);
               for (int64_t i = unit * kRowsPerUnit; i < end; ++i) {
                 if (IsHere(p, i)) DecodeRow(p, i, rows + i * p.dim);
               }
             });
  if (p.tokens < 2 * m.pool.threads()) {
    AttendTogether(m, p, shared, rows);
  } else {
    AttendApart(m, p, shared, rows);
  }
}

}  // namespace baleen::kernels::cpu
