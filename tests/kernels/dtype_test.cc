// Element conversions: exhaustive over codes, against definitions written differently.
#include "kernels/dtype.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace baleen {
namespace {

// Magnitudes of E4M3 from the definition: subnormal steps of 2^-9, then 1.m * 2^(e-7).
double E4M3Magnitude(int code) {
  const int exponent = code >> 3;
  const int mantissa = code & 7;
  return exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
}

TEST_CASE("E4M3DecodesEveryCode") {
  for (int code = 0; code < 127; ++code) {
    CHECK(DecodeE4M3(static_cast<uint8_t>(code)) == E4M3Magnitude(code));
    CHECK(DecodeE4M3(static_cast<uint8_t>(code | 128)) == -E4M3Magnitude(code));
  }
  CHECK(std::isnan(DecodeE4M3(0x7F)));
  CHECK(std::isnan(DecodeE4M3(0xFF)));
  CHECK(std::signbit(DecodeE4M3(0x80)));
}

TEST_CASE("E4M3EncodesToTheNearestCodeTiesToEven") {
  for (int code = 0; code < 126; ++code) {
    const double low = E4M3Magnitude(code);
    const double high = E4M3Magnitude(code + 1);
    const float middle = static_cast<float>((low + high) / 2);
    const int even = code % 2 == 0 ? code : code + 1;
    CHECK(EncodeE4M3(static_cast<float>(low)) == code);
    CHECK(EncodeE4M3(middle) == even);
    CHECK(EncodeE4M3(std::nextafter(middle, 0.0f)) == code);
    CHECK(EncodeE4M3(std::nextafter(middle, 1000.0f)) == code + 1);
    CHECK(EncodeE4M3(-middle) == (even | 128));
  }
  CHECK(EncodeE4M3(448.0f) == 0x7E);
  CHECK(EncodeE4M3(1e30f) == 0x7E);
  CHECK(EncodeE4M3(-std::numeric_limits<float>::infinity()) == 0xFE);
  CHECK(EncodeE4M3(std::numeric_limits<float>::quiet_NaN()) == 0x7F);
  CHECK(EncodeE4M3(-0.0f) == 0x80);
  CHECK(EncodeE4M3(1e-40f) == 0);
}

TEST_CASE("E2M1RoundsToNearestTiesToTheEvenCode") {
  const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (int code = 0; code < 8; ++code) {
    CHECK(DecodeE2M1(static_cast<uint8_t>(code)) == values[code]);
    CHECK(DecodeE2M1(static_cast<uint8_t>(code | 8)) == -values[code]);
    CHECK(EncodeE2M1(values[code]) == code);
    CHECK(EncodeE2M1(-values[code]) == (code | 8));
    if (code == 7) continue;
    const float middle = (values[code] + values[code + 1]) / 2;
    CHECK(EncodeE2M1(middle) == (code % 2 == 0 ? code : code + 1));
    CHECK(EncodeE2M1(std::nextafter(middle, 0.0f)) == code);
    CHECK(EncodeE2M1(std::nextafter(middle, 9.0f)) == code + 1);
  }
  CHECK(EncodeE2M1(100.0f) == 7);
  CHECK(EncodeE2M1(-100.0f) == 15);
}

TEST_CASE("E2M1TiesOfTheFormatDescription") {
  const float ties[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  const float results[] = {0, 1, 1, 2, 2, 4, 4};
  for (int i = 0; i < 7; ++i) CHECK(DecodeE2M1(EncodeE2M1(ties[i])) == results[i]);
}

TEST_CASE("E8M0DecodesEveryCode") {
  for (int code = 0; code < 255; ++code) {
    CHECK(DecodeE8M0(static_cast<uint8_t>(code)) == std::ldexp(1.0, code - 127));
  }
  CHECK(std::isnan(DecodeE8M0(255)));
}

TEST_CASE("Bf16RoundTripsEveryCodeAndRoundsToEven") {
  int wrong = 0;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = DecodeBf16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      wrong += std::isnan(DecodeBf16(EncodeBf16(value))) ? 0 : 1;
      continue;
    }
    wrong += EncodeBf16(value) == bits ? 0 : 1;
    if (std::isinf(value)) continue;
    const float middle = std::bit_cast<float>(bits << 16 | 0x8000u);
    wrong += EncodeBf16(middle) == bits + (bits & 1u) ? 0 : 1;
    wrong += EncodeBf16(std::bit_cast<float>(bits << 16 | 0x7FFFu)) == bits ? 0 : 1;
    wrong += EncodeBf16(std::bit_cast<float>(bits << 16 | 0x8001u)) == bits + 1 ? 0 : 1;
  }
  CHECK(wrong == 0);
  CHECK(std::isnan(DecodeBf16(EncodeBf16(std::bit_cast<float>(0x7F800001u)))));
}

TEST_CASE("F16DecodesEveryCode") {
  int wrong = 0;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = DecodeF16(static_cast<uint16_t>(bits));
    const int exponent = static_cast<int>(bits >> 10 & 31u);
    const int mantissa = static_cast<int>(bits & 1023u);
    const double sign = bits < 32768 ? 1 : -1;
    if (exponent == 31) {
      wrong += (mantissa == 0 ? std::isinf(value) : std::isnan(value)) ? 0 : 1;
    } else {
      const double magnitude =
          exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      wrong += value == sign * magnitude ? 0 : 1;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("EveryTypeHasItsRow") {
  for (DType dtype : {DType::kF32, DType::kBf16, DType::kF16, DType::kF8E4M3, DType::kF8E8M0,
                      DType::kFp4, DType::kI8, DType::kU8, DType::kI32, DType::kI64}) {
    CHECK(TraitsOf(dtype).dtype == dtype);
  }
  CHECK(TraitsOf(DType::kFp4).bits == 4);
  CHECK(TraitsOf(DType::kF8E4M3).name == "F8_E4M3");
}

}  // namespace
}  // namespace baleen
