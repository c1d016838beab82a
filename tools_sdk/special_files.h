// Files that are special by their names, wherever they lie: secret ones, which models don't read,
// and guarded ones, which agents, CI, editors or git obey, so that nobody changes one unasked.
//
// The one place for both lists. ASCII letters count in either case: a file system may not tell them
// apart. What is done about them is up to the callers: policy, workspace, sandbox. Pure.
#pragma once

#include <string>
#include <string_view>

namespace baleen {

/// What a guarded file is obeyed by; "" for one that isn't guarded. `path`: below the workspace,
/// plain, as is all of one that may be changed. `workspace`: its own place counts, so that one
/// which is itself a folder of CI files is guarded; may be empty. Folders are not meant but what is
/// in them.
std::string_view GuardOf(std::string_view path, std::string_view workspace);

/// Whether a file or folder of that name in a workspace's root is guarded, with all that is in it.
bool IsGuardedEntry(std::string_view name, bool is_folder);

}  // namespace baleen
