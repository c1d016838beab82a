#include "runtime/store/live_numbers.h"

#include <algorithm>

namespace baleen {

LiveNumbers::LiveNumbers(std::vector<std::pair<uint64_t, int64_t>> values, uint64_t horizon)
    : values_(std::move(values)), sums_(1, 0), horizon_(horizon) {
  for (const auto& [number, bytes] : values_) sums_.push_back(sums_.back() + bytes);
}

size_t LiveNumbers::Place(uint64_t number) const {
  const auto found = std::lower_bound(values_.begin(), values_.end(), std::pair(number, INT64_MIN));
  return static_cast<size_t>(found - values_.begin());
}

bool LiveNumbers::Contains(uint64_t number) const {
  if (number >= horizon_) return true;
  const size_t place = Place(number);
  return place < values_.size() && values_[place].first == number;
}

int64_t LiveNumbers::BytesIn(uint64_t first, uint64_t last) const {
  if (last >= horizon_) return INT64_MAX;
  return sums_[Place(last + 1)] - sums_[Place(first)];
}

}  // namespace baleen
