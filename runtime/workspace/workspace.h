// The files of one session, confined by the kernel to one directory.
//
// Every path is opened with openat2 and RESOLVE_BENEATH from the root's descriptor, so that neither
// "..", nor an absolute path, nor a symlink swapped in at the wrong moment leads outside. Reads
// only; workspace_editor.h writes. Called by the built-in tools through WorkspaceFiles.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// Threads: const methods may be called from any thread. The directory may change meanwhile: each
/// call sees what is there when it looks.
class Workspace final : public WorkspaceFiles {
 public:
  /// Errors: NOT_FOUND; PERMISSION_DENIED; INVALID_ARGUMENT (not a directory); FAILED_PRECONDITION
  /// (the kernel has no openat2, or a sandbox forbids it: then nothing is served at all).
  /// `readable_secrets`: patterns, as SecretOf's, of the secret files that are read all the same.
  static Result<std::unique_ptr<Workspace>> Open(const std::string& root,
                                                 std::vector<std::string> readable_secrets = {});
  ~Workspace() override;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// As WorkspaceFiles. At most kReadBytesMax at once. Symlinks that stay inside are followed;
  /// FIFOs, devices and sockets are refused without waiting for them, secret files by their names
  /// and those of what links lead to; not by those that hard links give them.
  Result<std::string> Read(std::string_view path, int64_t offset, int64_t bytes_max) const override;
  Result<int64_t> Size(std::string_view path) const override;
  /// At most `entries_max` entries: the bytewise first ones. Directories with more than
  /// kDirectoryEntriesMax are refused with RESOURCE_EXHAUSTED. "" and "." are the root. Symlinks
  /// are kOther: whoever walks the tree meets each directory once.
  Result<std::vector<FileEntry>> List(std::string_view path, int64_t entries_max) const override;

  static constexpr int64_t kReadBytesMax = 64 << 20;
  static constexpr int64_t kDirectoryEntriesMax = 100'000;

  /// Errors: PERMISSION_DENIED/kPathRefused if the path, "a/../b" being "b", is a secret file's.
  Status CheckSecret(std::string_view path) const;

  /// Descriptor of the root directory. Borrows: the workspace's.
  int root() const { return root_; }

 private:
  Workspace(int root, std::vector<std::string> readable_secrets)
      : root_(root), readable_secrets_(std::move(readable_secrets)) {}
  Result<int> OpenBeneath(std::string_view path, int flags) const;
  /// As OpenBeneath, but no secret file.
  Result<int> OpenReadable(std::string_view path, int flags) const;
  Result<int> OpenRegular(std::string_view path, int64_t* size) const;

  int root_;  ///< Descriptor of the root directory.
  const std::vector<std::string> readable_secrets_;
};

}  // namespace baleen
