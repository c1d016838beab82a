#include "model/training/sample_packer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

namespace baleen::training {
namespace {

constexpr int kSkippedMax = 10000;

Status Refuse(uint64_t position, const std::string& expected, const std::string& got) {
  return InvalidArgumentError("sample " + std::to_string(position) + ": expected " + expected +
                              ", got " + got);
}

Status CheckSample(const Sample& sample, uint64_t position, int64_t vocab) {
  if (sample.tokens.size() < 2) {
    return Refuse(position, "at least 2 tokens", std::to_string(sample.tokens.size()));
  }
  if (sample.weights.size() != sample.tokens.size()) {
    return Refuse(position, std::to_string(sample.tokens.size()) + " weights, one for each token",
                  std::to_string(sample.weights.size()));
  }
  for (size_t i = 0; i < sample.tokens.size(); ++i) {
    if (sample.tokens[i] < 0 || sample.tokens[i] >= vocab) {
      return Refuse(position, "token ids of at least 0 and below " + std::to_string(vocab),
                    std::to_string(sample.tokens[i]) + " as token " + std::to_string(i));
    }
    if (!(sample.weights[i] >= 0) || !std::isfinite(sample.weights[i])) {
      return Refuse(position, "finite weights of at least 0",
                    std::to_string(sample.weights[i]) + " as weight " + std::to_string(i));
    }
  }
  return OkStatus();
}

void Place(const Sample& sample, int32_t document, size_t at, TrainBatch* batch) {
  const size_t count = sample.tokens.size();
  for (size_t i = 0; i < count; ++i) {
    batch->tokens[at + i] = sample.tokens[i];
    batch->document[at + i] = document;
    batch->position[at + i] = static_cast<int32_t>(i);
    if (i + 1 == count) continue;  // Nothing follows the last token.
    batch->targets[at + i] = sample.tokens[i + 1];
    batch->weights[at + i] = sample.weights[i + 1];
  }
}

}  // namespace

Result<Sample> SamplePacker::Fetch() {
  const uint64_t position = source_.position();
  ASSIGN_OR_RETURN(Sample sample, source_.Next());
  RETURN_IF_ERROR(CheckSample(sample, position, options_.vocab));
  return sample;
}

Status SamplePacker::Fill() {
  int skipped = 0;
  while (static_cast<int64_t>(pool_.size()) < options_.pool) {
    const uint64_t position = source_.position();
    ASSIGN_OR_RETURN(Sample sample, Fetch());
    if (static_cast<int64_t>(sample.tokens.size()) <= options_.length) {
      pool_.push_back({position, std::move(sample)});
      skipped = 0;
      continue;
    }
    if (options_.long_samples == LongSamples::kRefuse || ++skipped == kSkippedMax) {
      const std::string count = std::to_string(sample.tokens.size()) + " tokens";
      return Refuse(
          position, "at most " + std::to_string(options_.length) + " tokens, a row's length",
          skipped == 0 ? count
                       : count + ", like " + std::to_string(skipped - 1) + " samples before it");
    }
  }
  return OkStatus();
}

void SamplePacker::PackRow(int64_t row, TrainBatch* batch) {
  const auto begin = static_cast<size_t>(row * options_.length);
  auto free = static_cast<size_t>(options_.length);
  for (int32_t document = 0; !pool_.empty(); ++document) {
    size_t pick = 0;
    if (document > 0) {
      pick = pool_.size();
      size_t longest = 0;
      for (size_t i = 0; i < pool_.size(); ++i) {
        const size_t size = pool_[i].sample.tokens.size();
        if (size <= free && size > longest) {
          longest = size;
          pick = i;
        }
      }
    }
    if (pick == pool_.size()) break;
    Place(pool_[pick].sample, document, begin + static_cast<size_t>(options_.length) - free, batch);
    free -= pool_[pick].sample.tokens.size();
    pool_.erase(pool_.begin() + static_cast<std::ptrdiff_t>(pick));
  }
}

Result<TrainBatch> SamplePacker::Next() {
  TrainBatch batch;
  batch.rows = options_.rows;
  batch.length = options_.length;
  const auto size = static_cast<size_t>(options_.rows * options_.length);
  batch.tokens.assign(size, 0);
  batch.targets.assign(size, -1);
  batch.weights.assign(size, 0.0F);
  batch.document.assign(size, -1);
  batch.position.assign(size, 0);
  for (int64_t row = 0; row < options_.rows; ++row) {
    RETURN_IF_ERROR(Fill());
    PackRow(row, &batch);
  }
  return batch;
}

PackerState SamplePacker::state() const {
  PackerState state;
  state.next = source_.position();
  for (const Pooled& pooled : pool_) state.pool.push_back(pooled.position);
  return state;
}

Status SamplePacker::Restore(const PackerState& state) {
  pool_.clear();
  for (uint64_t position : state.pool) {  // Ascending: samples enter at the end.
    RETURN_IF_ERROR(source_.Seek(position));
    ASSIGN_OR_RETURN(Sample sample, Fetch());
    pool_.push_back({position, std::move(sample)});
  }
  return source_.Seek(state.next);
}

}  // namespace baleen::training
