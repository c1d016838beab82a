// End to end: real files, a real session, the default agent, the built-in tools.
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "model/training/corpus/tasks.h"
#include "runtime/evaluation/evaluation.h"
#include "runtime/runtime.h"

namespace baleen::evaluation {
namespace {

namespace fs = std::filesystem;

using training::WorkspaceGoal;

struct Goal {
  const char* name;
  WorkspaceGoal goal;
};

constexpr Goal kGoals[] = {{"read -> answer", WorkspaceGoal::kRead},
                           {"list -> read -> answer", WorkspaceGoal::kFind},
                           {"grep -> read -> answer", WorkspaceGoal::kGrep}};

Status WriteFiles(const fs::path& folder,
                  const std::vector<std::pair<std::string, std::string>>& files) {
  for (const auto& [path, content] : files) {
    std::error_code error;
    fs::create_directories((folder / path).parent_path(), error);
    std::ofstream file(folder / path, std::ios::binary);
    file << content;
    file.close();
    if (!file) {
      return UnavailableError("eval: '" + (folder / path).string() + "' can't be written");
    }
  }
  return OkStatus();
}

/// Whether the session's answer is the expected one.
Result<bool> RunTask(Runtime& runtime, const training::Conversation& task, const fs::path& folder,
                     const EvaluationOptions& options) {
  CreateSessionRequest create;
  create.settings.workspace = folder.string();
  create.settings.system_prompt = task.system;
  create.settings.sampling.temperature = 0;
  create.settings.tokens_max = options.probe.reply_tokens_max;
  ASSIGN_OR_RETURN(const SessionView session, runtime.CreateSession(create));
  StartTurnRequest start;
  start.session = session.session;
  start.input = {task.exchanges.front().append.front().content};
  ASSIGN_OR_RETURN(TurnView turn, runtime.StartTurn(start));
  const std::string id = turn.turn;
  auto ended = runtime.WaitTurn(session.session, id, options.turn_timeout_ms);
  if (!ended.ok()) {
    if (ended.status().code() != StatusCode::kDeadlineExceeded) return ended.status();
    RETURN_IF_ERROR(runtime.CancelTurn(session.session, id).status());
    return false;
  }
  Message got;
  got.content = ended->text;
  return ended->state == TurnState::kSucceeded && SameAnswer(task.exchanges.back().reply, got);
}

}  // namespace

Result<std::vector<Row>> EvaluateAgent(const EvaluationOptions& options, const Progress& progress) {
  if (options.model_path.empty() || options.scratch.empty()) {
    return InvalidArgumentError(
        "eval: the task \"agent\" needs a model folder and a scratch folder");
  }
  RuntimeOptions runtime_options;
  runtime_options.data_dir = (fs::path(options.scratch) / "sessions").string();
  runtime_options.model_path = options.model_path;
  runtime_options.threads = options.threads;
  ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(runtime_options));
  std::vector<Row> rows;
  for (const Goal& goal : kGoals) {
    Row row;
    row.task = "agent";
    row.variant = goal.name;
    while (row.total < options.count) {
      const int64_t index = row.total;
      training::Draw draw(options.seed ^ 0xA6E27, static_cast<uint64_t>(index),
                          training::Split::kEvaluation);
      std::vector<std::pair<std::string, std::string>> files;
      const training::Conversation task = training::WorkspaceTask(draw, {}, goal.goal, &files);
      const fs::path folder =
          fs::path(options.scratch) / (std::to_string(rows.size()) + "-" + std::to_string(index));
      RETURN_IF_ERROR(WriteFiles(folder, files));
      ASSIGN_OR_RETURN(const bool correct, RunTask(*runtime, task, folder, options));
      ++row.total;
      row.correct += correct ? 1 : 0;
      if (progress) progress(row, options.count);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace baleen::evaluation
