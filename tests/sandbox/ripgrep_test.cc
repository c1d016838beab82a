// grep's answers are the same with rg's help and without it, whatever rg does.
#include "runtime/sandbox/ripgrep.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "runtime/workspace/workspace.h"
#include "tests/testing/temp_directory.h"
#include "tools_sdk/builtin/grep.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

/// rg from the first file on, counted; `before` and `after` it something may happen.
class Watched final : public FileSieve {
 public:
  explicit Watched(Ripgrep* ripgrep) : ripgrep_(*ripgrep) {}
  Result<std::vector<bool>> MayHold(const std::vector<std::string>& paths,
                                    const std::vector<std::string>& texts,
                                    const std::atomic<bool>* cancelled) override {
    ++calls;
    if (before) before();
    auto told = ripgrep_.MayHold(paths, texts, cancelled);
    status = told.status();
    if (told.ok()) {
      asked += std::ssize(paths);
      kept += std::count(told->begin(), told->end(), true);
    }
    if (after) after();
    return told;
  }
  int64_t files_worth() const override { return 0; }

  std::function<void()> before, after;
  int64_t calls = 0, asked = 0, kept = 0;
  Status status;

 private:
  Ripgrep& ripgrep_;
};

struct Fixture {
  Fixture() {
    files = std::move(*Workspace::Open(temp.path()));
    context.files = files.get();
  }
  bool Ready() {
    if (sandbox->Get().kind() == SandboxKind::kNone) {
      WARN("SKIP: " << sandbox->Get().reason());
      return false;
    }
    const bool installed = std::filesystem::exists(Ripgrep::kProgram);
    if (!installed) WARN("SKIP: no rg; Debian's package is ripgrep");
    return installed;
  }
  std::string Grep(const Json& arguments, FileSieve* sieve) {
    context.sieve = sieve;
    return NewGrepTool()->Call({"id", "grep", arguments.dump()}, context).content;
  }
  /// A program in rg's place; it lies in the workspace, which it can see.
  std::string Fake(const std::string& body) {
    temp.Write("fake", "#!/bin/sh\n" + body + "\n");
    std::filesystem::permissions(temp.File("fake"), std::filesystem::perms::owner_all);
    return temp.File("fake");
  }

  TempDirectory temp;
  std::shared_ptr<const Workspace> files;
  std::shared_ptr<LazySandbox> sandbox = std::make_shared<LazySandbox>();
  CallContext context;
};

/// Trees and patterns by chance.
class Chance {
 public:
  explicit Chance(uint32_t seed) : engine_(seed) {}
  size_t Below(size_t most) { return std::uniform_int_distribution<size_t>(0, most - 1)(engine_); }
  bool OneIn(size_t n) { return Below(n) == 0; }
  template <size_t N>
  std::string Of(const char* const (&texts)[N]) {
    return texts[Below(N)];
  }

  std::string Text() {
    static constexpr const char* kWords[] = {"needle",
                                             "hay",
                                             "NEEDLE",
                                             "\xC5\xBFtack",
                                             ("\xE2\x84\xAA"
                                              "eep"),
                                             "keep",
                                             "stack",
                                             "a.b",
                                             "\xff\xfe",
                                             "\xc3",
                                             "é",
                                             "\r",
                                             ""};
    std::string text = OneIn(12) ? std::string("\0 needle\n", 9) : "";
    for (size_t lines = Below(6); lines > 0; --lines) {
      for (size_t words = Below(4); words > 0; --words) text += Of(kWords) + " ";
      if (OneIn(20)) text += std::string(3000, 'w') + "needle";
      text += OneIn(4) ? "\r\n" : "\n";
    }
    if (OneIn(30)) text = "\xFF\xFE" + text;  // as if it were UTF-16
    return text;
  }

