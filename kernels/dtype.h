// Element types of tensors, and the one table of their facts.
#pragma once

#include <cstdint>
#include <string_view>

namespace baleen {

/// Stored element types. The names are those of the safetensors format, except kFp4: two E2M1 codes
/// per byte along the columns, low nibble first, which files declare as I8.
enum class DType { kF32, kBf16, kF16, kF8E4M3, kF8E8M0, kFp4, kI8, kU8, kI32, kI64 };

/// Facts of one element type.
struct DTypeTraits {
  DType dtype;
  std::string_view name;  ///< As in a safetensors header; "FP4" for kFp4.
  int bits;               ///< Bits per element.
};

const DTypeTraits& TraitsOf(DType dtype);

/// E4M3FN (OCP): bias 7, max 448, 0x7F/0xFF are NaN.  Source: OCP OFP8 specification.
float DecodeE4M3(uint8_t code);
/// Round to nearest even after clamping to +-448; NaN gives 0x7F.
uint8_t EncodeE4M3(float value);
/// 2^(code-127); 255 is NaN.
float DecodeE8M0(uint8_t code);
/// E2M1: codes 0..7 are 0 .5 1 1.5 2 3 4 6, bit 3 is the sign.
float DecodeE2M1(uint8_t code);
/// Round to nearest, ties to the even code, after clamping to +-6.
uint8_t EncodeE2M1(float value);
float DecodeBf16(uint16_t bits);
/// Round to nearest even; NaN stays NaN.
uint16_t EncodeBf16(float value);
/// IEEE binary16.
float DecodeF16(uint16_t bits);

}  // namespace baleen
