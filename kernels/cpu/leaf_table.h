// Builds the leaf table of one lane type. Included by the leaf_*.cc files.
#pragma once

#include "kernels/cpu/leaf_attention.h"
#include "kernels/cpu/leaf_index.h"
#include "kernels/cpu/leaf_linear.h"
#include "kernels/cpu/leaf_rows.h"

namespace baleen::kernels::cpu {

template <class V>
constexpr LeafTable TableOf(const char* name) {
  return {.name = name,
          .linear = &LinearLeaf<V>,
          .dot = &DotLeaf<V>,
          .rms_norm = &RmsNormLeaf<V>,
          .exp = &MapLeaf<V, &Exp<V>>,
          .log1p = &MapLeaf<V, &Log1p<V>>,
          .sigmoid = &MapLeaf<V, &Sigmoid<V>>,
          .silu = &MapLeaf<V, &Silu<V>>,
          .sqrt_softplus = &MapLeaf<V, &SqrtSoftplus<V>>,
          .hc_collapse = &HcCollapseLeaf<V>,
          .hc_expand = &HcExpandLeaf<V>,
          .gated_pool = &GatedPoolLeaf<V>,
          .swiglu = &SwiGluLeaf<V>,
          .unpack_index_keys = &UnpackIndexKeysLeaf<V>,
          .index_scores = &IndexScoresLeaf<V>,
          .attend = &AttendLeaf<V>};
}

}  // namespace baleen::kernels::cpu
