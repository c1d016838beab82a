// Weights as the released formats will hold them, for the quantisation stage of training.
#pragma once

#include "kernels/cpu/thread_pool.h"
#include "model/training/parameters.h"

namespace baleen::training {

/// rounded <- every tensor of `master` after a round trip through its storage format. Gradients at
/// `rounded` are applied to `master` as they are (straight through).
/// Requires: both made from the same config.
void RoundWeights(const ParameterSet& master, kernels::cpu::ThreadPool& pool,
                  ParameterSet* rounded);

}  // namespace baleen::training
