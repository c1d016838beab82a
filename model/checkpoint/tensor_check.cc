#include "model/checkpoint/tensor_check.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/integer_math.h"
#include "model/checkpoint/shape.h"
#include "model/checkpoint/stored_tensor.h"
#include "model/checkpoint/tensor_names.h"
#include "model/checkpoint/tensor_table.h"

namespace baleen {
namespace {

constexpr size_t kProblemsShown = 10;

std::string Described(const TensorView& view) {
  return std::string(TraitsOf(view.dtype).name) + " " + ShapeText(view.shape);
}

const char* TypesOf(TensorFormat format) {
  switch (format) {
    case TensorFormat::kFp8: return "F32, BF16, F16 or F8_E4M3 ";
    case TensorFormat::kExpert: return "F32, BF16, F16, F8_E4M3 or (half as wide) I8 ";
    case TensorFormat::kHashTable: return "I64 or I32 ";
    default: return "F32, BF16 or F16 ";
  }
}

std::vector<int64_t> StoredShape(const TensorSpec& spec, Storage storage) {
  std::vector<int64_t> shape = spec.shape;
  if (storage == Storage::kFp4) shape.back() = CeilDivide(shape.back(), 2);
  return shape;
}

/// Requires: a fitting shape. What is wrong with the first bad token; empty: nothing.
std::string HashTableProblem(const TensorView& view, int64_t experts) {
  const int64_t picks = view.shape[1];
  for (int64_t i = 0; i < Elements(view.shape); ++i) {
    const int64_t id = IdAt(view, i);
    bool repeated = false;
    for (int64_t j = i / picks * picks; j < i; ++j) repeated = repeated || IdAt(view, j) == id;
    if (id >= 0 && id < experts && !repeated) continue;
    return "token " + std::to_string(i / picks) + ": expected distinct expert ids below " +
           std::to_string(experts) + ", got " + std::to_string(id) + (repeated ? " twice" : "");
  }
  return {};
}

/// Collects what is missing or wrong over all tensors, so that one failed load tells everything.
class TensorCheck {
 public:
  explicit TensorCheck(const WeightSource& source) : source_(source) {}

  /// Absent tensors are problems only if `required`.
  void Check(const TensorSpec& spec, bool required) {
    const std::optional<TensorView> view = Find(spec.name, required);
    if (!view.has_value()) return;
    const std::optional<Storage> storage = StorageOf(spec.format, view->dtype);
    if (!storage.has_value() || view->shape != StoredShape(spec, *storage)) {
      Mismatch(spec.name, TypesOf(spec.format) + ShapeText(spec.shape), *view);
    } else if (BytesFit(spec.name, *view) && *storage == Storage::kIds) {
      const std::string problem = HashTableProblem(*view, source_.config().experts);
      if (!problem.empty()) Wrong(spec.name, problem);
    }
    if (storage == Storage::kFp8 || storage == Storage::kFp4) CheckScales(spec, *storage);
  }

  Status Finish() const {
    if (count_ == 0) return OkStatus();
    std::string text = std::to_string(count_) + (count_ == 1 ? " tensor does" : " tensors do") +
                       " not fit config.json: ";
    for (size_t i = 0; i < shown_.size(); ++i) text += (i == 0 ? "" : "; ") + shown_[i];
    if (count_ > shown_.size()) text += "; ...";
    text += ". Check that config.json belongs to these weights and that no file is missing";
    return all_absent_ ? NotFoundError(text) : InvalidArgumentError(text);
  }

  /// Of all tensors found so far.
  int64_t bytes() const { return bytes_; }

 private:
  std::optional<TensorView> Find(const std::string& name, bool required) {
    Result<TensorView> view = source_.Find(name);
    if (view.ok()) {
      bytes_ += static_cast<int64_t>(view->bytes.size());
      return std::move(view).value();
    }
    if (view.status().code() != StatusCode::kNotFound) {
      Wrong(name, view.status().message());
    } else if (required) {
      const std::optional<std::string> other = TransformersName(name);
      Add("'" + name + "' " + (other.has_value() ? "(in transformers: '" + *other + "') " : "") +
              "is missing",
          /*absent=*/true);
    }
    return std::nullopt;
  }

  void CheckScales(const TensorSpec& spec, Storage storage) {
    const std::string name = ScaleName(spec.name);
    const std::optional<TensorView> view = Find(name, /*required=*/true);
    if (!view.has_value()) return;
    const ScaleBlock block = ScaleBlockOf(storage);
    const std::vector<int64_t> shape = {CeilDivide(spec.shape[0], block.rows),
                                        CeilDivide(spec.shape[1], block.cols)};
    const bool floats = storage == Storage::kFp8;
    const bool type_fits = view->dtype == DType::kF8E8M0 || (floats && view->dtype == DType::kF32);
    if (type_fits && view->shape == shape) {
      BytesFit(name, *view);
    } else {
      Mismatch(name, (floats ? "F8_E8M0 or F32 " : "F8_E8M0 ") + ShapeText(shape), *view);
    }
  }

  bool BytesFit(const std::string& name, const TensorView& view) {
    const int64_t expected = TensorBytes(view.dtype, view.shape);
    const auto got = static_cast<int64_t>(view.bytes.size());
    if (got == expected) return true;
    Wrong(name, "expected " + std::to_string(expected) + " bytes, got " + std::to_string(got));
    return false;
  }

  void Mismatch(const std::string& name, const std::string& expected, const TensorView& got) {
    Wrong(name, "expected " + expected + ", got " + Described(got));
  }
  void Wrong(const std::string& name, const std::string& problem) {
    Add("'" + name + "': " + problem, /*absent=*/false);
  }
  void Add(std::string problem, bool absent) {
    ++count_;
    all_absent_ = all_absent_ && absent;
    if (shown_.size() < kProblemsShown) shown_.push_back(std::move(problem));
  }

  const WeightSource& source_;
  size_t count_ = 0;
  bool all_absent_ = true;
  std::vector<std::string> shown_;
  int64_t bytes_ = 0;
};

}  // namespace

Result<int64_t> CheckTensors(const WeightSource& source) {
  TensorCheck check(source);
  for (const TensorSpec& spec : BackboneTensors(source.config())) {
    check.Check(spec, /*required=*/true);
  }
  const int64_t backbone_bytes = check.bytes();
  for (const TensorSpec& spec : MtpTensors(source.config())) check.Check(spec, /*required=*/false);
  RETURN_IF_ERROR(check.Finish());
  return backbone_bytes;
}

}  // namespace baleen
