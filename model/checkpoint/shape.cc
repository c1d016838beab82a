#include "model/checkpoint/shape.h"

#include "kernels/integer_math.h"

namespace baleen {

int64_t Elements(std::span<const int64_t> shape) {
  int64_t elements = 1;
  for (int64_t dim : shape) elements *= dim;
  return elements;
}

int64_t TensorBytes(DType dtype, std::span<const int64_t> shape) {
  constexpr int64_t kElementsMax = int64_t{1} << 56;
  int64_t elements = 1;
  bool overflow = false;
  for (int64_t dim : shape) {
    if (dim < 0) return -1;
    if (dim == 0) return 0;  // Before the product, which other dimensions may overflow.
  }
  for (int64_t dim : shape) {
    overflow = overflow || elements > kElementsMax / dim;
    elements = overflow ? 0 : elements * dim;
  }
  return overflow ? -1 : CeilDivide(elements * TraitsOf(dtype).bits, 8);
}

std::string ShapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace baleen
