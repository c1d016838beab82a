// CallLine: the line that says on a terminal how a running call gets on.
#pragma once

#include <cstdint>
#include <string>

namespace baleen::cli {

/// Threads: one.
class CallLine {
 public:
  /// The payload of an event `tool_progress`; what isn't one is ignored. `now_ms`: any clock's, as
  /// below.
  void Take(const std::string& payload, int64_t now_ms);
  /// Calls that say nothing themselves: their names, and since when they run.
  void Wait(const std::string& tools, int64_t since_ms);
  /// There is no call any more.
  void Clear() { *this = {}; }

  /// "bash 12 s, 3/10: last line of output": one line of at most `columns` cells, whatever was
  /// written; nothing in it moves a cursor.
  std::string Shown(int64_t now_ms, size_t columns) const;

 private:
  std::string tool_;
  std::string count_;    ///< "3/10".
  std::string message_;  ///< The call's own word; then the output isn't shown.
  std::string output_;   ///< The end of it.
  int64_t output_end_ = 0;
  int64_t begun_ms_ = 0;
};

}  // namespace baleen::cli
