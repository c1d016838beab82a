#include "runtime/plugins/plugin_set.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "runtime/plugins/tool_process.h"
#include "runtime/sandbox/tool_host_path.h"
#include "tools_sdk/tool_set.h"

namespace baleen {
namespace {

constexpr int64_t kDescribeMs = 20'000;

Status Unfit(const std::string& path, const std::string& what) {
  return FailedPreconditionError("plugin '" + path + "': " + what, "PLUGIN_UNFIT");
}

/// As the loader of another process, in another folder, finds it.
Result<std::string> RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (real == nullptr) return NotFoundError("'" + path + "': there is no such file");
  return std::string(real.get());
}

Result<std::string> PluginPath(const std::string& path) {
  Result<std::string> real = RealPath(path);
  if (!real.ok()) return real.status().WithContext("plugin");
  return real;
}

Result<PluginManifest> Describe(const ToolHostCommand& command) {
  ToolHostLimits limits;
  limits.time_ms = kDescribeMs;
  ASSIGN_OR_RETURN(ToolHostAnswer answer,
                   AskToolHost(command, EncodeFrame(FrameKind::kDescribe, ""), limits));
  if (answer.manifest.has_value()) return *std::move(answer.manifest);
  if (!answer.refusal.empty()) return FailedPreconditionError(answer.refusal, "PLUGIN_UNFIT");
  std::string what = answer.timed_out
                         ? "it was not loaded in " + std::to_string(kDescribeMs) + " ms"
                         : "its process " + answer.end + " while it was loaded";
  if (!answer.words.empty()) what += "; the end of what it printed: " + answer.words;
  return Unfit(command.plugin, what);
}

}  // namespace

Status PluginSet::LoadOutside(const PluginOptions& options, const std::vector<std::string>& paths,
                              PluginPlace place) {
  if (paths.empty()) return OkStatus();
  ToolHostCommand command;
  command.program = options.tool_host;
  if (command.program.empty()) {
    ASSIGN_OR_RETURN(command.program, FindToolHost());
  }
  const Result<std::string> program = RealPath(command.program);
  if (!program.ok()) {
    return UnavailableError("'" + command.program + "', which runs plugins, isn't there");
  }
  command.program = *program;
  if (place == PluginPlace::kSandbox) {
    command.sandbox = options.sandbox;
    if (const Sandbox& sandbox = command.sandbox->Get(); sandbox.kind() == SandboxKind::kNone) {
      return FailedPreconditionError(
          "plugin '" + paths[0] + "' can't run: there is no sandbox on this machine (" +
          sandbox.reason() +
          "). Install bubblewrap (apt-get install bubblewrap) and allow user namespaces; or, if "
          "you "
          "trust it with all that you can reach, name it with --plugin-unsandboxed "
          "(plugin_unsandboxed in [plugins] of baleen.toml)");
    }
  }
  for (const std::string& path : paths) {
    LoadedPlugin plugin;
    plugin.place = place;
    ASSIGN_OR_RETURN(plugin.path, PluginPath(path));
    command.plugin = plugin.path;
    ASSIGN_OR_RETURN(plugin.manifest, Describe(command));
    for (const ToolSpec& spec : plugin.manifest.tools) {
      tools_.push_back(NewProcessTool(command, spec));
    }
    plugins_.push_back(std::move(plugin));
  }
  return OkStatus();
}

Status PluginSet::LoadInside(const std::string& path) {
  LoadedPlugin plugin;
  plugin.place = PluginPlace::kThisProcess;
  ASSIGN_OR_RETURN(plugin.path, PluginPath(path));
  ASSIGN_OR_RETURN(auto library, PluginLibrary::Load(plugin.path));
  plugin.manifest = library->manifest();
  const auto turnstile = NewPluginTurnstile();
  for (size_t i = 0; i < plugin.manifest.tools.size(); ++i) {
    tools_.push_back(NewInProcessTool(library.get(), i, turnstile));
  }
  libraries_.push_back(std::move(library));
  plugins_.push_back(std::move(plugin));
  return OkStatus();
}

Result<std::unique_ptr<PluginSet>> PluginSet::Load(const PluginOptions& options) {
  std::unique_ptr<PluginSet> set(new PluginSet());
  RETURN_IF_ERROR(set->LoadOutside(options, options.paths, PluginPlace::kSandbox));
  RETURN_IF_ERROR(set->LoadOutside(options, options.unsandboxed_paths, PluginPlace::kProcess));
  for (const std::string& path : options.in_process_paths) RETURN_IF_ERROR(set->LoadInside(path));
  ToolSet names;
  for (const LoadedPlugin& plugin : set->plugins_) {
    for (const ToolSpec& spec : plugin.manifest.tools) {
      const auto& taken = options.taken_names;
      if (std::find(taken.begin(), taken.end(), spec.name) != taken.end()) {
        return AlreadyExistsError("plugin '" + plugin.path + "': a built-in tool has the name '" +
                                  spec.name + "'");
      }
      const Status added = names.Add(spec);
      if (added.code() == StatusCode::kInvalidArgument) return Unfit(plugin.path, added.message());
      RETURN_IF_ERROR(added.WithContext("plugin '" + plugin.path + "'"));
    }
  }
  return set;
}

}  // namespace baleen
