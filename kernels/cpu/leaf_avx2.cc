// The leaves for AVX2 with FMA; this file alone is compiled with those instructions.
#include "kernels/cpu/leaf.h"

#if defined(__AVX2__) && defined(__FMA__)
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/leaf_table.h"

namespace baleen::kernels::cpu {

const LeafTable* Avx2Leaves() {
  static constexpr LeafTable kTable = TableOf<Avx2Lanes>("avx2");
  const bool supported = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return supported ? &kTable : nullptr;
}

}  // namespace baleen::kernels::cpu
#else
namespace baleen::kernels::cpu {

const LeafTable* Avx2Leaves() { return nullptr; }

}  // namespace baleen::kernels::cpu
#endif
