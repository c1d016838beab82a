// A folder for the time of one command: benches and evaluations write there.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen::cli {

/// A folder below the temporary directory that goes with the object.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  Status status() const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool made_ = false;
};

}  // namespace baleen::cli
