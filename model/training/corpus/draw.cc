#include "model/training/corpus/draw.h"

#include <algorithm>
#include <bit>

#include "model/training/corpus/wide_nouns.h"

namespace baleen::training {
namespace {

constexpr std::string_view kOnsets[] = {
    "b", "c", "d",  "f",  "g",  "h",  "j",  "k",  "l",  "m",  "n",  "p",  "r",  "s",  "t",  "v",
    "w", "z", "br", "ch", "cl", "dr", "fl", "gr", "kl", "pr", "qu", "sh", "sk", "st", "th", "tr"};
constexpr std::string_view kVowels[] = {"a", "e", "i", "o", "u", "ai", "ea", "oo"};
constexpr std::string_view kCodas[] = {"", "n", "r", "l", "s", "t", "m", "k", "nd", "x", "ck"};
constexpr std::string_view kExtensions[] = {".txt", ".md",  ".py", ".json",
                                            ".c",   ".log", ".cc", ".csv"};

/// Tries before a draw takes what it has; the rarest split holds one text in 16.
constexpr int kTriesMax = 400;

std::string Digits(int64_t number, int width) {
  std::string text = std::to_string(number);
  return std::string(static_cast<size_t>(std::max(0, width - static_cast<int>(text.size()))), '0') +
         text;
}

}  // namespace

std::string Fill(std::string_view text,
                 std::initializer_list<std::pair<std::string_view, std::string_view>> values) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t open = text.find('{', at);
    const size_t close = open == std::string_view::npos ? open : text.find('}', open);
    if (close == std::string_view::npos) {
      out += text.substr(at);
      break;
    }
    out += text.substr(at, open - at);
    const std::string_view name = text.substr(open + 1, close - open - 1);
    const auto* found = std::find_if(values.begin(), values.end(),
                                     [&](const auto& value) { return value.first == name; });
    out += found == values.end() ? text.substr(open, close + 1 - open) : found->second;
    at = close + 1;
  }
  return out;
}

std::string Capitalised(std::string_view text) {
  std::string out(text);
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 32);
  return out;
}

int64_t Draw::Scale(int64_t low, int64_t high) {
  // An octave, then a place in it: no logarithm, whose last bit depends on the C library.
  const auto octave = [](int64_t value) {
    return std::bit_width(static_cast<uint64_t>(value)) - 1;
  };
  const int64_t begin = int64_t{1} << Between(octave(low), octave(high));
  return std::clamp(Between(begin, 2 * begin - 1), low, high);
}

std::string Draw::Syllables(int64_t count) {
  std::string word;
  for (int64_t i = 0; i < count; ++i) {
    word += One(kOnsets);
    word += One(kVowels);
    word += One(kCodas);
  }
  return word;
}

std::string Draw::Pieces(int64_t count) {
  std::string word;
  for (int64_t i = 0; i < count && word.size() < 10; ++i) word += One(stock_->pieces);
  return word;
}

std::string Draw::Word(int syllables) {
  std::string word;
  const bool pieced = stock_ != nullptr && stock_->pieced_share > 0 && Chance(stock_->pieced_share);
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const int64_t count = syllables > 0 ? syllables : One({1, 2, 2, 2, 3});
    word = pieced ? Pieces(count) : Syllables(count);
    if (word.size() > 2 && Belongs(word)) break;
  }
  used_.words.push_back(word);
  return word;
}

std::string Draw::EnglishWord() {
  const int64_t list = stock_->spoken.empty() ? Between(1, 2) : Below(3);
  return std::string(list == 0   ? std::string_view(One(stock_->spoken))
                     : list == 1 ? One(WideNouns())
                                 : One(kNouns));
}

std::string Draw::WideNoun() {
  // A word that is held out may be a part of a noun of two words: what it is written with would
  // else never occur. No noun is one.
  const int64_t form = Below(10);
  std::string noun;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    noun = EnglishWord();
    if (form >= 7) noun += " " + Word();
    if (form < 5) noun += " " + EnglishWord();
    if (Belongs(noun)) break;
  }
  used_.words.push_back(noun);
  return noun;
}

