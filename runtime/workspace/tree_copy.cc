#include "runtime/workspace/tree_copy.h"

#include <fcntl.h>
#include <linux/fs.h>  // FICLONE
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "runtime/workspace/beneath.h"
#include "tools_sdk/builtin/patch.h"
#include "tools_sdk/builtin/tree_walk.h"
#include "tools_sdk/builtin/unified_diff.h"
#include "tools_sdk/file_descriptor.h"

namespace baleen {
namespace {

/// Opens what lies under the path itself, through no link.
int OpenPlain(const Workspace& tree, const std::string& path, int flags) {
  return OpenBelow(tree.root(), path.c_str(), flags | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS);
}

Result<std::string> LinkTarget(int link, const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = readlinkat(link, "", target.data(), target.size());
  if (size < 0) return FileError(path, errno);
  target.resize(static_cast<size_t>(size));
  return target;
}

Status TooManyEntries() {
  return ResourceExhaustedError("the tree has more than " + std::to_string(TreeWalk::kEntriesMax) +
                                " files and folders; let ignore rules leave some out");
}

Status Cancelled() { return CancelledError("the turn was cancelled"); }

/// Copies `size` bytes, or fewer if the file has shrunk.
Status CopyContent(int from, int to, int64_t size, const std::string& path) {
  if (ioctl(to, FICLONE, from) == 0) return OkStatus();
  bool in_kernel = true;
  std::string buffer;
  while (size > 0) {
    if (in_kernel) {
      const ssize_t copied =
          copy_file_range(from, nullptr, to, nullptr, static_cast<size_t>(size), 0);
      if (copied == 0) return OkStatus();
      if (copied > 0) size -= copied;
      if (copied < 0 && errno != EINTR) in_kernel = false;  // not between these two
      continue;
    }
    buffer.resize(static_cast<size_t>(std::min<int64_t>(size, 1 << 20)));
    const ssize_t got = read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(path, errno);
    if (got == 0) return OkStatus();
    for (ssize_t done = 0; done < got;) {
      const ssize_t wrote = write(to, buffer.data() + done, static_cast<size_t>(got - done));
      if (wrote < 0 && errno != EINTR) return FileError(path, errno);
      done += std::max<ssize_t>(wrote, 0);
    }
    size -= got;
  }
  return OkStatus();
}

class TreeCopier {
 public:
  TreeCopier(const Workspace& from, int to) : from_(from), to_(to) {}

  Status Copy(const FileEntry& entry) {
    const std::string& path = entry.path;
    const FileDescriptor place(OpenPlain(from_, path, O_PATH));
    struct stat status = {};
    if (place.get() < 0 || fstat(place.get(), &status) != 0) return OkStatus();  // gone meanwhile
    if (S_ISDIR(status.st_mode)) return MakeFolder(path, status.st_mode);
    if (!from_.CheckSecret(path).ok()) {
      ++report.secret;
      return OkStatus();
    }
    if (S_ISLNK(status.st_mode)) return CopyLink(place.get(), path);
    if (S_ISREG(status.st_mode)) return CopyFile(path);
    ++report.special;
    return OkStatus();
  }

  TreeCopyReport report;

 private:
  Status MakeFolder(const std::string& path, mode_t mode) {
    if (mkdirat(to_, path.c_str(), 0700) != 0 ||
        fchmodat(to_, path.c_str(), (mode & 0777) | 0700, 0) != 0) {
      return FileError(path, errno);
    }
    return OkStatus();
  }

  Status CopyLink(int link, const std::string& path) {
    ASSIGN_OR_RETURN(const std::string target, LinkTarget(link, path));
    if (symlinkat(target.c_str(), to_, path.c_str()) != 0) return FileError(path, errno);
    ++report.links;
    return OkStatus();
  }

