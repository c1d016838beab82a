#include "model/training/ops/make_op_table.h"

namespace baleen::training {
#if defined(__AVX2__)
namespace {

struct Avx2Isa {
  template <class T>
  using Vector __attribute__((vector_size(32))) = T;
  static constexpr int64_t kTileRows = 6;
};

}  // namespace

const OpTable<float>* Avx2Ops() {
  static constexpr OpTable<float> kTable = MakeOpTable<float, Avx2Isa>("avx2");
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kTable : nullptr;
}
#else
const OpTable<float>* Avx2Ops() { return nullptr; }
#endif

}  // namespace baleen::training
