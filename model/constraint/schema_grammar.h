// From a JSON Schema to rules: what a value may look like while it is written.
//
// In the rules: type, enum, const, properties, required, additionalProperties, items, minItems,
// maxItems, minLength, maxLength, the bounds of integers, anyOf, allOf, oneOf (as anyOf) and local
// $ref. The rest is checked when the text is whole (tools_sdk/schema.h, which also names it at
// registration). The rules are narrower than the schema in a few stated ways: no white space but
// one space after ',' and ':'; members that an object doesn't declare only where
// additionalProperties asks for them or nothing is declared; integers of at most 18 digits; free
// values nest at most kFreeDepthMax deep.
#pragma once

#include <cstdint>
#include <string_view>

#include "model/constraint/grammar.h"
#include "tools_sdk/status.h"

namespace baleen {

inline constexpr int kFreeDepthMax = 6;

/// The rule of an answer that is one JSON value. Errors: INVALID_ARGUMENT (not JSON, a $ref that
/// leads nowhere); RESOURCE_EXHAUSTED/SCHEMA_TOO_LARGE. A schema that nothing satisfies gives a
/// rule that Grammar::Finish refuses.
Result<RuleId> CompileAnswer(std::string_view schema_json, Grammar* grammar);

/// The rule of one call's parameters in the chat encoding's markup, from behind the head of the
/// call to the newline behind its end. Strings are written raw, other types as JSON; the attribute
/// `string` says which. Only declared (or required) parameters, each at most once. Errors: as
/// CompileAnswer; INVALID_ARGUMENT for a required parameter whose name the markup can't carry.
Result<RuleId> CompileParameters(std::string_view schema_json, Grammar* grammar);

/// Symbols of `text` where the markup sentinel stands for its control token.
std::vector<Symbol> MarkupSymbols(std::string_view text);

}  // namespace baleen
