#include "model/training/weight_rounding.h"

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/checkpoint/encode_tensor.h"
#include "model/checkpoint/tensor_table.h"

namespace baleen::training {

void RoundWeights(const ParameterSet& master, kernels::cpu::ThreadPool& pool,
                  ParameterSet* rounded) {
  constexpr int64_t kTensorCost = int64_t{1} << 18;  // Worth a wake-up of the pool.
  std::map<std::string, TensorSpec, std::less<>> specs;
  for (const auto& list : {BackboneTensors(master.config()), MtpTensors(master.config())}) {
    for (const TensorSpec& spec : list) specs.emplace(spec.name, spec);
  }
  const ReleaseStyle style = ReleaseStyleOf(master.config());
  const std::span<Parameter> to = rounded->all();
  pool.For(static_cast<int64_t>(to.size()), kTensorCost, [&](int64_t unit, int) {
    const auto p = static_cast<size_t>(unit);
    to[p].value = master.all()[p].value;
    RoundWeight(specs.find(to[p].name)->second, style, to[p].value);
  });
}

}  // namespace baleen::training
