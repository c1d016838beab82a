#include "model/training/optimiser.h"

#include <algorithm>
#include <string_view>
#include <tuple>

#include "model/checkpoint/shape.h"

namespace baleen::training {
namespace {

constexpr int64_t kJobCost = int64_t{1} << 20;  // Worth a wake-up of the pool whatever the job.

double MuonCost(const MuonMatrices& shape, const NewtonSchulzSteps& steps) {
  const auto n = static_cast<double>(std::min(shape.rows, shape.cols));
  const auto m = static_cast<double>(std::max(shape.rows, shape.cols));
  return (steps.fast + steps.stable) * 2.0 * n * n * (2.0 * m + n);
}

}  // namespace

MuonMatrices LogicalMatrices(const Parameter& parameter, const ModelConfig& config) {
  const std::string_view name = parameter.name;
  MuonMatrices matrices{1, parameter.shape[0], parameter.shape.size() > 1 ? parameter.shape[1] : 1};
  if (name.ends_with("attn.wo_a.weight")) matrices.count = config.o_groups;
  const bool projection =
      name.ends_with("compressor.wkv.weight") || name.ends_with("compressor.wgate.weight");
  if (projection) {
    const bool indexer = name.find(".indexer.") != std::string_view::npos;
    matrices.count = matrices.rows / (indexer ? config.index_dim : config.head_dim);
  }
  matrices.rows /= matrices.count;
  return matrices;
}

Optimiser::Optimiser(const ParameterSet& parameters, const OptimiserOptions& options)
    : options_(options) {
  for (size_t p = 0; p < parameters.all().size(); ++p) {
    const Parameter& parameter = parameters.all()[p];
    const MuonMatrices shape = LogicalMatrices(parameter, parameters.config());
    matrices_.push_back(shape);
    moments_.emplace_back();
    if (parameter.rule == UpdateRule::kRoutingBias) continue;
    moments_.back().first.assign(parameter.value.size(), 0.0F);
    if (UsesMuon(parameter)) {
      for (int64_t i = 0; i < shape.count; ++i) {
        jobs_.push_back({p, i, MuonCost(shape, options_.muon.steps)});
      }
    } else {
      moments_.back().second.assign(parameter.value.size(), 0.0F);
      jobs_.push_back({p, -1, 20.0 * static_cast<double>(parameter.value.size())});
    }
  }
  std::sort(jobs_.begin(), jobs_.end(), [](const Job& a, const Job& b) {
    return std::tuple(-a.cost, a.parameter, a.matrix) < std::tuple(-b.cost, b.parameter, b.matrix);
  });
}

bool Optimiser::UsesMuon(const Parameter& parameter) const {
  return options_.muon_for_matrices && parameter.rule == UpdateRule::kMuon;
}

void Optimiser::Step(const Gradients& gradients, const StepRates& rates,
                     const std::vector<bool>& frozen, kernels::cpu::ThreadPool& pool,
                     ParameterSet* parameters) {
  scratch_.resize(static_cast<size_t>(pool.threads()), Orthogonaliser(options_.arithmetic));
  const std::span<Parameter> all = parameters->all();
  for (size_t p = 0; p < all.size(); ++p) {
    if (!frozen[p]) ++moments_[p].steps;
  }
  pool.For(static_cast<int64_t>(jobs_.size()), kJobCost, [&](int64_t unit, int worker) {
    const Job& job = jobs_[static_cast<size_t>(unit)];
    if (frozen[job.parameter]) return;
    Parameter& parameter = all[job.parameter];
    ParameterMoments& moments = moments_[job.parameter];
    const std::span<const float> gradient = gradients[job.parameter];
    if (job.matrix >= 0) {
      MuonStep(matrices_[job.parameter], job.matrix, gradient, rates.gradient_scale, rates.matrices,
               options_.muon, scratch_[static_cast<size_t>(worker)], moments.first,
               parameter.value);
    } else {
      const float rate = parameter.rule == UpdateRule::kMuon ? rates.matrices : rates.rest;
      AdamWStep(gradient, rates.gradient_scale, rate, moments.steps, options_.adamw,
                {moments.first, moments.second}, parameter.value);
    }
  });
}

}  // namespace baleen::training
