// Changes to a workspace: nothing outside, nobody's edit lost, nobody sees half a file.
#include "runtime/workspace/workspace_editor.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

struct Fixture {
  Fixture() {
    temp.Write("outside/secret.txt", "secret");
    temp.Write("root/a.txt", "hello");
    std::shared_ptr<const Workspace> files = std::move(*Workspace::Open(temp.File("root")));
    editor = std::make_unique<WorkspaceEditor>(files);
  }
  std::string Text(const std::string& name) const {
    std::ifstream file(temp.File(name), std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  StatusCode StoreNew(std::string_view path) { return editor->Store(path, "new", nullptr).code(); }
  TempDirectory temp;
  std::unique_ptr<WorkspaceEditor> editor;
};

TEST_CASE("StoreMakesFoldersAndReplacesWhatIsKnown") {
  Fixture f;
  REQUIRE(f.editor->Store("x/y/z.txt", "one", nullptr).ok());
  CHECK(f.Text("root/x/y/z.txt") == "one");
  const std::string one = "one";
  REQUIRE(chmod(f.temp.File("root/x/y/z.txt").c_str(), 0751) == 0);
  REQUIRE(f.editor->Store("./x//y/z.txt", "two", &one).ok());
  CHECK(f.Text("root/x/y/z.txt") == "two");
  struct stat status = {};
  REQUIRE(stat(f.temp.File("root/x/y/z.txt").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0751);
  CHECK(f.editor->Load("x/y/z.txt")->seen == SeenFile::Seen::kCurrent);
  int entries = 0;  // no draft stays behind
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(f.temp.File("root/x/y"))) {
    ++entries;
  }
  CHECK(entries == 1);
}

TEST_CASE("SecretFilesAreNotChanged") {
  Fixture f;
  f.temp.Write("root/.env", "secret");
  const std::string known = "secret";
  CHECK(f.editor->Load(".env").status().code() == StatusCode::kPermissionDenied);
  CHECK(f.editor->Store(".env", "mine", &known).code() == StatusCode::kPermissionDenied);
  CHECK(f.StoreNew("sub/.env.local") == StatusCode::kPermissionDenied);
  CHECK(f.StoreNew(".env.example") == StatusCode::kOk);
  CHECK(f.Text("root/.env") == "secret");
  // What a user takes back is no model's change.
  CHECK(f.editor->Restore(".env", "older", known, 0).ok());
  CHECK(f.Text("root/.env") == "older");
}

TEST_CASE("WhatSomebodyElseWroteIsNotReplaced") {
  Fixture f;
  const std::string known = "hullo";
  CHECK(f.editor->Store("a.txt", "mine", &known).code() == StatusCode::kAborted);
  CHECK(f.editor->Store("a.txt", "mine", nullptr).code() == StatusCode::kAborted);
  CHECK(f.editor->Store("gone.txt", "mine", &known).code() == StatusCode::kAborted);
  CHECK(f.Text("root/a.txt") == "hello");
  CHECK(!std::filesystem::exists(f.temp.File("root/gone.txt")));
}

TEST_CASE("SeenFilesAreComparedByContent") {
  Fixture f;
  CHECK(f.editor->Load("a.txt")->seen == SeenFile::Seen::kNever);
  f.editor->NoteSeen("./a.txt");
  CHECK(f.editor->Load("a.txt")->seen == SeenFile::Seen::kCurrent);
  f.temp.Write("root/a.txt", "hallo");
  CHECK(f.editor->Load("a.txt")->seen == SeenFile::Seen::kChanged);
  f.temp.Write("root/a.txt", "hello");  // touched, and the same again
  CHECK(f.editor->Load("a.txt")->seen == SeenFile::Seen::kCurrent);
}

TEST_CASE("NoChangeLeadsOutside") {
  Fixture f;
  REQUIRE(symlink("../outside", f.temp.File("root/folder").c_str()) == 0);
  REQUIRE(symlink("../outside/secret.txt", f.temp.File("root/link").c_str()) == 0);
  REQUIRE(symlink("a.txt", f.temp.File("root/inner").c_str()) == 0);
  REQUIRE(symlink("../outside/made.txt", f.temp.File("root/dangling").c_str()) == 0);
  for (const char* path : {"../outside/x", "x/../../outside/x", "/tmp/x", "folder/x", "link",
                           "inner", "dangling", ".git/hooks/post-commit", "x/.git/config"}) {
    INFO(path);
    CHECK(f.StoreNew(path) == StatusCode::kPermissionDenied);
    CHECK(!f.editor->Load(path).ok() == (std::string(path) != "inner"));
  }
  const std::string secret = "secret", hello = "hello";
  CHECK(!f.editor->Store("link", "mine", &secret).ok());
  CHECK(!f.editor->Store("inner", "mine", &hello).ok());
  CHECK(f.StoreNew("a/") == StatusCode::kInvalidArgument);
  CHECK(f.StoreNew(".") == StatusCode::kInvalidArgument);
  CHECK(f.StoreNew(std::string_view("a\0b", 3)) == StatusCode::kInvalidArgument);
  CHECK(f.StoreNew("a.txt/b") == StatusCode::kNotFound);
  std::string deep;
  for (int i = 0; i < 70; ++i) deep += "d/";
  CHECK(f.StoreNew(deep + "x") == StatusCode::kInvalidArgument);
  CHECK(f.Text("outside/secret.txt") == "secret");
  CHECK(f.Text("root/a.txt") == "hello");
  CHECK(std::filesystem::is_symlink(f.temp.File("root/link")));
  CHECK(std::distance(std::filesystem::directory_iterator(f.temp.File("outside")), {}) == 1);
}

TEST_CASE("HardLinksAndSpecialFilesKeepWhatTheyHold") {
  Fixture f;
  REQUIRE(link(f.temp.File("outside/secret.txt").c_str(), f.temp.File("root/hard").c_str()) == 0);
  const std::string secret = "secret";
  REQUIRE(f.editor->Store("hard", "mine", &secret).ok());
  CHECK(f.Text("outside/secret.txt") == "secret");
  CHECK(f.Text("root/hard") == "mine");
  REQUIRE(mkfifo(f.temp.File("root/fifo").c_str(), 0600) == 0);
  CHECK(f.editor->Load("fifo").status().code() == StatusCode::kFailedPrecondition);
  CHECK(!f.editor->Store("fifo", "mine", &secret).ok());
  CHECK(f.StoreNew("fifo") == StatusCode::kAborted);
  f.temp.Write("root/large", "");
  REQUIRE(truncate(f.temp.File("root/large").c_str(), int64_t{1} << 40) == 0);
  CHECK(f.editor->Load("large").status().code() == StatusCode::kResourceExhausted);
  CHECK(f.editor->Store("b", std::string((8 << 20) + 1, 'x'), nullptr).code() ==
        StatusCode::kResourceExhausted);
}

TEST_CASE("FoldersSwappedForLinksNeverLeadOutside") {
  Fixture f;
  std::atomic<bool> stop = false;
  const std::string victim = f.temp.File("root/swap");
  std::thread swapper([&] {
    while (!stop) {
      unlink(victim.c_str());
      rename((victim + "-real").c_str(), victim.c_str());
      mkdir(victim.c_str(), 0777);
      rename(victim.c_str(), (victim + "-real").c_str());
      symlink("../outside", victim.c_str());
    }
  });
  int stored = 0;
  for (int i = 0; i < 300; ++i) {
    stored += f.editor->Store("swap/f" + std::to_string(i), "new", nullptr).ok() ? 1 : 0;
  }
  stop = true;
  swapper.join();
  INFO("stored " << stored << " of 300");
  CHECK(std::distance(std::filesystem::directory_iterator(f.temp.File("outside")), {}) == 1);
}

TEST_CASE("OfTwoWritersNeitherLosesTheOthersText") {
  Fixture f;
  // Each adds a line to what it knows; one that was overtaken looks again. All lines must be there.
  const auto add = [&](char name) {
    for (int i = 0; i < 40;) {
      const auto file = f.editor->Load("a.txt");
      if (!file.ok()) continue;
      const std::string next = file->content + "\n" + name + std::to_string(i);
      if (f.editor->Store("a.txt", next, &file->content).ok()) ++i;
    }
  };
  std::thread other([&] { add('x'); });
  add('y');
  other.join();
  const std::string text = f.Text("root/a.txt");
  for (int i = 0; i < 40; ++i) {
    for (const char name : {'x', 'y'}) {
      CHECK((text + "\n").find("\n" + std::string(1, name) + std::to_string(i) + "\n") !=
            std::string::npos);
    }
  }
}

}  // namespace
}  // namespace baleen
