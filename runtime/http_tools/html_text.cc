#include "runtime/http_tools/html_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kLinkBytesMax = 512;
constexpr size_t kEntityBytesMax = 10;

struct Entity {
  std::string_view name;
  std::string_view text;
};

/// Those that pages use in prose; any other stays as it is written.
constexpr Entity kEntities[] = {
    {"amp", "&"},         {"lt", "<"},          {"gt", ">"},          {"quot", "\""},
    {"apos", "'"},        {"nbsp", " "},        {"copy", "\u00a9"},   {"reg", "\u00ae"},
    {"trade", "\u2122"},  {"hellip", "\u2026"}, {"mdash", "\u2014"},  {"ndash", "\u2013"},
    {"lsquo", "\u2018"},  {"rsquo", "\u2019"},  {"ldquo", "\u201c"},  {"rdquo", "\u201d"},
    {"laquo", "\u00ab"},  {"raquo", "\u00bb"},  {"bull", "\u2022"},   {"middot", "\u00b7"},
    {"times", "\u00d7"},  {"deg", "\u00b0"},    {"plusmn", "\u00b1"}, {"para", "\u00b6"},
    {"sect", "\u00a7"},   {"euro", "\u20ac"},   {"pound", "\u00a3"},  {"larr", "\u2190"},
    {"rarr", "\u2192"},   {"auml", "\u00e4"},   {"ouml", "\u00f6"},   {"uuml", "\u00fc"},
    {"Auml", "\u00c4"},   {"Ouml", "\u00d6"},   {"Uuml", "\u00dc"},   {"szlig", "\u00df"},
    {"eacute", "\u00e9"}, {"egrave", "\u00e8"}, {"agrave", "\u00e0"}, {"ccedil", "\u00e7"},
    {"ntilde", "\u00f1"}, {"shy", ""},          {"zwnj", ""},         {"ensp", " "},
    {"emsp", " "},        {"thinsp", " "},
};

/// Their contents are not text of the page.
constexpr std::string_view kUnshown[] = {"script", "style",  "template", "noscript", "svg",
                                         "head",   "iframe", "object",   "textarea", "select"};

/// They begin and end a line.
constexpr std::string_view kBlocks[] = {
    "p",       "div",     "br",      "tr",    "table", "ul",         "ol",     "section",
    "article", "header",  "footer",  "main",  "nav",   "aside",      "form",   "fieldset",
    "dl",      "dt",      "dd",      "hr",    "pre",   "blockquote", "figure", "figcaption",
    "address", "details", "summary", "tbody", "thead", "body",       "html",   "title",
    "li",      "h1",      "h2",      "h3",    "h4",    "h5",         "h6"};

