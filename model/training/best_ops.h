// Which table of training ops this processor should run.
#pragma once

#include "model/training/graph.h"
#include "model/training/ops/op_table.h"

namespace baleen::training {

/// The fastest table that the processor and the build have. Threads: any.
const OpTable<float>& BestOps(Arithmetic arithmetic);

}  // namespace baleen::training
