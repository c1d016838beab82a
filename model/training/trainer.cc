#include "model/training/trainer.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "model/checkpoint/checkpoint.h"
#include "model/training/export_checkpoint.h"
#include "model/training/gate.h"
#include "model/training/random_stream.h"
#include "model/training/routing_bias.h"
#include "model/training/structured_start.h"
#include "model/training/weight_rounding.h"

namespace baleen::training {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Result<ParameterSet> StartParameters(const TrainConfig& config) {
  if (config.start != StartKind::kCheckpoint) return ParameterSet::Make(config.model);
  const std::string folder =
      (std::filesystem::path(config.folder) / config.start_checkpoint).string();
  ASSIGN_OR_RETURN(const auto source, Checkpoint::Open(folder, {}));
  if (source->config().ToJson() != config.model.ToJson()) {
    return FailedPreconditionError(
        "start checkpoint '" + folder + "': its config.json differs from the training config's " +
        "model in " + FirstDifference(config.model.ToJson(), source->config().ToJson()));
  }
  return ParameterSet::FromSource(*source);
}

Status CheckHashTables(const ParameterSet& parameters) {
  for (const HashTable& table : parameters.hash_tables()) {
    for (int32_t expert : table.experts) {
      if (expert >= 0 && expert < parameters.config().experts) continue;
      return DataLossError("training checkpoint: tensor '" + table.name + "': expected experts " +
                           "below " + std::to_string(parameters.config().experts) + ", got " +
                           std::to_string(expert));
    }
  }
  return OkStatus();
}

bool IsDraft(const std::string& name) { return name.starts_with("mtp."); }

// Parameters that nothing in the stage gives a gradient, or that it shall leave alone: not even
// decayed.
std::vector<bool> FrozenIn(const StageSpec& stage, const ParameterSet& parameters) {
  std::vector<bool> frozen;
  for (const Parameter& parameter : parameters.all()) {
    const bool indexer = IsIndexerParameter(parameter.name);
    bool still = parameter.rule == UpdateRule::kRoutingBias;
    if (indexer &&
        (stage.graph.indexer == IndexerStage::kOff || stage.graph.index_kl_weight == 0)) {
      still = true;
    }
    if (IsDraft(parameter.name) && stage.graph.mtp_weight == 0) still = true;
    if (!indexer && stage.trained == Trained::kIndexer) still = true;
    frozen.push_back(still);
  }
  return frozen;
}

double PeakLoad(const LossReport& losses, int64_t hash_layers) {
  double peak = 0;
  for (size_t l = static_cast<size_t>(hash_layers); l < losses.expert_load.size(); ++l) {
    const auto& load = losses.expert_load[l];
    double total = 0;
    double most = 0;
    for (int64_t tokens : load) {
      total += static_cast<double>(tokens);
      most = std::max(most, static_cast<double>(tokens));
    }
    if (total > 0) peak = std::max(peak, most * static_cast<double>(load.size()) / total);
  }
  return peak;
}

void UpdateRoutingBiases(const LossReport& losses, float rate, ParameterSet* parameters) {
  const ModelConfig& config = parameters->config();
  for (size_t l = 0; l < losses.expert_load.size(); ++l) {
    const bool draft = static_cast<int64_t>(l) >= config.layers;
    Parameter* bias =
        parameters->Find((draft ? "mtp.0" : "layers." + std::to_string(l)) + ".ffn.gate.bias");
    if (bias != nullptr && !losses.expert_load[l].empty()) {
      UpdateRoutingBias(losses.expert_load[l], rate, bias->value);
    }
  }
}

}  // namespace

Trainer::Trainer(TrainConfig config, RunOptions options, ParameterSet parameters)
    : config_(std::move(config)),
      options_(std::move(options)),
      parameters_(std::move(parameters)),
      optimiser_(parameters_, config_.optimiser) {}

Result<std::unique_ptr<Trainer>> Trainer::Open(TrainConfig config, RunOptions options) {
  ASSIGN_OR_RETURN(ParameterSet parameters, StartParameters(config));
  std::unique_ptr<Trainer> trainer(
      new Trainer(std::move(config), std::move(options), std::move(parameters)));
  RETURN_IF_ERROR(trainer->Lock());
  ASSIGN_OR_RETURN(trainer->workers_,
                   GradientWorkers::Make(trainer->parameters_, trainer->config_.arithmetic,
                                         trainer->options_.threads));
  RETURN_IF_ERROR(trainer->options_.mode == RunMode::kResume ? trainer->Resume()
                                                             : trainer->Start());
  return trainer;
}

