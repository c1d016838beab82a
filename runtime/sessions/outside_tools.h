// OutsideTools: the tools whose bodies are not the runtime's own: plugins', MCP servers', declared
// HTTP tools.
//
// One place for what they have in common: new sessions have them all, a session keeps those that it
// was made with, and a tool that has become another one since is not run. Called by the runtime and
// by `baleen tools`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/http/redactor.h"
#include "runtime/http_tools/http_tools.h"
#include "runtime/mcp/mcp_tools.h"
#include "runtime/plugins/plugin_set.h"
#include "runtime/runtime.h"
#include "runtime/sessions/network_reach.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// A tool, and whose it is in words.
struct OutsideTool {
  ToolSpec spec;
  std::string origin;
};

struct OutsideToolList {
  std::vector<OutsideTool> tools;
  /// What of the servers can't be had, and why: a sentence each.
  std::vector<std::string> notes;
};

/// Threads: any; Ask and Call block.
class OutsideTools {
 public:
  /// Loads the plugins. Servers are begun when they are asked.
  /// Borrows: redactor, for what they say of themselves and of their tools. Owners of the sandbox:
  /// the runtime, and these. Errors: as PluginSet::Load; INVALID_ARGUMENT/BAD_FIELD (the options
  /// of a server, an HTTP tool or a secret).
  static Result<std::unique_ptr<OutsideTools>> Open(const RuntimeOptions& options,
                                                    Redactor* redactor,
                                                    std::shared_ptr<LazySandbox> sandbox);

  bool empty() const {
    return plugins_->tools().empty() && servers_->empty() && http_->tools().empty();
  }
  bool IsHttp(const std::string& tool) const { return http_->Find(tool) != nullptr; }
  /// Of a plugin that runs without a sandbox, in a process of its own or in this one.
  bool IsUnsandboxed(const std::string& tool) const;

  /// What a new session gets, in a fixed order: plugins as they were given, HTTP tools, servers.
  /// Errors: those of a server that isn't optional; RESOURCE_EXHAUSTED (more than
  /// kOutsideToolsMax); ALREADY_EXISTS (two tools have one name).
  Result<OutsideToolList> Ask();
  static constexpr size_t kOutsideToolsMax = 1000;

  /// What its calls reach, as far as it is known; of plugins nothing. Never blocks.
  NetworkReach ReachOf(const std::string& tool) const;

  /// Whether a call of the tool that a session knows as `made_with` has somebody to run it: its
  /// plugin as it was, or its server, whatever that says when it is asked. Never blocks.
  bool MayRun(const ToolSpec& made_with) const;

  /// "plugin", "http", or "mcp" for a name that a known server's tools have.
  const char* OriginOf(const std::string& tool) const;

  /// Runs a call of the tool that a session knows as `made_with`. However it ends, there is a
  /// result. `bounds`: of the session's processes.
  ToolResult Call(const ToolSpec& made_with, const ProcessBounds& bounds, const ToolCall& call,
                  CallContext& context);

 private:
  explicit OutsideTools(Redactor* redactor) : redactor_(redactor) {}

  Status Redacted(const Status& status) const;

  Redactor* const redactor_;
  std::vector<std::string> taken_names_;  ///< Of built-in tools.
  std::unique_ptr<PluginSet> plugins_;
  std::unique_ptr<HttpTools> http_;
  std::unique_ptr<McpTools> servers_;
};

}  // namespace baleen
