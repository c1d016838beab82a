#include "tools_sdk/builtin/glob_pattern.h"

#include <re2/re2.h>

#include <utility>

namespace baleen {
namespace {

constexpr size_t kGlobBytesMax = 1000;
constexpr int64_t kProgramBytesMax = 1 << 20;

/// One glob on its way to an expression.
class Translation {
 public:
  Translation(std::string_view glob, GlobBraces braces) : glob_(glob), braces_(braces) {}

  Result<std::string> Run() {
    while (at_ < glob_.size()) RETURN_IF_ERROR(Step());
    if (in_braces_) return Bad("'{' isn't closed");
    return out_;
  }

 private:
  Status Bad(std::string_view what) const {
    return InvalidArgumentError("pattern '" + std::string(glob_.substr(0, 200)) +
                                "': " + std::string(what));
  }
  void Literal(char c) { out_ += RE2::QuoteMeta(std::string_view(&c, 1)); }

  Status Step() {
    const char c = glob_[at_++];
    switch (c) {
      case '*': return Star();
      case '?': out_ += "[^/]"; return OkStatus();
      case '[': return Class();
      case '\\':
        if (at_ == glob_.size()) return Bad("'\\' stands at its end");
        Literal(glob_[at_++]);
        return OkStatus();
      case '{':
      case '}':
      case ',': return Brace(c);
      default: Literal(c); return OkStatus();
    }
  }

  Status Brace(char c) {
    if (braces_ == GlobBraces::kLiteral || (c == ',' && !in_braces_)) {
      Literal(c);
    } else if (c == '{') {
      if (in_braces_) return Bad("'{' inside of '{'");
      in_braces_ = true;
      out_ += "(?:";
    } else if (c == ',') {
      out_ += '|';
    } else if (in_braces_) {
      in_braces_ = false;
      out_ += ')';
    } else {
      return Bad("'}' without '{'");
    }
    return OkStatus();
  }

  Status Star() {
    const size_t begin = at_ - 1;
    if (at_ == glob_.size() || glob_[at_] != '*') {
      out_ += "[^/]*";
      return OkStatus();
    }
    ++at_;
    const bool at_end = at_ == glob_.size();
    const bool before = begin == 0 || glob_[begin - 1] == '/';
    const bool after = at_end || glob_[at_] == '/';
    if (!before || !after || in_braces_) {
      out_ += "[^/]*";
    } else if (begin == 0) {
      out_ += at_end ? ".*" : "(?:.*/)?";
      if (!at_end) ++at_;
    } else if (at_end) {
      out_ += ".*";  // behind the '/'
    } else {
      out_ += "(?:.*/)?";  // behind the '/'
      ++at_;
    }
    return OkStatus();
  }

  Status Class() {
    std::string set = "[";
    if (at_ < glob_.size() && (glob_[at_] == '!' || glob_[at_] == '^')) {
      ++at_;
      set += "^/";
    }
    bool first = true;
    for (;; first = false) {
      if (at_ >= glob_.size()) return Bad("'[' isn't closed");
      char c = glob_[at_++];
      if (c == ']' && !first) break;
      set += Byte(c);
      if (at_ + 1 < glob_.size() && glob_[at_] == '-' && glob_[at_ + 1] != ']') {
        const char last = glob_[at_ + 1];
        if (static_cast<unsigned char>(last) < static_cast<unsigned char>(c)) {
          return Bad("a range in '[...]' runs backwards");
        }
        set += '-' + Byte(last);
        at_ += 2;
      }
    }
    out_ += set + "]";
    return OkStatus();
  }
  static std::string Byte(char c) {
    static constexpr char kHex[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    return std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
  }

  std::string_view glob_;
  GlobBraces braces_;
  size_t at_ = 0;
  std::string out_;
  bool in_braces_ = false;
};

}  // namespace

struct GlobPattern::Compiled {
  explicit Compiled(const std::string& expression, const RE2::Options& options)
      : re2(expression, options) {}
  RE2 re2;
};

GlobPattern::GlobPattern(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
GlobPattern::GlobPattern(GlobPattern&&) noexcept = default;
GlobPattern& GlobPattern::operator=(GlobPattern&&) noexcept = default;
GlobPattern::~GlobPattern() = default;

Result<GlobPattern> GlobPattern::Parse(std::string_view glob, GlobBraces braces) {
  if (glob.size() > kGlobBytesMax) {
    return InvalidArgumentError("a pattern of " + std::to_string(glob.size()) +
                                " bytes: expected at most " + std::to_string(kGlobBytesMax));
  }
  ASSIGN_OR_RETURN(const std::string expression, Translation(glob, braces).Run());
  RE2::Options options;
  options.set_encoding(RE2::Options::EncodingLatin1);
  options.set_dot_nl(true);
  options.set_log_errors(false);
  options.set_max_mem(kProgramBytesMax);
  auto compiled = std::make_unique<Compiled>(expression, options);
  if (!compiled->re2.ok()) {
    return InvalidArgumentError("pattern '" + std::string(glob.substr(0, 200)) +
                                "' is too complex");
  }
  return GlobPattern(std::move(compiled));
}

Result<GlobPattern> GlobPattern::ParseForNames(std::string_view glob) {
  std::string anchored(glob.starts_with('/') ? glob.substr(1) : glob);
  if (glob.find('/') == std::string_view::npos) anchored = "**/" + anchored;
  return Parse(anchored, GlobBraces::kAlternatives);
}

bool GlobPattern::Matches(std::string_view path) const {
  return RE2::FullMatch(path, compiled_->re2);
}

}  // namespace baleen
