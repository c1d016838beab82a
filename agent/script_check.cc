#include "agent/script_check.h"

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>

#include "agent/global_uses.h"
#include "agent/lua_baleen.h"
#include "agent/sandbox.h"

namespace baleen {
namespace {

constexpr int64_t kMemoryBytesMax = 64 << 20;
constexpr int64_t kInstructionsMax = 2'000'000;

/// Edits that make one name of the other: inserted, removed, changed or swapped characters.
size_t Distance(std::string_view one, std::string_view other) {
  std::vector<size_t> row(other.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= one.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= other.size(); ++j) {
      const size_t changed = diagonal + (one[i - 1] == other[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[other.size()];
}

/// "; did you mean 'x'?" or nothing.
template <typename Names>
std::string Nearest(const std::string& name, const Names& names) {
  std::string nearest;
  size_t least = name.size() / 3;
  for (const std::string& candidate : names) {
    const size_t distance = Distance(name, candidate);
    if (distance > least || (distance == least && !nearest.empty())) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

}  // namespace

Result<std::vector<ScriptFinding>> LintScript(std::string_view script, std::string_view name) {
  TurnBinding binding;
  SandboxOptions options;
  options.memory_bytes_max = kMemoryBytesMax;
  options.instructions_max = kInstructionsMax;
  options.binding = &binding;
  ASSIGN_OR_RETURN(const std::unique_ptr<Sandbox> sandbox, Sandbox::Create(options));
  RETURN_IF_ERROR(sandbox->Compile(script, name));
  ASSIGN_OR_RETURN(const std::vector<GlobalUse> uses, GlobalUses(sandbox->Dump()));
  ASSIGN_OR_RETURN(const GlobalNames names, sandbox->Globals());
  std::set<std::string> known;
  for (const auto& [global, members] : names) known.insert(global);
  std::set<std::string> set;
  for (const GlobalUse& use : uses) {
    if (use.write) set.insert(use.name);
  }
  std::vector<ScriptFinding> findings;
  const auto add = [&](const GlobalUse& use, std::string message) {
    ScriptFinding finding{use.line, std::move(message)};
    if (std::find(findings.begin(), findings.end(), finding) == findings.end()) {
      findings.push_back(std::move(finding));
    }
  };
  for (const GlobalUse& use : uses) {
    const auto found = names.find(use.name);
    if (use.name.empty()) continue;
    if (use.write && found != names.end()) {
      add(use, "global '" + use.name + "' is read-only; name the variable otherwise, and local");
    } else if (use.write) {
      add(use, "sets global '" + use.name + "'; make it local");
    } else if (found == names.end() && !set.contains(use.name)) {
      add(use, "no global '" + use.name + "'" + Nearest(use.name, known));
    } else if (found != names.end() && !use.member.empty() && !found->second.empty() &&
               !found->second.contains(use.member)) {
      add(use, "'" + use.name + "' has no member '" + use.member + "'" +
                   Nearest(use.member, found->second));
    }
  }
  std::sort(findings.begin(), findings.end(), [](const ScriptFinding& a, const ScriptFinding& b) {
    return std::tie(a.line, a.message) < std::tie(b.line, b.message);
  });
  return findings;
}

}  // namespace baleen
