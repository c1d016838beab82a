#include "runtime/http/redactor.h"

#include <sys/stat.h>

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace baleen {
namespace {

/// Parts of values are recognised by so many of their bytes.
constexpr size_t kAnchorBytes = kSecretBytesMin;
/// A file's earlier values, so that a file that changes for ever takes no memory for ever.
constexpr size_t kValuesPerFileMax = 16;

constexpr char kStandard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kUrlSafe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The characters of base64 that depend on `value` alone when `before` bytes stand before it.
std::string Base64Core(const std::string& value, size_t before, const char* alphabet) {
  const std::string bytes = std::string(before, '\0') + value;
  std::string text;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) text += alphabet[(bits >> (count - 6)) & 63];
  }
  return text.substr((8 * before + 5) / 6);
}

std::string PercentEncoded(const std::string& value, const char* digits) {
  std::string text;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= 'a' && byte <= 'z') || std::strchr("-._~", c) != nullptr;
    if (plain) {
      text += c;
    } else {
      text += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return text;
}

std::string JsonEscaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

/// As a text may show it, without repeats.
std::vector<std::string> FormsOf(const std::string& value) {
  std::vector<std::string> forms = {value, JsonEscaped(value),
                                    PercentEncoded(value, "0123456789ABCDEF"),
                                    PercentEncoded(value, "0123456789abcdef")};
  for (const char* alphabet : {kStandard, kUrlSafe}) {
    for (const size_t before : {0, 1, 2}) forms.push_back(Base64Core(value, before, alphabet));
  }
  std::vector<std::string> distinct;
  for (std::string& form : forms) {
    if (std::find(distinct.begin(), distinct.end(), form) == distinct.end()) {
      distinct.push_back(std::move(form));
    }
  }
  return distinct;
}

uint64_t AnchorAt(std::string_view text, size_t at) {
  uint64_t anchor = 0;
  std::memcpy(&anchor, text.data() + at, kAnchorBytes);
  return anchor;
}

size_t SlotOf(uint64_t anchor) {
  return static_cast<size_t>((anchor * 0x9E3779B97F4A7C15ULL) >> 48);
}

}  // namespace

/// What is looked for. Immutable once built.
class Redactor::Patterns {
 public:
  void Add(const std::string& name, const std::string& value) {
    if (value.size() < kSecretBytesMin) return;
    for (const std::string& form : FormsOf(value)) {
      const size_t half = (form.size() + 1) / 2;
      const bool parts = half >= kAnchorBytes;
      patterns_.push_back({form, name, parts ? half : form.size()});
      longest_ = std::max(longest_, form.size());
      AddAnchor(patterns_.size() - 1, 0);
      if (parts) AddAnchor(patterns_.size() - 1, form.size() - half);
    }
  }

  std::string Redact(std::string_view text) const { return Redact(text, nullptr); }

  /// `taken` not null: as RedactBegun.
  std::string Redact(std::string_view text, size_t* taken) const {
    std::string redacted;
    size_t kept = 0;
    const size_t begun = text.size() - (taken == nullptr ? 0 : BegunAtEnd(text));
    for (size_t at = 0; at + kAnchorBytes <= text.size();) {
      const Found found = FindAt(text, kept, at);
      if (found.end == 0) {
        ++at;
        continue;
      }
      // A part of a value may hold the beginning of a whole one: it waits with that.
      if (taken != nullptr && (found.open || found.end > begun)) {
        *taken = std::min(found.begin, begun);
        return redacted.append(text.substr(kept, *taken - kept));
      }
      redacted.append(text.substr(kept, found.begin - kept));
      redacted += "[secret " + *found.name + "]";
      kept = at = found.end;
    }
    if (taken != nullptr) *taken = begun;
    return redacted.append(text.substr(kept, begun - kept));
  }

  size_t longest() const { return longest_; }

 private:
  struct Pattern {
    std::string bytes;
    std::string name;
    size_t bytes_min = 0;  ///< Of it that must be there.
  };
  struct Anchor {
    size_t pattern = 0;
    size_t offset = 0;
  };
  struct Found {
    size_t begin = 0;
    size_t end = 0;  ///< 0: nothing was.
    const std::string* name = nullptr;
    bool open = false;  ///< The text ends before the pattern does.
  };

