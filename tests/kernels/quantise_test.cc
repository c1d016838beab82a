// Row codecs: golden scales and roundings of spec sections 3.3 and 3.5, and losslessness.
#include "kernels/quantise.h"

#include "kernels/cpu/hadamard.h"
#include "tests/kernels/kernel_testing.h"

namespace baleen::kernels {
namespace {

using testing::Random;

TEST_CASE("EntryScalesArePowersOfTwoRoundedUp") {
  CHECK(DecodeE8M0(EntryScaleCode(0)) == 0x1p-22f);
  CHECK(DecodeE8M0(EntryScaleCode(0.875f)) == 0x1p-9f);
  CHECK(DecodeE8M0(EntryScaleCode(1.0f)) == 0x1p-8f);
  CHECK(DecodeE8M0(EntryScaleCode(448.0f)) == 1.0f);
  CHECK(DecodeE8M0(EntryScaleCode(450.0f)) == 2.0f);
  for (int k = -12; k < 20; ++k) {
    CHECK(DecodeE8M0(EntryScaleCode(std::ldexp(448.0f, k))) == std::ldexp(1.0f, k));
  }
  CHECK(EntryScaleCode(std::numeric_limits<float>::infinity()) == 255);
  CHECK(EntryScaleCode(std::numeric_limits<float>::quiet_NaN()) == 255);
}

TEST_CASE("IndexScalesArePowersOfTwoRoundedUp") {
  CHECK(DecodeE8M0(IndexScaleCode(6.0f)) == 1.0f);
  CHECK(DecodeE8M0(IndexScaleCode(6.03125f)) == 2.0f);
  CHECK(DecodeE8M0(IndexScaleCode(3.0f)) == 0.5f);
  CHECK(DecodeE8M0(IndexScaleCode(0.40625f)) == 0.125f);
  CHECK(DecodeE8M0(IndexScaleCode(0)) == 0x1p-126f);
  for (int k = -100; k < 100; ++k) {
    CHECK(DecodeE8M0(IndexScaleCode(std::ldexp(6.0f, k))) == std::ldexp(1.0f, k));
    CHECK(DecodeE8M0(IndexScaleCode(std::ldexp(3.0f, k))) == std::ldexp(0.5f, k));
  }
}

std::vector<float> RoundTripEntry(const std::vector<float>& x, int64_t rope) {
  const auto dim = static_cast<int64_t>(x.size());
  std::vector<uint8_t> codes(x.size());
  std::vector<uint8_t> scales(x.size());
  std::vector<uint16_t> last(x.size());
  EncodeEntry(x.data(), dim, rope, RowFormat::kPacked,
              {codes.data(), scales.data(), last.data(), nullptr});
  std::vector<float> out(x.size());
  DecodeEntry({codes.data(), scales.data(), last.data(), nullptr}, 0, dim, rope, RowFormat::kPacked,
              out.data());
  return out;
}

TEST_CASE("EntryRoundingAtScaleOne") {
  // 448 fixes the scale of the block at 1.
  const std::vector<float> x = {448, 0.013671875f, 3.140625f, 100, -7.25f, 0.0009765625f, -31.75f};
  const std::vector<float> expected = {448, 0.013671875f, 3.25f, 96, -7.0f, 0, -32};
  CHECK(RoundTripEntry(x, 0) == expected);
}

TEST_CASE("StoredEntriesAreExactInBf16AndStable") {
  Random random(3);
  const std::vector<float> x = random.Floats(576, -3, 3);
  const std::vector<float> once = RoundTripEntry(x, 64);
  for (float v : once) CHECK(DecodeBf16(EncodeBf16(v)) == v);
  CHECK(RoundTripEntry(once, 64) == once);
  for (size_t i = 512; i < 576; ++i) CHECK(once[i] == DecodeBf16(EncodeBf16(x[i])));
}

TEST_CASE("IndexQueryRoundingAtScaleOne") {
  std::vector<float> x = {6, 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5, -5, -0.3f};
  RoundTripIndexQuery(x.data(), static_cast<int64_t>(x.size()));
  CHECK(x == std::vector<float>{6, 0, 1, 1, 2, 2, 4, 4, -4, -0.5f});
}

TEST_CASE("IndexKeysPackTheEvenChannelLow") {
  const std::vector<float> x = {6, -0.5f, 1, 4};
  uint8_t codes[2] = {};
  uint8_t scale = 0;
  EncodeIndexKey(x.data(), 4, RowFormat::kPacked, {codes, &scale, nullptr, nullptr});
  CHECK(codes[0] == 0x97);  // 6 is code 7, -0.5 is code 9
  CHECK(codes[1] == 0x62);
  CHECK(scale == 127);
  std::vector<float> back(4);
  DecodeIndexKey({codes, &scale, nullptr, nullptr}, 0, 4, RowFormat::kPacked, back.data());
  CHECK(back == x);
}

TEST_CASE("HadamardIsItsOwnInverseAndKeepsDotProducts") {
  Random random(5);
  for (int64_t dim : {1, 2, 16, 128}) {
    const std::vector<float> a = random.Floats(dim);
    const std::vector<float> b = random.Floats(dim);
    std::vector<float> ha = a;
    std::vector<float> hb = b;
    cpu::Hadamard(ha.data(), dim);
    cpu::Hadamard(hb.data(), dim);
    double plain = 0;
    double rotated = 0;
    for (int64_t i = 0; i < dim; ++i) {
      plain += static_cast<double>(a[i]) * b[i];
      rotated += static_cast<double>(ha[i]) * hb[i];
    }
    // log2(dim) additions, the factor and its own rounding, on vectors of norm <= sqrt(dim).
    const double rounding = (std::log2(dim) + 2) * testing::kUnit;
    CHECK(std::fabs(plain - rotated) <= 2 * rounding * static_cast<double>(dim));
    cpu::Hadamard(ha.data(), dim);
    const std::vector<double> bound(a.size(), 2 * rounding * std::sqrt(static_cast<double>(dim)));
    CHECK(testing::Difference(ha, a, bound) == "");
  }
}

TEST_CASE("HadamardSignsFollowThePopulationCount") {
  for (int64_t i = 0; i < 16; ++i) {
    std::vector<float> unit(16, 0.0f);
    unit[i] = 1;
    cpu::Hadamard(unit.data(), 16);
    for (int64_t j = 0; j < 16; ++j) {
      CHECK(unit[j] == (__builtin_popcountll(i & j) % 2 == 0 ? 0.25f : -0.25f));
    }
  }
}

}  // namespace
}  // namespace baleen::kernels
