#include "model/model.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/fingerprint.h"
#include "model/forward.h"
#include "model/kv_cache_state.h"
#include "model/text/tokenizer.h"
#include "model/weights.h"

namespace baleen {
namespace {

kernels::RowFormat RowFormatOf(NumericMode mode) {
  return mode == NumericMode::kNative ? kernels::RowFormat::kPacked : kernels::RowFormat::kFloat;
}

/// Logits of one call; more are asked for in several calls.
constexpr int64_t kLogitsMax = int64_t{1} << 30;

/// Dimensions that no tensor's size vouches for, but that memory is allocated by.
constexpr int64_t kWindowMax = 8192;
constexpr int64_t kIndexTopKMax = 65536;

Status Refuse(const char* field, const std::string& expected, int64_t got) {
  return InvalidArgumentError(std::string(field) + ": expected " + expected + ", got " +
                              std::to_string(got) + "; check config.json");
}

/// What the configuration allows in general but this engine or this mode does not.
Status CheckRunnable(const ModelConfig& config, NumericMode mode) {
  if (config.window > kWindowMax) {
    return Refuse("sliding_window", "at most " + std::to_string(kWindowMax), config.window);
  }
  if (config.index_topk > kIndexTopKMax) {
    return Refuse("index_topk", "at most " + std::to_string(kIndexTopKMax), config.index_topk);
  }
  const bool indexed =
      std::count(config.layer_kinds.begin(), config.layer_kinds.end(), LayerKind::kCsa) > 0;
  const bool power_of_two = std::has_single_bit(static_cast<uint64_t>(config.index_dim));
  if (mode == NumericMode::kPure || !indexed || power_of_two) return OkStatus();
  return Refuse("index_head_dim", "a power of two in mode native (pure takes any)",
                config.index_dim);
}

Status CheckTokens(const ModelConfig& config, const KvCacheState& state,
                   std::span<const int32_t> tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  if (count > config.positions_max - state.position()) {
    return OutOfRangeError("forward pass: " + std::to_string(state.position()) +
                           " tokens held and " + std::to_string(count) +
                           " more exceed the model's " + std::to_string(config.positions_max) +
                           " positions; shorten the context");
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < config.vocab) continue;
    return InvalidArgumentError("forward pass: token " + std::to_string(i) + " has id " +
                                std::to_string(tokens[i]) + "; expected 0 <= id < " +
                                std::to_string(config.vocab));
  }
  return OkStatus();
}

/// A cache of another model or mode would be read out of bounds.
Status CheckCache(const ModelConfig& config, kernels::RowFormat format, const KvCacheState& state) {
  const ModelConfig& other = state.config();
  if (state.layout().format == format && other.layer_kinds == config.layer_kinds &&
      other.head_dim == config.head_dim && other.rope_dim == config.rope_dim &&
      other.window == config.window && other.index_dim == config.index_dim) {
    return OkStatus();
  }
  return InvalidArgumentError(
      "forward pass: the cache was made for another model or numeric mode; use NewCache or "
      "RestoreCache of this one");
}

}  // namespace

class Model::Impl {
 public:
  Impl(const ModelConfig& config, const ModelOptions& options, std::string fingerprint,
       std::unique_ptr<kernels::Backend> backend, ModelWeights weights)
      : config_(config),
        mode_(options.mode),
        fingerprint_(std::move(fingerprint)),
        backend_(std::move(backend)),
        weights_(std::move(weights)),
        pass_(config_, weights_, *backend_, RowFormatOf(options.mode)) {
    arithmetic_id_ = std::string(mode_ == NumericMode::kNative ? "native" : "pure") + "/" +
                     std::string(backend_->name()) + "/" +
                     std::to_string(backend_->arithmetic_revision());
  }

  ModelConfig config_;
  NumericMode mode_;
  std::string fingerprint_;
  std::string arithmetic_id_;
  std::unique_ptr<kernels::Backend> backend_;
  ModelWeights weights_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ForwardPass pass_;
};

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

