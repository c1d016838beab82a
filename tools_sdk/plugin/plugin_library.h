// PluginLibrary: a plugin's shared object in this process, checked, and its calls made through the
// C ABI (include/baleen/plugin.h).
//
// Used by baleen-tool-host, and by the runtime for plugins that were asked for in process. Knows
// nothing of processes or time limits.
#pragma once

#include <baleen/plugin.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/plugin/tool_frames.h"
#include "tools_sdk/status.h"

namespace baleen {

/// What a call asks of whoever runs it. Threads: any, while the call runs.
class PluginCallPort {
 public:
  virtual ~PluginCallPort() = default;
  virtual bool Cancelled() const = 0;
  /// Readable once Cancelled; -1: there is none.
  virtual int CancelFd() const = 0;
  virtual int64_t TimeLeftMs() const = 0;
  /// Output within the tool's limit. false: nobody reads it.
  virtual bool Write(std::string_view bytes) = 0;
  virtual bool Progress(std::string_view line) = 0;
};

class PluginLibrary {
 public:
  /// Loads and initialises. Errors: NOT_FOUND (no such file); FAILED_PRECONDITION/PLUGIN_UNFIT: not
  /// a shared object of this machine, no `baleen_plugin_entry`, another ABI, init failed, a
  /// manifest out of bounds.
  static Result<std::unique_ptr<PluginLibrary>> Load(const std::string& path);
  ~PluginLibrary();
  PluginLibrary(const PluginLibrary&) = delete;
  PluginLibrary& operator=(const PluginLibrary&) = delete;

  const PluginManifest& manifest() const { return manifest_; }
  /// By index of manifest().tools.
  bool IsReentrant(size_t tool) const { return (tools_[tool]->flags & BALEEN_TOOL_REENTRANT) != 0; }

  /// Runs the body of manifest().tools[tool], on this thread, to its end.
  ResultFrame Run(size_t tool, const ToolCall& call, PluginCallPort& port) const;

 private:
  PluginLibrary() = default;
  Status ReadEntry(const std::string& path);
  Status ReadTools();

  void* handle_ = nullptr;
  const baleen_plugin* entry_ = nullptr;
  bool initialised_ = false;
  PluginManifest manifest_;
  std::vector<const baleen_tool*> tools_;
};

}  // namespace baleen
