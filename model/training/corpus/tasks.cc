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

// Shares by samples, which differ in length; by tokens, at 1,024 and with this tokenizer, they
// give: tools 22 %, choosing 13, chains 19, workspaces 12, look-ups 11, missing, refusals and pairs
// 10, recall 7, the rest 6.
constexpr TaskKind kKinds[] = {
    {"tools", &Tools, 33, 450},          {"pick", &Pick, 19, 450},
    {"chain", &ChainTask, 31, 450},      {"pair", &PairTask, 4, 450},
    {"missing", &MissingTask, 8.5, 400}, {"no_tool", &NoToolTask, 8.5, 450},
    {"workspace", &Workspace, 10, 950},  {"edit", &Edit, 4, 950},
    {"lookup", &LookupTask, 75, 0},      {"recall", &Recall, 20, 0},
    {"key_value", &KeyValueTask, 21, 0}, {"copy", &CopyTask, 13, 0},
    {"repeat", &RepeatTask, 22, 0},      {"chat", &ChatTask, 9, 0},
    {"text", &TextTask, 5, 0},
};

}  // namespace

std::span<const TaskKind> TaskKinds() { return kKinds; }

}  // namespace baleen::training
