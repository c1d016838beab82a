// bash, bash_output, bash_stop: commands of one session in its sandbox, and the jobs among them.
//
// They share a table of jobs, so they are made per session, unlike the other built-in tools. Called
// by the runtime.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/sandbox/process_bounds.h"
#include "runtime/sandbox/sandbox.h"
#include "tools_sdk/tool.h"

namespace baleen {

inline constexpr char kBashTool[] = "bash";

/// Their specs alone, in the order in which a model is told of them. `hosts`: that a session's
/// commands may reach, as it names them.
std::vector<ToolSpec> BashToolSpecs(const std::vector<std::string>& hosts = {});

/// `bounds`: with a workspace. Jobs end with the last of the tools.
/// Owners of the sandbox: the runtime, and the tools of every session.
std::vector<std::shared_ptr<Tool>> MakeBashTools(std::shared_ptr<LazySandbox> sandbox,
                                                 const ProcessBounds& bounds);

}  // namespace baleen
