#include "model/constraint/schema_grammar.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "model/constraint/schema_alternatives.h"
#include "model/text/json_value.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/schema_check.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = SchemaJson;

constexpr std::string_view kSentinel = "｜DSML｜";
constexpr std::string_view kThinkTags[] = {"<think>", "</think>", "<｜begin▁of▁sentence｜>",
                                           "<｜end▁of▁sentence｜>"};
constexpr int kNestingMax = 64;                           // Of schemas being compiled.
constexpr int64_t kIntegerMax = 999'999'999'999'999'999;  // 18 digits: any reader holds them.
constexpr size_t kFreeNameMax = 64;                       // Characters of an undeclared name.
constexpr const char* kTypes[] = {"object", "array",   "string", "integer",
                                  "number", "boolean", "null"};

enum class Place { kParameter, kAnswer };

std::optional<double> NumberAt(const Json& schema, const char* keyword) {
  const auto found = schema.find(keyword);
  if (found == schema.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

uint32_t CountAt(const Json& schema, const char* keyword, uint32_t otherwise) {
  const auto number = NumberAt(schema, keyword);
  if (!number.has_value() || !(*number >= 0)) return otherwise;
  return *number >= UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(*number);
}

/// A bound of integers, rounded by `round` if it is none: exact, cut to one beyond 18 digits.
std::optional<int64_t> IntegerAt(const Json& schema, const char* keyword, double (*round)(double)) {
  constexpr int64_t kBeyond = kIntegerMax + 1;
  const auto found = schema.find(keyword);
  if (found == schema.end() || !found->is_number()) return std::nullopt;
  if (found->is_number_unsigned()) {
    return static_cast<int64_t>(std::min<uint64_t>(found->get<uint64_t>(), kBeyond));
  }
  if (found->is_number_integer()) return std::clamp(found->get<int64_t>(), -kBeyond, kBeyond);
  const double whole = round(found->get<double>());
  if (whole >= static_cast<double>(kBeyond)) return kBeyond;
  if (whole <= -static_cast<double>(kBeyond)) return -kBeyond;
  return static_cast<int64_t>(whole);
}

/// [low, high] of the integers that the bounds allow.
std::pair<int64_t, int64_t> IntegerBounds(const Json& schema) {
  const auto up = [](double x) { return std::ceil(x); };
  const auto down = [](double x) { return std::floor(x); };
  int64_t low = -kIntegerMax;
  int64_t high = kIntegerMax;
  if (const auto bound = IntegerAt(schema, "minimum", up)) low = std::max(low, *bound);
  if (const auto bound = IntegerAt(schema, "maximum", down)) high = std::min(high, *bound);
  if (const auto bound = IntegerAt(schema, "exclusiveMinimum", down)) {
    low = std::max(low, *bound + 1);
  }
  if (const auto bound = IntegerAt(schema, "exclusiveMaximum", up)) {
    high = std::min(high, *bound - 1);
  }
  return {low, high};
}

std::string PythonJson(const Json& value) {
  const auto parsed = ParseJson(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  return parsed.ok() ? DumpJson(*parsed) : value.dump();
}

/// The values of enum and const that satisfy all of `schema`; nullopt: it has neither.
std::optional<std::vector<Json>> Listed(const Json& schema, const Json& root) {
  if (!schema.contains("enum") && !schema.contains("const")) return std::nullopt;
  std::vector<Json> values;
  if (!schema.contains("const")) {
    values.assign(schema["enum"].begin(), schema["enum"].end());
  } else if (const Json& only = schema["const"];
             !schema.contains("enum") || std::find(schema["enum"].begin(), schema["enum"].end(),
                                                   only) != schema["enum"].end()) {
    values.push_back(only);
  }
  Json others = schema;  // without the lists, which each value would be sought in
  others.erase("enum");
  others.erase("const");
  std::erase_if(values, [&](const Json& value) {
    return !SchemaCheck(root).Check(others, value, "value").ok();
  });
  return values;
}

/// The types that `schema` names, or that its keywords are about, or all.
std::vector<std::string> TypesOf(const Json& schema) {
  std::vector<std::string> types;
  if (const auto found = schema.find("type"); found != schema.end()) {
    for (const Json& type : found->is_array() ? *found : Json::array({*found})) {
      if (type.is_string()) types.push_back(type.get<std::string>());
    }
    return types;
  }
  const auto has = [&](std::initializer_list<const char*> keywords) {
    return std::any_of(keywords.begin(), keywords.end(),
                       [&](const char* keyword) { return schema.contains(keyword); });
  };
  if (has({"properties", "required", "additionalProperties"})) types.push_back("object");
  if (has({"items", "minItems", "maxItems"})) types.push_back("array");
  if (has({"minLength", "maxLength", "pattern"})) types.push_back("string");
  if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) {
    types.push_back("number");
  }
  if (types.empty()) types.assign(std::begin(kTypes), std::end(kTypes));
  return types;
}

class Compiler {
 public:
  Compiler(const Json& root, Place place, Grammar* grammar)
      : root_(root), place_(place), grammar_(*grammar) {}

  /// A value as JSON text. `strings`: whether it may be a string.
  Result<RuleId> Value(const Json& schema, bool strings = true) {
    const std::string key = schema.dump(-1, ' ', false, Json::error_handler_t::replace);
    auto& made = strings ? values_ : values_but_strings_;
    if (const auto found = made.find(key); found != made.end()) return found->second;
    if (nesting_ >= kNestingMax || grammar_.size() > kRulesMax) {
      return ResourceExhaustedError("the schema is too large or nested too deeply; simplify it",
                                    "SCHEMA_TOO_LARGE");
    }
    const RuleId id = grammar_.Reserve();
    made[key] = id;
    ++nesting_;
    ASSIGN_OR_RETURN(const std::vector<Json> alternatives, Alternatives(schema, root_));
    Rule choice;
    choice.kind = Rule::Kind::kChoice;
    for (const Json& alternative : alternatives) {
      RETURN_IF_ERROR(AddAlternative(alternative, strings, &choice.parts));
    }
    --nesting_;
    grammar_.at(id) = std::move(choice);
    return id;
  }

  Result<RuleId> Parameters() {
    ASSIGN_OR_RETURN(const std::vector<Json> alternatives, Alternatives(root_, root_));
    std::vector<RuleId> choice;
    for (const Json& alternative : alternatives) {
      const std::vector<std::string> types = TypesOf(alternative);
      if (std::find(types.begin(), types.end(), "object") == types.end()) continue;
      ASSIGN_OR_RETURN(const RuleId rule, ParameterBlock(alternative));
      choice.push_back(rule);
    }
    return grammar_.Choice(std::move(choice));
  }

 private:
  struct Member {
    std::string name;
    Json schema;
    bool required = false;
  };

  /// What a member must be that `properties` doesn't name. patternProperties, which the rules don't
  /// know, may allow more than additionalProperties does: the whole text is checked for both.
  static Json UndeclaredOf(const Json& schema) {
    const auto additional = schema.find("additionalProperties");
    const bool any = additional == schema.end() || schema.contains("patternProperties");
    return any ? Json(true) : *additional;
  }

  /// Declared members in order, then required ones that nothing declares.
  static std::vector<Member> MembersOf(const Json& schema) {
    std::vector<Member> members;
    if (const auto found = schema.find("properties"); found != schema.end() && found->is_object()) {
      for (const auto& [name, member] : found->items()) members.push_back({name, member, false});
    }
    const auto required = schema.find("required");
    if (required == schema.end() || !required->is_array()) return members;
    const Json undeclared = UndeclaredOf(schema);
    for (const Json& entry : *required) {
      if (!entry.is_string()) continue;
      const auto name = entry.get<std::string>();
      const auto known = std::find_if(members.begin(), members.end(),
                                      [&](const Member& member) { return member.name == name; });
      if (known != members.end()) {
        known->required = true;
      } else {
        members.push_back({name, undeclared, true});
      }
    }
    return members;
  }

  Status AddAlternative(const Json& schema, bool strings, std::vector<RuleId>* out) {
    if (const auto listed = Listed(schema, root_)) {
      for (const Json& value : *listed) {
        if (value.is_string() && !strings) continue;
        const std::string text = PythonJson(value);
        if (Writable(text)) out->push_back(grammar_.Literal(text));
      }
      return OkStatus();
    }
    for (const std::string& type : TypesOf(schema)) {
      if (type == "string" && !strings) continue;
      ASSIGN_OR_RETURN(const RuleId rule, Typed(schema, type));
      out->push_back(rule);
    }
    return OkStatus();
  }

  Result<RuleId> Typed(const Json& schema, const std::string& type) {
    if (type == "null") return grammar_.Literal("null");
    if (type == "boolean") {
      return grammar_.Choice({grammar_.Literal("true"), grammar_.Literal("false")});
    }
    if (type == "string") {
      return grammar_.Sequence(
          {grammar_.Literal("\""), Chars(schema, Rule::Charset::kJson), grammar_.Literal("\"")});
    }
    if (type == "integer") {
      Rule rule;
      rule.kind = Rule::Kind::kInteger;
      std::tie(rule.low, rule.high) = IntegerBounds(schema);
      return grammar_.Add(std::move(rule));
    }
    if (type == "number") {
      Rule rule;
      rule.kind = Rule::Kind::kNumber;
      return grammar_.Add(std::move(rule));
    }
    if (type == "array") return Array(schema);
    if (type == "object") return Object(schema);
    return grammar_.Never();
  }

  RuleId Chars(const Json& schema, Rule::Charset charset) {
    Rule rule;
    rule.kind = Rule::Kind::kChars;
    rule.charset = charset;
    rule.unmarked = place_ == Place::kAnswer;
    rule.min = CountAt(schema, "minLength", 0);
    rule.max = CountAt(schema, "maxLength", UINT32_MAX);
    return grammar_.Add(std::move(rule));
  }

  RuleId Spaced(std::string_view mark) {
    return grammar_.Sequence(
        {grammar_.Literal(mark), grammar_.Choice({grammar_.Literal(" "), grammar_.Literal("")})});
  }

  Result<RuleId> Array(const Json& schema) {
    Rule rule;
    rule.kind = Rule::Kind::kItems;
    rule.min = CountAt(schema, "minItems", 0);
    rule.max = CountAt(schema, "maxItems", UINT32_MAX);
    RuleId item = kNoRule;
    // `items` is about those behind prefixItems only, which the rules don't tell from the others.
    if (const auto items = schema.find("items");
        items != schema.end() && !schema.contains("prefixItems")) {
      ASSIGN_OR_RETURN(item, Value(*items));
    } else {
      item = Free(0);
    }
    rule.parts = {item, grammar_.Sequence({Spaced(","), item})};
    rule.close = grammar_.Literal("]");
    return grammar_.Sequence({grammar_.Literal("["), grammar_.Add(std::move(rule))});
  }

  Result<RuleId> Object(const Json& schema) {
    Rule rule;
    rule.kind = Rule::Kind::kMembers;
    std::vector<std::string> names;
    for (const Member& member : MembersOf(schema)) {
      const std::string name = QuoteJson(member.name);
      names.push_back(name.substr(1, name.size() - 2));
      RuleId value = grammar_.Never();
      if (Writable(name)) {
        ASSIGN_OR_RETURN(value, Value(member.schema));
      }
      rule.parts.push_back(grammar_.Sequence({grammar_.Literal(name), Spaced(":"), value}));
      rule.required.push_back(member.required);
    }
    const auto additional = schema.find("additionalProperties");
    const bool open = additional != schema.end() ? *additional != Json(false) : names.empty();
    if (open) {
      RuleId value = Free(0);
      if (additional != schema.end() && additional->is_object()) {
        ASSIGN_OR_RETURN(value, Value(*additional));
      }
      rule.additional = FreeMember(std::move(names), value);
    }
    rule.separator = Spaced(",");
    rule.close = grammar_.Literal("}");
    return grammar_.Sequence({grammar_.Literal("{"), grammar_.Add(std::move(rule))});
  }

  /// A member with any name but those in `declared` (as JSON writes them, without quotes).
  RuleId FreeMember(std::vector<std::string> declared, RuleId value) {
    Rule name;
    name.kind = Rule::Kind::kChars;
    name.charset = Rule::Charset::kKey;
    name.unmarked = place_ == Place::kAnswer;
    name.min = 1;
    // Longer than any excluded name, so that each of them can go on to become another one.
    size_t longest = 0;
    for (const std::string& text : declared) longest = std::max(longest, text.size());
    name.max = static_cast<uint32_t>(longest + kFreeNameMax);
    std::sort(declared.begin(), declared.end());
    if (declared.size() > UINT16_MAX || longest > UINT16_MAX) return grammar_.Never();
    name.excluded = std::move(declared);
    return grammar_.Sequence({grammar_.Literal("\""), grammar_.Add(std::move(name)),
                              grammar_.Literal("\""), Spaced(":"), value});
  }

  /// Any JSON value, nested up to kFreeDepthMax - depth deep.
  RuleId Free(int depth) {
    const auto at = static_cast<size_t>(depth);
    if (free_[at] != kNoRule) return free_[at];
    const Json any = Json::object();
    std::vector<RuleId> parts = {
        grammar_.Sequence(
            {grammar_.Literal("\""), Chars(any, Rule::Charset::kJson), grammar_.Literal("\"")}),
        grammar_.Literal("null"), grammar_.Literal("true"), grammar_.Literal("false")};
    Rule number;
    number.kind = Rule::Kind::kNumber;
    parts.push_back(grammar_.Add(std::move(number)));
    if (depth < kFreeDepthMax) {
      const RuleId inner = Free(depth + 1);
      Rule array;
      array.kind = Rule::Kind::kItems;
      array.parts = {inner, grammar_.Sequence({Spaced(","), inner})};
      array.close = grammar_.Literal("]");
      parts.push_back(grammar_.Sequence({grammar_.Literal("["), grammar_.Add(std::move(array))}));
      Rule object;
      object.kind = Rule::Kind::kMembers;
      object.additional = FreeMember({}, inner);
      object.separator = Spaced(",");
      object.close = grammar_.Literal("}");
      parts.push_back(grammar_.Sequence({grammar_.Literal("{"), grammar_.Add(std::move(object))}));
    }
    free_[at] = grammar_.Choice(std::move(parts));
    return free_[at];
  }

  Result<RuleId> ParameterBlock(const Json& schema) {
    Rule rule;
    rule.kind = Rule::Kind::kMembers;
    for (const Member& member : MembersOf(schema)) {
      const bool carried = CarriesName(member.name);
      if (!carried && member.required) {
        return InvalidArgumentError("the required parameter '" +
                                        std::string(Utf8Prefix(member.name, 64)) +
                                        "' has a name that a call can't carry: no quotes, '<', "
                                        "control characters or markup",
                                    "BAD_SCHEMA");
      }
      RuleId value = grammar_.Never();
      if (carried) {
        ASSIGN_OR_RETURN(value, ParameterValue(member.schema));
      }
      rule.parts.push_back(
          grammar_.Sequence({grammar_.Literal(MarkupSymbols("<｜DSML｜parameter name=\"" +
                                                            member.name + "\" string=\"")),
                             value, grammar_.Literal(MarkupSymbols("</｜DSML｜parameter>\n"))}));
      rule.required.push_back(member.required);
    }
    rule.close = grammar_.Literal(MarkupSymbols("</｜DSML｜invoke>\n"));
    // So the reference renders a call without parameters; models write one newline as well.
    rule.close_empty =
        grammar_.Choice({rule.close, grammar_.Literal(MarkupSymbols("\n</｜DSML｜invoke>\n"))});
    return grammar_.Add(std::move(rule));
  }

  /// From the attribute `string` to the end of the value.
  Result<RuleId> ParameterValue(const Json& schema) {
    ASSIGN_OR_RETURN(const std::vector<Json> alternatives, Alternatives(schema, root_));
    std::vector<RuleId> raw;
    for (const Json& alternative : alternatives) {
      if (const auto listed = Listed(alternative, root_)) {
        for (const Json& value : *listed) {
          if (!value.is_string()) continue;
          const auto& text = value.get_ref<const std::string&>();
          if (Writable(text)) raw.push_back(grammar_.Literal(text));
        }
        continue;
      }
      const std::vector<std::string> types = TypesOf(alternative);
      if (std::find(types.begin(), types.end(), "string") != types.end()) {
        raw.push_back(Chars(alternative, Rule::Charset::kRaw));
      }
    }
    ASSIGN_OR_RETURN(const RuleId json, Value(schema, /*strings=*/false));
    return grammar_.Choice(
        {grammar_.Sequence({grammar_.Literal("true\">"), grammar_.Choice(std::move(raw))}),
         grammar_.Sequence({grammar_.Literal("false\">"), json})});
  }

  bool Writable(std::string_view text) const {
    if (Utf8ValidPrefix(text) != text.size() || text.find(kSentinel) != std::string_view::npos) {
      return false;
    }
    return place_ == Place::kParameter ||
           std::none_of(std::begin(kThinkTags), std::end(kThinkTags), [&](std::string_view tag) {
             return text.find(tag) != std::string_view::npos;
           });
  }

  bool CarriesName(std::string_view name) const {
    return !name.empty() && Writable(name) && std::none_of(name.begin(), name.end(), [](char c) {
      return c == '"' || c == '<' || static_cast<uint8_t>(c) < 0x20;
    });
  }

  const Json& root_;
  const Place place_;
  Grammar& grammar_;
  int nesting_ = 0;
  // By the schema's text, so that recursive schemas become recursive rules.
  std::map<std::string, RuleId> values_;
  std::map<std::string, RuleId> values_but_strings_;
  std::vector<RuleId> free_ = std::vector<RuleId>(kFreeDepthMax + 1, kNoRule);
};

Result<Json> ParseSchema(std::string_view text) {
  if (Utf8ValidPrefix(text) != text.size()) {
    return InvalidArgumentError("the schema is not valid UTF-8", "BAD_SCHEMA");
  }
  // Keywords are well-formed from here on.
  RETURN_IF_ERROR(Schema::ParseValue(text, "value").status());
  return Json::parse(text.begin(), text.end(), nullptr, false);
}

}  // namespace

Result<RuleId> CompileAnswer(std::string_view schema_json, Grammar* grammar) {
  ASSIGN_OR_RETURN(const Json root, ParseSchema(schema_json));
  return Compiler(root, Place::kAnswer, grammar).Value(root);
}

Result<RuleId> CompileParameters(std::string_view schema_json, Grammar* grammar) {
  ASSIGN_OR_RETURN(const Json root, ParseSchema(schema_json));
  return Compiler(root, Place::kParameter, grammar).Parameters();
}

std::vector<Symbol> MarkupSymbols(std::string_view text) {
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with(kSentinel)) {
      symbols.push_back(kDsmlSymbol);
      at += kSentinel.size();
    } else {
      symbols.push_back(static_cast<uint8_t>(text[at++]));
    }
  }
  return symbols;
}

}  // namespace baleen
