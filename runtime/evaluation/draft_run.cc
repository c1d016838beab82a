// The draft block: how often the token that it proposes is the one that comes.
#include <algorithm>
#include <bit>

#include "model/checkpoint/checkpoint.h"
#include "model/training/corpus/conversation_source.h"
#include "model/training/graph.h"
#include "model/training/sample_packer.h"
#include "runtime/evaluation/evaluation.h"

namespace baleen::evaluation {
namespace {

using training::GraphOptions;
using training::TrainBatch;

constexpr int64_t kRowTokens = 1536;
constexpr int64_t kPool = 20;

/// As the engine computes: selections by the indexer, and the stored formats' round trips where
/// the indexer's width allows them.
GraphOptions EngineLike(const ModelConfig& config) {
  GraphOptions options;
  options.quantise =
      config.index_dim <= 0 || std::has_single_bit(static_cast<uint64_t>(config.index_dim));
  options.indexer = training::IndexerStage::kSparse;
  options.mtp_weight = 1;
  return options;
}

/// At position t the block proposes token t + 2; counted where a reply's token stands there.
void Count(const TrainBatch& batch, const training::Evaluation& seen, Row* row) {
  for (int64_t at = 0; at + 1 < batch.length; ++at) {
    const auto t = static_cast<size_t>(at);
    const bool counts = batch.document[t] >= 0 && batch.document[t + 1] == batch.document[t] &&
                        batch.targets[t + 1] >= 0 && batch.weights[t + 1] == 1;
    if (!counts) continue;
    ++row->total;
    row->correct += seen.mtp_argmax[t] == batch.targets[t + 1] ? 1 : 0;
  }
}

}  // namespace

Result<Row> EvaluateDraft(const EvaluationOptions& options, const Progress& progress) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.model_path, {}));
  const ModelConfig& config = checkpoint->config();
  if (config.mtp_layers == 0) {
    return FailedPreconditionError("the model has no draft block (num_nextn_predict_layers is 0)",
                                   "NO_DRAFT_BLOCK");
  }
  ASSIGN_OR_RETURN(const auto parameters, training::ParameterSet::FromSource(*checkpoint));
  ASSIGN_OR_RETURN(const auto graph, training::Graph::Make(config));
  training::ConversationOptions conversations;
  conversations.tokenizer = options.model_path + "/tokenizer.json";
  conversations.seed = options.seed;
  conversations.split = training::Split::kEvaluation;
  conversations.tokens_max = kRowTokens;
  ASSIGN_OR_RETURN(const auto source, training::ConversationSource::Open(conversations));
  training::SamplePacker packer(source.get(),
                                {1, kRowTokens, config.vocab, kPool, training::LongSamples::kSkip});
  Row row;
  row.task = "draft";
  row.variant = "token after next";
  while (row.total < options.count) {
    ASSIGN_OR_RETURN(const TrainBatch batch, packer.Next());
    training::Evaluation seen;
    RETURN_IF_ERROR(graph->Evaluate(parameters, batch, EngineLike(config), false, &seen));
    Count(batch, seen, &row);
    if (progress) progress(row, options.count);
  }
  return row;
}

}  // namespace baleen::evaluation
