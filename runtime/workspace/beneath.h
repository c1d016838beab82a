// Opening a path so that the kernel keeps it below a directory, and what its errors mean.
//
// Called by the workspace's reader and writer; nobody else opens what a model names.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/open_directory.h"
#include "tools_sdk/status.h"

namespace baleen {

/// openat2 with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS, and `resolve` beside them. Negative:
/// errno says why. The file is closed on exec.
int OpenBelow(int root, const char* path, int flags, mode_t mode, uint64_t resolve);

/// Where an open file lies, below `root`; unset: elsewhere, or it can't be told (no /proc).
std::optional<std::string> PlaceBelow(int root, int file);

/// `path` in quotes, cut if it is long.
std::string QuotedPath(std::string_view path);

/// Why of a Status by which the workspace refuses a path, as opposed to a file that isn't there or
/// that the system keeps from us.
inline constexpr char kPathRefused[] = "PATH_REFUSED";

/// errno of a call about `path`, in words. Reason kPathRefused: it leads outside, or through a link
/// where none is followed, or is no file that may be opened.
Status FileError(std::string_view path, int error);

/// The names in `folder`, which lies at `path`, in no order. Errors: as FileError;
/// RESOURCE_EXHAUSTED (more than `names_max`).
Result<std::vector<std::string>> NamesIn(OpenDirectory& folder, std::string_view path,
                                         int64_t names_max);

}  // namespace baleen
