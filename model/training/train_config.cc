#include "model/training/train_config.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <set>
#include <utility>

#include "model/checkpoint/file_access.h"
#include "model/checkpoint/tensor_table.h"
#include "model/training/config_reader.h"

namespace baleen::training {
namespace {

using Json = nlohmann::json;

constexpr int64_t kConfigBytesMax = int64_t{4} << 20;
constexpr int64_t kStepsMax = int64_t{1} << 32;
constexpr int64_t kStagesMax = 64;
constexpr int64_t kSourcesMax = 64;
constexpr int64_t kRowsMax = 4096;
constexpr int64_t kMicroBatchesMax = 1024;
constexpr int64_t kLengthMax = int64_t{1} << 20;
constexpr int64_t kBatchTokensMax = int64_t{1} << 22;
constexpr int64_t kSeedMax = INT64_MAX;
constexpr int64_t kKvBlock = 64;  // Channels under one scale of a packed KV row.

// Fields that may change between a run and its resumption.
constexpr const char* kChangeable[] = {"checkpoint", "export", "guards"};

void ReadStructured(ConfigReader& fields, StructuredStartOptions* start) {
  fields.Number("head_tie", &start->head_tie, 0, 100);
  fields.Number("ngram_gain", &start->ngram_gain, 0, 100);
  fields.Number("induction_write_gain", &start->induction_write_gain, 0, 100);
  fields.Number("induction_copy_gain", &start->induction_copy_gain, 0, 100);
  if (const Json* list = fields.Find("csa_gains")) {
    start->csa_gains.clear();
    if (!list->is_array() || list->size() > 64) {
      return fields.Complain("csa_gains", "a list of at most 64 numbers", ShownJson(*list));
    }
    for (const Json& gain : *list) {
      if (!gain.is_number() || !(gain.get<double>() >= 0 && gain.get<double>() <= 100)) {
        return fields.Complain("csa_gains", "numbers from 0 to 100", ShownJson(gain));
      }
      start->csa_gains.push_back(gain.get<float>());
    }
  }
}

Status ReadStart(const Json* value, TrainConfig* config) {
  if (value == nullptr) return OkStatus();
  ConfigReader fields(*value, "start.");
  fields.Require("kind");
  fields.Choice("kind", {"plain", "structured", "checkpoint"}, &config->start);
  if (config->start == StartKind::kStructured) ReadStructured(fields, &config->structured);
  if (config->start == StartKind::kCheckpoint) {
    fields.Require("path");
    fields.Text("path", &config->start_checkpoint);
  }
  return fields.Finish();
}

Status ReadOptimiser(const Json* value, TrainConfig* config) {
  if (value == nullptr) return OkStatus();
  OptimiserOptions& options = config->optimiser;
  ConfigReader fields(*value, "optimiser.");
  int kind = 0;
  fields.Choice("kind", {"muon", "adamw"}, &kind);
  options.muon_for_matrices = kind == 0;
  fields.Number("matrix_rate", &config->matrix_rate, 0, 10);
  fields.Number("rest_rate", &config->rest_rate, 0, 10);
  fields.Number("momentum", &options.muon.momentum, 0, 0.9999);
  fields.Number("matrix_decay", &options.muon.weight_decay, 0, 10);
  fields.Number("update_rms", &options.muon.update_rms, 1e-6, 10);
  fields.Number("beta1", &options.adamw.beta1, 0, 0.9999);
  fields.Number("beta2", &options.adamw.beta2, 0, 0.99999);
  fields.Number("epsilon", &options.adamw.epsilon, 1e-30, 1);
  fields.Number("rest_decay", &options.adamw.weight_decay, 0, 10);
  fields.Number("clip_norm", &config->clip_norm, 0, 1e9);
  int64_t fast = options.muon.steps.fast;
  int64_t stable = options.muon.steps.stable;
  fields.Int("newton_schulz_fast", &fast, 0, 20);
  fields.Int("newton_schulz_stable", &stable, 0, 20);
  options.muon.steps = {static_cast<int>(fast), static_cast<int>(stable)};
  return fields.Finish();
}

Status ReadSchedule(const Json* value, TrainConfig* config) {
  if (value == nullptr) return OkStatus();
  ConfigReader fields(*value, "schedule.");
  fields.Int("warmup_steps", &config->schedule.warmup_steps, 0, kStepsMax);
  fields.Number("decay_share", &config->schedule.decay_share, 0, 1);
  fields.Number("final_share", &config->schedule.final_share, 0, 1);
  fields.Number("mtp_decay_factor", &config->mtp_decay_factor, 0, 1);
  return fields.Finish();
}

Status ReadSources(const Json* list, const std::string& path, std::vector<SourceSpec>* sources) {
  if (list == nullptr || !list->is_array() || list->empty() ||
      static_cast<int64_t>(list->size()) > kSourcesMax) {
    return InvalidArgumentError("training config: " + path + ": expected a list of 1 to " +
                                std::to_string(kSourcesMax) + " sources, got " +
                                (list == nullptr ? "nothing" : ShownJson(*list)));
  }
  const std::vector<std::string> kinds = SourceKinds();
  for (size_t i = 0; i < list->size(); ++i) {
    SourceSpec spec;
    ConfigReader fields((*list)[i], path + "[" + std::to_string(i) + "].");
    size_t kind = 0;
    fields.Require("kind");
    fields.Choice("kind", kinds, &kind);
    fields.Number("share", &spec.share, 1e-9, 1e9);
    Json rest = (*list)[i];
    if (rest.is_object()) {
      for (const char* key : {"kind", "share"}) rest.erase(key);
      for (const auto& item : rest.items()) fields.Find(item.key());  // The source checks them.
    }
    RETURN_IF_ERROR(fields.Finish());
    spec.kind = kinds[kind];
    spec.options = JsonText(rest);
    sources->push_back(std::move(spec));
  }
  return OkStatus();
}

Status ReadGate(const Json& value, const std::string& path, int64_t vocab, StageSpec* stage) {
  GateSpec gate;
  gate.token_high = vocab;
  ConfigReader fields(value, path + "gate.");
  fields.RequiredInt("after_step", &gate.after_step, 1, stage->steps);
  fields.Number("accuracy", &gate.accuracy, 0, 1);
  fields.Int("distance_windows", &gate.distance_windows, 1, 1000);
  fields.Int("samples", &gate.samples, 1, 10000);
  fields.Int("token_low", &gate.token_low, 0, vocab - 1);
  fields.Int("token_high", &gate.token_high, gate.token_low + 1, vocab);
  stage->gate = gate;
  return fields.Finish();
}

void ReadLosses(ConfigReader& fields, StageSpec* stage) {
  fields.Number("mtp_weight", &stage->graph.mtp_weight, 0, 100);
  fields.Number("balance_weight", &stage->graph.balance_weight, 0, 100);
  fields.Number("index_kl_weight", &stage->graph.index_kl_weight, 0, 100);
  fields.Choice("indexer", {"off", "warm-up", "sparse"}, &stage->graph.indexer);
  fields.Choice("train", {"all", "indexer"}, &stage->trained);
  if (stage->trained == Trained::kIndexer && stage->graph.indexer == IndexerStage::kOff) {
    fields.Complain("train", "\"all\", since the stage's indexer is off", "\"indexer\"");
  }
}

Status ReadStage(const Json& value, const std::string& path, const ModelConfig& model,
                 StageSpec* stage) {
  ConfigReader fields(value, path);
  stage->graph.window = model.window;
  stage->graph.mtp_weight = model.mtp_layers > 0 ? 0.3F : 0.0F;
  stage->graph.balance_weight = 1e-4F;
  stage->graph.index_kl_weight = 1;
  fields.Text("name", &stage->name);
  fields.RequiredInt("steps", &stage->steps, 1, kStepsMax);
  fields.Int("micro_batches", &stage->micro_batches, 1, kMicroBatchesMax);
  fields.Int("rows", &stage->rows, 1, kRowsMax);
  fields.RequiredInt("length", &stage->length, 2, std::min(kLengthMax, model.positions_max));
  fields.Int("window", &stage->graph.window, 1, model.window);
  fields.Int("pool", &stage->pool, 1, 100000);
  fields.Choice("long_samples", {"refuse", "skip"}, &stage->long_samples);
  ReadLosses(fields, stage);
  bool quantise = false;
  fields.Bool("quantise", &quantise);
  stage->graph.quantise = stage->quantise_weights = quantise;
  if (stage->rows * stage->length > kBatchTokensMax) {
    fields.Complain("rows", "rows x length of at most " + std::to_string(kBatchTokensMax),
                    std::to_string(stage->rows) + " x " + std::to_string(stage->length));
  }
  const Json* sources = fields.Find("sources");
  const Json* gate = fields.Find("gate");
  RETURN_IF_ERROR(fields.Finish());
  RETURN_IF_ERROR(ReadSources(sources, path + "sources", &stage->sources));
  return gate == nullptr ? OkStatus() : ReadGate(*gate, path, model.vocab, stage);
}

Status ReadStages(const Json* list, TrainConfig* config) {
  if (list == nullptr || !list->is_array() || list->empty() ||
      static_cast<int64_t>(list->size()) > kStagesMax) {
    return InvalidArgumentError("training config: stages: expected a list of 1 to " +
                                std::to_string(kStagesMax) + " stages, got " +
                                (list == nullptr ? "nothing" : ShownJson(*list)));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    StageSpec stage;
    stage.name = "stage " + std::to_string(i);
    RETURN_IF_ERROR(
        ReadStage((*list)[i], "stages[" + std::to_string(i) + "].", config->model, &stage));
    config->schedule.steps += stage.steps;
    config->stages.push_back(std::move(stage));
  }
  return OkStatus();
}

Status ReadValidation(const Json* value, TrainConfig* config) {
  if (value == nullptr) return OkStatus();
  ValidationSpec& validation = config->validation;
  ConfigReader fields(*value, "validation.");
  fields.RequiredInt("every_steps", &validation.every_steps, 1, kStepsMax);
  fields.Int("batches", &validation.batches, 1, 10000);
  fields.Int("rows", &validation.rows, 1, kRowsMax);
  fields.Int("length", &validation.length, 2, std::min(kLengthMax, config->model.positions_max));
  if (validation.rows * validation.length > kBatchTokensMax) {
    fields.Complain("rows", "rows x length of at most " + std::to_string(kBatchTokensMax),
                    std::to_string(validation.rows) + " x " + std::to_string(validation.length));
  }
  const Json* sources = fields.Find("sources");
  RETURN_IF_ERROR(fields.Finish());
  return ReadSources(sources, "validation.sources", &validation.sources);
}

Status ReadGuards(const Json* value, TrainConfig* config) {
  if (value == nullptr) return OkStatus();
  ConfigReader fields(*value, "guards.");
  fields.Number("gradient_norm_max", &config->guards.gradient_norm_max, 1e-6, 1e30);
  fields.Number("loss_max", &config->guards.loss_max, 1e-6, 1e30);
  return fields.Finish();
}

Status ReadCheckpoint(const Json* value, TrainConfig* config) {
  if (value == nullptr) return OkStatus();
  ConfigReader fields(*value, "checkpoint.");
  fields.Int("every_steps", &config->checkpoint_every_steps, 1, kStepsMax);
  fields.Int("keep", &config->checkpoints_kept, 1, 1000);
  return fields.Finish();
}

Status ReadExports(const Json* list, TrainConfig* config) {
  if (list == nullptr) {
    config->exports = {"official"};
    return OkStatus();
  }
  for (const Json& name : list->is_array() ? *list : Json::array({*list})) {
    if (name != "official" && name != "float32") {
      return InvalidArgumentError(
          "training config: export: expected a list of \"official\" and \"float32\", got " +
          ShownJson(*list));
    }
    config->exports.push_back(name.get<std::string>());
  }
  return OkStatus();
}

// The model's fields, in place or in a file.
Result<Json> ModelFields(const Json* value, const std::string& folder) {
  if (value == nullptr) {
    return InvalidArgumentError(
        "training config: model: expected the fields of a config.json or the path of one, got "
        "nothing");
  }
  if (!value->is_string()) return *value;
  const std::string path = (std::filesystem::path(folder) / value->get<std::string>()).string();
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kConfigBytesMax));
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

Status RefuseModel(const std::string& field, const std::string& expected, int64_t got,
                   const std::string& why) {
  return InvalidArgumentError("training config: model." + field + ": expected " + expected +
                              ", got " + std::to_string(got) + "; " + why);
}

// What the released formats and their round trips need; a float32 model without them may differ.
Status CheckFormats(const TrainConfig& config) {
  const ModelConfig& model = config.model;
  const bool official = std::count(config.exports.begin(), config.exports.end(), "official") > 0 ||
                        std::any_of(config.stages.begin(), config.stages.end(),
                                    [](const StageSpec& stage) { return stage.quantise_weights; });
  if (!official) return OkStatus();
  const std::string why = "the official formats need it (export \"float32\" doesn't)";
  const bool fp4 = model.expert_dtype == "fp4";
  if (fp4 && model.hidden % kFp4BlockSize != 0) {
    return RefuseModel("hidden_size", "a multiple of 32", model.hidden, why);
  }
  if (fp4 && model.expert_dim % kFp4BlockSize != 0) {
    return RefuseModel("moe_intermediate_size", "a multiple of 32", model.expert_dim, why);
  }
  const int64_t nope = model.head_dim - model.rope_dim;
  if (nope % kKvBlock != 0) {
    return RefuseModel("head_dim", "qk_rope_head_dim plus a multiple of 64", model.head_dim, why);
  }
  return OkStatus();
}

Status CheckModel(const ModelConfig& model) {
  const bool csa =
      std::count(model.layer_kinds.begin(), model.layer_kinds.end(), LayerKind::kCsa) > 0;
  const auto index_dim = static_cast<uint64_t>(model.index_dim);
  if (csa && (!std::has_single_bit(index_dim) || model.index_dim % kFp4BlockSize != 0)) {
    return RefuseModel("index_head_dim", "a power of two of at least 32", model.index_dim,
                       "index keys are rotated by a Hadamard matrix");
  }
  if (model.mtp_layers > 1) {
    return RefuseModel("num_nextn_predict_layers", "0 or 1", model.mtp_layers,
                       "the trainer has one draft block");
  }
  return OkStatus();
}

std::string Canonical(Json root, const TrainConfig& config) {
  for (const char* key : kChangeable) root.erase(key);
  root["model"] = Json::parse(config.model.ToJson());
  return JsonText(root);
}

}  // namespace

