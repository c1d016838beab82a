#include "tools_sdk/message.h"

namespace baleen {

const char* ToolOutcomeName(ToolOutcome outcome) {
  switch (outcome) {
    case ToolOutcome::kOk: return "OK";
    case ToolOutcome::kError: return "ERROR";
    case ToolOutcome::kDenied: return "DENIED";
    case ToolOutcome::kTimeout: return "TIMEOUT";
    case ToolOutcome::kAborted: return "ABORTED";
    case ToolOutcome::kUnknown: return "UNKNOWN";
    case ToolOutcome::kAbortedBeforeDispatch: return "ABORTED_BEFORE_DISPATCH";
  }
  return "UNKNOWN";
}

}  // namespace baleen
