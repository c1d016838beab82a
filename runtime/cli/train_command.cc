// A run from its config, in this process; no daemon, no network.
#include "runtime/cli/train_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "model/training/plan.h"
#include "model/training/stage_samples.h"
#include "model/training/trainer.h"
#include "runtime/cli/flags.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;
using training::StepReport;
using training::TrainConfig;
using training::TrainingPlan;

struct TrainFlags {
  std::string config;
  std::string out = "run";
  bool plan = false;
  bool resume = false;
  int64_t steps = 0;
  int threads = 0;
  std::string write_samples;
  bool json = false;
};

std::atomic<bool> g_interrupted{false};

void Interrupt(int /*signal*/) { g_interrupted.store(true); }

/// While it lives, Ctrl-C and SIGTERM ask for a checkpoint and the end; a second one kills.
class InterruptScope {
 public:
  InterruptScope() {
    struct sigaction action{};
    action.sa_handler = &Interrupt;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &action, &interrupt_);
    sigaction(SIGTERM, &action, &terminate_);
  }
  ~InterruptScope() {
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGTERM, &terminate_, nullptr);
  }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  struct sigaction interrupt_{};
  struct sigaction terminate_{};
};

std::string Duration(double seconds) {
  char text[32];
  if (seconds < 100) {
    std::snprintf(text, sizeof(text), "%.0f s", seconds);
  } else if (seconds < 6000) {
    std::snprintf(text, sizeof(text), "%.0f min", seconds / 60);
  } else {
    std::snprintf(text, sizeof(text), "%.1f h", seconds / 3600);
  }
  return text;
}

Json ToJson(const StepReport& report) {
  Json json = {{"step", report.step},
               {"stage", report.stage},
               {"tokens", report.tokens_seen},
               {"loss", report.losses.loss},
               {"answer_loss", report.answer_loss()},
               {"answer_accuracy", report.answer_accuracy()},
               {"gradient_norm", report.gradient_norm},
               {"rate_share", report.rate_share},
               {"seconds", report.seconds}};
  if (report.validated) {
    json["validation_loss"] = report.validation_loss;
    json["validation_accuracy"] = report.validation_accuracy;
  }
  if (report.gated) json["gate_accuracy"] = report.gate_accuracy;
  return json;
}

/// One line on a terminal that is written over and over; smoothed over some twenty steps.
class Progress {
 public:
  void Show(const StepReport& report) {
    const double keep = steps_ == 0 ? 0 : 0.95;
    ++steps_;
    loss_ = keep * loss_ + (1 - keep) * report.losses.loss;
    seconds_ = keep * seconds_ + (1 - keep) * report.seconds;
    tokens_ = keep * tokens_ + (1 - keep) * static_cast<double>(report.losses.tokens);
    const double left = seconds_ * static_cast<double>(report.steps - report.step);
    std::fprintf(stderr, "\r\033[K%s: step %lld of %lld, loss %.3f, %.0f tokens/s, %s left",
                 report.stage.c_str(), static_cast<long long>(report.step),
                 static_cast<long long>(report.steps), loss_, tokens_ / seconds_,
                 Duration(left).c_str());
    if (report.gated) {
      std::fprintf(stderr, "\r\033[Kstep %lld: gate, repeats beyond the window: %.1f %%\n",
                   static_cast<long long>(report.step), 100 * report.gate_accuracy);
    }
    if (report.validated) {
      std::fprintf(stderr, "\r\033[Kstep %lld: validation loss %.4f, accuracy %.1f %%\n",
                   static_cast<long long>(report.step), report.validation_loss,
                   100 * report.validation_accuracy);
    }
  }
  void End() const {
    if (steps_ > 0) std::fputc('\n', stderr);
  }

 private:
  int64_t steps_ = 0;
  double loss_ = 0;
  double seconds_ = 0;
  double tokens_ = 0;
};

Json ToJson(const TrainingPlan& plan) {
  Json json = {{"parameters", plan.parameters},
               {"active_parameters", plan.active_parameters},
               {"draft_parameters", plan.draft_parameters},
               {"official_bytes", plan.official_bytes},
               {"float32_bytes", plan.float32_bytes},
               {"checkpoint_bytes", plan.checkpoint_bytes},
               {"memory_bytes", plan.memory_bytes},
               {"threads", plan.threads},
               {"optimiser_seconds_per_step", plan.optimiser_seconds},
               {"tokens", plan.tokens},
               {"flops", plan.flops},
               {"hours", plan.hours}};
  for (const training::StagePlan& stage : plan.stages) {
    json["stages"].push_back({{"name", stage.name},
                              {"steps", stage.steps},
                              {"tokens_per_step", stage.tokens_per_step},
                              {"flops_per_token", stage.flops_per_token},
                              {"seconds_per_step", stage.seconds_per_step},
                              {"tokens_per_second", stage.tokens_per_second},
                              {"hours", stage.hours}});
  }
  return json;
}

