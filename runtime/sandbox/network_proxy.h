// The only way out of a sandboxed process's network namespace: a proxy of ours, which connects to
// the hosts that its session names and to no other.
//
// The process itself opens a port on its loopback, before it becomes the command, and hands the
// listening socket out: whoever connects to it in there is answered here. The proxy looks names up
// itself, so that the address that was judged is the one that is connected to; it understands
// CONNECT and http://, and nothing of what is said behind that. Called by command jobs and for
// plugins.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/http/address_rules.h"
#include "runtime/sandbox/process_bounds.h"
#include "runtime/worker.h"
#include "tools_sdk/file_descriptor.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Looks names up on threads of its own. Whoever asked need not wait for the answer.
/// Threads: any.
class NameResolver {
 public:
  struct Lookup {
    std::mutex mutex;
    bool done = false;       ///< Under mutex.
    bool abandoned = false;  ///< Under mutex: nobody wants it any more.
    std::vector<IpAddress> addresses;
    std::string error;  ///< Empty: there are addresses.
  };

  /// `wake`, an eventfd, is written to when it is done. Owners of both: the asker and the lookup.
  /// false: too many wait.
  bool Begin(const std::string& host, std::shared_ptr<Lookup> lookup,
             std::shared_ptr<FileDescriptor> wake);

 private:
  static constexpr int kThreads = 4;
  static constexpr size_t kWaitingMax = 256;
  Worker worker_{kThreads, kWaitingMax};
};

/// Serves one process and its children. Threads: one of its own; methods from any.
class NetworkProxy {
 public:
  /// Errors: UNAVAILABLE; NOT_FOUND (baleen-tool-host).
  static Result<std::unique_ptr<NetworkProxy>> Start(std::shared_ptr<const NetworkBounds> bounds);
  /// Ends all connections.
  ~NetworkProxy();
  NetworkProxy(const NetworkProxy&) = delete;
  NetworkProxy& operator=(const NetworkProxy&) = delete;

  /// The socket through which the process hands out its listening one.
  int door() const { return door_there_->get(); }
  /// The process has it now.
  void CloseDoor() { door_there_.reset(); }

  /// baleen-tool-host: it opens the port, and becomes the command.
  const std::string& starter() const { return starter_; }
  bool loopback_outside() const { return bounds_->loopback_outside; }

  /// The first few, one of each kind: "HOST:PORT: why".
  std::vector<std::string> Refusals() const;

 private:
  struct Connection;

  explicit NetworkProxy(std::shared_ptr<const NetworkBounds> bounds);
  void Run();
  void TakeListener();
  void Accept();
  void Step(Connection& connection, int client_events, int server_events);
  void ReadHead(Connection& connection);
  void Judge(Connection& connection);
  void TakeAddresses(Connection& connection);
  void ConnectNext(Connection& connection);
  void Connected(Connection& connection);
  void Pump(Connection& connection, int client_events, int server_events);
  void Farewell(Connection& connection);
  void Linger(Connection& connection);
  void Refuse(Connection& connection, int code, const std::string& why);
  void Decide(const HostDecision& decision);

  const std::shared_ptr<const NetworkBounds> bounds_;
  std::string starter_;
  std::unique_ptr<FileDescriptor> door_here_, door_there_, listener_;
  std::shared_ptr<FileDescriptor> wake_;                  ///< eventfd. Owners: this and lookups.
  std::vector<std::unique_ptr<Connection>> connections_;  ///< Of the thread.
  mutable std::mutex mutex_;
  bool stop_ = false;                  ///< Under mutex_.
  std::vector<std::string> refusals_;  ///< Under mutex_.
  std::thread thread_;
};

}  // namespace baleen
