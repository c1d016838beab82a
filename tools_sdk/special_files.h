// Files that are special by their names, wherever they lie: secret ones, which models don't read,
// and guarded ones, which agents, CI, editors or git obey, so that nobody changes one unasked.
//
// The one place for both lists. ASCII letters count in either case: a file system may not tell them
// apart. What is done about them is up to the callers: policy, workspace, sandbox. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tools_sdk/status.h"

namespace baleen {

/// What a guarded file is obeyed by; "" for one that isn't guarded. `path`: below the workspace,
/// plain, as is all of one that may be changed. `workspace`: its own place counts, so that one
/// which is itself a folder of CI files is guarded; may be empty. Folders are not meant but what is
/// in them.
std::string_view GuardOf(std::string_view path, std::string_view workspace);

/// Whether a file or folder of that name in a workspace's root is guarded, with all that is in it.
bool IsGuardedEntry(std::string_view name, bool is_folder);

/// The name in the list by which the file `path` is secret: ".env", ".ssh/"; "" if none is, or one
/// of `readable` opens it: patterns with '*' of paths below the workspace. `path`: plain; folders
/// are not meant but what is in them.
std::string_view SecretOf(std::string_view path, std::span<const std::string> readable);

/// Whether all that is in the folder `path` is secret, and nothing of it opened.
bool IsSecretFolder(std::string_view path, std::span<const std::string> readable);

/// Errors: INVALID_ARGUMENT: too many or too long, or no path below a workspace.
Status CheckReadableSecrets(std::span<const std::string> readable);

}  // namespace baleen
