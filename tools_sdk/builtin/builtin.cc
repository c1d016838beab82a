#include "tools_sdk/builtin/builtin.h"

#include "tools_sdk/builtin/ask_user.h"
#include "tools_sdk/builtin/edit.h"
#include "tools_sdk/builtin/find_tools.h"
#include "tools_sdk/builtin/glob.h"
#include "tools_sdk/builtin/grep.h"
#include "tools_sdk/builtin/list.h"
#include "tools_sdk/builtin/read.h"
#include "tools_sdk/builtin/remember.h"
#include "tools_sdk/builtin/todo.h"
#include "tools_sdk/builtin/write.h"

namespace baleen {

std::vector<std::unique_ptr<Tool>> MakeBuiltinTools() {
  std::vector<std::unique_ptr<Tool>> tools;
  tools.push_back(NewReadTool());
  tools.push_back(NewListTool());
  tools.push_back(NewGrepTool());
  return tools;
}

std::vector<std::unique_ptr<Tool>> MakeOptionalTools() {
  std::vector<std::unique_ptr<Tool>> tools;
  tools.push_back(NewGlobTool());
  tools.push_back(NewWriteTool());
  tools.push_back(NewEditTool());
  tools.push_back(NewTodoTool());
  tools.push_back(NewAskUserTool());
  tools.push_back(NewRememberTool());
  tools.push_back(NewRecallTool());
  tools.push_back(NewFindToolsTool());
  return tools;
}

bool NeedsWorkspace(std::string_view tool) {
  return tool != "todo" && tool != kAskUser && tool != kFindTools;
}

}  // namespace baleen
