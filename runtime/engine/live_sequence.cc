#include "runtime/engine/live_sequence.h"

#include <utility>

namespace baleen {

BlockShape StoredShape(const KvLayout& layout) {
  std::vector<StoredStream> streams;
  streams.reserve(layout.streams.size());
  for (const KvStream& stream : layout.streams) {
    streams.push_back({stream.name, stream.row_bytes, stream.rows, stream.offset});
  }
  // A shape that the store refuses leaves it without blocks: every one is then recomputed.
  auto shape = BlockShape::Make(std::move(streams), layout.block_bytes);
  return shape.ok() ? std::move(shape).value() : BlockShape();
}

LiveSequence::LiveSequence(const KvHome& home) : home_(home), cache_(home.model->NewCache()) {}

LiveSequence::LiveSequence(const KvHome& home, KvCache cache, std::vector<int32_t> tokens,
                           std::vector<BlockKey> keys)
    : home_(home),
      cache_(std::move(cache)),
      tokens_(std::move(tokens)),
      keys_(std::move(keys)),
      checkpoint_position_(cache_.tokens()) {}

Status LiveSequence::Append(std::span<const int32_t> tokens, LogitsWanted wanted,
                            std::vector<float>* logits) {
  RETURN_IF_ERROR(home_.model->Forward(cache_, tokens, wanted, logits));
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  PersistSealedBlocks();
  return OkStatus();
}

void LiveSequence::PersistSealedBlocks() {
  const auto blocks = cache_.blocks();
  while (keys_.size() < blocks.size()) {
    const size_t index = keys_.size();
    const auto first = tokens_.begin() + static_cast<int64_t>(index) * kBlockTokens;
    std::vector<int32_t> ids(first, first + kBlockTokens);
    const BlockKey parent = index == 0 ? BlockKey{} : keys_.back();
    keys_.push_back(NextBlockKey(parent, ids, home_.scope));
    if (home_.store == nullptr) continue;
    home_.storage->WaitBelow();
    // The closure is the block's second owner until it is written.
    home_.storage->Push([store = home_.store, key = keys_.back(), ids = std::move(ids),
                         shape = StoredShape(cache_.layout()), block = blocks[index]] {
      store->PutBlock(key, ids, shape, block->bytes())
          .IgnoreError("KV is a cache: a block that can't be stored is recomputed later");
    });
  }
}

void LiveSequence::Checkpoint() {
  const int64_t position = cache_.tokens();
  if (home_.store == nullptr || position == checkpoint_position_ || position == 0) return;
  checkpoint_position_ = position;
  StoredCheckpoint checkpoint;
  checkpoint.position = position;
  checkpoint.tail_tokens.assign(tokens_.begin() + static_cast<int64_t>(keys_.size()) * kBlockTokens,
                                tokens_.end());
  checkpoint.state = cache_.SaveCheckpoint();
  const BlockKey parent = keys_.empty() ? BlockKey{} : keys_.back();
  home_.storage->WaitBelow();
  home_.storage->Push([store = home_.store, parent, checkpoint = std::move(checkpoint)] {
    Status stored = store->PutCheckpoint(parent, checkpoint);
    if (stored.ok()) stored = store->Flush();
    stored.IgnoreError("KV is a cache: without this checkpoint a resume replays from an older one");
  });
}

}  // namespace baleen
