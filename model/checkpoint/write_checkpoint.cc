#include "model/checkpoint/write_checkpoint.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "model/checkpoint/file_access.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/tensor_names.h"

namespace baleen {
namespace {

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

int64_t BytesOf(const SafetensorsOutput& tensor) {
  int64_t bytes = 0;
  for (std::span<const std::byte> part : tensor.parts) bytes += static_cast<int64_t>(part.size());
  return bytes;
}

// One fused tensor from the matrices `leaves` of every expert, in this order.
Result<SafetensorsOutput> Fuse(const WeightSource& source, const std::string& layer,
                               const std::vector<std::string>& leaves, const std::string& fused) {
  SafetensorsOutput output;
  output.name = "model." + layer + "mlp.experts." + fused;
  int64_t rows = 0;
  for (int64_t e = 0; e < source.config().experts; ++e) {
    rows = 0;
    for (const std::string& leaf : leaves) {
      const std::string name = layer + "ffn.experts." + std::to_string(e) + "." + leaf + ".weight";
      ASSIGN_OR_RETURN(const TensorView view, source.Find(name));
      if (view.dtype != DType::kF32 && view.dtype != DType::kBf16) {
        return InvalidArgumentError("tensor '" + name + "': expected F32 or BF16 to fuse, got " +
                                    std::string(TraitsOf(view.dtype).name));
      }
      output.dtype = view.dtype;
      output.parts.push_back(view.bytes);
      rows += view.shape[0];
      output.shape = {source.config().experts, rows, view.shape[1]};
    }
  }
  return output;
}

Result<std::vector<SafetensorsOutput>> OfficialOutputs(const WeightSource& source) {
  std::vector<SafetensorsOutput> outputs;
  for (const std::string& name : source.Names()) {
    ASSIGN_OR_RETURN(const TensorView view, source.Find(name));
    outputs.push_back({name, view.dtype, view.shape, {view.bytes}});
  }
  return outputs;
}

Result<std::vector<SafetensorsOutput>> TransformersOutputs(const WeightSource& source) {
  std::vector<SafetensorsOutput> outputs;
  for (const std::string& name : source.Names()) {
    const std::optional<std::string> renamed = TransformersName(name);
    if (!renamed.has_value()) continue;  // Fused below, or a draft block.
    ASSIGN_OR_RETURN(const TensorView view, source.Find(name));
    outputs.push_back({*renamed, view.dtype, view.shape, {view.bytes}});
  }
  for (int64_t l = 0; l < source.config().layers; ++l) {
    const std::string layer = "layers." + std::to_string(l) + ".";
    ASSIGN_OR_RETURN(SafetensorsOutput up, Fuse(source, layer, {"w1", "w3"}, "gate_up_proj"));
    ASSIGN_OR_RETURN(SafetensorsOutput down, Fuse(source, layer, {"w2"}, "down_proj"));
    outputs.push_back(std::move(up));
    outputs.push_back(std::move(down));
  }
  return outputs;
}

using Shards = std::vector<std::vector<SafetensorsOutput>>;

Shards SplitIntoShards(std::vector<SafetensorsOutput> outputs, int64_t shard_bytes) {
  Shards shards(1);
  int64_t filled = 0;
  for (SafetensorsOutput& output : outputs) {
    const int64_t bytes = BytesOf(output);
    if (!shards.back().empty() && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    filled += bytes;
    shards.back().push_back(std::move(output));
  }
  return shards;
}

Status WriteShards(Shards shards, const std::string& folder) {
  nlohmann::json weight_map = nlohmann::json::object();
  int64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    char name[64];
    std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    for (const SafetensorsOutput& output : shards[i]) {
      weight_map[output.name] = name;
      total += BytesOf(output);
    }
    RETURN_IF_ERROR(WriteSafetensors(folder + "/" + name, std::move(shards[i])));
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}},
                                {"weight_map", std::move(weight_map)}};
  return WriteFileAtomically(folder + "/" + kIndexFile, index.dump(1) + "\n");
}

}  // namespace

Status WriteCheckpoint(const WeightSource& source, const std::string& folder,
                       const WriteCheckpointOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return UnavailableError("cannot create folder '" + folder + "': " + error.message());
  }
  const bool sharded = options.shard_bytes > 0;
  const std::string other = folder + "/" + (sharded ? kSingleFile : kIndexFile);
  if (FileExists(other)) {
    return AlreadyExistsError("'" + other +
                              "' is there already and would be mixed up with the new " +
                              "files; remove it or choose another folder");
  }
  ASSIGN_OR_RETURN(auto outputs, options.names == NameStyle::kOfficial
                                     ? OfficialOutputs(source)
                                     : TransformersOutputs(source));
  if (sharded) {
    RETURN_IF_ERROR(WriteShards(SplitIntoShards(std::move(outputs), options.shard_bytes), folder));
  } else {
    RETURN_IF_ERROR(WriteSafetensors(folder + "/" + kSingleFile, std::move(outputs)));
  }
  return WriteFileAtomically(folder + "/config.json", source.config().ToJson() + "\n");
}

}  // namespace baleen
