// SseReader: the data of server-sent events, out of pieces of a stream cut anywhere.
//
// Knows the line rules of the format and nothing of what the data means. Fuzzed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Source: WHATWG HTML, "Server-sent events", parsing an event stream. Names, ids and retry times
/// are ignored; so is an event that the stream's end cuts.
class SseReader {
 public:
  /// `event_bytes_max`: of one event's data, and of one line.
  explicit SseReader(size_t event_bytes_max) : limit_(event_bytes_max) {}

  /// Adds the data of events that are whole now to `data`.
  /// Errors: RESOURCE_EXHAUSTED/ANSWER_TOO_LARGE; for good, once it was said.
  Status Push(std::string_view piece, std::vector<std::string>* data);

 private:
  void TakeLine(std::string_view line, std::vector<std::string>* data);

  size_t limit_;
  std::string line_;       ///< Begun, not ended.
  std::string event_;      ///< Data lines so far, each with a '\n' behind.
  bool after_cr_ = false;  ///< A '\n' that comes next belongs to the '\r' before.
  bool begun_ = false;     ///< A byte-order mark can't come any more.
  Status failure_;
};

}  // namespace baleen
