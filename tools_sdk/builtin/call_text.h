// What the built-in tools share: their arguments as plain values, and answers that know their
// limit.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// The scalar members of a call's arguments.
class CallArguments {
 public:
  /// Errors: INVALID_ARGUMENT from the spec's schema.
  static Result<CallArguments> Parse(const ToolSpec& spec, const ToolCall& call);

  std::string Text(const std::string& name, std::string_view fallback) const;
  int64_t Integer(const std::string& name, int64_t fallback) const;
  double Number(const std::string& name, double fallback) const;
  bool Flag(const std::string& name) const;  ///< False where absent.

 private:
  std::map<std::string, std::string> texts_;
  std::map<std::string, int64_t> integers_;
  std::map<std::string, double> numbers_;  ///< Integers too.
  std::map<std::string, bool> flags_;
};

/// Lines up to a limit of bytes, then only a count. What leaves is valid UTF-8.
class BoundedText {
 public:
  /// Keeps kReserveBytes of `bytes_max` for the closing remark.
  explicit BoundedText(int64_t bytes_max);
  /// Adds one line and its newline. False: it did not fit, nor will any later one.
  bool AddLine(std::string_view line);
  bool full() const { return lines_cut_ > 0; }
  /// The text, with `remark` (may be empty) as its last line.
  ToolResult Finish(const ToolCall& call, std::string_view remark);

 private:
  static constexpr int64_t kReserveBytes = 300;
  int64_t bytes_max_;
  std::string text_;
  int64_t lines_cut_ = 0;
  int64_t bytes_cut_ = 0;
};

/// An answer that tells the model what went wrong.
ToolResult ToolError(const ToolCall& call, std::string text);

/// Puts what is too long for an answer into the workspace's `.baleen`, which git leaves alone, cut
/// to what one change may hold. Its path. Errors: as WorkspaceChanges::Store.
Result<std::string> StoreAside(WorkspaceChanges& changes, const std::string& name,
                               std::string_view text, const std::string* replaced);

/// `beginning` of a line of `line_bytes`, cut to `bytes_max` with a mark that says how much is
/// missing.
std::string CutLine(std::string_view beginning, size_t bytes_max, size_t line_bytes);

/// Whether a file that begins so is better not shown as text.
bool LooksBinary(std::string_view beginning);

}  // namespace baleen
