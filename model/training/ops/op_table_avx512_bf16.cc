// AVX-512 with bf16 products: the same tables, another gemm.
#include "model/training/ops/op_table.h"
#include "model/training/ops/real_math.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>

#include "model/training/ops/bf16_gemm_ops.h"
#endif

namespace baleen::training {

const OpTable<float>* Avx512Bf16Ops() {
#if defined(__AVX512BF16__)
  if (Avx512Ops() == nullptr || !__builtin_cpu_supports("avx512bf16")) return nullptr;
  static const OpTable<float> kTable = [] {
    OpTable<float> table = *Avx512Ops();
    table.name = "avx512-bf16";
    table.gemm = &Bf16Gemm;
    return table;
  }();
  return &kTable;
#else
  return nullptr;
#endif
}

}  // namespace baleen::training