// One run at a time in a folder; the lock goes with the process.
Status Trainer::Lock() {
  std::error_code error;
  std::filesystem::create_directories(options_.folder, error);
  if (error) {
    return UnavailableError("cannot create folder '" + options_.folder + "': " + error.message());
  }
  const std::string path = options_.folder + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return UnavailableError("cannot create '" + path + "': " + std::strerror(errno));
  lock_.emplace(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return FailedPreconditionError("another run holds '" + options_.folder +
                                   "'; wait for it or choose another folder");
  }
  return OkStatus();
}

Status Trainer::Start() {
  if (!ListTrainingCheckpoints(checkpoint_folder()).empty()) {
    return AlreadyExistsError("'" + options_.folder +
                              "' holds the checkpoints of a run; resume it or choose another "
                              "folder");
  }
  if (config_.start == StartKind::kPlain) PlainStart(config_.seed, &parameters_);
  if (config_.start == StartKind::kStructured) {
    StructuredStart(config_.seed, config_.structured, &parameters_);
  }
  state_.canonical = config_.canonical;
  return OkStatus();
}

Status Trainer::Resume() {
  const std::vector<int64_t> steps = ListTrainingCheckpoints(checkpoint_folder());
  if (steps.empty()) {
    return NotFoundError("no checkpoint to resume from in '" + checkpoint_folder() + "'");
  }
  const std::string path = TrainingCheckpointPath(checkpoint_folder(), steps.back());
  ASSIGN_OR_RETURN(state_, LoadTrainingCheckpoint(path, &parameters_, &optimiser_));
  if (state_.canonical != config_.canonical) {
    return FailedPreconditionError("'" + path +
                                   "' was written with another config; they differ in " +
                                   FirstDifference(state_.canonical, config_.canonical) +
                                   ". Resume with that config, or start a run in another folder");
  }
  if (state_.step > config_.schedule.steps) {
    return DataLossError("'" + path + "': step " + std::to_string(state_.step) + " of " +
                         std::to_string(config_.schedule.steps));
  }
  RETURN_IF_ERROR(CheckHashTables(parameters_));
  saved_step_ = state_.step;
  return OkStatus();
}

int64_t Trainer::StageBegin(size_t stage) const {
  int64_t begin = 0;
  for (size_t s = 0; s < stage; ++s) begin += config_.stages[s].steps;
  return begin;
}

// Opens the sources of the stage that the next step belongs to.
Status Trainer::EnterStage() {
  stage_ = 0;
  while (state_.step >= StageBegin(stage_ + 1)) ++stage_;
  const StageSpec& spec = stage();
  ASSIGN_OR_RETURN(samples_, StageSamples::Open(config_, stage_));
  if (!state_.source_identity.empty()) {
    const std::string identity = samples_->source().identity();
    if (state_.source_identity != identity) {
      return FailedPreconditionError("the samples of stage \"" + spec.name +
                                     "\" are not those of the run so far: expected \"" +
                                     state_.source_identity + "\", got \"" + identity +
                                     "\". Restore the files, or start a run in another folder");
    }
    RETURN_IF_ERROR(samples_->packer().Restore(state_.packer));
  }
  frozen_ = FrozenIn(spec, parameters_);
  rounded_.reset();
  if (spec.quantise_weights) {
    rounded_ = std::make_unique<ParameterSet>(parameters_);
    RoundWeights(parameters_, workers_->pool(), rounded_.get());
  }
  return OkStatus();
}

const ParameterSet& Trainer::seen() const { return rounded_ != nullptr ? *rounded_ : parameters_; }

// The draft block's loss weighs less once the rate decays.
GraphOptions Trainer::StepGraphOptions() const {
  GraphOptions graph = stage().graph;
  if (state_.step >= config_.schedule.decay_start()) {
    graph.mtp_weight *= static_cast<float>(config_.mtp_decay_factor);
  }
  return graph;
}

