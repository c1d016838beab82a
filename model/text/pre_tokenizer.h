// DeepSeek's pre-tokenizer: cuts text into the pieces inside which BPE merges.
//
// A scanner written by hand for the four steps that V3 to V4 share; no regular expressions. Called
// by the tokenizer, which has checked that the tokenizer.json states just these steps.
#pragma once

#include <cstddef>
#include <string_view>

namespace baleen {

/// Yields the pieces of one string in order; together they are the whole string.
/// Requires: valid UTF-8, which outlives the scanner.
/// Source: tokenizer.json of DeepSeek-V4, `pre_tokenizer`.
class PieceScanner {
 public:
  explicit PieceScanner(std::string_view text) : text_(text) {}

  /// The next piece; empty at the end.
  std::string_view Next();

 private:
  void FindSection();
  size_t MatchEnd(size_t begin) const;
  size_t LettersEnd(size_t begin) const;
  size_t SpacesEnd(size_t begin) const;

  std::string_view text_;
  size_t at_ = 0;
  size_t section_end_ = 0;  ///< Where steps 1 and 2 cut next; look-ahead ends here.
  bool section_is_number_ = false;
};

}  // namespace baleen
