// Facts and conversions of element types. Plain scalar code: the speed-critical decoders live in
// kernels/cpu and are tested against these. Called by kernels/ and by whoever reads tensors.
#include "kernels/dtype.h"

#include <bit>
#include <limits>

#include "kernels/check.h"

namespace baleen {
namespace {

constexpr DTypeTraits kTraits[] = {
    {DType::kF32, "F32", 32},       {DType::kBf16, "BF16", 16},     {DType::kF16, "F16", 16},
    {DType::kF8E4M3, "F8_E4M3", 8}, {DType::kF8E8M0, "F8_E8M0", 8}, {DType::kFp4, "FP4", 4},
    {DType::kI8, "I8", 8},          {DType::kU8, "U8", 8},          {DType::kI32, "I32", 32},
    {DType::kI64, "I64", 64},
};

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kE4M3Max = 448.0f;
constexpr float kE4M3MinNormal = 0x1p-6f;
// Adding and subtracting 1.5 * 2^23 rounds a small float to an integer, ties to even.
constexpr float kRoundToInteger = 12582912.0f;

}  // namespace

const DTypeTraits& TraitsOf(DType dtype) {
  const DTypeTraits& traits = kTraits[static_cast<size_t>(dtype)];
  DCHECK(traits.dtype == dtype);
  return traits;
}

float DecodeE4M3(uint8_t code) {
  const uint32_t exponent = (code >> 3) & 15u;
  const uint32_t mantissa = code & 7u;
  if (exponent == 15 && mantissa == 7) return kNaN;
  float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
  if (exponent != 0) magnitude = std::bit_cast<float>((exponent + 120u) << 23 | mantissa << 20);
  return (code & 0x80u) != 0 ? -magnitude : magnitude;
}

uint8_t EncodeE4M3(float value) {
  if (value != value) return 0x7F;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint8_t sign = static_cast<uint8_t>(bits >> 24) & 0x80u;
  float magnitude = std::bit_cast<float>(bits & 0x7FFFFFFFu);
  if (magnitude > kE4M3Max) magnitude = kE4M3Max;
  if (magnitude < kE4M3MinNormal) {
    const float steps = (magnitude * 512.0f + kRoundToInteger) - kRoundToInteger;
    return sign | static_cast<uint8_t>(steps);  // 8 steps are the code of the smallest normal
  }
  const uint32_t exact = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = exact + 0x7FFFFu + ((exact >> 20) & 1u);
  return sign | static_cast<uint8_t>((rounded >> 20) - (120u << 3));
}

float DecodeE8M0(uint8_t code) {
  if (code == 255) return kNaN;
  if (code == 0) return 0x1p-127f;
  return std::bit_cast<float>(static_cast<uint32_t>(code) << 23);
}

float DecodeE2M1(uint8_t code) {
  constexpr float kValues[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                 -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  return kValues[code & 15u];
}

uint8_t EncodeE2M1(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint8_t sign = static_cast<uint8_t>(bits >> 28) & 8u;
  const float magnitude = std::bit_cast<float>(bits & 0x7FFFFFFFu);
  // Midpoints between neighbours; a tie belongs to the neighbour with the even code.
  if (magnitude <= 0.25f) return sign;
  if (magnitude < 0.75f) return sign | 1u;
  if (magnitude <= 1.25f) return sign | 2u;
  if (magnitude < 1.75f) return sign | 3u;
  if (magnitude <= 2.5f) return sign | 4u;
  if (magnitude < 3.5f) return sign | 5u;
  if (magnitude <= 5.0f) return sign | 6u;
  return sign | 7u;
}

float DecodeBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t EncodeBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

float DecodeF16(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 31u;
  const uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112u) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace baleen
