#include "model/training/synthetic_source.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "model/training/random_stream.h"

namespace baleen::training {
namespace {

constexpr int32_t kTokensMin = 32;  // Seven pairs and a marker are distinct tokens.

// A sample in the making, with the stream that decides it.
class Draft {
 public:
  Draft(const SyntheticOptions& options, uint64_t index)
      : options_(options), random(options.seed, index) {}

  int32_t Token() {
    return static_cast<int32_t>(random.Between(options_.token_low, options_.token_high - 1));
  }
  std::vector<int32_t> Tokens(int64_t count) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    std::generate(tokens.begin(), tokens.end(), [this] { return Token(); });
    return tokens;
  }
  std::vector<int32_t> DistinctTokens(size_t count) {
    std::vector<int32_t> tokens;
    while (tokens.size() < count) {
      const int32_t token = Token();
      if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
    }
    return tokens;
  }
  void Add(int32_t token, float weight) {
    sample.tokens.push_back(token);
    sample.weights.push_back(weight);
  }
  /// Nothing says when a repeat begins, so its first token is not to be predicted.
  void AddRepeat(std::span<const int32_t> tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) Add(tokens[i], i == 0 ? 0.0F : 1.0F);
  }
  void AddUnlearnt(std::span<const int32_t> tokens) {
    for (int32_t token : tokens) Add(token, 0.0F);
  }

 private:
  const SyntheticOptions& options_;

 public:
  RandomStream random;
  Sample sample;
};

void AddRepeats(Draft& draft, int64_t length, int64_t times) {
  const std::vector<int32_t> tokens = draft.Tokens(length);
  draft.AddUnlearnt(tokens);
  for (int64_t i = 0; i < times; ++i) draft.AddRepeat(tokens);
}

// Lengths 8 to 64, each octave as likely as the others.
int64_t LongLength(RandomStream& random) {
  const int64_t octave = int64_t{8} << random.Below(3);
  return random.Between(octave, 2 * octave);
}

void AddKeyValues(Draft& draft) {
  const int64_t pairs = draft.random.Between(2, 7);
  const std::vector<int32_t> tokens = draft.DistinctTokens(static_cast<size_t>(2 * pairs));
  draft.AddUnlearnt(tokens);
  for (int64_t i = 0; i < 2 * pairs; ++i) {
    const auto key = static_cast<size_t>(2 * draft.random.Below(pairs));
    draft.Add(tokens[key], 0.0F);
    draft.Add(tokens[key + 1], 1.0F);
  }
}

void AddCopy(Draft& draft) {
  const int64_t length = draft.random.Between(2, 32);
  const std::vector<int32_t> tokens = draft.DistinctTokens(1);
  const int32_t marker = tokens[0];
  std::vector<int32_t> content = draft.Tokens(length);
  for (int32_t& token : content) {
    while (token == marker) token = draft.Token();
  }
  draft.Add(marker, 0.0F);
  draft.AddUnlearnt(content);
  draft.Add(marker, 0.0F);
  for (int32_t token : content) draft.Add(token, 1.0F);
  draft.Add(marker, 1.0F);
}

}  // namespace

Status SyntheticOptions::Validate() const {
  if (token_low < 0 || token_high < token_low || token_high - token_low < kTokensMin) {
    return InvalidArgumentError(
        "synthetic source: token_low, token_high: expected at least " + std::to_string(kTokensMin) +
        " token ids, got [" + std::to_string(token_low) + ", " + std::to_string(token_high) + ")");
  }
  const double shares[] = {repeats, short_repeats, key_values, copies};
  double total = 0;
  for (double share : shares) {
    if (!(share >= 0) || !std::isfinite(share)) {
      return InvalidArgumentError("synthetic source: mix: expected shares of at least 0, got " +
                                  std::to_string(share));
    }
    total += share;
  }
  if (!(total > 0) || !std::isfinite(total)) {
    return InvalidArgumentError("synthetic source: mix: expected a positive share, got none");
  }
  return OkStatus();
}

Result<SyntheticSource> SyntheticSource::Make(const SyntheticOptions& options) {
  RETURN_IF_ERROR(options.Validate());
  return SyntheticSource(options);
}

Result<Sample> SyntheticSource::Next() {
  Draft draft(options_, position_++);
  const double total =
      options_.repeats + options_.short_repeats + options_.key_values + options_.copies;
  double at = static_cast<double>(draft.random.Uniform()) * total;
  if ((at -= options_.repeats) < 0) {
    const int64_t length = LongLength(draft.random);
    AddRepeats(draft, length, draft.random.Below(3) == 0 ? 2 : 1);
  } else if ((at -= options_.short_repeats) < 0) {
    const int64_t length = draft.random.Between(3, 14);
    AddRepeats(draft, length, draft.random.Between(1, 3));
  } else if ((at -= options_.key_values) < 0) {
    AddKeyValues(draft);
  } else {
    AddCopy(draft);
  }
  return std::move(draft.sample);
}

Status SyntheticSource::Seek(uint64_t position) {
  position_ = position;
  return OkStatus();
}

std::string SyntheticSource::identity() const {
  return "synthetic/1 seed " + std::to_string(options_.seed) + " tokens [" +
         std::to_string(options_.token_low) + ", " + std::to_string(options_.token_high) +
         ") mix " + std::to_string(options_.repeats) + " " +
         std::to_string(options_.short_repeats) + " " + std::to_string(options_.key_values) + " " +
         std::to_string(options_.copies);
}

Sample RepeatSample(const SyntheticOptions& options, uint64_t index, int64_t length) {
  Draft draft(options, index);
  AddRepeats(draft, length, 1);
  return std::move(draft.sample);
}

}  // namespace baleen::training
