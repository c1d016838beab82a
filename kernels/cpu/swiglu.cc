// SwiGlu, a row per unit.  Source: spec section 2.6.
#include "kernels/cpu/ops.h"

namespace baleen::kernels::cpu {

void SwiGlu(Machine& m, const SwiGluParams& p) {
  m.pool.For(p.rows, 30 * p.dim, [&](int64_t r, int) {
    m.leaf.swiglu(p.gate + r * p.dim, p.up + r * p.dim, p.weight != nullptr ? p.weight[r] : 1.0f,
                  p.limit, p.dim, p.out + r * p.dim);
  });
}

}  // namespace baleen::kernels::cpu
