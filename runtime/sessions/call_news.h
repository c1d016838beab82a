// CallNews: what a running call has to tell, between its body, which tells at any rate, and those
// who watch, who are told now and then.
//
// Keeps the end of the output and the newest of the rest. What comes out is without keys and
// secrets, also those that were written in pieces, and is valid UTF-8. Called by the control loop.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tools_sdk/tool.h"

namespace baleen {

class Redactor;

/// Threads: Put from any; the rest from the control thread.
class CallNews {
 public:
  /// At most so much of the output is told at once, in bytes.
  static constexpr size_t kTextBytesMax = 2048;
  static constexpr size_t kMessageBytesMax = 200;

  /// Borrows: redactor; null: there are no secrets. `begun_ms`: of the call, steady.
  CallNews(const Redactor* redactor, std::string call, std::string tool, int64_t begun_ms)
      : redactor_(redactor), call_(std::move(call)), tool_(std::move(tool)), begun_ms_(begun_ms) {}

  /// true: the first news since Take, so somebody has to be told that there are some.
  bool Put(const CallProgress& progress);

  /// The payload of an event `tool_progress`; empty: what there is has to wait for more. It begins
  /// with the call's id, by which newer ones take its place in queues (runtime/grpc).
  std::string Take(int64_t now_ms);
  /// When Take was last called; long ago if it wasn't.
  int64_t taken_ms() const { return taken_ms_; }

 private:
  struct Told {
    std::string text;
    int64_t begin = 0;  ///< Bytes of output before `text`.
    int64_t end = 0;
  };
  void Append(std::string_view output, int64_t output_bytes);
  Told TakeOutput();
  std::string Shown(std::string_view message) const;

  const Redactor* const redactor_;
  const std::string call_;
  const std::string tool_;
  const int64_t begun_ms_;
  int64_t taken_ms_ = -1'000'000'000;
  std::mutex mutex_;
  // Guarded by mutex_:
  bool waits_ = false;      ///< For Take.
  std::string output_;      ///< That wasn't told yet.
  int64_t output_end_ = 0;  ///< Bytes written up to the end of output_.
  int64_t told_end_ = 0;    ///< The same of what was told.
  bool front_cut_ = false;  ///< output_ may begin in the middle of something.
  bool news_ = false;       ///< Of the next three.
  std::optional<double> done_;
  std::optional<double> total_;
  std::string message_;
};

}  // namespace baleen
