// `baleen eval`: how often a model does what it should, with intervals.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "runtime/cli/flags.h"
#include "runtime/cli/scratch_folder.h"
#include "runtime/evaluation/evaluation.h"

namespace baleen::cli {
namespace {

struct EvalFlags {
  evaluation::EvaluationOptions options;
  std::string csv;
  std::string wrong;
  bool json = false;
};

/// One line on a terminal that is written over: how far the row is, what is right so far, how long
/// the row will go on at this pace.
class ProgressBar {
 public:
  void Show(const evaluation::Row& row, int64_t wanted) {
    const auto now = std::chrono::steady_clock::now();
    const std::string title = row.task + " / " + row.variant;
    if (title != title_) {
      title_ = title;
      begin_ = now;
      counted_ = row.total;  // What came before the clock began says nothing of the pace.
    }
    std::fprintf(stderr, "\r\033[K%s ", title.c_str());
    if (wanted <= 0) {
      std::fprintf(stderr, "%lld", static_cast<long long>(row.total));
      return;
    }
    constexpr int kWidth = 20;
    const auto filled = static_cast<int>(std::min<int64_t>(kWidth, kWidth * row.total / wanted));
    std::fprintf(stderr, "[%s%s] %lld of %lld, %.0f %% right",
                 std::string(static_cast<size_t>(filled), '#').c_str(),
                 std::string(static_cast<size_t>(kWidth - filled), '-').c_str(),
                 static_cast<long long>(row.total), static_cast<long long>(wanted),
                 100 * row.share());
    if (row.total > counted_ && row.total < wanted) {
      const double seconds = std::chrono::duration<double>(now - begin_).count();
      std::fprintf(stderr, ", %.0f s left",
                   seconds * static_cast<double>(wanted - row.total) /
                       static_cast<double>(row.total - counted_));
    }
  }

 private:
  std::string title_;
  std::chrono::steady_clock::time_point begin_;
  int64_t counted_ = 0;
};

/// What was asked, expected and written, for whoever wants to see how a model fails.
std::string WrongLine(const evaluation::WrongReply& wrong) {
  nlohmann::ordered_json line;
  for (const Message& message : wrong.exchange.append) line["asked"].push_back(message.content);
  line["expected"] = wrong.exchange.reply.content;
  for (const ToolCall& call : wrong.exchange.reply.tool_calls) {
    line["expected_calls"].push_back(call.name + " " + call.arguments);
  }
  line["got"] = wrong.text;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status RunEvaluation(EvalFlags flags) {
  const ScratchFolder scratch;
  RETURN_IF_ERROR(scratch.status());
  flags.options.scratch = scratch.path();
  ASSIGN_OR_RETURN(flags.options.model_path, ModelOrDefault(flags.options.model_path));
  RETURN_IF_ERROR(flags.options.Validate());
  std::ofstream wrong;
  if (!flags.wrong.empty()) {
    wrong.open(flags.wrong, std::ios::binary);
    if (!wrong) return UnavailableError("eval: '" + flags.wrong + "' can't be written");
    flags.options.probe.on_wrong = [&wrong](const evaluation::WrongReply& reply) {
      wrong << WrongLine(reply) << std::flush;
    };
  }
  ModelOptions model_options;
  model_options.threads = flags.options.threads;
  ASSIGN_OR_RETURN(const auto model, Model::Open(flags.options.model_path, model_options));
  const bool terminal = isatty(STDERR_FILENO) != 0;
  evaluation::Progress progress;
  if (terminal) {
    progress = [bar = ProgressBar()](const evaluation::Row& row, int64_t wanted) mutable {
      bar.Show(row, wanted);
    };
  }
  const auto rows = evaluation::Evaluate(*model, flags.options, progress);
  if (terminal) std::fputs("\r\033[K", stderr);
  if (!rows.ok()) return rows.status();
  std::cout << (flags.json ? evaluation::RowsJson(*rows) + "\n" : evaluation::RowsTable(*rows));
  if (flags.csv.empty()) return OkStatus();
  std::ofstream file(flags.csv, std::ios::binary);
  file << evaluation::RowsCsv(*rows);
  file.close();
  return file ? OkStatus() : UnavailableError("eval: '" + flags.csv + "' can't be written");
}

}  // namespace

void AddEval(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<EvalFlags>();  // owners: the callback below
  evaluation::EvaluationOptions& options = flags->options;
  CLI::App* command = app.add_subcommand(
      "eval", "How often a model does what it should, on conversations it never saw");
  command->add_option("--model", options.model_path, kModelHelp);
  std::string names;
  for (const std::string& name : evaluation::TaskNames())
    names += (names.empty() ? "" : ",") + name;
  command->add_option("--tasks", options.tasks, "Of " + names + "; default: all")->delimiter(',');
  command->add_option("--count", options.count, "Calls, answers, needles ... per row")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Another seed, another test")->capture_default_str();
  command
      ->add_option("--lengths", options.needle_tokens,
                   "Tokens before a needle is asked for, such as 16384,65536 (minutes each)")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--text", options.texts,
                      "File whose held-out paragraphs get a perplexity; may be repeated");
  command->add_flag("--constrained", options.probe.constrained,
                    "Mask tokens by the grammar of the tools (not in the task agent)");
  command->add_option("--reply-tokens", options.probe.reply_tokens_max, "Bound of one reply")
      ->capture_default_str();
  command->add_option("--threads", options.threads, "0: one per core");
  command->add_option("--csv", flags->csv, "Write the rows to this file, too");
  command->add_option("--wrong", flags->wrong,
                      "Write replies that are not as expected to this file, a JSON line each");
  command->add_flag("--json", flags->json, "Rows as JSON");
  command->callback([flags, exit_code] {
    const Status status = RunEvaluation(*flags);
    *exit_code = status.ok() ? kExitOk : Fail(status, flags->json);
  });
}

}  // namespace baleen::cli