void Print(const TrainingPlan& plan) {
  constexpr double kMega = 1e6;
  std::printf("parameters  %.3f M, %.3f M active in a token, draft block %.3f M\n",
              static_cast<double>(plan.parameters) / kMega,
              static_cast<double>(plan.active_parameters) / kMega,
              static_cast<double>(plan.draft_parameters) / kMega);
  std::printf("on disk     %.2f MB official, %.2f MB float32; a training checkpoint %.1f MB\n",
              static_cast<double>(plan.official_bytes) / kMega,
              static_cast<double>(plan.float32_bytes) / kMega,
              static_cast<double>(plan.checkpoint_bytes) / kMega);
  std::printf("memory      %.0f MB with %d threads\n",
              static_cast<double>(plan.memory_bytes) / kMega, plan.threads);
  for (const training::StagePlan& stage : plan.stages) {
    std::printf(
        "%-11s %lld steps of %lld tokens, %.1f MFLOP a token, %.0f tokens/s now, %.2f GFLOP/s, "
        "%.3f h\n",
        stage.name.c_str(), static_cast<long long>(stage.steps),
        static_cast<long long>(stage.tokens_per_step), stage.flops_per_token / kMega,
        stage.tokens_per_second, stage.tokens_per_second * stage.flops_per_token / 1e9,
        stage.hours);
  }
  std::printf("in all      %.3f M tokens, %.3g FLOP, %.2f h (optimiser %.3f s a step)\n",
              static_cast<double>(plan.tokens) / kMega, plan.flops, plan.hours,
              plan.optimiser_seconds);
}

int ShowPlan(const TrainConfig& config, const TrainFlags& flags) {
  const auto plan = training::PlanTraining(config, flags.threads);
  if (!plan.ok()) return Fail(plan.status(), flags.json);
  if (flags.json) {
    std::cout << ToJson(*plan).dump(2) << "\n";
  } else {
    Print(*plan);
  }
  return kExitOk;
}

int Train(TrainConfig config, const TrainFlags& flags) {
  Progress progress;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  training::RunOptions options;
  options.folder = flags.out;
  options.threads = flags.threads;
  options.steps_max = flags.steps;
  options.mode = flags.resume ? training::RunMode::kResume : training::RunMode::kFresh;
  options.cancelled = &g_interrupted;
  options.on_step = [&](const StepReport& report) {
    if (flags.json) std::cout << ToJson(report).dump() << std::endl;
    if (terminal && !flags.json) progress.Show(report);
  };
  const int64_t steps = config.schedule.steps;
  auto trainer = training::Trainer::Open(std::move(config), std::move(options));
  if (!trainer.ok()) return Fail(trainer.status(), flags.json);
  Status status;
  {
    const InterruptScope interrupts;
    status = (*trainer)->Run();
  }
  if (terminal && !flags.json) progress.End();
  if (!status.ok()) return Fail(status, flags.json);
  if (!flags.json) {
    std::printf("%lld of %lld steps done; model, checkpoints and curves.csv are in %s\n",
                static_cast<long long>((*trainer)->step()), static_cast<long long>(steps),
                flags.out.c_str());
  }
  return kExitOk;
}

int WriteSamples(const TrainConfig& config, const TrainFlags& flags) {
  const bool terminal = isatty(STDERR_FILENO) != 0 && !flags.json;
  const int64_t steps =
      flags.steps > 0 ? std::min(flags.steps, config.schedule.steps) : config.schedule.steps;
  const Status status =
      training::WriteSamples(config, steps, flags.write_samples, [&](int64_t step) {
        if (!terminal || step % 20 != 0) return;
        std::fprintf(stderr, "\r\033[Ksamples of step %lld of %lld", static_cast<long long>(step),
                     static_cast<long long>(steps));
      });
  if (terminal) std::fputc('\n', stderr);
  if (!status.ok()) return Fail(status, flags.json);
  if (!flags.json) {
    std::printf("the samples of %lld steps are in %s\n", static_cast<long long>(steps),
                flags.write_samples.c_str());
  }
  return kExitOk;
}

int Run(const TrainFlags& flags) {
  auto config = TrainConfig::FromFile(flags.config);
  if (!config.ok()) return Fail(config.status(), flags.json);
  if (!flags.write_samples.empty()) return WriteSamples(*config, flags);
  return flags.plan ? ShowPlan(*config, flags) : Train(std::move(config).value(), flags);
}

}  // namespace

void AddTrain(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<TrainFlags>();  // owners: the callback
  CLI::App* command = app.add_subcommand(
      "train", "Train a small DeepSeek-V4 from a JSON config, on this machine's cores");
  command
      ->add_option("config", flags->config,
                   "Training config; model/training/README.md lists "
                   "its fields")
      ->required();
  command->add_flag("--plan", flags->plan,
                    "Only state parameters, bytes, memory, FLOPs, measured speed and hours");
  command->add_flag("--resume", flags->resume, "Go on from the newest checkpoint in --out");
  command->add_option("--steps", flags->steps, "Stop after so many steps; 0: at the end of the run")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--out", flags->out, "Folder of the run: checkpoints, curves, models")
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "0: one per core; changes no result")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--write-samples", flags->write_samples,
                      "Don't train: write the samples of the run's steps to this JSONL file, the "
                      "validation as step 0");
  command->add_flag("--json", flags->json, "One JSON line per step on stdout");
  command->footer(
      "Ctrl-C saves a checkpoint and stops. Same config, same bits, however often a run "
      "is interrupted.");
  command->callback([flags, exit_code] { *exit_code = Run(*flags); });
}

}  // namespace baleen::cli
