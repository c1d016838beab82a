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

class SessionJobs;

/// Those of one session. Threads: any.
class BashTools {
 public:
  /// `bounds`: with a workspace. Owners of the sandbox: the runtime, and the tools of every
  /// session.
  BashTools(std::shared_ptr<LazySandbox> sandbox, const ProcessBounds& bounds);

  /// In the order of BashToolSpecs. Jobs end with the last of the tools.
  const std::vector<std::shared_ptr<Tool>>& tools() const { return tools_; }

  /// Whether a command may come soon, such as while a model writes. Waits for nothing.
  void Expect(bool soon);
  /// Makes the next command's sandbox ahead of it where one is expected, and ends what was made
  /// where none is. May wait for processes, so not for threads that others wait for.
  void Prepare();

 private:
  const std::shared_ptr<SessionJobs> jobs_;  // owners: this and the tools
  const std::vector<std::shared_ptr<Tool>> tools_;
};

}  // namespace baleen