  void AddAnchor(size_t pattern, size_t offset) {
    const uint64_t anchor = AnchorAt(patterns_[pattern].bytes, offset);
    slots_.set(SlotOf(anchor));
    anchors_[anchor].push_back({pattern, offset});
  }

  /// The longest part of a pattern with one of its anchors at `at`, from `from` on.
  Found FindAt(std::string_view text, size_t from, size_t at) const {
    Found longest;
    const uint64_t anchor = AnchorAt(text, at);
    if (!slots_.test(SlotOf(anchor))) return longest;
    const auto known = anchors_.find(anchor);
    if (known == anchors_.end()) return longest;
    for (const Anchor& one : known->second) {
      const Pattern& pattern = patterns_[one.pattern];
      size_t before = 0;
      while (before < one.offset && at - before > from &&
             text[at - before - 1] == pattern.bytes[one.offset - before - 1]) {
        ++before;
      }
      size_t behind = kAnchorBytes;
      while (one.offset + behind < pattern.bytes.size() && at + behind < text.size() &&
             text[at + behind] == pattern.bytes[one.offset + behind]) {
        ++behind;
      }
      const size_t size = before + behind;
      if (size < pattern.bytes_min || size <= longest.end - longest.begin) continue;
      const bool open = at + behind == text.size() && one.offset + behind < pattern.bytes.size();
      longest = {at - before, at + behind, &pattern.name, open};
    }
    return longest;
  }

  /// How many of the text's last bytes may be the beginning of a pattern that goes on behind it.
  size_t BegunAtEnd(std::string_view text) const {
    size_t begun = 0;
    for (const Pattern& pattern : patterns_) {
      size_t at = text.size() - std::min(text.size(), pattern.bytes.size() - 1);
      while ((at = text.find(pattern.bytes[0], at)) != text.npos && text.size() - at > begun) {
        if (pattern.bytes.starts_with(text.substr(at))) begun = text.size() - at;
        ++at;
      }
    }
    return begun;
  }

  std::vector<Pattern> patterns_;
  size_t longest_ = 0;  ///< Of patterns_.
  std::unordered_map<uint64_t, std::vector<Anchor>> anchors_;
  std::bitset<65536> slots_;  ///< Of anchors_: most bytes of a text are passed over by it.
};

struct Redactor::File {
  Source source;
  std::vector<std::string> values;  ///< The newest last.
  struct stat seen = {};

  /// Whether there is a new value.
  bool Read() {
    struct stat now = {};
    if (!source.place.file.empty()) {
      if (stat(source.place.file.c_str(), &now) != 0) return false;
      const bool same = now.st_ino == seen.st_ino && now.st_dev == seen.st_dev &&
                        now.st_size == seen.st_size && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
                        now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec;
      if (same) return false;
    }
    const auto value = ReadKey(source.place);
    seen = now;
    if (!value.ok() || std::find(values.begin(), values.end(), *value) != values.end()) {
      return false;
    }
    if (values.size() == kValuesPerFileMax) values.erase(values.begin());
    values.push_back(*value);
    return true;
  }
};

Redactor::Redactor(std::vector<Source> sources) {
  auto patterns = std::make_shared<Patterns>();
  for (Source& source : sources) {
    File file;
    file.source = std::move(source);
    file.Read();
    for (const std::string& value : file.values) patterns->Add(file.source.name, value);
    files_.push_back(std::move(file));
  }
  patterns_ = std::move(patterns);
}

Redactor::~Redactor() = default;

void Redactor::Refresh() {
  const std::lock_guard<std::mutex> refreshing(refreshing_);
  bool changed = false;
  for (File& file : files_) {
    if (!file.source.place.file.empty() && file.Read()) changed = true;
  }
  if (!changed) return;
  auto patterns = std::make_shared<Patterns>();
  for (const File& file : files_) {
    for (const std::string& value : file.values) patterns->Add(file.source.name, value);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  patterns_ = std::move(patterns);
}

std::shared_ptr<const Redactor::Patterns> Redactor::Known() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return patterns_;
}

std::string Redactor::Redact(std::string_view text) const { return Known()->Redact(text); }

std::string Redactor::RedactBegun(std::string_view text, size_t* taken) const {
  return Known()->Redact(text, taken);
}

size_t Redactor::LongestBytes() const { return Known()->longest(); }

}  // namespace baleen