std::string Trainer::LastCheckpoint() const {
  return saved_step_ < 0 ? "there is no checkpoint yet"
                         : "the last checkpoint is that of step " + std::to_string(saved_step_);
}

Status Trainer::CheckGuards(const StepReport& report) const {
  const std::string where = "step " + std::to_string(report.step) + ": ";
  const double norm = report.gradient_norm;
  if (!std::isfinite(norm) || !std::isfinite(report.losses.loss)) {
    std::string first = "the loss";
    for (size_t p = 0; p < parameters_.all().size(); ++p) {
      const std::span<const float> gradient = workers_->gradients()[p];
      if (std::all_of(gradient.begin(), gradient.end(), [](float g) { return std::isfinite(g); })) {
        continue;
      }
      first = "the gradient of '" + parameters_.all()[p].name + "'";
      break;
    }
    return AbortedError(where + first + " is not finite; nothing was updated. " + LastCheckpoint() +
                            "; resume from it with lower rates or a clip_norm",
                        "NOT_FINITE");
  }
  if (norm > config_.guards.gradient_norm_max) {
    return AbortedError(where + "gradient norm: expected at most guards.gradient_norm_max (" +
                            std::to_string(config_.guards.gradient_norm_max) + "), got " +
                            std::to_string(norm) + "; nothing was updated. " + LastCheckpoint(),
                        "GRADIENT_NORM");
  }
  if (report.losses.loss > config_.guards.loss_max) {
    return AbortedError(where + "loss: expected at most guards.loss_max (" +
                            std::to_string(config_.guards.loss_max) + "), got " +
                            std::to_string(report.losses.loss) + "; nothing was updated. " +
                            LastCheckpoint(),
                        "LOSS");
  }
  return OkStatus();
}

Status Trainer::UpdateParameters(const StepReport& report) {
  StepRates rates;
  rates.matrices = static_cast<float>(config_.matrix_rate * report.rate_share);
  rates.rest = static_cast<float>(config_.rest_rate * report.rate_share);
  if (config_.clip_norm > 0 && report.gradient_norm > config_.clip_norm) {
    rates.gradient_scale = static_cast<float>(config_.clip_norm / report.gradient_norm);
  }
  optimiser_.Step(workers_->gradients(), rates, frozen_, workers_->pool(), &parameters_);
  if (stage().trained == Trained::kAll) {
    UpdateRoutingBiases(report.losses, config_.routing_bias_rate, &parameters_);
  }
  if (rounded_ != nullptr) RoundWeights(parameters_, workers_->pool(), rounded_.get());
  return OkStatus();
}

Status Trainer::Step(StepReport* report) {
  const auto begin = std::chrono::steady_clock::now();
  report->step = state_.step + 1;
  report->steps = config_.schedule.steps;
  report->stage = stage().name;
  report->rate_share = config_.schedule.ShareAt(state_.step);
  ASSIGN_OR_RETURN(const std::vector<TrainBatch> batches, samples_->NextStep());
  auto losses = workers_->Run(seen(), batches, StepGraphOptions());
  if (!losses.ok()) {
    const Status status = losses.status().WithContext("step " + std::to_string(report->step));
    if (status.code() != StatusCode::kInternal) return status;
    return AbortedError(status.message() + "; nothing was updated. " + LastCheckpoint() +
                            "; resume from it with lower rates or a clip_norm",
                        "NOT_FINITE");
  }
  report->losses = std::move(losses).value();
  report->gradient_norm = workers_->GradientNorm();
  report->load_peak = PeakLoad(report->losses, config_.model.hash_layers);
  RETURN_IF_ERROR(CheckGuards(*report));
  RETURN_IF_ERROR(UpdateParameters(*report));
  state_.step = report->step;
  state_.tokens += report->losses.tokens;
  report->tokens_seen = state_.tokens;
  report->seconds = SecondsSince(begin);
  state_.seconds += report->seconds;
  return OkStatus();
}

