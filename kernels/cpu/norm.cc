// RmsNorm, a row per unit.
#include "kernels/cpu/ops.h"

namespace baleen::kernels::cpu {

void RmsNorm(Machine& m, const RmsNormParams& p) {
  m.pool.For(p.rows, 4 * p.dim, [&](int64_t r, int) {
    m.leaf.rms_norm(p.x + r * p.dim, p.weight, p.out + r * p.dim, p.dim, p.eps);
  });
}

}  // namespace baleen::kernels::cpu
