// Worktrees and the diffs between them: what one program writes another one reads, hostile diffs
// change nothing, copies are whole or not there.
#include "runtime/workspace/worktrees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

#include "runtime/workspace/tree_copy.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"
#include "tools_sdk/builtin/patch.h"
#include "tools_sdk/builtin/unified_diff.h"

namespace baleen {
namespace {

using Tree = std::map<std::string, std::string>;

std::string Slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Of regular files: path -> content, with '!' before it if it can be executed.
Tree ReadTree(const std::string& root) {
  Tree tree;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || entry.is_symlink()) continue;
    const bool runs = (entry.status().permissions() & std::filesystem::perms::owner_exec) !=
                      std::filesystem::perms::none;
    tree[entry.path().lexically_relative(root)] = (runs ? "!" : "") + Slurp(entry.path());
  }
  return tree;
}

std::string RandomText(std::mt19937_64& random) {
  // Few different lines: much that looks alike.
  constexpr const char* kLines[] = {"a\n", "b\n",   "\n", "{\n", "a\r\n", "\\ No newline\n",
                                    "é\n", "-- x\n"};
  std::string text;
  for (uint64_t lines = random() % 24; lines > 0; --lines) text += kLines[random() % 8];
  if (random() % 4 == 0) text += "end without a newline";
  return text;
}

std::string EditedText(std::string text, std::mt19937_64& random) {
  std::vector<std::string> lines;
  for (const std::string_view line : SplitLines(text)) lines.emplace_back(line);
  for (uint64_t edits = random() % 5; edits > 0; --edits) {
    const size_t at = lines.empty() ? 0 : random() % lines.size();
    if (lines.empty() || random() % 2 == 0) {
      lines.insert(lines.begin() + static_cast<int64_t>(at), "new\n");
    } else {
      lines.erase(lines.begin() + static_cast<int64_t>(at));
    }
  }
  text.clear();
  for (const std::string& line : lines) {
    text += (text.empty() || text.ends_with('\n') ? "" : "\n") + line;
  }
  return text;
}

/// As ReadTree has it.
void WriteTree(const TempDirectory& temp, const std::string& folder, const Tree& tree) {
  std::filesystem::create_directories(temp.File(folder));
  for (const auto& [path, text] : tree) {
    const bool runs = text.starts_with('!');
    temp.Write(folder + "/" + path, text.substr(runs ? 1 : 0));
    REQUIRE(chmod(temp.File(folder + "/" + path).c_str(), runs ? 0755 : 0644) == 0);
  }
}

/// What a program that reads diffs makes of `before`.
Tree JudgedBy(const std::string& program, const TempDirectory& temp, const Tree& before,
              const std::string& diff) {
  const std::string folder = temp.File("judge");
  std::filesystem::remove_all(folder);
  WriteTree(temp, "judge", before);
  temp.Write("diff", diff);
  const std::string command = "cd '" + folder + "' && " + program + " < ../diff >&2";
  REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(cert-env33-c)
  return ReadTree(folder);
}

/// Programs that were written to read diffs, and are here.
std::vector<std::string> Judges() {
  std::vector<std::string> judges;
  if (access("/usr/bin/patch", X_OK) == 0) judges.emplace_back("patch -p1 -s --binary");
  if (access("/usr/bin/git", X_OK) == 0) {
    judges.emplace_back("GIT_CEILING_DIRECTORIES=/ git apply --whitespace=nowarn");
  }
  if (judges.empty()) WARN("SKIP: no patch or git to judge by; the trees are compared only");
  return judges;
}

