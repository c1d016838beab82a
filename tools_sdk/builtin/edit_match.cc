#include "tools_sdk/builtin/edit_match.h"

#include <string.h>  // memmem

#include <algorithm>
#include <map>
#include <set>

#include "tools_sdk/builtin/call_text.h"

namespace baleen {
namespace {

constexpr size_t kPlacesShown = 3;
constexpr size_t kLinesShown = 12;
constexpr size_t kShownBytes = 200;     // Of a line.
constexpr size_t kComparedBytes = 400;  // Of a line, for likeness.
constexpr size_t kLinesCompared = 50'000;

using Lines = std::vector<std::string_view>;

/// Without the ends; a text that ends with a line end has no empty last line.
Lines SplitLines(std::string_view text) {
  Lines lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::string_view Trim(std::string_view line) {
  const size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
}

/// Runs of blanks as one blank, none at the ends.
std::string Squeeze(std::string_view line) {
  std::string out;
  for (const char c : Trim(line)) {
    const bool blank = c == ' ' || c == '\t' || c == '\r';
    if (!blank || out.back() != ' ') out += blank ? ' ' : c;
  }
  return out;
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return text;
}

std::string_view Indentation(std::string_view line) {
  return line.substr(0, std::min(line.find_first_not_of(" \t"), line.size()));
}
std::string_view WithoutEnd(std::string_view line) {
  return line.substr(0, line.find_last_not_of(" \t\r") + 1);
}

std::string NameIndentation(std::string_view blanks) {
  const auto tabs = std::count(blanks.begin(), blanks.end(), '\t');
  const auto spaces = static_cast<std::ptrdiff_t>(blanks.size()) - tabs;
  if (tabs == 0) return std::to_string(spaces) + " spaces";
  if (spaces == 0) return std::to_string(tabs) + " tabs";
  return std::to_string(tabs) + " tabs and " + std::to_string(spaces) + " spaces";
}

/// How a line of the file differs from the wanted one, if only by blanks or case.
void NameDifferences(std::string_view there, std::string_view wanted,
                     std::set<std::string>* differences) {
  const bool cr_there = there.ends_with('\r');
  if (cr_there != wanted.ends_with('\r')) {
    differences->insert(cr_there ? "the file's lines end with CRLF"
                                 : "old_string's lines end with CRLF, the file's with LF");
  }
  if (cr_there) there.remove_suffix(1);
  if (wanted.ends_with('\r')) wanted.remove_suffix(1);
  if (there == wanted) return;
  if (Lower(Squeeze(there)) == Lower(Squeeze(wanted)) && Squeeze(there) != Squeeze(wanted)) {
    differences->insert("upper and lower case differ");
  }
  const bool blank = Trim(there).empty();
  if (!blank && Indentation(there) != Indentation(wanted)) {
    differences->insert("the file is indented by " + NameIndentation(Indentation(there)) +
                        " where old_string has " + NameIndentation(Indentation(wanted)));
  }
  if (WithoutEnd(there) != there || WithoutEnd(wanted) != wanted) {
    if (there.substr(WithoutEnd(there).size()) != wanted.substr(WithoutEnd(wanted).size())) {
      differences->insert(WithoutEnd(there) != there
                              ? "a line of the file has blanks at its end"
                              : "old_string has blanks at a line's end that the file has not");
    }
  }
  if (!blank && Trim(there) != Trim(wanted) && Squeeze(there) == Squeeze(wanted)) {
    differences->insert(there.find('\t') != wanted.find('\t')
                            ? "tabs and spaces inside a line differ"
                            : "the number of blanks inside a line differs");
  }
}

std::string ShowLines(const Lines& lines, size_t first, size_t count) {
  std::string out;
  const size_t end = std::min(lines.size(), first + std::min(count, kLinesShown));
  for (size_t i = first; i < end; ++i) {
    std::string_view line = lines[i];
    if (line.ends_with('\r')) line.remove_suffix(1);
    out += "\n" + std::to_string(i + 1) + ": " + CutLine(line, kShownBytes, line.size());
  }
  if (count > kLinesShown) out += "\n...";
  return out;
}

/// Places whose lines are the wanted ones but for blanks and case.
std::string ExplainBlanks(const Lines& lines, const Lines& wanted) {
  std::vector<std::string> keys;
  for (const std::string_view line : wanted) keys.push_back(Lower(Squeeze(line)));
  if (std::all_of(keys.begin(), keys.end(), [](const auto& key) { return key.empty(); })) return {};
  // A partial first or last line is enough.
  const auto fits = [&](size_t at) {
    for (size_t k = 0; k < keys.size(); ++k) {
      const std::string there = Lower(Squeeze(lines[at + k]));
      const bool first = k == 0, last = k + 1 == keys.size();
      const bool same = first && last ? there.find(keys[k]) != std::string::npos
                        : first       ? there.ends_with(keys[k])
                        : last        ? there.starts_with(keys[k])
                                      : there == keys[k];
      if (!same || (keys[k].empty() && !there.empty() && !first && !last)) return false;
    }
    return true;
  };
  std::string out;
  size_t places = 0;
  for (size_t at = 0; at + keys.size() <= lines.size() && at < kLinesCompared; ++at) {
    if (!fits(at)) continue;
    if (++places > kPlacesShown) break;
    std::set<std::string> differences;
    for (size_t k = 0; k < keys.size(); ++k) {
      // Of a part of a line, only what its own ends show.
      std::string_view there = lines[at + k];
      if (Squeeze(there).size() != keys[k].size()) {
        differences.insert("blanks or case differ within line " + std::to_string(at + k + 1));
      } else {
        NameDifferences(there, wanted[k], &differences);
      }
    }
    std::string named;
    for (const std::string& difference : differences) {
      named += (named.empty() ? "" : "; ") + difference;
    }
    if (named.empty()) named = "line ends differ";
    out += "\nline " + std::to_string(at + 1) +
           " fits but for blanks, line ends or case: " + named + "." +
           ShowLines(lines, at, keys.size());
  }
  return out;
}

std::map<uint16_t, int> Bigrams(std::string_view line) {
  std::map<uint16_t, int> out;
  const std::string text = Squeeze(line.substr(0, kComparedBytes));
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    ++out[static_cast<uint16_t>(static_cast<unsigned char>(text[i]) << 8 |
                                static_cast<unsigned char>(text[i + 1]))];
  }
  return out;
}

/// 2 x shared pairs / all pairs of two lines.
double Likeness(const std::map<uint16_t, int>& a, const std::map<uint16_t, int>& b) {
  int shared = 0, all = 0;
  for (const auto& [pair, count] : a) {
    const auto other = b.find(pair);
    if (other != b.end()) shared += std::min(count, other->second);
    all += count;
  }
  for (const auto& [pair, count] : b) all += count;
  return all == 0 ? 0.0 : 2.0 * shared / all;
}

std::string ExplainNearest(const Lines& lines, const Lines& wanted) {
  // Its longest line says most about where it was meant to be.
  const auto longest = std::max_element(
      wanted.begin(), wanted.end(), [](auto a, auto b) { return Trim(a).size() < Trim(b).size(); });
  const auto key = Bigrams(*longest);
  const size_t before = static_cast<size_t>(longest - wanted.begin());
  double best = 0.0;
  size_t best_line = 0;
  for (size_t i = 0; i < lines.size() && i < kLinesCompared; ++i) {
    const double likeness = Likeness(key, Bigrams(lines[i]));
    if (likeness > best) {
      best = likeness;
      best_line = i;
    }
  }
  if (best < 0.3) return "\nNo line of the file looks like it; read the file.";
  const size_t first = best_line >= before ? best_line - before : 0;
  return "\nThe nearest lines:" + ShowLines(lines, first, wanted.size());
}

}  // namespace

std::vector<size_t> FindAll(std::string_view text, std::string_view wanted, size_t places_max) {
  std::vector<size_t> places;
  size_t from = 0;
  while (places.size() < places_max && from < text.size()) {
    const void* found =
        memmem(text.data() + from, text.size() - from, wanted.data(), wanted.size());
    if (found == nullptr) break;
    places.push_back(static_cast<size_t>(static_cast<const char*>(found) - text.data()));
    from = places.back() + 1;
  }
  return places;
}

size_t LineAt(std::string_view text, size_t offset) {
  return 1 + static_cast<size_t>(std::count(
                 text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

std::string WithCarriageReturns(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) out += '\r';
    out += text[i];
  }
  return out;
}

std::string ExplainMissing(std::string_view text, std::string_view wanted) {
  const Lines lines = SplitLines(text);
  const Lines parts = SplitLines(wanted);
  if (lines.empty()) return "\nThe file is empty.";
  const std::string blanks = ExplainBlanks(lines, parts);
  return blanks.empty() ? ExplainNearest(lines, parts) : blanks;
}

}  // namespace baleen
