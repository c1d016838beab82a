#include "model/training/plan.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "kernels/integer_math.h"
#include "model/checkpoint/tensor_table.h"
#include "model/training/export_checkpoint.h"
#include "model/training/gradient_workers.h"
#include "model/training/optimiser.h"
#include "model/training/sample_packer.h"
#include "model/training/structured_start.h"
#include "model/training/weight_rounding.h"

namespace baleen::training {
namespace {

constexpr double kMeasureSeconds = 2;  // Of each stage, at most; one repetition at least.
constexpr int kRepetitionsMax = 5;

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The fastest of a few repetitions: other work on the machine only ever adds.
template <typename Body>
Result<double> Fastest(const Body& body) {
  double fastest = 0;
  double total = 0;
  for (int i = 0; i < kRepetitionsMax && (i == 0 || total < kMeasureSeconds); ++i) {
    const auto begin = Clock::now();
    RETURN_IF_ERROR(body());
    const double seconds = SecondsSince(begin);
    total += seconds;
    fastest = i == 0 ? seconds : std::min(fastest, seconds);
  }
  return fastest;
}

// Keys that an average query of a row sees: its window, and the entries of the layers that have
// them.
int64_t AverageContext(const StageSpec& stage) {
  return std::min(stage.graph.window, stage.length) + stage.length / (2 * kCsaRatio);
}

Status MeasureStage(const TrainConfig& config, const ParameterSet& parameters,
                    GradientWorkers& workers, double optimiser_seconds, const StageSpec& stage,
                    StagePlan* plan) {
  ASSIGN_OR_RETURN(const auto source,
                   OpenSources(stage.sources, {config.folder, config.seed, config.model.vocab}));
  SamplePacker packer(
      source.get(), {stage.rows, stage.length, config.model.vocab, stage.pool, stage.long_samples});
  const int64_t wave = std::min<int64_t>(workers.pool().threads(), stage.micro_batches);
  std::vector<TrainBatch> batches;
  int64_t tokens = 0;
  for (int64_t i = 0; i < wave; ++i) {
    ASSIGN_OR_RETURN(TrainBatch batch, packer.Next());
    tokens += std::count_if(batch.document.begin(), batch.document.end(),
                            [](int32_t document) { return document >= 0; });
    batches.push_back(std::move(batch));
  }
  ASSIGN_OR_RETURN(const double seconds, Fastest([&]() -> Status {
                     return workers.Run(parameters, batches, stage.graph).status();
                   }));
  const int64_t waves = CeilDivide(stage.micro_batches, wave);
  plan->name = stage.name;
  plan->steps = stage.steps;
  plan->tokens_per_step = stage.tokens_per_step();
  plan->flops_per_token = TrainingFlopsPerToken(config.model, AverageContext(stage));
  plan->seconds_per_step = seconds * static_cast<double>(waves) + optimiser_seconds;
  const double used = static_cast<double>(tokens) / static_cast<double>(wave) *
                      static_cast<double>(stage.micro_batches);
  plan->tokens_per_second = used / plan->seconds_per_step;
  plan->hours = plan->seconds_per_step * static_cast<double>(stage.steps) / 3600;
  return OkStatus();
}

}  // namespace

Result<TrainingPlan> PlanTraining(const TrainConfig& config, int threads) {
  TrainingPlan plan;
  plan.parameters = ParameterCount(BackboneTensors(config.model));
  plan.active_parameters = ActiveParameterCount(config.model);
  plan.draft_parameters = ParameterCount(MtpTensors(config.model));
  plan.official_bytes = ExportBytes(config.model, ExportFormat::kOfficial);
  plan.float32_bytes = ExportBytes(config.model, ExportFormat::kFloat32);

  ASSIGN_OR_RETURN(ParameterSet parameters, ParameterSet::Make(config.model));
  PlainStart(config.seed, &parameters);
  Optimiser optimiser(parameters, config.optimiser);
  ASSIGN_OR_RETURN(const auto workers,
                   GradientWorkers::Make(parameters, config.arithmetic, threads));
  plan.threads = workers->pool().threads();
  int64_t moments = 0;
  for (const ParameterMoments& moment : optimiser.moments()) {
    moments += static_cast<int64_t>(moment.first.size() + moment.second.size());
  }
  int64_t activations = 0;
  bool rounds = false;
  for (const StageSpec& stage : config.stages) {
    activations = std::max(activations, ActivationBytes(config.model, stage.rows * stage.length));
    rounds = rounds || stage.quantise_weights;
  }
  const int64_t elements = parameters.element_count();
  plan.checkpoint_bytes = 4 * (elements + moments);
  plan.memory_bytes =
      4 * (elements * (rounds ? 3 : 2) + moments) + plan.threads * (4 * elements + activations);

  const std::vector<bool> frozen(parameters.all().size(), false);
  ASSIGN_OR_RETURN(plan.optimiser_seconds, Fastest([&]() -> Status {
                     optimiser.Step(workers->gradients(), {1e-9F, 1e-9F, 1}, frozen,
                                    workers->pool(), &parameters);
                     return OkStatus();
                   }));
  for (const StageSpec& stage : config.stages) {
    plan.stages.emplace_back();
    RETURN_IF_ERROR(MeasureStage(config, parameters, *workers, plan.optimiser_seconds, stage,
                                 &plan.stages.back())
                        .WithContext("stage \"" + stage.name + "\""));
    plan.hours += plan.stages.back().hours;
    plan.flops += plan.stages.back().flops_per_token *
                  static_cast<double>(stage.steps * stage.tokens_per_step());
  }
  plan.tokens = config.total_tokens();
  return plan;
}

}  // namespace baleen::training
