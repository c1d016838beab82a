#include "runtime/cli/checkpoint_commands.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/integer_math.h"
#include "kernels/row_format.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/file_access.h"
#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/tensor_table.h"
#include "model/checkpoint/write_checkpoint.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kTokenizerBytesMax = int64_t{256} << 20;

int64_t CountLayers(const ModelConfig& config, LayerKind kind) {
  return std::count(config.layer_kinds.begin(), config.layer_kinds.end(), kind);
}

// "window, window, CSA, HCA x2": runs are shortened.
std::string LayerPattern(const ModelConfig& config) {
  std::string text;
  for (size_t l = 0; l < config.layer_kinds.size();) {
    const LayerKind kind = config.layer_kinds[l];
    size_t end = l;
    while (end < config.layer_kinds.size() && config.layer_kinds[end] == kind) ++end;
    text += text.empty() ? "" : ", ";
    text += kind == LayerKind::kWindow ? "window" : kind == LayerKind::kCsa ? "CSA" : "HCA";
    if (end - l > 1) text += " x" + std::to_string(end - l);
    l = end;
  }
  return text;
}

Json ConfigSummary(const ModelConfig& config) {
  return {{"layers", config.layers},
          {"window_layers", CountLayers(config, LayerKind::kWindow)},
          {"csa_layers", CountLayers(config, LayerKind::kCsa)},
          {"hca_layers", CountLayers(config, LayerKind::kHca)},
          {"hash_layers", config.hash_layers},
          {"layer_pattern", LayerPattern(config)},
          {"vocab", config.vocab},
          {"hidden", config.hidden},
          {"heads", config.heads},
          {"head_dim", config.head_dim},
          {"window", config.window},
          {"index_topk", config.index_topk},
          {"experts", config.experts},
          {"experts_per_token", config.experts_per_token},
          {"shared_experts", config.shared_experts},
          {"expert_dim", config.expert_dim},
          {"positions_max", config.positions_max},
          {"chat_dialect", config.dialect == ChatDialect::k0731 ? "0731" : "preview"}};
}

Result<Json> DTypeSummary(const Checkpoint& checkpoint) {
  std::map<std::string, std::pair<int64_t, int64_t>> counts;  // Type -> tensors, bytes.
  for (const std::string& name : checkpoint.Names()) {
    ASSIGN_OR_RETURN(const TensorView view, checkpoint.Find(name));
    auto& [tensors, bytes] = counts[std::string(TraitsOf(view.dtype).name)];
    ++tensors;
    bytes += static_cast<int64_t>(view.bytes.size());
  }
  Json summary = Json::object();
  for (const auto& [dtype, count] : counts) {
    summary[dtype] = {{"tensors", count.first}, {"bytes", count.second}};
  }
  return summary;
}

Result<Json> Inspect(const InspectOptions& options) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(options.model, {}));
  const ModelConfig& config = checkpoint->config();
  Json report = {{"model", options.model}, {"config", ConfigSummary(config)}};
  report["parameters"] = ParameterCount(BackboneTensors(config));
  report["parameters_active"] = ActiveParameterCount(config);
  report["draft_parameters"] = ParameterCount(MtpTensors(config));
  report["files"] = checkpoint->shard_names().size();
  report["file_bytes"] = checkpoint->file_bytes();
  ASSIGN_OR_RETURN(report["dtypes"], DTypeSummary(*checkpoint));
  report["kv_bytes_per_token"] = KvBytesPerToken(config, /*packed=*/true);
  report["kv_bytes_per_token_pure"] = KvBytesPerToken(config, /*packed=*/false);
  report["tokenizer"] = checkpoint->has_tokenizer();
  if (options.fingerprint) {
    FingerprintOptions how{options.fingerprint_cache, options.progress};
    ASSIGN_OR_RETURN(report["fingerprint"], CheckpointFingerprint(*checkpoint, how));
  }
  return report;
}

