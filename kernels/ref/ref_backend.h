// The oracle as a Backend. Slow by design: tests and small experiments only.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace baleen::kernels {

std::unique_ptr<Backend> MakeRefBackend();

}  // namespace baleen::kernels
