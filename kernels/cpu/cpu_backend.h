// The production backend: AVX-512, AVX2 with FMA, or portable code, chosen at run time; all three
// give equal bits, for any number of threads. Tests use this header to pick an instruction set.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace baleen::kernels {

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

/// Null if this build or this processor lacks the instruction set. `threads` <= 0: one per core.
/// Loops of fewer than `fork_cost` operations stay on the calling thread; 0 shares all of them
/// (tests).
std::unique_ptr<Backend> MakeCpuBackend(InstructionSet instruction_set, int threads,
                                        int64_t fork_cost);

/// The best instruction set here.
std::unique_ptr<Backend> MakeCpuBackend(int threads);

}  // namespace baleen::kernels
