// ParameterTable: the parameters of a declared tool, as a small table of baleen.toml.
#pragma once

#include <toml++/toml.h>

#include <string>

#include "tools_sdk/status.h"

namespace baleen::cli {

/// JSON Schema text of `table`: for each parameter what it is about, or { type = "string" |
/// "integer" | "number" | "boolean", about = "...", one_of = ["..."], optional = true }.
/// Errors: INVALID_ARGUMENT naming the parameter.
Result<std::string> SchemaOfParameters(const toml::table& table);

}  // namespace baleen::cli