  Status CopyFile(const std::string& path) {
    const FileDescriptor source(OpenPlain(from_, path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    struct stat status = {};
    if (source.get() < 0 && errno == ENOENT) return OkStatus();
    if (source.get() < 0 || fstat(source.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
      ++report.unreadable;
      return OkStatus();
    }
    if (report.bytes + status.st_size > kCopyBytesMax) {
      return ResourceExhaustedError(
          "the tree has more than " + std::to_string(kCopyBytesMax) + " bytes; at " +
          QuotedPath(path) + " the limit is passed: let ignore rules leave out what isn't needed");
    }
    const FileDescriptor made(
        openat(to_, path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (made.get() < 0) return FileError(path, errno);
    RETURN_IF_ERROR(CopyContent(source.get(), made.get(), status.st_size, path));
    const struct timespec times[2] = {status.st_atim, status.st_mtim};
    // To be read by us it needs that bit, whatever it had.
    if (fchmod(made.get(), (status.st_mode & 0777) | 0400) != 0 ||
        futimens(made.get(), times) != 0) {
      return FileError(path, errno);
    }
    ++report.files;
    report.bytes += status.st_size;
    return OkStatus();
  }

  const Workspace& from_;
  const int to_;
};

/// The whole file's digest, read in parts.
Result<std::string> DigestOfLarge(const Workspace& tree, const std::string& path) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                       &XXH3_freeState);
  if (state == nullptr) return ResourceExhaustedError("no memory for a digest");
  XXH3_128bits_reset(state.get());
  for (int64_t offset = 0; offset <= kCopyBytesMax;) {
    ASSIGN_OR_RETURN(const std::string part, tree.Read(path, offset, 4 << 20));
    if (part.empty()) break;
    XXH3_128bits_update(state.get(), part.data(), part.size());
    offset += std::ssize(part);
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return DigestText(hash.high64, hash.low64);
}

/// What a diff can say of the path; unset: nothing, or nothing that is a file or a link.
Result<std::optional<DiffSide>> ReadSide(const Workspace& tree, const std::string& path) {
  const FileDescriptor place(OpenPlain(tree, path, O_PATH));
  struct stat status = {};
  if (place.get() < 0 || fstat(place.get(), &status) != 0) return std::optional<DiffSide>();
  DiffSide side;
  if (S_ISLNK(status.st_mode)) {
    side.is_link = true;
    ASSIGN_OR_RETURN(side.content, LinkTarget(place.get(), path));
    return std::optional(std::move(side));
  }
  if (!S_ISREG(status.st_mode)) return std::optional<DiffSide>();
  side.executable = (status.st_mode & 0100) != 0;
  side.too_large = status.st_size > WorkspaceChanges::kChangeBytesMax;
  if (side.too_large) {
    ASSIGN_OR_RETURN(side.content, DigestOfLarge(tree, path));
  } else {
    ASSIGN_OR_RETURN(side.content, tree.Read(path, 0, WorkspaceChanges::kChangeBytesMax));
  }
  return std::optional(std::move(side));
}

/// Adds the paths of all files and links that rules don't leave out.
Status AddPaths(const Workspace& tree, const std::atomic<bool>* cancelled,
                std::set<std::string>* paths) {
  CallContext context;
  context.files = &tree;
  context.cancelled = cancelled;
  TreeWalk walk(context, {.all_kinds = true});
  RETURN_IF_ERROR(walk.Walk("", [&](const FileEntry& entry) {
    if (entry.kind != FileEntry::Kind::kDirectory) paths->insert(entry.path);
    return true;
  }));
  if (context.Cancelled()) return Cancelled();
  return walk.cut() ? TooManyEntries() : OkStatus();
}

}  // namespace

Result<TreeCopyReport> CopyTree(const Workspace& from, const std::string& to, bool ignored,
                                const std::atomic<bool>* cancelled) {
  const FileDescriptor folder(open(to.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (folder.get() < 0) return FileError(to, errno);
  CallContext context;
  context.files = &from;
  context.cancelled = cancelled;
  TreeWalk walk(context, {.all_kinds = true, .ignored = ignored});
  TreeCopier copier(from, folder.get());
  Status status;
  RETURN_IF_ERROR(walk.Walk("", [&](const FileEntry& entry) {
    status = copier.Copy(entry);
    return status.ok();
  }));
  RETURN_IF_ERROR(status);
  if (context.Cancelled()) return Cancelled();
  if (walk.cut()) return TooManyEntries();
  copier.report.ignored = walk.ignored();
  copier.report.unreadable += walk.unreadable();
  return copier.report;
}

Result<std::string> DiffTrees(const Workspace& before, const Workspace& after,
                              const std::atomic<bool>* cancelled) {
  std::set<std::string> paths;
  RETURN_IF_ERROR(AddPaths(before, cancelled, &paths));
  RETURN_IF_ERROR(AddPaths(after, cancelled, &paths));
  std::string diff;
  int64_t bytes = 0;
  int64_t files = 0;
  std::erase_if(paths, [&](const std::string& path) {
    return !before.CheckSecret(path).ok() || !after.CheckSecret(path).ok();
  });
  for (const std::string& path : paths) {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) return Cancelled();
    ASSIGN_OR_RETURN(const std::optional<DiffSide> old_side, ReadSide(before, path));
    ASSIGN_OR_RETURN(const std::optional<DiffSide> new_side, ReadSide(after, path));
    const std::string part = FileDiff(path, old_side, new_side);
    bytes += std::ssize(part);
    files += part.empty() ? 0 : 1;
    if (bytes <= kDiffBytesMax) diff += part;
  }
  if (bytes <= kDiffBytesMax) return diff;
  return ResourceExhaustedError("the diff has " + std::to_string(bytes) + " bytes in " +
                                std::to_string(files) + " files: expected at most " +
                                std::to_string(kDiffBytesMax) +
                                "; let ignore rules leave out what commands build");
}

}  // namespace baleen