Result<std::unique_ptr<Model>> Model::FromWeights(const WeightSource& source,
                                                  const ModelOptions& options,
                                                  std::string fingerprint) {
  RETURN_IF_ERROR(source.config().Validate());
  RETURN_IF_ERROR(CheckRunnable(source.config(), options.mode));
  std::unique_ptr<kernels::Backend> backend =
      kernels::MakeBackend(options.backend, options.threads);
  if (backend == nullptr) {
    std::string known;
    for (std::string_view name : kernels::BackendNames()) {
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
    return InvalidArgumentError("backend '" + options.backend + "': this build has " + known);
  }
  ASSIGN_OR_RETURN(ModelWeights weights, LoadWeights(source, *backend, options.progress));
  return std::unique_ptr<Model>(new Model(std::make_unique<Impl>(
      source.config(), options, std::move(fingerprint), std::move(backend), std::move(weights))));
}

Result<std::unique_ptr<Model>> Model::Open(const std::string& path, const ModelOptions& options) {
  ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(path, {.access = options.access}));
  // Fingerprinting and packing each read all weights: two halves of one progress.
  ModelOptions packing = options;
  FingerprintOptions fingerprinting = {.cache_folder = options.fingerprint_cache, .progress = {}};
  if (options.progress) {
    fingerprinting.progress = [&](int64_t done, int64_t total) {
      options.progress(done, 2 * total);
    };
    packing.progress = [&](int64_t done, int64_t total) {
      options.progress(total + done, 2 * total);
    };
  }
  std::unique_ptr<Tokenizer> tokenizer;
  if (checkpoint->has_tokenizer()) {
    ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(path + "/tokenizer.json"));
    const int64_t vocab = checkpoint->config().vocab;
    if (tokenizer->vocab() > vocab) {
      return InvalidArgumentError("'" + path + "/tokenizer.json': expected ids below vocab_size " +
                                  std::to_string(vocab) + ", got ids up to " +
                                  std::to_string(tokenizer->vocab() - 1) +
                                  "; it belongs to another model");
    }
  }
  ASSIGN_OR_RETURN(std::string fingerprint, CheckpointFingerprint(*checkpoint, fingerprinting));
  ASSIGN_OR_RETURN(auto model, FromWeights(*checkpoint, packing, std::move(fingerprint)));
  model->impl_->tokenizer_ = std::move(tokenizer);
  return model;
}

const ModelConfig& Model::config() const { return impl_->config_; }
NumericMode Model::mode() const { return impl_->mode_; }
kernels::RowFormat Model::row_format() const { return RowFormatOf(impl_->mode_); }
const Tokenizer* Model::tokenizer() const { return impl_->tokenizer_.get(); }
const std::string& Model::fingerprint() const { return impl_->fingerprint_; }
const std::string& Model::arithmetic_id() const { return impl_->arithmetic_id_; }
const kernels::Backend& Model::backend() const { return *impl_->backend_; }

KvCache Model::NewCache() const { return KvCache(impl_->config_, row_format()); }

Result<KvCache> Model::RestoreCache(std::vector<std::shared_ptr<KvBlock>> blocks,
                                    std::string_view checkpoint) const {
  return KvCache::Restore(impl_->config_, row_format(), std::move(blocks), checkpoint);
}

KvCache Model::ReplayCache(std::vector<std::shared_ptr<KvBlock>> blocks, int64_t position) const {
  return KvCache::Replay(impl_->config_, row_format(), std::move(blocks), position);
}

Status Model::Forward(KvCache& cache, std::span<const int32_t> tokens, LogitsWanted wanted,
                      std::vector<float>* logits) {
  KvCacheState& state = cache.state();
  RETURN_IF_ERROR(CheckCache(impl_->config_, row_format(), state));
  RETURN_IF_ERROR(CheckTokens(impl_->config_, state, tokens));
  if (wanted != LogitsWanted::kNone && logits == nullptr) {
    return InvalidArgumentError("forward pass: logits wanted but there is nowhere to put them");
  }
  const auto rows = static_cast<int64_t>(tokens.size());
  if (wanted == LogitsWanted::kAll && rows > kLogitsMax / impl_->config_.vocab) {
    return InvalidArgumentError("forward pass: all logits of " + std::to_string(rows) +
                                " tokens exceed 4 GiB; pass the tokens in several calls");
  }
  return impl_->pass_.Run(state, tokens, wanted, logits);
}

}  // namespace baleen
