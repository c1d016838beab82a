#include "runtime/engine/live_sequence.h"

#include <algorithm>
#include <utility>

#include "runtime/engine/kv_restore.h"

namespace baleen {

std::vector<BlockKey> BlockKeys(const TokenList& tokens, const KvScope& scope) {
  std::vector<BlockKey> keys;
  BlockKey parent{};
  constexpr auto kTokens = static_cast<size_t>(kBlockTokens);
  for (size_t begin = 0; begin + kTokens <= tokens.size(); begin += kTokens) {
    parent = NextBlockKey(parent, tokens.Together(begin, kTokens), scope);
    keys.push_back(parent);
  }
  return keys;
}

LiveSequence::LiveSequence(KvTiers& tiers) : tiers_(tiers), cache_(tiers.home.model->NewCache()) {}

LiveSequence::LiveSequence(KvTiers& tiers, KvCache cache, TokenList tokens,
                           std::vector<BlockKey> keys)
    : tiers_(tiers),
      cache_(std::move(cache)),
      tokens_(std::move(tokens)),
      keys_(std::move(keys)),
      checkpoint_position_(cache_.tokens()),
      durable_blocks_(std::ssize(keys_)) {
  cache_.set_row_source(&tiers_.loader);
}

LiveSequence::~LiveSequence() {
  tiers_.loader.StopStream(this);
  tiers_.ram.Touch(keys_);
}

std::unique_ptr<LiveSequence> LiveSequence::Fork() const {
  auto fork = std::make_unique<LiveSequence>(tiers_, cache_.Fork(), tokens_, keys_);
  fork->checkpoint_position_ = checkpoint_position_;
  fork->checkpoint_kinds_ = checkpoint_kinds_;
  fork->durable_blocks_ = durable_blocks_;
  return fork;
}

Status LiveSequence::Append(std::span<const int32_t> tokens, LogitsWanted wanted,
                            std::vector<float>* logits) {
  // A sequence that was resumed or forked lacks what its newest token selected.
  tiers_.loader.ReadAhead(cache_.AbsentUnits(KvUnits::kSelected));
  const int64_t begin = position();
  Status status;
  while (true) {
    const auto taken = static_cast<size_t>(position() - begin);
    const auto rest = tokens.subspan(taken);
    status = tiers_.home.model->Forward(cache_, rest, wanted, logits);
    // A replay meets tokens that it has.
    const auto held = static_cast<int64_t>(tokens_.size());
    for (int64_t at = held; at < position(); ++at) {
      tokens_.push_back(tokens[static_cast<size_t>(at - begin)]);
    }
    std::vector<UnitFailure> failures = tiers_.loader.TakeFailures();
    if (status.ok() || failures.empty()) break;
    status = Repair(std::move(failures));
    if (!status.ok()) break;
  }
  report_.waits.Add(tiers_.loader.TakeWaits());
  PersistSealedBlocks();
  return status;
}

Status LiveSequence::Repair(std::vector<UnitFailure> failures) {
  RestoreReport report;
  const Status status = RepairUnits(tiers_, tokens_, cache_, failures, &report);
  report_.tokens_repaired += report.tokens_repaired;
  report_.reasons.insert(report_.reasons.end(), report.reasons.begin(), report.reasons.end());
  return status;
}

void LiveSequence::PersistSealedBlocks() {
  const auto blocks = cache_.blocks();
  while (keys_.size() < blocks.size()) {
    const size_t index = keys_.size();
    constexpr auto kTokens = static_cast<size_t>(kBlockTokens);
    std::vector<int32_t> ids = tokens_.Ids(index * kTokens, (index + 1) * kTokens);
    const BlockKey parent = index == 0 ? BlockKey{} : keys_.back();
    keys_.push_back(NextBlockKey(parent, ids, tiers_.home.scope));
    tiers_.ram.Enter(keys_.back(), blocks[index]);
    if (tiers_.home.store == nullptr) continue;
    tiers_.home.storage->WaitBelow();
    // The closure is an owner of the block until it is written.
    tiers_.home.storage->Push([store = tiers_.home.store, shape = &tiers_.shape, key = keys_.back(),
                               ids = std::move(ids), block = blocks[index]] {
      if (store->HasBlock(key)) return;
      store->PutBlock(key, ids, *shape, block->Gather())
          .IgnoreError("KV is a cache: a block that can't be stored is recomputed later");
    });
  }
}

void LiveSequence::Checkpoint(uint32_t kinds) {
  if (tiers_.home.store == nullptr || position() == 0 || cache_.replaying()) return;
  if (tiers_.options.policy == CheckpointPolicy::kZero) {
    if (durable_blocks_ == std::ssize(keys_)) return;
    durable_blocks_ = std::ssize(keys_);
    tiers_.home.storage->Push([store = tiers_.home.store] {
      store->Flush().IgnoreError("KV is a cache: blocks that are lost are recomputed");
    });
    return;
  }
  const bool same_position = position() == checkpoint_position_;
  if (same_position && (kinds & ~checkpoint_kinds_) == 0) return;
  checkpoint_kinds_ = same_position ? checkpoint_kinds_ | kinds : kinds;
  checkpoint_position_ = position();
  StoreCheckpoint(kinds);
}

void LiveSequence::StoreCheckpoint(uint32_t kinds) {
  StoredCheckpoint checkpoint;
  checkpoint.position = position();
  checkpoint.kinds = kinds;
  checkpoint.tail_tokens =
      tokens_.Ids(keys_.size() * static_cast<size_t>(kBlockTokens), tokens_.size());
  checkpoint.state = cache_.SaveCheckpoint();
  const BlockKey parent = keys_.empty() ? BlockKey{} : keys_.back();
  tiers_.home.storage->WaitBelow();
  tiers_.home.storage->Push([store = tiers_.home.store, parent,
                             checkpoint = std::move(checkpoint)] {
    Status stored = store->PutCheckpoint(parent, checkpoint);
    if (stored.ok()) stored = store->Flush();
    stored.IgnoreError("KV is a cache: without this checkpoint a resume replays from an older one");
  });
}

Status LiveSequence::FetchRows() {
  while (true) {
    const std::vector<KvUnitRef> absent = cache_.AbsentUnits(KvUnits::kAll);
    if (absent.empty()) return OkStatus();
    const Status status = tiers_.loader.Fetch(absent);
    std::vector<UnitFailure> failures = tiers_.loader.TakeFailures();
    report_.waits.Add(tiers_.loader.TakeWaits());
    if (status.ok()) continue;
    if (failures.empty()) return status;
    RETURN_IF_ERROR(Repair(std::move(failures)));
  }
}

void LiveSequence::StreamRows() { tiers_.loader.Stream(this, cache_.AbsentUnits(KvUnits::kAll)); }

}  // namespace baleen
