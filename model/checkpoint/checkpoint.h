// Checkpoint: a folder with config.json and safetensors, as a source of tensors.
//
// Released folders and those that transformers writes, one file or many. Checks everything it can
// at open, so that the model never meets a tensor of the wrong shape. Computes nothing; the
// tokenizer is somebody else's. Called by Model::Open, `baleen inspect` and tests.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/tensor_names.h"
#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

struct CheckpointOptions {
  WeightAccess access = WeightAccess::kMapped;
};

/// Threads: immutable after Open; any thread. Views live as long as the checkpoint.
class Checkpoint : public WeightSource {
 public:
  /// Opens model.safetensors or, if there is none, the shards of model.safetensors.index.json.
  /// Errors: NOT_FOUND (folder, file, shard or tensor), INVALID_ARGUMENT (config, header, shape,
  /// type, shard name), DATA_LOSS (truncated file); the message names file and tensor or field.
  static Result<std::unique_ptr<Checkpoint>> Open(const std::string& folder,
                                                  const CheckpointOptions& options);

  const ModelConfig& config() const override { return config_; }
  std::vector<std::string> Names() const override;
  Result<TensorView> Find(std::string_view name) const override;

  const std::string& folder() const { return folder_; }
  /// Names of the safetensors files inside the folder, in order.
  const std::vector<std::string>& shard_names() const { return shard_names_; }
  /// Bytes of all safetensors files.
  int64_t file_bytes() const;
  bool has_tokenizer() const;

 private:
  struct Place {
    size_t shard = 0;
    std::string file_name;  // What the file calls the tensor it is (or is a part of).
    TensorView view;
  };

  Status OpenShards(WeightAccess access);
  Status OpenShard(const std::string& name, WeightAccess access);
  Status AddShard(size_t shard, const std::map<std::string, std::string>* weight_map);
  Status AddTensor(size_t shard, const SafetensorsEntry& entry);
  Status AddFused(size_t shard, const SafetensorsEntry& entry, const TensorName& name);
  Status Add(const std::string& official, Place place);

  std::string folder_;
  ModelConfig config_;
  std::vector<std::string> shard_names_;
  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  std::map<std::string, Place, std::less<>> tensors_;
};

}  // namespace baleen
