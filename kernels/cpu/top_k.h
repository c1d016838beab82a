// Deterministic selection of the best scores. Called by cpu/index.cc and its test.
#pragma once

#include <cstdint>

#include "kernels/cpu/machine.h"

namespace baleen::kernels::cpu {

/// Writes the rows of the `topk` best of `count` scores, ascending, padded with -1. Ties go to the
/// lower row; NaN is worse than every number; -0 equals +0.
/// Cost: one pass over the scores and a selection among the few above a sampled threshold.
void SelectTopK(const float* scores, int64_t count, int64_t topk, WorkerScratch& scratch,
                int32_t* selected);

}  // namespace baleen::kernels::cpu
