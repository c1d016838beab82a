#include "model/checkpoint/checkpoint.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "model/checkpoint/file_access.h"
#include "model/checkpoint/shape.h"
#include "model/checkpoint/tensor_check.h"
#include "model/checkpoint/tensor_table.h"
#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

constexpr int64_t kConfigBytesMax = 16 << 20;
constexpr int64_t kIndexBytesMax = 256 << 20;
constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// Shards lie in the folder itself; an index must not be able to make us open anything else.
bool IsShardName(const std::string& name) {
  return name.ends_with(".safetensors") && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

Result<std::map<std::string, std::string>> ReadWeightMap(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kIndexBytesMax));
  const auto root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object()) {
    return InvalidArgumentError("'" + path + "': expected a JSON object with a weight_map object");
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& item : root["weight_map"].items()) {
    if (!item.value().is_string() || !IsShardName(item.value().get<std::string>())) {
      return InvalidArgumentError(
          "'" + path + "': weight_map of tensor '" + item.key() +
          "': expected the name of a .safetensors file in the same folder, got " +
          ShownJson(item.value()));
    }
    weight_map[item.key()] = item.value().get<std::string>();
  }
  if (weight_map.empty()) return InvalidArgumentError("'" + path + "': weight_map is empty");
  return weight_map;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& folder,
                                                     const CheckpointOptions& options) {
  auto checkpoint = std::make_unique<Checkpoint>();
  checkpoint->folder_ = folder;
  const std::string path = folder + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kConfigBytesMax));
  Result<ModelConfig> config = ModelConfig::FromJson(text);
  if (!config.ok()) return config.status().WithContext("'" + folder + "'");
  checkpoint->config_ = std::move(config).value();
  RETURN_IF_ERROR(checkpoint->OpenShards(options.access));
  RETURN_IF_ERROR(CheckTensors(*checkpoint).status().WithContext("'" + folder + "'"));
  return checkpoint;
}

Status Checkpoint::OpenShards(WeightAccess access) {
  if (FileExists(folder_ + "/" + kSingleFile)) {
    RETURN_IF_ERROR(OpenShard(kSingleFile, access));
    return AddShard(0, nullptr);
  }
  const std::string index = folder_ + "/" + kIndexFile;
  if (!FileExists(index)) {
    return NotFoundError("'" + folder_ + "': expected " + kSingleFile + " or " + kIndexFile +
                         ", found neither");
  }
  ASSIGN_OR_RETURN(const auto weight_map, ReadWeightMap(index));
  std::set<std::string> names;
  for (const auto& [tensor, shard] : weight_map) names.insert(shard);
  for (const std::string& name : names) {
    RETURN_IF_ERROR(OpenShard(name, access).WithContext("shard listed in '" + index + "'"));
    RETURN_IF_ERROR(AddShard(shards_.size() - 1, &weight_map));
  }
  return OkStatus();
}

Status Checkpoint::OpenShard(const std::string& name, WeightAccess access) {
  ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(folder_ + "/" + name, access));
  shard_names_.push_back(name);
  shards_.push_back(std::move(file));
  return OkStatus();
}

// With a weight map, the tensors it places in this shard; others are leftovers and not looked at.
Status Checkpoint::AddShard(size_t shard, const std::map<std::string, std::string>* weight_map) {
  std::set<std::string_view> present;
  for (const SafetensorsEntry& entry : shards_[shard]->tensors()) {
    if (weight_map != nullptr) {
      auto it = weight_map->find(entry.name);
      if (it == weight_map->end() || it->second != shard_names_[shard]) continue;
    }
    present.insert(entry.name);
    RETURN_IF_ERROR(AddTensor(shard, entry));
  }
  if (weight_map == nullptr) return OkStatus();
  for (const auto& [tensor, file] : *weight_map) {
    if (file != shard_names_[shard] || present.contains(tensor)) continue;
    return DataLossError("'" + folder_ + "/" + file + "': tensor '" + tensor + "' is missing; " +
                         kIndexFile + " places it there");
  }
  return OkStatus();
}

Status Checkpoint::AddTensor(size_t shard, const SafetensorsEntry& entry) {
  const TensorName name = OfficialName(entry.name);
  if (name.fused != FusedKind::kNone) return AddFused(shard, entry, name);
  return Add(name.official,
             {shard, entry.name, {entry.dtype, entry.shape, shards_[shard]->BytesOf(entry)}});
}

// [experts, rows, cols] -> one [rows, cols] per expert; gate_up holds the gate's rows, then up's.
Status Checkpoint::AddFused(size_t shard, const SafetensorsEntry& entry, const TensorName& name) {
  const bool halves = name.fused == FusedKind::kGateUp;
  const std::string where =
      "'" + folder_ + "/" + shard_names_[shard] + "': tensor '" + entry.name + "'";
  if (entry.shape.size() != 3 || entry.shape[0] != config_.experts ||
      (halves && entry.shape[1] % 2 != 0)) {
    return InvalidArgumentError(where + ": expected [" + std::to_string(config_.experts) +
                                (halves ? ", an even number" : ", rows") + ", columns], got " +
                                ShapeText(entry.shape));
  }
  if (name.scale && halves && config_.expert_dim % kFp8BlockSize != 0) {
    return InvalidArgumentError(where + ": scale blocks straddle gate and up; expected " +
                                "moe_intermediate_size to be a multiple of 128, got " +
                                std::to_string(config_.expert_dim));
  }
  const std::span<const std::byte> bytes = shards_[shard]->BytesOf(entry);
  const size_t pieces = static_cast<size_t>(config_.experts) * (halves ? 2 : 1);
  const size_t piece_bytes = bytes.size() / pieces;
  const std::vector<int64_t> shape = {entry.shape[1] / (halves ? 2 : 1), entry.shape[2]};
  for (size_t i = 0; i < pieces; ++i) {
    const size_t expert = halves ? i / 2 : i;
    const char* leaf = !halves ? ".w2." : i % 2 == 0 ? ".w1." : ".w3.";
    const std::string official =
        name.official + std::to_string(expert) + leaf + (name.scale ? "scale" : "weight");
    RETURN_IF_ERROR(Add(
        official,
        {shard, entry.name, {entry.dtype, shape, bytes.subspan(i * piece_bytes, piece_bytes)}}));
  }
  return OkStatus();
}

Status Checkpoint::Add(const std::string& official, Place place) {
  const auto [it, added] = tensors_.try_emplace(official, place);
  if (added) return OkStatus();
  return InvalidArgumentError("'" + folder_ + "': tensors '" + it->second.file_name + "' (in " +
                              shard_names_[it->second.shard] + ") and '" + place.file_name +
                              "' (in " + shard_names_[place.shard] + ") are both '" + official +
                              "'");
}

std::vector<std::string> Checkpoint::Names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, place] : tensors_) names.push_back(name);
  return names;
}

Result<TensorView> Checkpoint::Find(std::string_view name) const {
  auto it = tensors_.find(name);
  if (it != tensors_.end()) return it->second.view;
  const std::optional<std::string> other = TransformersName(name);
  return NotFoundError("tensor '" + std::string(name) + "'" +
                       (other.has_value() ? " (in transformers: '" + *other + "')" : "") +
                       " is missing in the safetensors files of '" + folder_ + "'");
}

int64_t Checkpoint::file_bytes() const {
  int64_t total = 0;
  for (const auto& shard : shards_) total += shard->file_bytes();
  return total;
}

bool Checkpoint::has_tokenizer() const { return FileExists(folder_ + "/tokenizer.json"); }

}  // namespace baleen
