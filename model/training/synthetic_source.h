// SyntheticSource: samples of random tokens whose second half follows from the first.
//
// Repeats, key-value look-ups and copies after a marker: what a model must be able to do before it
// can do anything with a context. Needs no tokenizer. For the gate of the structured start, for the
// first stage of a run and for tests.
#pragma once

#include <cstdint>
#include <string>

#include "model/training/sample_source.h"
#include "tools_sdk/status.h"

namespace baleen::training {

struct SyntheticOptions {
  uint64_t seed = 1;
  /// Tokens are drawn from [token_low, token_high).
  int32_t token_low = 0;
  int32_t token_high = 0;
  /// Shares of the kinds of sample; they need not sum to one.
  double repeats = 4;        ///< 8 to 64 tokens, two or three times.
  double short_repeats = 2;  ///< 3 to 14 tokens, two to four times.
  double key_values = 3;     ///< 2 to 7 pairs, then queries in random order.
  double copies = 2;         ///< A marker, 2 to 32 tokens, the marker, the same tokens.

  /// Errors: INVALID_ARGUMENT naming the field.
  Status Validate() const;
};

class SyntheticSource : public SampleSource {
 public:
  /// Errors: those of SyntheticOptions::Validate.
  static Result<SyntheticSource> Make(const SyntheticOptions& options);

  Result<Sample> Next() override;
  uint64_t position() const override { return position_; }
  Status Seek(uint64_t position) override;
  std::string identity() const override;

 private:
  explicit SyntheticSource(const SyntheticOptions& options) : options_(options) {}

  SyntheticOptions options_;
  uint64_t position_ = 0;
};

/// `length` random tokens, twice; the second time, all but the first token are to be predicted.
/// Requires: options.Validate() is OK; length > 0.
Sample RepeatSample(const SyntheticOptions& options, uint64_t index, int64_t length);

}  // namespace baleen::training
