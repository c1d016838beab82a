// KvRows: how one stored row is laid out, plane by plane, and where rows of a buffer lie.
//
// The one place that knows row bytes. Knows neither layers nor positions. Used by the block layout,
// the live cache, its checkpoints and the forward pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/row_format.h"
#include "model/config.h"

namespace baleen {

/// Every plane starts on a multiple of this.
inline constexpr int64_t kPlaneAlignment = 64;

/// The planes a row is cut into. The order is the order in blocks and checkpoints.
enum class RowPlane { kCodes, kScales, kRope, kValues };
inline constexpr int kRowPlanes = 4;
std::string_view RowPlaneName(RowPlane plane);

/// Width of one row: of a window or compressed entry, or of an index key.
struct RowShape {
  kernels::RowFormat format = kernels::RowFormat::kPacked;
  int64_t dim = 0;
  int64_t rope = 0;                   ///< 0 for index keys.
  int64_t plane_bytes[kRowPlanes]{};  ///< Bytes per row and plane; 0: the format lacks the plane.

  /// Rows of the window and of the compressed entries.
  static RowShape Entry(const ModelConfig& config, kernels::RowFormat format);
  /// Rows of the indexer's keys.
  static RowShape IndexKey(const ModelConfig& config, kernels::RowFormat format);
  int64_t RowBytes() const;
};

/// Byte offsets of the planes of a run of rows in some buffer; -1: no such plane.
struct PlaneOffsets {
  int64_t offset[kRowPlanes] = {-1, -1, -1, -1};
};

/// Pointers to row `row` of the planes at `base`.
kernels::RowPlanes PlanesAt(const std::byte* base, const PlaneOffsets& offsets,
                            const RowShape& shape, int64_t row);
kernels::MutableRowPlanes MutablePlanesAt(std::byte* base, const PlaneOffsets& offsets,
                                          const RowShape& shape, int64_t row);

/// A fixed number of rows, zero at first. Copyable.
class RowBuffer {
 public:
  RowBuffer() = default;
  RowBuffer(const RowShape& shape, int64_t rows);

  const RowShape& shape() const { return shape_; }
  int64_t rows() const { return rows_; }
  kernels::RowPlanes Rows(int64_t first) const {
    return PlanesAt(bytes_.data(), offsets_, shape_, first);
  }
  kernels::MutableRowPlanes MutableRows(int64_t first) {
    return MutablePlanesAt(bytes_.data(), offsets_, shape_, first);
  }
  /// Bytes of rows [first, first + count) of one plane; empty if the format lacks it.
  std::span<const std::byte> PlaneBytes(RowPlane plane, int64_t first, int64_t count) const;
  std::span<std::byte> MutablePlaneBytes(RowPlane plane, int64_t first, int64_t count);

  /// Copies `count` rows of `from`, which has the same shape.
  void CopyRows(const RowBuffer& from, int64_t from_first, int64_t first, int64_t count);

 private:
  RowShape shape_;
  int64_t rows_ = 0;
  PlaneOffsets offsets_;
  std::vector<std::byte> bytes_;
};

}  // namespace baleen
