// Gradients against PyTorch's autograd through Hugging Face transformers (tests/oracle).
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>

#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/safetensors.h"
#include "tests/testing/test_paths.h"
#include "tests/training/double_model.h"

namespace baleen::training {
namespace {

constexpr int64_t kSamples = 12;

/// What a golden file keeps of a tensor: norm, signed sum, samples (make_gradients.py).
template <class T>
std::vector<double> Condense(const T* gradient, int64_t count) {
  double square = 0;
  double signed_sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double g = gradient[i];
    square += g * g;
    const uint32_t hash = 2654435761U * static_cast<uint32_t>(i);
    signed_sum += hash >> 31 == 0 ? g : -g;
  }
  std::vector<double> condensed = {std::sqrt(square), signed_sum};
  const int64_t stride = (count + kSamples - 1) / kSamples;
  for (int64_t i = 0; i < count; i += stride) condensed.push_back(gradient[i]);
  return condensed;
}

struct GoldenCase {
  std::unique_ptr<WeightSource> source;
  std::vector<int32_t> ids;
  std::map<std::string, std::vector<float>> gradients;

  /// One document; the loss is the mean over all but its last token.
  TrainBatch Batch() const {
    TrainBatch b;
    b.rows = 1;
    b.length = static_cast<int64_t>(ids.size());
    b.tokens = ids;
    b.targets.assign(ids.begin() + 1, ids.end());
    b.targets.push_back(-1);
    b.weights.assign(ids.size(), 1.0F);
    b.document.assign(ids.size(), 0);
    for (size_t i = 0; i < ids.size(); ++i) b.position.push_back(static_cast<int32_t>(i));
    return b;
  }
};

template <class Visit>
void ForEachTensor(const std::string& path, Visit visit) {
  Result<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(path, WeightAccess::kRead);
  if (!file.ok()) FAIL(file.status().ToString());
  for (const SafetensorsEntry& entry : (*file)->tensors()) {
    visit(entry.name, (*file)->BytesOf(entry));
  }
}

GoldenCase LoadCase(const std::string& name) {
  GoldenCase c;
  const std::string folder = std::string(kTestData) + "/oracle/" + name;
  auto source = Checkpoint::Open(folder, CheckpointOptions{});
  if (!source.ok()) FAIL(source.status().ToString());
  c.source = std::move(source).value();
  ForEachTensor(folder + "/goldens.safetensors",
                [&](const std::string& tensor, std::span<const std::byte> bytes) {
                  if (tensor != "ids") return;
                  std::vector<int64_t> ids(bytes.size() / sizeof(int64_t));
                  std::memcpy(ids.data(), bytes.data(), bytes.size());
                  c.ids.assign(ids.begin(), ids.end());
                });
  ForEachTensor(std::string(kTestData) + "/training/gradients_" + name + ".safetensors",
                [&](const std::string& tensor, std::span<const std::byte> bytes) {
                  std::vector<float>& values = c.gradients[tensor];
                  values.resize(bytes.size() / sizeof(float));
                  std::memcpy(values.data(), bytes.data(), bytes.size());
                });
  return c;
}

GraphOptions SparseOptions() {
  GraphOptions options;
  options.indexer = IndexerStage::kSparse;
  return options;
}

/// Largest difference of a tensor's figures, over the golden norm; 0 if both are zero.
double DistanceOf(const std::vector<float>& golden, const std::vector<double>& got) {
  REQUIRE(golden.size() == got.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::abs(got[i] - static_cast<double>(golden[i])));
  }
  return golden[0] == 0 ? worst : worst / static_cast<double>(golden[0]);
}

const char* const kCases[] = {"flash", "pro", "odd", "long", "short"};

TEST_CASE("GradientsInDoubleAreTransformers") {
  for (const char* name : kCases) {
    const GoldenCase golden = LoadCase(name);
    Result<ParameterSet> set = ParameterSet::FromSource(*golden.source);
    if (!set.ok()) FAIL(set.status().ToString());
    DoubleModel model(*set, golden.Batch(), SparseOptions(),
                      {.target = 1.0 / static_cast<double>(golden.ids.size() - 1)});
    model.Run(/*training=*/true);
    CHECK(model.report.loss ==
          Approx(static_cast<double>(golden.gradients.at("loss")[0])).epsilon(1e-6));
    for (size_t p = 0; p < set->all().size(); ++p) {
      const Parameter& parameter = set->all()[p];
      const bool learns =
          !IsIndexerParameter(parameter.name) && parameter.rule != UpdateRule::kRoutingBias;
      INFO(name << ": " << parameter.name);
      REQUIRE((golden.gradients.count(parameter.name) == 1) == learns);
      if (!learns) continue;
      const std::vector<double> got =
          Condense(model.gradients[p].data(), static_cast<int64_t>(model.gradients[p].size()));
      // The goldens are rounded to fp32; so is a part of transformers' own constants.
      CHECK(DistanceOf(golden.gradients.at(parameter.name), got) <= 1e-6);
    }
  }
}

TEST_CASE("GradientsInFloatAreTransformers") {
  for (const char* name : kCases) {
    const GoldenCase golden = LoadCase(name);
    Result<ParameterSet> set = ParameterSet::FromSource(*golden.source);
    Result<std::unique_ptr<Graph>> graph = Graph::Make(golden.source->config());
    REQUIRE(set.ok());
    REQUIRE(graph.ok());
    Gradients gradients(*set);
    LossReport report;
    const LossScale scale = {.target = 1.0 / static_cast<double>(golden.ids.size() - 1)};
    const Status status = (*graph)->ForwardBackward(*set, golden.Batch(), SparseOptions(), scale,
                                                    &gradients, &report);
    if (!status.ok()) FAIL(status.ToString());
    for (size_t p = 0; p < set->all().size(); ++p) {
      const Parameter& parameter = set->all()[p];
      if (golden.gradients.count(parameter.name) == 0) continue;
      const std::vector<double> got =
          Condense(gradients[p].data(), static_cast<int64_t>(gradients[p].size()));
      INFO(name << ": " << parameter.name);
      CHECK(DistanceOf(golden.gradients.at(parameter.name), got) <= 1e-4);
    }
  }
}

}  // namespace
}  // namespace baleen::training
