#include "runtime/evaluation/evaluation.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

#include "model/training/corpus/conversation_source.h"
#include "model/training/corpus/tasks.h"

namespace baleen::evaluation {
namespace {

using training::Conversation;
using training::Draw;
using training::Skill;
using training::Split;
using training::TaskSetting;

constexpr int64_t kTaskTokens = 1536;
constexpr double kNeedleDepths[] = {0.0, 0.25, 0.5, 0.75, 1.0};

/// Adds to a row until it has enough.
class RowRun {
 public:
  RowRun(Probe& probe, const EvaluationOptions& options, const Progress& progress, std::string task,
         std::string variant)
      : probe_(probe), options_(options), progress_(progress) {
    row_.task = std::move(task);
    row_.variant = std::move(variant);
  }

  /// Conversations by `make(draw, setting)`; exchanges of `skill` count one by one.
  template <typename Make>
  Status CountReplies(Skill skill, Make make) {
    return Repeat(make, [&](const std::vector<ReplyOutcome>& outcomes) {
      for (const ReplyOutcome& outcome : outcomes) {
        if (outcome.skill == skill) Add(outcome.correct);
      }
    });
  }

  /// Each conversation counts once: all its calls must be right.
  template <typename Make>
  Status CountWhole(Make make) {
    return Repeat(make, [&](const std::vector<ReplyOutcome>& outcomes) {
      Add(std::all_of(outcomes.begin(), outcomes.end(), [](const ReplyOutcome& outcome) {
        return outcome.skill != Skill::kCall || outcome.correct;
      }));
    });
  }

  template <typename Loss>
  Status AddLosses(int64_t samples, Loss loss) {
    LogLoss total;
    for (int64_t i = 0; i < samples; ++i) {
      ASSIGN_OR_RETURN(const LogLoss one, loss(i));
      total.sum += one.sum;
      total.tokens += one.tokens;
      row_.total = total.tokens;
      row_.perplexity =
          total.tokens == 0 ? 0 : std::exp(total.sum / static_cast<double>(total.tokens));
      if (progress_) progress_(row_, 0);
    }
    return OkStatus();
  }

  TaskSetting Setting() const {
    TaskSetting setting;
    setting.tokens_max = kTaskTokens;
    setting.tokenizer = &probe_.tokenizer();
    return setting;
  }
  /// Its own for each row.
  Draw DrawOf(int64_t index) const {
    uint64_t seed = options_.seed;
    for (const char c : row_.task + "/" + row_.variant) {
      seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    }
    return Draw(seed, static_cast<uint64_t>(index), Split::kEvaluation);
  }
  Row Take() { return std::move(row_); }

 private:
  template <typename Make, typename Count>
  Status Repeat(Make make, Count count) {
    // A task that never tests the skill must not run for ever.
    for (int64_t i = 0; row_.total < options_.count && i < 20 * options_.count + 20; ++i) {
      Draw draw = DrawOf(i);
      const Conversation conversation = make(draw, Setting());
      ASSIGN_OR_RETURN(const std::vector<ReplyOutcome> outcomes, probe_.Run(conversation));
      count(outcomes);
    }
    return OkStatus();
  }
  void Add(bool correct) {
    ++row_.total;
    row_.correct += correct ? 1 : 0;
    if (progress_) progress_(row_, options_.count);
  }

  Probe& probe_;
  const EvaluationOptions& options_;
  const Progress& progress_;
  Row row_;
};

/// Runs the tasks one after another.
class Run {
 public:
  Run(Probe& probe, const EvaluationOptions& options, const Progress& progress)
      : probe_(probe), options_(options), progress_(progress) {}

  Status Calls() {
    for (int64_t tools = 1; tools <= 4; ++tools) {
      RETURN_IF_ERROR(Calls(std::to_string(tools) + (tools == 1 ? " tool" : " tools"), tools, 0.2));
    }
    return Calls("4 alike", 4, 1.0);
  }

