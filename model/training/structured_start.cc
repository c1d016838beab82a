#include "model/training/structured_start.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "model/training/random_stream.h"

namespace baleen::training {
namespace {

constexpr int64_t kSlotGroups = 5;          // Last token of the window before, then four slots.
constexpr int64_t kPreviousTokenRank = 64;  // Latents of group 0 that carry t-1.
constexpr float kSlotPreference = 4;        // On the pooling logits of a channel's own slot.
constexpr float kEntrySink = 6;  // Entries are many: without a match, the sink takes the mass.

struct Magnitude {
  std::string_view suffix;
  float deviation;
  bool per_root_column;  // Divide by sqrt(columns): the output is as large as the input.
};

// First match counts; norms stay at one, biases, sinks and position biases at zero.
constexpr Magnitude kMagnitudes[] = {
    {"embed.weight", 0.5F, false}, {"head.weight", 0.02F, false}, {"_fn", 0.02F, false},
    {"wo_b.weight", 0.3F, true},   {"w2.weight", 0.3F, true},     {"wgate.weight", 0.1F, true},
    {".weight", 1, true},
};

// Non-owning [rows, cols] view of a parameter.
class MatrixRef {
 public:
  MatrixRef(ParameterSet* parameters, const std::string& name) {
    Parameter* parameter = parameters->Find(name);
    data_ = parameter->value.data();
    rows_ = parameter->shape[0];
    cols_ = parameter->shape.size() > 1 ? parameter->shape[1] : 1;
  }

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  float& at(int64_t r, int64_t c) { return data_[r * cols_ + c]; }

  void Scale(float factor, int64_t row_begin, int64_t row_end) {
    for (int64_t i = row_begin * cols_; i < row_end * cols_; ++i) data_[i] *= factor;
  }
  void Scale(float factor) { Scale(factor, 0, rows_); }
  void ScaleColumns(float factor, int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = begin; c < end; ++c) at(r, c) *= factor;
    }
  }
  void Fill(float value) { std::fill(data_, data_ + rows_ * cols_, value); }

 private:
  float* data_ = nullptr;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

using Basis = std::vector<std::vector<double>>;  // Orthonormal rows.

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Gram-Schmidt over random rows, twice, so that rounding leaves nothing.
Basis RandomBasis(RandomStream& random, int64_t count, int64_t dim) {
  Basis basis;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<double> row(static_cast<size_t>(dim));
    for (double& value : row) value = random.Bell();
    for (int pass = 0; pass < 2; ++pass) {
      for (const auto& other : basis) {
        const double along = Dot(row, other);
        for (size_t k = 0; k < row.size(); ++k) row[k] -= along * other[k];
      }
    }
    const double norm = std::sqrt(Dot(row, row));
    for (double& value : row) value /= norm;
    basis.push_back(std::move(row));
  }
  return basis;
}

void RemoveDirection(const std::vector<double>& unit, Basis* basis) {
  for (auto& row : *basis) {
    const double along = Dot(row, unit);
    for (size_t k = 0; k < row.size(); ++k) row[k] -= along * unit[k];
  }
}

void AddRow(MatrixRef& matrix, int64_t row, const std::vector<double>& values, double factor) {
  for (size_t k = 0; k < values.size(); ++k) {
    matrix.at(row, static_cast<int64_t>(k)) += static_cast<float>(factor * values[k]);
  }
}

void AddColumn(MatrixRef& matrix, int64_t col, const std::vector<double>& values, double factor) {
  for (size_t k = 0; k < values.size(); ++k) {
    matrix.at(static_cast<int64_t>(k), col) += static_cast<float>(factor * values[k]);
  }
}

std::string Layer(int64_t l, const std::string& leaf) {
  return "layers." + std::to_string(l) + "." + leaf;
}

