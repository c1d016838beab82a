// GatedPool, an entry per unit.
#include "kernels/cpu/ops.h"

namespace baleen::kernels::cpu {

void GatedPool(Machine& m, const GatedPoolParams& p) {
  const int64_t entry = p.slots * p.dim;
  m.pool.For(p.entries, 30 * entry, [&](int64_t e, int) {
    m.leaf.gated_pool(p.value + e * entry, p.gate + e * entry, p.slots, p.dim, p.out + e * p.dim);
  });
}

}  // namespace baleen::kernels::cpu
