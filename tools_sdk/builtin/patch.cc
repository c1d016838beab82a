#include "tools_sdk/builtin/patch.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "tools_sdk/builtin/unified_diff.h"

namespace baleen {
namespace {

constexpr std::string_view kNowhere = "/dev/null";
constexpr int64_t kLinesMax = int64_t{1} << 40;  ///< So that no sum of line numbers overflows.

std::string Shown(std::string_view text) {
  std::string shown(text.substr(0, 80));
  for (char& byte : shown) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x20 || value >= 0x7f) byte = '?';
  }
  return "'" + shown + (text.size() > 80 ? "...'" : "'");
}

bool TakePrefix(std::string_view prefix, std::string_view* text) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

bool TakeNumber(std::string_view* text, int64_t* number) {
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), *number);
  if (error != std::errc() || *number < 0 || *number > kLinesMax) return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

/// "12,3" or "12".
bool TakeRange(std::string_view* text, int64_t* begin, int64_t* count) {
  *count = 1;
  if (!TakeNumber(text, begin)) return false;
  if (TakePrefix(",", text) && !TakeNumber(text, count)) return false;
  // Of no lines the one before is named, else the first.
  if (*count > 0 && --*begin < 0) return false;
  return true;
}

/// The name at the start of `text`, which is quoted or ends at a tab or with the text.
std::optional<std::string> NameIn(std::string_view text) {
  if (!TakePrefix("\"", &text)) {
    return std::string(text.substr(0, text.find('\t')));
  }
  std::string name;
  while (!text.empty() && text.front() != '"') {
    char byte = text.front();
    text.remove_prefix(1);
    if (byte == '\\') {
      constexpr std::string_view kLetters = "abtnvfr\"\\";
      constexpr std::string_view kMeant = "\a\b\t\n\v\f\r\"\\";
      if (text.empty()) return std::nullopt;
      const size_t letter = kLetters.find(text.front());
      if (letter != std::string_view::npos) {
        byte = kMeant[letter];
        text.remove_prefix(1);
      } else {
        int value = 0;
        if (text.size() < 3) return std::nullopt;
        for (int i = 0; i < 3; ++i) {
          const char digit = text[static_cast<size_t>(i)];
          if (digit < '0' || digit > '7') return std::nullopt;
          value = value * 8 + (digit - '0');
        }
        if (value > 255) return std::nullopt;
        byte = static_cast<char>(value);
        text.remove_prefix(3);
      }
    }
    name += byte;
  }
  if (text.empty()) return std::nullopt;
  return name;
}

