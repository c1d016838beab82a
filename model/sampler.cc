#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace baleen {
namespace {

/// The finaliser of SplitMix64: a bijection of 64 bits whose output passes as random.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
uint64_t Mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// Uniform in [0, 1), a function of (seed, position) alone. Mixing the seed before the position
/// keeps neighbouring seeds from sharing shifted streams.
double Uniform(uint64_t seed, int64_t position) {
  const uint64_t bits = Mix(Mix(seed) ^ Mix(~static_cast<uint64_t>(position)));
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

/// NaN counts as impossible, like a masked token.
float Masked(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
}

/// Calls `visit(id)` for every token that takes part, ascending.
template <typename Visit>
void ForEachToken(std::span<const float> logits, const TokenMask* mask, Visit visit) {
  if (mask == nullptr) {
    for (size_t i = 0; i < logits.size(); ++i) visit(static_cast<int32_t>(i));
    return;
  }
  mask->ForEach([&](int32_t id) {
    if (static_cast<size_t>(id) < logits.size()) visit(id);
  });
}

int32_t Greedy(std::span<const float> logits, const TokenMask* mask) {
  int32_t best = -1;
  float best_logit = 0;
  ForEachToken(logits, mask, [&](int32_t id) {
    const float logit = Masked(logits[static_cast<size_t>(id)]);
    if (best >= 0 && !(logit > best_logit)) return;
    best = id;
    best_logit = logit;
  });
  return std::max(best, 0);
}

struct Candidate {
  double weight = 0;  ///< Relative to the best token's 1.
  int32_t id = 0;
};

bool Before(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
}

double TotalWeight(const std::vector<Candidate>& candidates) {
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  return total;
}

/// Keeps the `top_k` best, then of these the fewest that reach `top_p` of their weight.
void KeepBest(std::vector<Candidate>& candidates, const SamplingOptions& options) {
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + options.top_k, candidates.end(),
                     Before);
    candidates.resize(static_cast<size_t>(options.top_k));
  }
  // Sorted in every case that drops tokens, so that the walk below has one defined order.
  std::sort(candidates.begin(), candidates.end(), Before);
  const double wanted = static_cast<double>(options.top_p) * TotalWeight(candidates);
  double sum = 0;
  size_t kept = 0;
  while (kept < candidates.size() && (kept == 0 || sum < wanted)) sum += candidates[kept++].weight;
  candidates.resize(kept);
}

}  // namespace

Status SamplingOptions::Validate() const {
  const auto refuse = [](const char* field, const char* expected, const std::string& got) {
    return InvalidArgumentError(std::string("sampling option ") + field + ": expected " + expected +
                                ", got " + got);
  };
  if (!std::isfinite(temperature) || temperature < 0) {
    return refuse("temperature", "a finite number >= 0", std::to_string(temperature));
  }
  if (!(top_p > 0 && top_p <= 1)) {
    return refuse("top_p", "a number in (0, 1]", std::to_string(top_p));
  }
  if (!(min_p >= 0 && min_p <= 1)) {
    return refuse("min_p", "a number in [0, 1]", std::to_string(min_p));
  }
  if (top_k < 0) return refuse("top_k", "0 (all) or a positive number", std::to_string(top_k));
  return OkStatus();
}

int32_t SampleToken(std::span<const float> logits, const SamplingOptions& options, int64_t position,
                    const TokenMask* mask) {
  if (logits.empty()) return 0;
  const int32_t greedy = Greedy(logits, mask);
  const float best = Masked(logits[static_cast<size_t>(greedy)]);
  if (options.temperature <= 0 || options.top_k == 1 || !std::isfinite(best)) return greedy;

  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  const double min_weight = static_cast<double>(options.min_p);
  ForEachToken(logits, mask, [&](int32_t id) {
    const float logit = Masked(logits[static_cast<size_t>(id)]);
    const double weight = std::exp((static_cast<double>(logit) - static_cast<double>(best)) /
                                   static_cast<double>(options.temperature));
    if (weight == 0 || weight < min_weight) return;
    candidates.push_back({weight, id});
  });
  if (options.top_k > 0 || options.top_p < 1) KeepBest(candidates, options);

  double rest = Uniform(options.seed, position) * TotalWeight(candidates);
  for (const Candidate& c : candidates) {
    if (rest < c.weight) return c.id;
    rest -= c.weight;
  }
  return candidates.back().id;  // rounding left a crumb
}

}  // namespace baleen
