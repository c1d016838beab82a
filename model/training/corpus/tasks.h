// Tasks: the kinds of conversation that a sample may be. One row per kind in tasks.cc.
//
// Each follows from its Draw alone. Knows no model and no loss. Called by the conversation source,
// and by evaluations that ask for one kind at a stated difficulty.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/training/corpus/conversation.h"
#include "model/training/corpus/draw.h"

namespace baleen::training {

/// What a task is made for.
struct TaskSetting {
  int64_t tokens_max = 1024;  ///< A wish: longer ones are made again or cut.
  const Tokenizer* tokenizer = nullptr;
  /// Paragraphs of plain text or code, of any split.
  std::span<const std::string> texts;
};

struct ToolTaskOptions {
  int64_t tools = 0;     ///< 0: 1 to 4.
  int64_t requests = 0;  ///< 0: 1 to 4.
  double alike = 0.6;    ///< How often another tool shares verb or noun with the first.
  double bare = 0;       ///< How often a result is just "ok".
  int64_t parameters_max = 3;
};

/// Requests for single calls; results, questions about them, errors.
Conversation ToolTask(Draw& draw, const TaskSetting& setting, const ToolTaskOptions& options);
/// Two or three calls, each with what the last one gave.
Conversation ChainTask(Draw& draw, const TaskSetting& setting);
/// One request with two calls at once.
Conversation PairTask(Draw& draw, const TaskSetting& setting);
/// A request that lacks a required argument.
Conversation MissingTask(Draw& draw, const TaskSetting& setting);
/// A request that none of the tools can serve.
Conversation NoToolTask(Draw& draw, const TaskSetting& setting);

/// Facts with two keys (attribute and thing), asked in both word orders, several questions.
Conversation LookupTask(Draw& draw, const TaskSetting& setting);
/// A fact, much else, then the question. `tokens` 0: any length up to the setting's; `depth` in
/// [0, 1]: where the fact stands, 0 is the beginning; negative: several facts and questions.
Conversation RecallTask(Draw& draw, const TaskSetting& setting, int64_t tokens, double depth);
Conversation KeyValueTask(Draw& draw, const TaskSetting& setting);
Conversation CopyTask(Draw& draw, const TaskSetting& setting);
/// Random tokens, repeated.
Conversation RepeatTask(Draw& draw, const TaskSetting& setting);
/// Greetings and questions about itself.
Conversation ChatTask(Draw& draw, const TaskSetting& setting);
/// The continuation of a text; small talk if there are no texts of the split.
Conversation TextTask(Draw& draw, const TaskSetting& setting);

/// What a workspace task asks for.
enum class WorkspaceGoal { kRead, kFind, kGrep, kWrite, kEdit, kCommand };

/// A task over an invented workspace with the built-in tools, whose results are theirs.
/// `folder_files`, if given, gets (path, content) of every file.
Conversation WorkspaceTask(Draw& draw, const TaskSetting& setting, WorkspaceGoal goal,
                           std::vector<std::pair<std::string, std::string>>* folder_files);

/// A kind of task, by name.
struct TaskKind {
  std::string_view name;
  Conversation (*make)(Draw& draw, const TaskSetting& setting);
  double share;            ///< Of the samples, unless a config says otherwise.
  int64_t tokens_min = 0;  ///< Below this length the kind is left out.
};

std::span<const TaskKind> TaskKinds();

}  // namespace baleen::training
