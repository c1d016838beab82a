// Where the server listens, who gets in, and what a second server does.

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "runtime/grpc/listener.h"
#include "tests/grpc/fixture.h"

namespace baleen {
namespace {

Result<std::unique_ptr<Server>> StartAt(const std::string& listen, Runtime* runtime) {
  ServerOptions options;
  options.listen = {listen};
  return Server::Start(options, runtime);
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un out = {};
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path, path.data(), path.size());
  return out;
}

int Bound(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = AddressOf(path);
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return fd;
}

/// Connects and returns what the server says first: bytes read, 0 = it hung up.
ssize_t FirstBytes(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = AddressOf(path);
  ssize_t got = -1;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    char buffer[64];
    got = read(fd, buffer, sizeof(buffer));
  }
  close(fd);
  return got;
}

mode_t ModeOf(const std::string& path) {
  struct stat state = {};
  REQUIRE(stat(path.c_str(), &state) == 0);
  return state.st_mode & 07777;
}

TEST_CASE("The socket and its folder are for this user only, and go away at Shutdown") {
  Fixture f;
  const std::string path = f.folder.File("run/baleen.sock");
  CHECK(f.address() == "unix:" + path);
  CHECK(ModeOf(f.folder.File("run")) == 0700);
  CHECK(ModeOf(path) == 0600);
  f.server->Shutdown();
  CHECK_FALSE(std::filesystem::exists(path));
  f.server->Shutdown();  // twice is fine
}

TEST_CASE("A second server on the same socket is refused and the first goes on") {
  Fixture f;
  const auto second = StartAt(f.address(), &f.runtime);
  CHECK(second.status().code() == StatusCode::kFailedPrecondition);
  CHECK(second.status().reason() == "ADDRESS_IN_USE");
  CHECK(f.remote->Stats().ok());
  CHECK(f.Connect()->Stats().ok());
}

TEST_CASE("A program that listens without our lock is respected too") {
  const TempDirectory folder;
  FakeRuntime runtime;
  const std::string path = folder.File("x.sock");
  const int fd = Bound(path);
  REQUIRE(listen(fd, 1) == 0);
  CHECK(StartAt("unix:" + path, &runtime).status().reason() == "ADDRESS_IN_USE");
  CHECK(std::filesystem::exists(path));
  close(fd);  // now the file is stale
  const auto server = StartAt("unix:" + path, &runtime);
  INFO(server.status().ToString());
  CHECK(server.ok());
}

TEST_CASE("A socket file that a crash left is replaced") {
  const TempDirectory folder;
  FakeRuntime runtime;
  close(Bound(folder.File("x.sock")));
  const auto server = StartAt("unix:" + folder.File("x.sock"), &runtime);
  INFO(server.status().ToString());
  REQUIRE(server.ok());
  CHECK((*ConnectRuntime((*server)->addresses()[0]))->Stats().ok());
}

TEST_CASE("A file that is no socket is never removed") {
  const TempDirectory folder;
  FakeRuntime runtime;
  std::ofstream(folder.File("x.sock")) << "precious";
  CHECK(StartAt("unix:" + folder.File("x.sock"), &runtime).status().reason() == "ADDRESS_IN_USE");
  CHECK(std::filesystem::file_size(folder.File("x.sock")) == 8);
}

TEST_CASE("A folder that others can write is refused") {
  const TempDirectory folder;
  FakeRuntime runtime;
  const std::string shared = folder.File("shared");
  REQUIRE(mkdir(shared.c_str(), 0700) == 0);
  REQUIRE(chmod(shared.c_str(), 0777) == 0);
  CHECK(StartAt("unix:" + shared + "/x.sock", &runtime).status().code() ==
        StatusCode::kPermissionDenied);
  CHECK_FALSE(std::filesystem::exists(shared + "/x.sock"));
}

TEST_CASE("Addresses that can't work say why") {
  const TempDirectory folder;
  FakeRuntime runtime;
  for (const char* address :
       {"", "x", "unix:", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:1x", "example.org:1"}) {
    INFO(address);
    CHECK(Listener::Bind(address).status().code() == StatusCode::kInvalidArgument);
  }
  CHECK(StartAt("unix:" + folder.File(std::string(200, 'x')), &runtime).status().code() ==
        StatusCode::kInvalidArgument);
  CHECK(StartAt("unix:" + folder.File("no/such/x.sock"), &runtime).status().code() ==
        StatusCode::kNotFound);
}

TEST_CASE("A port that is taken is refused") {
  const auto first = Listener::Bind("127.0.0.1:0");
  REQUIRE(first.ok());
  CHECK((*first)->address().starts_with("127.0.0.1:"));
  CHECK((*first)->address() != "127.0.0.1:0");
  CHECK(Listener::Bind((*first)->address()).status().reason() == "ADDRESS_IN_USE");
}

TEST_CASE("ConnectRuntime says at once that nobody listens") {
  const TempDirectory folder;
  const auto none = ConnectRuntime("unix:" + folder.File("x.sock"), {.connect_ms_max = 600'000});
  CHECK(none.status().code() == StatusCode::kUnavailable);
  CHECK(none.status().reason() == "NOT_LISTENING");
  CHECK(ConnectRuntime("nonsense").status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("Peers of another user are hung up on") {
  Fixture f;
  const std::string path = f.folder.File("run/baleen.sock");
  CHECK(FirstBytes(path) > 0);  // HTTP/2 settings
  if (geteuid() != 0) {
    WARN("SKIP: only root can play another user");
    return;
  }
  // As if the modes had failed to protect.
  REQUIRE(chmod(f.folder.path().c_str(), 0755) == 0);
  REQUIRE(chmod(f.folder.File("run").c_str(), 0755) == 0);
  REQUIRE(chmod(path.c_str(), 0666) == 0);
  ssize_t got = -1;
  std::thread other([&] {
    // The bare system call changes this thread only; glibc's setresuid changes all.
    if (syscall(SYS_setresuid, 65534, 65534, 65534) == 0) got = FirstBytes(path);
  });
  other.join();
  CHECK(got == 0);
}

}  // namespace
}  // namespace baleen
