// Mixture of experts of the pass. Tokens are gathered per expert, so that each expert is three
// matrix products; a token's outputs are added in ascending expert id, the shared expert's last.
#include <algorithm>

#include "model/training/pass.h"

namespace baleen::training {

template <class T>
RouteParams<T> Pass<T>::Routing(size_t l, const MoeState<T>& s) {
  const MoeIndex& moe = index_.layers[l].moe;
  return {.logits = s.logits,
          .bias = moe.hash_table >= 0 || !choosing() ? nullptr : Value(moe.bias),
          .tokens = tokens_,
          .experts = config_.experts,
          .topk = config_.experts_per_token,
          .route_scale = static_cast<T>(config_.route_scale),
          .scores = s.scores,
          .ids = choices_[l].experts.data(),
          .weights = s.weights};
}

template <class T>
void Pass<T>::GroupByExpert(size_t l, MoeState<T>& s) {
  const std::vector<int32_t>& ids = choices_[l].experts;
  s.begin.assign(static_cast<size_t>(config_.experts) + 1, 0);
  for (const int32_t id : ids) ++s.begin[static_cast<size_t>(id) + 1];
  std::vector<int64_t>& load = in_->report->expert_load[l];
  for (size_t e = 0; e < load.size(); ++e) load[e] += s.begin[e + 1];
  for (size_t e = 1; e < s.begin.size(); ++e) s.begin[e] += s.begin[e - 1];
  std::vector<int64_t> next(s.begin.begin(), s.begin.end() - 1);
  s.slot.resize(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    s.slot[static_cast<size_t>(next[static_cast<size_t>(ids[i])]++)] = static_cast<int64_t>(i);
  }
}

template <class T>
void Pass<T>::RunExperts(const MoeIndex& moe, MoeState<T>& s, T* y) {
  const int64_t hidden = config_.hidden;
  const int64_t width = config_.expert_dim;
  const auto rows = static_cast<int64_t>(s.slot.size());
  for (size_t e = 0; e < moe.experts.size(); ++e) {
    const int64_t first = s.begin[e];
    const int64_t count = s.begin[e + 1] - first;
    Linear(s.x + first * hidden, moe.experts[e].gate, s.gate + first * width, count, hidden, width);
    Linear(s.x + first * hidden, moe.experts[e].up, s.up + first * width, count, hidden, width);
  }
  const auto limit = static_cast<T>(config_.swiglu_limit);
  ops_.swiglu({s.gate, s.up, s.row_weight, s.product, rows, width, limit});
  const Arena::Mark mark = arena_.mark();
  T* out = arena_.Take<T>(rows * hidden);
  std::fill_n(y, tokens_ * hidden, T(0));
  for (size_t e = 0; e < moe.experts.size(); ++e) {
    const int64_t first = s.begin[e];
    const int64_t count = s.begin[e + 1] - first;
    Linear(s.product + first * width, moe.experts[e].down, out + first * hidden, count, width,
           hidden);
    for (int64_t row = first; row < first + count; ++row) {
      T* sum = y + s.slot[static_cast<size_t>(row)] / config_.experts_per_token * hidden;
      for (int64_t i = 0; i < hidden; ++i) sum[i] += out[row * hidden + i];
    }
  }
  arena_.Release(mark);
}

template <class T>
void Pass<T>::Moe(size_t l, const T* x, T* y, MoeState<T>& s) {
  const MoeIndex& moe = index_.layers[l].moe;
  const int64_t hidden = config_.hidden;
  const int64_t topk = config_.experts_per_token;
  const int64_t rows = tokens_ * topk;
  s.logits = arena_.Take<T>(tokens_ * config_.experts);
  s.scores = arena_.Take<T>(tokens_ * config_.experts);
  s.weights = arena_.Take<T>(rows);
  Linear(x, moe.router, s.logits, tokens_, hidden, config_.experts);
  LayerChoices<T>& choices = choices_[l];
  if (choosing()) {
    choices.experts.resize(static_cast<size_t>(rows));
    if (moe.hash_table >= 0) {
      const HashTable& table = in_->set->hash_tables()[static_cast<size_t>(moe.hash_table)];
      for (int64_t t = 0; t < tokens_; ++t) {
        const int32_t token = in_->documents->tokens[static_cast<size_t>(t)];
        std::copy_n(table.experts.begin() + token * topk, topk, choices.experts.begin() + t * topk);
      }
    }
  }
  ops_.route(Routing(l, s));
  GroupByExpert(l, s);
  if (moe.hash_table < 0) Balance(l, s, nullptr, /*report=*/true);

  s.row_weight = arena_.Take<T>(rows);
  s.x = arena_.Take<T>(rows * hidden);
  s.gate = arena_.Take<T>(rows * config_.expert_dim);
  s.up = arena_.Take<T>(rows * config_.expert_dim);
  s.product = arena_.Take<T>(rows * config_.expert_dim);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t slot = s.slot[static_cast<size_t>(row)];
    s.row_weight[row] = s.weights[slot];
    std::copy_n(x + slot / topk * hidden, hidden, s.x + row * hidden);
  }
  RunExperts(moe, s, y);

