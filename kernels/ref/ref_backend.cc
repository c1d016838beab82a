// Forwards every op to its oracle function.
#include "kernels/ref/ref_backend.h"

#include "kernels/ref/ops.h"

namespace baleen::kernels {
namespace {

class RefBackend final : public Backend {
 public:
  std::string_view name() const override { return "ref"; }
  int arithmetic_revision() const override { return 1; }
  std::string_view instruction_set() const override { return "scalar double"; }
  int threads() const override { return 1; }

  std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source) const override {
    return ref::Pack(source);
  }
  void Linear(const LinearParams& p) override { ref::Linear(p); }
  void RmsNorm(const RmsNormParams& p) override { ref::RmsNorm(p); }
  void Rope(const RopeParams& p) override { ref::Rope(p); }
  void HcGates(const HcGatesParams& p) override { ref::HcGates(p); }
  void HcCollapse(const HcCollapseParams& p) override { ref::HcCollapse(p); }
  void HcExpand(const HcExpandParams& p) override { ref::HcExpand(p); }
  void GatedPool(const GatedPoolParams& p) override { ref::GatedPool(p); }
  void StoreEntries(const StoreEntriesParams& p) override { ref::StoreEntries(p); }
  void LoadEntries(const LoadEntriesParams& p) override { ref::LoadEntries(p); }
  void StoreIndexKeys(const StoreIndexKeysParams& p) override { ref::StoreIndexKeys(p); }
  void IndexQuery(const IndexQueryParams& p) override { ref::IndexQuery(p); }
  void IndexTopK(const IndexTopKParams& p) override { ref::IndexTopK(p); }
  void SparseAttention(const SparseAttentionParams& p) override { ref::SparseAttention(p); }
  void Route(const RouteParams& p) override { ref::Route(p); }
  void SwiGlu(const SwiGluParams& p) override { ref::SwiGlu(p); }
};

}  // namespace

std::unique_ptr<Backend> MakeRefBackend() { return std::make_unique<RefBackend>(); }

}  // namespace baleen::kernels
