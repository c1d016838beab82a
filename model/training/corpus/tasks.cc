#include "model/training/corpus/tasks.h"

namespace baleen::training {
namespace {

Conversation Tools(Draw& draw, const TaskSetting& setting) { return ToolTask(draw, setting, {}); }

/// Many tools, few arguments, short results: practice in choosing.
Conversation Pick(Draw& draw, const TaskSetting& setting) {
  ToolTaskOptions options;
  options.tools = draw.One<int64_t>({2, 2, 3, 3, 4, 5});
  options.requests = draw.Between(2, 5);
  options.alike = 0.8;
  options.bare = 0.85;
  options.parameters_max = draw.Between(1, 2);
  Conversation conversation = ToolTask(draw, setting, options);
  conversation.task = "pick";
  return conversation;
}

Conversation Recall(Draw& draw, const TaskSetting& setting) {
  return RecallTask(draw, setting, 0, -1);
}

Conversation Workspace(Draw& draw, const TaskSetting& setting) {
  const WorkspaceGoal goal =
      draw.One({WorkspaceGoal::kRead, WorkspaceGoal::kFind, WorkspaceGoal::kFind,
                WorkspaceGoal::kGrep, WorkspaceGoal::kGrep});
  return WorkspaceTask(draw, setting, goal, nullptr);
}

Conversation Edit(Draw& draw, const TaskSetting& setting) {
  const WorkspaceGoal goal =
      draw.One({WorkspaceGoal::kWrite, WorkspaceGoal::kEdit, WorkspaceGoal::kCommand});
  Conversation conversation = WorkspaceTask(draw, setting, goal, nullptr);
  conversation.task = "edit";
  return conversation;
}

// Shares by samples. By tokens they come near the recipe's: tools and workspaces 40 %, choosing 13,
// chains 20, look-ups 12, recall 8, the rest 7.
constexpr TaskKind kKinds[] = {
    {"tools", &Tools, 20, 450},         {"pick", &Pick, 8, 450},
    {"chain", &ChainTask, 12, 450},     {"pair", &PairTask, 2, 450},
    {"missing", &MissingTask, 4, 400},  {"no_tool", &NoToolTask, 4, 450},
    {"workspace", &Workspace, 7, 950},  {"edit", &Edit, 3, 950},
    {"lookup", &LookupTask, 22, 0},     {"recall", &Recall, 10, 0},
    {"key_value", &KeyValueTask, 8, 0}, {"copy", &CopyTask, 6, 0},
    {"repeat", &RepeatTask, 14, 0},     {"chat", &ChatTask, 2, 0},
    {"text", &TextTask, 2, 0},
};

}  // namespace

std::span<const TaskKind> TaskKinds() { return kKinds; }

}  // namespace baleen::training
