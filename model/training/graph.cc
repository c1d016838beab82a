#include "model/training/graph.h"

#include <bit>
#include <cmath>
#include <string>
#include <utility>

#include "model/training/best_ops.h"
#include "model/training/documents.h"
#include "model/training/pass.h"

namespace baleen::training {
namespace {

Result<GraphOptions> Resolve(GraphOptions options, const ModelConfig& config) {
  if (options.window == 0) options.window = config.window;
  if (options.window < 1 || options.window > config.window) {
    return InvalidArgumentError("graph: window: expected 1 to " + std::to_string(config.window) +
                                ", got " + std::to_string(options.window));
  }
  const std::pair<const char*, float> weights[] = {{"balance_weight", options.balance_weight},
                                                   {"index_kl_weight", options.index_kl_weight},
                                                   {"mtp_weight", options.mtp_weight}};
  for (const auto& [name, weight] : weights) {
    if (std::isfinite(weight) && weight >= 0) continue;
    return InvalidArgumentError("graph: " + std::string(name) +
                                ": expected a finite number >= 0, got " + std::to_string(weight));
  }
  const bool rotates = options.quantise && options.indexer != IndexerStage::kOff;
  if (rotates && !std::has_single_bit(static_cast<uint64_t>(config.index_dim))) {
    return InvalidArgumentError(
        "graph: quantise: the Hadamard step of the indexer needs an index_head_dim that is a power "
        "of two, got " +
        std::to_string(config.index_dim));
  }
  return options;
}

Status CheckSet(const ParameterSet& parameters, const ModelConfig& config) {
  if (parameters.config().ToJson() == config.ToJson()) return OkStatus();
  return InvalidArgumentError(
      "graph: the parameters were made for another config; make both from the same one");
}

class CpuGraph : public Graph {
 public:
  CpuGraph(const ModelConfig& config, Arithmetic arithmetic)
      : config_(config), pass_(config, BestOps(arithmetic)) {}

  Status ForwardBackward(const ParameterSet& parameters, const TrainBatch& batch,
                         const GraphOptions& options, const LossScale& scale, Gradients* gradients,
                         LossReport* report) override {
    RETURN_IF_ERROR(CheckSet(parameters, config_));
    ASSIGN_OR_RETURN(const Documents documents, Documents::From(batch, config_));
    PassInput<float> input;
    input.documents = &documents;
    input.set = &parameters;
    ASSIGN_OR_RETURN(input.options, Resolve(options, config_));
    if (gradients->size() != parameters.all().size()) {
      return InvalidArgumentError("graph: the gradients were made for another config");
    }
    for (size_t p = 0; p < parameters.all().size(); ++p) {
      input.values.push_back(parameters.all()[p].value.data());
      input.gradients.push_back((*gradients)[p].data());
    }
    LossReport sums;
    input.scale = scale;
    input.report = &sums;
    pass_.Run(input);
    report->Add(sums);
    const double total = sums.loss + sums.mtp_loss + sums.balance_loss + sums.index_kl;
    if (std::isfinite(total)) return OkStatus();
    return InternalError(
        "graph: the loss is not finite; lower the learning rate or go back to the "
        "last good checkpoint");
  }

  Status Evaluate(const ParameterSet& parameters, const TrainBatch& batch,
                  const GraphOptions& options, bool want_logits, Evaluation* evaluation) override {
    RETURN_IF_ERROR(CheckSet(parameters, config_));
    ASSIGN_OR_RETURN(const Documents documents, Documents::From(batch, config_));
    PassInput<float> input;
    input.documents = &documents;
    input.set = &parameters;
    ASSIGN_OR_RETURN(input.options, Resolve(options, config_));
    for (const Parameter& parameter : parameters.all()) {
      input.values.push_back(parameter.value.data());
    }
    const auto places = static_cast<size_t>(batch.rows * batch.length);
    const bool draft = config_.mtp_layers > 0 && options.mtp_weight > 0;
    evaluation->loss.assign(places, 0.0F);
    evaluation->argmax.assign(places, 0);
    evaluation->mtp_argmax.assign(draft ? places : 0, 0);
    evaluation->logits.assign(want_logits ? places * static_cast<size_t>(config_.vocab) : 0, 0.0F);
    LossReport sums;
    input.report = &sums;
    input.evaluation = evaluation;
    input.want_logits = want_logits;
    pass_.Run(input);
    for (const float loss : evaluation->loss) {
      if (!std::isfinite(loss)) return InternalError("graph: a loss is not finite");
    }
    return OkStatus();
  }

 private:
  ModelConfig config_;
  Pass<float> pass_;
};

}  // namespace

void LossReport::Add(const LossReport& other) {
  loss += other.loss;
  mtp_loss += other.mtp_loss;
  balance_loss += other.balance_loss;
  index_kl += other.index_kl;
  assistant_loss_sum += other.assistant_loss_sum;
  assistant_targets += other.assistant_targets;
  correct += other.correct;
  mtp_targets += other.mtp_targets;
  mtp_correct += other.mtp_correct;
  tokens += other.tokens;
  target_tokens += other.target_tokens;
  if (expert_load.size() < other.expert_load.size()) expert_load.resize(other.expert_load.size());
  for (size_t l = 0; l < other.expert_load.size(); ++l) {
    if (expert_load[l].empty()) expert_load[l].resize(other.expert_load[l].size());
    for (size_t e = 0; e < expert_load[l].size(); ++e) {
      expert_load[l][e] += other.expert_load[l][e];
    }
  }
}

Result<std::unique_ptr<Graph>> Graph::Make(const ModelConfig& config, Arithmetic arithmetic) {
  RETURN_IF_ERROR(config.Validate());
  if (config.mtp_layers > 1) {
    return InvalidArgumentError("graph: num_nextn_predict_layers: expected at most 1, got " +
                                std::to_string(config.mtp_layers));
  }
  if (config.sinkhorn_iterations > kSinkhornIterationsMax) {
    return InvalidArgumentError("graph: hc_sinkhorn_iters: expected at most " +
                                std::to_string(kSinkhornIterationsMax) + ", got " +
                                std::to_string(config.sinkhorn_iterations));
  }
  return std::unique_ptr<Graph>(std::make_unique<CpuGraph>(config, arithmetic));
}

}  // namespace baleen::training
