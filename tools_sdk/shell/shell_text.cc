#include "tools_sdk/shell/shell_text.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "tools_sdk/shell/shell_wrappers.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kShownBytes = 100;

/// Words of the language that make a command's structure, where it isn't followed.
constexpr std::string_view kLanguage[] = {"[[",   "]]",   "case",   "coproc", "do",    "done",
                                          "elif", "else", "esac",   "fi",     "for",   "function",
                                          "if",   "in",   "select", "then",   "until", "while"};

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

bool EndsWord(char c) {
  return IsBlank(c) || std::string_view("\n;&|<>()").find(c) != std::string_view::npos;
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string Shown(std::string_view text) {
  const std::string clean = ReplaceInvalidUtf8(text.substr(0, 4 * kShownBytes));
  std::string out(Utf8Prefix(clean, kShownBytes));
  if (out.size() < text.size()) out += "...";
  return out;
}

/// One text: of the call, of `sh -c`, between backquotes, of a here-document.
class Reader {
 public:
  Reader(std::string_view text, bool posix, int depth, ShellReading* out)
      : text_(text), posix_(posix), depth_(depth), out_(*out) {}

  void ReadAll() {
    while (at_ < text_.size()) ReadList(Closer::kEnd);
  }

  /// Of a here-document: only what a `$` or a backquote begins.
  void ReadExpansions() {
    ShellWord word;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\') {
        at_ = std::min(at_ + 2, text_.size());
      } else if (c == '$') {
        ReadDollar(true, &word);
      } else if (c == '`') {
        ReadBackquotes(true, &word);
      } else {
        ++at_;
      }
    }
  }

 private:
  enum class Closer { kEnd, kParenthesis };
  struct HereDocument {
    std::string end;
    bool expands;
    bool strips_tabs;
  };

  char Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool Begins(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void Unclear(const std::string& what) {
    if (!out_.unclear.empty()) return;
    out_.unclear = what + " in `" + Shown(text_.substr(command_at_)) + "`";
  }
  /// What is read from here on would be a guess about a guess.
  void Stop(const std::string& what) {
    Unclear(what);
    at_ = text_.size();
  }

  /// Commands up to the end, or to the parenthesis that closes what was opened.
  void ReadList(Closer closer) {
    if (depth_ > kShellDepthMax) return Stop("too many levels");
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\n') {
        ++at_;
        ReadHereDocuments();
      } else if (c == ')') {
        ++at_;
        if (closer == Closer::kParenthesis) return;
        Unclear("a ')' that closes nothing");
      } else if (c == '(') {
        command_at_ = at_;
        if (Begins("((")) Unclear("arithmetic");
        ++at_;
        ReadNested();
      } else if (c == ';' || c == '|' || (c == '&' && Peek(1) != '>')) {
        if (Begins(";;") || Begins(";&")) Unclear("a case");
        if (Begins("|&") && posix_) Unclear("'|&'");
        at_ += Begins("|&") ? 2 : 1;  // of two alike, the other is an empty command's end
      } else if (IsBlank(c)) {
        ++at_;
      } else {
        ReadCommand();
      }
    }
    if (closer == Closer::kParenthesis) Unclear("a '(' that isn't closed");
    if (!pending_.empty()) Unclear("a here-document without a text");
    pending_.clear();
  }

  void ReadNested() {
    ++depth_;
    ReadList(Closer::kParenthesis);
    --depth_;
  }

  void ReadCommand() {
    command_at_ = at_;
    ShellCommand command;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (IsBlank(c)) {
        ++at_;
      } else if (Begins("\\\n")) {
        SkipLineEnd(2);
      } else if (c == '\n' || c == ';' || c == '|' || c == ')' || (c == '&' && Peek(1) != '>')) {
        break;
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '<' || c == '>' || c == '&') {
        ReadRedirect();
      } else if (c == '(') {
        Unclear("a parenthesis within a command");
        ++at_;
        ReadNested();
      } else {
        TakeWord(&command);
      }
    }
    if (!command.words.empty()) Add(std::move(command));
  }

  void TakeWord(ShellCommand* command) {
    ShellWord word = ReadWord();
    const bool before_redirect = Peek() == '<' || Peek() == '>';
    if (before_redirect && word.bare && IsNumber(word.text)) return;  // its descriptor
    if (before_redirect && word.text.starts_with('{')) Unclear("a redirect into a variable");
    if (command->words.empty() && word.bare) {
      if (word.text == "{" || word.text == "}" || word.text == "!") return;
      const bool language =
          std::find(std::begin(kLanguage), std::end(kLanguage), word.text) != std::end(kLanguage);
      if (language) return Unclear("the word '" + word.text + "' of the shell's language");
    }
    if (command->words.empty() && IsAssignment(word)) return Unclear("an assignment");
    command->words.push_back(std::move(word));
  }

  /// Puts it down, and what it runs.
  void Add(ShellCommand command) {
    if (out_.commands.size() >= kShellCommandsMax) return Stop("too many commands");
    const ShellWord& name = command.words[0];
    if (name.open) Unclear("a command whose name is made when it runs");
    if (name.bare && (name.text == "{" || name.text == "!")) Unclear("a group within a command");
    if (ChangesMeaning(command)) Unclear("'" + name.text + "'");
    WrappedCommand wrapped = Unwrap(command);
    command.passes = wrapped.harmless;
    if (!wrapped.unclear.empty()) Unclear(wrapped.unclear);
    out_.commands.push_back(std::move(command));
    if (depth_ >= kShellDepthMax) return Stop("too many levels");
    ++depth_;
    if (wrapped.command.has_value()) Add(std::move(*wrapped.command));
    if (wrapped.text.has_value()) ReadText(*wrapped.text, wrapped.posix || posix_);
    --depth_;
  }

  /// Another text within this one.
  void ReadText(const std::string& text, bool posix) {
    Reader(text, posix, depth_ + 1, &out_).ReadAll();
  }

  ShellWord ReadWord() {
    ShellWord word;
    const size_t begin = at_;
    bool brace = false;
    if (Peek() == '~') word.open = true;
    while (at_ < text_.size() && !EndsWord(text_[at_])) {
      const char c = text_[at_];
      if (c == '\\' || c == '\'' || c == '"' || c == '$' || c == '`') {
        word.bare = word.bare && c == '$';
        ReadSpecial(c, &word);
        continue;
      }
      if (c == '*' || c == '?' || c == '[') word.open = true;
      if (c == '{') brace = true;
      if (brace && (c == ',' || Begins(".."))) Unclear("a list in braces");
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) Unclear("a control character");
      word.text += c;
      ++at_;
    }
    if (text_.substr(begin, at_ - begin) == "[") word.open = false;  // the command of that name
    return word;
  }

  void ReadSpecial(char c, ShellWord* word) {
    switch (c) {
      case '\\':
        if (Begins("\\\n")) return SkipLineEnd(2);
        if (at_ + 1 >= text_.size()) Unclear("a '\\' at the end");
        if (at_ + 1 < text_.size()) word->text += text_[at_ + 1];
        at_ = std::min(at_ + 2, text_.size());
        return;
      case '\'': return ReadSingleQuotes(word);
      case '"': return ReadDoubleQuotes(word);
      case '`': return ReadBackquotes(false, word);
      default: return ReadDollar(false, word);
    }
  }

  /// A line's end that is none, or one within quotes: shells differ about a here-document then.
  void SkipLineEnd(size_t bytes) {
    if (!pending_.empty()) Unclear("a here-document before a continued line");
    at_ += bytes;
  }

  void ReadSingleQuotes(ShellWord* word) {
    const size_t end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) return Stop("a quote that isn't closed");
    const std::string_view quoted = text_.substr(at_ + 1, end - at_ - 1);
    if (quoted.find('\n') != std::string_view::npos) SkipLineEnd(0);
    word->text += quoted;
    at_ = end + 1;
  }

  void ReadDoubleQuotes(ShellWord* word) {
    ++at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      const char c = text_[at_];
      if (c == '$') {
        ReadDollar(true, word);
      } else if (c == '`') {
        ReadBackquotes(true, word);
      } else if (Begins("\\\n")) {
        SkipLineEnd(2);
      } else {
        const bool escape =
            c == '\\' && std::string_view("$`\"\\").find(Peek(1)) != std::string_view::npos;
        if (escape && at_ + 1 < text_.size()) ++at_;
        if (c == '\n') SkipLineEnd(0);
        word->text += text_[at_++];
      }
    }
    if (at_ >= text_.size()) return Stop("a quote that isn't closed");
    ++at_;
  }

  /// At a '$'. `quoted`: between double quotes, or in a here-document.
  void ReadDollar(bool quoted, ShellWord* word) {
    const char next = Peek(1);
    const size_t begin = at_;
    if (next == '(') {
      if (Begins("$((")) Unclear("arithmetic");
      at_ += 2;
      return ReadSubstitution(word);
    }
    if (next == '{') {
      Unclear("a variable");
      word->open = true;
      at_ += 2;
      word->text += "${...}";
      return ReadBraces(word);
    }
    ++at_;
    if (IsNameCharacter(next) ||
        (next != '\0' && std::string_view("?$@*#!-").find(next) != std::string_view::npos)) {
      Unclear("a variable");
      word->open = true;
      ++at_;
      while (IsNameCharacter(next) && IsNameCharacter(Peek())) ++at_;
      word->text += text_.substr(begin, at_ - begin);
    } else if (!quoted && next == '\'') {
      Unclear("a quote of the kind $'...'");
      word->open = true;
      ++at_;
      while (at_ < text_.size() && text_[at_] != '\'') at_ += text_[at_] == '\\' ? 2 : 1;
      at_ = std::min(at_ + 1, text_.size());
    } else if (next == '[' || (!quoted && next == '"')) {
      Unclear(next == '[' ? "arithmetic" : "a quote of the kind $\"...\"");
      word->open = true;
    } else {
      word->text += '$';
    }
  }

  /// Behind "${", to its '}'.
  void ReadBraces(ShellWord* word) {
    if (++depth_ > kShellDepthMax) return Stop("too many levels");
    while (at_ < text_.size() && text_[at_] != '}') {
      const char c = text_[at_];
      if (c == '\\') {
        at_ = std::min(at_ + 2, text_.size());
      } else if (c == '$') {
        ReadDollar(true, word);
      } else if (c == '`') {
        ReadBackquotes(true, word);
      } else {
        ++at_;
      }
    }
    at_ = std::min(at_ + 1, text_.size());
    --depth_;
  }

  /// Behind "$(".
  void ReadSubstitution(ShellWord* word) {
    if (!pending_.empty()) Unclear("a here-document before a substitution");
    const size_t outer = command_at_;
    word->open = true;
    ReadNested();
    if (!pending_.empty()) Unclear("a here-document without a text");
    pending_.clear();
    command_at_ = outer;
    word->text += "$(...)";
  }

  /// At a backquote. The next one that isn't escaped ends it, whatever is between them.
  void ReadBackquotes(bool quoted, ShellWord* word) {
    if (!pending_.empty()) Unclear("a here-document before a substitution");
    std::string inner;
    for (++at_; at_ < text_.size() && text_[at_] != '`'; ++at_) {
      const std::string_view escaped = quoted ? "`\\$\"" : "`\\$";
      if (text_[at_] == '\\' && at_ + 1 < text_.size() &&
          escaped.find(text_[at_ + 1]) != std::string_view::npos) {
        ++at_;
      }
      inner += text_[at_];
    }
    if (at_ >= text_.size()) return Stop("a backquote that isn't closed");
    ++at_;
    word->open = true;
    word->text += "$(...)";
    if (depth_ >= kShellDepthMax) return Stop("too many levels");
    ReadText(inner, posix_);
  }

  void ReadRedirect() {
    std::string_view sign;
    for (const std::string_view one :
         {"&>>", "<<<", "<<-", "&>", "<<", "<&", "<>", "<(", ">>", ">&", ">|", ">(", "<", ">"}) {
      if (sign.empty() && Begins(one)) sign = one;
    }
    at_ += sign.size();
    if (sign == "<(" || sign == ">(") {
      Unclear("a substitution of a process");
      return ReadNested();
    }
    if (posix_ && (sign[0] == '&' || sign == "<<<")) Unclear("'" + std::string(sign) + "'");
    while (IsBlank(Peek()) || Begins("\\\n")) at_ += IsBlank(Peek()) ? 1 : 2;
    if (at_ >= text_.size() || EndsWord(text_[at_])) return Unclear("a redirect without a file");
    const ShellWord target = ReadWord();
    if (sign == "<<<") return;
    if (target.open) return Unclear("a redirect whose file is named when it runs");
    if (sign == "<<" || sign == "<<-") {
      if (target.text.find('\n') != std::string::npos)
        Unclear("a here-document's end of two lines");
      pending_.push_back({target.text, target.bare, sign == "<<-"});
      return;
    }
    if (sign == ">&" || sign == "<&") {
      std::string_view number = target.text;
      if (number.ends_with('-')) number.remove_suffix(1);
      if (number.empty() || IsNumber(number)) return;
    }
    if (target.text == "/dev/null") return;
    if (sign == "<") {
      if (target.text.starts_with("/dev/")) Unclear("a device");
    } else if (sign == "<&") {
      Unclear("a descriptor that isn't a number");
    } else {
      out_.written.push_back(target.text);
    }
  }

  /// Behind a line's end: the texts of the here-documents that it has.
  void ReadHereDocuments() {
    const std::vector<HereDocument> documents = std::exchange(pending_, {});
    for (const HereDocument& document : documents) {
      const size_t begin = at_;
      size_t end = begin;
      bool ended = false;
      while (at_ < text_.size() && !ended) {
        end = at_;
        const size_t line_end = std::min(text_.find('\n', at_), text_.size());
        std::string_view line = text_.substr(at_, line_end - at_);
        if (document.strips_tabs) {
          line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
        }
        ended = line == document.end;
        if (document.expands && line.ends_with('\\')) Unclear("a continued line");
        at_ = std::min(line_end + 1, text_.size());
      }
      if (!ended) Unclear("a here-document without its end");
      if (!document.expands) continue;
      if (depth_ >= kShellDepthMax) return Stop("too many levels");
      const std::string_view body = text_.substr(begin, (ended ? end : at_) - begin);
      Reader(body, posix_, depth_ + 1, &out_).ReadExpansions();
    }
  }

  const std::string_view text_;
  const bool posix_;  ///< For sh, which isn't always bash.
  int depth_;
  ShellReading& out_;
  size_t at_ = 0;
  size_t command_at_ = 0;  ///< Where the command at hand begins, for messages.
  std::vector<HereDocument> pending_;
};

}  // namespace

ShellReading ReadShellText(std::string_view text) {
  ShellReading reading;
  if (text.size() > kShellBytesMax) {
    reading.unclear = "more than " + std::to_string(kShellBytesMax) + " bytes";
    return reading;
  }
  Reader(text, false, 0, &reading).ReadAll();
  return reading;
}

std::string ShownCommand(const ShellCommand& command) {
  std::string text;
  for (const ShellWord& word : command.words) {
    if (text.size() > kShownBytes) break;
    if (!text.empty()) text += ' ';
    text += word.text;
  }
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return Shown(text);
}

}  // namespace baleen
