#include "tests/faults/fault_vfs.h"

#include <unistd.h>

#include <sqlite3.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <string_view>

namespace baleen {

/// SQLite's own VFS beneath, which does the work; ours counts, fails and remembers.
struct FaultVfs::Vfs {
  sqlite3_vfs vfs = {};
  sqlite3_vfs* real = nullptr;
  FaultyDisk* disk = nullptr;
  std::atomic<int> last_errno = 0;
};

namespace {

using Vfs = sqlite3_vfs;

/// An open file: ours, with the real one behind it in the same allocation.
struct FaultFile {
  sqlite3_file base = {};
  sqlite3_file* real = nullptr;
  FaultyDisk* disk = nullptr;
  std::atomic<int>* last_errno = nullptr;
  std::string path;
  /// SQLite syncs the directory with the first sync of a log that it created.
  bool syncs_directory = false;
};

FaultFile& Of(sqlite3_file* file) { return *reinterpret_cast<FaultFile*>(file); }
const sqlite3_io_methods& Real(sqlite3_file* file) { return *Of(file).real->pMethods; }

int Failed(FaultFile& file, Fault fault, int code) {
  *file.last_errno = fault == Fault::kIoError ? EIO : ENOSPC;
  return code;
}

int Close(sqlite3_file* opened) {
  FaultFile& file = Of(opened);
  const int rc = file.real->pMethods->xClose(file.real);
  file.~FaultFile();
  return rc;
}

int Read(sqlite3_file* file, void* to, int count, sqlite3_int64 offset) {
  return Real(file).xRead(Of(file).real, to, count, offset);
}

int Write(sqlite3_file* opened, const void* from, int count, sqlite3_int64 offset) {
  FaultFile& file = Of(opened);
  const Fault fault = file.disk->Next(DiskOp::kWrite, file.path);
  if (fault == Fault::kIoError) return Failed(file, fault, SQLITE_IOERR_WRITE);
  if (fault == Fault::kNoSpace) return Failed(file, fault, SQLITE_FULL);
  const bool half = fault == Fault::kShortWrite || fault == Fault::kTornWrite;
  const int written = half ? count / 2 : count;
  const int rc = file.real->pMethods->xWrite(file.real, from, written, offset);
  if (rc != SQLITE_OK) return rc;
  file.disk->Wrote(file.path, offset,
                   {static_cast<const char*>(from), static_cast<size_t>(written)});
  return fault == Fault::kShortWrite ? Failed(file, fault, SQLITE_FULL) : SQLITE_OK;
}

int Truncate(sqlite3_file* opened, sqlite3_int64 size_bytes) {
  FaultFile& file = Of(opened);
  const Fault fault = file.disk->Next(DiskOp::kTruncate, file.path);
  if (fault != Fault::kNone) return Failed(file, fault, SQLITE_IOERR_TRUNCATE);
  const int rc = file.real->pMethods->xTruncate(file.real, size_bytes);
  if (rc == SQLITE_OK) file.disk->Truncated(file.path, size_bytes);
  return rc;
}

/// Real syncs would only cost time: what they promise is the model's to keep.
int Sync(sqlite3_file* opened, int /*flags*/) {
  FaultFile& file = Of(opened);
  const Fault fault = file.disk->Next(DiskOp::kSync, file.path);
  if (fault == Fault::kSkippedSync) return SQLITE_OK;
  if (fault == Fault::kIoError) file.disk->Forgot(file.path);
  if (fault != Fault::kNone) return Failed(file, fault, SQLITE_IOERR_FSYNC);
  file.disk->Synced(file.path);
  if (file.syncs_directory) {
    const std::string directory = file.path.substr(0, file.path.rfind('/'));
    // As in SQLite's own VFS, an error of this sync stays unnoticed.
    if (file.disk->Next(DiskOp::kSyncDirectory, directory) == Fault::kNone) {
      file.disk->SyncedDirectory(directory);
    }
    file.syncs_directory = false;
  }
  return SQLITE_OK;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Real(file).xFileSize(Of(file).real, size);
}
int Lock(sqlite3_file* file, int level) { return Real(file).xLock(Of(file).real, level); }
int Unlock(sqlite3_file* file, int level) { return Real(file).xUnlock(Of(file).real, level); }
int CheckLock(sqlite3_file* file, int* out) {
  return Real(file).xCheckReservedLock(Of(file).real, out);
}
int Control(sqlite3_file* file, int op, void* argument) {
  // Growing a file in chunks would write past our eyes.
  if (op == SQLITE_FCNTL_SIZE_HINT) return SQLITE_OK;
  return Real(file).xFileControl(Of(file).real, op, argument);
}
int SectorSize(sqlite3_file* file) { return Real(file).xSectorSize(Of(file).real); }
int Characteristics(sqlite3_file* file) { return Real(file).xDeviceCharacteristics(Of(file).real); }
int ShmMap(sqlite3_file* file, int page, int bytes, int extend, void volatile** out) {
  return Real(file).xShmMap(Of(file).real, page, bytes, extend, out);
}
int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  return Real(file).xShmLock(Of(file).real, offset, count, flags);
}
void ShmBarrier(sqlite3_file* file) { Real(file).xShmBarrier(Of(file).real); }
int ShmUnmap(sqlite3_file* file, int remove) { return Real(file).xShmUnmap(Of(file).real, remove); }

constexpr sqlite3_io_methods kMethods = {
    2,        Close,     Read,    Write,      Truncate,        Sync,   FileSize, Lock,
    Unlock,   CheckLock, Control, SectorSize, Characteristics, ShmMap, ShmLock,  ShmBarrier,
    ShmUnmap, nullptr,   nullptr};

}  // namespace

