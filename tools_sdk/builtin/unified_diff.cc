#include "tools_sdk/builtin/unified_diff.h"

#include <xxhash.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr int64_t kContext = 3;

/// Which lines of two texts are not in the other.
struct LineEdits {
  std::vector<bool> removed, added;
};

/// Lines as numbers: equal lines, equal numbers.
class LineNumbers {
 public:
  std::vector<int64_t> Of(const std::vector<std::string_view>& lines) {
    std::vector<int64_t> out;
    out.reserve(lines.size());
    for (const std::string_view line : lines) {
      out.push_back(numbers_.try_emplace(line, std::ssize(numbers_)).first->second);
    }
    return out;
  }

 private:
  std::unordered_map<std::string_view, int64_t> numbers_;
};

/// Myers' search over diagonals k = x - y; `furthest[d]` keeps what step d began with, for the way
/// back.
class EditSearch {
 public:
  EditSearch(const std::vector<int64_t>& a, const std::vector<int64_t>& b, int64_t begin,
             int64_t a_end, int64_t b_end)
      : a_(a), b_(b), begin_(begin), n_(a_end - begin), m_(b_end - begin) {}

  /// False: it takes more than kEditsMax edits.
  bool Run(LineEdits* edits) {
    std::vector<int32_t> reach(static_cast<size_t>(2 * kEditsMax + 3), 0);
    for (int64_t d = 0; d <= std::min(n_ + m_, kEditsMax); ++d) {
      furthest_.emplace_back(reach.begin() + Slot(-d) - 1, reach.begin() + Slot(d) + 2);
      for (int64_t k = -d; k <= d; k += 2) {
        const bool down = Down(d, k, reach[Index(k - 1)], reach[Index(k + 1)]);
        int64_t x = down ? reach[Index(k + 1)] : reach[Index(k - 1)] + 1;
        while (x < n_ && x - k < m_ && Same(x, x - k)) ++x;
        reach[Index(k)] = static_cast<int32_t>(x);
        if (x < n_ || x - k < m_) continue;
        WalkBack(d, edits);
        return true;
      }
    }
    return false;
  }

 private:
  static int64_t Slot(int64_t k) { return k + kEditsMax + 1; }
  static size_t Index(int64_t k) { return static_cast<size_t>(Slot(k)); }
  bool Same(int64_t x, int64_t y) const {
    return a_[static_cast<size_t>(begin_ + x)] == b_[static_cast<size_t>(begin_ + y)];
  }
  static bool Down(int64_t d, int64_t k, int64_t left, int64_t right) {
    return k == -d || (k != d && left < right);
  }

  void WalkBack(int64_t d, LineEdits* edits) const {
    int64_t x = n_;
    int64_t y = m_;
    for (; d > 0; --d) {
      const std::vector<int32_t>& reach = furthest_[static_cast<size_t>(d)];
      const auto at = [&](int64_t k) -> int64_t { return reach[static_cast<size_t>(k + d + 1)]; };
      const int64_t k = x - y;
      const bool down = Down(d, k, at(k - 1), at(k + 1));
      const int64_t before_k = down ? k + 1 : k - 1;
      x = at(before_k);
      y = x - before_k;
      if (down) {
        edits->added[static_cast<size_t>(begin_ + y)] = true;
      } else {
        edits->removed[static_cast<size_t>(begin_ + x)] = true;
      }
    }
  }

  const std::vector<int64_t>& a_;
  const std::vector<int64_t>& b_;
  const int64_t begin_, n_, m_;
  std::vector<std::vector<int32_t>> furthest_;
};

LineEdits EditsOf(const std::vector<std::string_view>& before,
                  const std::vector<std::string_view>& after) {
  LineEdits edits = {std::vector<bool>(before.size()), std::vector<bool>(after.size())};
  LineNumbers numbers;
  const std::vector<int64_t> a = numbers.Of(before);
  const std::vector<int64_t> b = numbers.Of(after);
  int64_t begin = 0;
  int64_t a_end = std::ssize(a);
  int64_t b_end = std::ssize(b);
  while (begin < a_end && begin < b_end &&
         a[static_cast<size_t>(begin)] == b[static_cast<size_t>(begin)]) {
    ++begin;
  }
  while (a_end > begin && b_end > begin &&
         a[static_cast<size_t>(a_end - 1)] == b[static_cast<size_t>(b_end - 1)]) {
    --a_end;
    --b_end;
  }
  if (!EditSearch(a, b, begin, a_end, b_end).Run(&edits)) {
    std::fill(edits.removed.begin() + begin, edits.removed.begin() + a_end, true);
    std::fill(edits.added.begin() + begin, edits.added.begin() + b_end, true);
  }
  return edits;
}

/// A run of lines that differ: [old_begin, old_end) becomes [new_begin, new_end).
struct Change {
  int64_t old_begin, old_end, new_begin, new_end;
};

std::vector<Change> ChangesOf(const LineEdits& edits) {
  std::vector<Change> changes;
  size_t x = 0;
  size_t y = 0;
  while (x < edits.removed.size() || y < edits.added.size()) {
    const Change begin = {static_cast<int64_t>(x), 0, static_cast<int64_t>(y), 0};
    while (x < edits.removed.size() && edits.removed[x]) ++x;
    while (y < edits.added.size() && edits.added[y]) ++y;
    const Change change = {begin.old_begin, static_cast<int64_t>(x), begin.new_begin,
                           static_cast<int64_t>(y)};
    if (change.old_begin != change.old_end || change.new_begin != change.new_end) {
      changes.push_back(change);
    } else {
      ++x;
      ++y;
    }
  }
  return changes;
}

