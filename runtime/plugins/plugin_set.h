// PluginSet: the plugins that a runtime was given, and their tools.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools_sdk/plugin/plugin_library.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

struct PluginOptions {
  std::vector<std::string> paths;             ///< Each call in a process of its own.
  std::vector<std::string> in_process_paths;  ///< In this process.
  std::string tool_host;                      ///< Empty: FindToolHost().
  std::vector<std::string> taken_names;       ///< Of tools that are not plugins'.
};

struct LoadedPlugin {
  std::string path;  ///< Absolute.
  bool in_process = false;
  PluginManifest manifest;
};

/// Threads: const methods may be called from any thread; the tools as tool.h says.
class PluginSet {
 public:
  /// Asks each plugin what it is; those that stay outside are asked in a process of their own.
  /// Errors: NOT_FOUND (a plugin, or baleen-tool-host); FAILED_PRECONDITION/PLUGIN_UNFIT naming the
  /// plugin and what is wrong with it; ALREADY_EXISTS (two tools of one name, or a taken one).
  static Result<std::unique_ptr<PluginSet>> Load(const PluginOptions& options);

  const std::vector<LoadedPlugin>& plugins() const { return plugins_; }
  /// In the order in which they were given.
  const std::vector<std::unique_ptr<Tool>>& tools() const { return tools_; }

 private:
  PluginSet() = default;

  std::vector<LoadedPlugin> plugins_;
  std::vector<std::unique_ptr<PluginLibrary>> libraries_;  ///< Those in process; after tools_ ends.
  std::vector<std::unique_ptr<Tool>> tools_;
};

}  // namespace baleen
