#include "model/constraint/grammar.h"

#include <algorithm>
#include <utility>

namespace baleen {
namespace {

constexpr uint32_t kEndless = UINT32_MAX / 2;

uint32_t Above(uint32_t height) { return std::min(height + 1, kEndless); }

}  // namespace

RuleId Grammar::Reserve() { return Add(Rule{}); }

RuleId Grammar::Add(Rule rule) {
  rules_.push_back(std::move(rule));
  return static_cast<RuleId>(rules_.size() - 1);
}

RuleId Grammar::Literal(std::vector<Symbol> symbols) {
  Rule rule;
  rule.kind = Rule::Kind::kLiteral;
  rule.symbols = std::move(symbols);
  return Add(std::move(rule));
}

RuleId Grammar::Literal(std::string_view bytes) {
  std::vector<Symbol> symbols;
  for (const char byte : bytes) symbols.push_back(static_cast<uint8_t>(byte));
  return Literal(std::move(symbols));
}

RuleId Grammar::Sequence(std::vector<RuleId> parts) {
  Rule rule;
  rule.kind = Rule::Kind::kSequence;
  rule.parts = std::move(parts);
  return Add(std::move(rule));
}

RuleId Grammar::Choice(std::vector<RuleId> parts) {
  if (parts.size() == 1) return parts[0];
  Rule rule;
  rule.kind = Rule::Kind::kChoice;
  rule.parts = std::move(parts);
  return Add(std::move(rule));
}

RuleId Grammar::Never() { return Add(Rule{}); }

uint32_t Grammar::HeightOf(const Rule& rule) const {
  const auto tallest = [&](const std::vector<RuleId>& parts) {
    uint32_t height = 0;
    for (const RuleId part : parts) height = std::max(height, heights_[part]);
    return height;
  };
  switch (rule.kind) {
    case Rule::Kind::kNever: return kEndless;
    case Rule::Kind::kLiteral:
    case Rule::Kind::kNumber:
    case Rule::Kind::kText: return 1;
    case Rule::Kind::kChars: return rule.min <= rule.max ? 1 : kEndless;
    case Rule::Kind::kInteger: return rule.low <= rule.high ? 1 : kEndless;
    case Rule::Kind::kSequence: return Above(tallest(rule.parts));
    case Rule::Kind::kChoice: {
      uint32_t height = kEndless;
      for (const RuleId part : rule.parts) height = std::min(height, heights_[part]);
      return height;
    }
    case Rule::Kind::kMembers: {
      uint32_t height = heights_[rule.close];
      for (size_t i = 0; i < rule.parts.size(); ++i) {
        if (rule.required[i]) height = std::max(height, heights_[rule.parts[i]]);
      }
      return Above(height);
    }
    case Rule::Kind::kItems: {
      uint32_t height = heights_[rule.close];
      if (rule.min > rule.max) return kEndless;
      if (rule.min > 0) height = std::max(height, heights_[rule.parts[0]]);
      if (rule.min > 1) height = std::max(height, heights_[rule.parts[1]]);
      return Above(height);
    }
  }
  return kEndless;
}

void Grammar::Measure() {
  heights_.assign(rules_.size(), kEndless);
  // Heights only fall, and stopping early leaves them too high, which offers less but nothing
  // wrong. Rules mostly come before those that they refer to, so few rounds are needed.
  bool changed = true;
  for (uint32_t round = 0; changed && round < 2 * kStackDepthMax; ++round) {
    changed = false;
    for (size_t i = rules_.size(); i-- > 0;) {
      const uint32_t height = HeightOf(rules_[i]);
      if (height >= heights_[i]) continue;
      heights_[i] = height;
      changed = true;
    }
  }
}

Status Grammar::Finish(RuleId root) {
  if (rules_.size() > kRulesMax) {
    return ResourceExhaustedError("the constraint has " + std::to_string(rules_.size()) +
                                      " rules; at most " + std::to_string(kRulesMax) +
                                      " are taken: use fewer or simpler schemas",
                                  "SCHEMA_TOO_LARGE");
  }
  Measure();
  root_ = root;
  if (heights_[root] > kStackDepthMax) {
    return FailedPreconditionError("no text can satisfy the constraint", "UNSATISFIABLE");
  }
  return OkStatus();
}

}  // namespace baleen
