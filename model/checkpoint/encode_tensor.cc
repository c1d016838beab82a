#include "model/checkpoint/encode_tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "kernels/integer_math.h"

namespace baleen {
namespace {

constexpr float kE4M3Max = 448;
constexpr float kE2M1Max = 6;

template <typename T>
std::vector<std::byte> BytesOf(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Exponent of the smallest power of two s with amax / s <= largest.
int ScaleExponent(float amax, float largest) {
  if (amax == 0) return 0;
  const uint32_t bits = std::bit_cast<uint32_t>(amax * (1.0F / largest));
  const int exponent = static_cast<int>(bits >> 23) - 127 + ((bits & 0x7FFFFF) != 0 ? 1 : 0);
  return std::clamp(exponent, -126, 127);
}

// How a matrix is cut into blocks of one scale each.
struct Blocks {
  int64_t rows = 0;  // Of the matrix.
  int64_t cols = 0;
  int64_t block_rows = 1;
  int64_t block_cols = 1;
  float largest = 1;  // Magnitude of the element type.

  int64_t down() const { return CeilDivide(rows, block_rows); }
  int64_t across() const { return CeilDivide(cols, block_cols); }
};

bool IsFp4(const TensorSpec& spec, ReleaseStyle style) {
  return spec.format == TensorFormat::kExpert && style == ReleaseStyle::kNative;
}

bool IsBf16(const TensorSpec& spec) {
  return spec.format == TensorFormat::kNorm || spec.format == TensorFormat::kBf16;
}

Blocks BlocksOf(const TensorSpec& spec, ReleaseStyle style) {
  if (IsFp4(spec, style)) return {spec.shape[0], spec.shape[1], 1, kFp4BlockSize, kE2M1Max};
  return {spec.shape[0], spec.shape[1], kFp8BlockSize, kFp8BlockSize, kE4M3Max};
}

// [down, across]
std::vector<int> ScaleExponents(std::span<const float> values, const Blocks& blocks) {
  std::vector<float> amax(static_cast<size_t>(blocks.down() * blocks.across()));
  for (int64_t r = 0; r < blocks.rows; ++r) {
    float* row = amax.data() + r / blocks.block_rows * blocks.across();
    const float* from = values.data() + r * blocks.cols;
    for (int64_t c = 0; c < blocks.cols; ++c) {
      float& best = row[c / blocks.block_cols];
      best = std::max(best, std::abs(from[c]));
    }
  }
  std::vector<int> exponents;
  exponents.reserve(amax.size());
  for (float best : amax) exponents.push_back(ScaleExponent(best, blocks.largest));
  return exponents;
}

// visit(element, scale) for every element, row by row.
template <typename Visit>
void ForEachElement(const Blocks& blocks, const std::vector<int>& exponents, const Visit& visit) {
  for (int64_t r = 0; r < blocks.rows; ++r) {
    const int* row = exponents.data() + r / blocks.block_rows * blocks.across();
    for (int64_t c = 0; c < blocks.cols; ++c) {
      visit(static_cast<size_t>(r * blocks.cols + c), row[c / blocks.block_cols]);
    }
  }
}

EncodedTensor EncodeScales(const Blocks& blocks, const std::vector<int>& exponents,
                           ReleaseStyle style) {
  EncodedTensor scale{DType::kF8E8M0, {blocks.down(), blocks.across()}, {}};
  if (style == ReleaseStyle::kBase) {
    std::vector<float> scales;
    for (int exponent : exponents) scales.push_back(std::ldexp(1.0F, exponent));
    scale.dtype = DType::kF32;
    scale.bytes = BytesOf(scales);
  } else {
    for (int exponent : exponents) scale.bytes.push_back(static_cast<std::byte>(exponent + 127));
  }
  return scale;
}

EncodedTensor EncodeBf16Tensor(const TensorSpec& spec, std::span<const float> values) {
  std::vector<uint16_t> codes(values.size());
  std::transform(values.begin(), values.end(), codes.begin(), EncodeBf16);
  return {DType::kBf16, spec.shape, BytesOf(codes)};
}

}  // namespace

ReleaseStyle ReleaseStyleOf(const ModelConfig& config) {
  return config.expert_dtype == "fp8" ? ReleaseStyle::kBase : ReleaseStyle::kNative;
}

EncodedTensor EncodeF32(const TensorSpec& spec, std::span<const float> values) {
  EncodedTensor tensor{DType::kF32, spec.shape, std::vector<std::byte>(values.size_bytes())};
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), values.size_bytes());
  return tensor;
}

