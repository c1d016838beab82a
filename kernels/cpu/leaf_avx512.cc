// The leaves for AVX-512 F; this file alone is compiled with those instructions.
#include "kernels/cpu/leaf.h"

#if defined(__AVX512F__)
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/leaf_table.h"

namespace baleen::kernels::cpu {

const LeafTable* Avx512Leaves() {
  static constexpr LeafTable kTable = TableOf<Avx512Lanes>("avx512");
  return __builtin_cpu_supports("avx512f") ? &kTable : nullptr;
}

}  // namespace baleen::kernels::cpu
#else
namespace baleen::kernels::cpu {

const LeafTable* Avx512Leaves() { return nullptr; }

}  // namespace baleen::kernels::cpu
#endif
