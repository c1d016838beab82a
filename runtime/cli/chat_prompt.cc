#include "runtime/cli/chat_prompt.h"

#include <unistd.h>

namespace baleen::cli {

PromptKeys::PromptKeys() : changed_(tcgetattr(STDIN_FILENO, &before_) == 0) {
  if (!changed_) return;
  termios keys = before_;
  keys.c_cc[VEOL] = static_cast<cc_t>(kForkKey);
  keys.c_cc[VEOL2] = static_cast<cc_t>(kUnfoldKey);
  keys.c_lflag |= IEXTEN;
  tcsetattr(STDIN_FILENO, TCSANOW, &keys);
}

PromptKeys::~PromptKeys() {
  if (changed_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

PromptKey ReadPrompt(std::string* line) {
  line->clear();
  char byte = 0;
  while (true) {
    // A byte at a time: what follows the line is for whoever reads next.
    const ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got <= 0) return line->empty() ? PromptKey::kEnd : PromptKey::kEnter;
    if (byte == '\n') return PromptKey::kEnter;
    if (byte == kForkKey) return PromptKey::kFork;
    if (byte == kUnfoldKey) return PromptKey::kUnfold;
    *line += byte;
  }
}

}  // namespace baleen::cli
