#include "tools_sdk/builtin/call_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools_sdk/schema.h"
#include "tools_sdk/utf8.h"

namespace baleen {

Result<CallArguments> CallArguments::Parse(const ToolSpec& spec, const ToolCall& call) {
  RETURN_IF_ERROR(ValidateArguments(spec, call.arguments));
  const nlohmann::json json = nlohmann::json::parse(call.arguments, nullptr, false);
  CallArguments out;
  for (const auto& [name, value] : json.items()) {
    if (value.is_string()) out.texts_[name] = value.get<std::string>();
    if (value.is_number_integer()) out.integers_[name] = value.get<int64_t>();
    // The schema's bounds keep it inside int64.
    if (value.is_number_float()) out.integers_[name] = static_cast<int64_t>(value.get<double>());
    if (value.is_number()) out.numbers_[name] = value.get<double>();
    if (value.is_boolean()) out.flags_[name] = value.get<bool>();
  }
  return out;
}

std::string CallArguments::Text(const std::string& name, std::string_view fallback) const {
  const auto found = texts_.find(name);
  return found == texts_.end() ? std::string(fallback) : found->second;
}

int64_t CallArguments::Integer(const std::string& name, int64_t fallback) const {
  const auto found = integers_.find(name);
  return found == integers_.end() ? fallback : found->second;
}

double CallArguments::Number(const std::string& name, double fallback) const {
  const auto found = numbers_.find(name);
  return found == numbers_.end() ? fallback : found->second;
}

bool CallArguments::Flag(const std::string& name) const {
  const auto found = flags_.find(name);
  return found != flags_.end() && found->second;
}

BoundedText::BoundedText(int64_t bytes_max)
    : bytes_max_(std::max<int64_t>(bytes_max - kReserveBytes, 0)) {}

bool BoundedText::AddLine(std::string_view line) {
  const std::string valid = ReplaceInvalidUtf8(line);
  const int64_t bytes = static_cast<int64_t>(valid.size()) + 1;
  if (full() || static_cast<int64_t>(text_.size()) + bytes > bytes_max_) {
    ++lines_cut_;
    bytes_cut_ += bytes;
    return false;
  }
  text_ += valid;
  text_ += '\n';
  return true;
}

ToolResult BoundedText::Finish(const ToolCall& call, std::string_view remark) {
  ToolResult result;
  result.call_id = call.id;
  result.content_bytes = static_cast<int64_t>(text_.size()) + bytes_cut_;
  result.content = std::move(text_);
  result.content += remark;
  if (!result.content.empty() && result.content.back() == '\n') result.content.pop_back();
  return result;
}

ToolResult ToolError(const ToolCall& call, std::string text) {
  ToolResult result;
  result.call_id = call.id;
  result.outcome = ToolOutcome::kError;
  result.content = ReplaceInvalidUtf8(text);
  return result;
}

Result<std::string> StoreAside(WorkspaceChanges& changes, const std::string& name,
                               std::string_view text, const std::string* replaced) {
  changes.Store(".baleen/.gitignore", "*\n", nullptr)
      .IgnoreError("it is there already, or the next one says why nothing can be written");
  std::string path = ".baleen/" + name;
  const auto most = static_cast<size_t>(WorkspaceChanges::kChangeBytesMax);
  if (text.size() > most) text = Utf8Prefix(text, most);
  RETURN_IF_ERROR(changes.Store(path, text, replaced));
  return path;
}

std::string CutLine(std::string_view beginning, size_t bytes_max, size_t line_bytes) {
  if (line_bytes <= bytes_max) return std::string(beginning);
  const std::string_view kept = Utf8Prefix(beginning, bytes_max);
  return std::string(kept) + " [" + std::to_string(line_bytes - kept.size()) +
         " more bytes in this line]";
}

bool LooksBinary(std::string_view beginning) {
  return beginning.substr(0, 8192).find('\0') != std::string_view::npos;
}

}  // namespace baleen
