// Evaluation: how often a model does what it should, on conversations it was never trained on.
//
// Every conversation comes from the evaluation split, by a seed that the caller chooses: anyone can
// make a fresh test. Prints nothing. Called by `baleen eval`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/model.h"
#include "runtime/evaluation/probe.h"
#include "runtime/evaluation/score.h"
#include "tools_sdk/status.h"

namespace baleen::evaluation {

struct EvaluationOptions {
  std::vector<std::string> tasks;  ///< Of TaskNames(); empty: all.
  uint64_t seed = 1;
  int64_t count = 100;  ///< Calls, answers, needles ... per row, at least.
  std::vector<int64_t> needle_tokens = {400, 4096};
  /// Files whose held-out paragraphs give "perplexity / text".
  std::vector<std::string> texts;
  /// For the tasks "draft" and "agent", which open it themselves.
  std::string model_path;
  std::string scratch;  ///< An empty folder for the task "agent".
  int threads = 0;
  int64_t turn_timeout_ms = 120'000;
  ProbeOptions probe;

  /// Errors: INVALID_ARGUMENT naming the field.
  Status Validate() const;
};

/// calls, chains, answers, refusals, lookups, needles, perplexity, draft, agent.
std::vector<std::string> TaskNames();

/// Told after each step: which row, and how far it is.
using Progress = std::function<void(const Row& row, int64_t wanted)>;

/// The rows of the wanted tasks, in the order of TaskNames().
/// Errors: INVALID_ARGUMENT (options), those of the model and of the runtime.
Result<std::vector<Row>> Evaluate(Model& model, const EvaluationOptions& options,
                                  const Progress& progress);

/// How often the draft block (MTP) proposes the token that comes, over held-out replies, at least
/// `options.count` tokens. Computed by the training graph: the engine doesn't run the block.
/// Errors: FAILED_PRECONDITION with reason NO_DRAFT_BLOCK; those of Checkpoint::Open.
Result<Row> EvaluateDraft(const EvaluationOptions& options, const Progress& progress);

/// End to end: tasks over real files in `options.scratch`, through a session with the default agent
/// and the built-in tools. A row per goal.
Result<std::vector<Row>> EvaluateAgent(const EvaluationOptions& options, const Progress& progress);

/// One line per row: task, variant, correct, total, share, low, high, perplexity.
std::string RowsCsv(const std::vector<Row>& rows);
/// An array of objects with the same fields.
std::string RowsJson(const std::vector<Row>& rows);
/// For people.
std::string RowsTable(const std::vector<Row>& rows);

}  // namespace baleen::evaluation
