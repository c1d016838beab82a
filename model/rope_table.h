// Rotary frequencies of the two kinds of layers.
//
// Built in fp32 like the reference, whose rounding is part of the model at long contexts; the angle
// itself, fl32(position * frequency), is taken by the backend's Rope op. Used by the forward pass.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace baleen {

struct RopeSpec {
  double theta = 10000;
  int64_t dim = 0;                 ///< Rotary channels; even.
  double yarn_factor = 1;          ///< 1: no YaRN.
  int64_t original_positions = 0;  ///< YaRN: positions trained before the extension.
  double beta_fast = 32;
  double beta_slow = 1;
};

/// Window-only layers and MTP: plain theta.
RopeSpec WindowRope(const ModelConfig& config);
/// CSA and HCA layers, for every rotary use in them: compress theta with YaRN.
RopeSpec CompressRope(const ModelConfig& config);

/// Shapes: [dim/2], radians per position.  Source: spec section 2.5.1.
std::vector<float> InverseFrequencies(const RopeSpec& spec);

}  // namespace baleen
