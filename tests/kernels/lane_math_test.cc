// Our exp, log1p, sigmoid, silu and sqrt-softplus against double, and bit for bit between
// instruction sets. The bounds are those stated in kernels/cpu/lane_math.h.
#include <cstring>
#include <functional>

#include "kernels/cpu/leaf.h"
#include "tests/kernels/kernel_testing.h"

namespace baleen::kernels::cpu {
namespace {

using Leaf = void (*LeafTable::*)(const float*, float*, int64_t);

std::vector<const LeafTable*> Tables() {
  std::vector<const LeafTable*> tables;
  for (const LeafTable* table : {PortableLeaves(), Avx2Leaves(), Avx512Leaves()}) {
    if (table != nullptr) tables.push_back(table);
  }
  return tables;
}

// 120,001 values over [low, high].
std::vector<float> Sweep(double low, double high) {
  constexpr int kSteps = 120'000;
  std::vector<float> x;
  for (int i = 0; i <= kSteps; ++i)
    x.push_back(static_cast<float>(low + (high - low) * i / kSteps));
  return x;
}

// Powers of two and neighbours up to 2^40.
std::vector<float> Wide() {
  std::vector<float> x;
  for (int e = -149; e <= 40; ++e) {
    for (float m : {1.0f, 1.1f, 1.414f, 1.999f}) x.push_back(std::ldexp(m, e));
  }
  return x;
}

// The largest error in ulps of the exact result, over results in the normal range.
double WorstUlps(Leaf leaf, const std::vector<float>& x,
                 const std::function<double(double)>& exact) {
  std::vector<float> portable;
  double worst = 0;
  for (const LeafTable* table : Tables()) {
    std::vector<float> y(x.size());
    (table->*leaf)(x.data(), y.data(), static_cast<int64_t>(x.size()));
    if (portable.empty()) portable = y;
    INFO(table->name);
    CHECK(testing::BitDifference(y, portable) == "");
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = exact(x[i]);
      if (std::fabs(expected) < 0x1p-126 || std::fabs(expected) > 3.4e38) continue;
      const double ulp = std::ldexp(1.0, std::ilogb(expected) - 23);
      worst = std::max(worst, std::fabs(y[i] - expected) / ulp);
    }
  }
  UNSCOPED_INFO("worst error " << worst << " ulp");
  return worst;
}

double SigmoidOf(double x) { return 1 / (1 + std::exp(-x)); }
double SqrtSoftplusOf(double x) { return std::sqrt(x > 20 ? x : std::log1p(std::exp(x))); }

TEST_CASE("ExpIsAccurate") {
  const auto exact = [](double x) { return std::exp(x); };
  CHECK(WorstUlps(&LeafTable::exp, Sweep(-87.3, 88.7), exact) <= 1.0);
  CHECK(WorstUlps(&LeafTable::exp, Sweep(-1, 1), exact) <= 1.0);
}

TEST_CASE("ExpAtTheEdges") {
  const std::vector<float> x = {0, -0.0f, -INFINITY, INFINITY, -104, -1000, 89, 1000, NAN, -95};
  for (const LeafTable* table : Tables()) {
    std::vector<float> y(x.size());
    table->exp(x.data(), y.data(), static_cast<int64_t>(x.size()));
    CHECK(y[0] == 1);
    CHECK(y[1] == 1);
    CHECK(y[2] == 0);
    CHECK(std::isinf(y[3]));
    CHECK(y[4] == 0);
    CHECK(y[5] == 0);
    CHECK(std::isinf(y[6]));
    CHECK(std::isinf(y[7]));
    CHECK(std::isnan(y[8]));
    CHECK(std::fabs(y[9] - std::exp(-95.0)) <= 0x1p-149);  // subnormal
  }
}

TEST_CASE("Log1pIsAccurate") {
  const auto exact = [](double x) { return std::log1p(x); };
  CHECK(WorstUlps(&LeafTable::log1p, Sweep(0, 4), exact) <= 2.0);
  CHECK(WorstUlps(&LeafTable::log1p, Sweep(0, 1e-3), exact) <= 2.0);
  CHECK(WorstUlps(&LeafTable::log1p, Wide(), exact) <= 2.0);
}

TEST_CASE("SigmoidAndSiluAreAccurate") {
  CHECK(WorstUlps(&LeafTable::sigmoid, Sweep(-87, 40), SigmoidOf) <= 2.5);
  const auto silu = [](double x) { return x * SigmoidOf(x); };
  CHECK(WorstUlps(&LeafTable::silu, Sweep(-87, 40), silu) <= 3.0);
}

TEST_CASE("SqrtSoftplusIsAccurate") {
  CHECK(WorstUlps(&LeafTable::sqrt_softplus, Sweep(-80, 80), SqrtSoftplusOf) <= 2.5);
}

TEST_CASE("SqrtSoftplusGoldenValues") {
  const std::vector<float> x = {-3, 0, 1, 5, 25};
  const std::vector<float> expected = {0.2204254f, 0.8325546f, 1.1459763f, 2.2375691f, 5};
  const std::vector<double> bound(5, 1e-7 * 3);  // goldens have eight digits
  for (const LeafTable* table : Tables()) {
    std::vector<float> y(5);
    table->sqrt_softplus(x.data(), y.data(), 5);
    CHECK(testing::Difference(y, expected, bound) == "");
  }
}

}  // namespace
}  // namespace baleen::kernels::cpu
