// Fills the table of one instruction set. Included by the op_table_*.cc files only.
#pragma once

#include "model/training/ops/attention_ops.h"
#include "model/training/ops/compressor_ops.h"
#include "model/training/ops/cross_entropy_ops.h"
#include "model/training/ops/gemm_ops.h"
#include "model/training/ops/hyper_connection_grad_ops.h"
#include "model/training/ops/hyper_connection_ops.h"
#include "model/training/ops/indexer_ops.h"
#include "model/training/ops/moe_ops.h"
#include "model/training/ops/norm_ops.h"
#include "model/training/ops/op_table.h"

namespace baleen::training {

template <class T, class Isa>
constexpr OpTable<T> MakeOpTable(const char* name) {
  return {.name = name,
          .gemm = &Gemm<T, Isa>,
          .rms_norm = &RmsNorm<T, Isa>,
          .rms_norm_grad = &RmsNormGrad<T, Isa>,
          .rope = &Rope<T, Isa>,
          .head_norm_grad = &HeadNormGrad<T, Isa>,
          .hc_gates = &HcGates<T, Isa>,
          .hc_gates_grad = &HcGatesGrad<T, Isa>,
          .hc_collapse = &HcCollapse<T, Isa>,
          .hc_collapse_grad = &HcCollapseGrad<T, Isa>,
          .hc_expand = &HcExpand<T, Isa>,
          .hc_expand_grad = &HcExpandGrad<T, Isa>,
          .add_scaled = &AddScaled<T, Isa>,
          .attention_softmax = &AttentionSoftmax<T, Isa>,
          .attention_probabilities = &AttentionProbabilities<T, Isa>,
          .attention_softmax_grad = &AttentionSoftmaxGrad<T, Isa>,
          .row_dot = &RowDot<T, Isa>,
          .pool = &Pool<T, Isa>,
          .pool_grad = &PoolGrad<T, Isa>,
          .index_score = &IndexScore<T, Isa>,
          .index_score_grad = &IndexScoreGrad<T, Isa>,
          .index_kl = &IndexKl<T, Isa>,
          .swiglu = &SwiGlu<T, Isa>,
          .swiglu_grad = &SwiGluGrad<T, Isa>,
          .route = &Route<T, Isa>,
          .route_grad = &RouteGrad<T, Isa>,
          .cross_entropy = &CrossEntropy<T, Isa>};
}

}  // namespace baleen::training
