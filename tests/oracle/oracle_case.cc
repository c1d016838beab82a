#include "tests/oracle/oracle_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>

#include "model/checkpoint/safetensors.h"
#include "tests/testing/test_paths.h"

namespace baleen::oracle {
namespace {

// The named tensor as T; its shape goes to `shape`.
template <typename T>
Result<std::vector<T>> Read(const SafetensorsFile& file, const std::string& name, DType dtype,
                            std::vector<int64_t>* shape = nullptr) {
  for (const SafetensorsEntry& entry : file.tensors()) {
    if (entry.name != name) continue;
    if (entry.dtype != dtype) return InvalidArgumentError("goldens: " + name + ": unexpected type");
    const std::span<const std::byte> bytes = file.BytesOf(entry);
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    if (shape != nullptr) *shape = entry.shape;
    return values;
  }
  return NotFoundError("goldens: no tensor " + name);
}

float SmallestInColumn(const std::vector<float>& rows, int64_t column, int64_t columns) {
  float smallest = std::numeric_limits<float>::infinity();
  for (size_t i = static_cast<size_t>(column); i < rows.size(); i += static_cast<size_t>(columns)) {
    smallest = std::min(smallest, rows[i]);
  }
  return smallest;
}

// The largest difference of two [tokens, vocab], relative to the largest magnitude in `golden`.
Distance Farthest(std::span<const float> golden, std::span<const float> got, int64_t vocab,
                  const std::vector<int64_t>& set_aside) {
  double peak = 0;
  for (float logit : golden) peak = std::max(peak, static_cast<double>(std::abs(logit)));
  Distance worst;
  for (size_t i = 0; i < golden.size(); ++i) {
    const int64_t t = static_cast<int64_t>(i) / vocab;
    const int64_t v = static_cast<int64_t>(i) % vocab;
    const double apart = std::abs(static_cast<double>(got[i]) - golden[i]) / peak;
    if (apart <= worst.relative) continue;
    if (std::count(set_aside.begin(), set_aside.end(), t) > 0) continue;
    if (std::isnan(apart)) return {std::numeric_limits<double>::infinity(), t, v};
    worst = {apart, t, v};
  }
  return worst;
}

}  // namespace

std::string CasesFolder() { return std::string(kTestData) + "/oracle"; }

std::string Distance::ToString() const {
  return std::to_string(relative * 1e6) + "e-6 of the largest |logit|, at position " +
         std::to_string(position) + ", token " + std::to_string(token);
}

Result<OracleCase> OracleCase::Load(const std::string& name) {
  OracleCase result;
  result.name = name;
  result.folder = CasesFolder() + "/" + name;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<SafetensorsFile> file,
      SafetensorsFile::Open(result.folder + "/goldens.safetensors", WeightAccess::kRead));
  ASSIGN_OR_RETURN(const std::vector<int64_t> ids, Read<int64_t>(*file, "ids", DType::kI64));
  result.ids.assign(ids.begin(), ids.end());
  std::vector<int64_t> shape;
  ASSIGN_OR_RETURN(result.logits, Read<float>(*file, "logits", DType::kF32, &shape));
  if (shape.size() != 2 || shape[0] != result.tokens()) {
    return InvalidArgumentError("goldens: logits: expected [tokens, vocab]");
  }
  result.vocab = shape[1];
  const std::string native = result.folder + "/native.safetensors";
  if (std::filesystem::exists(native)) {
    ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> native_file,
                     SafetensorsFile::Open(native, WeightAccess::kRead));
    ASSIGN_OR_RETURN(result.native, Read<float>(*native_file, "logits", DType::kF32));
    if (result.native.size() != result.logits.size()) {
      return InvalidArgumentError("goldens: native logits: expected [tokens, vocab]");
    }
  }
  ASSIGN_OR_RETURN(result.index_gap, Read<float>(*file, "index_gap", DType::kF32));
  ASSIGN_OR_RETURN(result.expert_gap, Read<float>(*file, "expert_gap", DType::kF32));
  ASSIGN_OR_RETURN(result.set_aside, Read<int64_t>(*file, "set_aside", DType::kI64));
  return result;
}

float OracleCase::ClosestGap(int64_t position) const {
  return std::min(SmallestInColumn(index_gap, position, tokens()),
                  SmallestInColumn(expert_gap, position, tokens()));
}

Distance OracleCase::DistanceOf(std::span<const float> got) const {
  return Farthest(logits, got, vocab, set_aside);
}

Distance OracleCase::NativeDistanceOf(std::span<const float> got) const {
  return Farthest(native, got, vocab, {});
}

Result<SampledLogits> SampledLogits::Load(const std::string& path) {
  SampledLogits result;
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                   SafetensorsFile::Open(path, WeightAccess::kRead));
  ASSIGN_OR_RETURN(const std::vector<int64_t> ids, Read<int64_t>(*file, "ids", DType::kI64));
  result.ids.assign(ids.begin(), ids.end());
  ASSIGN_OR_RETURN(result.positions, Read<int64_t>(*file, "positions", DType::kI64));
  ASSIGN_OR_RETURN(result.set_aside, Read<int64_t>(*file, "set_aside", DType::kI64));
  std::vector<int64_t> shape;
  ASSIGN_OR_RETURN(result.logits, Read<float>(*file, "logits", DType::kF32, &shape));
  if (shape.size() != 2 || shape[0] != std::ssize(result.positions)) {
    return InvalidArgumentError("goldens: logits: expected [positions, vocab]");
  }
  for (const int64_t position : result.positions) {
    if (position < 0 || position >= std::ssize(result.ids)) {
      return InvalidArgumentError("goldens: a position beyond the text");
    }
  }
  result.vocab = shape[1];
  return result;
}

}  // namespace baleen::oracle
