// One server over a Unix socket in a folder of its own, and a client of it.
#pragma once

#include <catch2/catch.hpp>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/grpc/client.h"
#include "runtime/grpc/server.h"
#include "tests/grpc/fake_runtime.h"
#include "tests/testing/temp_directory.h"

namespace baleen {

struct Fixture {
  explicit Fixture(ServerOptions options = {}) {
    if (options.listen.empty()) options.listen = {"unix:" + folder.File("run/baleen.sock")};
    auto started = Server::Start(options, &runtime);
    INFO(started.status().ToString());
    REQUIRE(started.ok());
    server = std::move(started).value();
    remote = Connect();
  }
  std::unique_ptr<Runtime> Connect() const {
    auto connected = ConnectRuntime(address());
    INFO(connected.status().ToString());
    REQUIRE(connected.ok());
    return std::move(connected).value();
  }
  const std::string& address() const { return server->addresses()[0]; }
  std::string NewSession(const std::string& id) {
    CreateSessionRequest request;
    request.session = id;
    const auto made = runtime.CreateSession(request);
    REQUIRE(made.ok());
    return made->session;
  }

  TempDirectory folder;
  FakeRuntime runtime;
  std::unique_ptr<Server> server;
  std::unique_ptr<Runtime> remote;
};

/// Collects events; can be made to block in OnEvent, as a slow reader does.
class Recorder final : public EventSubscriber {
 public:
  bool OnEvent(const Event& event) override {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !blocked_; });
    events_.push_back(event);
    changed_.notify_all();
    return true;
  }
  void OnEnd(const Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_ = status;
    changed_.notify_all();
  }
  void Block(bool on) {
    const std::lock_guard<std::mutex> lock(mutex_);
    blocked_ = on;
    changed_.notify_all();
  }
  std::vector<Event> WaitFor(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return events_.size() >= count || end_.has_value(); });
    return events_;
  }
  Status WaitForEnd() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return end_.has_value(); });
    return *end_;
  }
  std::vector<Event> events() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return events_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool blocked_ = false;
  std::vector<Event> events_;
  std::optional<Status> end_;
};

}  // namespace baleen
