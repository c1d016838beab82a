#include "runtime/sessions/guarded_writes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "runtime/sandbox/bash_tools.h"
#include "runtime/sessions/diff_apply.h"
#include "tools_sdk/builtin/patch.h"
#include "tools_sdk/shell/shell_text.h"
#include "tools_sdk/special_files.h"

namespace baleen {
namespace {

constexpr size_t kFoldersMax = 16;  // that a command may go to and write in
constexpr size_t kShownMax = 8;

/// `path`, from `folder`, without what means nothing in it; unset: it leads out of the workspace.
std::optional<std::string> PlainBelow(const std::string& root, std::string_view folder,
                                      std::string_view path) {
  std::string whole(path);
  if (path.starts_with('/')) {
    if (!path.starts_with(root + "/")) return std::nullopt;
    whole = path.substr(root.size() + 1);
  } else if (!folder.empty()) {
    whole = std::string(folder) + "/" + whole;
  }
  std::vector<std::string_view> names;
  for (std::string_view rest = whole; !rest.empty();) {
    const size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (name.empty() || name == ".") continue;
    if (name != "..") {
      names.push_back(name);
    } else if (names.empty()) {
      return std::nullopt;
    } else {
      names.pop_back();
    }
  }
  std::string plain;
  for (const std::string_view name : names) plain += (plain.empty() ? "" : "/") + std::string(name);
  return plain;
}

class Finder {
 public:
  explicit Finder(const GuardedPlace& place) : place_(place) {}

  void Path(std::string_view path, std::string_view folder = {}) {
    const auto plain = PlainBelow(place_.root, folder, path);
    if (!plain.has_value() || plain->empty()) return;
    std::string what(GuardOf(*plain, place_.workspace));
    if (what.empty() && IsScript(*plain)) what = "a script of this runtime";
    const auto is_it = [&](const GuardedWrite& known) { return known.path == *plain; };
    if (what.empty() || std::any_of(found_.begin(), found_.end(), is_it)) return;
    found_.push_back({*plain, std::move(what)});
  }

  void Diff(const std::string& diff) {
    const auto patches = ParsePatch(diff);
    if (!patches.ok()) return;  // nothing of it is applied
    for (const FilePatch& patch : *patches) Path(patch.path);
  }

  /// A redirect counts from wherever the command may have gone by then.
  void Command(const std::string& text, const std::string& folder) {
    const ShellReading reading = ReadShellText(text);
    if (reading.written.empty()) return;
    std::vector<std::string> folders = {folder};
    for (const ShellCommand& command : reading.commands) {
      const bool goes = command.words.size() > 1 &&
                        (command.words[0].text == "cd" || command.words[0].text == "pushd");
      if (!goes) continue;
      const std::string& to = command.words.back().text;
      for (size_t i = folders.size(); i > 0 && folders.size() < kFoldersMax; --i) {
        const auto plain = PlainBelow(place_.root, folders[i - 1], to);
        if (plain.has_value()) folders.push_back(*plain);
      }
    }
    for (const std::string& path : reading.written) {
      for (const std::string& from : folders) Path(path, from);
    }
  }

  std::vector<GuardedWrite> Take() { return std::move(found_); }

 private:
  bool IsScript(std::string_view path) const {
    const std::string_view script = place_.script_name;
    const std::string_view name = path.substr(path.rfind('/') + 1);
    return !name.empty() && name.ends_with(".lua") && name == script.substr(script.rfind('/') + 1);
  }

  const GuardedPlace& place_;
  std::vector<GuardedWrite> found_;
};

}  // namespace

std::vector<GuardedWrite> GuardedWritesOf(const ToolCall& call, const GuardedPlace& place) {
  const bool of_path = call.name == "write" || call.name == "edit";
  if (!of_path && call.name != kApplyDiff && call.name != kBashTool) return {};
  const auto arguments = nlohmann::json::parse(call.arguments, nullptr, false);
  const auto text = [&](const char* member) {
    const bool there =
        arguments.is_object() && arguments.contains(member) && arguments.at(member).is_string();
    return there ? arguments.at(member).get<std::string>() : std::string();
  };
  Finder finder(place);
  if (of_path) finder.Path(text("path"));
  if (call.name == kApplyDiff) finder.Diff(text("diff"));
  if (call.name == kBashTool) finder.Command(text("command"), text("workdir"));
  return finder.Take();
}

std::string GuardReason(const std::vector<GuardedWrite>& writes) {
  std::string why = "it writes what others obey: ";
  for (size_t i = 0; i < std::min(writes.size(), kShownMax); ++i) {
    why += (i == 0 ? "'" : "; '") + writes[i].path.substr(0, 200) + "', " + writes[i].what;
  }
  if (writes.size() > kShownMax) {
    why += "; and " + std::to_string(writes.size() - kShownMax) + " more";
  }
  return why;
}

}  // namespace baleen