int64_t TrainConfig::total_tokens() const {
  int64_t tokens = 0;
  for (const StageSpec& stage : stages) tokens += stage.steps * stage.tokens_per_step();
  return tokens;
}

Result<TrainConfig> TrainConfig::FromJson(std::string_view json, const std::string& folder) {
  const Json root = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    return InvalidArgumentError(
        "training config: expected one JSON object, got " +
        std::string(root.is_discarded() ? "text that is not JSON" : root.type_name()));
  }
  TrainConfig config;
  config.folder = folder;
  ConfigReader fields(root, "");
  int64_t seed = 1;
  fields.Int("seed", &seed, 0, kSeedMax);
  config.seed = static_cast<uint64_t>(seed);
  fields.Text("tokenizer", &config.tokenizer);
  fields.Number("routing_bias_rate", &config.routing_bias_rate, 0, 1);
  fields.Choice("arithmetic", {"float32", "bfloat16"}, &config.arithmetic);
  config.optimiser.arithmetic = config.arithmetic;
  for (const char* key : {"model", "start", "optimiser", "schedule", "stages", "validation",
                          "guards", "checkpoint", "export"}) {
    fields.Find(key);
  }
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(const Json model, ModelFields(fields.Find("model"), folder));
  auto parsed = ModelConfig::FromJson(JsonText(model));
  if (!parsed.ok()) return parsed.status().WithContext("training config: model");
  config.model = std::move(parsed).value();
  RETURN_IF_ERROR(CheckModel(config.model));
  RETURN_IF_ERROR(ReadStart(fields.Find("start"), &config));
  RETURN_IF_ERROR(ReadOptimiser(fields.Find("optimiser"), &config));
  RETURN_IF_ERROR(ReadSchedule(fields.Find("schedule"), &config));
  RETURN_IF_ERROR(ReadStages(fields.Find("stages"), &config));
  RETURN_IF_ERROR(ReadValidation(fields.Find("validation"), &config));
  RETURN_IF_ERROR(ReadGuards(fields.Find("guards"), &config));
  RETURN_IF_ERROR(ReadCheckpoint(fields.Find("checkpoint"), &config));
  RETURN_IF_ERROR(ReadExports(fields.Find("export"), &config));
  RETURN_IF_ERROR(CheckFormats(config));
  if (config.start == StartKind::kStructured) {
    RETURN_IF_ERROR(CheckStructuredStart(config.model, config.structured));
  }
  config.canonical = Canonical(root, config);
  return config;
}

Result<TrainConfig> TrainConfig::FromFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kConfigBytesMax));
  std::string folder = std::filesystem::path(path).parent_path().string();
  auto config = FromJson(text, folder.empty() ? "." : folder);
  if (!config.ok()) return config.status().WithContext("'" + path + "'");
  return config;
}

std::string FirstDifference(const std::string& canonical, const std::string& other) {
  const Json a = Json::parse(canonical, nullptr, /*allow_exceptions=*/false);
  const Json b = Json::parse(other, nullptr, /*allow_exceptions=*/false);
  if (a.is_discarded() || b.is_discarded()) return "(unreadable)";
  const Json patch = Json::diff(a, b);
  return patch.empty() ? "" : patch[0]["path"].get<std::string>().substr(1);
}

}  // namespace baleen::training
