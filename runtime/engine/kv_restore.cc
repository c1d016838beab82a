#include "runtime/engine/kv_restore.h"

#include <algorithm>
#include <utility>

namespace baleen {
namespace {

/// Loads prefixes of one token sequence.
class Restorer {
 public:
  Restorer(const KvHome& home, std::span<const int32_t> tokens, RestoreReport* report)
      : home_(home), tokens_(tokens), report_(report) {
    const KvLayout layout = KvLayout::Make(home.model->config(), home.model->row_format());
    shape_ = StoredShape(layout);
    block_bytes_ = layout.block_bytes;
    const int64_t count = static_cast<int64_t>(tokens.size()) / kBlockTokens;
    BlockKey parent{};
    for (int64_t i = 0; i < count; ++i) {
      keys_.push_back(NextBlockKey(parent, BlockTokens(i), home.scope));
      parent = keys_.back();
    }
  }

  Result<std::unique_ptr<LiveSequence>> Restore() {
    for (int64_t border = static_cast<int64_t>(keys_.size()); border >= 0; --border) {
      for (const StoredCheckpoint& checkpoint : CheckpointsAfter(border)) {
        if (!BlocksAreUsable(border)) break;
        ASSIGN_OR_RETURN(const bool loaded, LoadBlocks(border));
        if (!loaded) break;
        if (auto sequence = Open(border, checkpoint)) {
          report_->tokens_from_disk = checkpoint.position;
          report_->bytes_read += static_cast<int64_t>(checkpoint.state.size());
          return sequence;
        }
      }
    }
    return std::make_unique<LiveSequence>(home_);
  }

 private:
  std::span<const int32_t> BlockTokens(int64_t index) const {
    return tokens_.subspan(static_cast<size_t>(index * kBlockTokens),
                           static_cast<size_t>(kBlockTokens));
  }

  BlockKey KeyBefore(int64_t border) const {
    return border == 0 ? BlockKey{} : keys_[static_cast<size_t>(border - 1)];
  }

  std::vector<StoredCheckpoint> CheckpointsAfter(int64_t border) {
    const auto begin = static_cast<size_t>(border * kBlockTokens);
    const size_t length = std::min<size_t>(tokens_.size() - begin, kBlockTokens - 1);
    int64_t damaged = 0;
    auto found =
        home_.store->FindCheckpoints(KeyBefore(border), tokens_.subspan(begin, length), &damaged);
    if (damaged > 0) {
      report_->reasons.push_back(std::to_string(damaged) + " damaged checkpoint(s) after token " +
                                 std::to_string(begin) + ": an older one is used");
    }
    if (!found.ok()) {
      report_->reasons.push_back(found.status().ToString());
      return {};
    }
    return std::move(found).value();
  }

  /// A repair makes sense only while most of the prefix is there: a checkpoint over blocks that are
  /// all gone is worth nothing.
  bool BlocksAreUsable(int64_t border) {
    if (border == 0) return true;
    return home_.store->HasBlock(keys_[0]) || home_.store->HasBlock(KeyBefore(border));
  }

  /// Brings blocks_ to `border` entries, recomputing what can't be read. false: not possible.
  Result<bool> LoadBlocks(int64_t border) {
    while (static_cast<int64_t>(blocks_.size()) < border) {
      const auto index = static_cast<int64_t>(blocks_.size());
      auto stored =
          home_.store->LoadBlock(keys_[static_cast<size_t>(index)], BlockTokens(index), shape_);
      if (stored.ok()) {
        report_->bytes_read += block_bytes_;
        blocks_.push_back(std::make_shared<const KvBlock>(std::move(stored).value()));
        continue;
      }
      report_->reasons.push_back("block " + std::to_string(index) + " (tokens " +
                                 std::to_string(index * kBlockTokens) + ".." +
                                 std::to_string((index + 1) * kBlockTokens - 1) +
                                 "): " + stored.status().ToString() + "; recomputed");
      RETURN_IF_ERROR(Repair(index));
    }
    return true;
  }

  /// Computes block `index` again, from the nearest checkpoint whose blocks are at hand.
  Status Repair(int64_t index) {
    home_.store->DropBlocks({&keys_[static_cast<size_t>(index)], 1}, DropReason::kDamaged)
        .IgnoreError("the recomputed block is used from RAM even if the bad one stays");
    // Damage often comes in runs: the sequence that repaired the block before this one goes on.
    if (repair_ == nullptr ||
        static_cast<int64_t>(repair_->tokens().size()) != index * kBlockTokens) {
      repair_ = NearestSequence(index);
    }
    const auto begin = static_cast<int64_t>(repair_->tokens().size());
    const int64_t end = (index + 1) * kBlockTokens;
    RETURN_IF_ERROR(repair_->Append(
        tokens_.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
        LogitsWanted::kNone, nullptr));
    report_->tokens_repaired += end - begin;
    blocks_.push_back(repair_->cache().blocks()[static_cast<size_t>(index)]);
    return OkStatus();
  }

  /// The latest sequence at or before block `index` that needs only blocks already at hand.
  std::unique_ptr<LiveSequence> NearestSequence(int64_t index) {
    for (int64_t border = index; border >= 0; --border) {
      for (const StoredCheckpoint& checkpoint : CheckpointsAfter(border)) {
        if (auto sequence = Open(border, checkpoint)) return sequence;
      }
    }
    return std::make_unique<LiveSequence>(home_);
  }

  /// The sequence at `checkpoint` over the first `border` loaded blocks; null if the state is
  /// damaged.
  std::unique_ptr<LiveSequence> Open(int64_t border, const StoredCheckpoint& checkpoint) {
    std::vector<std::shared_ptr<const KvBlock>> blocks(blocks_.begin(), blocks_.begin() + border);
    auto cache = home_.model->RestoreCache(std::move(blocks), checkpoint.state);
    if (!cache.ok() || cache->tokens() != checkpoint.position) {
      report_->reasons.push_back("checkpoint at token " + std::to_string(checkpoint.position) +
                                 " not usable: " + cache.status().ToString());
      return nullptr;
    }
    const auto position = static_cast<int64_t>(checkpoint.position);
    return std::make_unique<LiveSequence>(
        home_, std::move(cache).value(),
        std::vector<int32_t>(tokens_.begin(), tokens_.begin() + position),
        std::vector<BlockKey>(keys_.begin(), keys_.begin() + border));
  }

  const KvHome& home_;
  std::span<const int32_t> tokens_;
  RestoreReport* report_;
  std::vector<BlockKey> keys_;
  std::vector<std::shared_ptr<const KvBlock>> blocks_;
  std::unique_ptr<LiveSequence> repair_;
  BlockShape shape_;  // of this model's blocks
  int64_t block_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<LiveSequence>> RestoreSequence(const KvHome& home,
                                                      std::span<const int32_t> tokens,
                                                      RestoreReport* report) {
  if (home.store == nullptr) return std::make_unique<LiveSequence>(home);
  return Restorer(home, tokens, report).Restore();
}

}  // namespace baleen
