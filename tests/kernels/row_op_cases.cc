// Norms, rope, mHC, pooling, SwiGLU and routing.
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/op_cases.h"

namespace baleen::kernels::testing {
namespace {

using Floats = std::vector<float>;

// Owners: copies of the closure that runs a case.
std::shared_ptr<const Floats> Share(Floats values) {
  return std::make_shared<const Floats>(std::move(values));
}

OpCase NormCase(int64_t rows, int64_t dim, bool weighted) {
  Random random(static_cast<uint64_t>(dim));
  const auto x = Share(random.Floats(rows * dim, -3, 3));
  const auto w = Share(random.Floats(dim, 0.5f, 2));
  return {.name = "RmsNorm " + std::to_string(dim),
          .tokens = rows,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(static_cast<size_t>((end - begin) * dim));
                backend.RmsNorm({.x = x->data() + begin * dim,
                                 .weight = weighted ? w->data() : nullptr,
                                 .out = out.data(),
                                 .rows = end - begin,
                                 .dim = dim,
                                 .eps = 1e-6f});
                return out;
              },
          // Half the relative error of the sum of squares, and one rounding each of mean, eps,
          // root, quotient, two products and the oracle's output.
          .bound = Relative((static_cast<double>(dim) / 16 + 5 + 16) / 2 * kUnit)};
}

OpCase RopeCase(int64_t tokens, int64_t heads, int64_t dim, int64_t pairs,
                RopeDirection direction) {
  Random random(static_cast<uint64_t>(dim + heads));
  const auto x = Share(random.Floats(tokens * heads * dim, -2, 2));
  auto positions = std::make_shared<std::vector<int64_t>>();
  for (int64_t t = 0; t < tokens; ++t) positions->push_back(t * t * 317 + t);
  Floats frequencies;
  for (int64_t i = 0; i < pairs; ++i) {
    frequencies.push_back(static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / pairs)));
  }
  const auto inv_freq = Share(frequencies);
  return {.name = "Rope h" + std::to_string(heads) + " d" + std::to_string(dim),
          .tokens = tokens,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(x->begin() + begin * heads * dim, x->begin() + end * heads * dim);
                backend.Rope({.x = out.data(),
                              .tokens = end - begin,
                              .heads = heads,
                              .dim = dim,
                              .positions = positions->data() + begin,
                              .inv_freq = inv_freq->data(),
                              .pairs = pairs,
                              .direction = direction});
                return out;
              },
          // Per term one rounding of the sine and one of the product, one of the sum, one of the
          // oracle; |terms| <= 2 each.
          .bound = Absolute(2 * 2 * 4 * kUnit)};
}

OpCase GatesCase(int64_t tokens, int64_t mult, int64_t dim, bool head_mix) {
  Random random(static_cast<uint64_t>(dim * mult));
  const int64_t width = mult * dim;
  const int64_t rows = head_mix ? mult : (2 + mult) * mult;
  const auto streams = Share(random.Floats(tokens * width, -2, 2));
  const auto fn = Share(random.Floats(rows * width, -0.1f, 0.1f));
  const auto base = Share(random.Floats(rows));
  const auto scale = Share({0.7f, 1.1f, 0.9f});
  const int iterations = 20;
  // Logits: width products each, |z| <= 2, |fn| <= 0.1; their RMS factor is at most 1/0.5 here.
  const double logit =
      static_cast<double>(width + 30) * kUnit * static_cast<double>(width) * 0.2 * 2 * 1.1 / 4;
  // Sigmoid shrinks by 4 at least; Sinkhorn does not expand ratios (Hilbert metric), and each of
  // its 2 * iterations passes adds mult + 3 roundings to entries of at most 1.
  const double bound = 4 * logit + 2.0 * iterations * static_cast<double>(mult + 3) * kUnit;
  return {.name = "HcGates x" + std::to_string(mult) + " d" + std::to_string(dim),
          .tokens = tokens,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                const auto packed = backend.Pack(Fp32Source(*fn, rows, width));
                const int64_t n = end - begin;
                Floats pre(static_cast<size_t>(n * mult));
                Floats post(static_cast<size_t>(n * mult));
                Floats comb(static_cast<size_t>(n * mult * mult));
                backend.HcGates({.streams = streams->data() + begin * width,
                                 .fn = packed.get(),
                                 .base = base->data(),
                                 .scale = scale->data(),
                                 .tokens = n,
                                 .mult = mult,
                                 .dim = dim,
                                 .sinkhorn_iterations = iterations,
                                 .hc_eps = 1e-6f,
                                 .norm_eps = 1e-6f,
                                 .pre = pre.data(),
                                 .post = head_mix ? nullptr : post.data(),
                                 .comb = head_mix ? nullptr : comb.data()});
                Floats out;
                for (int64_t t = 0; t < n; ++t) {
                  out.insert(out.end(), pre.begin() + t * mult, pre.begin() + (t + 1) * mult);
                  out.insert(out.end(), post.begin() + t * mult, post.begin() + (t + 1) * mult);
                  out.insert(out.end(), comb.begin() + t * mult * mult,
                             comb.begin() + (t + 1) * mult * mult);
                }
                return out;
              },
          .bound = Absolute(bound)};
}

