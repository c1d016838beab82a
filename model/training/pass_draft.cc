// The draft block's input: the last layer's streams and the next token.  Source: spec section 2.8.
#include <algorithm>

#include "model/training/pass.h"

namespace baleen::training {

template <class T>
T* Pass<T>::OpenDraft(const T* streams, DraftState<T>& s) {
  const int64_t hidden = config_.hidden;
  const int64_t mult = config_.hc_mult;
  const T eps = static_cast<T>(config_.norm_eps);
  s.streams = streams;
  s.embedded = arena_.Take<T>(tokens_ * hidden);
  s.embedded_rstd = arena_.Take<T>(tokens_);
  s.embedded_norm = arena_.Take<T>(tokens_ * hidden);
  s.stream_rstd = arena_.Take<T>(tokens_ * mult);
  s.stream_norm = arena_.Take<T>(tokens_ * mult * hidden);
  T* projected = arena_.Take<T>(tokens_ * hidden);
  T* input = arena_.Take<T>(tokens_ * mult * hidden);
  const Documents& d = *in_->documents;
  for (int64_t t = 0; t < tokens_; ++t) {
    const auto at = static_cast<size_t>(t);
    // Nothing is predicted from a document's last token, and nothing sees it.
    s.tokens.push_back(d.next[at] >= 0 ? d.next[at] : d.tokens[at]);
    std::copy_n(Value(index_.embedding) + s.tokens.back() * hidden, hidden,
                s.embedded + t * hidden);
  }
  ops_.rms_norm({s.embedded, Value(index_.draft_enorm), s.embedded_norm, s.embedded_rstd, tokens_,
                 hidden, eps});
  ops_.rms_norm({streams, Value(index_.draft_hnorm), s.stream_norm, s.stream_rstd, tokens_ * mult,
                 hidden, eps});
  Linear(s.embedded_norm, index_.draft_e_proj, projected, tokens_, hidden, hidden);
  Linear(s.stream_norm, index_.draft_h_proj, input, tokens_ * mult, hidden, hidden);
  for (int64_t row = 0; row < tokens_ * mult; ++row) {
    const T* e = projected + row / mult * hidden;
    for (int64_t i = 0; i < hidden; ++i) input[row * hidden + i] += e[i];
  }
  return input;
}

template <class T>
void Pass<T>::OpenDraftGrad(const DraftState<T>& s, const T* dinput, T* dstreams) {
  const int64_t hidden = config_.hidden;
  const int64_t mult = config_.hc_mult;
  const Arena::Mark mark = arena_.mark();
  T* dnorm = arena_.Take<T>(tokens_ * mult * hidden);
  LinearGrad(s.stream_norm, index_.draft_h_proj, dinput, tokens_ * mult, hidden, hidden, dnorm,
             /*add_dx=*/false);
  ops_.rms_norm_grad({s.streams, Value(index_.draft_hnorm), s.stream_rstd, dnorm, dnorm,
                      Gradient(index_.draft_hnorm), tokens_ * mult, hidden});
  for (int64_t i = 0; i < tokens_ * mult * hidden; ++i) dstreams[i] += dnorm[i];

  T* dprojected = arena_.TakeZeros<T>(tokens_ * hidden);
  T* dembedded = arena_.Take<T>(tokens_ * hidden);
  for (int64_t row = 0; row < tokens_ * mult; ++row) {
    T* sum = dprojected + row / mult * hidden;
    for (int64_t i = 0; i < hidden; ++i) sum[i] += dinput[row * hidden + i];
  }
  LinearGrad(s.embedded_norm, index_.draft_e_proj, dprojected, tokens_, hidden, hidden, dembedded,
             /*add_dx=*/false);
  ops_.rms_norm_grad({s.embedded, Value(index_.draft_enorm), s.embedded_rstd, dembedded, dembedded,
                      Gradient(index_.draft_enorm), tokens_, hidden});
  T* dtable = Gradient(index_.embedding);
  for (int64_t t = 0; t < tokens_; ++t) {
    T* row = dtable + s.tokens[static_cast<size_t>(t)] * hidden;
    for (int64_t i = 0; i < hidden; ++i) row[i] += dembedded[t * hidden + i];
  }
  arena_.Release(mark);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
