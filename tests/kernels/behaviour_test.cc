// What single ops promise beyond closeness: golden values, clamps, empty selections, ties, pool.
#include <atomic>

#include "kernels/cpu/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/stored_rows.h"

namespace baleen::kernels::testing {
namespace {

using Floats = std::vector<float>;

// Every backend, by name and by instruction set.
std::vector<std::unique_ptr<Backend>> AllBackends() {
  auto backends = CpuBackends(2);
  for (std::string_view name : BackendNames()) backends.push_back(MakeBackend(name, 1));
  return backends;
}

// Gates whose combination logits are `logits`: the projection is zero, the bias carries them.
Floats CombOf(Backend& backend, const Floats& logits, int iterations) {
  const Floats fn(24 * 4, 0.0f);
  Floats base(8, 0.0f);
  base.insert(base.end(), logits.begin(), logits.end());
  const Floats scale = {1, 1, 1};
  const Floats streams = {1, 2, 3, 4};
  const auto packed = backend.Pack(Fp32Source(fn, 24, 4));
  Floats pre(4);
  Floats post(4);
  Floats comb(16);
  backend.HcGates({.streams = streams.data(),
                   .fn = packed.get(),
                   .base = base.data(),
                   .scale = scale.data(),
                   .tokens = 1,
                   .mult = 4,
                   .dim = 1,
                   .sinkhorn_iterations = iterations,
                   .hc_eps = 1e-6f,
                   .norm_eps = 1e-6f,
                   .pre = pre.data(),
                   .post = post.data(),
                   .comb = comb.data()});
  CHECK(pre[0] == Approx(0.500001).epsilon(1e-6));  // sigmoid(0) + eps
  CHECK(post[0] == Approx(1.0).epsilon(1e-6));      // 2 sigmoid(0), no eps
  return comb;
}

const Floats kLogits = {1,     .5f, -.5f, 0,    .25f, 2,     -1,   .5f,
                        -.75f, 0,   1.5f, .25f, 0,    -.25f, .75f, 1.25f};
const Floats kComb20 = {.5549760f, .1988743f, .0883461f, .1578025f, .1786757f, .6074756f,
                        .0365223f, .1773254f, .0899241f, .1124720f, .6086738f, .1889291f,
                        .1764232f, .0811772f, .2664567f, .4759420f};
const Floats kComb1 = {.5865418f, .2279452f, .0974675f, .1723000f, .1548272f, .5708707f,
                       .0330360f, .1587447f, .0841196f, .1141018f, .5943651f, .1825857f,
                       .1745100f, .0870815f, .2751306f, .4863684f};

TEST_CASE("SinkhornGoldenValues") {
  const std::vector<double> bound(16, 3e-7);  // the goldens have seven digits and fp32 noise
  for (const auto& backend : AllBackends()) {
    INFO(NameOf(*backend));
    CHECK(Difference(CombOf(*backend, kLogits, 20), kComb20, bound) == "");
    CHECK(Difference(CombOf(*backend, kLogits, 1), kComb1, bound) == "");
  }
}

TEST_CASE("ExpandAppliesTheCombinationTransposed") {
  const Floats post = {.5f, 1, 1.5f, .25f};
  const Floats y = {2};
  const Floats expected = {1.555608f, 1.361928f, 4.974551f, 1.107910f};
  for (const auto& backend : AllBackends()) {
    Floats streams = {1, -2, 3, .5f};
    backend->HcExpand({.streams = streams.data(),
                       .y = y.data(),
                       .post = post.data(),
                       .comb = kComb20.data(),
                       .tokens = 1,
                       .mult = 4,
                       .dim = 1});
    INFO(NameOf(*backend));
    CHECK(Difference(streams, expected, std::vector<double>(4, 2e-6)) == "");
  }
}

TEST_CASE("SwiGluClampsTheGateFromAboveOnly") {
  const Floats gate = {-50, 50, 1, 1};
  const Floats up = {1, 1, 50, -50};
  for (const auto& backend : AllBackends()) {
    Floats out(4);
    SwiGluParams p = {.gate = gate.data(),
                      .up = up.data(),
                      .weight = nullptr,
                      .out = out.data(),
                      .rows = 1,
                      .dim = 4,
                      .limit = 10};
    backend->SwiGlu(p);
    const double silu1 = 1 / (1 + std::exp(-1.0));
    INFO(NameOf(*backend));
    CHECK(out[0] == Approx(-50 * std::exp(-50.0)));  // not silu(-10) = -4.5e-4
    CHECK(out[1] == Approx(10 / (1 + std::exp(-10.0))));
    CHECK(out[2] == Approx(10 * silu1));
    CHECK(out[3] == Approx(-10 * silu1));
    p.limit = 0;
    backend->SwiGlu(p);
    CHECK(out[1] == Approx(50));
    CHECK(out[2] == Approx(50 * silu1));
  }
}

TEST_CASE("InverseRopeUndoesRopeAndKeepsTheFirstChannels") {
  Random random(9);
  const Floats x = random.Floats(2 * 12);
  const Floats inv_freq = {1, 0.1f, 0.01f};
  const int64_t positions[] = {5, 100003};
  for (const auto& backend : AllBackends()) {
    Floats y = x;
    RopeParams p = {.x = y.data(),
                    .tokens = 2,
                    .heads = 1,
                    .dim = 12,
                    .positions = positions,
                    .inv_freq = inv_freq.data(),
                    .pairs = 3,
                    .direction = RopeDirection::kForward};
    backend->Rope(p);
    INFO(NameOf(*backend));
    CHECK(y[5] == x[5]);
    CHECK(y[6] == Approx(x[6] * std::cos(5.0) - x[7] * std::sin(5.0)).margin(1e-6));
    CHECK(y[7] == Approx(x[6] * std::sin(5.0) + x[7] * std::cos(5.0)).margin(1e-6));
    CHECK(std::fabs(y[19] - x[19]) > 1e-3);
    p.direction = RopeDirection::kInverse;
    backend->Rope(p);
    // Two rotations of four roundings each on values of at most sqrt(2).
    CHECK(Difference(y, x, std::vector<double>(x.size(), 2 * 4 * 1.5 * kUnit)) == "");
  }
}

struct Attention {
  Floats q = {1, 2};
  Floats window;
  int64_t begin = 0;
  int64_t end = 0;
  Floats sink = {0.5f};
  std::vector<int32_t> selected;
  int64_t visible = 0;
  std::shared_ptr<StoredRows> entries;  // Owners: this and nobody else after it is made.

