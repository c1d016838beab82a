#include "model/training/stage_samples.h"

#include <algorithm>
#include <cstdio>
#include <span>
#include <utility>

#include "model/checkpoint/file_access.h"
#include "model/training/random_stream.h"

namespace baleen::training {
namespace {

constexpr uint64_t kValidationSeed = 0x7E57;

std::string Shown(float weight) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", static_cast<double>(weight));
  return text;
}

// Lines of the documents of `batch`; a weight belongs to its token again, not to the one before.
std::string Lines(const TrainBatch& batch, int64_t step) {
  std::string lines;
  std::string tokens;
  std::string weights;
  const auto flush = [&] {
    if (!tokens.empty()) {
      lines += "{\"step\":" + std::to_string(step) + ",\"tokens\":[" + tokens + "],\"weights\":[" +
               weights + "]}\n";
    }
    tokens.clear();
    weights.clear();
  };
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const bool first = batch.position[i] == 0;
    if (batch.document[i] < 0 || first) flush();
    if (batch.document[i] < 0) continue;
    tokens += (first ? "" : ",") + std::to_string(batch.tokens[i]);
    weights += first ? "0" : "," + Shown(batch.weights[i - 1]);
  }
  flush();
  return lines;
}

}  // namespace

Result<std::unique_ptr<StageSamples>> StageSamples::Open(const TrainConfig& config, size_t stage) {
  const StageSpec& spec = config.stages[stage];
  const SourceSetting setting{config.folder, RandomStream(config.seed, stage).Next() >> 1,
                              config.model.vocab};
  auto source = OpenSources(spec.sources, setting);
  if (!source.ok()) return source.status().WithContext("stage \"" + spec.name + "\"");
  std::unique_ptr<StageSamples> samples(new StageSamples());
  samples->name_ = spec.name;
  samples->micro_batches_ = spec.micro_batches;
  samples->source_ = std::move(source).value();
  samples->packer_ = std::make_unique<SamplePacker>(
      samples->source_.get(),
      PackerOptions{spec.rows, spec.length, config.model.vocab, spec.pool, spec.long_samples});
  return samples;
}

Result<std::vector<TrainBatch>> StageSamples::NextStep() {
  std::vector<TrainBatch> batches;
  for (int64_t i = 0; i < micro_batches_; ++i) {
    auto batch = packer_->Next();
    if (!batch.ok()) return batch.status().WithContext("stage \"" + name_ + "\"");
    batches.push_back(std::move(batch).value());
  }
  return batches;
}

Result<std::vector<TrainBatch>> ValidationBatches(const TrainConfig& config) {
  const ValidationSpec& spec = config.validation;
  std::vector<TrainBatch> batches;
  if (spec.every_steps == 0) return batches;
  const SourceSetting setting{config.folder, config.seed + kValidationSeed, config.model.vocab};
  ASSIGN_OR_RETURN(const auto source, OpenSources(spec.sources, setting));
  SamplePacker packer(source.get(),
                      {spec.rows, spec.length, config.model.vocab, 60, LongSamples::kSkip});
  for (int64_t i = 0; i < spec.batches; ++i) {
    auto batch = packer.Next();
    if (!batch.ok()) return batch.status().WithContext("validation");
    batches.push_back(std::move(batch).value());
  }
  return batches;
}

Status WriteSamples(const TrainConfig& config, int64_t steps, const std::string& path,
                    const std::function<void(int64_t step)>& on_step) {
  if (steps <= 0) steps = config.schedule.steps;
  AtomicFile file(path);
  const auto add = [&file](const std::vector<TrainBatch>& batches, int64_t step) {
    for (const TrainBatch& batch : batches) {
      const std::string lines = Lines(batch, step);
      RETURN_IF_ERROR(file.Add(std::as_bytes(std::span(lines))));
    }
    return OkStatus();
  };
  ASSIGN_OR_RETURN(const auto validation, ValidationBatches(config));
  RETURN_IF_ERROR(add(validation, 0));
  int64_t step = 0;
  for (size_t s = 0; s < config.stages.size() && step < steps; ++s) {
    ASSIGN_OR_RETURN(const auto samples, StageSamples::Open(config, s));
    const int64_t end = std::min(steps, step + config.stages[s].steps);
    while (step < end) {
      ASSIGN_OR_RETURN(const auto batches, samples->NextStep());
      ++step;
      RETURN_IF_ERROR(add(batches, step));
      if (on_step) on_step(step);
    }
  }
  return file.Finish();
}

}  // namespace baleen::training
