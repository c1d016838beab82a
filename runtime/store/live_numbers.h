// LiveNumbers: which values of a family are still wanted, while space is given back.
//
// Internal to runtime/store. Immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace baleen {

class LiveNumbers {
 public:
  /// `values`: number and stored bytes, ascending. Numbers from `horizon` on are live too, of
  /// unknown size: they were put after the list was made.
  LiveNumbers(std::vector<std::pair<uint64_t, int64_t>> values, uint64_t horizon);

  bool Contains(uint64_t number) const;
  /// Stored under first..last; without bound where the horizon lies below `last`.
  int64_t BytesIn(uint64_t first, uint64_t last) const;

 private:
  size_t Place(uint64_t number) const;

  std::vector<std::pair<uint64_t, int64_t>> values_;
  std::vector<int64_t> sums_;  ///< [values + 1] bytes before each.
  const uint64_t horizon_;
};

}  // namespace baleen