OpCase CollapseCase(int64_t tokens, int64_t mult, int64_t dim) {
  Random random(static_cast<uint64_t>(dim));
  const auto streams = Share(random.Floats(tokens * mult * dim));
  const auto pre = Share(random.Floats(tokens * mult));
  return {.name = "HcCollapse d" + std::to_string(dim),
          .tokens = tokens,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(static_cast<size_t>((end - begin) * dim));
                backend.HcCollapse({.streams = streams->data() + begin * mult * dim,
                                    .pre = pre->data() + begin * mult,
                                    .out = out.data(),
                                    .tokens = end - begin,
                                    .mult = mult,
                                    .dim = dim});
                return out;
              },
          .bound = Absolute(static_cast<double>(mult * (mult + 1)) * kUnit)};
}

OpCase ExpandCase(int64_t tokens, int64_t mult, int64_t dim) {
  Random random(static_cast<uint64_t>(dim + 1));
  const auto streams = Share(random.Floats(tokens * mult * dim));
  const auto y = Share(random.Floats(tokens * dim));
  const auto post = Share(random.Floats(tokens * mult));
  const auto comb = Share(random.Floats(tokens * mult * mult));
  return {.name = "HcExpand d" + std::to_string(dim),
          .tokens = tokens,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(streams->begin() + begin * mult * dim,
                           streams->begin() + end * mult * dim);
                backend.HcExpand({.streams = out.data(),
                                  .y = y->data() + begin * dim,
                                  .post = post->data() + begin * mult,
                                  .comb = comb->data() + begin * mult * mult,
                                  .tokens = end - begin,
                                  .mult = mult,
                                  .dim = dim});
                return out;
              },
          .bound = Absolute(static_cast<double>((mult + 1) * (mult + 2)) * kUnit)};
}

OpCase PoolCase(int64_t entries, int64_t slots, int64_t dim) {
  Random random(static_cast<uint64_t>(slots * dim));
  const auto value = Share(random.Floats(entries * slots * dim));
  Floats gates = random.Floats(entries * slots * dim, -6, 6);
  for (int64_t s = 0; s < slots / 2; ++s) {  // the absent half window of the first entry
    for (int64_t c = 0; c < dim; ++c) gates[s * dim + c] = -INFINITY;
  }
  const auto gate = Share(gates);
  // Per weight: the difference of gates (<= 12) rounds once, exp errs by an ulp (2 u); both sums
  // add `slots` roundings; |value| <= 1.
  const double bound = 2 * (12 + 4 + static_cast<double>(slots)) * kUnit;
  return {.name = "GatedPool s" + std::to_string(slots) + " d" + std::to_string(dim),
          .tokens = entries,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(static_cast<size_t>((end - begin) * dim));
                backend.GatedPool({.value = value->data() + begin * slots * dim,
                                   .gate = gate->data() + begin * slots * dim,
                                   .out = out.data(),
                                   .entries = end - begin,
                                   .slots = slots,
                                   .dim = dim});
                return out;
              },
          .bound = Absolute(bound)};
}

