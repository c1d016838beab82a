// Selection, see the header. The sampled threshold only decides how many candidates are ranked; the
// result is exact whatever it is.
#include "kernels/cpu/top_k.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace baleen::kernels::cpu {
namespace {

constexpr int64_t kSamples = 1024;

// Smaller is better: inverted order of the score above, the row below.
uint64_t RankOf(float score, int64_t row) {
  uint32_t ordered = 0xFFFFFFFFu;
  if (score == score) {
    const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes +0
    ordered = (bits & 0x80000000u) != 0 ? bits : 0x7FFFFFFFu - bits;
  }
  return static_cast<uint64_t>(ordered) << 32 | static_cast<uint64_t>(row);
}

// A score that about one and a half times topk scores reach; -inf when sampling does not pay.
float SampledThreshold(const float* scores, int64_t count, int64_t topk, WorkerScratch& scratch) {
  const float lowest = -std::numeric_limits<float>::infinity();
  const int64_t rank = topk * kSamples * 3 / (2 * count) + 16;
  if (count < 4 * kSamples || rank >= kSamples) return lowest;
  uint64_t* sample = scratch.ranked.Reserve(count);
  for (int64_t i = 0; i < kSamples; ++i) {
    const int64_t row = i * count / kSamples;
    sample[i] = RankOf(scores[row], row);
  }
  std::nth_element(sample, sample + rank, sample + kSamples);
  const float threshold = scores[sample[rank] & 0xFFFFFFFFu];
  return threshold == threshold ? threshold : lowest;
}

// Rows whose score reaches `threshold`, ascending.
int64_t RowsFrom(const float* scores, int64_t count, float threshold, int32_t* rows) {
  int64_t found = 0;
  for (int64_t row = 0; row < count; ++row) {
    rows[found] = static_cast<int32_t>(row);  // overwritten unless counted: no branch to mispredict
    found += scores[row] >= threshold ? 1 : 0;
  }
  return found;
}

}  // namespace

void SelectTopK(const float* scores, int64_t count, int64_t topk, WorkerScratch& scratch,
                int32_t* selected) {
  if (count <= topk) {
    for (int64_t i = 0; i < topk; ++i) selected[i] = i < count ? static_cast<int32_t>(i) : -1;
    return;
  }
  if (topk == 0) return;
  int32_t* rows = scratch.candidates.Reserve(count);
  uint64_t* ranked = scratch.ranked.Reserve(count);
  int64_t found = RowsFrom(scores, count, SampledThreshold(scores, count, topk, scratch), rows);
  if (found < topk) {  // an unlucky sample, or NaN scores
    found = count;
    for (int64_t row = 0; row < count; ++row) rows[row] = static_cast<int32_t>(row);
  }
  for (int64_t i = 0; i < found; ++i) ranked[i] = RankOf(scores[rows[i]], rows[i]);
  std::nth_element(ranked, ranked + topk - 1, ranked + found);
  const uint64_t last = ranked[topk - 1];
  int64_t kept = 0;
  for (int64_t i = 0; i < found; ++i) {
    if (RankOf(scores[rows[i]], rows[i]) <= last) selected[kept++] = rows[i];
  }
}

}  // namespace baleen::kernels::cpu
