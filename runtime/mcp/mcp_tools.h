// McpTools: the tools of all MCP servers of a runtime, under the names that sessions know.
//
// SERVER_TOOL, with '_' for what a name can't have here; by server as they were given, then by
// name. Servers are asked when somebody wants to know or to call. Called by OutsideTools.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/http/redactor.h"
#include "runtime/mcp/mcp_server.h"
#include "runtime/mcp_options.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// What came of asking one server.
struct McpOffer {
  std::string server;  ///< Its name here.
  std::string about;   ///< "NAME VERSION, protocol 2025-11-25", its own word.
  bool optional = false;
  Status status;
  std::vector<ToolSpec> tools;
  std::vector<std::string> left_out;  ///< Tools that can't be had, and why: a sentence each.
};

/// Threads: any; calls block.
class McpTools {
 public:
  /// Starts nothing. Borrows: redactor, for what servers say of their tools; null: none.
  /// Errors: INVALID_ARGUMENT/BAD_FIELD.
  static Result<std::unique_ptr<McpTools>> Create(std::vector<McpServerOptions> options,
                                                  const Redactor* redactor = nullptr);

  bool empty() const { return servers_.empty(); }
  /// Whether there is a server that the tool would be of. Asks nobody.
  bool Knows(const std::string& tool) const { return Find(tool) != nullptr; }
  /// Of the server that the tool would be of; null: there is none.
  const McpServerOptions* OptionsOf(const std::string& tool) const {
    const McpServer* server = Find(tool);
    return server == nullptr ? nullptr : &server->options();
  }
  /// Asks all servers at once.
  std::vector<McpOffer> Ask();

  /// Runs a call of the tool that a session knows as `made_with`. However it ends, there is a
  /// result: an answer; ERROR for a tool that is gone or has become another one, a server that
  /// can't be reached or that refuses; UNKNOWN where the server may have begun and gave no answer;
  /// TIMEOUT.
  ToolResult Call(const ToolSpec& made_with, const ToolCall& call, const CallContext& context);

 private:
  McpTools(std::vector<std::unique_ptr<McpServer>> servers, const Redactor* redactor)
      : servers_(std::move(servers)), redactor_(redactor) {}
  McpServer* Find(const std::string& tool) const;

  std::vector<std::unique_ptr<McpServer>> servers_;
  const Redactor* const redactor_;
};

}  // namespace baleen
