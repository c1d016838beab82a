// Which files are special by their names.
#include "tools_sdk/special_files.h"

#include <catch2/catch.hpp>
#include <string>

namespace baleen {

TEST_CASE("WhatOthersObeyIsGuardedWhereverItLies") {
  for (const char* path :
       {".github/workflows/ci.yml", ".github/CODEOWNERS", "sub/.GitHub/workflows/x.yml",
        ".gitlab-ci.yml", ".circleci/config.yml", "Jenkinsfile", "AGENTS.md", "sub/Agents.md",
        "CLAUDE.md", ".cursorrules", ".cursor/rules/a.mdc", ".mcp.json", "opencode.jsonc",
        ".vscode/tasks.json", ".idea/workspace.xml", "a.code-workspace", ".envrc", ".husky/_/x",
        ".githooks/pre-commit", "baleen.toml", "lefthook-local.yml", ".woodpecker.yaml"}) {
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

}  // namespace baleen
