// Row codecs, see the header.
#include "kernels/quantise.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/dtype.h"
#include "kernels/integer_math.h"

namespace baleen::kernels {
namespace {

constexpr float kEntryAmaxFloor = 1e-4f;
constexpr float kEntryReciprocal = 1.0f / 448.0f;
constexpr float kIndexAmaxFloor = 6.0f * 0x1p-126f;
constexpr float kIndexReciprocal = 1.0f / 6.0f;

struct E4M3Table {
  float values[256];
  E4M3Table() {
    for (int code = 0; code < 256; ++code) values[code] = DecodeE4M3(static_cast<uint8_t>(code));
  }
};

const float* E4M3Values() {
  static const E4M3Table table;
  return table.values;
}

// Exponent code of the smallest power of two >= v, for normal positive v.
uint8_t CeilPowerOfTwo(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v) & 0x7FFFFFFFu;
  const uint32_t code = (bits >> 23) + ((bits & 0x7FFFFFu) != 0 ? 1u : 0u);
  return static_cast<uint8_t>(code > 255u ? 255u : code);
}

// Largest magnitude; NaN if there is one.
float AbsMax(const float* x, int64_t n) {
  float amax = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float a = std::fabs(x[i]);
    if (a != a) return a;
    if (a > amax) amax = a;
  }
  return amax;
}

// 1 / 2^(code-127), exact for every code the scale functions give.
float ReciprocalOfScale(uint8_t code) {
  return code == 255 ? DecodeE8M0(255) : std::bit_cast<float>((254u - code) << 23);
}

}  // namespace

uint8_t EntryScaleCode(float amax) {
  const float floored = amax < kEntryAmaxFloor ? kEntryAmaxFloor : amax;
  return CeilPowerOfTwo(floored * kEntryReciprocal);
}

uint8_t IndexScaleCode(float amax) {
  const float floored = amax < kIndexAmaxFloor ? kIndexAmaxFloor : amax;
  return CeilPowerOfTwo(floored * kIndexReciprocal);
}

void EncodeEntry(const float* x, int64_t dim, int64_t rope, RowFormat format,
                 const MutableRowPlanes& out) {
  if (format == RowFormat::kFloat) {
    std::memcpy(out.values, x, static_cast<size_t>(dim) * sizeof(float));
    return;
  }
  const int64_t nope = dim - rope;
  for (int64_t begin = 0; begin < nope; begin += kKvScaleBlock) {
    const int64_t n = nope - begin < kKvScaleBlock ? nope - begin : kKvScaleBlock;
    const uint8_t scale = EntryScaleCode(AbsMax(x + begin, n));
    const float reciprocal = ReciprocalOfScale(scale);
    out.scales[begin / kKvScaleBlock] = scale;
    for (int64_t i = begin; i < begin + n; ++i) out.codes[i] = EncodeE4M3(x[i] * reciprocal);
  }
  for (int64_t i = 0; i < rope; ++i) out.rope[i] = EncodeBf16(x[nope + i]);
}

void DecodeEntry(const RowPlanes& in, int64_t row, int64_t dim, int64_t rope, RowFormat format,
                 float* out) {
  if (format == RowFormat::kFloat) {
    std::memcpy(out, in.values + row * dim, static_cast<size_t>(dim) * sizeof(float));
    return;
  }
  const float* values = E4M3Values();
  const int64_t nope = dim - rope;
  const uint8_t* codes = in.codes + row * nope;
  const uint8_t* scales = in.scales + row * CeilDivide(nope, kKvScaleBlock);
  for (int64_t begin = 0; begin < nope; begin += kKvScaleBlock) {
    const int64_t end = nope - begin < kKvScaleBlock ? nope : begin + kKvScaleBlock;
    const float scale = DecodeE8M0(scales[begin / kKvScaleBlock]);
    for (int64_t i = begin; i < end; ++i) out[i] = values[codes[i]] * scale;
  }
  for (int64_t i = 0; i < rope; ++i) out[nope + i] = DecodeBf16(in.rope[row * rope + i]);
}

void EncodeIndexKey(const float* x, int64_t dim, RowFormat format, const MutableRowPlanes& out) {
  if (format == RowFormat::kFloat) {
    std::memcpy(out.values, x, static_cast<size_t>(dim) * sizeof(float));
    return;
  }
  for (int64_t begin = 0; begin < dim; begin += kIndexScaleBlock) {
    const int64_t end = dim - begin < kIndexScaleBlock ? dim : begin + kIndexScaleBlock;
    const uint8_t scale = IndexScaleCode(AbsMax(x + begin, end - begin));
    const float reciprocal = ReciprocalOfScale(scale);
    out.scales[begin / kIndexScaleBlock] = scale;
    for (int64_t i = begin; i < end; i += 2) {
      const uint8_t low = EncodeE2M1(x[i] * reciprocal);
      const uint8_t high = i + 1 < end ? EncodeE2M1(x[i + 1] * reciprocal) : uint8_t{0};
      out.codes[i / 2] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void DecodeIndexKey(const RowPlanes& in, int64_t row, int64_t dim, RowFormat format, float* out) {
  if (format == RowFormat::kFloat) {
    std::memcpy(out, in.values + row * dim, static_cast<size_t>(dim) * sizeof(float));
    return;
  }
  const uint8_t* codes = in.codes + row * CeilDivide(dim, 2);
  const uint8_t* scales = in.scales + row * CeilDivide(dim, kIndexScaleBlock);
  for (int64_t i = 0; i < dim; ++i) {
    const uint8_t pair = codes[i / 2];
    const uint8_t code = i % 2 == 0 ? pair & 15u : static_cast<uint8_t>(pair >> 4);
    out[i] = DecodeE2M1(code) * DecodeE8M0(scales[i / kIndexScaleBlock]);
  }
}

void RoundTripIndexQuery(float* x, int64_t dim) {
  for (int64_t begin = 0; begin < dim; begin += kIndexScaleBlock) {
    const int64_t end = dim - begin < kIndexScaleBlock ? dim : begin + kIndexScaleBlock;
    const uint8_t code = IndexScaleCode(AbsMax(x + begin, end - begin));
    const float scale = DecodeE8M0(code);
    const float reciprocal = ReciprocalOfScale(code);
    for (int64_t i = begin; i < end; ++i) x[i] = DecodeE2M1(EncodeE2M1(x[i] * reciprocal)) * scale;
  }
}

MutableRowPlanes EntryPlanesAt(const MutableRowPlanes& planes, int64_t rows, int64_t dim,
                               int64_t rope) {
  const int64_t nope = dim - rope;
  MutableRowPlanes at = planes;
  if (at.codes != nullptr) at.codes += rows * nope;
  if (at.scales != nullptr) at.scales += rows * CeilDivide(nope, kKvScaleBlock);
  if (at.rope != nullptr) at.rope += rows * rope;
  if (at.values != nullptr) at.values += rows * dim;
  return at;
}

MutableRowPlanes IndexPlanesAt(const MutableRowPlanes& planes, int64_t rows, int64_t dim) {
  MutableRowPlanes at = planes;
  if (at.codes != nullptr) at.codes += rows * CeilDivide(dim, 2);
  if (at.scales != nullptr) at.scales += rows * CeilDivide(dim, kIndexScaleBlock);
  if (at.values != nullptr) at.values += rows * dim;
  return at;
}

}  // namespace baleen::kernels
