// CuttingProxy: a Unix socket in front of another one, whose connections break in the middle of
// whatever they carry, after so many bytes as its owner said.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

namespace baleen {

/// One connection at a time, as one client makes them.
class CuttingProxy {
 public:
  /// Both are paths of sockets; `target` listens already.
  CuttingProxy(const std::string& path, const std::string& target)
      : path_(path), target_(target), listener_(Socket()) {
    const sockaddr_un address = Address(path_);
    REQUIRE(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(listen(listener_, 4) == 0);
    thread_ = std::thread([this] { Run(); });
  }
  ~CuttingProxy() {
    stopping_.store(true);
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
    unlink(path_.c_str());
  }
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  std::string address() const { return "unix:" + path_; }
  /// The next connection breaks once the server has sent so many bytes; < 0: never.
  void CutAfter(int64_t bytes) { bytes_.store(bytes); }

 private:
  static int Socket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }
  static sockaddr_un Address(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return address;
  }

  void Run() {
    while (!stopping_.load()) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) continue;
      const int server = Socket();
      const sockaddr_un address = Address(target_);
      const bool connected =
          connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
      if (connected) Carry(client, server, bytes_.load());
      close(server);
      close(client);
    }
  }

  /// Until either end is gone, or `left` bytes of the server's have passed.
  void Carry(int client, int server, int64_t left) const {
    std::array<pollfd, 2> ends = {{{client, POLLIN, 0}, {server, POLLIN, 0}}};
    std::array<char, 4096> buffer;
    while (!stopping_.load() && left != 0) {
      constexpr int kLookMs = 50;  // at stopping_
      if (poll(ends.data(), ends.size(), kLookMs) <= 0) continue;
      if (ends[0].revents != 0) {
        const ssize_t got = read(client, buffer.data(), buffer.size());
        if (got <= 0 || !SendAll(server, buffer.data(), got)) return;
      }
      if (ends[1].revents != 0) {
        const size_t room = left < 0 ? buffer.size() : std::min<size_t>(buffer.size(), left);
        const ssize_t got = read(server, buffer.data(), room);
        if (got <= 0 || !SendAll(client, buffer.data(), got)) return;
        if (left > 0) left -= got;
      }
    }
  }

  static bool SendAll(int to, const char* bytes, ssize_t count) {
    while (count > 0) {
      const ssize_t sent = send(to, bytes, static_cast<size_t>(count), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes += sent;
      count -= sent;
    }
    return true;
  }

  const std::string path_;
  const std::string target_;
  const int listener_;
  std::atomic<int64_t> bytes_ = -1;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace baleen
