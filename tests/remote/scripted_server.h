// ScriptedServer: an HTTP server of a test, which answers as its script says, faults included.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/testing/test_paths.h"
#include "tools_sdk/file_descriptor.h"

namespace baleen {

/// What one request is answered with.
struct ScriptedReply {
  int status = 200;
  std::string type = "text/event-stream; charset=utf-8";
  std::vector<std::string> headers;
  std::string body;
  size_t piece_bytes = 4096;           ///< Of the body, per write and HTTP chunk.
  size_t cut_at = std::string::npos;   ///< The connection ends after so many bytes, head included.
  size_t stop_at = std::string::npos;  ///< Nothing more is sent after so many; it stays open.
  bool forever = false;                ///< The body again and again.
};

struct SeenRequest {
  std::string head;
  std::string body;
};

/// Threads: one per connection; the script and what was seen under a lock.
class ScriptedServer {
 public:
  ScriptedServer() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    const bool bound =
        bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
        listen(listener_.get(), 64) == 0 &&
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0;
    port_ = bound ? ntohs(address.sin_port) : 0;
    thread_ = std::thread([this] { Accept(); });
  }
  ~ScriptedServer() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
      changed_.notify_all();
    }
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    for (std::thread& worker : workers_) worker.join();
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1"; }

  /// For the next request that nothing was said for. The last one of a script goes on for ever.
  void Then(ScriptedReply reply) {
    const std::lock_guard<std::mutex> lock(mutex_);
    script_.push_back(std::move(reply));
  }
  void Clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    script_.clear();
    seen_.clear();
  }
  std::vector<SeenRequest> seen() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return seen_;
  }
  bool WaitForRequests(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return seen_.size() >= count; });
  }

 private:
  void Accept() {
    while (true) {
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stop_ || fd < 0) {
        if (fd >= 0) close(fd);
        return;
      }
      open_.push_back(fd);
      workers_.emplace_back([this, fd] { Serve(fd); });
    }
  }

  void Serve(int fd) {
    SeenRequest request;
    if (ReadRequest(fd, &request)) {
      ScriptedReply reply;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        seen_.push_back(request);
        if (!script_.empty()) reply = script_.front();
        if (script_.size() > 1) script_.pop_front();
        changed_.notify_all();
      }
      Answer(fd, reply);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase(open_, fd);
    close(fd);
  }

  static bool ReadRequest(int fd, SeenRequest* request) {
    std::string bytes;
    size_t head = std::string::npos;
    size_t length = 0;
    char piece[16384];
    while (head == std::string::npos || bytes.size() < head + length) {
      const ssize_t got = recv(fd, piece, sizeof(piece), 0);
      if (got <= 0) return false;
      bytes.append(piece, static_cast<size_t>(got));
      if (head != std::string::npos) continue;
      const size_t end = bytes.find("\r\n\r\n");
      if (end == std::string::npos) continue;
      head = end + 4;
      const size_t at = bytes.find("Content-Length: ");
      if (at < end) length = std::stoul(bytes.substr(at + 16));
    }
    request->head = bytes.substr(0, head);
    request->body = bytes.substr(head, length);
    return true;
  }

  /// What goes over the wire, as far as the reply lets it.
  struct Wire {
    int fd;
    const ScriptedReply& reply;
    size_t sent = 0;

    /// false: that was all.
    bool Send(std::string_view bytes) {
      const size_t most = std::min(reply.cut_at, reply.stop_at);
      bytes = bytes.substr(0, most - std::min(most, sent));
      sent += bytes.size();
      while (!bytes.empty()) {
        const ssize_t put = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (put <= 0) return false;
        bytes.remove_prefix(static_cast<size_t>(put));
      }
      return sent < most;
    }
  };

  void Answer(int fd, const ScriptedReply& reply) {
    Wire wire{fd, reply};
    std::string head = "HTTP/1.1 " + std::to_string(reply.status) +
                       " Said\r\nContent-Type: " + reply.type +
                       "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
    for (const std::string& header : reply.headers) head += header + "\r\n";
    bool more = wire.Send(head + "\r\n");
    do {
      std::string_view body = reply.body;
      while (more && !body.empty()) {
        const std::string_view piece = body.substr(0, reply.piece_bytes);
        body.remove_prefix(piece.size());
        char size[32];
        std::snprintf(size, sizeof(size), "%zx\r\n", piece.size());
        more = wire.Send(size + std::string(piece) + "\r\n");
      }
    } while (more && reply.forever);
    if (more) wire.Send("0\r\n\r\n");
    if (!more && wire.sent >= reply.stop_at) WaitForPeer(fd);
  }

  /// Until the peer, or the test, has enough.
  static void WaitForPeer(int fd) {
    char ignored[256];
    while (recv(fd, ignored, sizeof(ignored), 0) > 0) {
    }
  }

  FileDescriptor listener_;
  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::vector<int> open_;
  std::deque<ScriptedReply> script_;
  std::vector<SeenRequest> seen_;
  std::thread thread_;
  std::vector<std::thread> workers_;  // grown by thread_ alone
};

}  // namespace baleen
