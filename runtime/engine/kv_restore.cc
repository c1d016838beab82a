#include "runtime/engine/kv_restore.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

namespace baleen {
namespace {

/// A repair can't be parked: it waits for late rows this often.
constexpr int kRepairWaits = 120;
constexpr std::chrono::milliseconds kRepairWait{1000};
constexpr int64_t kRepairChunk = 512;

using Blocks = std::vector<std::shared_ptr<KvBlock>>;

/// Repeats `step` while rows are late.
Status Patiently(KvTiers& tiers, const std::function<Status()>& step) {
  for (int waits = 0;; ++waits) {
    Status status = step();
    if (status.code() != StatusCode::kDeadlineExceeded || waits == kRepairWaits) return status;
    tiers.loader.Await(tiers.loader.TakeLate(), kRepairWait);
  }
}

Status AppendPatiently(KvTiers& tiers, LiveSequence& sequence, std::span<const int32_t> tokens) {
  const int64_t begin = sequence.position();
  while (true) {
    const int64_t done = sequence.position() - begin;
    const int64_t left = std::ssize(tokens) - done;
    if (left == 0) return OkStatus();
    const auto chunk = tokens.subspan(static_cast<size_t>(done),
                                      static_cast<size_t>(std::min(left, kRepairChunk)));
    const int64_t end = sequence.position() + std::ssize(chunk);
    RETURN_IF_ERROR(Patiently(tiers, [&] {
      const auto taken = static_cast<size_t>(std::ssize(chunk) - (end - sequence.position()));
      return sequence.Append(chunk.subspan(taken), LogitsWanted::kNone, nullptr);
    }));
  }
}

/// What is stored of one token sequence, and how to compute the rest of it again.
class StoredChain {
 public:
  StoredChain(KvTiers& tiers, const TokenList& tokens, RestoreReport* report)
      : tiers_(tiers),
        tokens_(tokens),
        keys_(BlockKeys(tokens, tiers.home.scope)),
        report_(report) {}

  const std::vector<BlockKey>& keys() const { return keys_; }
  KvStore& store() const { return *tiers_.home.store; }

  std::span<const int32_t> BlockTokens(int64_t index) const {
    return tokens_.Together(static_cast<size_t>(index * kBlockTokens),
                            static_cast<size_t>(kBlockTokens));
  }

