// Draw: what a task is made of: random numbers, words of one split, and a record of what was used.
//
// Everything follows from (seed, number of the sample). Knows no conversations. Called by the
// tasks.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/training/corpus/lexicon.h"
#include "model/training/corpus/split.h"
#include "model/training/random_stream.h"

namespace baleen::training {

/// What one sample took from its split. Disjoint between splits.
struct UsedTexts {
  std::vector<std::string> words;      ///< Invented.
  std::vector<std::string> names;      ///< Of tools.
  std::vector<std::string> paths;      ///< Of files.
  std::vector<std::string> templates;  ///< Of users' sentences, unfilled.
};

/// Replaces each {name} by its value; an unknown one stays.
std::string Fill(std::string_view text,
                 std::initializer_list<std::pair<std::string_view, std::string_view>> values);

/// With its first letter as a capital.
std::string Capitalised(std::string_view text);

/// What training takes words from besides syllables and the lexicon. Evaluations have none of it.
struct WordStock {
  /// A tokenizer's letters, which invented words may be put together from, so that a model learns
  /// to copy each of them. Without, words that occur in no name would have tokens never written.
  std::vector<std::string> pieces;
  double pieced_share = 0;  ///< Of the invented words.
  /// Words that are one token with their space and several in a name.
  std::vector<std::string> spoken;
  /// How often a choice is varied: more nouns, tools more alike, more shapes of files.
  double varied = 0;
};

/// Threads: one at a time.
class Draw {
 public:
  /// Borrows: stock, which may be null.
  Draw(uint64_t seed, uint64_t index, Split split, const WordStock* stock = nullptr)
      : random_(seed, index), split_(split), stock_(stock) {}

  Split split() const { return split_; }
  const UsedTexts& used() const { return used_; }

  /// In [0, bound) and [low, high].
  int64_t Below(int64_t bound) { return random_.Below(bound); }
  int64_t Between(int64_t low, int64_t high) { return random_.Between(low, high); }
  bool Chance(double share) { return random_.Uniform() < share; }
  /// Whether to leave what evaluations ask for. Takes no random number where that never happens.
  bool Varied() { return stock_ != nullptr && stock_->varied > 0 && Chance(stock_->varied); }
  /// Log-uniform in [low, high]. Requires: 0 < low <= high.
  int64_t Scale(int64_t low, int64_t high);

  template <typename List>
  const auto& One(const List& list) {
    return std::data(list)[Below(static_cast<int64_t>(std::size(list)))];
  }
  template <typename T>
  T One(std::initializer_list<T> list) {
    return std::data(list)[Below(static_cast<int64_t>(list.size()))];
  }
  template <typename T>
  void Shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i > 1; --i) {
      std::swap(list[i - 1], list[static_cast<size_t>(Below(static_cast<int64_t>(i)))]);
    }
  }

  /// An invented word of 1 to 3 syllables (0: any number of them).
  std::string Word(int syllables = 0);
  std::string Name() { return Capitalised(Word()); }
  /// May be two words where nouns are varied.
  std::string Noun();
  /// Two words that share one with `noun`.
  std::string NounLike(std::string_view noun);
  std::string Value(ValueKind kind);
  /// A value that neither contains one of `others` nor is contained in one.
  std::string ValueUnlike(ValueKind kind, std::span<const std::string> others);
  /// A file with an invented stem, `folder` before it if that isn't empty.
  std::string Path(std::string_view folder, std::string_view extension);
  /// Notes the name of a tool if it belongs to the split; false: make another.
  bool TakeName(const std::string& name);

  using Phrases = std::span<const std::string_view>;
  /// One element of each list such that they, joined, belong to the split; noted as a template.
  /// Requires: a hundred combinations or more, else a rare split may have none of its own.
  std::vector<std::string_view> Parts(const std::vector<Phrases>& lists);
  /// The same, joined.
  std::string Phrase(const std::vector<Phrases>& lists);

 private:
  bool Belongs(std::string_view text) const { return SplitOf(text) == split_; }
  std::string Syllables(int64_t count);
  std::string Pieces(int64_t count);
  std::string EnglishWord();
  std::string WideNoun();

  RandomStream random_;
  Split split_;
  const WordStock* stock_;
  UsedTexts used_;
};

}  // namespace baleen::training
