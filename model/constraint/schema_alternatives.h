// A JSON Schema as alternatives without references: $ref followed, allOf merged, anyOf and oneOf
// spread out.
//
// Only the outermost level: schemas of members and items stay as they are. Internal to
// schema_grammar.cc.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

using SchemaJson = nlohmann::ordered_json;

/// Each alternative is an object without $ref, allOf, anyOf, oneOf; a value satisfies the schema
/// (as far as the rules know its keywords) if it satisfies one. Empty: nothing does.
/// Errors: INVALID_ARGUMENT ($ref that leads nowhere), RESOURCE_EXHAUSTED/SCHEMA_TOO_LARGE.
Result<std::vector<SchemaJson>> Alternatives(const SchemaJson& schema, const SchemaJson& root);

}  // namespace baleen
