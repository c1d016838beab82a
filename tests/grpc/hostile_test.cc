// Bytes that no client of ours sends, health, reflection, drain, and calls that outlive their
// client.

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>
#include <semaphore>
#include <thread>

#include "tests/grpc/fixture.h"
#include "tests/grpc/raw_call.h"

namespace baleen {
namespace {

// The last one removes the session that the others speak of.
constexpr const char* kMethods[] = {"/baleen.v1.Sessions/CreateSession",
                                    "/baleen.v1.Sessions/GetSession",
                                    "/baleen.v1.Sessions/ListSessions",
                                    "/baleen.v1.Sessions/VerifySession",
                                    "/baleen.v1.Sessions/ReadTokens",
                                    "/baleen.v1.Turns/StartTurn",
                                    "/baleen.v1.Turns/GetTurn",
                                    "/baleen.v1.Turns/CancelTurn",
                                    "/baleen.v1.Events/WatchEvents",
                                    "/baleen.v1.ToolHost/Serve",
                                    "/baleen.v1.Admin/GetStats",
                                    "/baleen.v1.Sessions/UpdateSession",
                                    "/baleen.v1.Admin/GetTenant",
                                    "/baleen.v1.Sessions/ForkSession",
                                    "/baleen.v1.Sessions/RewindSession",
                                    "/baleen.v1.Sessions/PinSession",
                                    "/baleen.v1.Sessions/SearchSessions",
                                    "/baleen.v1.Sessions/ExplainSession",
                                    "/baleen.v1.Admin/Backup",
                                    "/baleen.v1.Admin/Compact",
                                    "/baleen.v1.Admin/PruneSessions",
                                    "/baleen.v1.Admin/ListNotes",
                                    "/baleen.v1.Admin/DeleteNote",
                                    "/baleen.v1.Sessions/PrefetchSession",
                                    "/baleen.v1.Sessions/ReleaseSession",
                                    "/baleen.v1.Admin/ExportSession",
                                    "/baleen.v1.Admin/ImportSession",
                                    "/baleen.v1.Admin/StartOperation",
                                    "/baleen.v1.Approvals/ExplainDecision",
                                    "/baleen.v1.Scripts/PutScript",
                                    "/baleen.v1.Scripts/GetScript",
                                    "/baleen.v1.Scripts/ListScripts",
                                    "/baleen.v1.Scripts/DeleteScript",
                                    "/google.longrunning.Operations/ListOperations",
                                    "/google.longrunning.Operations/GetOperation",
                                    "/google.longrunning.Operations/WaitOperation",
                                    "/google.longrunning.Operations/CancelOperation",
                                    "/google.longrunning.Operations/DeleteOperation",
                                    "/baleen.v1.Sessions/DeleteSession"};

/// Serving status as in health.proto: 1 SERVING, 2 NOT_SERVING; 0: no answer.
int Health(const std::string& address) {
  grpc::Status status;
  const std::string answer =
      RawCall(RawChannel(address), "/grpc.health.v1.Health/Check", "", &status);
  return answer.size() == 2 && answer[0] == 8 ? answer[1] : 0;
}

TEST_CASE("Random bytes in every method leave the server standing") {
  Fixture f;
  f.NewSession("s");
  const auto channel = RawChannel(f.address());
  constexpr unsigned kSeed = 20'260'801;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  for (const char* method : kMethods) {
    CAPTURE(method);
    int refused = 0;
    for (int round = 0; round < 60; ++round) {
      std::string bytes(random() % 80, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      // Half of them with a valid first field, so that they get past the parser more often.
      if (round % 2 == 0) bytes = std::string("\x0A\x0Asessions/s") + bytes;
      grpc::Status status;
      RawCall(channel, method, bytes, &status);
      if (!status.ok()) ++refused;
      REQUIRE(status.error_code() != grpc::StatusCode::UNAVAILABLE);
      REQUIRE(status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED);
    }
    CHECK(refused > 0);
  }
  grpc::Status status;
  RawCall(channel, "/baleen.v1.Sessions/NoSuchMethod", "", &status);
  CHECK(status.error_code() == grpc::StatusCode::UNIMPLEMENTED);
  CHECK(f.remote->Stats().ok());
}

TEST_CASE("Connections that don't speak HTTP/2 or stop half way don't disturb others") {
  Fixture f;
  std::mt19937 random(7);
  const std::string path = f.address().substr(5);
  std::vector<int> open;
  for (int i = 0; i < 50; ++i) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    std::string bytes = i % 2 == 0 ? "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" : "";
    for (int j = 0; j < i * 10; ++j) bytes.push_back(static_cast<char>(random()));
    CHECK(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0);
    open.push_back(fd);
  }
  CHECK(f.Connect()->Stats().ok());
  for (const int fd : open) close(fd);
  CHECK(f.remote->Stats().ok());
}

TEST_CASE("Reflection lists every service") {
  Fixture f;
  grpc::Status status;
  // ServerReflectionRequest.list_services = "*"
  const std::string answer = RawCall(
      RawChannel(f.address()), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      "\x3A\x01*", &status);
  for (const char* service : {"baleen.v1.Sessions", "baleen.v1.Turns", "baleen.v1.Events",
                              "baleen.v1.ToolHost", "baleen.v1.Admin", "grpc.health.v1.Health"}) {
    INFO(service);
    CHECK(answer.find(service) != std::string::npos);
  }
}

TEST_CASE("Drain: health turns and new work is refused; open streams go on until Shutdown") {
  Fixture f;
  f.NewSession("s");
  struct NoSink final : ToolHostSink {
    bool OnCall(const std::string&, const ToolCall&, int64_t) override { return true; }
    void OnCancel(const std::string&, const std::string&) override {}
  } sink;
  Recorder recorder;
  const auto watch = f.remote->Watch({"s", "", true}, &recorder);
  const auto host = f.remote->ConnectToolHost("s", {"add"}, &sink);
  REQUIRE(watch.ok());
  REQUIRE(host.ok());
  CHECK(Health(f.address()) == 1);
  f.server->Drain();
  CHECK(Health(f.address()) == 2);
  CHECK(f.remote->StartTurn(TurnOf("s", "x")).status().reason() == "DRAINING");
  CHECK(f.remote->CreateSession({}).status().reason() == "DRAINING");
  Recorder late;
  CHECK(f.remote->Watch({"s", "", true}, &late).status().reason() == "DRAINING");
  CHECK(f.remote->ConnectToolHost("s", {"add"}, &sink).status().reason() == "DRAINING");
  CHECK(f.remote->GetSession("s").ok());
  // A running turn's watcher and its tool host are still there.
  const size_t before = recorder.events().size();
  f.runtime.Publish("s", "t1", "turn_finished", "{}");
  CHECK(recorder.WaitFor(before + 1).back().kind == "turn_finished");
  CHECK(f.runtime.CallTool("s", {"c", "add", "{}"}));
  f.server->Shutdown();
  const Status end = recorder.WaitForEnd();
  CHECK(end.code() == StatusCode::kUnavailable);
  CHECK(end.reason() == "DRAINING");
  f.runtime.WaitUntil([&] { return f.runtime.watches == 0 && f.runtime.hosts == 0; });
  CHECK(f.remote->GetSession("s").status().code() == StatusCode::kUnavailable);
  CHECK((*host)->SubmitResult("s", {"c", ToolOutcome::kOk, "", 0}).code() ==
        StatusCode::kUnavailable);
}

TEST_CASE("Shutdown under load ends every stream and loses no callback") {
  Fixture f;
  f.NewSession("s");
  std::atomic<bool> stop = false;
  std::thread publisher([&] {
    while (!stop) f.runtime.Publish("s", "", "delta", "{}", true);
  });
  std::vector<std::unique_ptr<Recorder>> recorders;
  std::vector<std::unique_ptr<Subscription>> watches;
  for (int i = 0; i < 8; ++i) {
    recorders.push_back(std::make_unique<Recorder>());
    auto watch = f.remote->Watch({"s", "", true}, recorders.back().get());
    REQUIRE(watch.ok());
    watches.push_back(std::move(watch).value());
  }
  for (const auto& recorder : recorders) recorder->WaitFor(10);
  f.server->Shutdown();
  for (const auto& recorder : recorders) CHECK_FALSE(recorder->WaitForEnd().ok());
  f.runtime.WaitUntil([&] { return f.runtime.watches == 0; });
  stop = true;
  publisher.join();
}

TEST_CASE("A deadline that passes doesn't cancel the turn") {
  Fixture f;
  f.NewSession("s");
  std::counting_semaphore<> gate(0);
  f.runtime.on_start_turn = [&](const TurnView&) {
    gate.acquire();  // open once, open for all
    gate.release();
  };
  const auto impatient = ConnectRuntime(f.address(), {.call_ms_max = 50});
  REQUIRE(impatient.ok());
  const auto started = (*impatient)->StartTurn(TurnOf("s", "x"));
  CHECK(started.status().code() == StatusCode::kDeadlineExceeded);
  gate.release();
  CHECK(f.remote->GetTurn("s", "t1")->state == TurnState::kRunning);
}

TEST_CASE("More calls than the queue holds are refused, not piled up") {
  Fixture f({.call_threads = 1, .calls_queued_max = 1});
  f.NewSession("s");
  std::counting_semaphore<> gate(0);
  f.runtime.on_start_turn = [&](const TurnView&) {
    gate.acquire();  // open once, open for all
    gate.release();
  };
  std::atomic<int> overloaded = 0;
  std::vector<std::thread> callers;
  // One runs, one waits: of four, at least two are refused, and the gate opens after that.
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      const auto started = f.remote->StartTurn(TurnOf("s", "x"));
      if (started.status().reason() == "OVERLOADED" && ++overloaded == 2) gate.release();
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(overloaded >= 2);
  CHECK(f.remote->Stats().ok());
}

}  // namespace
}  // namespace baleen