  Status Chains() {
    RowRun row = NewRow("chains", "all calls");
    RETURN_IF_ERROR(row.CountWhole([](Draw& draw, const TaskSetting& setting) {
      Conversation chain = training::ChainTask(draw, setting);
      // The first round alone: up to the reply that isn't a call.
      const auto end = std::find_if(chain.exchanges.begin(), chain.exchanges.end(),
                                    [](const auto& e) { return e.skill != Skill::kCall; });
      chain.exchanges.erase(end, chain.exchanges.end());
      return chain;
    }));
    return Keep(&row);
  }

  Status Answers() {
    RowRun row = NewRow("answers", "from a result");
    RETURN_IF_ERROR(row.CountReplies(Skill::kAnswer, [](Draw& draw, const TaskSetting& setting) {
      return training::ToolTask(draw, setting, {});
    }));
    return Keep(&row);
  }

  Status Refusals() {
    RowRun none = NewRow("refusals", "no tool fits");
    RETURN_IF_ERROR(none.CountReplies(Skill::kNoTool, training::NoToolTask));
    RETURN_IF_ERROR(Keep(&none));
    RowRun missing = NewRow("refusals", "argument missing");
    RETURN_IF_ERROR(missing.CountReplies(Skill::kMissing, training::MissingTask));
    return Keep(&missing);
  }

  Status Lookups() {
    RowRun two = NewRow("lookups", "two keys");
    RETURN_IF_ERROR(two.CountReplies(Skill::kAnswer, training::LookupTask));
    RETURN_IF_ERROR(Keep(&two));
    RowRun one = NewRow("lookups", "one key");
    RETURN_IF_ERROR(one.CountReplies(Skill::kAnswer, training::KeyValueTask));
    return Keep(&one);
  }

  Status Needles() {
    for (const int64_t tokens : options_.needle_tokens) {
      for (const double depth : kNeedleDepths) {
        char variant[64];
        std::snprintf(variant, sizeof(variant), "%lld tokens, depth %.2f",
                      static_cast<long long>(tokens), depth);
        RowRun row = NewRow("needles", variant);
        RETURN_IF_ERROR(
            row.CountReplies(Skill::kAnswer, [&](Draw& draw, const TaskSetting& setting) {
              return training::RecallTask(draw, setting, tokens, depth);
            }));
        RETURN_IF_ERROR(Keep(&row));
      }
    }
    return OkStatus();
  }

  Status Perplexity() {
    RowRun replies = NewRow("perplexity", "replies");
    RETURN_IF_ERROR(replies.AddLosses(options_.count, [&](int64_t i) {
      Draw draw = replies.DrawOf(i);
      return probe_.ReplyLoss(training::ToolTask(draw, replies.Setting(), {}));
    }));
    RETURN_IF_ERROR(Keep(&replies));
    ASSIGN_OR_RETURN(const std::vector<std::string> paragraphs, HeldOutParagraphs());
    if (paragraphs.empty()) return OkStatus();
    RowRun text = NewRow("perplexity", "text");
    RETURN_IF_ERROR(text.AddLosses(static_cast<int64_t>(paragraphs.size()), [&](int64_t i) {
      return probe_.TextLoss(paragraphs[static_cast<size_t>(i)]);
    }));
    return Keep(&text);
  }

  Status Draft() {
    Result<Row> row = EvaluateDraft(options_, progress_);
    const bool asked = !options_.tasks.empty();
    if (!row.ok()) {
      return !asked && row.status().reason() == "NO_DRAFT_BLOCK" ? OkStatus() : row.status();
    }
    rows_.push_back(std::move(row).value());
    return OkStatus();
  }

  Status Agent() {
    ASSIGN_OR_RETURN(const std::vector<Row> rows, EvaluateAgent(options_, progress_));
    rows_.insert(rows_.end(), rows.begin(), rows.end());
    return OkStatus();
  }

