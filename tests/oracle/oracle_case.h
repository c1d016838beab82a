// OracleCase: one committed checkpoint under tests/data/oracle with what transformers computed from
// it.
//
// Reads the goldens and knows how to compare logits with them. Runs no model. Used by the tests of
// this folder. How the files came to be: tests/oracle/README.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen::oracle {

/// Names of all cases; each is a folder of tests/data/oracle.
inline constexpr const char* kCaseNames[] = {"flash", "long", "odd", "pro", "short"};

/// The folder that holds the cases.
std::string CasesFolder();

/// How far some logits are from the golden ones.
struct Distance {
  double relative = 0;   ///< Largest difference over the largest golden |logit|.
  int64_t position = 0;  ///< Where that is,
  int64_t token = 0;     ///< and in which column.

  std::string ToString() const;
};

struct OracleCase {
  std::string name;
  std::string folder;
  int64_t vocab = 0;
  std::vector<int32_t> ids;        ///< [tokens]
  std::vector<float> logits;       ///< [tokens, vocab], by transformers; pure mode.
  std::vector<float> native;       ///< [tokens, vocab], native mode; empty if the case has none.
  std::vector<float> index_gap;    ///< [CSA layers, tokens]
  std::vector<float> expert_gap;   ///< [score-routed layers, tokens]
  std::vector<int64_t> set_aside;  ///< Positions whose choices are too close to call.

  /// Reads goldens.safetensors of case `name`.
  static Result<OracleCase> Load(const std::string& name);

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  /// The closest any layer's choice at this position came to a tie; infinity if there was no
  /// choice.
  float ClosestGap(int64_t position) const;
  /// From `logits`, over all positions but those set aside. Requires: got is [tokens, vocab].
  Distance DistanceOf(std::span<const float> got) const;
  /// From `native`, over all positions. Requires: got is [tokens, vocab]; native is not empty.
  Distance NativeDistanceOf(std::span<const float> got) const;
};

/// Logits at some positions of one text.
struct SampledLogits {
  int64_t vocab = 0;
  std::vector<int32_t> ids;        ///< [tokens]
  std::vector<int64_t> positions;  ///< Ascending, below tokens.
  std::vector<float> logits;       ///< [positions, vocab], by transformers; pure mode.
  std::vector<int64_t> set_aside;  ///< Positions whose choices are too close to call.

  /// Reads a file of make_krill_golden.py.
  static Result<SampledLogits> Load(const std::string& path);
};

}  // namespace baleen::oracle
