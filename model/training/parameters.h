// The trainable state of a DeepSeek-V4 as plain fp32 tensors under their official names.
//
// Order and shapes come from model/checkpoint/tensor_table.h. Knows nothing of the graph, the
// optimiser or files; the graph reads values, the training loop changes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/config.h"
#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen::training {

/// Who changes a parameter. Source: spec section 7.1.
enum class UpdateRule {
  kMuon,         ///< Matrices other than the embedding and the head.
  kAdamW,        ///< Embedding, head, vectors, position biases (`ape`).
  kRoutingBias,  ///< `gate.bias`: by expert load, never by gradient.
};

struct Parameter {
  std::string name;  ///< E.g. "layers.3.attn.wq_a.weight".
  std::vector<int64_t> shape;
  UpdateRule rule = UpdateRule::kMuon;
  std::vector<float> value;
};

/// Experts of every token id in a hash-routed layer; fixed for the life of a model.
struct HashTable {
  std::string name;            ///< "layers.0.ffn.gate.tid2eid"
  std::vector<int64_t> shape;  ///< [vocab, experts_per_token]
  std::vector<int32_t> experts;
};

/// Backbone and draft block, always in the same order.
/// Threads: reads from any thread while nobody writes.
class ParameterSet {
 public:
  /// Norm weights one, everything else zero; hash tables are a fixed pseudo-random map with
  /// distinct experts per token.
  /// Errors: those of config.Validate().
  static Result<ParameterSet> Make(const ModelConfig& config);

  /// Values of a checkpoint of any format, dequantised; draft tensors that it lacks stay as Make
  /// leaves them.
  /// Errors: those of CheckTensors (model/checkpoint/tensor_check.h).
  static Result<ParameterSet> FromSource(const WeightSource& source);

  const ModelConfig& config() const { return config_; }
  std::span<Parameter> all() { return parameters_; }
  std::span<const Parameter> all() const { return parameters_; }
  std::span<HashTable> hash_tables() { return hash_tables_; }
  std::span<const HashTable> hash_tables() const { return hash_tables_; }

  /// Null if there is none of that name. Borrows: from this set; moving the set ends it.
  Parameter* Find(std::string_view name);
  const Parameter* Find(std::string_view name) const;
  /// Place in all(), or -1.
  int64_t IndexOf(std::string_view name) const;

  /// Elements of all parameters; hash tables are not counted.
  int64_t element_count() const;

 private:
  ModelConfig config_;
  std::vector<Parameter> parameters_;
  std::vector<HashTable> hash_tables_;
  std::unordered_map<std::string, size_t> index_;  ///< name -> place in parameters_
};

/// One buffer per parameter, in the order of ParameterSet::all().
class Gradients {
 public:
  /// Zeros.
  explicit Gradients(const ParameterSet& parameters);

  size_t size() const { return offsets_.size() - 1; }
  std::span<float> operator[](size_t parameter);
  std::span<const float> operator[](size_t parameter) const;
  /// All of them after one another.
  std::span<float> flat() { return values_; }
  std::span<const float> flat() const { return values_; }

  void Clear();
  /// this += other, element by element. Requires: made from the same config.
  void Add(const Gradients& other);

 private:
  std::vector<size_t> offsets_;  ///< [parameters + 1]
  std::vector<float> values_;
};

/// True for the indexer's own tensors ("...attn.indexer..."), which learn from the KL loss alone.
bool IsIndexerParameter(std::string_view name);

}  // namespace baleen::training
