#include "runtime/sessions/call_results.h"

#include <algorithm>
#include <utility>

#include "tools_sdk/call_result.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

/// As the default loop words it.
Message ResultMessage(const ToolCall& call, const std::vector<ToolResult>& known) {
  Message message;
  message.role = Role::kTool;
  message.tool_call_id = call.id;
  const auto found = std::find_if(known.begin(), known.end(), [&](const ToolResult& result) {
    return result.call_id == call.id;
  });
  const ToolResult result =
      found != known.end()
          ? *found
          : AbortedCall(/*started=*/false, /*has_effects=*/true, "the turn ended without it");
  if (result.outcome != ToolOutcome::kOk) {
    message.content = std::string(ToolOutcomeName(result.outcome)) + ": ";
  }
  message.content += result.content;
  return message;
}

}  // namespace

ToolResult FailedCall(std::string text) { return ResultOf(ToolOutcome::kError, std::move(text)); }

ToolResult DeniedCall(const std::string& why) {
  return ResultOf(ToolOutcome::kDenied, "This call was not run: " + why);
}

std::string ApprovalRefusal(const ApprovalView& approval) {
  if (approval.state == ApprovalState::kExpired) {
    return "its approval expired, since nobody answered in time.";
  }
  const std::string refusal = approval.state == ApprovalState::kCancelled
                                  ? "the turn ended before anybody approved of it."
                                  : "it was denied by " + approval.resolved_by + ".";
  return approval.reason.empty() ? refusal : refusal + " Reason: " + approval.reason;
}

ToolResult UnknownOutcome(const std::string& why) {
  return ResultOf(ToolOutcome::kUnknown,
                  "The outcome of this call is not known (" + why +
                      "). Its effect may or may not have happened: inspect before repeating it.");
}

ToolResult AbortedCall(bool started, bool has_effects, const std::string& why) {
  if (!started) {
    return ResultOf(ToolOutcome::kAbortedBeforeDispatch, "This call was not run: " + why + ".");
  }
  if (has_effects) return UnknownOutcome(why);
  return ResultOf(ToolOutcome::kAborted, "This call was broken off: " + why + ".");
}

void BoundResult(int64_t bytes_max, ToolResult* result) {
  result->content = ReplaceInvalidUtf8(result->content);
  const auto size = static_cast<int64_t>(result->content.size());
  if (result->content_bytes < size) result->content_bytes = size;
  // What was bounded before, with its note, stays as it is: after a restart results come again.
  constexpr int64_t kNoteBytesMax = 64;
  if (size <= bytes_max + kNoteBytesMax) return;
  const size_t cut = Utf8Prefix(result->content, static_cast<size_t>(bytes_max)).size();
  result->content.resize(cut);
  result->content += "\n[cut: " + std::to_string(cut) + " of " + std::to_string(size) + " bytes]";
}

std::vector<Message> WithOwedResults(const std::vector<Message>& append,
                                     const std::vector<ToolCall>& calls,
                                     const std::vector<ToolResult>& known) {
  const auto answers = [](const ToolCall& call) {
    return [&call](const Message& message) {
      return message.role == Role::kTool && message.tool_call_id == call.id;
    };
  };
  const bool owed = std::any_of(calls.begin(), calls.end(), [&](const ToolCall& call) {
    return std::none_of(append.begin(), append.end(), answers(call));
  });
  if (!owed) return append;
  std::vector<Message> rest = append;
  std::vector<Message> whole;
  for (const ToolCall& call : calls) {
    const auto found = std::find_if(rest.begin(), rest.end(), answers(call));
    if (found == rest.end()) {
      whole.push_back(ResultMessage(call, known));
    } else {
      whole.push_back(std::move(*found));
      rest.erase(found);
    }
  }
  whole.insert(whole.end(), rest.begin(), rest.end());
  return whole;
}

}  // namespace baleen