void AddLine(char mark, std::string_view line, std::string* out) {
  *out += mark;
  *out += line;
  if (!line.ends_with('\n')) *out += "\n\\ No newline at end of file\n";
}

std::string Range(int64_t begin, int64_t count) {
  // Of none, the line before is named.
  return std::to_string(count == 0 ? begin : begin + 1) +
         (count == 1 ? "" : "," + std::to_string(count));
}

const char* ModeOf(const DiffSide& side) {
  return side.is_link ? "120000" : side.executable ? "100755" : "100644";
}

std::string SideDigest(const std::optional<DiffSide>& side) {
  if (!side.has_value()) return std::string(kNoContent);
  return side->too_large ? side->content : ContentDigest(side->content);
}

}  // namespace

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return lines;
}

bool IsDiffText(std::string_view content) {
  return content.find('\0') == std::string_view::npos && Utf8ValidPrefix(content) == content.size();
}

std::string UnifiedHunks(std::string_view before, std::string_view after) {
  const std::vector<std::string_view> a = SplitLines(before);
  const std::vector<std::string_view> b = SplitLines(after);
  const std::vector<Change> changes = ChangesOf(EditsOf(a, b));
  std::string out;
  for (size_t first = 0; first < changes.size();) {
    size_t last = first;
    while (last + 1 < changes.size() &&
           changes[last + 1].old_begin - changes[last].old_end <= 2 * kContext) {
      ++last;
    }
    const int64_t lead = std::min(kContext, changes[first].old_begin);
    const int64_t tail = std::min(kContext, std::ssize(a) - changes[last].old_end);
    const int64_t old_begin = changes[first].old_begin - lead;
    const int64_t new_begin = changes[first].new_begin - lead;
    out += "@@ -" + Range(old_begin, changes[last].old_end + tail - old_begin) + " +" +
           Range(new_begin, changes[last].new_end + tail - new_begin) + " @@\n";
    int64_t at = old_begin;
    const auto keep = [&](int64_t end) {
      for (; at < end; ++at) AddLine(' ', a[static_cast<size_t>(at)], &out);
    };
    for (; first <= last; ++first) {
      const Change& change = changes[first];
      keep(change.old_begin);
      for (; at < change.old_end; ++at) AddLine('-', a[static_cast<size_t>(at)], &out);
      for (int64_t i = change.new_begin; i < change.new_end; ++i) {
        AddLine('+', b[static_cast<size_t>(i)], &out);
      }
    }
    keep(at + tail);
  }
  return out;
}

std::string ContentDigest(std::string_view content) {
  const XXH128_hash_t hash = XXH3_128bits(content.data(), content.size());
  return DigestText(hash.high64, hash.low64);
}

std::string DigestText(uint64_t high, uint64_t low) {
  std::string out;
  for (const uint64_t half : {high, low}) {
    for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[half >> shift & 15];
  }
  return out;
}

std::string QuotedName(std::string_view name) {
  std::string out;
  bool quoted = false;
  for (const char byte : name) {
    const auto value = static_cast<unsigned char>(byte);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += byte;
    } else if (value < 0x20 || value >= 0x7f) {
      out += '\\';
      for (int shift = 6; shift >= 0; shift -= 3)
        out += static_cast<char>('0' + (value >> shift & 7));
    } else {
      out += byte;
      continue;
    }
    quoted = true;
  }
  return quoted ? "\"" + out + "\"" : out;
}

std::string FileDiff(const std::string& path, const std::optional<DiffSide>& before,
                     const std::optional<DiffSide>& after) {
  if (before == after) return "";
  if (before.has_value() && after.has_value() && before->is_link != after->is_link) {
    return FileDiff(path, before, std::nullopt) + FileDiff(path, std::nullopt, after);
  }
  const std::string old_name = QuotedName("a/" + path);
  const std::string new_name = QuotedName("b/" + path);
  std::string out = "diff --git " + old_name + " " + new_name + "\n";
  const std::string before_digest = SideDigest(before);
  const std::string after_digest = SideDigest(after);
  std::string index_mode;
  if (!before.has_value()) {
    out += std::string("new file mode ") + ModeOf(*after) + "\n";
  } else if (!after.has_value()) {
    out += std::string("deleted file mode ") + ModeOf(*before) + "\n";
  } else if (before->executable != after->executable) {
    out += std::string("old mode ") + ModeOf(*before) + "\nnew mode " + ModeOf(*after) + "\n";
    if (before_digest == after_digest) return out;
  } else {
    index_mode = std::string(" ") + ModeOf(*after);
  }
  out += "index " + before_digest + ".." + after_digest + index_mode + "\n";
  const std::string old_text = before.has_value() ? before->content : "";
  const std::string new_text = after.has_value() ? after->content : "";
  const std::string from = before.has_value() ? old_name : "/dev/null";
  const std::string to = after.has_value() ? new_name : "/dev/null";
  const bool too_large =
      (before.has_value() && before->too_large) || (after.has_value() && after->too_large);
  if (too_large || !IsDiffText(old_text) || !IsDiffText(new_text)) {
    return out + "Binary files " + from + " and " + to + " differ\n";
  }
  const std::string hunks = UnifiedHunks(old_text, new_text);
  if (hunks.empty()) return out;
  // A name with a blank ends at a tab, or `patch` would end it at the blank.
  const auto ended = [](const std::string& name) {
    return name.find(' ') == std::string::npos ? name : name + "\t";
  };
  return out + "--- " + ended(from) + "\n+++ " + ended(to) + "\n" + hunks;
}

}  // namespace baleen
