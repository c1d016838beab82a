// The model written down once more, as its definition reads: whole sequence at once, in double, no
// cache, no pieces, no kernels. Slow and independent of everything in model/ but tensor names.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>

#include "tests/model/tiny_model.h"

namespace baleen {
namespace {

using testing::MakeModel;
using testing::MixedConfig;
using testing::OddConfig;
using testing::RandomTokens;
using testing::Run;

using Row = std::vector<double>;
using Rows = std::vector<Row>;

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

class Definition {
 public:
  Definition(const WeightSource& source, std::vector<int32_t> tokens)
      : source_(source), c_(source.config()), tokens_(std::move(tokens)) {}

  Rows Logits() {
    const Row embed = Get("embed.weight");
    std::vector<Rows> x;  // [token][stream][channel]
    for (int32_t id : tokens_) {
      const auto begin = embed.begin() + id * c_.hidden;
      x.emplace_back(static_cast<size_t>(c_.hc_mult), Row(begin, begin + c_.hidden));
    }
    for (int64_t l = 0; l < c_.layers; ++l) {
      prefix_ = "layers." + std::to_string(l) + ".";
      Site(x, "attn", [&](const Rows& u) { return Attention(u, l); });
      Site(x, "ffn", [&](const Rows& u) { return Experts(u, l); });
    }
    prefix_.clear();
    Rows out;
    for (const Rows& streams : x) {
      const Row mix = Mix(streams, "hc_head");
      Row u(static_cast<size_t>(c_.hidden));
      for (size_t j = 0; j < streams.size(); ++j) {
        const double pre = Sigmoid(mix[j] * Get("hc_head_scale")[0] + Get("hc_head_base")[j]);
        for (size_t d = 0; d < u.size(); ++d) u[d] += (pre + c_.hc_eps) * streams[j][d];
      }
      out.push_back(Times("head.weight", Norm(u, "norm.weight")));
    }
    return out;
  }

 private:
  Row Get(const std::string& name) {
    const Result<TensorView> view = source_.Find(prefix_ + name);
    if (!view.ok()) FAIL(view.status().ToString());
    std::vector<float> values(view->bytes.size() / 4);
    std::memcpy(values.data(), view->bytes.data(), view->bytes.size());
    return Row(values.begin(), values.end());
  }

  /// W x, or rows [first, first + rows) of it.
  Row Times(const std::string& name, const Row& x, size_t first = 0, size_t rows = 0) {
    const Row w = Get(name);
    Row y(rows == 0 ? w.size() / x.size() : rows);
    for (size_t r = 0; r < y.size(); ++r) {
      y[r] = std::inner_product(x.begin(), x.end(),
                                w.begin() + static_cast<long>((first + r) * x.size()), 0.0);
    }
    return y;
  }

  Row Scaled(Row x) const {
    const double mean = std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / x.size();
    for (double& v : x) v /= std::sqrt(mean + c_.norm_eps);
    return x;
  }
  Row Norm(const Row& x, const std::string& weight) {
    Row y = Scaled(x);
    const Row w = Get(weight);
    for (size_t i = 0; i < y.size(); ++i) y[i] *= w[i];
    return y;
  }

  Row Mix(const Rows& streams, const std::string& site) {
    Row z;
    for (const Row& stream : streams) z.insert(z.end(), stream.begin(), stream.end());
    return Times(site + "_fn", Scaled(z));
  }

