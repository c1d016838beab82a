// FaultVfs: SQLite's files on a FaultyDisk. For JournalOptions::vfs.
#pragma once

#include <memory>
#include <string>

#include "tests/faults/faulty_disk.h"

namespace baleen {

/// Registered with SQLite while it lives; must outlive every connection that uses it.
/// Threads: any.
class FaultVfs {
 public:
  /// Borrows: disk.
  explicit FaultVfs(FaultyDisk* disk);
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  const std::string& name() const { return name_; }

 private:
  struct Vfs;
  std::string name_;
  std::unique_ptr<Vfs> vfs_;
};

}  // namespace baleen