Status Trainer::AskGate(StepReport* report) {
  const std::optional<GateSpec>& gate = stage().gate;
  if (!gate.has_value() || state_.step != StageBegin(stage_) + gate->after_step) return OkStatus();
  GateOptions options;
  options.seed = config_.seed;
  options.samples = gate->samples;
  options.distance = gate->distance_windows * stage().graph.window;
  options.token_low = static_cast<int32_t>(gate->token_low);
  options.token_high = static_cast<int32_t>(gate->token_high);
  ASSIGN_OR_RETURN(const Score score, CopyAccuracy(seen(), stage().graph, options, *workers_));
  report->gated = true;
  report->gate_accuracy = score.accuracy;
  return OkStatus();
}

Status Trainer::CheckGate(const StepReport& report) const {
  if (!report.gated || report.gate_accuracy >= stage().gate->accuracy) return OkStatus();
  const int64_t distance = stage().gate->distance_windows * stage().graph.window;
  return AbortedError("gate of stage \"" + stage().name + "\" at step " +
                          std::to_string(report.step) + ": random tokens repeated at " +
                          std::to_string(distance) + " tokens: expected an accuracy of " +
                          std::to_string(stage().gate->accuracy) + ", got " +
                          std::to_string(report.gate_accuracy) +
                          "; the start or the config is at fault (start.kind, window, rates)",
                      "GATE");
}

Status Trainer::Validate(StepReport* report) {
  const ValidationSpec& spec = config_.validation;
  if (spec.every_steps == 0) return OkStatus();
  if (report->step % spec.every_steps != 0 && report->step != report->steps) return OkStatus();
  if (validation_.empty()) {
    ASSIGN_OR_RETURN(validation_, ValidationBatches(config_));
  }
  ASSIGN_OR_RETURN(const Score score, workers_->Evaluate(seen(), validation_, stage().graph));
  report->validated = true;
  report->validation_loss = score.loss;
  report->validation_accuracy = score.accuracy;
  return OkStatus();
}

Status Trainer::Save() {
  if (saved_step_ == state_.step) return OkStatus();
  const bool at_border = state_.step == StageBegin(stage_ + 1);
  RunState saved = state_;
  saved.packer = at_border ? PackerState{} : samples_->packer().state();
  saved.source_identity = at_border ? "" : samples_->source().identity();
  RETURN_IF_ERROR(SaveTrainingCheckpoint(checkpoint_folder(), saved, parameters_, optimiser_,
                                         config_.checkpoints_kept));
  saved_step_ = state_.step;
  return OkStatus();
}

Status Trainer::Export() {
  for (const std::string& name : config_.exports) {
    const ExportOptions options{
        name == "official" ? ExportFormat::kOfficial : ExportFormat::kFloat32,
        config_.tokenizer.empty()
            ? ""
            : (std::filesystem::path(config_.folder) / config_.tokenizer).string()};
    RETURN_IF_ERROR(ExportModel(parameters_, options_.folder + "/" + name, options));
  }
  return OkStatus();
}

Status Trainer::Loop(int64_t end) {
  for (bool entered = false; state_.step < end;) {
    if (options_.cancelled != nullptr && options_.cancelled->load()) break;
    if (!entered || state_.step == StageBegin(stage_ + 1)) {
      RETURN_IF_ERROR(EnterStage());
      state_.source_identity.clear();  // It was the loaded checkpoint's.
      entered = true;
    }
    StepReport report;
    RETURN_IF_ERROR(Step(&report));
    RETURN_IF_ERROR(Validate(&report));
    RETURN_IF_ERROR(AskGate(&report));
    RETURN_IF_ERROR(curves_->Add(report));
    if (options_.on_step) options_.on_step(report);
    if (state_.step % config_.checkpoint_every_steps == 0) RETURN_IF_ERROR(Save());
    RETURN_IF_ERROR(CheckGate(report));
  }
  return OkStatus();
}

Status Trainer::Run() {
  if (curves_ == nullptr) {
    ASSIGN_OR_RETURN(Curves curves, Curves::Open(options_.folder + "/curves.csv", state_.step));
    curves_ = std::make_unique<Curves>(std::move(curves));
  }
  int64_t end = config_.schedule.steps;
  if (options_.steps_max > 0) end = std::min(end, state_.step + options_.steps_max);
  const int64_t begin = state_.step;
  RETURN_IF_ERROR(Loop(end));
  if (state_.step > begin) RETURN_IF_ERROR(Save());
  return Export();
}

}  // namespace baleen::training
