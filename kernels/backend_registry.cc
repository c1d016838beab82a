// The one table of backends in this build. A new backend is one row here.
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/ref/ref_backend.h"

namespace baleen::kernels {
namespace {

constexpr std::string_view kNames[] = {"cpu", "ref"};

}  // namespace

std::unique_ptr<Backend> MakeBackend(std::string_view name, int threads) {
  if (name == "cpu") return MakeCpuBackend(threads);
  if (name == "ref") return MakeRefBackend();
  return nullptr;
}

std::span<const std::string_view> BackendNames() { return kNames; }

}  // namespace baleen::kernels
