// KvDatabase in memory: the class of kv_database.h without RocksDB, for builds with
// BALEEN_THREAD_CORE.
//
// It exists so that ThreadSanitizer sees every thread of ours and no uninstrumented library. All
// objects of one path share their contents under one mutex. Not done: flushing, format versions,
// file sizes.
#include <map>
#include <mutex>
#include <utility>

#include "runtime/store/index_codec.h"
#include "runtime/store/kv_database.h"
#include "runtime/store/memory/memory_registry.h"

namespace baleen {
namespace {

struct Values {
  std::mutex mutex;
  std::map<std::string, std::string, std::less<>> families[kKvFamilies];  // guarded by mutex
};

MemoryRegistry<Values>& Registry() {
  static MemoryRegistry<Values> registry;
  return registry;
}

}  // namespace

class KvDatabase::Impl {
 public:
  explicit Impl(const std::string& path) : values(Registry().Open(path)) {}

  auto& family(KvFamily which) const { return values->families[static_cast<size_t>(which)]; }

  const std::shared_ptr<Values> values;  ///< Owners: the registry and all databases of the path.
};

KvDatabase::KvDatabase(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvDatabase::~KvDatabase() = default;

Result<std::unique_ptr<KvDatabase>> KvDatabase::Open(const KvStoreOptions& options, bool* dropped) {
  *dropped = false;
  return std::unique_ptr<KvDatabase>(new KvDatabase(std::make_unique<Impl>(options.path)));
}

Status KvDatabase::Remove(const std::string& path) {
  Registry().Remove(path);
  return OkStatus();
}

Result<std::optional<std::string>> KvDatabase::Get(KvFamily family, const std::string& key) const {
  const std::lock_guard lock(impl_->values->mutex);
  const auto found = impl_->family(family).find(key);
  if (found == impl_->family(family).end()) return std::optional<std::string>();
  return std::optional<std::string>(found->second);
}

void KvDatabase::Visit(KvFamily family, std::span<const std::string> keys, const Sink& sink) const {
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto value = *Get(family, keys[i]);
    const std::string_view bytes = value.has_value() ? std::string_view(*value) : "";
    if (!sink(i, OkStatus(), value.has_value() ? &bytes : nullptr)) return;
  }
}

Status KvDatabase::Scan(KvFamily family, const std::string& prefix, const Visitor& visit) const {
  const std::lock_guard lock(impl_->values->mutex);
  const auto& entries = impl_->family(family);
  for (auto entry = entries.lower_bound(prefix);
       entry != entries.end() && entry->first.starts_with(prefix); ++entry) {
    if (!visit(entry->first, entry->second)) break;
  }
  return OkStatus();
}

Result<uint64_t> KvDatabase::LastNumber(KvFamily family) const {
  const std::lock_guard lock(impl_->values->mutex);
  const auto& entries = impl_->family(family);
  return entries.empty() ? uint64_t{0} : NumberInKey(entries.rbegin()->first);
}

Status KvDatabase::Apply(std::span<const KvWrite> writes) {
  const std::lock_guard lock(impl_->values->mutex);
  for (const KvWrite& write : writes) {
    auto& entries = impl_->family(write.family);
    if (write.value.has_value()) {
      entries[write.key] = *write.value;
    } else {
      entries.erase(write.key);
    }
  }
  return OkStatus();
}

Status KvDatabase::Flush() { return OkStatus(); }

Result<ReclaimStep> KvDatabase::ReclaimOnce(KvFamily family,
                                            std::shared_ptr<const LiveNumbers> live,
                                            const ReclaimLimits& /*limits*/) {
  const std::lock_guard lock(impl_->values->mutex);
  std::erase_if(impl_->family(family),
                [&](const auto& entry) { return !live->Contains(NumberInKey(entry.first)); });
  return ReclaimStep{};
}

Status KvDatabase::CompactIndex() { return OkStatus(); }

Status KvDatabase::Backup(const std::string& path) {
  if (Registry().Has(path)) return AlreadyExistsError("backup '" + path + "' exists");
  const auto copy = Registry().Open(path);
  const std::scoped_lock lock(copy->mutex, impl_->values->mutex);
  for (int i = 0; i < kKvFamilies; ++i) copy->families[i] = impl_->values->families[i];
  return OkStatus();
}

Result<int64_t> KvDatabase::BytesOnDisk() const { return int64_t{0}; }
int64_t KvDatabase::FileBytesWritten() const { return 0; }

}  // namespace baleen