  const int64_t width = config_.expert_dim * config_.shared_experts;
  s.shared_gate = arena_.Take<T>(tokens_ * width);
  s.shared_up = arena_.Take<T>(tokens_ * width);
  s.shared_product = arena_.Take<T>(tokens_ * width);
  Linear(x, moe.shared.gate, s.shared_gate, tokens_, hidden, width);
  Linear(x, moe.shared.up, s.shared_up, tokens_, hidden, width);
  ops_.swiglu({s.shared_gate, s.shared_up, nullptr, s.shared_product, tokens_, width,
               static_cast<T>(config_.swiglu_limit)});
  Multiply({.m = tokens_,
            .n = hidden,
            .k = width,
            .a = s.shared_product,
            .a_row = width,
            .a_col = 1,
            .b = Value(moe.shared.down),
            .b_row = 1,
            .b_col = width,
            .c = y,
            .c_row = hidden,
            .accumulate = true});
}

template <class T>
void Pass<T>::ExpertsGrad(const MoeIndex& moe, const MoeState<T>& s, const T* dy, T* dx,
                          T* dweights) {
  const int64_t hidden = config_.hidden;
  const int64_t width = config_.expert_dim;
  const int64_t topk = config_.experts_per_token;
  const auto rows = static_cast<int64_t>(s.slot.size());
  T* dout = arena_.Take<T>(rows * hidden);
  T* dgate = arena_.Take<T>(rows * width);
  T* dup = arena_.Take<T>(rows * width);
  T* drow_weight = arena_.Take<T>(rows);
  for (int64_t row = 0; row < rows; ++row) {
    std::copy_n(dy + s.slot[static_cast<size_t>(row)] / topk * hidden, hidden, dout + row * hidden);
  }
  for (size_t e = 0; e < moe.experts.size(); ++e) {
    const int64_t first = s.begin[e];
    LinearGrad(s.product + first * width, moe.experts[e].down, dout + first * hidden,
               s.begin[e + 1] - first, width, hidden, dgate + first * width, /*add_dx=*/false);
  }
  ops_.swiglu_grad({.forward = {s.gate, s.up, s.row_weight, nullptr, rows, width,
                                static_cast<T>(config_.swiglu_limit)},
                    .dproduct = dgate,
                    .dgate = dgate,
                    .dup = dup,
                    .dweight = drow_weight});
  T* drow = dout;  // Used up: now the gradient of the gathered inputs.
  for (size_t e = 0; e < moe.experts.size(); ++e) {
    const int64_t first = s.begin[e];
    const int64_t count = s.begin[e + 1] - first;
    const T* x = s.x + first * hidden;
    LinearGrad(x, moe.experts[e].gate, dgate + first * width, count, hidden, width,
               drow + first * hidden, /*add_dx=*/false);
    LinearGrad(x, moe.experts[e].up, dup + first * width, count, hidden, width,
               drow + first * hidden, /*add_dx=*/true);
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t slot = s.slot[static_cast<size_t>(row)];
      T* sum = dx + slot / topk * hidden;
      for (int64_t i = 0; i < hidden; ++i) sum[i] += drow[row * hidden + i];
      dweights[slot] = drow_weight[row];
    }
  }
}

