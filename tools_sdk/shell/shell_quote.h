// ShellQuote: a list of words as shell text that has exactly these words.
//
// For commands whose words come from elsewhere: none of them can end its quotes, be expanded, or be
// taken for a keyword or an assignment. Pure.
#pragma once

#include <string>
#include <string_view>

namespace baleen {

/// Adds the next word of a simple command, quoted where it needs to be. `command` is empty before
/// its first word. Requires: no NUL in `word`, which no command line can hold.
void AppendShellWord(std::string_view word, std::string* command);

}  // namespace baleen
