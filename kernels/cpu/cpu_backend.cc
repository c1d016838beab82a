// Forwards every op, with the machine it runs on.
#include "kernels/cpu/cpu_backend.h"

#include "kernels/cpu/machine.h"
#include "kernels/cpu/ops.h"

namespace baleen::kernels {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(const cpu::LeafTable& leaf, int threads, int64_t fork_cost)
      : machine_(leaf, threads, fork_cost) {}

  std::string_view name() const override { return "cpu"; }
  int arithmetic_revision() const override { return 1; }
  std::string_view instruction_set() const override { return machine_.leaf.name; }
  int threads() const override { return machine_.pool.threads(); }

  std::unique_ptr<PackedMatrix> Pack(const MatrixSource& source) const override {
    return cpu::Pack(source);
  }
  void Linear(const LinearParams& p) override { cpu::Linear(machine_, p); }
  void RmsNorm(const RmsNormParams& p) override { cpu::RmsNorm(machine_, p); }
  void Rope(const RopeParams& p) override { cpu::Rope(machine_, p); }
  void HcGates(const HcGatesParams& p) override { cpu::HcGates(machine_, p); }
  void HcCollapse(const HcCollapseParams& p) override { cpu::HcCollapse(machine_, p); }
  void HcExpand(const HcExpandParams& p) override { cpu::HcExpand(machine_, p); }
  void GatedPool(const GatedPoolParams& p) override { cpu::GatedPool(machine_, p); }
  void StoreEntries(const StoreEntriesParams& p) override { cpu::StoreEntries(machine_, p); }
  void LoadEntries(const LoadEntriesParams& p) override { cpu::LoadEntries(machine_, p); }
  void StoreIndexKeys(const StoreIndexKeysParams& p) override { cpu::StoreIndexKeys(machine_, p); }
  void IndexQuery(const IndexQueryParams& p) override { cpu::IndexQuery(machine_, p); }
  void IndexTopK(const IndexTopKParams& p) override { cpu::IndexTopK(machine_, p); }
  void SparseAttention(const SparseAttentionParams& p) override {
    cpu::SparseAttention(machine_, p);
  }
  void Route(const RouteParams& p) override { cpu::Route(machine_, p); }
  void SwiGlu(const SwiGluParams& p) override { cpu::SwiGlu(machine_, p); }

 private:
  cpu::Machine machine_;
};

const cpu::LeafTable* LeavesOf(InstructionSet instruction_set) {
  switch (instruction_set) {
    case InstructionSet::kAvx512: return cpu::Avx512Leaves();
    case InstructionSet::kAvx2: return cpu::Avx2Leaves();
    case InstructionSet::kPortable: return cpu::PortableLeaves();
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<Backend> MakeCpuBackend(InstructionSet instruction_set, int threads,
                                        int64_t fork_cost) {
  const cpu::LeafTable* leaf = LeavesOf(instruction_set);
  if (leaf == nullptr) return nullptr;
  return std::make_unique<CpuBackend>(*leaf, threads, fork_cost);
}

std::unique_ptr<Backend> MakeCpuBackend(int threads) {
  constexpr int64_t kForkCost = cpu::ThreadPool::kForkCost;
  for (InstructionSet best : {InstructionSet::kAvx512, InstructionSet::kAvx2}) {
    if (auto backend = MakeCpuBackend(best, threads, kForkCost)) return backend;
  }
  return MakeCpuBackend(InstructionSet::kPortable, threads, kForkCost);
}

}  // namespace baleen::kernels
