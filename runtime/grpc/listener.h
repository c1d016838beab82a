// Listener: the server's own socket. gRPC could listen by itself, but then nobody could ask the
// kernel who the peer is (SO_PEERCRED) before a byte is read, nor decide about a stale socket file.
//
// Accepts, checks the peer, hands the descriptor on. Used by server.cc only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "runtime/grpc/owned_fd.h"
#include "tools_sdk/status.h"

namespace baleen {

class Listener {
 public:
  /// Binds `address` ("unix:PATH", or "HOST:PORT" with a numeric host or localhost).
  /// For a Unix socket, "PATH.lock" is held locked while the listener lives: it decides between two
  /// servers that start at once, and stays behind as an empty file.
  /// Errors: as Server::Start.
  static Result<std::unique_ptr<Listener>> Bind(const std::string& address);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const std::string& address() const { return address_; }
  bool is_unix() const { return lock_.valid(); }
  /// Starts the accepting thread. `take` gets an accepted non-blocking descriptor and owns it.
  void Start(std::function<void(int fd)> take);
  /// Ends the thread, closes the socket, removes its file. Idempotent.
  void Stop();

 private:
  Listener() = default;
  Status BindUnix(const std::string& path);
  Status BindTcp(const std::string& host, const std::string& port);
  Status MakeStopEvent();
  void Accept();
  bool PeerAllowed(int fd) const;

  std::string address_;
  std::string path_;  ///< Of the socket file; empty: TCP.
  OwnedFd lock_;
  OwnedFd socket_;
  OwnedFd stop_event_;
  std::function<void(int)> take_;
  std::thread thread_;
};

}  // namespace baleen