TEST_CASE("ADiffTurnsOneRandomTreeIntoTheOther") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> judges = Judges();
  for (int round = 0; round < 40; ++round) {
    const TempDirectory temp;
    Tree before, after;
    for (const char* path : {"a.txt", "b b.txt", "d/c.h", "d/e/f", "q\"uote", "z"}) {
      const std::string text = RandomText(random);
      const bool was = random() % 3 != 0;
      const char* const mark = random() % 2 == 0 ? "!" : "";
      if (was) before[path] = mark + text;
      const char* const other_mark = random() % 3 == 0 ? "!" : mark;
      if (random() % 4 != 0)
        after[path] = other_mark + (was ? EditedText(text, random) : RandomText(random));
    }
    WriteTree(temp, "before", before);
    WriteTree(temp, "after", after);
    const auto old_tree = Must(Workspace::Open(temp.File("before")));
    const auto new_tree = Must(Workspace::Open(temp.File("after")));
    const std::string diff = Must(DiffTrees(*old_tree, *new_tree, nullptr));
    CAPTURE(round, diff);
    REQUIRE(diff.empty() == (before == after));
    if (diff.empty()) continue;
    Tree made = before;
    for (const FilePatch& file : Must(ParsePatch(diff))) {
      const bool ran = made[file.path].starts_with('!');
      const std::string was = made[file.path].substr(ran ? 1 : 0);
      const std::string text = Must(Patched(was, file));
      REQUIRE(Must(Patched(text, file, PatchDirection::kReverse)) == was);
      if (file.kind == FilePatch::Kind::kDelete) {
        REQUIRE(text.empty());
        made.erase(file.path);
      } else {
        made[file.path] = (file.executable.value_or(ran) ? "!" : "") + text;
      }
    }
    REQUIRE(made == after);
    // Of empty files patch has views of its own, and it finds no name with a blank in a part that
    // has only modes.
    const auto is_empty = [](const auto& file) {
      return file.second.empty() || file.second == "!";
    };
    const bool odd = std::any_of(before.begin(), before.end(), is_empty) ||
                     std::any_of(after.begin(), after.end(), is_empty) ||
                     diff.find("diff --git a/b b.txt b/b b.txt\nold mode") != std::string::npos;
    for (const std::string& judge : judges) {
      CAPTURE(judge);
      if (!odd || judge.starts_with("GIT")) REQUIRE(JudgedBy(judge, temp, before, diff) == after);
    }
  }
}

TEST_CASE("LargeRewritesAreShownWholeAndStillFit") {
  std::string before, after;
  for (int i = 0; i < 9000; ++i) before += "old " + std::to_string(i) + "\n";
  for (int i = 0; i < 9000; ++i)
    after += (i % 50 == 0 ? "old " : "new ") + std::to_string(i) + "\n";
  const std::string diff = FileDiff("x", DiffSide{before}, DiffSide{after});
  const auto files = Must(ParsePatch(diff));  // borrows it
  CHECK(Must(Patched(before, files[0])) == after);
  CHECK(UnifiedHunks("a\nb\nc\n", "a\nc\n") == "@@ -1,3 +1,2 @@\n a\n-b\n c\n");
  CHECK(UnifiedHunks("", "x") == "@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n");
  CHECK(UnifiedHunks("same\n", "same\n").empty());
}

TEST_CASE("HostileDiffsAreRefusedAndSayWhere") {
  const auto why = [](const std::string& diff) {
    const auto files = ParsePatch(diff);
    return files.ok() ? std::string("taken") : files.status().message();
  };
  const auto change = [](const std::string& path) {
    return "--- a/" + path + "\n+++ b/" + path + "\n@@ -1 +1 @@\n-a\n+b\n";
  };
  CHECK(why(change("x/y")) == "taken");
  for (const char* path : {"../x", "x/../../y", "/etc/passwd", "./x", "x//y", "x/"}) {
    CAPTURE(path);
    CHECK(why(change(path)).find("no plain path") != std::string::npos);
  }
  CHECK(why("--- \"a/x\\000y\"\n+++ \"b/x\\000y\"\n@@ -1 +1 @@\n-a\n+b\n").find("no plain path") !=
        std::string::npos);
  CHECK(why(change("x") + change("x")).find("second time") != std::string::npos);
  CHECK(
      why("--- a/x\n+++ b/x\n@@ -1,9999999999999999999 +1 @@\n-a\n").find("line 3: expected @@") !=
      std::string::npos);
  CHECK(why("--- a/x\n+++ b/x\n@@ -1,999999 +1 @@\n-a\n").find("promises 999999 old") !=
        std::string::npos);
  CHECK(why("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n c\n").find("line 6") != std::string::npos);
  CHECK(why("--- a/x\n+++ b/x\n@@ -5 +5 @@\n-a\n+b\n@@ -2 +2 @@\n-a\n+b\n").find("don't follow") !=
        std::string::npos);
  CHECK(why("--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n").find("renames") != std::string::npos);
  CHECK(why("diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 "
            "@@\n+/etc\n")
            .find("symbolic link") != std::string::npos);
  CHECK(why("diff --git a/x b/x\nindex 1..2\nBinary files a/x and b/x differ\n").find("binary") !=
        std::string::npos);
  const auto modes = [&](const std::string& lines) { return why("diff --git a/x b/x\n" + lines); };
  CHECK(modes("old mode 100644\nnew mode 100755\n") == "taken");
  CHECK(modes("old mode 100644\nnew mode 104755\n").find("100644 or 100755") != std::string::npos);
  CHECK(modes("old mode 120000\nnew mode 100644\n").find("symbolic link") != std::string::npos);
  CHECK(modes("new mode 100755\n").find("expected 'old mode'") != std::string::npos);
  CHECK(modes("old mode 100644\n").find("'old mode' and 'new mode'") != std::string::npos);
  CHECK(modes("deleted file mode 100644\nold mode 100644\nnew mode 100755\n")
            .find("of a file that stays") != std::string::npos);
  CHECK(why("").find("says nothing") != std::string::npos);
  CHECK(why("hello\n").find("line 1") != std::string::npos);
  CHECK(why(std::string(kDiffBytesMax + 1, 'x')).find("1048577 bytes") != std::string::npos);
  // Content is content: NULs and CRs in hunks are lines like any other.
  const std::string bytes("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\r\n+\0\n", 35);
  const auto odd = Must(ParsePatch(bytes));
  CHECK(Must(Patched("a\r\n", odd[0])) == std::string("\0\n", 2));
  const auto stale = Patched("a\n", odd[0]);
  REQUIRE_ERROR(stale, StatusCode::kAborted, "x:1: the diff (its line 3) expects 'a?");
}

