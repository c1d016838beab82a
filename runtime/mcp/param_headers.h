// Headers that mirror a call's arguments, as the stateless revision wants them over HTTP.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// As a header may have it: plain, or its base64 between "=?base64?" and "?=".
std::string McpHeaderValue(std::string_view text);

/// "Mcp-Param-NAME: VALUE" of each argument whose schema says `x-mcp-header`. A schema that says it
/// wrongly gives none.
std::vector<std::string> McpParamHeaders(std::string_view parameters, std::string_view arguments);

/// Errors: INVALID_ARGUMENT: an `x-mcp-header` that is no header's name, comes twice, or is of a
/// value that is no text, whole number or truth value.
Status CheckParamHeaders(std::string_view parameters);

}  // namespace baleen