  /// The stored checkpoints between block border `border` and the next one, longest first.
  std::vector<StoredCheckpoint> CheckpointsAfter(int64_t border) {
    if (tiers_.options.policy == CheckpointPolicy::kZero) return {};
    const auto begin = static_cast<size_t>(border * kBlockTokens);
    const size_t length = std::min<size_t>(tokens_.size() - begin, kBlockTokens - 1);
    int64_t damaged = 0;
    auto found = store().FindCheckpoints(border == 0 ? BlockKey{} : Key(border - 1),
                                         tokens_.Together(begin, length), &damaged);
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

  /// The sequence at `checkpoint` over the first `border` blocks; null if the state is damaged.
  std::unique_ptr<LiveSequence> Open(const Blocks& blocks, int64_t border,
                                     const StoredCheckpoint& checkpoint) {
    auto cache = tiers_.home.model->RestoreCache(Blocks(blocks.begin(), blocks.begin() + border),
                                                 checkpoint.state);
    if (!cache.ok() || cache->tokens() != checkpoint.position) {
      report_->reasons.push_back("checkpoint at token " + std::to_string(checkpoint.position) +
                                 " not usable: " + cache.status().ToString());
      return nullptr;
    }
    return Make(std::move(cache).value(), checkpoint.position, border);
  }

  /// Where a replay that is exact at block border `border` starts.
  int64_t ReplayStart(int64_t border) const {
    return std::max<int64_t>(
        0, border * kBlockTokens - KvCache::ReplayTokens(tiers_.home.model->config()));
  }

  /// The sequence that replays up to block border `border`.
  std::unique_ptr<LiveSequence> OpenReplay(const Blocks& blocks, int64_t border) {
    KvCache cache = tiers_.home.model->ReplayCache(Blocks(blocks.begin(), blocks.begin() + border),
                                                   ReplayStart(border));
    return Make(std::move(cache), border * kBlockTokens, border);
  }

  /// Computes block `index` again over `before`, the blocks before it, and stores it anew.
  Result<std::shared_ptr<KvBlock>> Recompute(int64_t index, const Blocks& before,
                                             const Status& why) {
    const int64_t begin = index * kBlockTokens;
    const int64_t end = begin + kBlockTokens;
    std::string reason = "block " + std::to_string(index) + " (tokens " + std::to_string(begin) +
                         ".." + std::to_string(end - 1) + "): " + why.ToString();
    if (why.code() == StatusCode::kNotFound) reason += " (" + store().MissReason(Key(index)) + ")";
    report_->reasons.push_back(reason + "; recomputed");
    store()
        .DropBlocks({&keys_[static_cast<size_t>(index)], 1}, DropReason::kDamaged)
        .IgnoreError("the recomputed block is used from RAM even if the bad one stays");
    // Damage often comes in runs: the sequence that repaired the block before this one goes on.
    if (repair_ == nullptr || repair_->position() != begin) repair_ = NearestTo(index, before);
    const int64_t from = repair_->position();
    RETURN_IF_ERROR(AppendPatiently(
        tiers_, *repair_, tokens_.Ids(static_cast<size_t>(from), static_cast<size_t>(end))));
    StepReport steps = repair_->TakeReport();
    report_->tokens_repaired += end - from + steps.tokens_repaired;
    report_->reasons.insert(report_->reasons.end(), steps.reasons.begin(), steps.reasons.end());
    return repair_->cache().blocks()[static_cast<size_t>(index)];
  }

 private:
  const BlockKey& Key(int64_t index) const { return keys_[static_cast<size_t>(index)]; }

  std::unique_ptr<LiveSequence> Make(KvCache cache, int64_t tokens, int64_t border) {
    return std::make_unique<LiveSequence>(
        tiers_, std::move(cache), tokens_.First(static_cast<size_t>(tokens)),
        std::vector<BlockKey>(keys_.begin(), keys_.begin() + border));
  }

  /// The latest sequence at or before block `index` that needs only `before`.
  std::unique_ptr<LiveSequence> NearestTo(int64_t index, const Blocks& before) {
    const int64_t replay = ReplayStart(index);
    for (int64_t border = index; border >= 0 && (border + 1) * kBlockTokens > replay; --border) {
      for (const StoredCheckpoint& checkpoint : CheckpointsAfter(border)) {
        if (checkpoint.position > index * kBlockTokens || checkpoint.position < replay) continue;
        if (auto sequence = Open(before, border, checkpoint)) return sequence;
      }
    }
    if (replay > 0) return OpenReplay(before, index);
    return std::make_unique<LiveSequence>(tiers_);
  }

  KvTiers& tiers_;
  TokenList tokens_;
  std::vector<BlockKey> keys_;
  RestoreReport* report_;
  std::unique_ptr<LiveSequence> repair_;
};

/// Loads prefixes of one token sequence.
class Restorer {
 public:
  Restorer(KvTiers& tiers, const TokenList& tokens, int64_t floor, RestoreReport* report)
      : tiers_(tiers), floor_(floor), report_(report), chain_(tiers, tokens, report) {}