TEST_CASE("AWorktreeIsACopyThatRulesBound") {
  const TempDirectory temp;
  temp.Write("ws/.gitignore", "build/\n*.o\n");
  temp.Write("ws/src/a.c", "int a;\n");
  temp.Write("ws/src/a.o", "binary");
  temp.Write("ws/build/big", "built");
  temp.Write("ws/.git/config", "git");
  temp.Write("ws/run.sh", "#!/bin/sh\n");
  temp.Write("outside", "secret");
  REQUIRE(chmod(temp.File("ws/run.sh").c_str(), 0755) == 0);
  std::filesystem::create_directories(temp.File("ws/empty"));
  std::filesystem::create_symlink("../outside", temp.File("ws/link"));
  REQUIRE(mkfifo(temp.File("ws/fifo").c_str(), 0600) == 0);
  Worktrees worktrees(temp.File("worktrees"));
  worktrees.Hold("kid");
  const Worktree kid = Must(worktrees.Make("kid", temp.File("ws"), false, nullptr));
  CHECK(kid.note ==
        "copied: 3 files, 1 links, 28 bytes; left out: 2 by ignore rules, 1 devices, "
        "FIFOs and sockets");
  const Tree copied = ReadTree(kid.path);
  CHECK(copied ==
        Tree{{".gitignore", "build/\n*.o\n"}, {"run.sh", "!#!/bin/sh\n"}, {"src/a.c", "int a;\n"}});
  CHECK(std::filesystem::read_symlink(kid.path + "/link") == "../outside");
  CHECK(std::filesystem::is_directory(kid.path + "/empty"));
  CHECK(std::filesystem::last_write_time(kid.path + "/src/a.c") ==
        std::filesystem::last_write_time(temp.File("ws/src/a.c")));
  CHECK(Must(worktrees.Diff("kid", nullptr)).empty());
  // What the workspace becomes meanwhile is none of its business; built files aren't, either.
  temp.Write("ws/src/a.c", "int other;\n");
  const std::string tree = "worktrees/kid/tree/";
  temp.Write(tree + "src/a.c", "int b;\n");
  temp.Write(tree + "src/b.o", "built");
  temp.Write(tree + "new.txt", "new\n");
  temp.Write(tree + "bytes", std::string("\0\1", 2));
  std::filesystem::remove(kid.path + "/run.sh");
  std::filesystem::remove(kid.path + "/link");
  std::filesystem::create_symlink("/etc/passwd", kid.path + "/link");
  const std::string diff = Must(worktrees.Diff("kid", nullptr));
  CAPTURE(diff);
  std::vector<size_t> places;
  for (const char* part :
       {"Binary files /dev/null and b/bytes differ", "a/link b/link", "+/etc/passwd",
        "+++ b/new.txt", "deleted file mode 100755", "-int a;\n+int b;"}) {
    CAPTURE(part);
    places.push_back(diff.find(part));
    CHECK(places.back() != std::string::npos);
  }
  CHECK(std::is_sorted(places.begin(), places.end()));
  CHECK(diff.find("b.o") == std::string::npos);
  temp.Write(tree + "huge.txt", std::string(3 << 20, 'x'));
  REQUIRE_ERROR(worktrees.Diff("kid", nullptr), StatusCode::kResourceExhausted,
                "expected at most 1048576");
  // With everything: what is ignored, never '.git'.
  const Worktree all = Must(worktrees.Make("all", temp.File("ws"), true, nullptr));
  CHECK(std::filesystem::exists(all.path + "/build/big"));
  CHECK(!std::filesystem::exists(all.path + "/.git"));
}

