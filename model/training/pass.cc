#include "model/training/pass.h"

#include <algorithm>
#include <cmath>

#include "model/rope_table.h"

namespace baleen::training {

template <class T>
Pass<T>::Pass(const ModelConfig& config, const OpTable<T>& ops)
    : config_(config), ops_(ops), pack_(static_cast<size_t>(kGemmPackElements)) {}

template <class T>
void Pass<T>::Run(const PassInput<T>& input) {
  in_ = &input;
  tokens_ = input.documents->count();
  arena_.Release({});
  if (index_.layers.empty()) index_ = WeightIndex::Of(*input.set);
  const bool draft = index_.has_draft && input.options.mtp_weight > 0;
  const auto layers = static_cast<size_t>(config_.layers);
  layers_.assign(index_.layers.size(), {});
  choices_.resize(index_.layers.size());
  input.report->expert_load.resize(layers + (draft ? 1 : 0),
                                   std::vector<int64_t>(static_cast<size_t>(config_.experts)));
  input.report->tokens += tokens_;
  PrepareAngles();

  const int64_t stream_count = tokens_ * config_.hc_mult * config_.hidden;
  const T* streams = Embed();
  for (size_t l = 0; l < layers; ++l) streams = Layer(l, streams);
  T* dstreams = input.training() ? arena_.Take<T>(stream_count) : nullptr;
  Head(MainTask(), streams, dstreams);
  if (draft) {
    DraftState<T> state;
    const T* out = Layer(layers, OpenDraft(streams, state));
    T* dout = input.training() ? arena_.Take<T>(stream_count) : nullptr;
    Head(DraftTask(), out, dout);
    if (input.training()) {
      LayerGrad(layers, dout);
      OpenDraftGrad(state, dout, dstreams);
    }
  }
  if (!input.training()) return;
  for (size_t l = layers; l-- > 0;) LayerGrad(l, dstreams);
  EmbedGrad(dstreams);
}

template <class T>
T* Pass<T>::Embed() {
  const int64_t hidden = config_.hidden;
  const int64_t width = config_.hc_mult * hidden;
  T* streams = arena_.Take<T>(tokens_ * width);
  const T* table = Value(index_.embedding);
  for (int64_t t = 0; t < tokens_; ++t) {
    const T* row = table + in_->documents->tokens[static_cast<size_t>(t)] * hidden;
    for (int64_t j = 0; j < config_.hc_mult; ++j) {
      std::copy_n(row, hidden, streams + t * width + j * hidden);
    }
  }
  return streams;
}

template <class T>
void Pass<T>::EmbedGrad(const T* dstreams) {
  const int64_t hidden = config_.hidden;
  T* dtable = Gradient(index_.embedding);
  for (int64_t t = 0; t < tokens_; ++t) {
    T* row = dtable + in_->documents->tokens[static_cast<size_t>(t)] * hidden;
    for (int64_t j = 0; j < config_.hc_mult; ++j) {
      const T* d = dstreams + (t * config_.hc_mult + j) * hidden;
      for (int64_t i = 0; i < hidden; ++i) row[i] += d[i];
    }
  }
}

template <class T>
T* Pass<T>::Layer(size_t l, const T* streams) {
  const LayerIndex& layer = index_.layers[l];
  LayerState<T>& s = layers_[l];
  OpenSite(layer.attn_hc, layer.attn_norm, streams, s.attn_site);
  Attention(l, s.attn_site.x, s.attn_site.y, s.attn);
  const T* middle = CloseSite(s.attn_site);
  OpenSite(layer.ffn_hc, layer.ffn_norm, middle, s.ffn_site);
  Moe(l, s.ffn_site.x, s.ffn_site.y, s.moe);
  return CloseSite(s.ffn_site);
}

template <class T>
void Pass<T>::LayerGrad(size_t l, T* dstreams) {
  const LayerIndex& layer = index_.layers[l];
  const LayerState<T>& s = layers_[l];
  const Arena::Mark mark = arena_.mark();
  const int64_t mult = config_.hc_mult;
  T* dpost = arena_.Take<T>(tokens_ * mult);
  T* dcomb = arena_.Take<T>(tokens_ * mult * mult);
  T* dx = arena_.Take<T>(tokens_ * config_.hidden);

  const T* dy = CloseSiteGrad(s.ffn_site, dstreams, dpost, dcomb);
  MoeGrad(l, s.ffn_site.x, s.moe, dy, dx);
  OpenSiteGrad(layer.ffn_hc, layer.ffn_norm, s.ffn_site, dx, dpost, dcomb, dstreams);

  dy = CloseSiteGrad(s.attn_site, dstreams, dpost, dcomb);
  AttentionGrad(l, s.attn_site.x, s.attn, dy, dx);
  OpenSiteGrad(layer.attn_hc, layer.attn_norm, s.attn_site, dx, dpost, dcomb, dstreams);
  arena_.Release(mark);
}

template <class T>
void Pass<T>::Multiply(GemmParams<T> gemm) {
  if (gemm.m == 0 || gemm.n == 0 || gemm.k == 0) return;
  gemm.pack = pack_.data();
  ops_.gemm(gemm);
}

template <class T>
void Pass<T>::Linear(const T* x, size_t weight, T* y, int64_t rows, int64_t in, int64_t out) {
  Multiply({.m = rows,
            .n = out,
            .k = in,
            .a = x,
            .a_row = in,
            .a_col = 1,
            .b = Value(weight),
            .b_row = 1,
            .b_col = in,
            .c = y,
            .c_row = out});
}

template <class T>
void Pass<T>::LinearGrad(const T* x, size_t weight, const T* dy, int64_t rows, int64_t in,
                         int64_t out, T* dx, bool add_dx) {
  Multiply({.m = out,
            .n = in,
            .k = rows,
            .a = dy,
            .a_row = 1,
            .a_col = out,
            .b = x,
            .b_row = in,
            .b_col = 1,
            .c = Gradient(weight),
            .c_row = in,
            .accumulate = true});
  if (dx == nullptr) return;
  Multiply({.m = rows,
            .n = in,
            .k = out,
            .a = dy,
            .a_row = out,
            .a_col = 1,
            .b = Value(weight),
            .b_row = in,
            .b_col = 1,
            .c = dx,
            .c_row = in,
            .accumulate = add_dx});
}

template <class T>
void Pass<T>::Rotate(T* x, const RopeAngles<T>& angles, const int32_t* position, int64_t rows,
                     int64_t heads, int64_t dim, bool inverse) {
  ops_.rope({.x = x,
             .rows = rows,
             .heads = heads,
             .dim = dim,
             .pairs = config_.rope_dim / 2,
             .cosine = angles.cosine.data(),
             .sine = angles.sine.data(),
             .position = position,
             .inverse = inverse});
}

template <class T>
void Pass<T>::PrepareAngles() {
  const std::vector<int32_t>& position = in_->documents->position;
  const int64_t needed = *std::max_element(position.begin(), position.end()) + 1;
  const auto extend = [&](const RopeSpec& spec, RopeAngles<T>& angles) {
    if (angles.positions >= needed) return;
    const std::vector<float> frequencies = InverseFrequencies(spec);
    angles.cosine.clear();
    angles.sine.clear();
    for (int64_t p = 0; p < needed; ++p) {
      for (const float frequency : frequencies) {
        // The angle's rounding to fp32 is part of the model.
        const auto angle = static_cast<double>(static_cast<float>(p) * frequency);
        angles.cosine.push_back(static_cast<T>(std::cos(angle)));
        angles.sine.push_back(static_cast<T>(std::sin(angle)));
      }
    }
    angles.positions = needed;
  };
  extend(WindowRope(config_), window_angles_);
  extend(CompressRope(config_), compress_angles_);
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
