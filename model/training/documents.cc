#include "model/training/documents.h"

#include <cmath>
#include <string>

namespace baleen::training {
namespace {

/// Where a message points to.
struct Place {
  const TrainBatch& batch;
  int64_t at;

  Status Refuse(const std::string& field, const std::string& expected,
                const std::string& got) const {
    return InvalidArgumentError(
        "train batch: " + field + " of row " + std::to_string(at / batch.length) + ", place " +
        std::to_string(at % batch.length) + ": expected " + expected + ", got " + got);
  }
};

Status CheckSizes(const TrainBatch& b) {
  constexpr int64_t kTokensMax = int64_t{1} << 24;
  if (b.rows < 1 || b.length < 1 || b.rows > kTokensMax || b.length > kTokensMax / b.rows) {
    return InvalidArgumentError("train batch: expected 1 to " + std::to_string(kTokensMax) +
                                " tokens, got " + std::to_string(b.rows) + " rows of " +
                                std::to_string(b.length));
  }
  const auto tokens = static_cast<size_t>(b.rows * b.length);
  const struct {
    const char* field;
    size_t size;
  } arrays[] = {{"tokens", b.tokens.size()},
                {"targets", b.targets.size()},
                {"weights", b.weights.size()},
                {"document", b.document.size()},
                {"position", b.position.size()}};
  for (const auto& array : arrays) {
    if (array.size == tokens) continue;
    return InvalidArgumentError("train batch: " + std::string(array.field) + ": expected " +
                                std::to_string(tokens) + " values, got " +
                                std::to_string(array.size));
  }
  return OkStatus();
}

Status CheckToken(const TrainBatch& b, int64_t i, const ModelConfig& config) {
  const Place place = {b, i};
  const auto at = static_cast<size_t>(i);
  const std::string range = "0 to " + std::to_string(config.vocab - 1);
  if (b.tokens[at] < 0 || b.tokens[at] >= config.vocab) {
    return place.Refuse("token", range, std::to_string(b.tokens[at]));
  }
  if (b.targets[at] < -1 || b.targets[at] >= config.vocab) {
    return place.Refuse("target", "-1 or " + range, std::to_string(b.targets[at]));
  }
  if (!std::isfinite(b.weights[at]) || b.weights[at] < 0) {
    return place.Refuse("weight", "a finite number >= 0", std::to_string(b.weights[at]));
  }
  return OkStatus();
}

/// Does token i open a document, continue one, or is it padding?
enum class Role { kOpens, kContinues, kPads };

Result<Role> RoleOf(const TrainBatch& b, int64_t i, const ModelConfig& config) {
  const Place place = {b, i};
  const auto at = static_cast<size_t>(i);
  const bool first = i % b.length == 0;
  const int32_t document = b.document[at];
  const int32_t before = first ? -2 : b.document[at - 1];
  if (document == -1) return Role::kPads;
  const int32_t expected = first ? 0 : before + 1;
  if (before == -1 || (document != expected && (first || document != before))) {
    return place.Refuse("document", before == -1 ? "-1 after padding" : std::to_string(expected),
                        std::to_string(document));
  }
  const bool opens = document != before;
  const int32_t position = opens ? 0 : b.position[at - 1] + 1;
  if (b.position[at] != position || position >= config.positions_max) {
    return place.Refuse("position",
                        std::to_string(position) + ", below max_position_embeddings (" +
                            std::to_string(config.positions_max) + ")",
                        std::to_string(b.position[at]));
  }
  return opens ? Role::kOpens : Role::kContinues;
}

}  // namespace

Result<Documents> Documents::From(const TrainBatch& batch, const ModelConfig& config) {
  RETURN_IF_ERROR(CheckSizes(batch));
  Documents d;
  for (int64_t i = 0; i < batch.rows * batch.length; ++i) {
    RETURN_IF_ERROR(CheckToken(batch, i, config));
    ASSIGN_OR_RETURN(const Role role, RoleOf(batch, i, config));
    if (role == Role::kPads) continue;
    const auto at = static_cast<size_t>(i);
    if (role == Role::kOpens) {
      d.all.push_back({d.count(), 0});
    } else {
      d.next.back() = batch.tokens[at];
    }
    ++d.all.back().count;
    d.tokens.push_back(batch.tokens[at]);
    d.targets.push_back(batch.targets[at]);
    d.weights.push_back(batch.weights[at]);
    d.position.push_back(batch.position[at]);
    d.source.push_back(i);
    d.next.push_back(-1);
  }
  if (d.all.empty()) {
    return InvalidArgumentError("train batch: expected at least one document, got padding only");
  }
  return d;
}

}  // namespace baleen::training