template <size_t N>
bool IsOneOf(std::string_view name, const std::string_view (&names)[N]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool StartsWithIgnoringCase(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() && std::equal(lower.begin(), lower.end(), text.begin(),
                                                   [](char a, char b) { return a == Lower(b); });
}

/// A code point as text; none for what isn't one, or would steer a terminal.
std::string CodePointText(uint32_t code) {
  if (code < ' ' || (code >= 0x7F && code < 0xA0) || code > 0x10FFFF ||
      (code >= 0xD800 && code < 0xE000)) {
    return code == '\n' || code == '\t' || code == '\r' ? " " : "";
  }
  char bytes[4];
  return {bytes, EncodeUtf8(code, bytes)};
}

/// The reference at the head of `text` ('&'), and its bytes; 1 where it is none.
std::pair<std::string, size_t> ReadReference(std::string_view text) {
  const size_t end = std::min(text.substr(0, kEntityBytesMax + 2).find(';'), text.size());
  if (end < text.size() && end > 1) {
    std::string_view name = text.substr(1, end - 1);
    if (name[0] == '#') {
      name.remove_prefix(1);
      const bool hex = !name.empty() && Lower(name[0]) == 'x';
      if (hex) name.remove_prefix(1);
      uint32_t code = 0;
      const auto read =
          std::from_chars(name.data(), name.data() + name.size(), code, hex ? 16 : 10);
      if (!name.empty() && read.ec == std::errc() && read.ptr == name.data() + name.size()) {
        return {CodePointText(code), end + 1};
      }
    }
    for (const Entity& entity : kEntities) {
      if (entity.name == name) return {std::string(entity.text), end + 1};
    }
  }
  return {"&", 1};
}

struct Tag {
  std::string name;  ///< In lower case.
  bool closes = false;
  std::string_view attributes;
};

/// The value of an attribute; empty: it has none. References in it are left.
std::string_view ValueOf(std::string_view attributes, std::string_view wanted) {
  for (size_t at = 0; at < attributes.size();) {
    while (at < attributes.size() && (IsSpace(attributes[at]) || attributes[at] == '/')) ++at;
    const size_t begin = at;
    while (at < attributes.size() && !IsSpace(attributes[at]) && attributes[at] != '=') ++at;
    const std::string_view name = attributes.substr(begin, at - begin);
    while (at < attributes.size() && IsSpace(attributes[at])) ++at;
    std::string_view value;
    if (at < attributes.size() && attributes[at] == '=') {
      ++at;
      while (at < attributes.size() && IsSpace(attributes[at])) ++at;
      const char quote = at < attributes.size() ? attributes[at] : '\0';
      const bool quoted = quote == '"' || quote == '\'';
      const size_t from = quoted ? ++at : at;
      while (at < attributes.size() &&
             (quoted ? attributes[at] != quote : !IsSpace(attributes[at]))) {
        ++at;
      }
      value = attributes.substr(from, at - from);
      if (quoted && at < attributes.size()) ++at;
    }
    if (name.size() == wanted.size() && StartsWithIgnoringCase(name, wanted)) return value;
  }
  return {};
}

class Page {
 public:
  explicit Page(std::string_view html) : html_(html) {}

  std::string Read() {
    while (at_ < html_.size()) {
      const char c = html_[at_];
      if (c == '<' && TakeMarkup()) continue;
      if (c == '&') {
        auto [text, bytes] = ReadReference(html_.substr(at_));
        for (const char one : text) Put(one);
        at_ += bytes;
      } else {
        Put(c);
        ++at_;
      }
    }
    EndLink();
    while (!text_.empty() && IsSpace(text_.back())) text_.pop_back();
    return std::move(text_);
  }

 private:
  /// false: the '<' is a character like others.
  bool TakeMarkup() {
    const std::string_view rest = html_.substr(at_);
    if (rest.starts_with("<!--")) {
      const size_t end = rest.find("-->", 4);
      at_ = end == std::string_view::npos ? html_.size() : at_ + end + 3;
      return true;
    }
    const bool closes = rest.size() > 1 && rest[1] == '/';
    const size_t name = closes ? 2 : 1;
    if (rest.size() <= name) return false;
    if (!IsLetter(rest[name])) {
      if (rest[1] != '!' && rest[1] != '?' && !closes) return false;
      at_ += std::min(rest.find('>'), rest.size() - 1) + 1;
      return true;
    }
    Tag tag;
    tag.closes = closes;
    size_t end = name;
    while (end < rest.size() && !IsSpace(rest[end]) && rest[end] != '>' && rest[end] != '/') {
      tag.name += Lower(rest[end++]);
    }
    const size_t attributes = end;
    char quote = '\0';
    while (end < rest.size() && (quote != '\0' || rest[end] != '>')) {
      if (quote != '\0') {
        if (rest[end] == quote) quote = '\0';
      } else if ((rest[end] == '"' || rest[end] == '\'') && rest[end - 1] == '=') {
        quote = rest[end];
      }
      ++end;
    }
    tag.attributes = rest.substr(attributes, end - attributes);
    at_ += std::min(end + 1, rest.size());
    Take(tag);
    return true;
  }

  void Take(const Tag& tag) {
    if (!tag.closes && IsOneOf(tag.name, kUnshown) && !tag.attributes.ends_with('/')) {
      if (tag.name != "head") return PassOver(tag.name);
      if (!std::exchange(headed_, true)) TakeTitle();  // once: it may look through the whole page
      return;
    }
    if (tag.name == "a") {
      EndLink();
      if (!tag.closes) BeginLink(ValueOf(tag.attributes, "href"));
    } else if (tag.name == "img" && !tag.closes) {
      if (const auto alt = ValueOf(tag.attributes, "alt"); !alt.empty()) {
        Add("[image: " + std::string(Utf8Prefix(alt, kLinkBytesMax)) + "]");
      }
    } else if (tag.name == "td" || tag.name == "th") {
      if (tag.closes) Add(" | ");
    } else if (IsOneOf(tag.name, kBlocks)) {
      const bool heading = tag.name.size() == 2 && tag.name[0] == 'h' && tag.name[1] <= '6';
      if (tag.name == "pre") verbatim_ = !tag.closes;
      Break(heading || tag.name == "p" || tag.name == "pre" ? 2 : 1);
      if (heading && !tag.closes)
        Add(std::string(static_cast<size_t>(tag.name[1] - '0'), '#') + " ");
      if (tag.name == "li" && !tag.closes) Add("- ");
    }
  }

  /// To behind the element's end. Nothing nests: so do browsers read scripts.
  void PassOver(std::string_view name) {
    while (at_ < html_.size()) {
      const size_t end = html_.find("</", at_);
      at_ = end == std::string_view::npos ? html_.size() : end + 2;
      if (!StartsWithIgnoringCase(html_.substr(at_), name)) continue;
      at_ = std::min(html_.find('>', at_), html_.size() - 1) + 1;
      return;
    }
  }

  /// Of a head, its title is shown. One without an end ends where the body begins.
  void TakeTitle() {
    const std::string_view rest = html_.substr(at_);
    size_t head = rest.size();
    size_t title = rest.size();
    for (size_t at = rest.find('<'); at != std::string_view::npos; at = rest.find('<', at + 1)) {
      const std::string_view tag = rest.substr(at);
      if (StartsWithIgnoringCase(tag, "<title") && title == rest.size()) title = at;
      if (StartsWithIgnoringCase(tag, "</head") || StartsWithIgnoringCase(tag, "<body")) {
        head = at;
        break;
      }
    }
    if (head == rest.size() && title == rest.size()) return;
    if (title < head) {
      const size_t begin = std::min(rest.find('>', title), rest.size() - 1) + 1;
      const size_t end = std::min(rest.find('<', begin), rest.size());
      const std::string text = Page(rest.substr(begin, end - begin)).Read();
      if (!text.empty()) Add("# " + text);
      Break(2);
    }
    if (head < rest.size()) at_ += head;
  }

  void BeginLink(std::string_view target) {
    while (!target.empty() && IsSpace(target.front())) target.remove_prefix(1);
    const bool leads = !target.empty() && target.size() <= kLinkBytesMax && target[0] != '#' &&
                       !StartsWithIgnoringCase(target, "javascript:") &&
                       !StartsWithIgnoringCase(target, "data:");
    if (!leads) return;
    for (size_t at = 0; at < target.size();) {
      if (target[at] == '&') {
        auto [text, bytes] = ReadReference(target.substr(at));
        link_ += text;
        at += bytes;
      } else {
        link_ += static_cast<unsigned char>(target[at]) < ' ' ? ' ' : target[at];
        ++at;
      }
    }
  }

  void EndLink() {
    if (!link_.empty()) Add(" (" + std::exchange(link_, {}) + ")");
  }

  /// White space of pages is one space, but for what is set as it stands.
  void Put(char c) {
    if (!IsSpace(c)) {
      if (static_cast<unsigned char>(c) >= ' ' && c != 127) text_ += c;
    } else if (verbatim_) {
      text_ += c == '\n' ? '\n' : ' ';
    } else if (!text_.empty() && !IsSpace(text_.back())) {
      text_ += ' ';
    }
  }

  void Add(std::string_view text) { text_ += text; }

  /// At least `lines` ends of lines stand at the end, and two at most.
  void Break(int lines) {
    while (!text_.empty() && text_.back() == ' ') text_.pop_back();
    if (text_.empty()) return;
    int there = 0;
    while (there < 2 && text_.size() > static_cast<size_t>(there) &&
           text_[text_.size() - 1 - static_cast<size_t>(there)] == '\n') {
      ++there;
    }
    for (; there < lines; ++there) text_ += '\n';
  }

  const std::string_view html_;
  size_t at_ = 0;
  std::string text_;
  std::string link_;  ///< Where the open link leads.
  bool verbatim_ = false;
  bool headed_ = false;
};

}  // namespace

std::string HtmlText(std::string_view html) { return Page(html).Read(); }

}  // namespace baleen
