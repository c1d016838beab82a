// Which files are special by their names.
#include "tools_sdk/special_files.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace baleen {

TEST_CASE("WhatOthersObeyIsGuardedWhereverItLies") {
  for (const char* path : {".github/workflows/ci.yml",
                           ".github/CODEOWNERS",
                           "sub/.GitHub/workflows/x.yml",
                           ".gitlab-ci.yml",
                           ".circleci/config.yml",
                           "Jenkinsfile",
                           "AGENTS.md",
                           "sub/Agents.md",
                           "CLAUDE.md",
                           ".cursorrules",
                           ".cursor/rules/a.mdc",
                           ".mcp.json",
                           "opencode.jsonc",
                           ".vscode/tasks.json",
                           ".idea/workspace.xml",
                           "a.code-workspace",
                           ".envrc",
                           ".husky/_/x",
                           ".githooks/pre-commit",
                           "baleen.toml",
                           "lefthook-local.yml",
                           ".woodpecker.yaml"}) {
    CAPTURE(path);
    CHECK(!GuardOf(path, "/home/ann/project").empty());
  }
  for (const char* path :
       {"", "a", "github/workflows/ci.yml", ".github", "my-AGENTS.md", "AGENTS.md.txt", "ci/run",
        "AGENTS.md/file", ".vscodes/tasks.json", "baleen.toml.bak", "src/mcp.jsonc"}) {
    CAPTURE(path);
    CHECK(GuardOf(path, "/home/ann/project").empty());
  }
}

TEST_CASE("AWorkspaceInAFolderOfCiFilesIsGuardedWhole") {
  CHECK(!GuardOf("workflows/ci.yml", "/home/ann/project/.github").empty());
  CHECK(!GuardOf("pre-commit", "/home/ann/project/.husky").empty());
  // Worktrees that agents keep aren't.
  CHECK(GuardOf("a.txt", "/home/ann/.codex/worktrees/1/project").empty());
  CHECK(GuardOf("a.txt", "/home/ann/project/.claude/worktrees/b").empty());
}

TEST_CASE("EntriesOfAWorkspacesRootAreGuardedByTheirKind") {
  CHECK(IsGuardedEntry(".github", true));
  CHECK_FALSE(IsGuardedEntry(".github", false));
  CHECK(IsGuardedEntry("Agents.MD", false));
  CHECK_FALSE(IsGuardedEntry("AGENTS.md", true));
  CHECK_FALSE(IsGuardedEntry("", true));
}

TEST_CASE("SecretFilesAreKnownByTheirNames") {
  for (const char* path : {".env",
                           ".ENV",
                           "a/b/.env",
                           ".env.production",
                           ".env.local",
                           "id_rsa",
                           "sub/id_ed25519",
                           "server.key",
                           "TLS/Server.KEY",
                           "a.p12",
                           "a.pfx",
                           "site-key.pem",
                           "privkey1.pem",
                           ".netrc",
                           ".npmrc",
                           ".pypirc",
                           ".git-credentials",
                           "credentials.json",
                           ".ssh/config",
                           "home/.aws/credentials",
                           ".gnupg/a/b/c",
                           "config/secrets.yml"}) {
    CAPTURE(path);
    CHECK(!SecretOf(path, {}).empty());
  }
  for (const char* path :
       {"", "env", ".envrc", ".env.example", ".env.sample", ".env.template", ".env.dist",
        ".env.production.example", "id_rsa.pub", "ca.pem", "keys.cc", "a.key.md", ".env/bin/python",
        ".ssh", "ssh/config", "credentials.md", "monkey"}) {
    CAPTURE(path);
    CHECK(SecretOf(path, {}).empty());
  }
  CHECK(SecretOf("x/.SSH/config", {}) == ".ssh/");
}

TEST_CASE("PatternsOpenSecretFiles") {
  const std::vector<std::string> readable = {"config/.env.test", "certs/*.key", ".ssh/config"};
  CHECK(SecretOf("config/.env.test", readable).empty());
  CHECK(!SecretOf("config/.env", readable).empty());
  CHECK(!SecretOf(".env.test", readable).empty());
  CHECK(SecretOf("certs/a/b.key", readable).empty());
  CHECK(SecretOf(".ssh/config", readable).empty());
  CHECK(!SecretOf(".ssh/id_rsa", readable).empty());
  CHECK(!IsSecretFolder(".ssh", readable));  // some of it is opened
  CHECK(IsSecretFolder(".ssh", {}));
  CHECK(IsSecretFolder("a/.aws", readable));
  CHECK_FALSE(IsSecretFolder("a", readable));
  CHECK(CheckReadableSecrets(readable).ok());
  for (const std::string& bad : {std::string(), std::string("/etc/shadow"), std::string("../.env"),
                                 std::string("a/../.env"), std::string(300, 'x')}) {
    CAPTURE(bad);
    CHECK(CheckReadableSecrets(std::vector<std::string>{bad}).code() ==
          StatusCode::kInvalidArgument);
  }
  CHECK_FALSE(CheckReadableSecrets(std::vector<std::string>(65, ".env")).ok());
}

}  // namespace baleen