  template <typename Sublayer>
  void Site(std::vector<Rows>& x, const std::string& name, const Sublayer& sublayer) {
    const size_t n = static_cast<size_t>(c_.hc_mult);
    const Row scale = Get("hc_" + name + "_scale");
    const Row base = Get("hc_" + name + "_base");
    Rows inputs;
    Rows posts;
    std::vector<Rows> combs;
    for (const Rows& streams : x) {
      const Row mix = Mix(streams, "hc_" + name);
      Row u(static_cast<size_t>(c_.hidden));
      Row post(n);
      Rows comb(n, Row(n));
      for (size_t j = 0; j < n; ++j) {
        const double pre = Sigmoid(mix[j] * scale[0] + base[j]) + c_.hc_eps;
        for (size_t d = 0; d < u.size(); ++d) u[d] += pre * streams[j][d];
        post[j] = 2 * Sigmoid(mix[n + j] * scale[1] + base[n + j]);
        double sum = 0;
        for (size_t k = 0; k < n; ++k) {
          const size_t at = 2 * n + n * j + k;
          sum += comb[j][k] = std::exp(mix[at] * scale[2] + base[at]);
        }
        for (double& v : comb[j]) v = v / sum + c_.hc_eps;
      }
      for (int i = 0; i < c_.sinkhorn_iterations; ++i) {
        for (size_t j = 0; j < n && i > 0; ++j) {
          const double sum = std::accumulate(comb[j].begin(), comb[j].end(), 0.0) + c_.hc_eps;
          for (double& v : comb[j]) v /= sum;
        }
        for (size_t k = 0; k < n; ++k) {
          double sum = c_.hc_eps;
          for (size_t j = 0; j < n; ++j) sum += comb[j][k];
          for (size_t j = 0; j < n; ++j) comb[j][k] /= sum;
        }
      }
      inputs.push_back(Norm(u, name + "_norm.weight"));
      posts.push_back(post);
      combs.push_back(comb);
    }
    const Rows y = sublayer(inputs);
    for (size_t t = 0; t < x.size(); ++t) {
      const Rows old = x[t];
      for (size_t k = 0; k < n; ++k) {
        for (size_t d = 0; d < old[k].size(); ++d) {
          double sum = posts[t][k] * y[t][d];
          for (size_t j = 0; j < n; ++j) sum += combs[t][j][k] * old[j][d];
          x[t][k][d] = sum;
        }
      }
    }
  }

  double Frequency(int64_t i, bool compressed) const {
    const double dim = static_cast<double>(c_.rope_dim);
    const double theta = compressed ? c_.compress_rope_theta : c_.rope_theta;
    const double f = std::pow(theta, -2.0 * static_cast<double>(i) / dim);
    if (!compressed || c_.yarn_factor == 1) return f;
    const auto corner = [&](double turns) {
      return dim *
             std::log(static_cast<double>(c_.yarn_original_positions) /
                      (2 * std::numbers::pi * turns)) /
             (2 * std::log(theta));
    };
    const double low = std::max(0.0, std::floor(corner(c_.yarn_beta_fast)));
    const double high = std::min(dim - 1, std::ceil(corner(c_.yarn_beta_slow)));
    const double ramp =
        std::clamp((static_cast<double>(i) - low) / std::max(high - low, 0.001), 0.0, 1.0);
    return f / c_.yarn_factor * ramp + f * (1 - ramp);
  }

  Row Rotated(Row x, double position, bool compressed) const {
    const size_t first = x.size() - static_cast<size_t>(c_.rope_dim);
    for (int64_t i = 0; i < c_.rope_dim / 2; ++i) {
      const double angle = position * Frequency(i, compressed);
      double& a = x[first + static_cast<size_t>(2 * i)];
      double& b = x[first + static_cast<size_t>(2 * i + 1)];
      const double new_a = a * std::cos(angle) - b * std::sin(angle);
      b = a * std::sin(angle) + b * std::cos(angle);
      a = new_a;
    }
    return x;
  }

  Rows Entries(const Rows& u, const std::string& name, size_t ratio, size_t dim) {
    const bool overlap = ratio == 4;
    const Row ape = Get(name + "ape");
    Rows c;
    Rows g;
    for (size_t t = 0; t < u.size(); ++t) {
      c.push_back(Times(name + "wkv.weight", u[t]));
      g.push_back(Times(name + "wgate.weight", u[t]));
      for (size_t i = 0; i < g[t].size(); ++i) g[t][i] += ape[t % ratio * g[t].size() + i];
    }
    Rows entries;
    for (size_t j = 0; (j + 1) * ratio <= u.size(); ++j) {
      Row entry(dim);
      for (size_t e = 0; e < dim; ++e) {
        double sum = 0;
        double total = 0;
        const auto add = [&](size_t t, size_t channel) {
          sum += std::exp(g[t][channel]) * c[t][channel];
          total += std::exp(g[t][channel]);
        };
        for (size_t s = 0; s < ratio; ++s) {
          if (overlap && j > 0) add((j - 1) * ratio + s, e);
          add(j * ratio + s, overlap ? dim + e : e);
        }
        entry[e] = sum / total;
      }
      entries.push_back(
          Rotated(Norm(entry, name + "norm.weight"), static_cast<double>(j * ratio), true));
    }
    return entries;
  }

