// Backend: the arithmetic of DeepSeek-V4 at the granularity of its stages.
//
// Operands: kernels/ops.h. Knows no model, no file, no session. `kernels/ref` is the oracle of
// every op (slow, obvious, double accumulation); `kernels/cpu` is what runs. Called by model/ only.
//
// Every op is row independent: what it computes for one token depends on that token's operands and
// on nothing else in the call: not on the number of tokens, the chunking, or the thread count.
// The defining reduction orders of the cpu backend (arithmetic revision 1), all fp32:
// - Linear: one accumulator per output, fused multiply-add, k ascending.
// - Row sums (norms, score dot products): 16 strided accumulators (lane = index mod 16), FMA,
//   ascending; then the lanes are added in a fixed tree 8-4-2-1.
// - Softmax: max, then exp, then the sum in key order (the sink last); weighted sums of values by
//   FMA in key order; one division at the end.
// - Index score: per head the dot product, k ascending; relu; FMA into the sum, heads ascending.
// - mHC: collapse and expand by FMA, streams ascending; Sinkhorn in straight left-to-right sums.
// - Experts (the caller's sum): ascending expert id, shared expert last.
// exp, log1p and friends are our own polynomials, so that all instruction sets give equal bits.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "kernels/ops.h"

namespace baleen::kernels {

/// One device's arithmetic.
/// Threads: an op may be called from one thread at a time per Backend; a backend may fork and join
/// its own pool inside. Pack may be called from any thread.
/// Errors: none; shapes were checked when the model was opened.
class Backend {
 public:
  virtual ~Backend() = default;
  /// "ref" or "cpu".
  virtual std::string_view name() const = 0;
  /// Revision of the defining reduction orders; part of the arithmetic id.
  virtual int arithmetic_revision() const = 0;
  /// Human-readable instruction set in use, e.g. "avx512".
  virtual std::string_view instruction_set() const = 0;
  virtual int threads() const = 0;

  virtual std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source) const = 0;
  virtual void Linear(const LinearParams& params) = 0;
  virtual void RmsNorm(const RmsNormParams& params) = 0;
  virtual void Rope(const RopeParams& params) = 0;
  virtual void HcGates(const HcGatesParams& params) = 0;
  virtual void HcCollapse(const HcCollapseParams& params) = 0;
  virtual void HcExpand(const HcExpandParams& params) = 0;
  virtual void GatedPool(const GatedPoolParams& params) = 0;
  virtual void StoreEntries(const StoreEntriesParams& params) = 0;
  virtual void LoadEntries(const LoadEntriesParams& params) = 0;
  virtual void StoreIndexKeys(const StoreIndexKeysParams& params) = 0;
  virtual void IndexQuery(const IndexQueryParams& params) = 0;
  virtual void IndexTopK(const IndexTopKParams& params) = 0;
  virtual void SparseAttention(const SparseAttentionParams& params) = 0;
  virtual void Route(const RouteParams& params) = 0;
  virtual void SwiGlu(const SwiGluParams& params) = 0;
};

/// The backend called `name` ("ref", "cpu"), or null if there is none.
/// `threads` <= 0: one per core.
std::unique_ptr<Backend> MakeBackend(std::string_view name, int threads);

/// Names of the backends in this build, best first.
std::span<const std::string_view> BackendNames();

}  // namespace baleen::kernels
