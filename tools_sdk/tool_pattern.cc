#include "tools_sdk/tool_pattern.h"

#include <string>

#include "tools_sdk/utf8.h"
#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

constexpr std::string_view kOfServers = "mcp:";

}  // namespace

bool MatchesToolPattern(std::string_view pattern, std::string_view name, bool of_mcp_server) {
  if (!pattern.starts_with(kOfServers)) return MatchesWildcard(pattern, name);
  return of_mcp_server && MatchesWildcard(pattern.substr(kOfServers.size()), name);
}

bool MatchesToolPattern(std::string_view pattern, const ToolSpec& tool) {
  return MatchesToolPattern(pattern, tool.name, tool.of_mcp_server);
}

Status CheckToolPattern(std::string_view pattern) {
  const bool of_servers = pattern.starts_with(kOfServers);
  const std::string_view name = of_servers ? pattern.substr(kOfServers.size()) : pattern;
  const auto bad = [pattern](const std::string& what) {
    return InvalidArgumentError("'" + ReplaceInvalidUtf8(pattern.substr(0, 80)) +
                                "' names no tool: " + what);
  };
  if (name.find(':') != std::string_view::npos) {
    return bad(
        "a ':' stands only in front of the tools of MCP servers, as mcp:*, mcp:SERVER_* or "
        "mcp:SERVER_TOOL");
  }
  // A server's name has no '.', and a '_' is behind it.
  const size_t dot = name.find('.');
  if (of_servers && dot != std::string_view::npos && name.find_first_of("_*") > dot) {
    return bad("the tools of MCP servers are called SERVER_TOOL here, so mcp:SERVER_TOOL");
  }
  return name.empty() ? bad("expected a name, or '*'") : OkStatus();
}

}  // namespace baleen
