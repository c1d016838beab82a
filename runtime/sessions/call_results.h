// What a call is answered with when no tool answered it; and how a tool's answer is bounded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/approval.h"
#include "tools_sdk/message.h"

namespace baleen {

ToolResult FailedCall(std::string text);
/// By a policy or by whoever was asked.
ToolResult DeniedCall(const std::string& why);
/// Why the calls of an approval that has ended were not run.
std::string ApprovalRefusal(const ApprovalView& approval);
ToolResult UnknownOutcome(const std::string& why);
/// For a call whose turn ended before its result: what is true of it.
ToolResult AbortedCall(bool started, bool has_effects, const std::string& why);

/// Results are hostile input: valid UTF-8 of a bounded size is what enters the context.
void BoundResult(int64_t bytes_max, ToolResult* result);

/// `append` with a result for each of `calls` that it doesn't answer, from `known` if it is there.
/// Results come first, in the order of the calls; without anything owed, `append` as it is.
std::vector<Message> WithOwedResults(const std::vector<Message>& append,
                                     const std::vector<ToolCall>& calls,
                                     const std::vector<ToolResult>& known);

}  // namespace baleen
