// Each op's gradient against finite differences in double, and every table against the double one.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "model/training/ops/op_table.h"

namespace baleen::training {
namespace {

using Values = std::vector<double>;

class Draws {
 public:
  explicit Draws(uint64_t seed) : random_(seed) {}
  Values Normal(int64_t count, double mean = 0, double deviation = 1) {
    std::normal_distribution<double> normal(mean, deviation);
    Values values(static_cast<size_t>(count));
    for (double& v : values) v = normal(random_);
    return values;
  }

 private:
  std::mt19937_64 random_;
};

Values Zeros(int64_t count) { return Values(static_cast<size_t>(count), 0.0); }

double Dot(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

struct Input {
  const char* name;
  Values* values;
  const Values* gradient;
};

/// Each element of each input: fourth-order difference of `objective`.
void CheckSlopes(const std::function<double()>& objective, const std::vector<Input>& inputs) {
  const double h = 1e-4;
  for (const Input& input : inputs) {
    double norm = 0;
    for (const double g : *input.gradient) norm += g * g;
    const double typical = std::sqrt(norm / static_cast<double>(input.gradient->size()));
    REQUIRE(typical > 0);
    for (size_t i = 0; i < input.values->size(); ++i) {
      double& x = (*input.values)[i];
      const double start = x;
      const auto at = [&](double step) {
        x = start + step;
        return objective();
      };
      const double slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      x = start;
      const double gradient = (*input.gradient)[i];
      INFO(input.name << '[' << i << "]: finite difference " << slope << ", gradient " << gradient);
      CHECK(std::abs(slope - gradient) <= 1e-6 * (std::abs(gradient) + typical));
    }
  }
}

const OpTable<double>& Ops() { return *DoubleOps(); }

TEST_CASE("OpGradientRmsNorm") {
  Draws draws(1);
  Values x = draws.Normal(3 * 7);
  Values weight = draws.Normal(7, 1, 0.3);
  const Values seen = draws.Normal(3 * 7);
  Values y = Zeros(21);
  Values rstd = Zeros(3);
  const auto objective = [&] {
    Ops().rms_norm({x.data(), weight.data(), y.data(), rstd.data(), 3, 7, 1e-6});
    return Dot(y, seen);
  };
  objective();
  Values dx = seen;
  Values dweight = Zeros(7);
  Ops().rms_norm_grad(
      {x.data(), weight.data(), rstd.data(), dx.data(), dx.data(), dweight.data(), 3, 7});
  CheckSlopes(objective, {{"x", &x, &dx}, {"weight", &weight, &dweight}});
}

TEST_CASE("OpGradientHeadNormAndRope") {
  Draws draws(2);
  Values x = draws.Normal(2 * 3 * 8);
  const Values seen = draws.Normal(2 * 3 * 8);
  Values cosine;
  Values sine;
  for (const double angle : draws.Normal(5 * 2)) {
    cosine.push_back(std::cos(angle));
    sine.push_back(std::sin(angle));
  }
  const std::vector<int32_t> position = {4, 1};
  Values q;
  Values rstd = Zeros(6);
  const auto rotate = [&](Values& v, bool inverse) {
    Ops().rope({.x = v.data(),
                .rows = 2,
                .heads = 3,
                .dim = 8,
                .pairs = 2,
                .cosine = cosine.data(),
                .sine = sine.data(),
                .position = position.data(),
                .inverse = inverse});
  };
  const auto objective = [&] {
    q = x;
    Ops().rms_norm({q.data(), nullptr, q.data(), rstd.data(), 6, 8, 1e-6});
    rotate(q, false);
    return Dot(q, seen);
  };
  objective();
  Values dx = seen;
  Ops().head_norm_grad({q.data(), rstd.data(), dx.data(), 6, 8});
  rotate(dx, true);
  CheckSlopes(objective, {{"x", &x, &dx}});
}

/// Gates of a site; more tokens than lanes, so that a short group is there too.
void CheckGates(bool head) {
  const int64_t tokens = 19;
  const int64_t mult = 3;
  const int64_t dim = 5;
  const int64_t gates = head ? mult : mult * (2 + mult);
  Draws draws(3);
  Values streams = draws.Normal(tokens * mult * dim);
  Values mix = draws.Normal(tokens * gates);
  Values base = draws.Normal(gates);
  Values scale = draws.Normal(head ? 1 : 3, 1, 0.3);
  const Values see_pre = draws.Normal(tokens * mult);
  const Values see_post = draws.Normal(tokens * mult);
  const Values see_comb = draws.Normal(tokens * mult * mult);
  Values rho = Zeros(tokens);
  Values pre = Zeros(tokens * mult);
  Values post = Zeros(tokens * mult);
  Values comb = Zeros(tokens * mult * mult);
  const HcGatesParams<double> forward = {.streams = streams.data(),
                                         .mix = mix.data(),
                                         .base = base.data(),
                                         .scale = scale.data(),
                                         .tokens = tokens,
                                         .mult = mult,
                                         .dim = dim,
                                         .iterations = 20,
                                         .hc_eps = 1e-6,
                                         .norm_eps = 1e-6,
                                         .rho = rho.data(),
                                         .pre = pre.data(),
                                         .post = head ? nullptr : post.data(),
                                         .comb = head ? nullptr : comb.data()};
  const auto objective = [&] {
    Ops().hc_gates(forward);
    return Dot(pre, see_pre) + (head ? 0 : Dot(post, see_post) + Dot(comb, see_comb));
  };
  objective();
  Values dmix = Zeros(tokens * gates);
  Values factor = Zeros(tokens);
  Values dbase = Zeros(gates);
  Values dscale = Zeros(head ? 1 : 3);
  Ops().hc_gates_grad({.forward = forward,
                       .dpre = see_pre.data(),
                       .dpost = see_post.data(),
                       .dcomb = see_comb.data(),
                       .dmix = dmix.data(),
                       .stream_factor = factor.data(),
                       .dbase = dbase.data(),
                       .dscale = dscale.data()});
  Values dstreams = Zeros(tokens * mult * dim);
  Ops().add_scaled({.x = streams.data(),
                    .factor = factor.data(),
                    .out = dstreams.data(),
                    .rows = tokens,
                    .dim = mult * dim});
  CheckSlopes(objective, {{"mix", &mix, &dmix},
                          {"base", &base, &dbase},
                          {"scale", &scale, &dscale},
                          {"streams", &streams, &dstreams}});
}

TEST_CASE("OpGradientHyperConnectionGates") { CheckGates(/*head=*/false); }
TEST_CASE("OpGradientHeadMixGates") { CheckGates(/*head=*/true); }

TEST_CASE("OpGradientCollapse") {
  Draws draws(4);
  Values streams = draws.Normal(2 * 3 * 70);
  Values pre = draws.Normal(2 * 3);
  Values weight = draws.Normal(70, 1, 0.2);
  const Values seen = draws.Normal(2 * 70);
  Values u = Zeros(140);
  Values rstd = Zeros(2);
  Values x = Zeros(140);
  const auto objective = [&] {
    Ops().hc_collapse({streams.data(), pre.data(), weight.data(), 2, 3, 70, 1e-6, u.data(),
                       rstd.data(), x.data()});
    return Dot(x, seen);
  };
  objective();
  Values du = seen;
  Values dweight = Zeros(70);
  Ops().rms_norm_grad(
      {u.data(), weight.data(), rstd.data(), du.data(), du.data(), dweight.data(), 2, 70});
  Values dstreams = Zeros(2 * 3 * 70);
  Values dpre = Zeros(6);
  Ops().hc_collapse_grad(
      {streams.data(), pre.data(), du.data(), 2, 3, 70, dstreams.data(), dpre.data()});
  CheckSlopes(
      objective,
      {{"streams", &streams, &dstreams}, {"pre", &pre, &dpre}, {"weight", &weight, &dweight}});
}

TEST_CASE("OpGradientExpand") {
  Draws draws(5);
  Values streams = draws.Normal(2 * 3 * 70);
  Values y = draws.Normal(2 * 70);
  Values post = draws.Normal(2 * 3);
  Values comb = draws.Normal(2 * 9);
  const Values seen = draws.Normal(2 * 3 * 70);
  Values out = Zeros(2 * 3 * 70);
  HcExpandParams<double> forward = {streams.data(), y.data(), post.data(), comb.data(), 2, 3, 70,
                                    out.data()};
  const auto objective = [&] {
    Ops().hc_expand(forward);
    return Dot(out, seen);
  };
  Values dstreams = seen;
  Values dy = Zeros(140);
  Values dpost = Zeros(6);
  Values dcomb = Zeros(18);
  Ops().hc_expand_grad({forward, dstreams.data(), dy.data(), dpost.data(), dcomb.data()});
  CheckSlopes(objective, {{"streams", &streams, &dstreams},
                          {"y", &y, &dy},
                          {"post", &post, &dpost},
                          {"comb", &comb, &dcomb}});
}

/// Two queries of two heads, three window columns, four entries of which some are hidden.
void CheckAttention(bool masked) {
  Draws draws(6);
  Values scores = draws.Normal(4 * 8);
  Values sink = draws.Normal(2);
  const Values seen = draws.Normal(4 * 8);
  const std::vector<int64_t> begin = {0, 1};
  const std::vector<int64_t> end = {2, 3};
  const std::vector<int64_t> visible = {3, 4};
  const std::vector<uint8_t> mask = {1, 0, 1, 0, 0, 1, 1, 0};
  Values lse = Zeros(4);
  Values probability;
  AttentionSoftmaxParams<double> p = {.stride = 8,
                                      .queries = 2,
                                      .heads = 2,
                                      .entries_at = 3,
                                      .columns = 7,
                                      .window_begin = begin.data(),
                                      .window_end = end.data(),
                                      .visible = visible.data(),
                                      .mask = masked ? mask.data() : nullptr,
                                      .mask_stride = 4,
                                      .sink = sink.data(),
                                      .lse = lse.data()};
  const auto objective = [&] {
    probability = scores;
    p.scores = probability.data();
    Ops().attention_softmax(p);
    double sum = 0;
    for (int64_t row = 0; row < 4; ++row) {
      for (int64_t i = 0; i < 7; ++i) {
        sum +=
            probability[static_cast<size_t>(row * 8 + i)] * seen[static_cast<size_t>(row * 8 + i)];
      }
    }
    return sum;
  };
  objective();
  const Values first = probability;
  Values again = scores;
  p.scores = again.data();
  Ops().attention_probabilities(p);
  Values dscores = seen;
  Values delta = Zeros(4);
  for (size_t row = 0; row < 4; ++row) {
    for (size_t i = 0; i < 7; ++i) {
      CHECK(again[row * 8 + i] == Approx(first[row * 8 + i]).margin(1e-12));
      delta[row] += first[row * 8 + i] * seen[row * 8 + i];
    }
  }
  Values dsink = Zeros(2);
  Ops().attention_softmax_grad({p, dscores.data(), delta.data(), dsink.data()});
  for (size_t row = 0; row < 4; ++row) dscores[row * 8 + 7] = 0;  // beyond the columns
  CheckSlopes(objective, {{"scores", &scores, &dscores}, {"sink", &sink, &dsink}});
}

TEST_CASE("OpGradientAttentionOverAllVisibleEntries") { CheckAttention(/*masked=*/false); }
TEST_CASE("OpGradientAttentionReachesSelectedEntriesOnly") { CheckAttention(/*masked=*/true); }

void CheckPool(bool overlap) {
  const int64_t ratio = 3;
  const int64_t dim = 67;  // a full group of lanes and a short one
  const int64_t width = overlap ? 2 * dim : dim;
  Draws draws(7);
  Values value = draws.Normal(7 * width);  // two entries and an unfinished window
  Values gate = draws.Normal(7 * width);
  Values ape = draws.Normal(ratio * width);
  const Values seen = draws.Normal(2 * dim);
  Values out = Zeros(2 * dim);
  const PoolParams<double> forward = {value.data(), gate.data(), ape.data(), out.data(), 2,
                                      ratio,        dim,         overlap};
  const auto objective = [&] {
    Ops().pool(forward);
    return Dot(out, seen);
  };
  objective();
  Values dvalue = Zeros(7 * width);
  Values dgate = Zeros(7 * width);
  Values dape = Zeros(ratio * width);
  Ops().pool_grad({forward, seen.data(), dvalue.data(), dgate.data(), dape.data()});
  CheckSlopes(objective,
              {{"value", &value, &dvalue}, {"gate", &gate, &dgate}, {"ape", &ape, &dape}});
}

TEST_CASE("OpGradientPoolDisjoint") { CheckPool(/*overlap=*/false); }
TEST_CASE("OpGradientPoolOverlapping") { CheckPool(/*overlap=*/true); }

TEST_CASE("OpGradientIndexScoresAndKl") {
  Draws draws(8);
  const int64_t stride = 6;
  Values dots = draws.Normal(2 * 3 * stride);
  Values weight = draws.Normal(2 * 3);
  const std::vector<int64_t> visible = {4, 5};
  const std::vector<uint8_t> mask = {1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0};
  Values probability = draws.Normal(2 * 2 * 8);
  for (double& p : probability) p = std::abs(p);
  IndexKlParams<double> kl;
  kl.score_stride = stride;
  kl.scale = 1;
  kl.attention = {.scores = probability.data(),
                  .stride = 8,
                  .queries = 2,
                  .heads = 2,
                  .entries_at = 2,
                  .columns = 7,
                  .visible = visible.data(),
                  .mask = mask.data(),
                  .mask_stride = 6};
  Values score = Zeros(2 * stride);
  const IndexScoreParams<double> forward = {dots.data(), weight.data(), visible.data(), 2,
                                            3,           stride,        score.data()};
  const auto objective = [&] {
    Ops().index_score(forward);
    kl.score = score.data();
    Ops().index_kl(kl);
    return kl.kl;
  };
  CHECK(objective() > 0);
  Values ddots = dots;
  Values dweight = Zeros(6);
  Ops().index_score_grad({forward, ddots.data(), score.data(), dweight.data()});
  CheckSlopes(objective, {{"dots", &dots, &ddots}, {"weight", &weight, &dweight}});
}

void CheckSwiGlu(bool weighted) {
  Draws draws(9);
  Values gate = draws.Normal(3 * 11, 0, 2);
  Values up = draws.Normal(3 * 11, 0, 2);
  Values weight = draws.Normal(3);
  const Values seen = draws.Normal(3 * 11);
  Values product = Zeros(33);
  const SwiGluParams<double> forward = {
      gate.data(), up.data(), weighted ? weight.data() : nullptr, product.data(), 3, 11, 1.5};
  const auto objective = [&] {
    Ops().swiglu(forward);
    return Dot(product, seen);
  };
  Values dgate = seen;
  Values dup = Zeros(33);
  Values dweight = Zeros(3);
  Ops().swiglu_grad(
      {forward, dgate.data(), dgate.data(), dup.data(), weighted ? dweight.data() : nullptr});
  std::vector<Input> inputs = {{"gate", &gate, &dgate}, {"up", &up, &dup}};
  if (weighted) inputs.push_back({"weight", &weight, &dweight});
  CheckSlopes(objective, inputs);
  size_t clamped = 0;
  for (const double u : up) clamped += std::abs(u) > 1.5 ? 1 : 0;
  CHECK(clamped > 3);
}

TEST_CASE("OpGradientSwiGluOfRoutedExperts") { CheckSwiGlu(/*weighted=*/true); }
TEST_CASE("OpGradientSwiGluOfTheSharedExpert") { CheckSwiGlu(/*weighted=*/false); }

void CheckRoute(bool chosen) {
  Draws draws(10);
  Values logits = draws.Normal(3 * 5, 0, 2);
  logits[4] = 21;  // softplus is the identity there
  const Values bias = draws.Normal(5, 0, 0.3);
  const Values seen = draws.Normal(3 * 2);
  const Values see_scores = draws.Normal(3 * 5);
  std::vector<int32_t> ids = {0, 4, 1, 2, 2, 3};
  Values scores = Zeros(15);
  Values weights = Zeros(6);
  const RouteParams<double> forward = {.logits = logits.data(),
                                       .bias = chosen ? bias.data() : nullptr,
                                       .tokens = 3,
                                       .experts = 5,
                                       .topk = 2,
                                       .route_scale = 1.5,
                                       .scores = scores.data(),
                                       .ids = ids.data(),
                                       .weights = weights.data()};
  const auto objective = [&] {
    Ops().route(forward);
    return Dot(weights, seen) + Dot(scores, see_scores);
  };
  objective();
  for (size_t t = 0; t < 3; ++t) {
    CHECK(weights[2 * t] + weights[2 * t + 1] == Approx(1.5));
    CHECK(ids[2 * t] < ids[2 * t + 1]);
  }
  Values dlogits = Zeros(15);
  Ops().route_grad({forward, seen.data(), see_scores.data(), dlogits.data()});
  CheckSlopes(objective, {{"logits", &logits, &dlogits}});
}

TEST_CASE("OpGradientRouteByScore") { CheckRoute(/*chosen=*/true); }
TEST_CASE("OpGradientRouteByHash") { CheckRoute(/*chosen=*/false); }

TEST_CASE("OpGradientCrossEntropy") {
  Draws draws(11);
  Values logits = draws.Normal(3 * 9, 0, 3);
  const Values weight = {0.5, 1, 0.1};
  const std::vector<int32_t> target = {0, 8, 3};
  Values loss = Zeros(3);
  std::vector<int32_t> argmax(3);
  CrossEntropyParams<double> p = {logits.data(), target.data(), nullptr, 3, 9,
                                  loss.data(),   argmax.data()};
  const auto objective = [&] {
    Ops().cross_entropy(p);
    return Dot(loss, weight);
  };
  const double first = objective();
  Values dlogits = logits;
  CrossEntropyParams<double> grad = p;
  grad.logits = dlogits.data();
  grad.weight = weight.data();
  Ops().cross_entropy(grad);
  CHECK(Dot(loss, weight) == Approx(first));
  CheckSlopes(objective, {{"logits", &logits, &dlogits}});
  for (size_t row = 0; row < 3; ++row) {
    for (size_t i = 0; i < 9; ++i) {
      CHECK(logits[row * 9 + i] <= logits[row * 9 + static_cast<size_t>(argmax[row])]);
    }
  }
}

template <class T>
void CheckGemm(const OpTable<T>& ops, double tolerance) {
  INFO(ops.name);
  std::mt19937_64 random(12);
  std::normal_distribution<double> normal;
  std::vector<T> pack(static_cast<size_t>(kGemmPackElements));
  const int64_t sizes[][3] = {{1, 1, 1}, {5, 33, 7}, {13, 31, 300}, {200, 70, 9}, {37, 1100, 65}};
  for (const auto& [m, n, k] : sizes) {
    for (int layout = 0; layout < 8; ++layout) {
      const bool a_turned = (layout & 1) != 0;
      const bool b_turned = (layout & 2) != 0;
      const bool accumulate = (layout & 4) != 0;
      INFO("m " << m << " n " << n << " k " << k << " layout " << layout);
      std::vector<T> a(static_cast<size_t>(m * k));
      std::vector<T> b(static_cast<size_t>(k * n));
      std::vector<T> c(static_cast<size_t>(m * n));
      for (auto* matrix : {&a, &b, &c}) {
        for (T& x : *matrix) x = static_cast<T>(normal(random));
      }
      const std::vector<T> before = c;
      ops.gemm({.m = m,
                .n = n,
                .k = k,
                .a = a.data(),
                .a_row = a_turned ? 1 : k,
                .a_col = a_turned ? m : 1,
                .b = b.data(),
                .b_row = b_turned ? 1 : n,
                .b_col = b_turned ? k : 1,
                .c = c.data(),
                .c_row = n,
                .alpha = static_cast<T>(0.5),
                .accumulate = accumulate,
                .pack = pack.data()});
      double worst = 0;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t x = 0; x < k; ++x) {
            sum += static_cast<double>(a[static_cast<size_t>(a_turned ? x * m + i : i * k + x)]) *
                   static_cast<double>(b[static_cast<size_t>(b_turned ? j * k + x : x * n + j)]);
          }
          const auto at = static_cast<size_t>(i * n + j);
          const double expected = 0.5 * sum + (accumulate ? static_cast<double>(before[at]) : 0);
          worst = std::max(worst, std::abs(static_cast<double>(c[at]) - expected));
        }
      }
      CHECK(worst <= tolerance * std::sqrt(static_cast<double>(k)));
    }
  }
}

TEST_CASE("MatrixProductsOfEveryTableAreRight") {
  CheckGemm(*DoubleOps(), 1e-14);
  for (const OpTable<float>* ops : {PortableOps(), Avx2Ops(), Avx512Ops()}) {
    if (ops != nullptr) CheckGemm(*ops, 1e-5);
  }
  // Each product of two bf16 operands is off by at most 2^-8; normal draws, errors independent.
  if (Avx512Bf16Ops() != nullptr) CheckGemm(*Avx512Bf16Ops(), 0.02);
}

}  // namespace
}  // namespace baleen::training
