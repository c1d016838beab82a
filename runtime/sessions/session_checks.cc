// What settings of a session must be, and what follows from them: its tools, and the hosts that its
// processes may reach.
#include <algorithm>
#include <utility>

#include "runtime/http_tools/web_fetch.h"
#include "runtime/observer.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/network_proxy.h"
#include "runtime/sessions/compaction.h"
#include "runtime/sessions/constraint.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/policy.h"
#include "runtime/sessions/policy_notes.h"
#include "runtime/workspace/workspace.h"
#include "tools_sdk/builtin/builtin.h"
#include "tools_sdk/builtin/find_tools.h"
#include "tools_sdk/special_files.h"
#include "tools_sdk/utf8.h"

namespace baleen {

Result<std::shared_ptr<const NetworkBounds>> ControlLoop::MakeNetworkBounds(
    const std::string& session, const std::vector<std::string>& hosts) const {
  auto bounds = std::make_shared<NetworkBounds>();  // owners: the session, and calls
  ASSIGN_OR_RETURN(bounds->rules, HostRules::Parse(hosts));
  bounds->resolver = parts_.resolver;
  bounds->starter = parts_.options.tool_host_path;
  for (const std::string& host : hosts) {
    if (host.starts_with("127.") || host.starts_with("[::1]") || host == "::1") {
      bounds->loopback_outside = true;
    }
  }
  if (parts_.options.observer != nullptr) {
    bounds->on_decision = [observer = parts_.options.observer, session](const HostDecision& one) {
      observer->OnHostDecision(session, one.host, one.port, one.address, one.why);
    };
  }
  return std::shared_ptr<const NetworkBounds>(std::move(bounds));
}

Status ControlLoop::CheckTools(const SessionSettings& settings) const {
  for (const ToolSpec& spec : settings.outside_tools) {
    ToolSet alone;  // one that is deferred has to be good when it is found
    RETURN_IF_ERROR(alone.Add(spec));
  }
  if (!settings.defer_tools.empty() && !NamesTool(settings, kFindTools)) {
    return InvalidArgumentError("defer_tools: nobody could find them: expected find_tools in tools",
                                "BAD_FIELD");
  }
  const auto unfit = [](const std::string& one) { return one.empty() || one.size() > 256; };
  if (settings.defer_tools.size() > 64 ||
      std::any_of(settings.defer_tools.begin(), settings.defer_tools.end(), unfit)) {
    return InvalidArgumentError("defer_tools: expected at most 64 patterns of 1 to 256 bytes",
                                "BAD_FIELD");
  }
  std::string known;
  for (const Tool* tool : parts_.optional_tools) known += tool->spec().name + ", ";
  for (const std::string& name : settings.tools) {
    const auto named = [&](const Tool* tool) { return tool->spec().name == name; };
    if (name != kBashTool && name != kTaskTool &&
        std::none_of(parts_.optional_tools.begin(), parts_.optional_tools.end(), named)) {
      return InvalidArgumentError("tools: '" + name.substr(0, 80) +
                                      "' is no built-in tool to be had beside read, list and grep: "
                                      "expected of " +
                                      known + "task, bash",
                                  "BAD_FIELD");
    }
    if (settings.workspace.empty() && name != kWebFetch && name != kTaskTool &&
        NeedsWorkspace(name)) {
      return InvalidArgumentError("tools: '" + name + "' needs a workspace", "BAD_FIELD");
    }
  }
  return OkStatus();
}

Result<ToolSet> ControlLoop::MakeToolSet(const SessionSettings& settings) const {
  ToolSet tools;
  if (!settings.workspace.empty()) {
    for (const Tool* tool : parts_.builtin_tools) RETURN_IF_ERROR(tools.Add(tool->spec()));
  }
  for (const Tool* tool : parts_.optional_tools) {
    if (NamesTool(settings, tool->spec().name)) RETURN_IF_ERROR(tools.Add(tool->spec()));
  }
  if (NamesTool(settings, kBashTool)) {
    for (const ToolSpec& spec : BashToolSpecs(settings.network_hosts)) {
      RETURN_IF_ERROR(tools.Add(spec));
    }
  }
  for (const ToolSpec& spec : settings.outside_tools) {
    if (IsDeferred(settings, spec)) continue;  // found_tools.cc adds it when it is found
    const Status added = tools.Add(spec);
    if (added.code() != StatusCode::kResourceExhausted) {
      RETURN_IF_ERROR(added);
      continue;
    }
    return ResourceExhaustedError(
        added.message() + "; defer those of plugins and servers (tools: find_tools), or name " +
        "those that are wanted: [mcp.NAME] tools = [...]");
  }
  for (const ToolSpec& spec : settings.host_tools) RETURN_IF_ERROR(tools.Add(spec));
  for (const ToolSpec& spec : settings.script_tools) RETURN_IF_ERROR(tools.Add(spec));
  for (const ToolSpec& spec : settings.outside_tools) {
    if (IsDeferred(settings, spec) && tools.Find(spec.name) != nullptr) {
      return AlreadyExistsError("two tools are called '" + spec.name + "'; give one another name");
    }
  }
  return tools;
}

Status ControlLoop::CheckChangeable(const SessionSettings& settings) const {
  if (settings.tokens_max < 1) {
    return InvalidArgumentError(
        "tokens_max is " + std::to_string(settings.tokens_max) + ": expected at least 1",
        "BAD_FIELD");
  }
  if (Utf8ValidPrefix(settings.title) != settings.title.size()) {
    return InvalidArgumentError("the title is not valid UTF-8", "BAD_FIELD");
  }
  RETURN_IF_ERROR(CheckCompaction(settings));
  RETURN_IF_ERROR(CheckPolicy(settings.policy));
  RETURN_IF_ERROR(CheckBudget(settings.budget));
  RETURN_IF_ERROR(CheckBudget(settings.turn_budget));
  return CheckPrices(settings.prices);
}

Status ControlLoop::CheckSettings(const SessionSettings& settings) const {
  if (settings.thinking != "chat" && settings.thinking != "thinking") {
    return InvalidArgumentError(
        "thinking is '" + settings.thinking + "': expected 'chat' or 'thinking'", "BAD_FIELD");
  }
  RETURN_IF_ERROR(CheckChangeable(settings));
  for (const std::string* text : {&settings.system_prompt, &settings.script}) {
    if (Utf8ValidPrefix(*text) != text->size()) {
      return InvalidArgumentError("system prompt or script is not valid UTF-8", "BAD_FIELD");
    }
  }
  RETURN_IF_ERROR(CheckScript(settings.script.empty() ? DefaultLoopSource() : settings.script,
                              settings.script_name));
  if (!settings.workspace.empty()) {
    if (auto workspace = Workspace::Open(settings.workspace); !workspace.ok()) {
      return workspace.status().WithContext("workspace");
    }
  }
  RETURN_IF_ERROR(CheckEngine(settings));
  RETURN_IF_ERROR(CheckTools(settings));
  if (const auto hosts = HostRules::Parse(settings.network_hosts); !hosts.ok()) {
    return InvalidArgumentError("network_hosts: " + hosts.status().message(), "BAD_FIELD");
  }
  if (const Status secrets = CheckReadableSecrets(settings.readable_secrets); !secrets.ok()) {
    return InvalidArgumentError("readable_secrets: " + secrets.message(), "BAD_FIELD");
  }
  ASSIGN_OR_RETURN(const ToolSet tools, MakeToolSet(settings));
  RETURN_IF_ERROR(CheckConstraint(settings.constraint, settings, tools));
  return CheckContext(settings, tools);
}

namespace {

/// For what a session's script declares.
AgentOptions OptionsOf(const SessionSettings& settings, const ToolSet& tools) {
  AgentOptions options;
  options.script = settings.script;
  if (!settings.script_name.empty()) options.script_name = settings.script_name;
  options.tools = tools.specs();
  options.task = NamesTool(settings, kTaskTool);
  options.seed = settings.sampling.seed;
  return options;
}

}  // namespace

void ControlLoop::NotePolicy(SessionRun& session) const {
  ScriptDeclarations declared;
  if (!session.settings.script.empty()) {
    // A script that fails says so when a turn begins.
    if (auto read = ReadDeclarations(OptionsOf(session.settings, session.tools)); read.ok()) {
      declared = std::move(read).value();
    }
  }
  session.policy_notes = PolicyNotes(session.settings, declared.rules);
}

Status ControlLoop::ReadScriptTools(SessionSettings* settings) const {
  const bool task = NamesTool(*settings, kTaskTool);
  if (settings->script.empty() && !task) return OkStatus();
  ASSIGN_OR_RETURN(const ToolSet others, MakeToolSet(*settings));
  auto declared = ReadDeclarations(OptionsOf(*settings, others));
  if (!declared.ok()) return declared.status().WithContext("script");
  if (declared->tools.empty()) return OkStatus();
  settings->script_tools = std::move(declared->tools);
  ASSIGN_OR_RETURN(const ToolSet all, MakeToolSet(*settings));
  return CheckContext(*settings, all);
}

}  // namespace baleen