/// Names between single slashes, none of them "." or "..": rules compare paths as they are written.
bool IsPlain(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return false;
  while (true) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool IsDigest(std::string_view text) {
  return text.size() == kNoContent.size() &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Reads line by line.
class PatchReader {
 public:
  explicit PatchReader(std::string_view diff) : lines_(SplitLines(diff)) {}

  Result<std::vector<FilePatch>> Read() {
    std::vector<FilePatch> files;
    std::set<std::string> paths;
    while (at_ < lines_.size()) {
      if (Line().empty()) {
        ++at_;
        continue;
      }
      ASSIGN_OR_RETURN(FilePatch file, ReadFile());
      if (!paths.insert(file.path).second) {
        return Wrong(at_, Shown(file.path) + " comes a second time; a file has one part");
      }
      files.push_back(std::move(file));
    }
    if (files.empty()) return InvalidArgumentError("the diff says nothing: expected files");
    return files;
  }

 private:
  std::string_view Line() const {
    std::string_view line = at_ < lines_.size() ? lines_[at_] : std::string_view();
    if (line.ends_with('\n')) line.remove_suffix(1);
    return line;
  }
  static Status Wrong(size_t line, const std::string& what) {
    return InvalidArgumentError("the diff's line " + std::to_string(line + 1) + ": " + what);
  }

  Result<FilePatch> ReadFile() {
    FilePatch file;
    const size_t begin = at_;
    const bool git = Line().starts_with("diff --git ");
    std::string_view names = Line();
    if (git) {
      names.remove_prefix(sizeof("diff --git ") - 1);
      ++at_;
      RETURN_IF_ERROR(ReadGitLines(&file));
    }
    if (Line().starts_with("--- ")) {
      RETURN_IF_ERROR(ReadNames(git, &file));
      RETURN_IF_ERROR(ReadHunks(&file));
    } else if (!git) {
      return Wrong(at_, "expected 'diff --git' or '---', got " + Shown(Line()));
    } else if (!ReadSameName(names, &file.path)) {
      return Wrong(begin, "expected one name twice, as a/NAME b/NAME, got " + Shown(names));
    }
    if (!IsPlain(file.path)) {
      return Wrong(begin, Shown(file.path) + " is no plain path of a file below the workspace");
    }
    const bool changes =
        !file.hunks.empty() || file.executable.has_value() || file.kind != FilePatch::Kind::kChange;
    if (!changes) return Wrong(begin, Shown(file.path) + " has no hunk");
    return file;
  }

  Status ReadGitLines(FilePatch* file) {
    std::optional<bool> old_executable;
    for (; at_ < lines_.size(); ++at_) {
      std::string_view line = Line();
      if (line.starts_with("--- ") || line.starts_with("diff --git ")) break;
      if (line.starts_with("Binary files ") || line.starts_with("GIT binary patch")) {
        return Wrong(at_, "binary content isn't applied: take that file out, or write it yourself");
      }
      if (TakePrefix("new file mode ", &line)) {
        file->kind = FilePatch::Kind::kCreate;
        ASSIGN_OR_RETURN(file->executable, ReadMode(line));
      } else if (TakePrefix("deleted file mode ", &line)) {
        file->kind = FilePatch::Kind::kDelete;
        RETURN_IF_ERROR(ReadMode(line).status());
      } else if (TakePrefix("old mode ", &line)) {
        ASSIGN_OR_RETURN(old_executable, ReadMode(line));
      } else if (TakePrefix("new mode ", &line)) {
        ASSIGN_OR_RETURN(file->executable, ReadMode(line));
        if (!old_executable.has_value()) return Wrong(at_, "expected 'old mode' before it");
      } else if (TakePrefix("index ", &line)) {
        const size_t dots = line.find("..");
        if (dots == std::string_view::npos) return Wrong(at_, "expected DIGEST..DIGEST");
        const std::string_view before = line.substr(0, dots);
        const std::string_view after = line.substr(dots + 2, line.find(' ', dots) - dots - 2);
        if (!IsDigest(before) || !IsDigest(after)) continue;  // git's own say nothing here
        file->before_digest = before;
        file->after_digest = after;
      } else {
        return Wrong(at_, "renames, copies and the like aren't applied: got " + Shown(line) +
                              "; make the diff with deleted and new files");
      }
    }
    const bool stays = file->kind == FilePatch::Kind::kChange;
    if (old_executable.has_value() && (!stays || !file->executable.has_value())) {
      return Wrong(at_, "expected 'old mode' and 'new mode' of a file that stays");
    }
    return OkStatus();
  }

  /// Whether files of that mode can be executed.
  Result<bool> ReadMode(std::string_view mode) const {
    if (mode == "100755") return true;
    if (mode == "100644") return false;
    return Wrong(at_, mode == "120000"
                          ? "a symbolic link: links aren't applied, make it yourself"
                          : "expected a file's mode, 100644 or 100755, got " + Shown(mode));
  }

  /// "a/NAME b/NAME" without what would say it again.
  static bool ReadSameName(std::string_view names, std::string* path) {
    if (names.starts_with('"')) {
      const auto name = NameIn(names);
      if (!name.has_value() || !name->starts_with("a/")) return false;
      *path = name->substr(2);
      return names == QuotedName(*name) + " " + QuotedName("b/" + *path);
    }
    const size_t half = names.size() / 2;
    if (names.size() % 2 == 0 || half < 3 || names[half] != ' ') return false;
    const std::string_view one = names.substr(0, half), other = names.substr(half + 1);
    if (!one.starts_with("a/") || !other.starts_with("b/")) return false;
    *path = one.substr(2);
    return one.substr(2) == other.substr(2);
  }

  Result<std::string> ReadName(std::string_view mark, std::string_view prefix) {
    std::string_view line = Line();
    if (!TakePrefix(mark, &line)) {
      return Wrong(at_, "expected '" + std::string(mark) + "NAME', got " + Shown(line));
    }
    auto name = NameIn(line);
    if (!name.has_value()) return Wrong(at_, "a name in quotes that can't be read");
    ++at_;
    if (*name == kNowhere) return std::string(kNowhere);
    return name->starts_with(prefix) ? name->substr(prefix.size()) : *name;
  }

  Status ReadNames(bool git, FilePatch* file) {
    const size_t begin = at_;
    ASSIGN_OR_RETURN(const std::string from, ReadName("--- ", "a/"));
    ASSIGN_OR_RETURN(const std::string to, ReadName("+++ ", "b/"));
    const auto kind = from == kNowhere ? FilePatch::Kind::kCreate
                      : to == kNowhere ? FilePatch::Kind::kDelete
                                       : FilePatch::Kind::kChange;
    if (git && kind != file->kind) return Wrong(begin, "it contradicts what is said above it");
    file->kind = kind;
    file->path = kind == FilePatch::Kind::kDelete ? from : to;
    if (kind == FilePatch::Kind::kChange && from != to) {
      return Wrong(begin, "renames aren't applied: " + Shown(from) + " and " + Shown(to));
    }
    return OkStatus();
  }

  Status ReadHunks(FilePatch* file) {
    int64_t old_end = 0, new_end = 0;
    while (Line().starts_with("@@ ")) {
      ASSIGN_OR_RETURN(PatchHunk hunk, ReadHunk());
      const int64_t line = hunk.line - 1;
      if (hunk.old_begin < old_end || hunk.new_begin < new_end ||
          hunk.old_begin - old_end != hunk.new_begin - new_end) {
        return Wrong(static_cast<size_t>(line),
                     "the hunk's lines don't follow from those of the hunks before it");
      }
      old_end = hunk.old_begin + hunk.old_count;
      new_end = hunk.new_begin + hunk.new_count;
      file->hunks.push_back(std::move(hunk));
    }
    if (file->hunks.empty()) return Wrong(at_, "expected a hunk, @@ -N,N +N,N @@");
    return OkStatus();
  }

  Result<PatchHunk> ReadHunk() {
    PatchHunk hunk;
    const size_t begin = at_;
    hunk.line = static_cast<int64_t>(at_) + 1;
    std::string_view line = Line();
    const bool read =
        TakePrefix("@@ -", &line) && TakeRange(&line, &hunk.old_begin, &hunk.old_count) &&
        TakePrefix(" +", &line) && TakeRange(&line, &hunk.new_begin, &hunk.new_count) &&
        TakePrefix(" @@", &line);
    if (!read) return Wrong(at_, "expected @@ -N,N +N,N @@, got " + Shown(Line()));
    ++at_;
    int64_t olds = 0, news = 0;
    while (olds < hunk.old_count || news < hunk.new_count) {
      std::string_view text = Line();
      const bool blank = text.empty() && at_ < lines_.size();  // mailers cut the blank off
      const char mark = blank ? ' ' : text.empty() ? '\0' : text.front();
      if (mark != ' ' && mark != '-' && mark != '+') {
        return Wrong(at_, "the hunk of line " + std::to_string(begin + 1) + " promises " +
                              std::to_string(hunk.old_count) + " old and " +
                              std::to_string(hunk.new_count) + " new lines, and has " +
                              std::to_string(olds) + " and " + std::to_string(news));
      }
      if (!blank) text.remove_prefix(1);
      olds += mark == '+' ? 0 : 1;
      news += mark == '-' ? 0 : 1;
      hunk.lines.push_back({mark, text, true});
      ++at_;
      if (at_ < lines_.size() && Line().starts_with("\\ ")) {
        hunk.lines.back().ends = false;
        ++at_;
      }
    }
    if (olds != hunk.old_count || news != hunk.new_count) {
      return Wrong(begin, "the hunk has more lines than it promises");
    }
    return hunk;
  }

  const std::vector<std::string_view> lines_;
  size_t at_ = 0;
};

std::string WithEnd(const PatchLine& line) {
  std::string text(line.text);
  if (line.ends) text += '\n';
  return text;
}

}  // namespace

Result<std::vector<FilePatch>> ParsePatch(std::string_view diff) {
  if (std::ssize(diff) > kDiffBytesMax) {
    return ResourceExhaustedError("the diff has " + std::to_string(diff.size()) +
                                  " bytes: expected at most " + std::to_string(kDiffBytesMax));
  }
  return PatchReader(diff).Read();
}

Result<std::string> Patched(std::string_view content, const FilePatch& patch,
                            PatchDirection direction) {
  const std::vector<std::string_view> lines = SplitLines(content);
  const bool forward = direction == PatchDirection::kForward;
  const char gone = forward ? '-' : '+';
  std::string out;
  bool torn = false;
  const auto add = [&](std::string_view line) {
    torn = torn || (!out.empty() && out.back() != '\n');
    out += line;
  };
  size_t at = 0;
  for (const PatchHunk& hunk : patch.hunks) {
    const auto begin = static_cast<size_t>(forward ? hunk.old_begin : hunk.new_begin);
    for (; at < begin && at < lines.size(); ++at) add(lines[at]);
    if (at < begin) {
      return AbortedError(patch.path + ":" + std::to_string(at + 1) + ": the diff (its line " +
                          std::to_string(hunk.line) + ") expects line " +
                          std::to_string(begin + 1) + ", and the file ends before it");
    }
    for (const PatchLine& line : hunk.lines) {
      const std::string text = WithEnd(line);
      if (line.mark == ' ' || line.mark == gone) {
        if (at >= lines.size() || lines[at] != text) {
          return AbortedError(
              patch.path + ":" + std::to_string(at + 1) + ": the diff (its line " +
              std::to_string(hunk.line) + ") expects " + Shown(text) + " there, and " +
              (at < lines.size() ? "it is " + Shown(lines[at]) : "the file ends before it"));
        }
        ++at;
      }
      if (line.mark != gone) add(text);
    }
  }
  for (; at < lines.size(); ++at) add(lines[at]);
  if (!torn) return out;
  return AbortedError(patch.path + ": by the diff a line without an end stands before others");
}

}  // namespace baleen
