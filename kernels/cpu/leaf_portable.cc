// The leaves for any processor, compiled with the flags of the whole build.
#include "kernels/cpu/lanes_portable.h"
#include "kernels/cpu/leaf.h"
#include "kernels/cpu/leaf_table.h"

namespace baleen::kernels::cpu {

const LeafTable* PortableLeaves() {
  static constexpr LeafTable kTable = TableOf<PortableLanes>("portable");
  return &kTable;
}

}  // namespace baleen::kernels::cpu
