#include "model/training/gate.h"

#include <utility>
#include <vector>

#include "model/training/sample_packer.h"
#include "model/training/synthetic_source.h"

namespace baleen::training {
namespace {

constexpr int64_t kRows = 4;
constexpr uint64_t kSeedOffset = 0x6A7E;

// Repeats of one length, for ever.
class RepeatSource : public SampleSource {
 public:
  RepeatSource(const SyntheticOptions& options, int64_t length)
      : options_(options), length_(length) {}
  Result<Sample> Next() override { return RepeatSample(options_, position_++, length_); }
  uint64_t position() const override { return position_; }
  Status Seek(uint64_t position) override {
    position_ = position;
    return OkStatus();
  }
  std::string identity() const override { return "repeats"; }

 private:
  SyntheticOptions options_;
  int64_t length_;
  uint64_t position_ = 0;
};

}  // namespace

Result<Score> CopyAccuracy(const ParameterSet& parameters, const GraphOptions& graph,
                           const GateOptions& options, GradientWorkers& workers) {
  SyntheticOptions synthetic;
  synthetic.seed = options.seed + kSeedOffset;
  synthetic.token_low = options.token_low;
  synthetic.token_high = options.token_high;
  RETURN_IF_ERROR(synthetic.Validate());
  RepeatSource source(synthetic, options.distance);
  SamplePacker packer(&source, {.rows = kRows,
                                .length = 2 * options.distance,
                                .vocab = parameters.config().vocab,
                                .pool = 1});
  std::vector<TrainBatch> batches;
  for (int64_t row = 0; row < options.samples; row += kRows) {
    ASSIGN_OR_RETURN(TrainBatch batch, packer.Next());
    batches.push_back(std::move(batch));
  }
  return workers.Evaluate(parameters, batches, graph);
}

}  // namespace baleen::training