  std::vector<size_t> Chosen(const Rows& keys, const Row& low, const Row& u, size_t t) {
    const size_t visible = (t + 1) / 4;
    const size_t dim = static_cast<size_t>(c_.index_dim);
    const Row q = Times("attn.indexer.wq_b.weight", low);
    const Row w = Times("attn.indexer.weights_proj.weight", u);
    std::vector<std::pair<double, size_t>> scored;
    for (size_t j = 0; j < visible; ++j) {
      double score = 0;
      for (size_t h = 0; h < w.size(); ++h) {
        const Row head = Rotated(Row(q.begin() + static_cast<long>(h * dim),
                                     q.begin() + static_cast<long>((h + 1) * dim)),
                                 static_cast<double>(t), true);
        const double dot = std::inner_product(head.begin(), head.end(), keys[j].begin(), 0.0);
        score += std::max(dot, 0.0) * w[h];
      }
      scored.emplace_back(-score, j);
    }
    std::sort(scored.begin(), scored.end());
    std::vector<size_t> chosen;
    for (const auto& [score, j] : scored) {
      if (chosen.size() < static_cast<size_t>(c_.index_topk)) chosen.push_back(j);
    }
    return chosen;
  }

  Rows Attention(const Rows& u, int64_t l) {
    const auto ratio = static_cast<size_t>(c_.Ratio(l));
    const bool compressed = ratio != 0;
    const auto dim = static_cast<size_t>(c_.head_dim);
    const auto heads = static_cast<size_t>(c_.heads);
    const Row sink = Get("attn.attn_sink");
    Rows window;
    for (size_t t = 0; t < u.size(); ++t) {
      window.push_back(Rotated(Norm(Times("attn.wkv.weight", u[t]), "attn.kv_norm.weight"),
                               static_cast<double>(t), compressed));
    }
    const Rows entries = compressed ? Entries(u, "attn.compressor.", ratio, dim) : Rows();
    const Rows index_keys =
        ratio == 4 ? Entries(u, "attn.indexer.compressor.", 4, static_cast<size_t>(c_.index_dim))
                   : Rows();
    Rows out;
    for (size_t t = 0; t < u.size(); ++t) {
      const Row low = Norm(Times("attn.wq_a.weight", u[t]), "attn.q_norm.weight");
      const Row q = Times("attn.wq_b.weight", low);
      Rows keys;
      const size_t begin = t + 1 > static_cast<size_t>(c_.window) ? t + 1 - c_.window : 0;
      keys.assign(window.begin() + static_cast<long>(begin),
                  window.begin() + static_cast<long>(t + 1));
      if (ratio == 4) {
        for (size_t j : Chosen(index_keys, low, u[t], t)) keys.push_back(entries[j]);
      } else if (compressed) {
        keys.insert(keys.end(), entries.begin(),
                    entries.begin() + static_cast<long>((t + 1) / ratio));
      }
      Row attended;
      for (size_t h = 0; h < heads; ++h) {
        const Row head = Rotated(Scaled(Row(q.begin() + static_cast<long>(h * dim),
                                            q.begin() + static_cast<long>((h + 1) * dim))),
                                 static_cast<double>(t), compressed);
        Row sum(dim);
        double total = std::exp(sink[h]);
        for (const Row& key : keys) {
          const double p = std::exp(std::inner_product(head.begin(), head.end(), key.begin(), 0.0) /
                                    std::sqrt(static_cast<double>(dim)));
          total += p;
          for (size_t i = 0; i < dim; ++i) sum[i] += p * key[i];
        }
        for (double& v : sum) v /= total;
        sum = Rotated(sum, -static_cast<double>(t), compressed);
        attended.insert(attended.end(), sum.begin(), sum.end());
      }
      Row z;
      const size_t width = attended.size() / static_cast<size_t>(c_.o_groups);
      for (size_t g = 0; g < static_cast<size_t>(c_.o_groups); ++g) {
        const auto rank = static_cast<size_t>(c_.o_rank);
        const auto from = attended.begin() + static_cast<long>(g * width);
        const Row part =
            Times("attn.wo_a.weight", Row(from, from + static_cast<long>(width)), g * rank, rank);
        z.insert(z.end(), part.begin(), part.end());
      }
      out.push_back(Times("attn.wo_b.weight", z));
    }
    return out;
  }

