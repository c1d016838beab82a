#include "runtime/store/script_shelf.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "runtime/store/files.h"

namespace baleen {
namespace {

constexpr std::string_view kSuffix = ".lua";

bool IsName(std::string_view name) {
  if (name.empty() || name.size() > 63 || name.front() == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

Status CheckName(const std::string& name) {
  if (IsName(name)) return OkStatus();
  return InvalidArgumentError(
      "script: expected a name [a-z0-9][a-z0-9-]{0,62}, got '" + name.substr(0, 80) + "'",
      "BAD_FIELD");
}

Status Unknown(const std::string& name) {
  return NotFoundError(
      "there is no script '" + name + "'; `baleen scripts list` names those there are",
      "SCRIPT_UNKNOWN");
}

int64_t ChangedMs(const std::string& path) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  if (error) return 0;
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::file_clock::to_sys(time).time_since_epoch())
      .count();
}

}  // namespace

Result<ScriptRecord> ScriptShelf::Put(const std::string& script, std::string_view source) {
  RETURN_IF_ERROR(CheckName(script));
  if (std::ssize(source) > kScriptBytesMax) {
    return InvalidArgumentError("script '" + script + "' has " + std::to_string(source.size()) +
                                    " bytes: expected at most " + std::to_string(kScriptBytesMax),
                                "BAD_FIELD");
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  std::error_code error;
  std::filesystem::create_directory(folder_, error);
  if (error) return UnavailableError("'" + folder_ + "' can't be made: " + error.message());
  const std::vector<std::string> names = Names();
  const bool known = std::find(names.begin(), names.end(), script) != names.end();
  if (!known && std::ssize(names) >= kShelvedScriptsMax) {
    return ResourceExhaustedError(
        std::to_string(names.size()) + " scripts are kept already, and no more may be; delete some",
        "QUOTA");
  }
  RETURN_IF_ERROR(WriteFileDurably(PathOf(script), source));
  return ScriptRecord{script, std::string(source), std::ssize(source), ChangedMs(PathOf(script))};
}

Result<ScriptRecord> ScriptShelf::Get(const std::string& script) const {
  RETURN_IF_ERROR(CheckName(script));
  const std::string path = PathOf(script);
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return Unknown(script);
  // One byte more than may be there: a file that somebody has laid here may have any length.
  std::ifstream file(path, std::ios::binary);
  std::string source(static_cast<size_t>(kScriptBytesMax) + 1, '\0');
  file.read(source.data(), std::ssize(source));
  source.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
  if (file.bad() || std::ssize(source) > kScriptBytesMax) {
    return DataLossError("'" + path + "' can't be read, or has more than " +
                         std::to_string(kScriptBytesMax) + " bytes; put the script again");
  }
  const int64_t bytes = std::ssize(source);
  return ScriptRecord{script, std::move(source), bytes, ChangedMs(path)};
}

Result<std::vector<ScriptRecord>> ScriptShelf::List(int64_t scripts_max,
                                                    const std::string& after) const {
  std::vector<ScriptRecord> views;
  for (const std::string& name : Names()) {
    if (scripts_max != 0 && std::ssize(views) >= scripts_max) break;
    if (name <= after) continue;
    std::error_code error;
    const auto bytes = std::filesystem::file_size(PathOf(name), error);
    if (error) continue;  // it was deleted just now
    views.push_back({name, "", static_cast<int64_t>(bytes), ChangedMs(PathOf(name))});
  }
  return views;
}

Status ScriptShelf::Delete(const std::string& script) {
  RETURN_IF_ERROR(CheckName(script));
  const std::lock_guard<std::mutex> lock(mutex_);
  std::error_code error;
  const bool removed = std::filesystem::remove(PathOf(script), error);
  if (error) return UnavailableError("'" + PathOf(script) + "': " + error.message());
  return removed ? OkStatus() : Unknown(script);
}

Status ScriptShelf::CopyTo(const std::string& folder) const {
  ScriptShelf other(folder);
  for (const std::string& name : Names()) {
    const auto view = Get(name);
    if (view.status().code() == StatusCode::kNotFound) continue;  // it was deleted just now
    RETURN_IF_ERROR(view.status());
    RETURN_IF_ERROR(other.Put(name, view->source).status());
  }
  return OkStatus();
}

std::vector<std::string> ScriptShelf::Names() const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
    std::string name = entry.path().filename().string();
    if (!name.ends_with(kSuffix) || !entry.is_regular_file(error)) continue;
    name.resize(name.size() - kSuffix.size());
    if (IsName(name)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace baleen
