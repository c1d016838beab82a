#include "runtime/plugins/plugin_set.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "runtime/plugins/plugin_tools.h"
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
  if (real == nullptr) return NotFoundError("plugin '" + path + "': there is no such file");
  return std::string(real.get());
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

Result<std::unique_ptr<PluginSet>> PluginSet::Load(const PluginOptions& options) {
  std::unique_ptr<PluginSet> set(new PluginSet());
  std::string tool_host = options.tool_host;
  if (tool_host.empty() && !options.paths.empty()) {
    ASSIGN_OR_RETURN(tool_host, FindToolHost());
  }
  for (const std::string& path : options.paths) {
    LoadedPlugin plugin;
    ASSIGN_OR_RETURN(plugin.path, RealPath(path));
    const ToolHostCommand command = {tool_host, plugin.path};
    ASSIGN_OR_RETURN(plugin.manifest, Describe(command));
    for (const ToolSpec& spec : plugin.manifest.tools) {
      set->tools_.push_back(NewProcessTool(command, spec));
    }
    set->plugins_.push_back(std::move(plugin));
  }
  for (const std::string& path : options.in_process_paths) {
    LoadedPlugin plugin;
    plugin.in_process = true;
    ASSIGN_OR_RETURN(plugin.path, RealPath(path));
    ASSIGN_OR_RETURN(auto library, PluginLibrary::Load(plugin.path));
    plugin.manifest = library->manifest();
    const auto turnstile = NewPluginTurnstile();
    for (size_t i = 0; i < plugin.manifest.tools.size(); ++i) {
      set->tools_.push_back(NewInProcessTool(library.get(), i, turnstile));
    }
    set->libraries_.push_back(std::move(library));
    set->plugins_.push_back(std::move(plugin));
  }
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
