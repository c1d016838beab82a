// Scripts that a runtime keeps under names, so that clients need not carry their text.
//
// Public value types. A session is made with a script's text as it is then: what is put later under
// the name changes no session.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baleen {

/// What was noticed in a script that loads: a misspelt global, say.
struct ScriptNote {
  int64_t line = 0;  ///< From 1.
  std::string message;
};

struct ScriptView {
  std::string script;  ///< Name [a-z0-9][a-z0-9-]{0,62}.
  std::string source;  ///< Left out of lists.
  int64_t bytes = 0;
  int64_t updated_ms = 0;         ///< Unix milliseconds.
  std::vector<ScriptNote> notes;  ///< Of PutScript only.
};

struct PutScriptRequest {
  std::string script;
  std::string source;  ///< Lua text of at most 256 KiB.
  /// Only look at it: nothing is kept, and no name is needed.
  bool validate_only = false;
};

}  // namespace baleen
