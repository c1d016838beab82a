#include "model/kv_rows.h"

#include <algorithm>
#include <cstring>

#include "kernels/integer_math.h"

namespace baleen {
namespace {

int64_t& Plane(RowShape& shape, RowPlane plane) {
  return shape.plane_bytes[static_cast<int>(plane)];
}

/// Start of row `row` of a plane, or null.
template <typename T, typename Byte>
T* RowPointer(Byte* base, const PlaneOffsets& offsets, const RowShape& shape, RowPlane plane,
              int64_t row) {
  const int p = static_cast<int>(plane);
  if (offsets.offset[p] < 0) return nullptr;
  return reinterpret_cast<T*>(base + offsets.offset[p] + row * shape.plane_bytes[p]);
}

}  // namespace

std::string_view RowPlaneName(RowPlane plane) {
  constexpr std::string_view kNames[kRowPlanes] = {"codes", "scales", "rope", "values"};
  return kNames[static_cast<int>(plane)];
}

RowShape RowShape::Entry(const ModelConfig& config, kernels::RowFormat format) {
  RowShape shape;
  shape.format = format;
  shape.dim = config.head_dim;
  shape.rope = config.rope_dim;
  if (format == kernels::RowFormat::kFloat) {
    Plane(shape, RowPlane::kValues) = shape.dim * static_cast<int64_t>(sizeof(float));
    return shape;
  }
  const int64_t nope = shape.dim - shape.rope;
  Plane(shape, RowPlane::kCodes) = nope;
  Plane(shape, RowPlane::kScales) = CeilDivide(nope, kernels::kKvScaleBlock);
  Plane(shape, RowPlane::kRope) = shape.rope * static_cast<int64_t>(sizeof(uint16_t));
  return shape;
}

RowShape RowShape::IndexKey(const ModelConfig& config, kernels::RowFormat format) {
  RowShape shape;
  shape.format = format;
  shape.dim = config.index_dim;
  if (format == kernels::RowFormat::kFloat) {
    Plane(shape, RowPlane::kValues) = shape.dim * static_cast<int64_t>(sizeof(float));
    return shape;
  }
  Plane(shape, RowPlane::kCodes) = CeilDivide(shape.dim, 2);
  Plane(shape, RowPlane::kScales) = CeilDivide(shape.dim, kernels::kIndexScaleBlock);
  return shape;
}

int64_t RowShape::RowBytes() const {
  int64_t bytes = 0;
  for (int64_t plane : plane_bytes) bytes += plane;
  return bytes;
}

kernels::RowPlanes PlanesAt(const std::byte* base, const PlaneOffsets& offsets,
                            const RowShape& shape, int64_t row) {
  kernels::RowPlanes out;
  out.codes = RowPointer<const uint8_t>(base, offsets, shape, RowPlane::kCodes, row);
  out.scales = RowPointer<const uint8_t>(base, offsets, shape, RowPlane::kScales, row);
  out.rope = RowPointer<const uint16_t>(base, offsets, shape, RowPlane::kRope, row);
  out.values = RowPointer<const float>(base, offsets, shape, RowPlane::kValues, row);
  return out;
}

kernels::MutableRowPlanes MutablePlanesAt(std::byte* base, const PlaneOffsets& offsets,
                                          const RowShape& shape, int64_t row) {
  kernels::MutableRowPlanes out;
  out.codes = RowPointer<uint8_t>(base, offsets, shape, RowPlane::kCodes, row);
  out.scales = RowPointer<uint8_t>(base, offsets, shape, RowPlane::kScales, row);
  out.rope = RowPointer<uint16_t>(base, offsets, shape, RowPlane::kRope, row);
  out.values = RowPointer<float>(base, offsets, shape, RowPlane::kValues, row);
  return out;
}

RowBuffer::RowBuffer(const RowShape& shape, int64_t rows) : shape_(shape), rows_(rows) {
  int64_t size = 0;
  for (int p = 0; p < kRowPlanes; ++p) {
    if (shape.plane_bytes[p] == 0) continue;
    size = CeilDivide(size, kPlaneAlignment) * kPlaneAlignment;
    offsets_.offset[p] = size;
    size += rows * shape.plane_bytes[p];
  }
  bytes_.assign(static_cast<size_t>(size), std::byte{0});
}

std::span<const std::byte> RowBuffer::PlaneBytes(RowPlane plane, int64_t first,
                                                 int64_t count) const {
  const int p = static_cast<int>(plane);
  if (offsets_.offset[p] < 0) return {};
  const int64_t width = shape_.plane_bytes[p];
  return std::span(bytes_).subspan(static_cast<size_t>(offsets_.offset[p] + first * width),
                                   static_cast<size_t>(count * width));
}

std::span<std::byte> RowBuffer::MutablePlaneBytes(RowPlane plane, int64_t first, int64_t count) {
  const std::span<const std::byte> bytes = PlaneBytes(plane, first, count);
  if (bytes.empty()) return {};
  return {bytes_.data() + (bytes.data() - bytes_.data()), bytes.size()};
}

void RowBuffer::CopyRows(const RowBuffer& from, int64_t from_first, int64_t first, int64_t count) {
  for (int p = 0; p < kRowPlanes; ++p) {
    const auto source = from.PlaneBytes(static_cast<RowPlane>(p), from_first, count);
    const auto target = MutablePlaneBytes(static_cast<RowPlane>(p), first, count);
    if (!source.empty()) std::memcpy(target.data(), source.data(), target.size());
  }
}

}  // namespace baleen
