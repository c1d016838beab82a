// Clock: the runtime's only source of time, so that a simulation can replace it.
#pragma once

#include <chrono>
#include <cstdint>

namespace baleen {

/// Threads: any.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Unix time, milliseconds. May jump.
  virtual int64_t WallMs() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  /// Monotonic milliseconds; for durations and deadlines.
  virtual int64_t SteadyMs() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace baleen
