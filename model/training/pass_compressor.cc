// Compressors of the pass: entries of every document's complete windows.
#include "model/training/pass.h"

namespace baleen::training {

template <class T>
void Pass<T>::Compress(const CompressorIndex& w, const T* x, CompressorRows<T>& s) {
  const int64_t width = s.width();
  for (const Document& d : in_->documents->all) {
    s.first.push_back(s.entries);
    const int64_t windows = d.count / s.ratio;
    for (int64_t j = 0; j < windows; ++j) {
      s.position.push_back(static_cast<int32_t>(j * s.ratio));
    }
    s.entries += windows;
  }
  s.value = arena_.Take<T>(tokens_ * width);
  s.gate = arena_.Take<T>(tokens_ * width);
  s.pooled = arena_.Take<T>(s.entries * s.dim);
  s.rstd = arena_.Take<T>(s.entries);
  s.rows = arena_.Take<T>(s.entries * s.dim);
  if (s.entries == 0) return;
  Linear(x, w.value, s.value, tokens_, config_.hidden, width);
  Linear(x, w.gate, s.gate, tokens_, config_.hidden, width);
  for (size_t d = 0; d < in_->documents->all.size(); ++d) {
    const Document& document = in_->documents->all[d];
    ops_.pool({.value = s.value + document.begin * width,
               .gate = s.gate + document.begin * width,
               .ape = Value(w.ape),
               .out = s.pooled + s.first[d] * s.dim,
               .entries = document.count / s.ratio,
               .ratio = s.ratio,
               .dim = s.dim,
               .overlap = s.overlap});
  }
  ops_.rms_norm({s.pooled, Value(w.norm), s.rows, s.rstd, s.entries, s.dim,
                 static_cast<T>(config_.norm_eps)});
  Rotate(s.rows, compress_angles_, s.position.data(), s.entries, 1, s.dim, /*inverse=*/false);
}

template <class T>
void Pass<T>::CompressGrad(const CompressorIndex& w, const T* x, const CompressorRows<T>& s,
                           T* drows, T* dx) {
  if (s.entries == 0) return;
  const int64_t width = s.width();
  const Arena::Mark mark = arena_.mark();
  Rotate(drows, compress_angles_, s.position.data(), s.entries, 1, s.dim, /*inverse=*/true);
  ops_.rms_norm_grad(
      {s.pooled, Value(w.norm), s.rstd, drows, drows, Gradient(w.norm), s.entries, s.dim});
  // Tokens of an unfinished window stay at zero.
  T* dvalue = arena_.TakeZeros<T>(tokens_ * width);
  T* dgate = arena_.TakeZeros<T>(tokens_ * width);
  for (size_t d = 0; d < in_->documents->all.size(); ++d) {
    const Document& document = in_->documents->all[d];
    ops_.pool_grad({.forward = {.value = s.value + document.begin * width,
                                .gate = s.gate + document.begin * width,
                                .ape = Value(w.ape),
                                .out = s.pooled + s.first[d] * s.dim,
                                .entries = document.count / s.ratio,
                                .ratio = s.ratio,
                                .dim = s.dim,
                                .overlap = s.overlap},
                    .dout = drows + s.first[d] * s.dim,
                    .dvalue = dvalue + document.begin * width,
                    .dgate = dgate + document.begin * width,
                    .dape = Gradient(w.ape)});
  }
  LinearGrad(x, w.value, dvalue, tokens_, config_.hidden, width, dx, /*add_dx=*/true);
  LinearGrad(x, w.gate, dgate, tokens_, config_.hidden, width, dx, /*add_dx=*/true);
  arena_.Release(mark);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