// Channels prefer one slot of their window each, and the window itself to the one before it.
void PreferSlots(const ModelConfig& config, ParameterSet* parameters) {
  for (Parameter& parameter : parameters->all()) {
    if (!parameter.name.ends_with(".ape")) continue;
    const int64_t ratio = parameter.shape[0];
    const int64_t width = parameter.shape[1];
    const bool indexer = parameter.name.find(".indexer.") != std::string::npos;
    const int64_t dim = indexer ? config.index_dim : config.head_dim;
    for (int64_t e = 0; e < width; ++e) {
      parameter.value[static_cast<size_t>(e % ratio * width + e)] += kSlotPreference;
      if (width == dim || e >= dim) continue;  // HCA's windows don't overlap.
      for (int64_t slot = 0; slot < ratio; ++slot) {
        parameter.value[static_cast<size_t>(slot * width + e)] -= kSlotPreference;
      }
    }
  }
}

// The parts of the structured start. Channels of a head: nope first, then rotary pairs.
class Circuits {
 public:
  Circuits(uint64_t seed, const StructuredStartOptions& options, ParameterSet* parameters)
      : options_(options),
        parameters_(parameters),
        c_(parameters->config()),
        random_(seed, "structured start"),
        nope_(c_.head_dim - c_.rope_dim),
        heads_per_group_(c_.heads / c_.o_groups),
        carried_(std::min({nope_, c_.o_rank, kPreviousTokenRank})) {
    MarkEmbeddings();
    matched_ = RandomBasis(random_, nope_, c_.hidden);
    RemoveDirection(mark_, &matched_);
    written_ = RandomBasis(random_, nope_, c_.hidden);
  }

  // Without it, each token would have to be learnt as copyable on its own; with it, copying is one
  // linear map.
  void TieHead() {
    MatrixRef head(parameters_, "head.weight");
    MatrixRef embed(parameters_, "embed.weight");
    for (int64_t r = 0; r < head.rows(); ++r) {
      for (int64_t c = 0; c < head.cols(); ++c) {
        head.at(r, c) = options_.head_tie * embed.at(r, c);
      }
    }
  }

  // Keys of layer 0 carry the mark on their fastest rotary pairs, unrotated; a query turned back by
  // one position (head j: by j + 1) meets the key of the token before it.
  void LookBack() {
    MatrixRef kv(parameters_, Layer(0, "attn.wkv.weight"));
    MatrixRef q_a(parameters_, Layer(0, "attn.wq_a.weight"));
    MatrixRef q_b(parameters_, Layer(0, "attn.wq_b.weight"));
    const std::vector<double> pairs = PairWeights();
    kv.Scale(0.1F, nope_, c_.head_dim);
    for (size_t i = 0; i < pairs.size(); ++i) {
      AddRow(kv, nope_ + 2 * static_cast<int64_t>(i), mark_, pairs[i]);
    }
    q_a.Scale(0, 0, 1);
    AddRow(q_a, 0, mark_, 1);
    const int64_t heads = options_.ngram_gain > 0 ? kHeads : 1;
    q_b.Scale(0.1F, 0, options_.ngram_gain > 0 ? q_b.rows() : c_.head_dim);
    for (int64_t head = 0; head < heads; ++head) {
      for (size_t i = 0; i < pairs.size(); ++i) {
        const double angle = static_cast<double>(head + 1) *
                             std::pow(c_.rope_theta, -2.0 * static_cast<double>(i) /
                                                         static_cast<double>(c_.rope_dim));
        const int64_t row = head * c_.head_dim + nope_ + 2 * static_cast<int64_t>(i);
        q_b.at(row, 0) += static_cast<float>(2 * pairs[i] * std::cos(angle));
        q_b.at(row + 1, 0) -= static_cast<float>(2 * pairs[i] * std::sin(angle));
      }
    }
    MatrixRef(parameters_, Layer(0, "attn.wo_b.weight")).Scale(1.5F);
  }

