#include "model/training/gradient_workers.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/integer_math.h"

namespace baleen::training {
namespace {

constexpr int64_t kForkAlways = int64_t{1} << 30;  // A micro-batch is worth a thread.
constexpr int64_t kChunk = int64_t{1} << 16;       // Elements summed by one thread in one go.

struct StepWeights {
  double targets = 0;
  int64_t tokens = 0;
};

StepWeights WeightsOf(std::span<const TrainBatch> batches) {
  StepWeights sum;
  for (const TrainBatch& batch : batches) {
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      if (batch.document[i] < 0) continue;
      ++sum.tokens;
      if (batch.targets[i] >= 0) sum.targets += static_cast<double>(batch.weights[i]);
    }
  }
  return sum;
}

std::string Numbered(size_t index) { return "micro-batch " + std::to_string(index); }

}  // namespace

GradientWorkers::GradientWorkers(const ParameterSet& parameters, int threads)
    : pool_(threads, kernels::cpu::ThreadPool::kForkCost), total_(parameters) {}

Result<std::unique_ptr<GradientWorkers>> GradientWorkers::Make(const ParameterSet& parameters,
                                                               Arithmetic arithmetic, int threads) {
  std::unique_ptr<GradientWorkers> workers(new GradientWorkers(parameters, threads));
  for (int i = 0; i < workers->pool_.threads(); ++i) {
    ASSIGN_OR_RETURN(auto graph, Graph::Make(parameters.config(), arithmetic));
    workers->slots_.push_back({std::move(graph), Gradients(parameters), {}, {}, {}});
  }
  return workers;
}

void GradientWorkers::AddWave(size_t slots) {
  const std::span<float> total = total_.flat();
  const auto size = static_cast<int64_t>(total.size());
  pool_.For(CeilDivide(size, kChunk), kChunk, [&](int64_t chunk, int) {
    const auto begin = static_cast<size_t>(chunk * kChunk);
    const size_t end = std::min(begin + static_cast<size_t>(kChunk), total.size());
    for (size_t s = 0; s < slots; ++s) {
      const std::span<const float> part = slots_[s].gradients.flat();
      for (size_t i = begin; i < end; ++i) total[i] += part[i];
    }
  });
}

Result<LossReport> GradientWorkers::Run(const ParameterSet& parameters,
                                        std::span<const TrainBatch> batches,
                                        const GraphOptions& options) {
  const StepWeights sum = WeightsOf(batches);
  if (!(sum.targets > 0)) {
    return InvalidArgumentError(
        "a step without anything to learn: no token of its samples has a weight above 0");
  }
  const LossScale scale{1.0 / sum.targets, 1.0 / static_cast<double>(sum.tokens)};
  LossReport report;
  total_.Clear();
  for (size_t begin = 0; begin < batches.size(); begin += slots_.size()) {
    const size_t wave = std::min(slots_.size(), batches.size() - begin);
    pool_.For(static_cast<int64_t>(wave), kForkAlways, [&](int64_t unit, int) {
      Slot& slot = slots_[static_cast<size_t>(unit)];
      slot.gradients.Clear();
      slot.report = {};
      slot.status =
          slot.graph->ForwardBackward(parameters, batches[begin + static_cast<size_t>(unit)],
                                      options, scale, &slot.gradients, &slot.report);
    });
    for (size_t s = 0; s < wave; ++s) {
      if (!slots_[s].status.ok()) return slots_[s].status.WithContext(Numbered(begin + s));
      report.Add(slots_[s].report);
    }
    AddWave(wave);
  }
  return report;
}

Result<Score> GradientWorkers::Evaluate(const ParameterSet& parameters,
                                        std::span<const TrainBatch> batches,
                                        const GraphOptions& options) {
  Score score;
  double weights = 0;
  double correct = 0;
  for (size_t begin = 0; begin < batches.size(); begin += slots_.size()) {
    const size_t wave = std::min(slots_.size(), batches.size() - begin);
    pool_.For(static_cast<int64_t>(wave), kForkAlways, [&](int64_t unit, int) {
      Slot& slot = slots_[static_cast<size_t>(unit)];
      slot.status = slot.graph->Evaluate(parameters, batches[begin + static_cast<size_t>(unit)],
                                         options, /*want_logits=*/false, &slot.evaluation);
    });
    for (size_t s = 0; s < wave; ++s) {
      if (!slots_[s].status.ok()) return slots_[s].status.WithContext(Numbered(begin + s));
      const TrainBatch& batch = batches[begin + s];
      const Evaluation& seen = slots_[s].evaluation;
      for (size_t i = 0; i < batch.tokens.size(); ++i) {
        if (batch.document[i] < 0 || batch.targets[i] < 0 || !(batch.weights[i] > 0)) continue;
        ++score.targets;
        weights += static_cast<double>(batch.weights[i]);
        score.loss += static_cast<double>(batch.weights[i]) * static_cast<double>(seen.loss[i]);
        correct += seen.argmax[i] == batch.targets[i] ? 1 : 0;
      }
    }
  }
  if (score.targets > 0) {
    score.loss /= weights;
    score.accuracy = correct / static_cast<double>(score.targets);
  }
  return score;
}

double GradientWorkers::GradientNorm() {
  const std::span<const float> values = total_.flat();
  const int64_t chunks = CeilDivide(static_cast<int64_t>(values.size()), kChunk);
  std::vector<double> sums(static_cast<size_t>(chunks));
  pool_.For(chunks, kChunk, [&](int64_t chunk, int) {
    const auto begin = static_cast<size_t>(chunk * kChunk);
    const size_t end = std::min(begin + static_cast<size_t>(kChunk), values.size());
    double sum = 0;
    for (size_t i = begin; i < end; ++i) {
      sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    }
    sums[static_cast<size_t>(chunk)] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return std::sqrt(total);
}

}  // namespace baleen::training
