// ChatPrompt: lines from a terminal, of which two may end with a key instead of Enter.
//
// The terminal's own line editing stays: the keys are made ends of a line while a line is awaited.
#pragma once

#include <string>

namespace baleen::cli {

enum class PromptKey { kEnter, kFork, kUnfold, kEnd };

/// What Ctrl-F and Ctrl-T send.
inline constexpr char kForkKey = 6;
inline constexpr char kUnfoldKey = 20;

/// Waits for a line on stdin, into `line` without its end. kEnd: nothing more comes.
PromptKey ReadPrompt(std::string* line);

}  // namespace baleen::cli
