// Any text as a training config or as a line of samples: refused or read, never a crash.
#include <cstdint>
#include <string_view>

#include "model/training/jsonl_source.h"
#include "model/training/train_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using baleen::training::ParseJsonlSample;
  using baleen::training::TrainConfig;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  TrainConfig::FromJson(text, "/nonexistent").status().IgnoreError("any outcome but a crash");
  baleen::training::JsonlOptions options;
  options.vocab = 1000;
  options.tokens_max = 4096;
  const auto sample = ParseJsonlSample(text, options, "fuzz");
  if (sample.ok() && sample->tokens.size() != sample->weights.size()) __builtin_trap();
  return 0;
}
