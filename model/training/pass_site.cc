// Hyper-connection sites of the pass: collapse before a sublayer, expand after it.
#include "model/training/pass.h"

namespace baleen::training {

template <class T>
HcGatesParams<T> Pass<T>::Gates(const HcIndex& hc, const SiteState<T>& s) const {
  return {.streams = s.streams,
          .mix = s.mix,
          .base = Value(hc.base),
          .scale = Value(hc.scale),
          .tokens = tokens_,
          .mult = config_.hc_mult,
          .dim = config_.hidden,
          .iterations = config_.sinkhorn_iterations,
          .hc_eps = static_cast<T>(config_.hc_eps),
          .norm_eps = static_cast<T>(config_.norm_eps),
          .rho = s.rho,
          .pre = s.pre,
          .post = s.head ? nullptr : s.post,
          .comb = s.head ? nullptr : s.comb};
}

template <class T>
void Pass<T>::OpenSite(const HcIndex& hc, size_t norm, const T* streams, SiteState<T>& s) {
  const int64_t mult = config_.hc_mult;
  const int64_t hidden = config_.hidden;
  const int64_t gates = s.head ? mult : mult * (2 + mult);
  s.streams = streams;
  s.mix = arena_.Take<T>(tokens_ * gates);
  s.rho = arena_.Take<T>(tokens_);
  s.pre = arena_.Take<T>(tokens_ * mult);
  if (!s.head) {
    s.post = arena_.Take<T>(tokens_ * mult);
    s.comb = arena_.Take<T>(tokens_ * mult * mult);
    s.y = arena_.Take<T>(tokens_ * hidden);
  }
  s.u = arena_.Take<T>(tokens_ * hidden);
  s.rstd = arena_.Take<T>(tokens_);
  s.x = arena_.Take<T>(tokens_ * hidden);
  Linear(streams, hc.fn, s.mix, tokens_, mult * hidden, gates);
  ops_.hc_gates(Gates(hc, s));
  ops_.hc_collapse({.streams = streams,
                    .pre = s.pre,
                    .weight = Value(norm),
                    .tokens = tokens_,
                    .mult = mult,
                    .dim = hidden,
                    .eps = static_cast<T>(config_.norm_eps),
                    .u = s.u,
                    .rstd = s.rstd,
                    .x = s.x});
}

template <class T>
T* Pass<T>::CloseSite(const SiteState<T>& s) {
  T* out = arena_.Take<T>(tokens_ * config_.hc_mult * config_.hidden);
  ops_.hc_expand({.streams = s.streams,
                  .y = s.y,
                  .post = s.post,
                  .comb = s.comb,
                  .tokens = tokens_,
                  .mult = config_.hc_mult,
                  .dim = config_.hidden,
                  .out = out});
  return out;
}

template <class T>
T* Pass<T>::CloseSiteGrad(const SiteState<T>& s, T* dstreams, T* dpost, T* dcomb) {
  T* dy = arena_.Take<T>(tokens_ * config_.hidden);
  ops_.hc_expand_grad({.forward = {.streams = s.streams,
                                   .y = s.y,
                                   .post = s.post,
                                   .comb = s.comb,
                                   .tokens = tokens_,
                                   .mult = config_.hc_mult,
                                   .dim = config_.hidden},
                       .dstreams = dstreams,
                       .dy = dy,
                       .dpost = dpost,
                       .dcomb = dcomb});
  return dy;
}

template <class T>
void Pass<T>::OpenSiteGrad(const HcIndex& hc, size_t norm, const SiteState<T>& s, T* dx,
                           const T* dpost, const T* dcomb, T* dstreams) {
  const int64_t mult = config_.hc_mult;
  const int64_t hidden = config_.hidden;
  const int64_t gates = s.head ? mult : mult * (2 + mult);
  const Arena::Mark mark = arena_.mark();
  T* dpre = arena_.Take<T>(tokens_ * mult);
  T* dmix = arena_.Take<T>(tokens_ * gates);
  T* factor = arena_.Take<T>(tokens_);
  ops_.rms_norm_grad({.x = s.u,
                      .weight = Value(norm),
                      .rstd = s.rstd,
                      .dy = dx,
                      .dx = dx,
                      .dweight = Gradient(norm),
                      .rows = tokens_,
                      .dim = hidden});
  ops_.hc_collapse_grad({.streams = s.streams,
                         .pre = s.pre,
                         .du = dx,
                         .tokens = tokens_,
                         .mult = mult,
                         .dim = hidden,
                         .dstreams = dstreams,
                         .dpre = dpre});
  ops_.hc_gates_grad({.forward = Gates(hc, s),
                      .dpre = dpre,
                      .dpost = dpost,
                      .dcomb = dcomb,
                      .dmix = dmix,
                      .stream_factor = factor,
                      .dbase = Gradient(hc.base),
                      .dscale = Gradient(hc.scale)});
  LinearGrad(s.streams, hc.fn, dmix, tokens_, mult * hidden, gates, dstreams, /*add_dx=*/true);
  ops_.add_scaled(
      {.x = s.streams, .factor = factor, .out = dstreams, .rows = tokens_, .dim = mult * hidden});
  arena_.Release(mark);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
