// FaultFileSystem: RocksDB's files on a FaultyDisk. For KvStoreOptions::file_system.
#pragma once

#include "runtime/store/kv_file_system.h"
#include "tests/faults/faulty_disk.h"

namespace baleen {

/// Borrows: disk, as long as a store uses the file system.
KvFileSystem FaultFileSystem(FaultyDisk* disk);

}  // namespace baleen
