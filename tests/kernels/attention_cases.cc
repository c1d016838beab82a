// Index selection and sparse attention.
#include <algorithm>
#include <cstdio>

#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/op_cases.h"
#include "tests/kernels/stored_rows.h"

namespace baleen::kernels::testing {
namespace {

using Floats = std::vector<float>;

struct IndexShape {
  int64_t tokens, heads, dim, rows, topk, rows_per_block;
  RowFormat format;
};

// Lattice queries, keys and weights: scores are exact in fp32 and double alike, ties are frequent,
// and so selections must be equal, not close.
OpCase IndexCase(const IndexShape& s) {
  Random random(static_cast<uint64_t>(s.rows * s.dim + s.tokens));
  auto q = std::make_shared<Floats>(random.Lattice(s.tokens * s.heads * s.dim));
  auto weights = std::make_shared<Floats>(random.Lattice(s.tokens * s.heads));
  const auto keys =
      StoreAsIndexKeys(random.Lattice(s.rows * s.dim), s.dim, s.format, s.rows_per_block);
  auto visible = std::make_shared<std::vector<int64_t>>();
  for (int64_t t = 0; t < s.tokens; ++t) {
    visible->push_back(s.tokens == 1 ? s.rows : s.rows * t / (s.tokens - 1));
  }
  return {.name = "IndexTopK t" + std::to_string(s.tokens) + " h" + std::to_string(s.heads) + " d" +
                  std::to_string(s.dim) + " rows" + std::to_string(s.rows) + " k" +
                  std::to_string(s.topk),
          .tokens = s.tokens,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                std::vector<int32_t> selected(static_cast<size_t>((end - begin) * s.topk), -7);
                backend.IndexTopK({.q = q->data() + begin * s.heads * s.dim,
                                   .weights = weights->data() + begin * s.heads,
                                   .keys = keys->paged,
                                   .visible = visible->data() + begin,
                                   .tokens = end - begin,
                                   .heads = s.heads,
                                   .topk = s.topk,
                                   .selected = selected.data()});
                return Floats(selected.begin(), selected.end());
              },
          .bound = Absolute(0)};
}

enum class Entries { kNone, kAll, kSelected };

struct AttentionShape {
  int64_t tokens, heads, dim, rope, window, rows, topk;
  Entries entries;
  RowFormat format;
  bool sink;
};

struct AttentionInputs {
  Floats q, window, sink;
  std::shared_ptr<StoredRows> stored;  // Owners: this and nobody else after it is made.
  std::vector<int64_t> begin, end, visible;
  std::vector<int32_t> selected;
};

// Owners: copies of the closure that runs the case.
std::shared_ptr<AttentionInputs> MakeAttention(const AttentionShape& s) {
  Random random(static_cast<uint64_t>(s.dim * 7 + s.rows + s.tokens));
  auto in = std::make_shared<AttentionInputs>();
  in->q = random.Floats(s.tokens * s.heads * s.dim);
  in->window = random.Floats((s.window + s.tokens) * s.dim);
  in->sink = random.Floats(s.heads);
  in->stored = StoreAsEntries(random.Floats(s.rows * s.dim), s.dim, s.rope, s.format, 5);
  for (int64_t t = 0; t < s.tokens; ++t) {
    in->begin.push_back(t);
    in->end.push_back(t + s.window);
    in->visible.push_back(s.rows * (t + 1) / s.tokens);
    const int64_t count = std::min(s.topk, in->visible.back()) * (t % 3 != 1);  // token 1: all -1
    for (int64_t i = 0; i < s.topk; ++i) {
      const int64_t row = i * in->visible.back() / std::max<int64_t>(1, count);
      in->selected.push_back(i < count ? static_cast<int32_t>(row) : -1);
    }
  }
  return in;
}

OpCase AttentionCase(const AttentionShape& s) {
  const auto in = MakeAttention(s);
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.dim));
  // A score: dim/16 + 6 roundings of sum |q k| * scale <= sqrt(dim). A weight: its score's error
  // twice (maximum too), the difference, an ulp of exp. Sums over all keys, above and below;
  // |value| <= 1.
  const double keys = static_cast<double>(s.window + s.rows + 1);
  const double score = (static_cast<double>(s.dim) / 16 + 6) * std::sqrt(s.dim) * kUnit;
  const double bound = 2 * (2 * score + (2 * std::sqrt(s.dim) + 4 + keys) * kUnit);
  return {.name = "SparseAttention t" + std::to_string(s.tokens) + " h" + std::to_string(s.heads) +
                  " d" + std::to_string(s.dim) + " w" + std::to_string(s.window) + " rows" +
                  std::to_string(s.rows) + " k" + std::to_string(s.topk),
          .tokens = s.tokens,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(static_cast<size_t>((end - begin) * s.heads * s.dim), 7.0f);
                SparseAttentionParams p = {.q = in->q.data() + begin * s.heads * s.dim,
                                           .window = in->window.data(),
                                           .window_begin = in->begin.data() + begin,
                                           .window_end = in->end.data() + begin,
                                           .entries = in->stored->paged,
                                           .selected = nullptr,
                                           .topk = s.topk,
                                           .visible = in->visible.data() + begin,
                                           .sink = s.sink ? in->sink.data() : nullptr,
                                           .scale = scale,
                                           .out = out.data(),
                                           .tokens = end - begin,
                                           .heads = s.heads,
                                           .dim = s.dim};
                if (s.entries == Entries::kNone) p.entries = {};
                if (s.entries == Entries::kSelected) {
                  p.selected = in->selected.data() + begin * s.topk;
                }
                backend.SparseAttention(p);
                return out;
              },
          .bound = Absolute(bound)};
}

}  // namespace

std::vector<OpCase> AttentionCases() {
  using enum Entries;
  const RowFormat packed = RowFormat::kPacked;
  const RowFormat plain = RowFormat::kFloat;
  std::vector<OpCase> cases;
  cases.push_back(IndexCase({7, 3, 32, 129, 16, 64, packed}));
  cases.push_back(IndexCase({3, 4, 64, 576, 61, 16, packed}));
  cases.push_back(IndexCase({2, 1, 32, 127, 2, 3, packed}));
  cases.push_back(IndexCase({5, 13, 128, 69, 5, 32, packed}));
  cases.push_back(IndexCase({3, 2, 4, 61, 7, 61, packed}));
  cases.push_back(IndexCase({3, 2, 32, 127, 7, 16, plain}));
  cases.push_back(IndexCase({1, 2, 32, 9001, 64, 64, packed}));  // long enough to sample
  cases.push_back(IndexCase({3, 2, 32, 61, 61, 64, packed}));    // everything is selected
  cases.push_back(AttentionCase({7, 3, 69, 4, 2, 0, 1, kNone, packed, true}));
  cases.push_back(AttentionCase({3, 5, 128, 16, 61, 127, 1, kAll, packed, true}));
  cases.push_back(AttentionCase({13, 4, 64, 16, 3, 61, 9, kSelected, packed, true}));
  cases.push_back(AttentionCase({2, 17, 576, 64, 129, 129, 69, kSelected, packed, true}));
  cases.push_back(AttentionCase({3, 1, 1, 0, 1, 3, 2, kSelected, plain, false}));
  cases.push_back(AttentionCase({3, 2, 61, 0, 0, 2, 2, kSelected, plain, true}));
  cases.push_back(AttentionCase({11, 33, 32, 8, 7, 69, 1, kAll, plain, false}));
  return cases;
}

}  // namespace baleen::kernels::testing
