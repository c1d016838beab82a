#include "tools_sdk/builtin/read.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tools_sdk/builtin/call_text.h"

namespace baleen {
namespace {

constexpr int64_t kLinesDefault = 500;  // A local model pays prefill for each of them.
constexpr int64_t kLinesMax = 2000;
constexpr size_t kLineBytesMax = 2000;
constexpr int64_t kChunkBytes = 1 << 20;
constexpr int64_t kScanBytesMax = 256 << 20;  // To find the first line asked for.

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "read";
  spec.description =
      "Reads a text file of the workspace. Answers with numbered lines. Long files come in parts: "
      "ask again with the offset that the answer names.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("path":{"type":"string","description":"File, relative to the workspace","minLength":1},)"
      R"("offset":{"type":"integer","description":"First line, from 1","minimum":1,"maximum":1000000000},)"
      R"("limit":{"type":"integer","description":"Number of lines, 500 if absent","minimum":1,"maximum":2000}},)"
      R"("required":["path"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 50 * 1024;
  return spec;
}

char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), LowerAscii);
  return out;
}

// Names in the missing file's directory that look like it.
std::string NearNames(const WorkspaceFiles& files, const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
  const std::string wanted = Lower(slash == std::string::npos ? path : path.substr(slash + 1));
  const Result<std::vector<FileEntry>> entries = files.List(folder, 10'000);
  if (!entries.ok()) return {};
  const std::string stem = wanted.substr(0, wanted.find('.'));
  std::string near;
  int count = 0;
  for (const FileEntry& entry : *entries) {
    const std::string name = Lower(entry.path.substr(entry.path.rfind('/') + 1));
    const bool alike = name.find(stem) != std::string::npos ||
                       (name.size() > 2 && wanted.find(name.substr(0, name.find('.'))) == 0);
    if (stem.empty() || !alike || ++count > 5) continue;
    near += (near.empty() ? "" : ", ") + entry.path;
  }
  return near;
}

// Splits a file into lines, chunk by chunk, and keeps those asked for.
class LineWindow {
 public:
  LineWindow(int64_t first, int64_t count, BoundedText* out)
      : first_(first), end_(first + count), out_(out) {}

  /// False: enough.
  bool Feed(std::string_view chunk) {
    while (!chunk.empty()) {
      const size_t newline = chunk.find('\n');
      const std::string_view part = chunk.substr(0, newline);
      Keep(part);
      if (newline == std::string_view::npos) return true;
      chunk.remove_prefix(newline + 1);
      if (!EndLine()) return false;
    }
    return true;
  }
  void FinishFile() { at_end_ = !in_line_ || EndLine(); }
  /// What to say below the lines.
  std::string Remark() const {
    if (at_end_ && line_ <= first_) {
      return "[the file has " + std::to_string(line_ - 1) + " lines; offset " +
             std::to_string(first_) + " is past its end]";
    }
    if (at_end_) return {};
    return "[more lines follow; read on with offset=" + std::to_string(line_) + "]";
  }

 private:
  void Keep(std::string_view part) {
    in_line_ = true;
    if (line_ < first_) return;
    line_bytes_ += part.size();
    // Enough to know that the line is long; its length is counted apart.
    if (text_.size() <= kLineBytesMax) text_ += part.substr(0, kLineBytesMax + 4);
  }
  bool EndLine() {
    in_line_ = false;
    if (line_ >= first_) {
      if (line_ >= end_) return false;
      if (!text_.empty() && text_.back() == '\r' && line_bytes_ == text_.size()) {
        text_.pop_back();
        --line_bytes_;
      }
      const std::string shown = CutLine(text_, kLineBytesMax, line_bytes_);
      if (!out_->AddLine(std::to_string(line_) + ": " + shown)) return false;
    }
    ++line_;
    text_.clear();
    line_bytes_ = 0;
    return true;
  }

  int64_t first_, end_;
  BoundedText* out_;
  int64_t line_ = 1;  // The line being read.
  bool in_line_ = false, at_end_ = false;
  std::string text_;
  size_t line_bytes_ = 0;
};

class ReadTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.files == nullptr) return ToolError(call, "this session has no workspace");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    const std::string path = arguments->Text("path", "");
    // Before the first byte: a change from here on makes an edit of what is shown stale.
    if (context.changes != nullptr) context.changes->NoteSeen(path);
    BoundedText out(spec_.output_bytes_max);
    LineWindow lines(arguments->Integer("offset", 1),
                     std::min(arguments->Integer("limit", kLinesDefault), kLinesMax), &out);
    for (int64_t offset = 0;; offset += kChunkBytes) {
      if (context.Cancelled()) return ToolError(call, "read was cancelled");
      if (offset >= kScanBytesMax) {
        return out.Finish(call, "[stopped: only the first 256 MiB of a file are read]");
      }
      const Result<std::string> chunk = context.files->Read(path, offset, kChunkBytes);
      if (!chunk.ok()) return Missing(call, *context.files, path, chunk.status());
      if (offset == 0 && LooksBinary(*chunk)) {
        return ToolError(call, "'" + path + "' is a binary file; read shows text only");
      }
      if (!lines.Feed(*chunk)) break;
      if (static_cast<int64_t>(chunk->size()) < kChunkBytes) {
        lines.FinishFile();
        break;
      }
    }
    return out.Finish(call, lines.Remark());
  }

 private:
  static ToolResult Missing(const ToolCall& call, const WorkspaceFiles& files,
                            const std::string& path, const Status& status) {
    std::string text = status.message();
    if (status.code() == StatusCode::kNotFound) {
      const std::string near = NearNames(files, path);
      text += near.empty() ? ". Use list to see what is there." : ". Did you mean: " + near + "?";
    }
    return ToolError(call, std::move(text));
  }

  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewReadTool() { return std::make_unique<ReadTool>(); }

}  // namespace baleen
