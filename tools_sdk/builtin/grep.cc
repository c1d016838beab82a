#include "tools_sdk/builtin/grep.h"

#include <string.h>  // memmem

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/builtin/glob_pattern.h"
#include "tools_sdk/builtin/tree_walk.h"

namespace baleen {
namespace {

constexpr int64_t kResultsDefault = 100;
constexpr size_t kLineBytesMax = 500;
constexpr int64_t kFileBytesMax = 16 << 20;
constexpr int64_t kTotalBytesMax = 512 << 20;

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "grep";
  spec.description =
      "Finds a literal text (not a regular expression) in the files of the workspace. Answers with "
      "the matching lines and their numbers, grouped by file. Skips binary files, '.git' and "
      "symbolic links.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("pattern":{"type":"string","description":"The text to find, within one line","minLength":1,"maxLength":1000},)"
      R"("path":{"type":"string","description":"Directory or file to search; the whole workspace if absent"},)"
      R"("include":{"type":"string","description":"Only files whose name fits, e.g. *.cc; * and ? are wildcards","minLength":1,"maxLength":200},)"
      R"("ignore_case":{"type":"boolean","description":"Treat A-Z and a-z alike"},)"
      R"("max_results":{"type":"integer","description":"Matching lines, 100 if absent","minimum":1,"maximum":250}},)"
      R"("required":["pattern"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 50 * 1024;
  return spec;
}

char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

class GrepRun {
 public:
  /// `include` may be null: every file.
  GrepRun(const CallArguments& arguments, const GlobPattern* include, CallContext& context,
          BoundedText* out)
      : pattern_(arguments.Text("pattern", "")),
        include_(include),
        ignore_case_(arguments.Flag("ignore_case")),
        results_max_(arguments.Integer("max_results", kResultsDefault)),
        context_(context),
        out_(out) {
    if (ignore_case_)
      std::transform(pattern_.begin(), pattern_.end(), pattern_.begin(), LowerAscii);
  }

  /// Errors: those of the path.
  Status Search(const std::string& path) {
    RETURN_IF_ERROR(walk_.Walk(path, [this](const FileEntry& file) {
      if (include_ == nullptr || include_->Matches(file.path))
        SearchFile(file.path, file.size_bytes);
      return stop_.empty();
    }));
    if (walk_.cut()) stop_ = "more than 100000 entries; give a path";
    return OkStatus();
  }

  std::string Remark() const {
    std::string remark;
    if (results_ == 0) remark = "[no match in " + std::to_string(files_) + " files]";
    if (walk_.ignored() > 0) {  // else the model would take what it gets for all there is
      remark += "[ignore files leave out " + std::to_string(walk_.ignored()) +
                " files or directories; a path to one searches it]";
    }
    if (!stop_.empty()) remark += "[stopped: " + stop_ + "]";
    if (skipped_ + walk_.unreadable() > 0) {
      remark += "[" + std::to_string(skipped_ + walk_.unreadable()) +
                " files or directories were not searched: too large or not readable]";
    }
    return remark;
  }

 private:
  void SearchFile(const std::string& path, int64_t size) {
    if (size > kFileBytesMax) {
      ++skipped_;
      return;
    }
    bytes_ += size;
    if (bytes_ > kTotalBytesMax) {
      stop_ = "more than 512 MiB; give a path or include";
      return;
    }
    const Result<std::string> text = context_.files->Read(path, 0, kFileBytesMax);
    if (!text.ok()) {
      ++skipped_;
      return;
    }
    ++files_;
    if (!LooksBinary(*text)) SearchText(path, *text);
  }

  void SearchText(const std::string& path, const std::string& text) {
    std::string lowered;
    if (ignore_case_) {
      lowered = text;
      std::transform(lowered.begin(), lowered.end(), lowered.begin(), LowerAscii);
    }
    const std::string& haystack = ignore_case_ ? lowered : text;
    int64_t line = 1;
    size_t counted = 0;
    bool named = false;
    size_t from = 0;
    while (!context_.Cancelled()) {
      // Linear time whatever the pattern, unlike std::search and its searchers.
      const void* found =
          memmem(haystack.data() + from, haystack.size() - from, pattern_.data(), pattern_.size());
      if (found == nullptr) return;
      const size_t offset = static_cast<size_t>(static_cast<const char*>(found) - haystack.data());
      line += std::count(text.begin() + static_cast<std::ptrdiff_t>(counted),
                         text.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
      counted = offset;
      const size_t before = offset == 0 ? std::string::npos : text.rfind('\n', offset - 1);
      const size_t begin = before == std::string::npos ? 0 : before + 1;
      const size_t end = std::min(text.find('\n', offset), text.size());
      if (results_ >= results_max_) {
        stop_ = "more than " + std::to_string(results_max_) +
                " matching lines; narrow the search or raise max_results";
        return;
      }
      ++results_;
      const std::string_view shown(text.data() + begin, end - begin);
      if ((!named && !out_->AddLine(path)) ||
          !out_->AddLine("  " + std::to_string(line) + ": " +
                         CutLine(shown, kLineBytesMax, shown.size()))) {
        stop_ = "the answer is full; narrow the search";
        return;
      }
      named = true;
      from = end;
    }
  }

  std::string pattern_;
  const GlobPattern* include_;
  bool ignore_case_;
  int64_t results_max_;
  CallContext& context_;
  TreeWalk walk_{context_};
  BoundedText* out_;
  int64_t results_ = 0, files_ = 0, skipped_ = 0, bytes_ = 0;
  std::string stop_;  // Why it ended early.
};

class GrepTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.files == nullptr) return ToolError(call, "this session has no workspace");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    if (arguments->Text("pattern", "").find('\n') != std::string::npos) {
      return ToolError(call, "'pattern' must be one line: matches never span lines");
    }
    BoundedText out(spec_.output_bytes_max);
    std::optional<GlobPattern> include;
    if (const std::string glob = arguments->Text("include", ""); !glob.empty()) {
      auto parsed = GlobPattern::ParseForNames(glob);
      if (!parsed.ok()) return ToolError(call, parsed.status().message());
      include = std::move(parsed).value();
    }
    GrepRun run(*arguments, include.has_value() ? &*include : nullptr, context, &out);
    std::string path = arguments->Text("path", ".");
    const Status status = run.Search(path.empty() ? "." : path);
    if (!status.ok()) return ToolError(call, status.message());
    if (context.Cancelled()) return ToolError(call, "grep was cancelled");
    return out.Finish(call, run.Remark());
  }

 private:
  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewGrepTool() { return std::make_unique<GrepTool>(); }

}  // namespace baleen
