#include "model/training/schedule.h"

#include <algorithm>
#include <cmath>

namespace baleen::training {

int64_t Schedule::decay_start() const {
  return steps - std::llround(decay_share * static_cast<double>(steps));
}

double Schedule::ShareAt(int64_t step) const {
  double share = 1;
  if (step < warmup_steps) {
    share = static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  const int64_t start = decay_start();
  if (step >= start && steps > start) {
    const double left = static_cast<double>(steps - 1 - step) / static_cast<double>(steps - start);
    share *= final_share + (1 - final_share) * std::max(0.0, left);
  }
  return share;
}

}  // namespace baleen::training
