// Linear: weights packed for the leaves, work split by panels and token chunks.
#include <algorithm>
#include <bit>
#include <vector>

#include "kernels/cpu/ops.h"
#include "kernels/dequantise.h"

namespace baleen::kernels::cpu {
namespace {

// Tokens of a unit: enough to reuse a panel from L1, few enough to share a prefill among threads.
constexpr int64_t kTokenChunk = 48;
// Panels of a unit when there is one token: the leaf walks four at a time.
constexpr int64_t kPanelChunk = 4;

class CpuMatrix final : public PackedMatrix {
 public:
  explicit CpuMatrix(const MatrixSource& source)
      : PackedMatrix(source.rows, source.cols), bf16_(true) {
    if (!Fill(source)) {
      bf16_ = false;
      Fill(source);
    }
  }
  bool bf16() const { return bf16_; }
  int64_t panel_count() const { return CeilDivide(rows(), kPanelRows); }
  const void* panel(int64_t index) const { return words_ + index * panel_words(); }

 private:
  int64_t panel_words() const { return cols() * (bf16_ ? kLaneCount : kPanelRows); }

  // False if a value is not a bf16 while storing as such.
  bool Fill(const MatrixSource& source) {
    words_ = storage_.Reserve(std::max<int64_t>(1, panel_count() * panel_words()));
    std::vector<float> values(static_cast<size_t>(kPanelRows * cols()));
    for (int64_t p = 0; p < panel_count(); ++p) {
      const int64_t filled = std::min(kPanelRows, rows() - p * kPanelRows);
      for (int64_t r = 0; r < filled; ++r) {
        DequantiseRow(source, p * kPanelRows + r, values.data() + r * cols());
      }
      std::fill(values.begin() + filled * cols(), values.end(), 0.0f);
      if (!FillPanel(values, words_ + p * panel_words())) return false;
    }
    return true;
  }

  bool FillPanel(const std::vector<float>& values, uint32_t* words) const {
    const auto bits = [&](int64_t r, int64_t k) {
      return std::bit_cast<uint32_t>(values[static_cast<size_t>(r * cols() + k)]);
    };
    if (!bf16_) {
      for (int64_t k = 0; k < cols(); ++k) {
        for (int64_t r = 0; r < kPanelRows; ++r) words[k * kPanelRows + r] = bits(r, k);
      }
      return true;
    }
    uint32_t lost = 0;
    for (int64_t k = 0; k < cols(); ++k) {
      for (int64_t r = 0; r < kLaneCount; ++r) {
        const uint32_t low = bits(r, k);
        const uint32_t high = bits(r + kLaneCount, k);
        lost |= (low | high) & 0xFFFFu;
        words[k * kLaneCount + r] = low >> 16 | (high & 0xFFFF0000u);
      }
    }
    return lost == 0;
  }

  bool bf16_;
  Scratch<uint32_t> storage_;
  uint32_t* words_ = nullptr;
};

}  // namespace

std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source) {
  return std::make_unique<CpuMatrix>(source);
}

bool IsBf16(const PackedMatrix& matrix) { return static_cast<const CpuMatrix&>(matrix).bf16(); }

void Linear(Machine& m, const LinearParams& p) {
  const auto& w = static_cast<const CpuMatrix&>(*p.w);
  const int64_t panel_chunk = p.tokens == 1 ? kPanelChunk : 1;
  const int64_t panel_units = CeilDivide(w.panel_count(), panel_chunk);
  const int64_t token_units = CeilDivide(p.tokens, kTokenChunk);
  const int64_t cost = 2 * w.cols() * kPanelRows * panel_chunk * std::min(p.tokens, kTokenChunk);
  m.pool.For(panel_units * token_units, cost, [&](int64_t unit, int) {
    const int64_t panel = unit / token_units * panel_chunk;
    const int64_t token = unit % token_units * kTokenChunk;
    const int64_t row = panel * kPanelRows;
    m.leaf.linear({.panels = w.panel(panel),
                   .bf16 = w.bf16(),
                   .panel_count = std::min(panel_chunk, w.panel_count() - panel),
                   .rows = w.rows() - row,
                   .cols = w.cols(),
                   .x = p.x + token * p.x_stride,
                   .x_stride = p.x_stride,
                   .tokens = std::min(kTokenChunk, p.tokens - token),
                   .out = p.out + token * p.out_stride + row,
                   .out_stride = p.out_stride});
  });
}

}  // namespace baleen::kernels::cpu