  void AddExpert(const std::string& name, const Row& u, double weight, Row& y) {
    const Row gate = Times(name + "w1.weight", u);
    Row hidden = Times(name + "w3.weight", u);
    for (size_t i = 0; i < hidden.size(); ++i) {
      const double g = std::min<double>(gate[i], c_.swiglu_limit);
      hidden[i] = weight * g * Sigmoid(g) *
                  std::clamp<double>(hidden[i], -c_.swiglu_limit, c_.swiglu_limit);
    }
    const Row out = Times(name + "w2.weight", hidden);
    for (size_t i = 0; i < y.size(); ++i) y[i] += out[i];
  }

  Rows Experts(const Rows& u, int64_t l) {
    Rows out;
    const auto k = static_cast<size_t>(c_.experts_per_token);
    for (size_t t = 0; t < u.size(); ++t) {
      Row score = Times("ffn.gate.weight", u[t]);
      for (double& s : score) s = std::sqrt(std::log1p(std::exp(s)));
      std::vector<size_t> ids(score.size());
      std::iota(ids.begin(), ids.end(), size_t{0});
      if (l < c_.hash_layers) {
        const Result<TensorView> table = source_.Find(prefix_ + "ffn.gate.tid2eid");
        REQUIRE(table.ok());
        for (size_t i = 0; i < k; ++i) {
          int64_t id = 0;
          std::memcpy(&id, table->bytes.data() + (tokens_[t] * k + i) * 8, 8);
          ids[i] = static_cast<size_t>(id);
        }
      } else {
        const Row bias = Get("ffn.gate.bias");
        std::sort(ids.begin(), ids.end(),
                  [&](size_t a, size_t b) { return score[a] + bias[a] > score[b] + bias[b]; });
      }
      double sum = 0;
      for (size_t i = 0; i < k; ++i) sum += score[ids[i]];
      Row y(u[t].size());
      for (size_t i = 0; i < k; ++i) {
        AddExpert("ffn.experts." + std::to_string(ids[i]) + ".", u[t],
                  score[ids[i]] / sum * c_.route_scale, y);
      }
      AddExpert("ffn.shared_experts.", u[t], 1, y);
      out.push_back(y);
    }
    return out;
  }

  const WeightSource& source_;
  const ModelConfig& c_;
  std::vector<int32_t> tokens_;
  std::string prefix_;
};

TEST_CASE("ForwardComputesTheDefinition") {
  for (const ModelConfig& config : {MixedConfig(), OddConfig()}) {
    const std::vector<int32_t> tokens = RandomTokens(config, 140);
    const RandomWeights weights(config, 1, RandomStorage::kFloat32);
    const Rows expected = Definition(weights, tokens).Logits();
    auto model = MakeModel(config, NumericMode::kPure);
    KvCache cache = model->NewCache();
    const std::vector<float> logits = Run(*model, cache, tokens);
    double worst = 0;
    size_t worst_token = 0;
    for (size_t t = 0; t < tokens.size(); ++t) {
      for (size_t i = 0; i < expected[t].size(); ++i) {
        const double error = std::abs(expected[t][i] - logits[t * expected[t].size() + i]);
        if (error > worst) {
          worst = error;
          worst_token = t;
        }
      }
    }
    // Logits are a few units large. Angles up to 140 rad carry an fp32 rounding of 2^-24 relative
    // (8e-6 rad), and some 60 dependent dot products add sqrt(256) * 2^-24 each (6e-5 in all). A
    // wrong half, position, orientation or order shows as 0.01 or more.
    INFO("worst error " << worst << " at token " << worst_token);
    CHECK(worst < 3e-4);
  }
}

}  // namespace
}  // namespace baleen