  void Tree(const TempDirectory& temp) {
    static constexpr const char* kNames[] = {"a",          "b.cc",      ".hidden", "-x",   "-",
                                             "with space", "new\nline", "é",       "y.log"};
    for (size_t i = 0; i < 25; ++i) {
      std::string path;
      for (size_t depth = Below(3); depth > 0; --depth)
        path += "d" + std::to_string(Below(3)) + "/";
      temp.Write(path + Of(kNames), Text());
      if (OneIn(8))
        temp.Write(path + ".gitignore", OneIn(2) ? "*.log\nd2/\n" : "!y.log\n.hidden\n");
    }
  }

  Json Arguments() {
    static constexpr const char* kPieces[] = {
        "needle", "ee",  "(needle|stack)", "st?ack", "keep",   "a.b",   "a\\.b", ".",      " ",
        "\\w+",   "\\s", "[a-d]",          "é",      "(hay)+", "\\x6e", "[^n]",  "n{1,2}", "\\b"};
    std::string pattern = OneIn(6) ? "^" : "";
    for (size_t pieces = 1 + Below(3); pieces > 0; --pieces) pattern += Of(kPieces);
    if (OneIn(6)) pattern += OneIn(2) ? "$" : "|stack";
    Json arguments = {{"pattern", pattern}, {"ignore_case", OneIn(3)}, {"literal", OneIn(5)}};
    if (OneIn(4)) arguments["max_results"] = 1 + Below(9);
    if (OneIn(5)) arguments["include"] = "*.cc";
    if (OneIn(5)) arguments["path"] = "d" + std::to_string(Below(3));
    return arguments;
  }

 private:
  std::mt19937 engine_;
};

TEST_CASE("AnswersAreTheSameWithRipgrepAndWithout") {
  constexpr uint32_t kSeed = 20261129;
  Chance chance(kSeed);
  int64_t asked = 0, kept = 0, found = 0;
  for (int tree = 0; tree < 12; ++tree) {
    Fixture f;
    if (!f.Ready()) return;
    chance.Tree(f.temp);
    Ripgrep ripgrep(f.sandbox, f.temp.path());
    for (int i = 0; i < 15; ++i) {
      Watched watched(&ripgrep);
      const Json arguments = chance.Arguments();
      INFO("seed " << kSeed << ", tree " << tree << ": " << arguments.dump());
      const std::string without = f.Grep(arguments, nullptr);
      CHECK(f.Grep(arguments, &watched) == without);
      CHECK(watched.status.message() == "");
      asked += watched.asked;
      kept += watched.kept;
      found += without.find("\n  ") != std::string::npos ? 1 : 0;
    }
  }
  // Else nothing was compared.
  CHECK(asked > 1000);
  CHECK(kept > 100);
  CHECK(kept < asked / 2);
  CHECK(found > 30);
}

TEST_CASE("FilesThatVanishOrChangeMeanwhileAreNoFailure") {
  Fixture f;
  if (!f.Ready()) return;
  Ripgrep ripgrep(f.sandbox, f.temp.path());
  for (const char* name : {"a", "b", "c"}) f.temp.Write(name, "needle\n");
  Watched watched(&ripgrep);
  watched.before = [&f] { std::filesystem::remove(f.temp.File("b")); };
  CHECK(f.Grep({{"pattern", "needle"}}, &watched) ==
        "a\n  1: needle\nc\n  1: needle\n[1 files or directories were not searched: too large or "
        "not readable]");
  CHECK(!watched.status.ok());
  watched.before = nullptr;
  watched.after = [&f] { std::filesystem::resize_file(f.temp.File("c"), 2); };
  CHECK(f.Grep({{"pattern", "needle"}}, &watched) == "a\n  1: needle");
  CHECK(watched.status.ok());
}

