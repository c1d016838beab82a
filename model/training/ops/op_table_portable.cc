#include "model/training/ops/make_op_table.h"

namespace baleen::training {
namespace {

struct PortableIsa {
  template <class T>
  using Vector __attribute__((vector_size(16))) = T;
  static constexpr int64_t kTileRows = 4;
};

}  // namespace

const OpTable<float>* PortableOps() {
  static constexpr OpTable<float> kTable = MakeOpTable<float, PortableIsa>("portable");
  return &kTable;
}

const OpTable<double>* DoubleOps() {
  static constexpr OpTable<double> kTable = MakeOpTable<double, PortableIsa>("double");
  return &kTable;
}

}  // namespace baleen::training
