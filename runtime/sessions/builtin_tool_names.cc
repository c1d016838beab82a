#include "runtime/sessions/builtin_tool_names.h"

#include "agent/agent.h"
#include "runtime/http_tools/script_requests.h"
#include "runtime/http_tools/web_fetch.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sessions/diff_apply.h"
#include "tools_sdk/builtin/builtin.h"

namespace baleen {

const std::vector<std::string>& BuiltinToolNames() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names = {kWebFetch, kHttpRequest, kApplyDiff, kTaskTool};
    for (const auto& tool : MakeBuiltinTools()) names.push_back(tool->spec().name);
    for (const auto& tool : MakeOptionalTools()) names.push_back(tool->spec().name);
    for (const ToolSpec& spec : BashToolSpecs()) names.push_back(spec.name);
    return names;
  }();
  return kNames;
}

}  // namespace baleen
