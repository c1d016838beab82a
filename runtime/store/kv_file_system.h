// KvFileSystem: the file system under a KvStore, for tests that make its calls fail.
//
// Not a public header: it names RocksDB. KvStoreOptions::file_system points at one.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>

namespace baleen {

struct KvFileSystem {
  std::shared_ptr<rocksdb::FileSystem> files;  ///< Owners: the test, and each store's environment.
};

}  // namespace baleen