EncodedWeight EncodeWeight(const TensorSpec& spec, std::span<const float> values,
                           ReleaseStyle style) {
  if (spec.format == TensorFormat::kF32) return {EncodeF32(spec, values), std::nullopt};
  if (IsBf16(spec)) return {EncodeBf16Tensor(spec, values), std::nullopt};
  const Blocks blocks = BlocksOf(spec, style);
  const std::vector<int> exponents = ScaleExponents(values, blocks);
  EncodedWeight weight{{DType::kF8E4M3, spec.shape, {}}, EncodeScales(blocks, exponents, style)};
  if (IsFp4(spec, style)) {
    // Two codes per byte, the even column in the low nibble.
    weight.tensor = {DType::kI8, {blocks.rows, blocks.cols / 2}, {}};
    weight.tensor.bytes.resize(values.size() / 2);
    ForEachElement(blocks, exponents, [&](size_t i, int exponent) {
      const int code = EncodeE2M1(std::ldexp(values[i], -exponent));
      weight.tensor.bytes[i / 2] |= static_cast<std::byte>(i % 2 == 0 ? code : code << 4);
    });
  } else {
    weight.tensor.bytes.resize(values.size());
    ForEachElement(blocks, exponents, [&](size_t i, int exponent) {
      weight.tensor.bytes[i] = static_cast<std::byte>(EncodeE4M3(std::ldexp(values[i], -exponent)));
    });
  }
  return weight;
}

void RoundWeight(const TensorSpec& spec, ReleaseStyle style, std::span<float> values) {
  if (spec.format == TensorFormat::kF32) return;
  if (IsBf16(spec)) {
    for (float& value : values) value = DecodeBf16(EncodeBf16(value));
    return;
  }
  const Blocks blocks = BlocksOf(spec, style);
  const std::vector<int> exponents = ScaleExponents(values, blocks);
  const bool fp4 = IsFp4(spec, style);
  ForEachElement(blocks, exponents, [&](size_t i, int exponent) {
    const float scaled = std::ldexp(values[i], -exponent);
    const float rounded = fp4 ? DecodeE2M1(EncodeE2M1(scaled)) : DecodeE4M3(EncodeE4M3(scaled));
    values[i] = std::ldexp(rounded, exponent);
  });
}

Status CheckFp4FitsFp8(const TensorSpec& spec, const EncodedWeight& weight) {
  const Blocks fine = BlocksOf(spec, ReleaseStyle::kNative);
  const Blocks coarse = BlocksOf(spec, ReleaseStyle::kBase);
  const auto exponent_at = [&](int64_t r, int64_t c) {
    const auto at = static_cast<size_t>(r * fine.across() + c / fine.block_cols);
    return static_cast<int>(weight.scale->bytes[at]);
  };
  std::vector<int> largest(static_cast<size_t>(coarse.down() * coarse.across()));
  const auto tile = [&](int64_t r, int64_t c) {
    return static_cast<size_t>(r / coarse.block_rows * coarse.across() + c / coarse.block_cols);
  };
  for (int64_t r = 0; r < fine.rows; ++r) {
    for (int64_t c = 0; c < fine.cols; c += fine.block_cols) {
      largest[tile(r, c)] = std::max(largest[tile(r, c)], exponent_at(r, c));
    }
  }
  for (int64_t r = 0; r < fine.rows; ++r) {
    for (int64_t c = 0; c < fine.cols; ++c) {
      const auto i = static_cast<size_t>(r * fine.cols + c);
      const auto byte = static_cast<uint8_t>(weight.tensor.bytes[i / 2]);
      const float code = DecodeE2M1(i % 2 == 0 ? byte & 0xF : byte >> 4);
      // The tile's largest scale over 2^6: 6 * 2^6 = 384 is below E4M3's largest.
      const int shift = exponent_at(r, c) - largest[tile(r, c)] + 6;
      const float value = std::ldexp(code, shift);
      if (DecodeE4M3(EncodeE4M3(value)) == value) continue;
      return FailedPreconditionError(
          "tensor '" + spec.name + "', row " + std::to_string(r) + ", column " + std::to_string(c) +
          ": an FP4 scale 2^" + std::to_string(largest[tile(r, c)] - exponent_at(r, c)) +
          " below its 128x128 block's largest; expected at most 2^11 to stay exact in FP8");
    }
  }
  return OkStatus();
}

}  // namespace baleen
