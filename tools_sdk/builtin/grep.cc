#include "tools_sdk/builtin/grep.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/builtin/glob_pattern.h"
#include "tools_sdk/builtin/search_pattern.h"
#include "tools_sdk/builtin/tree_walk.h"
#include "tools_sdk/special_files.h"

namespace baleen {
namespace {

constexpr int64_t kResultsMax = 250;
constexpr size_t kLineBytesMax = 2000;
constexpr int64_t kFileBytesMax = 16 << 20;
constexpr int64_t kTotalBytesMax = 512 << 20;
constexpr int64_t kSmallFileBytes = 64 << 10;  // as much time goes into opening it as into its text
constexpr size_t kWaitingMax = 8192;           // a stop is heard of between so many

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "grep";
  spec.description =
      "Finds a regular expression in the files of the workspace. Answers with the matching lines "
      "and their numbers, grouped by file. Skips binary files, '.git' and symbolic links.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("pattern":{"type":"string","description":"The expression to find, within one line","minLength":1,"maxLength":1000},)"
      R"("path":{"type":"string","description":"Directory or file to search; the whole workspace if absent"},)"
      R"("include":{"type":"string","description":"Only files whose name fits, e.g. *.cc; * and ? are wildcards","minLength":1,"maxLength":200},)"
      R"("ignore_case":{"type":"boolean","description":"Treat A-Z and a-z alike"},)"
      R"("literal":{"type":"boolean","description":"Take the pattern word for word"},)"
      R"("max_results":{"type":"integer","description":"Matching lines, 250 if absent","minimum":1,"maximum":250}},)"
      R"("required":["pattern"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 50 * 1024;
  return spec;
}

/// A file's lines without the '\r' that Windows puts before each line's end: '$' fits there, and
/// nobody is shown it.
std::string WithoutReturns(std::string text) {
  if (text.find("\r\n") == std::string::npos) return text;
  size_t kept = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    text[kept++] = text[i];
  }
  text.resize(kept);
  return text;
}

class GrepRun {
 public:
  /// `include` may be null: every file.
  GrepRun(const SearchPattern& pattern, const GlobPattern* include, int64_t results_max,
          CallContext& context, BoundedText* out)
      : pattern_(pattern),
        include_(include),
        results_max_(results_max),
        context_(context),
        out_(out) {}

  /// Errors: those of the path.
  Status Search(const std::string& path) {
    may_be_elsewhere_ = path != ".";  // a link, to where names are others
    RETURN_IF_ERROR(walk_.Walk(path, [this](const FileEntry& file) {
      if (include_ == nullptr || include_->Matches(file.path)) Meet(file);
      return stop_.empty();
    }));
    if (stop_.empty()) SearchWaiting();
    if (stop_.empty() && walk_.cut()) stop_ = "more than 100000 entries; give a path";
    return OkStatus();
  }

  std::string Remark() const {
    std::string remark;
    if (results_ == 0) remark = "[no match in " + std::to_string(files_) + " files]";
    const int64_t ignored = stopped_at_.has_value() ? stopped_at_->ignored : walk_.ignored();
    if (ignored > 0) {  // else the model would take what it gets for all there is
      remark += "[ignore files leave out " + std::to_string(ignored) +
                " files or directories; a path to one searches it]";
    }
    if (!stop_.empty()) remark += "[stopped: " + stop_ + "]";
    const int64_t missed =
        skipped_ + (stopped_at_.has_value() ? stopped_at_->unreadable : walk_.unreadable());
    if (missed > 0) {
      remark += "[" + std::to_string(missed) +
                " files or directories were not searched: too large or not readable]";
    }
    if (long_lines_ > 0) {
      remark += "[" + std::to_string(long_lines_) + " lines of more than " +
                std::to_string(pattern_.line_bytes_max()) +
                " bytes were not searched: too long for so complex a pattern]";
    }
    return remark;
  }

 private:
  /// A file that waits for the sieve's word, and how far the walk had come at it.
  struct WaitingFile {
    std::string path;
    int64_t size = 0, ignored = 0, unreadable = 0;
  };

  /// Searches at once what is soon searched, and lets what comes then wait for the sieve.
  void Meet(const FileEntry& file) {
    if (context_.sieve == nullptr || weight_ < context_.sieve->files_worth() || !Sieves()) {
      weight_ += 1 + file.size_bytes / kSmallFileBytes;
      if (Take(file.size_bytes)) SearchFile(file.path);
      return;
    }
    waiting_.push_back({file.path, file.size_bytes, walk_.ignored(), walk_.unreadable()});
    if (waiting_.size() >= kWaitingMax) SearchWaiting();
  }

  /// Whether there is anything that the sieve could look for.
  bool Sieves() {
    if (!needed_.has_value()) {
      // Whose long lines are counted must be read.
      const bool has_long_lines = pattern_.line_bytes_max() < static_cast<size_t>(kFileBytesMax);
      needed_ = has_long_lines ? std::vector<std::string>() : pattern_.NeededTexts();
    }
    return !needed_->empty();
  }

  /// Of secret files nobody may hear anything, whose text the workspace doesn't give.
  static bool IsAsked(const WaitingFile& file) {
    return file.size <= kFileBytesMax && SecretOf(file.path, {}).empty();
  }

