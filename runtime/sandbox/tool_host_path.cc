#include "runtime/sandbox/tool_host_path.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>
#include <vector>

namespace baleen {

namespace fs = std::filesystem;

Result<std::string> FindToolHost() {
  constexpr const char* kName = "baleen-tool-host";
  std::vector<fs::path> places;
  std::error_code error;
  Dl_info own{};
  if (dladdr(reinterpret_cast<const void*>(&FindToolHost), &own) != 0 && own.dli_fname != nullptr) {
    if (const fs::path file = fs::canonical(own.dli_fname, error); !error) {
      places.push_back(file.parent_path());
    }
  }
  if (const fs::path file = fs::canonical("/proc/self/exe", error); !error) {
    places.push_back(file.parent_path());
  }
  std::string looked;
  for (const fs::path& place : places) {
    // lib/x86_64-linux-gnu has one folder more than lib.
    for (const fs::path& folder :
         {place, place.parent_path() / "bin", place.parent_path().parent_path() / "bin"}) {
      if (fs::exists(folder / kName, error)) return (folder / kName).string();
      looked += (looked.empty() ? "" : ", ") + folder.string();
    }
  }
  return NotFoundError("plugins run in " + std::string(kName) +
                       ", which comes with Baleen, and it is not there: looked in " + looked);
}

}  // namespace baleen
