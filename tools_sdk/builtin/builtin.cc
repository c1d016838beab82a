#include "tools_sdk/builtin/builtin.h"

#include "tools_sdk/builtin/grep.h"
#include "tools_sdk/builtin/list.h"
#include "tools_sdk/builtin/read.h"

namespace baleen {

std::vector<std::unique_ptr<Tool>> MakeBuiltinTools() {
  std::vector<std::unique_ptr<Tool>> tools;
  tools.push_back(NewReadTool());
  tools.push_back(NewListTool());
  tools.push_back(NewGrepTool());
  return tools;
}

}  // namespace baleen