  // Layer 0 writes the previous token where layer 1's keys look for it; the last head of layer 1
  // asks for its own token there and passes on the token it finds.
  void Induct() {
    WriteMatched();
    if (options_.ngram_gain > 0) WriteNgrams();
    MatrixRef kv(parameters_, Layer(1, "attn.wkv.weight"));
    kv.Scale(0, 0, nope_);
    for (int64_t i = 0; i < nope_; ++i) AddRow(kv, i, written_[static_cast<size_t>(i)], 1);
    kv.Scale(0.3F, nope_, c_.head_dim);

    MatrixRef q_a(parameters_, Layer(1, "attn.wq_a.weight"));
    MatrixRef q_b(parameters_, Layer(1, "attn.wq_b.weight"));
    const int64_t asked = std::min(nope_, c_.q_rank);
    const int64_t last_head = c_.head_dim * (c_.heads - 1);
    q_a.Scale(0.3F);
    q_b.Scale(0.2F, last_head, q_b.rows());
    for (int64_t i = 0; i < asked; ++i) {
      AddRow(q_a, i, matched_[static_cast<size_t>(i)], 1);
      q_b.at(last_head + i, i) += 1;
    }

    MatrixRef o_a(parameters_, Layer(1, "attn.wo_a.weight"));
    MatrixRef o_b(parameters_, Layer(1, "attn.wo_b.weight"));
    const int64_t latent = c_.o_rank * (c_.o_groups - 1);
    o_a.Scale(0.1F, latent, o_a.rows());
    o_b.ScaleColumns(0.1F, latent, o_b.cols());
    for (int64_t i = 0; i < carried_; ++i) {
      o_a.at(latent + i, o_a.cols() - c_.head_dim + i) += 1;
      AddColumn(o_b, latent + i, written_[static_cast<size_t>(i)], options_.induction_copy_gain);
    }
  }

  // Every channel group of an entry holds one token: the last of the window before, then those of
  // its own. Head k looks for its token in group k and writes group k + 1, the token after it;
  // group 0 is what makes the look-up complete across windows.
  void CopyThroughEntries(int64_t layer, float gain) {
    const int64_t g = nope_ / kSlotGroups;
    Basis tokens = RandomBasis(random_, g, c_.hidden);
    RemoveDirection(mark_, &tokens);
    PoolSlots(layer, tokens);

    MatrixRef q_a(parameters_, Layer(layer, "attn.wq_a.weight"));
    MatrixRef q_b(parameters_, Layer(layer, "attn.wq_b.weight"));
    MatrixRef o_a(parameters_, Layer(layer, "attn.wo_a.weight"));
    MatrixRef o_b(parameters_, Layer(layer, "attn.wo_b.weight"));
    q_a.Scale(0.1F);
    q_b.Scale(0.05F);
    o_a.Scale(0.1F);
    o_b.Scale(0.1F);
    for (int64_t i = 0; i < g; ++i) {
      AddRow(q_a, i, tokens[static_cast<size_t>(i)], 1);
      for (int64_t head = 0; head < kHeads; ++head) {
        const int64_t place = head % heads_per_group_;
        const int64_t latent = head / heads_per_group_ * c_.o_rank + place * g + i;
        q_b.at(head * c_.head_dim + g * head + i, i) += 1;
        o_a.at(latent, place * c_.head_dim + g * (head + 1) + i) += 1;
        AddColumn(o_b, latent, tokens[static_cast<size_t>(i)], gain);
      }
    }
    MatrixRef(parameters_, Layer(layer, "attn.attn_sink")).Fill(kEntrySink);
  }

  static constexpr int64_t kHeads = 4;

 private:
  // One constant vector in every embedding, so that "a token is here" can be asked for.
  void MarkEmbeddings() {
    mark_.resize(static_cast<size_t>(c_.hidden));
    for (double& value : mark_) value = random_.Below(2) == 0 ? -0.5 : 0.5;
    MatrixRef embed(parameters_, "embed.weight");
    for (int64_t r = 0; r < embed.rows(); ++r) AddRow(embed, r, mark_, 1);
    const double norm = std::sqrt(Dot(mark_, mark_));
    for (double& value : mark_) value /= norm;
  }

  std::vector<double> PairWeights() const {
    std::vector<double> weights = {1, 1, 1, 0.7, 0.5, 0.4};
    weights.resize(std::min(weights.size(), static_cast<size_t>(c_.rope_dim / 2)));
    const double norm = std::sqrt(Dot(weights, weights));
    for (double& weight : weights) weight /= norm;
    return weights;
  }