// A count with a unit a person can read: 284334567890 -> "284.33 B".
std::string Scaled(double value, double base, std::initializer_list<const char*> units) {
  auto unit = units.begin();
  while (value >= base && unit + 1 != units.end()) {
    value /= base;
    ++unit;
  }
  char text[48];
  std::snprintf(text, sizeof(text), "%.4g %s", value, *unit);
  std::string result = text;
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

std::string Count(const Json& value) {
  return Scaled(value.get<double>(), 1000, {"", "K", "M", "B", "T"});
}

std::string Bytes(const Json& value) {
  return Scaled(value.get<double>(), 1024, {"B", "KiB", "MiB", "GiB", "TiB"});
}

void Print(const Json& report, std::ostream& out) {
  const Json& config = report["config"];
  const auto number = [&](const char* key) { return config[key].dump(); };
  out << "model         " << report["model"].get<std::string>() << "\n"
      << "layers        " << number("layers") << ": " << config["layer_pattern"].get<std::string>()
      << "; first " << number("hash_layers") << " hash routed\n"
      << "dimensions    hidden " << number("hidden") << ", " << number("heads") << " heads of "
      << number("head_dim") << ", window " << number("window") << ", top-k " << number("index_topk")
      << ", vocabulary " << number("vocab") << "\n"
      << "experts       " << number("experts_per_token") << " of " << number("experts") << " + "
      << number("shared_experts") << " shared, width " << number("expert_dim") << "\n"
      << "parameters    " << Count(report["parameters"]) << ", active "
      << Count(report["parameters_active"]) << ", draft " << Count(report["draft_parameters"])
      << "\n"
      << "files         " << report["files"].dump() << ", " << Bytes(report["file_bytes"]) << "\n";
  for (const auto& item : report["dtypes"].items()) {
    out << "  " << item.key() << std::string(12 - std::min<size_t>(item.key().size(), 11), ' ')
        << item.value()["tensors"].dump() << " tensors, " << Bytes(item.value()["bytes"]) << "\n";
  }
  char kv[128];
  std::snprintf(kv, sizeof(kv), "%.2f bytes per token (pure: %.2f)",
                report["kv_bytes_per_token"].get<double>(),
                report["kv_bytes_per_token_pure"].get<double>());
  out << "kv            " << kv << "; up to " << number("positions_max") << " positions\n"
      << "chat dialect  " << config["chat_dialect"].get<std::string>() << "\n"
      << "tokenizer     " << (report["tokenizer"].get<bool>() ? "tokenizer.json" : "none") << "\n";
  if (report.contains("fingerprint")) {
    out << "fingerprint   " << report["fingerprint"].get<std::string>() << "\n";
  }
}

}  // namespace

double KvBytesPerToken(const ModelConfig& config, bool packed) {
  const int64_t nope = config.head_dim - config.rope_dim;
  const int64_t entry = packed
                            ? nope + CeilDivide(nope, kernels::kKvScaleBlock) + 2 * config.rope_dim
                            : 4 * config.head_dim;
  const int64_t key = packed ? CeilDivide(config.index_dim, 2) +
                                   CeilDivide(config.index_dim, kernels::kIndexScaleBlock)
                             : 4 * config.index_dim;
  const double csa = static_cast<double>(CountLayers(config, LayerKind::kCsa) * (entry + key));
  const double hca = static_cast<double>(CountLayers(config, LayerKind::kHca) * entry);
  return csa / kCsaRatio + hca / kHcaRatio;
}

Status InspectCheckpoint(const InspectOptions& options, std::ostream& out) {
  ASSIGN_OR_RETURN(const Json report, Inspect(options));
  if (options.json) {
    out << report.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    Print(report, out);
  }
  return OkStatus();
}

Status MakeTinyCheckpoint(const MakeTinyOptions& options, std::ostream& out) {
  const ModelConfig& config = options.config;
  RETURN_IF_ERROR(config.Validate());
  if (config.hidden % kFp4BlockSize != 0 || config.expert_dim % kFp4BlockSize != 0) {
    return InvalidArgumentError(
        "hidden_size and moe_intermediate_size: expected multiples of 32 "
        "(FP4 blocks), got " +
        std::to_string(config.hidden) + " and " + std::to_string(config.expert_dim));
  }
  // The seeded tensors are made in memory.
  constexpr int64_t kParametersMax = int64_t{2} << 30;
  const int64_t parameters = ParameterCount(BackboneTensors(config));
  if (parameters > kParametersMax) {
    return InvalidArgumentError("a tiny model of " + std::to_string(parameters) +
                                " parameters: expected at most " + std::to_string(kParametersMax));
  }
  std::string tokenizer;
  if (!options.tokenizer.empty()) {
    ASSIGN_OR_RETURN(tokenizer, ReadTextFile(options.tokenizer, kTokenizerBytesMax));
  }
  const RandomWeights weights(config, options.seed, options.storage);
  RETURN_IF_ERROR(
      WriteCheckpoint(weights, options.folder, {options.shard_bytes, NameStyle::kOfficial}));
  if (!options.tokenizer.empty()) {
    RETURN_IF_ERROR(WriteFileAtomically(options.folder + "/tokenizer.json", tokenizer));
  }
  out << "wrote " << options.folder << ": " << parameters << " parameters in " << config.layers
      << " layers from seed " << options.seed
      << (options.tokenizer.empty() ? ", without a tokenizer" : ", with a tokenizer") << "\n";
  return OkStatus();
}

}  // namespace baleen::cli
