#include "runtime/workspace/workspace.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <thread>

#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

struct Fixture {
  Fixture() {
    temp.Write("outside/secret.txt", "secret");
    temp.Write("root/a.txt", "hello");
    temp.Write("root/sub/b.txt", "world");
    Result<std::unique_ptr<Workspace>> opened = Workspace::Open(temp.File("root"));
    INFO(opened.status().message());
    REQUIRE(opened.ok());
    files = std::move(opened).value();
  }
  StatusCode ReadCode(std::string_view path) const {
    const Result<std::string> read = files->Read(path, 0, 100);
    if (read.ok()) {
      INFO("read: " << *read);
      CHECK(read->find("secret") == std::string::npos);
    }
    return read.status().code();
  }
  TempDirectory temp;
  std::unique_ptr<Workspace> files;
};

TEST_CASE("ReadsWhatIsInside") {
  const Fixture f;
  CHECK(*f.files->Read("a.txt", 0, 100) == "hello");
  CHECK(*f.files->Read("a.txt", 1, 3) == "ell");
  CHECK(*f.files->Read("a.txt", 99, 3) == "");
  CHECK(*f.files->Read("./sub/../a.txt", 0, 100) == "hello");
  CHECK(*f.files->Size("sub/b.txt") == 5);
  CHECK(f.ReadCode("nothing") == StatusCode::kNotFound);
  CHECK(f.ReadCode("a.txt/x") == StatusCode::kNotFound);
  CHECK(f.ReadCode("sub") == StatusCode::kFailedPrecondition);
  CHECK(f.files->Read("a.txt", -1, 1).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("NoPathLeadsOutside") {
  const Fixture f;
  CHECK(f.ReadCode("../outside/secret.txt") == StatusCode::kPermissionDenied);
  CHECK(f.ReadCode("sub/../../outside/secret.txt") == StatusCode::kPermissionDenied);
  CHECK(f.ReadCode(f.temp.File("outside/secret.txt")) == StatusCode::kPermissionDenied);
  CHECK(f.ReadCode(f.temp.File("root/a.txt")) == StatusCode::kPermissionDenied);
  CHECK(f.files->List("..", 10).status().code() == StatusCode::kPermissionDenied);
  CHECK(f.files->Size("../outside/secret.txt").status().code() == StatusCode::kPermissionDenied);
}

TEST_CASE("SecretFilesAreRefusedByAnyWayToThem") {
  const TempDirectory temp;
  const auto files = [&](std::vector<std::string> readable) {
    auto opened = Workspace::Open(temp.File("root"), std::move(readable));
    REQUIRE(opened.ok());
    return std::move(opened).value();
  };
  temp.Write("root/.env", "secret");
  temp.Write("root/config/.env.test", "secret too");
  temp.Write("root/.ssh/config", "secret host");
  temp.Write("root/a.txt", "hello");
  std::filesystem::create_symlink(".env", temp.File("root/plain"));
  std::filesystem::create_symlink("plain", temp.File("root/twice"));
  std::filesystem::create_symlink("config", temp.File("root/folder"));
  std::filesystem::create_symlink("a.txt", temp.File("root/server.key"));
  std::filesystem::create_symlink("a.txt", temp.File("root/harmless"));
  const auto none = files({});
  for (const char* path :
       {".env", "./.env", "config/../.env", "config//.env.test", "plain", "twice", ".ssh/config",
        "folder/.env.test", "folder/../.env", "server.key", "a/.env", "no/.ssh/x"}) {
    CAPTURE(path);
    const auto read = none->Read(path, 0, 100);
    CHECK(read.status().code() == StatusCode::kPermissionDenied);
    CHECK(read.status().reason() == "PATH_REFUSED");
    CHECK(read.status().message().find("secret file") != std::string::npos);
    CHECK(none->Size(path).status().reason() == "PATH_REFUSED");
  }
  CHECK(none->Read(".env", 0, 9).status().message().find("--allow-secret-file '.env'") !=
        std::string::npos);
  CHECK(none->Read("plain", 0, 9).status().message().find("'plain' leads to a secret file") == 0);
  CHECK(*none->Read("harmless", 0, 9) == "hello");
  CHECK(none->List(".ssh", 10)->size() == 1);  // names are no secret
  const auto some = files({"config/*"});
  CHECK(*some->Read("config/.env.test", 0, 99) == "secret too");
  std::filesystem::create_symlink("config/.env.test", temp.File("root/opened"));
  CHECK(*some->Read("opened", 0, 99) == "secret too");
  CHECK(some->Read("folder/.env.test", 0, 99).status().reason() == "PATH_REFUSED");  // by its name
  CHECK(some->Read(".env", 0, 99).status().reason() == "PATH_REFUSED");
  // Another name of the file itself is beyond what names tell.
  std::filesystem::create_hard_link(temp.File("root/.env"), temp.File("root/hard"));
  CHECK(none->Read("hard", 0, 99).ok());
}

TEST_CASE("SymlinksInsideAreFollowedAndOutsideRefused") {
  const Fixture f;
  REQUIRE(symlink("sub/b.txt", f.temp.File("root/in").c_str()) == 0);
  REQUIRE(symlink("../a.txt", f.temp.File("root/sub/up").c_str()) == 0);
  REQUIRE(symlink("../outside/secret.txt", f.temp.File("root/out").c_str()) == 0);
  REQUIRE(symlink("/", f.temp.File("root/slash").c_str()) == 0);
  REQUIRE(symlink("../outside", f.temp.File("root/folder").c_str()) == 0);
  REQUIRE(symlink("loop", f.temp.File("root/loop").c_str()) == 0);
  CHECK(*f.files->Read("in", 0, 100) == "world");
  CHECK(*f.files->Read("sub/up", 0, 100) == "hello");
  CHECK(f.ReadCode("out") == StatusCode::kPermissionDenied);
  CHECK(f.ReadCode("slash/etc/passwd") == StatusCode::kPermissionDenied);
  CHECK(f.ReadCode("folder/secret.txt") == StatusCode::kPermissionDenied);
  CHECK(f.ReadCode("loop") == StatusCode::kPermissionDenied);
  CHECK(f.files->List("folder", 10).status().code() == StatusCode::kPermissionDenied);
}

TEST_CASE("MagicLinksOfProcAreRefused") {
  const Result<std::unique_ptr<Workspace>> proc = Workspace::Open("/proc/self");
  REQUIRE(proc.ok());
  CHECK((*proc)->Read("comm", 0, 100).ok());  // The directory itself is readable.
  CHECK((*proc)->List("root", 10).status().code() == StatusCode::kPermissionDenied);
  CHECK((*proc)->Read("cwd/CMakeLists.txt", 0, 10).status().code() ==
        StatusCode::kPermissionDenied);
  CHECK((*proc)->Read("exe", 0, 10).status().code() == StatusCode::kPermissionDenied);
}

TEST_CASE("SpecialFilesAreRefusedWithoutWaiting") {
  const Fixture f;
  REQUIRE(mkfifo(f.temp.File("root/fifo").c_str(), 0600) == 0);
  CHECK(f.ReadCode("fifo") == StatusCode::kFailedPrecondition);
  const int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, f.temp.File("root/socket").c_str(), sizeof(address.sun_path) - 1);
  REQUIRE(bind(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  CHECK(f.ReadCode("socket") == StatusCode::kFailedPrecondition);
  close(socket_fd);
  const Result<std::unique_ptr<Workspace>> devices = Workspace::Open("/dev");
  REQUIRE(devices.ok());
  CHECK((*devices)->Read("zero", 0, 10).status().code() == StatusCode::kFailedPrecondition);
  CHECK((*devices)->Size("null").status().code() == StatusCode::kFailedPrecondition);
}

TEST_CASE("HugeFileIsReadInBoundedParts") {
  const Fixture f;
  const int64_t huge = int64_t{1} << 40;  // Sparse.
  f.temp.Write("root/huge", "x");
  REQUIRE(truncate(f.temp.File("root/huge").c_str(), huge) == 0);
  CHECK(*f.files->Size("huge") == huge);
  CHECK(f.files->Read("huge", 0, 1000)->size() == 1000);
  CHECK(f.files->Read("huge", huge - 10, 1000)->size() == 10);
  CHECK(f.files->Read("huge", 0, INT64_MAX)->size() ==
        static_cast<size_t>(Workspace::kReadBytesMax));
}

TEST_CASE("PathsThatAreNoNamesAreRefused") {
  const Fixture f;
  CHECK(f.ReadCode(std::string_view("a.txt\0.png", 10)) == StatusCode::kInvalidArgument);
  CHECK(f.ReadCode(std::string(5000, 'x')) == StatusCode::kInvalidArgument);
  CHECK(f.ReadCode(std::string(300, 'x')) == StatusCode::kInvalidArgument);
  CHECK(f.ReadCode("") == StatusCode::kFailedPrecondition);
}

TEST_CASE("ListIsSortedBoundedAndBytewise") {
  const Fixture f;
  f.temp.Write("root/\xff\xfe", "bytes");
  f.temp.Write("root/Z", "");
  REQUIRE(symlink("sub", f.temp.File("root/link").c_str()) == 0);
  const auto entries = f.files->List(".", 100);
  REQUIRE(entries.ok());
  std::string names;
  for (const FileEntry& entry : *entries) names += entry.path + " ";
  CHECK(names == "Z a.txt link sub \xff\xfe ");
  CHECK((*entries)[1].size_bytes == 5);
  CHECK((*entries)[2].kind == FileEntry::Kind::kOther);
  CHECK((*entries)[3].kind == FileEntry::Kind::kDirectory);
  CHECK(*f.files->Read("\xff\xfe", 0, 10) == "bytes");
  CHECK(f.files->List(".", 2)->size() == 2);
  CHECK(f.files->List("sub/", 100)->at(0).path == "sub/b.txt");
  CHECK(f.files->List("a.txt", 10).status().code() == StatusCode::kNotFound);
}

TEST_CASE("RenamesAndDeletionsWhileReadingNeverLeakTheOutside") {
  const Fixture f;
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    const std::string victim = f.temp.File("root/swap");
    while (!stop) {
      unlink(victim.c_str());
      symlink("../outside/secret.txt", victim.c_str());
      unlink(victim.c_str());
      f.temp.Write("root/swap", "fine");
    }
  });
  int served = 0;
  for (int i = 0; i < 3000; ++i) {
    const Result<std::string> read = f.files->Read("swap", 0, 100);
    if (!read.ok()) continue;
    ++served;
    CHECK((*read == "fine" || read->empty()));
  }
  stop = true;
  swapper.join();
  INFO("served " << served << " of 3000");
  SUCCEED();
}

TEST_CASE("OpenSaysWhatIsWrong") {
  const Fixture f;
  CHECK(Workspace::Open(f.temp.File("nothing")).status().code() == StatusCode::kNotFound);
  CHECK(Workspace::Open(f.temp.File("root/a.txt")).status().code() == StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baleen