  std::vector<Row> Take() { return std::move(rows_); }

 private:
  RowRun NewRow(std::string task, std::string variant) {
    return RowRun(probe_, options_, progress_, std::move(task), std::move(variant));
  }
  Status Keep(RowRun* row) {
    rows_.push_back(row->Take());
    return OkStatus();
  }

  Status Calls(std::string variant, int64_t tools, double alike) {
    RowRun row = NewRow("calls", std::move(variant));
    RETURN_IF_ERROR(row.CountReplies(Skill::kCall, [&](Draw& draw, const TaskSetting& setting) {
      training::ToolTaskOptions shape;
      shape.tools = tools;
      shape.alike = alike;
      return training::ToolTask(draw, setting, shape);
    }));
    return Keep(&row);
  }

  Result<std::vector<std::string>> HeldOutParagraphs() const {
    std::vector<std::string> held_out;
    for (const std::string& path : options_.texts) {
      std::ifstream file(path, std::ios::binary);
      if (!file) return NotFoundError("eval: text '" + path + "' can't be opened");
      std::ostringstream content;
      content << file.rdbuf();
      for (std::string& paragraph : training::ParagraphsOf(content.str())) {
        if (training::SplitOf(paragraph) == Split::kEvaluation) {
          held_out.push_back(std::move(paragraph));
        }
      }
    }
    if (held_out.empty() && !options_.texts.empty()) {
      return InvalidArgumentError(
          "eval: no paragraph of the texts belongs to the evaluation split");
    }
    return held_out;
  }

  Probe& probe_;
  const EvaluationOptions& options_;
  const Progress& progress_;
  std::vector<Row> rows_;
};

struct Task {
  const char* name;
  Status (Run::*run)();
};

constexpr Task kTasks[] = {
    {"calls", &Run::Calls},           {"chains", &Run::Chains},   {"answers", &Run::Answers},
    {"refusals", &Run::Refusals},     {"lookups", &Run::Lookups}, {"needles", &Run::Needles},
    {"perplexity", &Run::Perplexity}, {"draft", &Run::Draft},     {"agent", &Run::Agent}};

}  // namespace

std::vector<std::string> TaskNames() {
  std::vector<std::string> names;
  for (const Task& task : kTasks) names.emplace_back(task.name);
  return names;
}

Status EvaluationOptions::Validate() const {
  const std::vector<std::string> known = TaskNames();
  for (const std::string& task : tasks) {
    if (std::find(known.begin(), known.end(), task) != known.end()) continue;
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    return InvalidArgumentError("eval: unknown task \"" + task + "\"; expected one of " + names);
  }
  if (count < 1 || count > 1'000'000) {
    return InvalidArgumentError("eval: count: expected 1 to 1000000, got " + std::to_string(count));
  }
  for (const int64_t tokens : needle_tokens) {
    if (tokens < 32 || tokens > 1'000'000) {
      return InvalidArgumentError(
          "eval: length of a needle's context: expected 32 to 1000000, got " +
          std::to_string(tokens));
    }
  }
  if (probe.reply_tokens_max < 1) {
    return InvalidArgumentError("eval: reply_tokens_max: expected at least 1");
  }
  return OkStatus();
}

Result<std::vector<Row>> Evaluate(Model& model, const EvaluationOptions& options,
                                  const Progress& progress) {
  RETURN_IF_ERROR(options.Validate());
  ASSIGN_OR_RETURN(const auto probe, Probe::Create(model, options.probe));
  Run run(*probe, options, progress);
  for (const Task& task : kTasks) {
    const bool wanted =
        options.tasks.empty() ||
        std::find(options.tasks.begin(), options.tasks.end(), task.name) != options.tasks.end();
    if (!wanted) continue;
    if (Status status = (run.*task.run)(); !status.ok()) return status.WithContext(task.name);
  }
  return run.Take();
}

}  // namespace baleen::evaluation
