// Oracle of Linear: weights kept as row-major fp32, each output a double dot product.
#include <vector>

#include "kernels/dequantise.h"
#include "kernels/ref/ops.h"

namespace baleen::kernels::ref {
namespace {

class RefMatrix final : public PackedMatrix {
 public:
  explicit RefMatrix(const MatrixSource& source)
      : PackedMatrix(source.rows, source.cols),
        values_(static_cast<size_t>(source.rows * source.cols)) {
    for (int64_t r = 0; r < rows(); ++r) DequantiseRow(source, r, values_.data() + r * cols());
  }
  const float* values() const { return values_.data(); }

 private:
  std::vector<float> values_;
};

}  // namespace

std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source) {
  return std::make_unique<RefMatrix>(source);
}

const float* ValuesOf(const PackedMatrix& matrix) {
  return static_cast<const RefMatrix&>(matrix).values();
}

void Linear(const LinearParams& p) {
  const float* values = ValuesOf(*p.w);
  const int64_t rows = p.w->rows();
  const int64_t cols = p.w->cols();
  for (int64_t t = 0; t < p.tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < cols; ++c) {
        sum += static_cast<double>(p.x[t * p.x_stride + c]) * values[r * cols + c];
      }
      p.out[t * p.out_stride + r] = static_cast<float>(sum);
    }
  }
}

}  // namespace baleen::kernels::ref
