// MixedSource: several sources taken in turn by seeded draws, each at its share of the samples.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/training/random_stream.h"
#include "model/training/sample_source.h"
#include "tools_sdk/status.h"

namespace baleen::training {

class MixedSource : public SampleSource {
 public:
  struct Part {
    std::unique_ptr<SampleSource> source;
    double share = 1;  ///< Relative to the other parts'.
  };

  /// Requires: at least one part; shares finite and positive.
  MixedSource(std::vector<Part> parts, uint64_t seed);

  Result<Sample> Next() override;
  uint64_t position() const override { return position_; }
  /// Cost: replays the draws up to `position`, nanoseconds each.
  Status Seek(uint64_t position) override;
  std::string identity() const override;

 private:
  size_t Draw(uint64_t position) const;

  std::vector<Part> parts_;
  uint64_t seed_;
  double total_ = 0;
  uint64_t position_ = 0;
};

}  // namespace baleen::training
