#include "model/training/ops/make_op_table.h"

namespace baleen::training {
#if defined(__AVX512F__)
namespace {

struct Avx512Isa {
  template <class T>
  using Vector __attribute__((vector_size(64))) = T;
  static constexpr int64_t kTileRows = 12;
};

}  // namespace

const OpTable<float>* Avx512Ops() {
  static constexpr OpTable<float> kTable = MakeOpTable<float, Avx512Isa>("avx512");
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? &kTable
                                                                                 : nullptr;
}
#else
const OpTable<float>* Avx512Ops() { return nullptr; }
#endif

}  // namespace baleen::training
