#include "tools_sdk/special_files.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

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

/// Names of secret files, in lower case, with '*'; of folders if they end with
/// '/'.
constexpr std::string_view kSecret[] = {".env",
                                        ".env.*",
                                        "id_rsa",
                                        "id_dsa",
                                        "id_ecdsa",
                                        "id_ecdsa_sk",
                                        "id_ed25519",
                                        "id_ed25519_sk",
                                        "*.key",
                                        "*.ppk",
                                        "*.p12",
                                        "*.pfx",
                                        "*.jks",
                                        "*.keystore",
                                        "*.kdbx",
                                        "key.pem",
                                        "*-key.pem",
                                        "*_key.pem",
                                        "privkey*.pem",
                                        "*private*.pem",
                                        ".netrc",
                                        "_netrc",
                                        ".npmrc",
                                        ".pypirc",
                                        ".git-credentials",
                                        ".dockercfg",
                                        ".htpasswd",
                                        ".pgpass",
                                        ".my.cnf",
                                        ".vault-token",
                                        ".terraformrc",
                                        "credentials.json",
                                        "credentials.toml",
                                        "credentials.y*ml",
                                        "client_secret*.json",
                                        "service-account*.json",
                                        "service_account*.json",
                                        "secrets.json",
                                        "secrets.toml",
                                        "secrets.y*ml",
                                        ".ssh/",
                                        ".aws/",
                                        ".azure/",
                                        ".gnupg/",
                                        ".kube/"};
/// What is there to be read, of names that would be secret.
constexpr std::string_view kNotSecret[] = {".env.example",  ".env.*.example", ".env.sample",
                                           ".env.*.sample", ".env.template",  ".env.*.template",
                                           ".env.dist"};

constexpr size_t kReadableMax = 64;
constexpr size_t kPatternBytesMax = 256;

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

/// The list by what tells most names apart from all in it: where a walk looks
/// at thousands, few are compared with more than a handful.
struct SecretIndex {
  std::vector<std::string_view> by_first[256];  ///< Those that begin with that byte ...
  std::vector<std::string_view> by_last[256];   ///< ... or with '*', and end with that one.
};

const SecretIndex& Secrets() {
  static const SecretIndex index = [] {
    SecretIndex made;
    for (const std::string_view secret : kSecret) {
      const bool by_last = secret.front() == '*';  // none of a folder does
      const auto byte = static_cast<unsigned char>(by_last ? secret.back() : secret.front());
      (by_last ? made.by_last : made.by_first)[byte].push_back(secret);
    }
    return made;
  }();
  return index;
}

bool IsNameOf(std::string_view secret, std::string_view name, bool is_folder) {
  const bool of_folder = secret.ends_with('/');
  if (of_folder) secret.remove_suffix(1);
  if (of_folder != is_folder || !MatchesWildcard(secret, name)) return false;
  return is_folder ||
         std::none_of(std::begin(kNotSecret), std::end(kNotSecret),
                      [&](std::string_view one) { return MatchesWildcard(one, name); });
}

/// The name in the list that makes a file secret. `path`: in lower case.
std::string_view SecretName(std::string_view path) {
  while (!path.empty()) {
    const std::string_view name = TakeName(&path);
    if (name.empty()) continue;
    const auto first = static_cast<unsigned char>(name.front());
    const auto last = static_cast<unsigned char>(name.back());
    for (const auto* some : {&Secrets().by_first[first], &Secrets().by_last[last]}) {
      for (const std::string_view secret : *some) {
        if (IsNameOf(secret, name, /*is_folder=*/!path.empty())) return secret;
      }
    }
  }
  return {};
}

}  // namespace

std::string_view GuardOf(std::string_view path, std::string_view workspace) {
  const std::string around = Lowered(workspace);
  for (std::string_view rest = around; !rest.empty();) {
    const std::string_view guard = GuardOfName(TakeName(&rest), /*is_folder=*/true);
    // Agents keep whole worktrees in folders of theirs: that such a one is
    // somewhere above says nothing of a file.
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

std::string_view SecretOf(std::string_view path, std::span<const std::string> readable) {
  const std::string_view found = SecretName(Lowered(path));
  if (found.empty() || std::any_of(readable.begin(), readable.end(), [&](const std::string& one) {
        return MatchesWildcard(one, path);
      })) {
    return {};
  }
  return found;
}

bool IsSecretFolder(std::string_view path, std::span<const std::string> readable) {
  const std::string inside = std::string(path) + "/";
  if (SecretName(Lowered(inside) + "*").empty()) return false;
  return std::none_of(readable.begin(), readable.end(), [&](const std::string& one) {
    const std::string_view begin = std::string_view(one).substr(0, one.find('*'));
    return begin.starts_with(inside) || inside.starts_with(begin);
  });
}

Status CheckReadableSecrets(std::span<const std::string> readable) {
  if (readable.size() > kReadableMax) {
    return InvalidArgumentError(std::to_string(readable.size()) + " patterns: expected at most " +
                                std::to_string(kReadableMax));
  }
  for (const std::string& one : readable) {
    const bool goes_up = ("/" + one + "/").find("/../") != std::string::npos;
    if (one.empty() || one.size() > kPatternBytesMax || one.starts_with('/') || goes_up ||
        one.find('\0') != std::string::npos) {
      return InvalidArgumentError("'" + one.substr(0, 80) +
                                  "': expected the path of a file below the workspace, or a "
                                  "pattern with '*', of at most " +
                                  std::to_string(kPatternBytesMax) + " bytes");
    }
  }
  return OkStatus();
}

}  // namespace baleen
