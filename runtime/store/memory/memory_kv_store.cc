// KvStore in memory: the class of kv_store.h without RocksDB, for builds with BALEEN_THREAD_CORE.
//
// It exists so that ThreadSanitizer sees every thread of ours and no uninstrumented library. Values
// are encoded and decoded as on disk; all objects of one path share them under one mutex. Not done:
// flushing, format versions, file sizes.
#include <algorithm>
#include <map>
#include <utility>

#include "runtime/store/block_codec.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/memory/memory_registry.h"

namespace baleen {
namespace {

/// A checkpoint is named by its parent block and the ids since.
using CheckpointName = std::pair<BlockKey, std::vector<int32_t>>;

struct Values {
  std::mutex mutex;  ///< Guards both maps.
  std::map<BlockKey, std::string> blocks;
  std::map<CheckpointName, std::string> checkpoints;
};

MemoryRegistry<Values>& Registry() {
  static MemoryRegistry<Values> registry;
  return registry;
}

}  // namespace

class KvStore::Impl {
 public:
  explicit Impl(const KvStoreOptions& options)
      : values(Registry().Open(options.path)), read_only(options.read_only) {}

  Status CheckWritable() const {
    return read_only ? FailedPreconditionError("the KV store is open read-only") : OkStatus();
  }

  const std::shared_ptr<Values> values;  ///< Owners: the registry and all stores of the path.
  const bool read_only;
};

KvStore::KvStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvStore::~KvStore() = default;

Result<std::unique_ptr<KvStore>> KvStore::Open(const KvStoreOptions& options, bool* dropped) {
  if (dropped != nullptr) *dropped = false;
  return std::unique_ptr<KvStore>(new KvStore(std::make_unique<Impl>(options)));
}

Status KvStore::Remove(const std::string& path) {
  Registry().Remove(path);
  return OkStatus();
}

Status KvStore::PutBlock(const BlockKey& key, std::span<const int32_t> tokens,
                         std::span<const StoredStream> streams, std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  RETURN_IF_ERROR(CheckBlock(tokens, streams, bytes.size()));
  std::string value = EncodeBlock(key, tokens, streams, bytes);
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  impl_->values->blocks.try_emplace(key, std::move(value));
  return OkStatus();
}

Result<StoredBlock> KvStore::GetBlock(const BlockKey& key,
                                      std::span<const int32_t> expected_tokens) {
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  const auto found = impl_->values->blocks.find(key);
  if (found == impl_->values->blocks.end()) {
    return NotFoundError("KV block " + BlockKeyHex(key) + " is not stored");
  }
  ASSIGN_OR_RETURN(StoredBlock block, DecodeBlock(found->second, key));
  if (!std::equal(block.tokens.begin(), block.tokens.end(), expected_tokens.begin(),
                  expected_tokens.end())) {
    return DataLossError("KV block " + BlockKeyHex(key) + " holds other token ids than expected");
  }
  return block;
}

Result<std::vector<std::byte>> KvStore::LoadBlock(const BlockKey& key,
                                                  std::span<const int32_t> expected_tokens,
                                                  std::span<const StoredStream> expected_streams,
                                                  int64_t payload_bytes) {
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  const auto found = impl_->values->blocks.find(key);
  if (found == impl_->values->blocks.end()) {
    return NotFoundError("KV block " + BlockKeyHex(key) + " is not stored");
  }
  return LoadBlockPayload(
      found->second, key,
      {expected_tokens, expected_streams, static_cast<uint64_t>(payload_bytes)});
}

bool KvStore::HasBlock(const BlockKey& key) {
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  return impl_->values->blocks.count(key) != 0;
}

Status KvStore::DropBlock(const BlockKey& key) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  impl_->values->blocks.erase(key);
  return OkStatus();
}

Status KvStore::PutCheckpoint(const BlockKey& parent, const StoredCheckpoint& checkpoint) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  RETURN_IF_ERROR(CheckCheckpoint(checkpoint));
  std::string value = EncodeCheckpoint(parent, checkpoint);
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  impl_->values->checkpoints.try_emplace({parent, checkpoint.tail_tokens}, std::move(value));
  return OkStatus();
}

Result<std::vector<StoredCheckpoint>> KvStore::FindCheckpoints(const BlockKey& parent,
                                                               std::span<const int32_t> tail,
                                                               int64_t* damaged) {
  if (damaged != nullptr) *damaged = 0;
  std::vector<StoredCheckpoint> found;
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  for (const auto& [name, value] : impl_->values->checkpoints) {
    const auto& [its_parent, its_tail] = name;
    if (its_parent != parent || its_tail.size() > tail.size() ||
        !std::equal(its_tail.begin(), its_tail.end(), tail.begin())) {
      continue;
    }
    ASSIGN_OR_RETURN(StoredCheckpoint checkpoint, DecodeCheckpoint(value, parent));
    found.push_back(std::move(checkpoint));
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.position > b.position; });
  return found;
}

Status KvStore::DropCheckpoint(const BlockKey& parent, std::span<const int32_t> tail) {
  RETURN_IF_ERROR(impl_->CheckWritable());
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  impl_->values->checkpoints.erase({parent, {tail.begin(), tail.end()}});
  return OkStatus();
}

Status KvStore::Flush() { return OkStatus(); }

Result<KvStoreReport> KvStore::Verify() {
  KvStoreReport report;
  const std::lock_guard<std::mutex> lock(impl_->values->mutex);
  for (const auto& [key, value] : impl_->values->blocks) {
    ++report.blocks;
    report.block_bytes += static_cast<int64_t>(value.size());
    if (const auto block = DecodeBlock(value, key); !block.ok()) {
      report.problems.push_back("block " + BlockKeyHex(key) + ": " + block.status().message());
    }
  }
  for (const auto& [name, value] : impl_->values->checkpoints) {
    ++report.checkpoints;
    report.checkpoint_bytes += static_cast<int64_t>(value.size());
  }
  return report;
}

Result<int64_t> KvStore::BytesOnDisk() { return int64_t{0}; }

}  // namespace baleen
