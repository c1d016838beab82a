#include "model/training/best_ops.h"

namespace baleen::training {

const OpTable<float>& BestOps(Arithmetic arithmetic) {
  const bool bf16 = arithmetic == Arithmetic::kBfloat16;
  for (const OpTable<float>* ops : {bf16 ? Avx512Bf16Ops() : nullptr, Avx512Ops(), Avx2Ops()}) {
    if (ops != nullptr) return *ops;
  }
  return *PortableOps();
}

}  // namespace baleen::training
