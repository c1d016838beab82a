// One process of baleen-tool-host: started, spoken with, and ended whatever it does.
//
// StartToolHost is the one place where such a process begins: in the sandbox, unless an operator
// trusts its plugin. What it may reach is what a command of its session may.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "runtime/sandbox/network_proxy.h"
#include "runtime/sandbox/sandbox.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/plugin/tool_frames.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// How long a process that was asked to stop may go on, and one that has answered may take to end.
inline constexpr int64_t kStopGraceMs = 2000;
inline constexpr int64_t kExitGraceMs = 1000;

struct ToolHostCommand {
  std::string program;                   ///< baleen-tool-host; absolute, plain path.
  std::string plugin;                    ///< Shared object; absolute, plain path.
  std::shared_ptr<LazySandbox> sandbox;  ///< Null: none. Owners: the runtime and its plugins.
};

/// A running process and our ends of what it was given.
struct ToolHostProcess {
  StartedCommand started;
  std::unique_ptr<NetworkProxy> proxy;  ///< Its network; null: none.
  FileDescriptor exit;                  ///< pidfd: readable once it has ended.
  FileDescriptor frames;                ///< Socket.
  FileDescriptor cancel;                ///< eventfd; written to: the call is cancelled.
  FileDescriptor words;                 ///< Its stdout and stderr.
};

/// In a session of its own; with /dev/null, our pipe, kFrameFd and kCancelFd and nothing else open;
/// in the workspace, else in '/'; with a short environment. The program limits its own memory,
/// files and core dumps before it loads the plugin. Errors: UNAVAILABLE (the program isn't there),
/// RESOURCE_EXHAUSTED; as Sandbox::Start.
Result<std::unique_ptr<ToolHostProcess>> StartToolHost(const ToolHostCommand& command,
                                                       const ProcessBounds& bounds);

struct ToolHostLimits {
  ProcessBounds bounds;
  int64_t time_ms = 0;
  int64_t output_bytes_max = 0;
  const std::atomic<bool>* cancelled = nullptr;  ///< Null: never.
  /// As CallContext's; called from the thread that waits.
  std::function<void(const CallProgress&)> progress{};
};

/// What came of one process.
struct ToolHostAnswer {
  bool begun = false;  ///< The tool's body.
  std::string output;
  std::string progress;
  std::optional<ResultFrame> result;
  std::optional<PluginManifest> manifest;
  std::string refusal;  ///< Why the plugin can't be used.
  // Without any of the last three:
  bool timed_out = false;
  bool cancelled = false;
  std::string end;    ///< "was ended by signal 11 (Segmentation fault)".
  std::string words;  ///< The end of what it printed.

  bool Answered() const { return result.has_value() || manifest.has_value() || !refusal.empty(); }
};

/// Starts a process, sends it `request` (frames) and waits for its answer; when this returns, the
/// process and its group are gone. Errors: as StartToolHost; what the process does wrong is part of
/// the answer. Threads: any; blocks for time_ms and the graces at most.
Result<ToolHostAnswer> AskToolHost(const ToolHostCommand& command, const std::string& request,
                                   const ToolHostLimits& limits);

}  // namespace baleen