  void WriteMatched() {
    MatrixRef kv(parameters_, Layer(0, "attn.wkv.weight"));
    MatrixRef o_a(parameters_, Layer(0, "attn.wo_a.weight"));
    MatrixRef o_b(parameters_, Layer(0, "attn.wo_b.weight"));
    kv.Scale(0, 0, nope_);
    for (int64_t i = 0; i < nope_; ++i) AddRow(kv, i, matched_[static_cast<size_t>(i)], 1);
    o_a.Scale(0.1F, 0, c_.o_rank);
    o_b.ScaleColumns(0.1F, 0, c_.o_rank);
    for (int64_t i = 0; i < carried_; ++i) {
      o_a.at(i, i) += 1;
      AddColumn(o_b, i, written_[static_cast<size_t>(i)], options_.induction_write_gain);
    }
  }

  // Heads 1 to 3 write other parts of their token into directions of their own. The latents of a
  // group are shared between its heads; head 0 has taken `carried_` of group 0's.
  void WriteNgrams() {
    MatrixRef o_a(parameters_, Layer(0, "attn.wo_a.weight"));
    MatrixRef o_b(parameters_, Layer(0, "attn.wo_b.weight"));
    o_a.Scale(0.1F, c_.o_rank, o_a.rows());
    o_b.ScaleColumns(0.1F, c_.o_rank, o_b.cols());
    const Basis directions = RandomBasis(random_, c_.hidden, c_.hidden);
    size_t used = 0;
    for (int64_t head = 1; head < kHeads; ++head) {
      const int64_t group = head / heads_per_group_;
      const int64_t place = head % heads_per_group_;
      const int64_t taken = group == 0 ? carried_ : 0;
      const int64_t sharers = group == 0 ? heads_per_group_ - 1 : heads_per_group_;
      const int64_t room = (c_.o_rank - taken) / sharers;
      const int64_t latent = taken + (group == 0 ? place - 1 : place) * room;
      const int64_t count = std::min(room, nope_ - std::min(latent, nope_));
      for (int64_t i = 0; i < count && used < directions.size(); ++i, ++used) {
        const int64_t row = group * c_.o_rank + latent + i;
        o_a.at(row, place * c_.head_dim + latent + i) += 1;
        AddColumn(o_b, row, directions[used], options_.ngram_gain);
      }
    }
  }

  void PoolSlots(int64_t layer, const Basis& tokens) {
    MatrixRef value(parameters_, Layer(layer, "attn.compressor.wkv.weight"));
    MatrixRef gate(parameters_, Layer(layer, "attn.compressor.wgate.weight"));
    MatrixRef ape(parameters_, Layer(layer, "attn.compressor.ape"));
    const auto g = static_cast<int64_t>(tokens.size());
    const int64_t current = c_.head_dim;  // First row of the half for a token's own window.
    value.Scale(0.05F);
    gate.Scale(0.1F);
    ape.Fill(0);
    for (int64_t slot = 0; slot < kCsaRatio; ++slot) {
      for (int64_t e = 0; e < c_.head_dim; ++e) ape.at(slot, e) = -kSlotPreference;
      for (int64_t i = 0; i < g; ++i) ape.at(slot, current + i) = -kSlotPreference;
    }
    for (int64_t i = 0; i < g; ++i) {
      AddRow(value, i, tokens[static_cast<size_t>(i)], 1);
      ape.at(kCsaRatio - 1, i) = kSlotPreference;
      for (int64_t slot = 0; slot < kCsaRatio; ++slot) {
        const int64_t row = current + g * (slot + 1) + i;
        AddRow(value, row, tokens[static_cast<size_t>(i)], 1);
        ape.at(slot, row) = kSlotPreference;
      }
    }
  }

  const StructuredStartOptions& options_;
  ParameterSet* parameters_;
  const ModelConfig& c_;
  RandomStream random_;
  int64_t nope_;
  int64_t heads_per_group_;
  int64_t carried_;           // Channels of a token that layers 0 and 1 pass on.
  std::vector<double> mark_;  // [hidden], unit.
  Basis matched_;             // [nope] Token -> key channels of layer 0, query of layer 1.
  Basis written_;             // [nope] Where layer 0 writes, layer 1's keys look and write.
};

Status Refuse(const std::string& field, const std::string& expected, int64_t got) {
  return InvalidArgumentError("structured start: model." + field + ": expected " + expected +
                              ", got " + std::to_string(got));
}