  /// In their order, as if each had been searched when it was met.
  void SearchWaiting() {
    std::vector<std::string> paths;
    for (const WaitingFile& file : waiting_) {
      if (IsAsked(file)) paths.push_back(file.path);
    }
    std::vector<bool> may_hold(paths.size(), true);
    if (!paths.empty()) {
      auto told = context_.sieve->MayHold(paths, *needed_, context_.cancelled);
      // Where it can't tell, all are searched from now on.
      if (told.ok()) may_hold = std::move(told).value();
      if (!told.ok()) needed_->clear();
    }
    size_t asked = 0;
    for (WaitingFile& file : std::exchange(waiting_, {})) {
      if (context_.Cancelled()) return;
      const bool is_left_out = IsAsked(file) && !may_hold[asked++];
      if (Take(file.size)) {
        // As where it is read: what can't be isn't counted among the searched ones, whatever it
        // holds.
        if (!is_left_out) {
          SearchFile(file.path);
        } else if (!may_be_elsewhere_ || context_.files->Size(file.path).ok()) {
          ++files_;
        } else {
          ++skipped_;
        }
      }
      if (stop_.empty()) continue;
      stopped_at_ = std::move(file);
      return;
    }
  }

  /// False: it isn't searched, for its size or for all that was searched before.
  bool Take(int64_t size) {
    if (size > kFileBytesMax) {
      ++skipped_;
      return false;
    }
    bytes_ += size;
    if (bytes_ > kTotalBytesMax) stop_ = "more than 512 MiB; give a path or include";
    return stop_.empty();
  }

  void SearchFile(const std::string& path) {
    Result<std::string> text = context_.files->Read(path, 0, kFileBytesMax);
    if (!text.ok()) {
      ++skipped_;
      return;
    }
    ++files_;
    if (!LooksBinary(*text)) SearchText(path, WithoutReturns(std::move(text).value()));
  }

  void SearchText(const std::string& path, const std::string& text) {
    const auto place = [&text](size_t offset) {
      return text.begin() + static_cast<std::ptrdiff_t>(offset);
    };
    int64_t line = 1;
    bool named = false;
    for (size_t at = 0; at < text.size() && !context_.Cancelled();) {
      const size_t end = PartEnd(text, at);
      size_t found = std::string::npos;
      if (end - at > pattern_.line_bytes_max()) {
        ++long_lines_;
      } else {
        found = pattern_.Find(text, at, end);
      }
      if (found == std::string::npos) {
        line += std::count(place(at), place(end), '\n');
        at = end;
        continue;
      }
      line += std::count(place(at), place(found), '\n');
      const size_t begin = std::string_view(text).substr(0, found).rfind('\n') + 1;
      const size_t line_end = std::min(text.find('\n', found), text.size());
      if (!Report(path, line++, std::string_view(text).substr(begin, line_end - begin), !named)) {
        return;
      }
      named = true;
      at = line_end + 1;
    }
  }

  /// The end of what is searched at once from `begin`, a line's: whole lines, one at least.
  size_t PartEnd(const std::string& text, size_t begin) const {
    if (text.size() - begin <= pattern_.bytes_at_once()) return text.size();
    const size_t last = text.rfind('\n', begin + pattern_.bytes_at_once());
    if (last != std::string::npos && last >= begin) return last + 1;
    return std::min(text.find('\n', begin), text.size() - 1) + 1;
  }

  /// False: no more fits, and stop_ says why.
  bool Report(const std::string& path, int64_t number, std::string_view line, bool first) {
    if (results_ >= results_max_) {
      stop_ = "more than " + std::to_string(results_max_) + " matching lines; narrow the search" +
              (results_max_ < kResultsMax ? " or raise max_results" : "");
      return false;
    }
    ++results_;
    if ((first && !out_->AddLine(path)) ||
        !out_->AddLine("  " + std::to_string(number) + ": " +
                       CutLine(line, kLineBytesMax, line.size()))) {
      stop_ = "the answer is full; narrow the search";
      return false;
    }
    return true;
  }

  const SearchPattern& pattern_;
  const GlobPattern* include_;
  int64_t results_max_;
  CallContext& context_;
  TreeWalk walk_{context_};
  BoundedText* out_;
  std::vector<WaitingFile> waiting_;
  /// What a file must hold to be of use; unset: not asked yet; empty: nothing that can be told.
  std::optional<std::vector<std::string>> needed_;
  int64_t weight_ = 0;  ///< Of what was searched without the sieve, in small files.
  int64_t results_ = 0, files_ = 0, skipped_ = 0, bytes_ = 0, long_lines_ = 0;
  bool may_be_elsewhere_ = false;
  std::optional<WaitingFile> stopped_at_;  ///< The walk has gone on since.
  std::string stop_;                       // Why it ended early.
};

class GrepTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.files == nullptr) return ToolError(call, "this session has no workspace");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    SearchPatternOptions options;
    options.literal = arguments->Flag("literal");
    options.ignore_case = arguments->Flag("ignore_case");
    const auto pattern = SearchPattern::Parse(arguments->Text("pattern", ""), options);
    if (!pattern.ok()) return ToolError(call, pattern.status().message());
    BoundedText out(spec_.output_bytes_max);
    std::optional<GlobPattern> include;
    if (const std::string glob = arguments->Text("include", ""); !glob.empty()) {
      auto parsed = GlobPattern::ParseForNames(glob);
      if (!parsed.ok()) return ToolError(call, parsed.status().message());
      include = std::move(parsed).value();
    }
    GrepRun run(*pattern, include.has_value() ? &*include : nullptr,
                arguments->Integer("max_results", kResultsMax), context, &out);
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