template <class T>
void Pass<T>::SharedGrad(const MoeIndex& moe, const T* x, const MoeState<T>& s, const T* dy,
                         T* dx) {
  const int64_t hidden = config_.hidden;
  const int64_t width = config_.expert_dim * config_.shared_experts;
  T* dgate = arena_.Take<T>(tokens_ * width);
  T* dup = arena_.Take<T>(tokens_ * width);
  LinearGrad(s.shared_product, moe.shared.down, dy, tokens_, width, hidden, dgate,
             /*add_dx=*/false);
  ops_.swiglu_grad({.forward = {s.shared_gate, s.shared_up, nullptr, nullptr, tokens_, width,
                                static_cast<T>(config_.swiglu_limit)},
                    .dproduct = dgate,
                    .dgate = dgate,
                    .dup = dup,
                    .dweight = nullptr});
  LinearGrad(x, moe.shared.gate, dgate, tokens_, hidden, width, dx, /*add_dx=*/true);
  LinearGrad(x, moe.shared.up, dup, tokens_, hidden, width, dx, /*add_dx=*/true);
}

template <class T>
void Pass<T>::MoeGrad(size_t l, const T* x, const MoeState<T>& s, const T* dy, T* dx) {
  const MoeIndex& moe = index_.layers[l].moe;
  const Arena::Mark mark = arena_.mark();
  const int64_t experts = config_.experts;
  std::fill_n(dx, tokens_ * config_.hidden, T(0));
  T* dweights = arena_.Take<T>(tokens_ * config_.experts_per_token);
  ExpertsGrad(moe, s, dy, dx, dweights);
  SharedGrad(moe, x, s, dy, dx);
  T* dscores = nullptr;
  if (moe.hash_table < 0 && in_->options.balance_weight > 0) {
    dscores = arena_.Take<T>(tokens_ * experts);
    Balance(l, s, dscores, /*report=*/false);
  }
  T* dlogits = arena_.Take<T>(tokens_ * experts);
  ops_.route_grad(
      {.forward = Routing(l, s), .dweights = dweights, .dscores = dscores, .dlogits = dlogits});
  LinearGrad(x, moe.router, dlogits, tokens_, config_.hidden, experts, dx, /*add_dx=*/true);
  arena_.Release(mark);
}

// Per document: sum_e f_e P_e with f_e = E / (K T) * choices of e, P_e = mean_t s_te / sum_j s_tj;
// documents count by their tokens.  Source: spec section 7.3.
template <class T>
void Pass<T>::Balance(size_t l, const MoeState<T>& s, T* dscores, bool report) {
  const int64_t experts = config_.experts;
  const int64_t topk = config_.experts_per_token;
  const auto weight = static_cast<T>(in_->scale.token * in_->options.balance_weight);
  std::vector<double> load(static_cast<size_t>(experts));
  for (const Document& d : in_->documents->all) {
    std::fill(load.begin(), load.end(), 0.0);
    const double share =
        static_cast<double>(experts) / (static_cast<double>(topk) * static_cast<double>(d.count));
    for (int64_t i = d.begin * topk; i < (d.begin + d.count) * topk; ++i) {
      load[static_cast<size_t>(choices_[l].experts[static_cast<size_t>(i)])] += share;
    }
    double sum = 0;  // T * loss of the document
    for (int64_t t = d.begin; t < d.begin + d.count; ++t) {
      const T* scores = s.scores + t * experts;
      T total = 0;
      T dot = 0;
      for (int64_t e = 0; e < experts; ++e) {
        total += scores[e];
        dot += static_cast<T>(load[static_cast<size_t>(e)]) * scores[e];
      }
      sum += static_cast<double>(dot / total);
      if (dscores == nullptr) continue;
      for (int64_t e = 0; e < experts; ++e) {
        dscores[t * experts + e] =
            weight * (static_cast<T>(load[static_cast<size_t>(e)]) - dot / total) / total;
      }
    }
    if (report) in_->report->balance_loss += sum * in_->scale.token;
  }
}

template class Pass<float>;
template class Pass<double>;

}  // namespace baleen::training
