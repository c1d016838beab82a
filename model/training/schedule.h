// Schedule: the learning rate's share of its peak at each step. Warm-up, constant, linear decay.
#pragma once

#include <cstdint>

namespace baleen::training {

struct Schedule {
  int64_t steps = 0;          ///< Of the whole run.
  int64_t warmup_steps = 60;  ///< Linear from 1 / warmup_steps.
  double decay_share = 0.35;  ///< The last share of the steps falls linearly to `final_share`.
  double final_share = 0.02;  ///< Of the peak, at the last step and beyond.

  /// Step 0 is the first. In (0, 1].
  double ShareAt(int64_t step) const;
  /// First step of the decay; `steps` if there is none.
  int64_t decay_start() const;
};

}  // namespace baleen::training
