#include "runtime/sessions/repeat_guard.h"

#include <functional>
#include <string_view>

namespace baleen {
namespace {

constexpr char kMark[] = "\n[repeat guard: ";
constexpr int64_t kFirstAdvice = 3;
constexpr int64_t kLastAdvice = 5;
constexpr int64_t kRunsMax = 7;

size_t KeyOf(const ToolCall& call) {
  return std::hash<std::string>()(call.name + '\0' + call.arguments);
}

size_t HashOf(const ToolResult& result) {
  std::string_view content = result.content;
  content = content.substr(0, content.rfind(kMark));
  return std::hash<std::string_view>()(content) + static_cast<size_t>(result.outcome);
}

}  // namespace

int64_t RepeatGuard::Repeats(const ToolCall& call) const {
  const auto found = seen_.find(KeyOf(call));
  return found == seen_.end() ? 0 : found->second.times;
}

std::string RepeatGuard::Advice(const ToolCall& call, const ToolResult& result) const {
  const auto found = seen_.find(KeyOf(call));
  if (found == seen_.end() || found->second.result != HashOf(result)) return "";
  const int64_t times = found->second.times + 1;
  if (times != kFirstAdvice && times != kLastAdvice) return "";
  return kMark + std::string("the same call has given the same result ") + std::to_string(times) +
         " times in a row. Use it, or do something else.]";
}

std::string RepeatGuard::Refusal(const ToolCall& call) const {
  if (Repeats(call) < kRunsMax) return "";
  return "it has given the same result " + std::to_string(Repeats(call)) +
         " times in a row; use that, or do something else";
}

void RepeatGuard::Note(const ToolCall& call, const ToolResult& result) {
  if (result.outcome != ToolOutcome::kOk && result.outcome != ToolOutcome::kError) return;
  Seen& seen = seen_[KeyOf(call)];
  const size_t hash = HashOf(result);
  seen.times = seen.times > 0 && seen.result == hash ? seen.times + 1 : 1;
  seen.result = hash;
}

}  // namespace baleen