std::string Draw::NounLike(std::string_view noun) {
  const std::string kept(noun.substr(0, noun.find(' ')));
  const bool first = Chance(0.7);
  std::string like;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const std::string other = Chance(0.7) ? EnglishWord() : Word();
    like = first ? kept + " " + other : other + " " + kept;
    if (other != kept && Belongs(like)) break;
  }
  used_.words.push_back(like);
  return like;
}

std::string Draw::Noun() {
  if (Varied()) return WideNoun();
  if (Chance(0.4)) return Word();
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const std::string_view noun = One(kNouns);
    if (Belongs(noun)) return std::string(noun);
  }
  return Word();
}

std::string Draw::Value(ValueKind kind) {
  switch (kind) {
    case ValueKind::kWord: return Word();
    case ValueKind::kName: return Name();
    case ValueKind::kWords: {
      std::string words = Word();
      for (int64_t more = One({0, 1, 1, 2}); more > 0; --more) words += " " + Word();
      return words;
    }
    case ValueKind::kFile: {
      std::string folder = Chance(0.4) ? Word() : "";
      if (!folder.empty() && Chance(0.3)) folder = "/" + folder;
      return Path(folder, One(kExtensions));
    }
    case ValueKind::kNumber:
      return std::to_string(Below(One<int64_t>({10, 100, 100, 1000, 10000})));
    // Each draw is a statement: the order of those in one expression is the compiler's.
    case ValueKind::kCode: {
      if (Chance(Varied() ? 0.6 : 0.3)) return std::to_string(Between(1000, 99999));
      const std::string digits = std::to_string(Below(1000));
      const std::string joint = One({"-", "", "_"});
      return Word(1) + joint + digits;
    }
    case ValueKind::kMail: {
      const std::string end = One({".com", ".org", ".net"});
      const std::string host = Word(1);
      return Word(1) + "@" + host + end;
    }
    case ValueKind::kDate: {
      const std::string day = Digits(Between(1, 28), 2);
      const std::string month = Digits(Between(1, 12), 2);
      return std::to_string(Between(1990, 2029)) + "-" + month + "-" + day;
    }
    case ValueKind::kFlag: return Chance(0.5) ? "true" : "false";
    case ValueKind::kDecimal: {
      const std::string tenths = std::to_string(Between(1, 9));
      return std::to_string(Below(100)) + "." + tenths;
    }
  }
  return Word();
}

std::string Draw::ValueUnlike(ValueKind kind, std::span<const std::string> others) {
  std::string value;
  for (int tries = 0; tries < 50; ++tries) {
    value = Value(kind);
    const bool alike = std::any_of(others.begin(), others.end(), [&](const std::string& other) {
      return other.find(value) != std::string::npos || value.find(other) != std::string::npos;
    });
    if (!alike || kind == ValueKind::kFlag) break;
  }
  return value;
}

std::string Draw::Path(std::string_view folder, std::string_view extension) {
  std::string path;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    path = std::string(folder);
    if (!path.empty()) path += "/";
    path += Word();
    path += extension;
    if (Belongs(path)) break;
  }
  used_.paths.push_back(path);
  return path;
}

bool Draw::TakeName(const std::string& name) {
  if (!Belongs(name)) return false;
  used_.names.push_back(name);
  return true;
}

std::vector<std::string_view> Draw::Parts(const std::vector<Phrases>& lists) {
  std::vector<std::string_view> parts(lists.size());
  std::string whole;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    whole.clear();
    for (size_t i = 0; i < lists.size(); ++i) whole += parts[i] = One(lists[i]);
    if (Belongs(whole)) break;
  }
  used_.templates.push_back(std::move(whole));
  return parts;
}

std::string Draw::Phrase(const std::vector<Phrases>& lists) {
  std::string phrase;
  for (const std::string_view part : Parts(lists)) phrase += part;
  return phrase;
}

}  // namespace baleen::training
