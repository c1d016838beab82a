#include "runtime/http_tools/lost_call.h"

#include <string>

#include "tools_sdk/call_result.h"

namespace baleen {

ToolResult LostCall(const FetchReply& reply, EffectClass effect, int64_t whole_ms, bool late) {
  const std::string why = reply.status.message();
  if (!reply.sent) {
    if (reply.status.code() == StatusCode::kCancelled && !late) {
      return ResultOf(ToolOutcome::kAbortedBeforeDispatch, "The call was cancelled.");
    }
    return NotRun(why);
  }
  const bool pure = effect == EffectClass::kPure;
  const std::string inspect = pure ? "" : kInspectFirst;
  if (reply.status.code() == StatusCode::kDeadlineExceeded || late) {
    return ResultOf(ToolOutcome::kTimeout, "The server gave no whole answer within " +
                                               std::to_string(whole_ms) + " ms." + inspect);
  }
  if (reply.status.code() == StatusCode::kCancelled) {
    return ResultOf(pure ? ToolOutcome::kAborted : ToolOutcome::kUnknown,
                    "The call was cancelled." + inspect);
  }
  return ResultOf(pure ? ToolOutcome::kError : ToolOutcome::kUnknown,
                  "The server gave no answer: " + why + "." + inspect);
}

}  // namespace baleen