FaultVfs::FaultVfs(FaultyDisk* disk) : vfs_(std::make_unique<Vfs>()) {
  static std::atomic<int> number = 0;
  name_ = "baleen-faults-" + std::to_string(++number);
  vfs_->disk = disk;
  vfs_->real = sqlite3_vfs_find(nullptr);
  sqlite3_vfs& vfs = vfs_->vfs;
  vfs = *vfs_->real;
  vfs.iVersion = 2;
  vfs.szOsFile = static_cast<int>(sizeof(FaultFile)) + vfs_->real->szOsFile;
  vfs.pNext = nullptr;
  vfs.zName = name_.c_str();
  vfs.pAppData = vfs_.get();
  vfs.xOpen = [](sqlite3_vfs* self, const char* name, sqlite3_file* out, int flags,
                 int* out_flags) {
    auto& fault_vfs = *static_cast<FaultVfs::Vfs*>(self->pAppData);
    auto* real =
        reinterpret_cast<sqlite3_file*>(reinterpret_cast<std::byte*>(out) + sizeof(FaultFile));
    out->pMethods = nullptr;
    const std::string path = name != nullptr ? name : "";
    // Not xAccess, to which an empty file is none: another connection may have it open.
    const bool creates = access(path.c_str(), F_OK) != 0 && (flags & SQLITE_OPEN_CREATE) != 0;
    if (creates) {
      const Fault fault = fault_vfs.disk->Next(DiskOp::kCreate, path);
      fault_vfs.last_errno = fault == Fault::kIoError ? EIO : ENOSPC;
      if (fault != Fault::kNone) return SQLITE_CANTOPEN;
    }
    const int rc = fault_vfs.real->xOpen(fault_vfs.real, name, real, flags, out_flags);
    if (rc != SQLITE_OK) return rc;
    if (creates) fault_vfs.disk->Created(path);
    auto* file = new (out) FaultFile;
    file->base.pMethods = &kMethods;
    file->real = real;
    file->disk = fault_vfs.disk;
    file->last_errno = &fault_vfs.last_errno;
    file->path = path;
    file->syncs_directory = creates && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    return SQLITE_OK;
  };
  vfs.xDelete = [](sqlite3_vfs* self, const char* name, int sync_directory) {
    auto& fault_vfs = *static_cast<FaultVfs::Vfs*>(self->pAppData);
    const Fault fault = fault_vfs.disk->Next(DiskOp::kDelete, name);
    fault_vfs.last_errno = fault == Fault::kIoError ? EIO : ENOSPC;
    if (fault != Fault::kNone) return SQLITE_IOERR_DELETE;
    const int rc = fault_vfs.real->xDelete(fault_vfs.real, name, 0);
    if (rc != SQLITE_OK) return rc;
    fault_vfs.disk->Deleted(name);
    if (sync_directory != 0) {
      const std::string path = name;
      const std::string directory = path.substr(0, path.rfind('/'));
      if (fault_vfs.disk->Next(DiskOp::kSyncDirectory, directory) == Fault::kNone) {
        fault_vfs.disk->SyncedDirectory(directory);
      }
    }
    return SQLITE_OK;
  };
  vfs.xAccess = [](sqlite3_vfs* self, const char* name, int flags, int* out) {
    auto* real = static_cast<FaultVfs::Vfs*>(self->pAppData)->real;
    return real->xAccess(real, name, flags, out);
  };
  vfs.xFullPathname = [](sqlite3_vfs* self, const char* name, int bytes, char* out) {
    auto* real = static_cast<FaultVfs::Vfs*>(self->pAppData)->real;
    return real->xFullPathname(real, name, bytes, out);
  };
  vfs.xGetLastError = [](sqlite3_vfs* self, int, char*) {
    return static_cast<FaultVfs::Vfs*>(self->pAppData)->last_errno.load();
  };
  sqlite3_vfs_register(&vfs, 0);
}

FaultVfs::~FaultVfs() { sqlite3_vfs_unregister(&vfs_->vfs); }

}  // namespace baleen
