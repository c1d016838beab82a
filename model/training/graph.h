// Graph: forward and backward pass of the whole DeepSeek-V4 on packed documents, on one CPU thread.
//
// Knows no optimiser, no data, no files and no threads: a trainer runs one Graph per worker and
// adds the gradients. Quantised weights are the caller's too: pass rounded values, apply the
// gradients to the master (straight through). Called by model/training's trainer and evaluation.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/config.h"
#include "model/training/parameters.h"
#include "model/training/train_batch.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Of the matrix products; everything else is fp32.
enum class Arithmetic {
  kFloat32,
  kBfloat16,  ///< Operands rounded to bf16, fp32 sums. Without AVX512-BF16: as kFloat32.
};

/// How the indexer of CSA layers takes part.
enum class IndexerStage {
  kOff,     ///< Not run: queries see every visible entry.
  kWarmUp,  ///< Queries see every visible entry; the indexer learns the attention's distribution.
  kSparse,  ///< Queries see its top-k; it learns the distribution over them.
};

struct GraphOptions {
  int64_t window = 0;  ///< 1 to the config's, which 0 stands for; includes the current token.
  /// Round trips of KV rows, index queries and keys, as in native mode; straight through. With an
  /// indexer its width must be a power of two.
  bool quantise = false;
  IndexerStage indexer = IndexerStage::kOff;
  float balance_weight = 0;   ///< Sequence balance loss of score-routed layers.
  float index_kl_weight = 0;  ///< Takes no part with kOff.
  float mtp_weight = 0;       ///< 0: the draft block isn't run.
};

/// Factors that turn a micro-batch's sums into its share of a step's means.
struct LossScale {
  double target = 1;  ///< 1 / sum of the step's loss weights: cross entropies.
  double token = 1;   ///< 1 / tokens of the step, padding excluded: balance and index losses.
};

/// Adds up over the micro-batches of a step. Losses are already multiplied by LossScale but not by
/// their weights in GraphOptions: the objective is loss + mtp_weight * mtp_loss + ...
struct LossReport {
  double loss = 0;          ///< Weighted cross entropy.
  double mtp_loss = 0;      ///< The same of the draft block, one token further on.
  double balance_loss = 0;  ///< Sum over layers of E / (K T) sum_e load_e P_e, mean over tokens.
  double index_kl = 0;      ///< Sum over CSA layers of the mean KL per token.
  double assistant_loss_sum = 0;  ///< Unscaled cross entropy where the weight is 1 ...
  int64_t assistant_targets = 0;  ///< ... and how many positions those are.
  int64_t correct = 0;            ///< Of them, the argmax was the target.
  int64_t mtp_targets = 0;        ///< Positions of weight 1 that the draft block predicted ...
  int64_t mtp_correct = 0;        ///< ... and got right.
  int64_t tokens = 0;             ///< Padding excluded.
  int64_t target_tokens = 0;      ///< Positions with a target and a weight above 0.
  std::vector<std::vector<int64_t>> expert_load;  ///< [layers (+ 1 with a draft block)][experts]

  void Add(const LossReport& other);
};

/// What an evaluation sees of each position; [rows * length], padding holds zeros.
struct Evaluation {
  std::vector<float> loss;          ///< Unweighted cross entropy; 0 without a target.
  std::vector<int32_t> argmax;      ///< Lowest id on ties.
  std::vector<float> logits;        ///< [rows * length, vocab] if asked for, else empty.
  std::vector<int32_t> mtp_argmax;  ///< Of the token after next; empty without a draft block.
};

/// The same bits on every run with one instruction set: all reductions have a fixed order.
/// Threads: one call at a time. Cost: keeps its activations' memory between calls, about
/// ActivationBytes of the largest batch.
class Graph {
 public:
  /// Errors: INVALID_ARGUMENT: a config that fails Validate, more than one draft block, more than
  /// 64 Sinkhorn iterations.
  static Result<std::unique_ptr<Graph>> Make(const ModelConfig& config,
                                             Arithmetic arithmetic = Arithmetic::kFloat32);
  virtual ~Graph() = default;

  /// Adds the objective's gradients to `gradients` and the losses to `report`.
  /// Errors: INVALID_ARGUMENT naming the field, row and position of a batch that can't be, or an
  /// option out of range; nothing is added then. INTERNAL if the loss isn't finite.
  virtual Status ForwardBackward(const ParameterSet& parameters, const TrainBatch& batch,
                                 const GraphOptions& options, const LossScale& scale,
                                 Gradients* gradients, LossReport* report) = 0;

  /// Forward only. Errors: as above.
  virtual Status Evaluate(const ParameterSet& parameters, const TrainBatch& batch,
                          const GraphOptions& options, bool want_logits,
                          Evaluation* evaluation) = 0;
};

/// Bytes that a Graph keeps for a batch of `tokens` tokens; for plans.
int64_t ActivationBytes(const ModelConfig& config, int64_t tokens);

/// Floating-point operations of the matrix products of one trained token (forward and backward),
/// attention over `context` keys included; for plans.
double TrainingFlopsPerToken(const ModelConfig& config, int64_t context);

}  // namespace baleen::training
