#include "tests/faults/fault_file_system.h"

#include <rocksdb/file_system.h>

#include <string>
#include <utility>

namespace baleen {
namespace {

using rocksdb::FSDirectory;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus Failed(Fault fault, const std::string& path) {
  if (fault == Fault::kIoError) return IOStatus::IOError("injected: " + path, "Input/output error");
  return IOStatus::NoSpace("injected: " + path, "No space left on device");
}

class WritableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  WritableFile(std::unique_ptr<FSWritableFile> file, FaultyDisk* disk, std::string path,
               uint64_t size_bytes)
      : FSWritableFileOwnerWrapper(std::move(file)),
        disk_(disk),
        path_(std::move(path)),
        size_bytes_(size_bytes) {}

  IOStatus Append(const Slice& bytes, const IOOptions& options, IODebugContext* debug) override {
    const Fault fault = disk_->Next(DiskOp::kWrite, path_);
    if (fault == Fault::kIoError || fault == Fault::kNoSpace) return Failed(fault, path_);
    if (fault == Fault::kTornWrite) {
      // The file has its full length, but its second half never came: zeros.
      std::string torn = bytes.ToString();
      torn.replace(torn.size() / 2, std::string::npos, torn.size() - torn.size() / 2, '\0');
      return AppendAll(torn, options, debug);
    }
    if (fault != Fault::kShortWrite) return AppendAll(bytes, options, debug);
    const IOStatus status = AppendAll(Slice(bytes.data(), bytes.size() / 2), options, debug);
    return status.ok() ? Failed(fault, path_) : status;
  }
  IOStatus Append(const Slice& bytes, const IOOptions& options,
                  const rocksdb::DataVerificationInfo&, IODebugContext* debug) override {
    return Append(bytes, options, debug);
  }
  IOStatus PositionedAppend(const Slice&, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported("direct writes aren't used");
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    const Fault fault = disk_->Next(DiskOp::kTruncate, path_);
    if (fault != Fault::kNone) return Failed(fault, path_);
    const IOStatus status = target()->Truncate(size, options, debug);
    if (status.ok()) disk_->Truncated(path_, static_cast<int64_t>(size_bytes_ = size));
    return status;
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return SyncNow(); }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return SyncNow(); }
  /// Only a hint to begin writing.
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  IOStatus Allocate(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  IOStatus AppendAll(const Slice& bytes, const IOOptions& options, IODebugContext* debug) {
    const IOStatus status = target()->Append(bytes, options, debug);
    if (!status.ok()) return status;
    disk_->Wrote(path_, static_cast<int64_t>(size_bytes_), {bytes.data(), bytes.size()});
    size_bytes_ += bytes.size();
    return status;
  }
  /// Real syncs would only cost time: what they promise is the model's to keep.
  IOStatus SyncNow() {
    const Fault fault = disk_->Next(DiskOp::kSync, path_);
    if (fault == Fault::kSkippedSync) return IOStatus::OK();
    if (fault == Fault::kIoError) disk_->Forgot(path_);
    if (fault != Fault::kNone) return Failed(fault, path_);
    disk_->Synced(path_);
    return IOStatus::OK();
  }

  FaultyDisk* disk_;
  std::string path_;
  uint64_t size_bytes_;
};

class Directory : public rocksdb::FSDirectory {
 public:
  Directory(std::unique_ptr<FSDirectory> directory, FaultyDisk* disk, std::string path)
      : directory_(std::move(directory)), disk_(disk), path_(std::move(path)) {}

  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return SyncNow(); }
  IOStatus FsyncWithDirOptions(const IOOptions&, IODebugContext*,
                               const rocksdb::DirFsyncOptions&) override {
    return SyncNow();
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return directory_->Close(options, debug);
  }
  size_t GetUniqueId(char* id, size_t bytes_max) const override {
    return directory_->GetUniqueId(id, bytes_max);
  }

 private:
  IOStatus SyncNow() {
    const Fault fault = disk_->Next(DiskOp::kSyncDirectory, path_);
    if (fault == Fault::kSkippedSync) return IOStatus::OK();
    if (fault != Fault::kNone) return Failed(fault, path_);
    disk_->SyncedDirectory(path_);
    return IOStatus::OK();
  }

  std::unique_ptr<FSDirectory> directory_;
  FaultyDisk* disk_;
  std::string path_;
};

class FileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit FileSystem(FaultyDisk* disk)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), disk_(disk) {}
  const char* Name() const override { return "FaultFileSystem"; }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<FSWritableFile>* out, IODebugContext* debug) override {
    const Fault fault = disk_->Next(DiskOp::kCreate, path);
    if (fault != Fault::kNone) return Failed(fault, path);
    std::unique_ptr<FSWritableFile> file;
    const IOStatus status = target()->NewWritableFile(path, options, &file, debug);
    if (!status.ok()) return status;
    disk_->Created(path);
    *out = std::make_unique<WritableFile>(std::move(file), disk_, path, 0);
    return status;
  }
  IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                              std::unique_ptr<FSWritableFile>* out,
                              IODebugContext* debug) override {
    std::unique_ptr<FSWritableFile> file;
    const IOStatus status = target()->ReopenWritableFile(path, options, &file, debug);
    if (!status.ok()) return status;
    const uint64_t size_bytes = file->GetFileSize(options.io_options, debug);
    *out = std::make_unique<WritableFile>(std::move(file), disk_, path, size_bytes);
    return status;
  }
  IOStatus ReuseWritableFile(const std::string&, const std::string&, const rocksdb::FileOptions&,
                             std::unique_ptr<FSWritableFile>*, IODebugContext*) override {
    return IOStatus::NotSupported("files aren't recycled");
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<FSDirectory>* out, IODebugContext* debug) override {
    std::unique_ptr<FSDirectory> directory;
    const IOStatus status = target()->NewDirectory(path, options, &directory, debug);
    if (status.ok()) *out = std::make_unique<Directory>(std::move(directory), disk_, path);
    return status;
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    const Fault fault = disk_->Next(DiskOp::kRename, to);
    if (fault != Fault::kNone) return Failed(fault, to);
    const IOStatus status = target()->RenameFile(from, to, options, debug);
    if (status.ok()) disk_->Renamed(from, to);
    return status;
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* debug) override {
    const Fault fault = disk_->Next(DiskOp::kCreate, to);
    if (fault != Fault::kNone) return Failed(fault, to);
    const IOStatus status = target()->LinkFile(from, to, options, debug);
    if (status.ok()) disk_->Linked(from, to);
    return status;
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions& options,
                      IODebugContext* debug) override {
    const Fault fault = disk_->Next(DiskOp::kDelete, path);
    if (fault != Fault::kNone) return Failed(fault, path);
    const IOStatus status = target()->DeleteFile(path, options, debug);
    if (status.ok()) disk_->Deleted(path);
    return status;
  }
  IOStatus Truncate(const std::string& path, size_t size, const IOOptions& options,
                    IODebugContext* debug) override {
    const Fault fault = disk_->Next(DiskOp::kTruncate, path);
    if (fault != Fault::kNone) return Failed(fault, path);
    const IOStatus status = target()->Truncate(path, size, options, debug);
    if (status.ok()) disk_->Truncated(path, static_cast<int64_t>(size));
    return status;
  }

 private:
  FaultyDisk* disk_;
};

}  // namespace

KvFileSystem FaultFileSystem(FaultyDisk* disk) { return {std::make_shared<FileSystem>(disk)}; }

}  // namespace baleen
