#include "model/checkpoint/tensor_check.h"

#include <algorithm>
#include <cstring>

#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/tensor_table.h"

namespace baleen {
namespace {

std::string Described(const TensorView& view) {
  return std::string(TraitsOf(view.dtype).name) + " " + ShapeText(view.shape);
}

Status Mismatch(const std::string& name, const std::string& expected, const TensorView& got) {
  return InvalidArgumentError("tensor '" + name + "': expected " + expected +
                              " (by config.json), " + "got " + Described(got));
}

bool IsPlainFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBf16 || dtype == DType::kF16;
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status CheckScales(const WeightSource& source, const TensorSpec& spec, bool fp4) {
  const std::string name = ScaleName(spec.name);
  ASSIGN_OR_RETURN(const TensorView view, source.Find(name));
  const std::vector<int64_t> shape = {fp4 ? spec.shape[0] : CeilDiv(spec.shape[0], kFp8BlockSize),
                                      CeilDiv(spec.shape[1], fp4 ? kFp4BlockSize : kFp8BlockSize)};
  const bool dtype_fits = view.dtype == DType::kF8E8M0 || (!fp4 && view.dtype == DType::kF32);
  if (view.shape == shape && dtype_fits) return OkStatus();
  return Mismatch(name, (fp4 ? "F8_E8M0 " : "F8_E8M0 or F32 ") + ShapeText(shape), view);
}

Status CheckHashTable(const TensorSpec& spec, const TensorView& view, int64_t experts) {
  const bool wide = view.dtype == DType::kI64;
  if ((!wide && view.dtype != DType::kI32) || view.shape != spec.shape) {
    return Mismatch(spec.name, "I64 or I32 " + ShapeText(spec.shape), view);
  }
  const int64_t tokens = spec.shape[0];
  const size_t picks = static_cast<size_t>(spec.shape[1]);
  std::vector<int64_t> row(picks);
  for (int64_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < picks; ++i) {
      const size_t at = static_cast<size_t>(t) * picks + i;
      int32_t narrow = 0;
      if (wide) {
        std::memcpy(&row[i], view.bytes.data() + at * sizeof(int64_t), sizeof(int64_t));
      } else {
        std::memcpy(&narrow, view.bytes.data() + at * sizeof(int32_t), sizeof(int32_t));
        row[i] = narrow;
      }
      const bool repeated = std::find(row.begin(), row.begin() + static_cast<ptrdiff_t>(i),
                                      row[i]) != row.begin() + static_cast<ptrdiff_t>(i);
      if (row[i] < 0 || row[i] >= experts || repeated) {
        return InvalidArgumentError("tensor '" + spec.name + "': token " + std::to_string(t) +
                                    ": expected distinct expert ids below " +
                                    std::to_string(experts) + ", got " + std::to_string(row[i]) +
                                    (repeated ? " twice" : ""));
      }
    }
  }
  return OkStatus();
}

Status CheckTensor(const WeightSource& source, const TensorSpec& spec) {
  ASSIGN_OR_RETURN(const TensorView view, source.Find(spec.name));
  if (spec.format == TensorFormat::kHashTable) {
    return CheckHashTable(spec, view, source.config().experts);
  }
  if (IsPlainFloat(view.dtype) && view.shape == spec.shape) return OkStatus();
  const bool expert = spec.format == TensorFormat::kExpert;
  if ((expert || spec.format == TensorFormat::kFp8) && view.dtype == DType::kF8E4M3 &&
      view.shape == spec.shape) {
    return CheckScales(source, spec, /*fp4=*/false);
  }
  if (expert && view.dtype == DType::kI8 && spec.shape[1] % 2 == 0 &&
      view.shape == std::vector<int64_t>{spec.shape[0], spec.shape[1] / 2}) {
    return CheckScales(source, spec, /*fp4=*/true);
  }
  std::string expected = "F32, BF16 or F16 ";
  if (spec.format == TensorFormat::kFp8) expected = "F32, BF16, F16 or F8_E4M3 ";
  if (expert) expected = "F32, BF16, F16, F8_E4M3 or (half as wide) I8 ";
  return Mismatch(spec.name, expected + ShapeText(spec.shape), view);
}

}  // namespace

Status CheckTensors(const WeightSource& source) {
  for (const TensorSpec& spec : BackboneTensors(source.config())) {
    RETURN_IF_ERROR(CheckTensor(source, spec));
  }
  return OkStatus();
}

}  // namespace baleen
