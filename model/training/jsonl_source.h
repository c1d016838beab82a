// JsonlSource: samples from a file of one JSON object per line, {"tokens":[...],"weights":[...]}.
//
// How an embedder trains on material of their own. Without "weights", every token after the first
// weighs 1; "step", as WriteSamples states it, isn't looked at. The file is indexed when it is
// opened and read line by line; it starts over, in another seeded order, when all lines were given.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "model/training/sample_source.h"
#include "tools_sdk/status.h"

namespace baleen::training {

struct JsonlOptions {
  std::string path;
  uint64_t seed = 1;
  bool shuffle = true;  ///< False: the order of the file, every time.
  int64_t vocab = 0;
  /// The longest sample that any row of the run can hold.
  int64_t tokens_max = int64_t{1} << 20;
};

/// Opens, hashes and checks every line.
/// Errors: NOT_FOUND; INVALID_ARGUMENT naming the line and what is wrong with it (no JSON, no
/// tokens, too many, ids outside [0, vocab), weights that are not finite numbers >= 0 or of another
/// count), or a file without lines.
Result<std::unique_ptr<SampleSource>> OpenJsonlSource(const JsonlOptions& options);

/// One line as a sample. `where` begins the message of an error.
/// Errors: as OpenJsonlSource's.
Result<Sample> ParseJsonlSample(std::string_view line, const JsonlOptions& options,
                                const std::string& where);

}  // namespace baleen::training
