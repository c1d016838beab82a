// PluginSet: the plugins that a runtime was given, and their tools.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/plugins/plugin_tools.h"
#include "runtime/sandbox/sandbox.h"
#include "tools_sdk/plugin/plugin_library.h"
#include "tools_sdk/status.h"

namespace baleen {

struct PluginOptions {
  std::vector<std::string> paths;              ///< Each call in a sandboxed process of its own.
  std::vector<std::string> unsandboxed_paths;  ///< In a process of its own.
  std::vector<std::string> in_process_paths;   ///< In this process.
  std::shared_ptr<LazySandbox> sandbox;        ///< For `paths`. Owners: as ToolHostCommand's.
  std::string tool_host;                       ///< Empty: FindToolHost().
  std::vector<std::string> taken_names;        ///< Of tools that are not plugins'.
};

/// Where a plugin's calls run.
enum class PluginPlace { kSandbox, kProcess, kThisProcess };

struct LoadedPlugin {
  std::string path;  ///< Absolute.
  PluginPlace place = PluginPlace::kSandbox;
  PluginManifest manifest;
};

/// Threads: const methods may be called from any thread; the tools as tool.h says.
class PluginSet {
 public:
  /// Asks each plugin what it is; those that stay outside are asked in a process of their own.
  /// Errors: NOT_FOUND (a plugin, or baleen-tool-host); FAILED_PRECONDITION/PLUGIN_UNFIT naming the
  /// plugin and what is wrong with it; FAILED_PRECONDITION (no sandbox on this machine; what to
  /// do); ALREADY_EXISTS (two tools of one name, or a taken one).
  static Result<std::unique_ptr<PluginSet>> Load(const PluginOptions& options);

  const std::vector<LoadedPlugin>& plugins() const { return plugins_; }
  /// In the order in which they were given, sandboxed ones first and those in process last.
  const std::vector<std::unique_ptr<PluginTool>>& tools() const { return tools_; }

 private:
  PluginSet() = default;
  /// Plugins with processes of their own.
  Status LoadOutside(const PluginOptions& options, const std::vector<std::string>& paths,
                     PluginPlace place);
  Status LoadInside(const std::string& path);

  std::vector<LoadedPlugin> plugins_;
  std::vector<std::unique_ptr<PluginLibrary>> libraries_;  ///< Those in process; after tools_ ends.
  std::vector<std::unique_ptr<PluginTool>> tools_;
};

}  // namespace baleen
