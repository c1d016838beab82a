// Grammar: what a generation may look like, as a graph of small rules over bytes and control
// tokens.
//
// Plain values, built once by the compilers (schema_grammar.h, chat_grammar.h) and run by the
// automaton. Rules may refer to each other in circles; what can't end is found by Finish and never
// offered.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// A byte, or one of the control tokens that a generation may contain.
using Symbol = uint16_t;
inline constexpr Symbol kDsmlSymbol = 256;
inline constexpr Symbol kEosSymbol = 257;
inline constexpr Symbol kThinkCloseSymbol = 258;

using RuleId = uint32_t;
inline constexpr RuleId kNoRule = UINT32_MAX;

/// One rule. A plain struct: which fields count depends on `kind`.
struct Rule {
  enum class Kind : uint8_t {
    kNever,     ///< Matches nothing.
    kLiteral,   ///< `symbols`.
    kSequence,  ///< `parts` one after another.
    kChoice,    ///< One of `parts`.
    kMembers,   ///< Named members, each at most once, in any order; then `close`.
    kItems,     ///< parts[0], then (parts[1])*, then `close`; or only `close`.
    kChars,     ///< Characters, counted as code points: min to max.
    kInteger,   ///< A JSON integer from `low` to `high`.
    kNumber,    ///< A JSON number.
    kText,      ///< Any text without a marker of the chat encoding spelled out.
  };
  enum class Charset : uint8_t {
    kRaw,   ///< Anything but the spelled-out markup sentinel.
    kJson,  ///< The inside of a JSON string: escapes, no quote, no control character.
    kKey,   ///< The same without escapes, and none of `excluded`.
  };
  Kind kind = Kind::kNever;
  Charset charset = Charset::kRaw;
  bool ordered = false;  ///< kMembers: in the order of `parts` (always so for more than 64).
  /// kChars: no marker of the chat encoding may be spelled out; else only its sentinel may not.
  bool unmarked = false;
  std::vector<Symbol> symbols;
  std::vector<RuleId> parts;    ///< kMembers: name and value of each member.
  std::vector<bool> required;   ///< kMembers: beside `parts`.
  RuleId separator = kNoRule;   ///< kMembers: between two members.
  RuleId additional = kNoRule;  ///< kMembers: name and value of any further member.
  RuleId close = kNoRule;
  RuleId close_empty = kNoRule;  ///< kMembers: in place of `close` if there was no member.
  uint32_t min = 0;              ///< kItems, kChars.
  uint32_t max = UINT32_MAX;
  int64_t low = 0;
  int64_t high = 0;
  std::vector<std::string> excluded;
};

/// Frames on the automaton's stack; what nests deeper is not offered.
inline constexpr uint32_t kStackDepthMax = 256;
/// Rules of one grammar.
inline constexpr size_t kRulesMax = 50'000;

class Grammar {
 public:
  /// A rule that is filled in later, so that others can refer to it.
  RuleId Reserve();
  RuleId Add(Rule rule);
  RuleId Literal(std::vector<Symbol> symbols);
  RuleId Literal(std::string_view bytes);
  RuleId Sequence(std::vector<RuleId> parts);
  RuleId Choice(std::vector<RuleId> parts);
  RuleId Never();
  Rule& at(RuleId id) { return rules_[id]; }
  const Rule& rule(RuleId id) const { return rules_[id]; }
  size_t size() const { return rules_.size(); }

  /// Computes heights. Ask again after changing a rule.
  void Measure();
  /// Stack frames that the rule needs to end at all; more than kStackDepthMax: it can't.
  uint32_t height(RuleId id) const { return heights_[id]; }

  /// Measures and takes `root` for the whole. Errors: FAILED_PRECONDITION/UNSATISFIABLE if no
  /// text satisfies it; RESOURCE_EXHAUSTED for over kRulesMax rules.
  Status Finish(RuleId root);
  RuleId root() const { return root_; }

 private:
  uint32_t HeightOf(const Rule& rule) const;

  std::vector<Rule> rules_;
  std::vector<uint32_t> heights_;
  RuleId root_ = kNoRule;
};

}  // namespace baleen