OpCase SwiGluCase(int64_t rows, int64_t dim, bool weighted, float limit) {
  Random random(static_cast<uint64_t>(dim));
  const auto gate = Share(random.Floats(rows * dim, -30, 30));
  const auto up = Share(random.Floats(rows * dim, -30, 30));
  const auto weight = Share(random.Floats(rows, 0, 2));
  return {.name = "SwiGlu d" + std::to_string(dim) + " limit " + std::to_string(limit),
          .tokens = rows,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                Floats out(static_cast<size_t>((end - begin) * dim));
                backend.SwiGlu({.gate = gate->data() + begin * dim,
                                .up = up->data() + begin * dim,
                                .weight = weighted ? weight->data() + begin : nullptr,
                                .out = out.data(),
                                .rows = end - begin,
                                .dim = dim,
                                .limit = limit});
                return out;
              },
          // silu errs by 3 ulp (6 u), two products, the oracle's rounding.
          .bound = Relative(10 * kUnit)};
}

OpCase RouteCase(int64_t tokens, int64_t experts, int64_t topk, bool forced) {
  Random random(static_cast<uint64_t>(experts));
  const auto logits = Share(random.Floats(tokens * experts, -8, 25));
  const auto bias = Share(random.Floats(experts, -0.5f, 0.5f));
  auto table = std::make_shared<std::vector<int32_t>>();
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < topk; ++i) {
      table->push_back(static_cast<int32_t>((t * 3 + experts - 1 - i) % experts));
    }
  }
  return {.name = "Route e" + std::to_string(experts) + (forced ? " forced" : ""),
          .tokens = tokens,
          .run =
              [=](Backend& backend, int64_t begin, int64_t end) {
                std::vector<int32_t> ids(static_cast<size_t>((end - begin) * topk));
                Floats weights(ids.size());
                backend.Route({.logits = logits->data() + begin * experts,
                               .bias = forced ? nullptr : bias->data(),
                               .forced = forced ? table->data() + begin * topk : nullptr,
                               .tokens = end - begin,
                               .experts = experts,
                               .topk = topk,
                               .route_scale = 2.5f,
                               .ids = ids.data(),
                               .weights = weights.data()});
                Floats out;
                for (int64_t t = 0; t < end - begin; ++t) {
                  for (int64_t i = 0; i < topk; ++i) {
                    out.push_back(static_cast<float>(ids[t * topk + i]));
                    out.push_back(weights[t * topk + i]);
                  }
                }
                return out;
              },
          // Scores err by 2.5 ulp (5 u) above and below the quotient, topk additions, three more
          // roundings. A wrong id is off by at least 1, far beyond.
          .bound = Relative(static_cast<double>(13 + topk) * kUnit)};
}

}  // namespace

std::vector<OpCase> RowOpCases() {
  std::vector<OpCase> cases;
  for (int64_t dim : {1, 2, 61, 127, 128, 576}) cases.push_back(NormCase(3, dim, dim != 127));
  cases.push_back(RopeCase(5, 3, 69, 32, RopeDirection::kForward));
  cases.push_back(RopeCase(61, 1, 64, 32, RopeDirection::kInverse));
  cases.push_back(RopeCase(2, 2, 9, 3, RopeDirection::kForward));
  cases.push_back(GatesCase(5, 4, 61, false));
  cases.push_back(GatesCase(3, 4, 129, true));
  cases.push_back(GatesCase(2, 2, 127, false));
  for (int64_t dim : {1, 61, 129}) {
    cases.push_back(CollapseCase(3, 4, dim));
    cases.push_back(ExpandCase(3, 4, dim));
    cases.push_back(PoolCase(3, dim == 61 ? 128 : 8, dim));
    cases.push_back(SwiGluCase(3, dim, dim != 1, dim == 129 ? 0.0f : 10.0f));
  }
  cases.push_back(RouteCase(61, 8, 2, false));
  cases.push_back(RouteCase(3, 69, 6, false));
  cases.push_back(RouteCase(3, 69, 6, true));
  return cases;
}

}  // namespace baleen::kernels::testing
