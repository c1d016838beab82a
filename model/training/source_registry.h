// The kinds of sample source that a training config may name. One row per kind.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/training/sample_source.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// A source as a config states it.
struct SourceSpec {
  std::string kind;     ///< "synthetic", "jsonl", "conversations"
  double share = 1;     ///< Of the samples, relative to the other sources'.
  std::string options;  ///< The kind's own fields as the text of one JSON object.
};

/// What the run adds.
struct SourceSetting {
  std::string folder;  ///< What relative paths start from.
  uint64_t seed = 1;
  int64_t vocab = 0;
};

/// One source, or a mixture of several.
/// Errors: INVALID_ARGUMENT naming the kind (and the known ones) or the field; the source's own.
Result<std::unique_ptr<SampleSource>> OpenSources(const std::vector<SourceSpec>& specs,
                                                  const SourceSetting& setting);

/// Names of all kinds, for messages and help.
std::vector<std::string> SourceKinds();

}  // namespace baleen::training
