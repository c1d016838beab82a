// Round trips of quantisation in the pass: window rows and entries as FP8 and bf16, index queries
// and keys as rotated FP4. The codecs are the engine's.
//
// Straight through: rounding counts as adding a constant, so a gradient passes it unchanged, taken
// at the rounded value. The Hadamard transform is linear and has its own gradient.
#include <cmath>

#include "kernels/integer_math.h"
#include "kernels/quantise.h"
#include "model/training/pass.h"

namespace baleen::training {
namespace {

/// x H / sqrt(dim) with the Sylvester matrix H, which is its own inverse. Requires: dim 2^n.
template <class T>
void Hadamard(T* x, int64_t dim) {
  for (int64_t half = 1; half < dim; half *= 2) {
    for (int64_t i = 0; i < dim; i += 2 * half) {
      for (int64_t j = i; j < i + half; ++j) {
        const T a = x[j];
        const T b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
    }
  }
  const auto factor = static_cast<T>(1.0 / std::sqrt(static_cast<double>(dim)));
  for (int64_t i = 0; i < dim; ++i) x[i] *= factor;
}

class EntryCodec {
 public:
  EntryCodec(int64_t dim, int64_t rope)
      : dim_(dim),
        rope_(rope),
        codes_(static_cast<size_t>(dim)),
        scales_(static_cast<size_t>(CeilDivide(dim, kernels::kKvScaleBlock))),
        rotary_(static_cast<size_t>(rope)) {}

  void RoundTrip(float* row) {
    const kernels::MutableRowPlanes out = {codes_.data(), scales_.data(), rotary_.data(), nullptr};
    kernels::EncodeEntry(row, dim_, rope_, kernels::RowFormat::kPacked, out);
    const kernels::RowPlanes in = {codes_.data(), scales_.data(), rotary_.data(), nullptr};
    kernels::DecodeEntry(in, 0, dim_, rope_, kernels::RowFormat::kPacked, row);
  }

 private:
  int64_t dim_;
  int64_t rope_;
  std::vector<uint8_t> codes_;
  std::vector<uint8_t> scales_;
  std::vector<uint16_t> rotary_;
};

/// Rounds rows of fp32 numbers, or adds what an earlier rounding did.
template <class T, class Round>
void RoundRows(ChoiceUse use, T* rows, int64_t count, int64_t dim, std::vector<T>& kept,
               Round round) {
  const int64_t total = count * dim;
  if (use == ChoiceUse::kRepeat) {
    for (int64_t i = 0; i < total; ++i) rows[i] += kept[static_cast<size_t>(i)];
    return;
  }
  if (use == ChoiceUse::kKeep) kept.assign(static_cast<size_t>(total), T(0));
  std::vector<float> row(static_cast<size_t>(dim));
  for (int64_t r = 0; r < count; ++r) {
    T* x = rows + r * dim;
    for (int64_t i = 0; i < dim; ++i) row[static_cast<size_t>(i)] = static_cast<float>(x[i]);
    round(row.data());
    for (int64_t i = 0; i < dim; ++i) {
      const auto rounded = static_cast<T>(row[static_cast<size_t>(i)]);
      if (use == ChoiceUse::kKeep) kept[static_cast<size_t>(r * dim + i)] = rounded - x[i];
      x[i] = rounded;
    }
  }
}

}  // namespace

template <class T>
void Pass<T>::RoundTripEntries(size_t l, RoundedRows kind, T* rows, int64_t count) {
  if (!in_->options.quantise) return;
  EntryCodec codec(config_.head_dim, config_.rope_dim);
  RoundRows(choice_use_, rows, count, config_.head_dim,
            choices_[l].rounding[static_cast<size_t>(kind)],
            [&](float* row) { codec.RoundTrip(row); });
}

template <class T>
void Pass<T>::RoundTripIndex(size_t l, RoundedRows kind, T* rows, int64_t count) {
  if (!in_->options.quantise) return;
  const int64_t dim = config_.index_dim;
  for (int64_t r = 0; r < count; ++r) Hadamard(rows + r * dim, dim);
  RoundRows(choice_use_, rows, count, dim, choices_[l].rounding[static_cast<size_t>(kind)],
            [&](float* row) { kernels::RoundTripIndexQuery(row, dim); });
}

template <class T>
void Pass<T>::RoundTripIndexGrad(T* drows, int64_t count) const {
  if (!in_->options.quantise) return;
  const int64_t dim = config_.index_dim;
  for (int64_t r = 0; r < count; ++r) Hadamard(drows + r * dim, dim);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