  Result<std::unique_ptr<LiveSequence>> Restore() {
    ASSIGN_OR_RETURN(auto sequence, FromCheckpoint());
    if (sequence == nullptr) {
      ASSIGN_OR_RETURN(sequence, FromReplay(floor_));
    }
    NoteMiss(sequence == nullptr ? floor_ : sequence->position() + report_->tokens_to_replay);
    if (sequence == nullptr) return sequence;
    report_->tokens_from_disk =
        std::max<int64_t>(0, sequence->position() - report_->tokens_from_ram -
                                 std::min(report_->tokens_repaired, sequence->position()));
    if (tiers_.options.lazy) {
      tiers_.loader.ReadAhead(sequence->cache().AbsentUnits(KvUnits::kSelected));
      sequence->StreamRows();
    } else {
      RETURN_IF_ERROR(Patiently(tiers_, [&] { return sequence->FetchRows(); }));
      StepReport steps = sequence->TakeReport();
      report_->bytes_read += steps.waits.bytes;
      report_->tokens_repaired += steps.tokens_repaired;
      report_->reasons.insert(report_->reasons.end(), steps.reasons.begin(), steps.reasons.end());
    }
    return sequence;
  }

 private:
  Result<std::unique_ptr<LiveSequence>> FromCheckpoint() {
    for (int64_t border = std::ssize(chain_.keys()); border >= floor_ / kBlockTokens; --border) {
      for (const StoredCheckpoint& checkpoint : chain_.CheckpointsAfter(border)) {
        if (checkpoint.position <= floor_) continue;
        if (!BlocksAreUsable(border)) break;
        // Far behind what is stored, a replay is shorter.
        if (chain_.ReplayStart(std::ssize(chain_.keys())) > checkpoint.position) {
          ASSIGN_OR_RETURN(auto replay, FromReplay(checkpoint.position));
          if (replay != nullptr) return replay;
        }
        RETURN_IF_ERROR(LoadBlocks(border));
        if (auto sequence = chain_.Open(blocks_, border, checkpoint)) {
          report_->tokens_from_ram = ram_blocks_ * kBlockTokens;
          report_->bytes_read += std::ssize(checkpoint.state);
          return sequence;
        }
      }
    }
    return std::unique_ptr<LiveSequence>();
  }

  /// Over all blocks that are stored from the first one on; null if that starts at `floor` or
  /// before.
  Result<std::unique_ptr<LiveSequence>> FromReplay(int64_t floor) {
    // Only then can it lead beyond; most often it can't, and the blocks before need no look.
    if (!IsStored(floor / kBlockTokens)) return std::unique_ptr<LiveSequence>();
    int64_t border = 0;
    while (IsStored(border)) ++border;
    const int64_t start = chain_.ReplayStart(border);
    if (start <= floor) return std::unique_ptr<LiveSequence>();
    RETURN_IF_ERROR(LoadBlocks(border));
    report_->tokens_from_ram = std::min(ram_blocks_ * kBlockTokens, start);
    report_->tokens_to_replay = border * kBlockTokens - start;
    return chain_.OpenReplay(blocks_, border);
  }

  void NoteMiss(int64_t position) {
    const int64_t index = position / kBlockTokens;
    if (index >= std::ssize(chain_.keys())) return;
    if (IsStored(index)) return;
    report_->miss = "block " + std::to_string(index) + " (tokens from " +
                    std::to_string(index * kBlockTokens) +
                    " on): " + chain_.store().MissReason(chain_.keys()[static_cast<size_t>(index)]);
  }

  /// Whether block `index` exists and is in RAM or on the disk.
  bool IsStored(int64_t index) {
    if (index >= std::ssize(chain_.keys())) return false;
    const BlockKey& key = chain_.keys()[static_cast<size_t>(index)];
    return tiers_.ram.Find(key) != nullptr || chain_.store().HasBlock(key);
  }

  /// A repair makes sense only while most of the prefix is there: a checkpoint over blocks that are
  /// all gone is worth nothing.
  bool BlocksAreUsable(int64_t border) {
    return border == 0 || IsStored(0) || IsStored(border - 1);
  }

