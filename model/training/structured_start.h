// Where training begins: seeded weights, plain or with the circuits for copying laid out.
//
// From plain random weights copying did not appear within 0.9 million tokens of the prototype's
// runs; with the structured start it appears after 0.2 million. Ordinary weight values, free to
// move: the architecture is untouched. Called by the trainer.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/training/parameters.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Source: the project's own measurements (see the comments at the parts).
struct StructuredStartOptions {
  float head_tie = 0.08F;    ///< head = this x embedding; untied from then on.
  float ngram_gain = 0.25F;  ///< Heads 1 to 3 of layer 0 look at t-2 .. t-4; 0: they don't.
  float induction_write_gain = 0.5F;  ///< Layer 0 writes the previous token for layer 1 to match.
  float induction_copy_gain = 1.5F;   ///< Layer 1 writes what followed the match.
  /// Output gains of the CSA layers from layer 2 on that start as copiers of entries, in order.
  std::vector<float> csa_gains = {2, 1};
};

/// Seeded ordinary start: matrices keep the size of their input, outputs of sub-layers are small,
/// streams mostly keep to themselves. Every value depends on seed and tensor name alone.
void PlainStart(uint64_t seed, ParameterSet* parameters);

/// What the structured start needs of a model: a window-only layer 0, at least two layers and four
/// heads, room for its groups in the ranks, and as many CSA layers from layer 2 on as csa_gains.
/// Errors: INVALID_ARGUMENT naming the dimension.
Status CheckStructuredStart(const ModelConfig& config, const StructuredStartOptions& options);

/// PlainStart, then: the head aligned with the embedding; a previous-token head and n-gram heads in
/// layer 0; an induction head in layer 1; CSA layers whose entries keep each token of their window
/// in channels of its own. Requires: CheckStructuredStart is OK.
void StructuredStart(uint64_t seed, const StructuredStartOptions& options,
                     ParameterSet* parameters);

}  // namespace baleen::training