TEST_CASE("SecretFilesAreInNoCopyAndInNoDiff") {
  const TempDirectory temp;
  temp.Write("ws/.env", "secret\n");
  temp.Write("ws/.ssh/config", "secret\n");
  temp.Write("ws/.env.test", "open\n");
  temp.Write("ws/a.txt", "a\n");
  Worktrees worktrees(temp.File("worktrees"));
  const std::vector<std::string> readable = {".env.test"};
  worktrees.Hold("kid");
  const Worktree kid = Must(worktrees.Make("kid", temp.File("ws"), false, nullptr, readable));
  CHECK(kid.note == "copied: 2 files, 0 links, 7 bytes; left out: 2 secret files");
  CHECK(ReadTree(kid.path) == Tree{{".env.test", "open\n"}, {"a.txt", "a\n"}});
  const std::string tree = "worktrees/kid/tree/";
  temp.Write(tree + ".env", "SECRET=made\n");
  temp.Write(tree + "sub/id_rsa", "SECRET\n");
  temp.Write(tree + ".env.test", "changed\n");
  const std::string diff = Must(worktrees.Diff("kid", nullptr, readable));
  CAPTURE(diff);
  CHECK(diff.find("+changed") != std::string::npos);
  CHECK(diff.find("SECRET") == std::string::npos);
  CHECK(Must(worktrees.Diff("kid", nullptr)).empty());  // to whom nothing is opened
}

TEST_CASE("WorktreesAreMadeWholeRemovedAndSwept") {
  const TempDirectory temp;
  temp.Write("ws/a", "a\n");
  Worktrees worktrees(temp.File("worktrees"));
  const auto left = [&] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(temp.File("worktrees"))) {
      names.insert(entry.path().filename());
    }
    return names;
  };
  // A process died while it copied: that is no worktree, and is made anew.
  temp.Write("worktrees/kid.draft/tree/half", "half");
  REQUIRE_OK(worktrees.Make("kid", temp.File("ws"), false, nullptr));
  CHECK(left() == std::set<std::string>{"kid"});
  CHECK(!std::filesystem::exists(temp.File("worktrees/kid/tree/half")));
  // One that is whole is found again, with what was done in it.
  temp.Write("worktrees/kid/tree/a", "b\n");
  REQUIRE_OK(worktrees.Make("kid", temp.File("ws"), false, nullptr));
  CHECK(Must(worktrees.Diff("kid", nullptr)).find("-a\n+b\n") != std::string::npos);
  std::atomic<bool> cancelled = true;
  REQUIRE_ERROR(worktrees.Make("late", temp.File("ws"), false, &cancelled), StatusCode::kCancelled,
                "");
  REQUIRE_ERROR(worktrees.Make("gone", temp.File("none"), false, nullptr), StatusCode::kNotFound,
                "");
  CHECK(left() == std::set<std::string>{"kid"});
  // Folders deeper than open files reach, and without rights.
  std::string deep = temp.File("worktrees/kid/tree");
  int folder = open(deep.c_str(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 3000; ++i) {
    REQUIRE(mkdirat(folder, "d", 0700) == 0);
    const int inner = openat(folder, "d", O_RDONLY | O_DIRECTORY);
    REQUIRE(fchmod(folder, 0) == 0);
    close(folder);
    folder = inner;
  }
  close(folder);
  temp.Write("worktrees/old.draft/x", "x");
  temp.Write("worktrees/gone-1-1-old/x", "x");
  worktrees.Hold("held");
  REQUIRE_OK(worktrees.Make("held", temp.File("ws"), false, nullptr));
  REQUIRE_OK(worktrees.Sweep([](const std::string&) { return false; }));
  CHECK(left() == std::set<std::string>{"held"});
  worktrees.Settle("held");
  REQUIRE_OK(worktrees.Sweep([](const std::string& name) { return name == "held"; }));
  CHECK(left() == std::set<std::string>{"held"});
  REQUIRE_OK(worktrees.Remove("held"));
  REQUIRE_OK(worktrees.Remove("held"));
  CHECK(left().empty());
  REQUIRE_ERROR(worktrees.Diff("held", nullptr), StatusCode::kNotFound, "no worktree");
}

}  // namespace
}  // namespace baleen
