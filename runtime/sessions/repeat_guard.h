// RepeatGuard: notices a model that makes one call again and again, and gets nothing new by it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "tools_sdk/message.h"

namespace baleen {

/// Of one turn. It depends on the calls and results alone, so that a restart which notes them again
/// goes on with the same counts. Results that this class has added to are counted as they were.
class RepeatGuard {
 public:
  /// How often in a row the call has given one and the same result.
  int64_t Repeats(const ToolCall& call) const;
  /// To be added to `result` of the call; empty: nothing.
  std::string Advice(const ToolCall& call, const ToolResult& result) const;
  /// Why the call isn't run any more; empty: it may be.
  std::string Refusal(const ToolCall& call) const;
  void Note(const ToolCall& call, const ToolResult& result);

 private:
  struct Seen {
    size_t result = 0;  ///< Hash.
    int64_t times = 0;
  };
  std::map<size_t, Seen> seen_;  ///< By the hash of the call: an error costs an advice.
};

}  // namespace baleen