std::vector<int64_t> LateCsaLayers(const ModelConfig& config) {
  std::vector<int64_t> layers;
  for (int64_t l = 2; l < config.layers; ++l) {
    if (config.Ratio(l) == kCsaRatio) layers.push_back(l);
  }
  return layers;
}

}  // namespace

void PlainStart(uint64_t seed, ParameterSet* parameters) {
  const int64_t mult = parameters->config().hc_mult;
  for (Parameter& parameter : parameters->all()) {
    const std::string_view name = parameter.name;
    RandomStream random(seed, name);
    if (name.ends_with("norm.weight")) continue;  // One already.
    if (name.ends_with("_scale")) {
      std::fill(parameter.value.begin(), parameter.value.end(), 0.3F);
      continue;
    }
    if (name.ends_with("_base")) {
      if (name.ends_with("head_base")) continue;
      // Gates of the streams, then how they mix: each mostly keeps what it has.
      for (size_t i = 0; i < parameter.value.size(); ++i) {
        const int64_t mixed = static_cast<int64_t>(i) - 2 * mult;
        parameter.value[i] = (mixed < 0 ? 0.3F : 0.09F) * random.Bell();
        if (mixed >= 0 && mixed / mult == mixed % mult) parameter.value[i] += 2;
      }
      continue;
    }
    for (const Magnitude& magnitude : kMagnitudes) {
      if (!name.ends_with(magnitude.suffix)) continue;
      float deviation = magnitude.deviation;
      if (magnitude.per_root_column) {
        deviation /= std::sqrt(static_cast<float>(parameter.shape.back()));
      }
      for (float& value : parameter.value) value = deviation * random.Bell();
      break;
    }
  }
}

Status CheckStructuredStart(const ModelConfig& config, const StructuredStartOptions& options) {
  const int64_t nope = config.head_dim - config.rope_dim;
  if (config.layers < 2) return Refuse("num_hidden_layers", "at least 2", config.layers);
  if (config.Ratio(0) != 0) return Refuse("compress_ratios[0]", "0", config.Ratio(0));
  if (config.heads < Circuits::kHeads) {
    return Refuse("num_attention_heads", "at least 4", config.heads);
  }
  if (config.rope_dim < 12) return Refuse("qk_rope_head_dim", "at least 12", config.rope_dim);
  if (nope < 40 || nope > config.hidden) {
    return Refuse("head_dim",
                  "qk_rope_head_dim plus 40 to hidden_size (" + std::to_string(config.hidden) + ")",
                  config.head_dim);
  }
  const int64_t group = nope / kSlotGroups;
  if (config.q_rank < group) {
    return Refuse("q_lora_rank", "at least " + std::to_string(group), config.q_rank);
  }
  const int64_t latents = group * std::min(Circuits::kHeads, config.heads / config.o_groups);
  if (config.o_rank < latents) {
    return Refuse("o_lora_rank", "at least " + std::to_string(latents), config.o_rank);
  }
  const size_t late = LateCsaLayers(config).size();
  if (options.csa_gains.size() > late) {
    return InvalidArgumentError("structured start: csa_gains: expected at most " +
                                std::to_string(late) +
                                " gains, one for each CSA layer from layer " + "2 on, got " +
                                std::to_string(options.csa_gains.size()));
  }
  return OkStatus();
}

void StructuredStart(uint64_t seed, const StructuredStartOptions& options,
                     ParameterSet* parameters) {
  PlainStart(seed, parameters);
  PreferSlots(parameters->config(), parameters);
  for (Parameter& parameter : parameters->all()) {
    const bool draft = parameter.name.starts_with("mtp.");
    const bool rows = parameter.name.ends_with("attn.kv_norm.weight") ||
                      parameter.name.ends_with("attn.compressor.norm.weight");
    if (rows && !draft) std::fill(parameter.value.begin(), parameter.value.end(), 2.0F);
  }
  Circuits circuits(seed, options, parameters);
  circuits.TieHead();
  circuits.LookBack();
  circuits.Induct();
  const std::vector<int64_t> layers = LateCsaLayers(parameters->config());
  for (size_t i = 0; i < options.csa_gains.size(); ++i) {
    circuits.CopyThroughEntries(layers[i], options.csa_gains[i]);
  }
}

}  // namespace baleen::training
