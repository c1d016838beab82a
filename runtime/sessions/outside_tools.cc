#include "runtime/sessions/outside_tools.h"

#include <algorithm>
#include <set>
#include <utility>

#include "runtime/sandbox/bash_tools.h"
#include "runtime/sessions/builtin_tool_names.h"
#include "runtime/sessions/known_secrets.h"
#include "tools_sdk/call_result.h"
#include "tools_sdk/tool_drift.h"

namespace baleen {
namespace {

const char* PlaceInWords(PluginPlace place) {
  switch (place) {
    case PluginPlace::kSandbox: break;
    case PluginPlace::kProcess: return ", unsandboxed";
    case PluginPlace::kThisProcess: return ", in process";
  }
  return "";
}

}  // namespace

Result<std::unique_ptr<OutsideTools>> OutsideTools::Open(const RuntimeOptions& options,
                                                         Redactor* redactor,
                                                         std::shared_ptr<LazySandbox> sandbox) {
  std::unique_ptr<OutsideTools> tools(new OutsideTools(redactor));
  tools->taken_names_ = BuiltinToolNames();
  PluginOptions plugins;
  plugins.paths = options.plugins;
  plugins.unsandboxed_paths = options.plugins_unsandboxed;
  plugins.in_process_paths = options.plugins_in_process;
  plugins.sandbox = std::move(sandbox);
  plugins.tool_host = options.tool_host_path;
  plugins.taken_names = tools->taken_names_;
  ASSIGN_OR_RETURN(tools->plugins_, PluginSet::Load(plugins));
  ASSIGN_OR_RETURN(tools->http_, HttpTools::Create(options.http_tools, options.secrets));
  ASSIGN_OR_RETURN(tools->servers_, McpTools::Create(options.mcp_servers, redactor));
  return tools;
}

Result<OutsideToolList> OutsideTools::Ask() {
  OutsideToolList list;
  for (const LoadedPlugin& plugin : plugins_->plugins()) {
    const std::string origin = plugin.manifest.name + " " + plugin.manifest.version + ", " +
                               plugin.path + PlaceInWords(plugin.place);
    for (const ToolSpec& spec : plugin.manifest.tools) list.tools.push_back({spec, origin});
  }
  for (const HttpTool& tool : http_->tools()) {
    list.tools.push_back(
        {tool.spec, "HTTP, " + tool.options.method + " " + tool.request.sample().HostAndPort()});
  }
  std::vector<McpOffer> offers;
  if (!servers_->empty()) offers = servers_->Ask();
  for (McpOffer& offer : offers) {
    redactor_->Refresh();
    const Status status = Redacted(offer.status);
    if (!status.ok() && !offer.optional) return status;
    if (!status.ok()) list.notes.push_back(status.message());
    for (const std::string& left_out : offer.left_out) {
      list.notes.push_back("MCP server '" + offer.server +
                           "': left out: " + redactor_->Redact(left_out));
    }
    const std::string origin = "MCP server " + offer.server + ": " + redactor_->Redact(offer.about);
    for (ToolSpec& spec : offer.tools) list.tools.push_back({std::move(spec), origin});
  }
  std::set<std::string> names(taken_names_.begin(), taken_names_.end());
  for (const OutsideTool& tool : list.tools) {
    if (names.insert(tool.spec.name).second) continue;
    return AlreadyExistsError("there are two tools '" + tool.spec.name + "', one of them of " +
                              tool.origin);
  }
  if (list.tools.size() > kOutsideToolsMax) {
    return ResourceExhaustedError(std::to_string(list.tools.size()) +
                                  " tools of plugins and servers: expected at most " +
                                  std::to_string(kOutsideToolsMax) +
                                  "; name those that are wanted: [mcp.NAME] tools = [...]");
  }
  return list;
}

bool OutsideTools::IsUnsandboxed(const std::string& tool) const {
  const auto has_it = [&](const LoadedPlugin& plugin) {
    return plugin.place != PluginPlace::kSandbox &&
           std::any_of(plugin.manifest.tools.begin(), plugin.manifest.tools.end(),
                       [&](const ToolSpec& spec) { return spec.name == tool; });
  };
  return std::any_of(plugins_->plugins().begin(), plugins_->plugins().end(), has_it);
}

Status OutsideTools::Redacted(const Status& status) const {
  return {status.code(), redactor_->Redact(status.message()), status.reason()};
}

NetworkReach OutsideTools::ReachOf(const std::string& name) const {
  if (const HttpTool* tool = http_->Find(name)) {
    return {tool->request.sample().HostAndPort(), tool->options.secret};
  }
  const McpServerOptions* server = servers_->OptionsOf(name);
  if (server == nullptr) return {};
  NetworkReach reach;
  const auto url = ParseUrl(server->url);
  reach.host = url.ok() ? url->HostAndPort() : "MCP server " + server->name;
  const bool has_key =
      !KeyPlace{server->key, server->key_variable, server->key_file}.empty() ||
      std::any_of(server->environment.begin(), server->environment.end(), IsSecretVariable);
  if (has_key) reach.secret = "mcp." + server->name;
  return reach;
}

bool OutsideTools::MayRun(const ToolSpec& made_with) const {
  for (const auto& tool : plugins_->tools()) {
    if (tool->spec().name == made_with.name) return ToolDrift(made_with, tool->spec()).empty();
  }
  if (const HttpTool* tool = http_->Find(made_with.name)) {
    return ToolDrift(made_with, tool->spec).empty();
  }
  return servers_->Knows(made_with.name);
}

const char* OutsideTools::OriginOf(const std::string& tool) const {
  for (const auto& own : plugins_->tools()) {
    if (own->spec().name == tool) return "plugin";
  }
  if (IsHttp(tool)) return "http";
  return servers_->Knows(tool) ? "mcp" : "plugin";
}

ToolResult OutsideTools::Call(const ToolSpec& made_with, const ProcessBounds& bounds,
                              const ToolCall& call, CallContext& context) {
  for (const auto& tool : plugins_->tools()) {
    if (tool->spec().name != call.name) continue;
    const std::string drift = ToolDrift(made_with, tool->spec());
    if (drift.empty()) return tool->CallIn(bounds, call, context);
    return NotRun("the plugin has made another tool of it since this session began: " + drift +
                  ". A new session has it as it is now");
  }
  if (const HttpTool* tool = http_->Find(call.name)) {
    const std::string drift = ToolDrift(made_with, tool->spec);
    if (drift.empty()) return http_->Call(call, context);
    return NotRun("another tool of that name is declared since this session began: " + drift +
                  ". A new session has it as it is now");
  }
  if (servers_->Knows(call.name)) return servers_->Call(made_with, call, context);
  return NotRun("the plugin, server or declaration that '" + call.name +
                "' was of when this session was made isn't loaded");
}

}  // namespace baleen
