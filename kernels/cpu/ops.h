// The ops of the cpu backend. Each splits its outputs into units for the pool; no sum crosses a
// unit, so results do not depend on the number of threads. Called by CpuBackend only.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/cpu/machine.h"

namespace baleen::kernels::cpu {

/// Panels of 32 output rows, channel-major; bf16 when that loses nothing, else fp32.
std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source);
/// True if `matrix` (made by Pack) is stored as bf16.
bool IsBf16(const PackedMatrix& matrix);

void Linear(Machine& m, const LinearParams& p);
void RmsNorm(Machine& m, const RmsNormParams& p);
void Rope(Machine& m, const RopeParams& p);
void HcGates(Machine& m, const HcGatesParams& p);
void HcCollapse(Machine& m, const HcCollapseParams& p);
void HcExpand(Machine& m, const HcExpandParams& p);
void GatedPool(Machine& m, const GatedPoolParams& p);
void StoreEntries(Machine& m, const StoreEntriesParams& p);
void LoadEntries(Machine& m, const LoadEntriesParams& p);
void StoreIndexKeys(Machine& m, const StoreIndexKeysParams& p);
void IndexQuery(Machine& m, const IndexQueryParams& p);
void IndexTopK(Machine& m, const IndexTopKParams& p);
void SparseAttention(Machine& m, const SparseAttentionParams& p);
void Route(Machine& m, const RouteParams& p);
void SwiGlu(Machine& m, const SwiGluParams& p);

}  // namespace baleen::kernels::cpu