  /// Brings blocks_ to `border` entries, recomputing what can't be read.
  Status LoadBlocks(int64_t border) {
    const int64_t begin = std::ssize(blocks_);
    if (border <= begin) return OkStatus();
    const auto count = static_cast<size_t>(border - begin);
    Blocks found(count);
    std::vector<KvBlock::Bytes> resident(count);
    std::vector<UnitRead> reads;
    std::vector<size_t> places;
    for (size_t i = 0; i < count; ++i) {
      const int64_t index = begin + static_cast<int64_t>(i);
      const BlockKey& key = chain_.keys()[static_cast<size_t>(index)];
      found[i] = tiers_.ram.Find(key);
      if (found[i] != nullptr) {
        ++ram_blocks_;
        continue;
      }
      resident[i].resize(static_cast<size_t>(tiers_.layout.units.front().bytes));
      UnitRead read;
      read.key = key;
      read.tokens = chain_.BlockTokens(index);
      read.out = std::span(resident[i]).first(static_cast<size_t>(tiers_.shape.extent(0).bytes));
      reads.push_back(std::move(read));
      places.push_back(i);
    }
    chain_.store().LoadUnits(reads, tiers_.shape).IgnoreError("each read has its own status below");
    std::vector<Status> statuses(count);
    for (size_t r = 0; r < reads.size(); ++r) statuses[places[r]] = reads[r].status;
    for (size_t i = 0; i < count; ++i) {
      const int64_t index = begin + static_cast<int64_t>(i);
      if (found[i] == nullptr && statuses[i].ok()) {
        const BlockKey& key = chain_.keys()[static_cast<size_t>(index)];
        report_->bytes_read += std::ssize(resident[i]);
        found[i] =
            std::make_shared<KvBlock>(key, std::move(resident[i]), tiers_.layout.units.size());
        tiers_.ram.Enter(key, found[i]);
      } else if (found[i] == nullptr) {
        ASSIGN_OR_RETURN(found[i], chain_.Recompute(index, blocks_, statuses[i]));
      }
      blocks_.push_back(std::move(found[i]));
    }
    return OkStatus();
  }

  KvTiers& tiers_;
  const int64_t floor_;
  RestoreReport* report_;
  StoredChain chain_;
  Blocks blocks_;
  int64_t ram_blocks_ = 0;
};

/// Copies the units that `target` lacks from the complete `source`.
void FillUnits(KvTiers& tiers, const KvBlock& source, KvBlock& target) {
  for (int32_t unit = 0; unit < target.units(); ++unit) {
    const std::span<const std::byte> bytes = source.unit(unit);
    const std::span<std::byte> room = target.Claim(unit, std::ssize(bytes));
    if (room.empty()) continue;
    std::copy(bytes.begin(), bytes.end(), room.begin());
    tiers.ram.Grew(std::ssize(bytes));
    target.Publish(unit);
  }
}

}  // namespace

Result<std::unique_ptr<LiveSequence>> RestoreSequence(KvTiers& tiers, const TokenList& tokens,
                                                      int64_t floor, RestoreReport* report) {
  if (tiers.home.store == nullptr) return std::unique_ptr<LiveSequence>();
  return Restorer(tiers, tokens, floor, report).Restore();
}

Status RepairUnits(KvTiers& tiers, const TokenList& tokens, const KvCache& cache,
                   std::span<const UnitFailure> failures, RestoreReport* report) {
  const Blocks blocks(cache.blocks().begin(), cache.blocks().end());
  StoredChain chain(tiers, tokens.First(blocks.size() * static_cast<size_t>(kBlockTokens)), report);
  std::set<int64_t> repaired;
  for (const UnitFailure& failure : failures) {
    const int64_t index = failure.ref.index;
    if (!repaired.insert(index).second) continue;
    const Blocks before(blocks.begin(), blocks.begin() + index);
    ASSIGN_OR_RETURN(const auto block, chain.Recompute(index, before, failure.status));
    FillUnits(tiers, *block, *failure.ref.block);
    tiers.loader.Mended(failure.ref.block->id());
  }
  return OkStatus();
}

}  // namespace baleen
