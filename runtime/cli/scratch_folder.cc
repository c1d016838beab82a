#include "runtime/cli/scratch_folder.h"

#include <stdlib.h>

#include <filesystem>
#include <system_error>

namespace baleen::cli {

ScratchFolder::ScratchFolder()
    : path_((std::filesystem::temp_directory_path() / "baleen-XXXXXX").string()) {
  made_ = mkdtemp(path_.data()) != nullptr;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (made_) std::filesystem::remove_all(path_, ignored);
}

Status ScratchFolder::status() const {
  if (made_) return OkStatus();
  return UnavailableError("can't make a folder below the temporary directory");
}

}  // namespace baleen::cli
