#include "runtime/default_model.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>
#include <vector>

namespace baleen {
namespace {

namespace fs = std::filesystem;

/// Of the program or shared library that this function is part of; empty if it can't be known.
fs::path OwnFile() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&DefaultModelPath), &info) == 0 ||
      info.dli_fname == nullptr) {
    return {};
  }
  std::error_code error;
  fs::path path = fs::canonical(info.dli_fname, error);
  // A program that was found by $PATH is known by its bare name.
  if (error) path = fs::canonical("/proc/self/exe", error);
  return error ? fs::path() : path;
}

}  // namespace

Result<std::string> DefaultModelPath() {
  std::vector<fs::path> places;
  if (const fs::path own = OwnFile(); !own.empty()) {
    const fs::path folder = own.parent_path();
    places.push_back(folder.parent_path() / "share" / "baleen" / "models" / "krill");
    // lib/x86_64-linux-gnu has one folder more.
    places.push_back(folder.parent_path().parent_path() / "share" / "baleen" / "models" / "krill");
    for (fs::path up = folder; up.has_relative_path() && places.size() < 8; up = up.parent_path()) {
      places.push_back(up / "model" / "krill");
    }
  }
  std::string looked;
  for (const fs::path& place : places) {
    std::error_code error;
    if (fs::exists(place / "model.safetensors", error)) return place.string();
    looked += (looked.empty() ? "" : ", ") + place.string();
  }
  return NotFoundError(
      "no model was named, and Krill, which comes with Baleen, is not there: looked at " + looked +
      "; name a checkpoint folder (--model, or `model` in [runtime] of baleen.toml)");
}

}  // namespace baleen
