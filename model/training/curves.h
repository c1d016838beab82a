// Reports of steps, and their curves: one line of CSV per step, in step with the checkpoints.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "model/training/graph.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// One step as the callback and the curves see it.
struct StepReport {
  int64_t step = 0;   ///< Counts from 1.
  int64_t steps = 0;  ///< Of the run.
  std::string stage;
  int64_t tokens_seen = 0;
  LossReport losses;
  double gradient_norm = 0;
  double rate_share = 0;   ///< Of the peak learning rates.
  double load_peak = 0;    ///< Busiest expert of a score-routed layer, over the mean.
  double seconds = 0;      ///< Of this step.
  bool validated = false;  ///< After this step; then:
  double validation_loss = 0;
  double validation_accuracy = 0;
  bool gated = false;  ///< A gate was asked after this step; then:
  double gate_accuracy = 0;

  /// Of the assistant's tokens (weight 1); 0 if there are none.
  double answer_loss() const;
  double answer_accuracy() const;
  double draft_accuracy() const;
};

/// A file that only grows, except that a resumed run first drops the lines of steps that will be
/// done again.
class Curves {
 public:
  /// Keeps the lines up to `step` of an existing file; the header comes first.
  /// Errors: UNAVAILABLE naming the path.
  static Result<Curves> Open(const std::string& path, int64_t step);
  Curves(Curves&&) = default;
  Curves& operator=(Curves&&) = default;

  /// Errors: UNAVAILABLE (disk full).
  Status Add(const StepReport& report);

 private:
  struct FileCloser {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  Curves(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

  std::string path_;
  std::unique_ptr<std::FILE, FileCloser> file_;
};

}  // namespace baleen::training
