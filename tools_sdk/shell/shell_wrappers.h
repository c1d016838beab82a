// Programs that run what their arguments say: sudo, env, timeout, bash -c and such.
//
// Called by shell_text.cc for each command that it has read.
#pragma once

#include <optional>
#include <string>

#include "tools_sdk/shell/shell_text.h"

namespace baleen {

/// What a command runs besides itself.
struct WrappedCommand {
  bool harmless = false;  ///< The wrapper adds nothing to it.
  std::optional<ShellCommand> command;
  std::optional<std::string> text;  ///< Of `sh -c`.
  bool posix = false;               ///< The text is for sh, which isn't always bash.
  std::string unclear;              ///< What it runs can't be told.
};

WrappedCommand Unwrap(const ShellCommand& command);

/// A program or builtin that changes what the words of later commands mean, or runs text that it
/// makes: eval, alias, export ...
bool ChangesMeaning(const ShellCommand& command);

/// "NAME=" or "NAME+=" begins `word`.
bool IsAssignment(const ShellWord& word);

}  // namespace baleen
