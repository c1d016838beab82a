// The oracle of every op: one obvious function each, double accumulation, one thread, no tricks.
// Results are rounded to fp32 once, at the output. Called by RefBackend only.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace baleen::kernels::ref {

std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source);
/// Row-major fp32 values of a matrix that ref::Pack made.
const float* ValuesOf(const PackedMatrix& matrix);
double Silu(double x);
double Sigmoid(double x);

void Linear(const LinearParams& p);
void RmsNorm(const RmsNormParams& p);
void Rope(const RopeParams& p);
void HcGates(const HcGatesParams& p);
void HcCollapse(const HcCollapseParams& p);
void HcExpand(const HcExpandParams& p);
void GatedPool(const GatedPoolParams& p);
void StoreEntries(const StoreEntriesParams& p);
void LoadEntries(const LoadEntriesParams& p);
void StoreIndexKeys(const StoreIndexKeysParams& p);
void IndexQuery(const IndexQueryParams& p);
void IndexTopK(const IndexTopKParams& p);
void SparseAttention(const SparseAttentionParams& p);
void Route(const RouteParams& p);
void SwiGlu(const SwiGluParams& p);

}  // namespace baleen::kernels::ref