TEST_CASE("OfSecretFilesNothingIsTold") {
  Fixture f;
  if (!f.Ready()) return;
  f.temp.Write("a", "hay\n");
  f.temp.Write("d/.ssh/id_x", "needle\n");
  f.temp.Write("e/.env", "needle\n");
  std::filesystem::create_symlink("d/.ssh", f.temp.File("link"));
  Ripgrep ripgrep(f.sandbox, f.temp.path());
  for (const char* pattern : {"needle", "absent"}) {
    for (const char* path : {".", "e", "link", "d/../d/.ssh"}) {
      Watched watched(&ripgrep);
      INFO(pattern << " in " << path);
      const Json arguments = {{"pattern", pattern}, {"path", path}};
      const std::string without = f.Grep(arguments, nullptr);
      CHECK(f.Grep(arguments, &watched) == without);
      CHECK(without.find("needle") == std::string::npos);
      // The walk's folder itself may be refused.
      if (path == std::string(".")) CHECK(watched.asked == 1);
    }
  }
}

TEST_CASE("AProgramThatFailsChangesNoAnswer") {
  Fixture f;
  if (!f.Ready()) return;
  const Json arguments = {{"pattern", "needle"}, {"include", "*.txt"}};
  f.temp.Write("a.txt", "needle\n");
  f.temp.Write("d/b.txt", "needle\n");
  const std::string want = f.Grep(arguments, nullptr);
  for (const char* body : {"exit 2", "kill -9 $$", "echo ./a.txt; exit 0",
                           "printf 'a.txt\\0'; exit 0", "head -c 5000000 /dev/zero; exit 0"}) {
    Ripgrep ripgrep(f.sandbox, f.temp.path(), f.Fake(body));
    Watched watched(&ripgrep);
    INFO(body);
    CHECK(f.Grep(arguments, &watched) == want);
    CHECK(watched.calls == 1);
    CHECK(!watched.status.ok());
  }
  Ripgrep absent(f.sandbox, f.temp.path(), "/usr/bin/no-rg-here");
  Watched watched(&absent);
  CHECK(f.Grep(arguments, &watched) == want);
  CHECK(watched.status.code() == StatusCode::kNotFound);
}

TEST_CASE("RipgrepCanChangeNothingAndSeesNoOptionInAPath") {
  Fixture f;
  if (!f.Ready()) return;
  f.temp.Write("--pre=sh", "needle\n");
  f.temp.Write("-", "needle\n");
  Ripgrep ripgrep(f.sandbox, f.temp.path(), f.Fake("echo x > made; echo x >> -; exit 1"));
  Watched fake(&ripgrep);
  f.Grep({{"pattern", "needle"}}, &fake);
  CHECK(!std::filesystem::exists(f.temp.File("made")));
  CHECK(std::filesystem::file_size(f.temp.File("-")) == 7);
  std::filesystem::remove(f.temp.File("fake"));
  Ripgrep real(f.sandbox, f.temp.path());
  Watched watched(&real);
  CHECK(f.Grep({{"pattern", "needle"}}, &watched) == "-\n  1: needle\n--pre=sh\n  1: needle");
  CHECK(watched.status.ok());
  CHECK(watched.kept == 2);
}

TEST_CASE("ManyPathsAreGivenToSeveralProcesses") {
  Fixture f;
  if (!f.Ready()) return;
  const std::string folder = std::string(200, 'x') + "/" + std::string(200, 'y') + "/";
  std::vector<std::string> paths;
  for (int i = 0; i < 3000; ++i) paths.push_back(folder + std::to_string(i));
  for (const std::string& path : paths) f.temp.Write(path, path.ends_with("77") ? "Needle" : "hay");
  Ripgrep ripgrep(f.sandbox, f.temp.path());
  const auto told = ripgrep.MayHold(paths, {"needle", "-x"}, nullptr);
  INFO(told.status().message());
  REQUIRE(told.ok());
  CHECK(std::count(told->begin(), told->end(), true) == 30);
  CHECK((*told)[77]);
  const std::atomic<bool> cancelled = true;
  CHECK(ripgrep.MayHold(paths, {"needle"}, &cancelled).status().code() == StatusCode::kCancelled);
}

}  // namespace
}  // namespace baleen