  Floats Run(Backend& backend, bool with_sink) {
    Floats out(2, 7.0f);
    SparseAttentionParams p;
    p.q = q.data();
    p.window = window.data();
    p.window_begin = &begin;
    p.window_end = &end;
    if (entries != nullptr) p.entries = entries->paged;
    p.selected = selected.empty() ? nullptr : selected.data();
    p.topk = static_cast<int64_t>(selected.size());
    p.visible = &visible;
    p.sink = with_sink ? sink.data() : nullptr;
    p.scale = 0.5f;
    p.out = out.data();
    p.tokens = 1;
    p.heads = 1;
    p.dim = 2;
    backend.SparseAttention(p);
    return out;
  }
};

TEST_CASE("AttentionWithoutKeysGivesZero") {
  for (const auto& backend : AllBackends()) {
    Attention a;
    CHECK(a.Run(*backend, true) == Floats{0, 0});
    CHECK(a.Run(*backend, false) == Floats{0, 0});
    a.entries = StoreAsEntries({1, 1, 2, 2}, 2, 0, RowFormat::kFloat, 2);
    CHECK(a.Run(*backend, true) == Floats{0, 0});  // visible == 0
    a.selected = {-1, -1};
    CHECK(a.Run(*backend, true) == Floats{0, 0});
  }
}

TEST_CASE("BlocksThatNoTokenSelectedMayBeAbsent") {
  constexpr int64_t kTokens = 4;
  constexpr int64_t kDim = 64;
  for (const RowFormat format : {RowFormat::kPacked, RowFormat::kFloat}) {
    Floats x(6 * kDim);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3.0f;
    const Floats q(kTokens * kDim, 0.25f);
    // More uses than rows, so that it pays to decode rows once for all tokens.
    const std::vector<int32_t> selected = {0, 5, 0, 5, 1, 4, 1, 5};
    const std::vector<int64_t> window(kTokens, 0);
    const std::vector<int64_t> visible(kTokens, 6);
    for (const auto& backend : AllBackends()) {
      const auto entries = StoreAsEntries(x, kDim, 0, format, 2);
      const auto attend = [&] {
        Floats out(q.size(), 7.0f);
        SparseAttentionParams p;
        p.q = q.data();
        p.window = q.data();
        p.window_begin = p.window_end = window.data();
        p.entries = entries->paged;
        p.selected = selected.data();
        p.topk = 2;
        p.visible = visible.data();
        p.scale = 0.125f;
        p.out = out.data();
        p.tokens = kTokens;
        p.heads = 1;
        p.dim = kDim;
        backend->SparseAttention(p);
        return out;
      };
      const Floats whole = attend();
      entries->tables[1] = {};  // Rows 2 and 3.
      CHECK(attend() == whole);
    }
  }
}

TEST_CASE("TheSinkTakesWeightAndGivesNoValue") {
  for (const auto& backend : AllBackends()) {
    Attention a;
    a.window = {9, 9, 3, -1};
    a.begin = 1;
    a.end = 2;
    const double score = (1 * 3 + 2 * -1) * 0.5;
    const double weight = std::exp(score) / (std::exp(score) + std::exp(0.5));
    const Floats out = a.Run(*backend, true);
    CHECK(out[0] == Approx(3 * weight));
    CHECK(out[1] == Approx(-weight));
    CHECK(a.Run(*backend, false) == Floats{3, -1});
    a.sink = {1000};  // far above every score: everything goes to the sink, nothing becomes NaN
    CHECK(a.Run(*backend, true) == Floats{0, 0});
  }
}

TEST_CASE("EmptySelectionLeavesTheWindow") {
  for (const auto& backend : AllBackends()) {
    Attention a;
    a.window = {3, -1, 2, 5};
    a.end = 2;
    const Floats window_only = a.Run(*backend, true);
    a.entries = StoreAsEntries({1, 1, 2, 2, 4, 4}, 2, 0, RowFormat::kFloat, 2);
    a.selected = {-1, -1, -1};
    CHECK(BitDifference(a.Run(*backend, true), window_only) == "");
    a.selected = {2, -1, -1};
    CHECK(BitDifference(a.Run(*backend, true), window_only) != "");
  }
}

TEST_CASE("SelectingEverythingEqualsAllEntries") {
  for (const auto& backend : AllBackends()) {
    Attention a;
    a.window = {3, -1};
    a.end = 1;
    a.entries = StoreAsEntries({1, 1, 2, 2, 4, 4}, 2, 0, RowFormat::kFloat, 2);
    a.visible = 3;
    const Floats all = a.Run(*backend, true);
    a.selected = {0, 1, 2, -1};
    CHECK(BitDifference(a.Run(*backend, true), all) == "");
  }
}

std::vector<int32_t> TopK(Backend& backend, const Floats& keys, const Floats& q,
                          const Floats& weights, int64_t visible, int64_t topk) {
  const auto heads = static_cast<int64_t>(weights.size());
  const int64_t dim = static_cast<int64_t>(q.size()) / heads;
  const auto stored = StoreAsIndexKeys(keys, dim, RowFormat::kFloat, 4);
  std::vector<int32_t> selected(static_cast<size_t>(topk));
  backend.IndexTopK({.q = q.data(),
                     .weights = weights.data(),
                     .keys = stored->paged,
                     .visible = &visible,
                     .tokens = 1,
                     .heads = heads,
                     .topk = topk,
                     .selected = selected.data()});
  return selected;
}

TEST_CASE("TopKTiesGoToTheLowerRowAndOutputAscends") {
  const Floats keys = {1, 3, 2, 3, 2, 2, 5, 0, -1};
  using Rows = std::vector<int32_t>;
  for (const auto& backend : AllBackends()) {
    INFO(NameOf(*backend));
    CHECK(TopK(*backend, keys, {1}, {1}, 9, 4) == Rows{1, 2, 3, 6});
    CHECK(TopK(*backend, keys, {1}, {1}, 6, 3) == Rows{1, 2, 3});
    CHECK(TopK(*backend, keys, {1}, {1}, 3, 5) == Rows{0, 1, 2, -1, -1});
    CHECK(TopK(*backend, keys, {1}, {1}, 0, 2) == Rows{-1, -1});
    CHECK(TopK(*backend, keys, {1}, {-1}, 9, 3) == Rows{0, 7, 8});  // relu, then a negative weight
  }
}

TEST_CASE("TopKPutsNanLast") {
  const Floats keys = {NAN, 1, NAN, -5, 2, NAN};
  for (const auto& backend : AllBackends()) {
    INFO(NameOf(*backend));
    CHECK(TopK(*backend, keys, {1}, {1}, 6, 3) == std::vector<int32_t>{1, 3, 4});
    CHECK(TopK(*backend, keys, {1}, {1}, 6, 4) == std::vector<int32_t>{0, 1, 3, 4});
  }
}

TEST_CASE("TopKOfManyEqualScoresTakesTheFirstRows") {
  const Floats keys(9000, 1.0f);
  for (const auto& backend : AllBackends()) {
    const std::vector<int32_t> selected = TopK(*backend, keys, {1}, {1}, 9000, 100);
    CHECK(selected.front() == 0);
    CHECK(selected.back() == 99);
  }
}

TEST_CASE("RoutingBiasChoosesButNeverWeighs") {
  const Floats logits = {1, 5, 0, 1};
  const Floats bias = {0, -100, 50, 0};
  const double s0 = std::sqrt(std::log1p(std::exp(1.0)));
  const double s2 = std::sqrt(std::log(2.0));
  for (const auto& backend : AllBackends()) {
    int32_t ids[2];
    float weights[2];
    backend->Route({.logits = logits.data(),
                    .bias = bias.data(),
                    .forced = nullptr,
                    .tokens = 1,
                    .experts = 4,
                    .topk = 2,
                    .route_scale = 1.5f,
                    .ids = ids,
                    .weights = weights});
    INFO(NameOf(*backend));
    CHECK(ids[0] == 0);  // ties with expert 3: the lower id
    CHECK(ids[1] == 2);
    CHECK(weights[0] == Approx(1.5 * s0 / (s0 + s2)));
    CHECK(weights[1] == Approx(1.5 * s2 / (s0 + s2)));
  }
}

TEST_CASE("ForcedRoutingIgnoresTheLogitsAndSortsTheIds") {
  const Floats logits = {9, 0, 9, 0};
  const int32_t forced[] = {3, 1};
  for (const auto& backend : AllBackends()) {
    int32_t ids[2];
    float weights[2];
    backend->Route({.logits = logits.data(),
                    .bias = nullptr,
                    .forced = forced,
                    .tokens = 1,
                    .experts = 4,
                    .topk = 2,
                    .route_scale = 1.5f,
                    .ids = ids,
                    .weights = weights});
    CHECK(ids[0] == 1);
    CHECK(ids[1] == 3);
    CHECK(weights[0] == Approx(0.75));
    CHECK(weights[1] == Approx(0.75));
  }
}

TEST_CASE("PoolOfAbsentSlotsIsZero") {
  const Floats value = {NAN, 4, NAN, 8};
  const Floats gate = {-INFINITY, 1, -INFINITY, 1};
  for (const auto& backend : AllBackends()) {
    Floats out(2, 7.0f);
    backend->GatedPool({.value = value.data(),
                        .gate = gate.data(),
                        .out = out.data(),
                        .entries = 1,
                        .slots = 2,
                        .dim = 2});
    CHECK(out == Floats{0, 6});
  }
}

TEST_CASE("ThePoolRunsEveryUnitOnce") {
  cpu::ThreadPool pool(4, 0);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> runs(61);
    std::atomic<int> outside{0};
    pool.For(61, 1, [&](int64_t unit, int worker) {
      runs[static_cast<size_t>(unit)].fetch_add(1);
      if (worker < 0 || worker >= pool.threads()) outside.fetch_add(1);
    });
    int wrong = 0;
    for (const auto& count : runs) wrong += count.load() == 1 ? 0 : 1;
    CHECK(wrong == 0);
    CHECK(outside.load() == 0);
  }
}

TEST_CASE("SmallLoopsStayOnTheCaller") {
  cpu::ThreadPool pool(3, 1000);
  const std::thread::id caller = std::this_thread::get_id();
  int elsewhere = 0;
  pool.For(9, 1, [&](int64_t, int) { elsewhere += std::this_thread::get_id() == caller ? 0 : 1; });
  CHECK(elsewhere == 0);
}

}  // namespace
}  // namespace baleen::kernels::testing
