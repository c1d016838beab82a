#include "tools_sdk/special_files.h"

#include <algorithm>

#include "tools_sdk/wildcard.h"

namespace baleen {
namespace {

/// A name in lower case, with '*'; of a folder if it ends with '/'.
struct GuardedName {
  std::string_view name;
  std::string_view what;
};

constexpr std::string_view kCi = "CI runs what it says";
constexpr std::string_view kAgents = "agents obey it";
constexpr std::string_view kServers = "it says which tool servers agents start";
constexpr std::string_view kEditor = "editors run what it says";
constexpr std::string_view kHook = "git runs it";
constexpr std::string_view kShell = "shells run it on entering the folder";
constexpr std::string_view kOurs = "this runtime's own settings";

constexpr GuardedName kGuarded[] = {
    {".github/", kCi},
    {".gitlab-ci.yml", kCi},
    {".gitlab-ci.yaml", kCi},
    {".gitlab/", kCi},
    {".gitea/", kCi},
    {".forgejo/", kCi},
    {".circleci/", kCi},
    {".buildkite/", kCi},
    {".woodpecker/", kCi},
    {".woodpecker.y*ml", kCi},
    {".drone.y*ml", kCi},
    {".travis.yml", kCi},
    {".cirrus.yml", kCi},
    {".appveyor.yml", kCi},
    {"appveyor.yml", kCi},
    {"azure-pipelines*.y*ml", kCi},
    {".azure-pipelines/", kCi},
    {"bitbucket-pipelines.yml", kCi},
    {"jenkinsfile", kCi},
    {"cloudbuild.y*ml", kCi},
    {"buildspec.y*ml", kCi},
    {".teamcity/", kCi},
    {".builds/", kCi},
    {".build.yml", kCi},
    {".ci/", kCi},
    {"agents.md", kAgents},
    {"agents.override.md", kAgents},
    {"agent.md", kAgents},
    {"claude.md", kAgents},
    {"claude.local.md", kAgents},
    {"gemini.md", kAgents},
    {"qwen.md", kAgents},
    {".agents/", kAgents},
    {".claude/", kAgents},
    {".codex/", kAgents},
    {".gemini/", kAgents},
    {".qwen/", kAgents},
    {".opencode/", kAgents},
    {"opencode.json*", kAgents},
    {".cursor/", kAgents},
    {".cursorrules", kAgents},
    {".windsurf/", kAgents},
    {".windsurfrules", kAgents},
    {".clinerules", kAgents},
    {".clinerules/", kAgents},
    {".roo/", kAgents},
    {".roorules", kAgents},
    {".continue/", kAgents},
    {".junie/", kAgents},
    {".goosehints", kAgents},
    {".aider.conf.yml", kAgents},
    {".mcp.json", kServers},
    {"mcp.json", kServers},
    {".vscode/", kEditor},
    {".idea/", kEditor},
    {".zed/", kEditor},
    {".fleet/", kEditor},
    {".devcontainer/", kEditor},
    {".devcontainer.json", kEditor},
    {"*.code-workspace", kEditor},
    {".dir-locals.el", kEditor},
    {".exrc", kEditor},
    {".nvimrc", kEditor},
    {".nvim.lua", kEditor},
    {".githooks/", kHook},
    {".husky/", kHook},
    {"lefthook*.y*ml", kHook},
    {".lefthook*.y*ml", kHook},
    {".pre-commit-config.yaml", kHook},
    {".envrc", kShell},
    {"baleen.toml", kOurs},
};

std::string Lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  return out;
}

/// The guard of an entry's name, in lower case; "": none.
std::string_view GuardOfName(std::string_view name, bool is_folder) {
  for (const GuardedName& guarded : kGuarded) {
    std::string_view pattern = guarded.name;
    const bool of_folder = pattern.ends_with('/');
    if (of_folder) pattern.remove_suffix(1);
    if (of_folder == is_folder && MatchesWildcard(pattern, name)) return guarded.what;
  }
  return {};
}

/// Takes the first name off a path.
std::string_view TakeName(std::string_view* path) {
  const size_t slash = path->find('/');
  const std::string_view name = path->substr(0, slash);
  path->remove_prefix(slash == std::string_view::npos ? path->size() : slash + 1);
  return name;
}

}  // namespace

std::string_view GuardOf(std::string_view path, std::string_view workspace) {
  const std::string around = Lowered(workspace);
  for (std::string_view rest = around; !rest.empty();) {
    const std::string_view guard = GuardOfName(TakeName(&rest), /*is_folder=*/true);
    // Agents keep whole worktrees in folders of theirs: that such a one is somewhere above says
    // nothing of a file.
    if (!guard.empty() && guard != kAgents) return guard;
  }
  const std::string lowered = Lowered(path);
  for (std::string_view rest = lowered; !rest.empty();) {
    const std::string_view name = TakeName(&rest);
    const std::string_view guard = GuardOfName(name, /*is_folder=*/!rest.empty());
    if (!guard.empty()) return guard;
  }
  return {};
}

bool IsGuardedEntry(std::string_view name, bool is_folder) {
  return !GuardOfName(Lowered(name), is_folder).empty();
}

}  // namespace baleen
