// Tools whose bodies are a plugin's. Made by the plugin set.
#pragma once

#include <memory>
#include <string>

#include "runtime/plugins/tool_process.h"
#include "tools_sdk/plugin/plugin_library.h"
#include "tools_sdk/tool.h"

namespace baleen {

class PluginTool : public Tool {
 public:
  /// As Call, for a session whose processes have these bounds.
  virtual ToolResult CallIn(const ProcessBounds& bounds, const ToolCall& call,
                            CallContext& context) = 0;
  ToolResult Call(const ToolCall& call, CallContext& context) override {
    return CallIn({}, call, context);
  }
};

/// Each call in a process of its own. However that ends, the call has a result: an answer; ERROR
/// for a plugin that can't be used, or that died before its body began or without an effect;
/// UNKNOWN where a body with effects died or was ended; TIMEOUT; ABORTED.
std::unique_ptr<PluginTool> NewProcessTool(ToolHostCommand command, ToolSpec spec);

/// In this process. A call that ignores its end can't be stopped: the runtime goes on without it,
/// and the plugin's later calls are not run until it returns. Borrows: library.
std::unique_ptr<PluginTool> NewInProcessTool(const PluginLibrary* library, size_t tool,
                                             std::shared_ptr<class PluginTurnstile> turnstile);

/// Lets calls of one plugin in one after another. Owners: the plugin's tools.
std::shared_ptr<class PluginTurnstile> NewPluginTurnstile();

}  // namespace baleen
