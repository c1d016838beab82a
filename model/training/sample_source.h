// SampleSource: an endless, seekable stream of training samples.
//
// The seam between what is learnt (generators, files) and the loop that learns it. Knows nothing of
// rows, batches or models. Implemented by synthetic_source and jsonl_source, and by whoever brings
// other samples. Called by the sample packer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen::training {

/// One document: nothing attends across its borders.
struct Sample {
  std::vector<int32_t> tokens;
  /// [tokens] Weight of the loss of predicting tokens[i] from those before it; 0: not learnt. The
  /// first is never used.
  std::vector<float> weights;
};

/// The samples of one seed. Sample number `i` depends on the source's identity and on `i` alone, so
/// that a run resumed at a position sees what an uninterrupted one would have seen.
/// Threads: one at a time.
class SampleSource {
 public:
  virtual ~SampleSource() = default;

  /// The sample at position(), which then grows by one. Endless: files start over.
  /// Errors: INVALID_ARGUMENT naming the sample and what is wrong with it.
  virtual Result<Sample> Next() = 0;

  /// Number of samples before the next one.
  virtual uint64_t position() const = 0;
  /// Errors: OUT_OF_RANGE if the source has no such position.
  virtual Status Seek(uint64_t position) = 0;

  /// Everything the samples depend on: kind, options, seed, content of files. One line of text. A
  /// run is not resumed with a source of another identity.
  virtual std::string identity() const = 0;
};

}  // namespace baleen::training
