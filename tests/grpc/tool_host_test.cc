// ToolHost.Serve: calls down, results up, and hosts that misbehave or vanish.

#include <baleen/v1/tool_host.grpc.pb.h>

#include "tests/grpc/fixture.h"
#include "tests/grpc/raw_call.h"

namespace baleen {
namespace {

struct RecordingSink final : ToolHostSink {
  bool OnCall(const std::string& session, const ToolCall& call, int64_t timeout_ms) override {
    const std::lock_guard<std::mutex> lock(mutex);
    seen.push_back(session + " " + call.id + " " + call.name + " " + call.arguments + " " +
                   std::to_string(timeout_ms));
    changed.notify_all();
    return !refuse;
  }
  void OnCancel(const std::string& session, const std::string& call_id) override {
    const std::lock_guard<std::mutex> lock(mutex);
    seen.push_back(session + " cancel " + call_id);
    changed.notify_all();
  }
  std::vector<std::string> WaitFor(size_t count) {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return seen.size() >= count; });
    return seen;
  }
  bool refuse = false;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> seen;
};

struct RawHost {
  explicit RawHost(const Fixture& f)
      : stub(v1::ToolHost::NewStub(RawChannel(f.address()))), stream(stub->Serve(&context)) {}
  void Register(const std::string& session, const std::vector<std::string>& tools) {
    v1::ServeRequest request;
    request.mutable_register_()->set_session(session);
    for (const std::string& tool : tools) request.mutable_register_()->add_tools(tool);
    stream->Write(request);
  }
  v1::ServeResponse Read() {
    v1::ServeResponse response;
    stream->Read(&response);
    return response;
  }
  grpc::Status End() {
    v1::ServeResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }
  std::unique_ptr<v1::ToolHost::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ServeRequest, v1::ServeResponse>> stream;
};

TEST_CASE("A host gets calls and cancels, and its results arrive with their outcome") {
  Fixture f;
  f.NewSession("s");
  RecordingSink sink;
  auto host = f.remote->ConnectToolHost("s", {"add"}, &sink);
  REQUIRE(host.ok());
  REQUIRE(f.runtime.CallTool("s", {"c1", "add", "{\"x\":1}"}));
  CHECK(sink.WaitFor(1).at(0) == "s c1 add {\"x\":1} 1234");
  int number = 1;
  for (const ToolOutcome outcome :
       {ToolOutcome::kOk, ToolOutcome::kError, ToolOutcome::kDenied, ToolOutcome::kTimeout,
        ToolOutcome::kAborted, ToolOutcome::kUnknown}) {
    const std::string id = "c" + std::to_string(number++);
    REQUIRE(f.runtime.CallTool("s", {id, "add", "{}"}));
    CHECK((*host)->SubmitResult("s", {id, outcome, "text \xC3\xBC", 99}).ok());
    CHECK(f.runtime.results.back().call_id == id);
    CHECK(f.runtime.results.back().outcome == outcome);
    CHECK(f.runtime.results.back().content == "text \xC3\xBC");
    CHECK(f.runtime.results.back().content_bytes == 99);
  }
  f.runtime.CancelCall("s", "c9");
  CHECK(sink.WaitFor(8).back() == "s cancel c9");
}

TEST_CASE("A result for a call that isn't open is refused and the host goes on") {
  Fixture f;
  f.NewSession("s");
  RecordingSink sink;
  auto host = f.remote->ConnectToolHost("s", {"add"}, &sink);
  REQUIRE(host.ok());
  const Status unknown = (*host)->SubmitResult("s", {"nope", ToolOutcome::kOk, "", 0});
  CHECK(unknown.code() == StatusCode::kNotFound);
  CHECK(unknown.reason() == "CALL_UNKNOWN");
  CHECK((*host)->SubmitResult("t", {"c1", ToolOutcome::kOk, "", 0}).reason() == "BAD_FIELD");
  REQUIRE(f.runtime.CallTool("s", {"c1", "add", "{}"}));
  CHECK((*host)->SubmitResult("s", {"c1", ToolOutcome::kOk, "", 0}).ok());
  CHECK((*host)->SubmitResult("s", {"c1", ToolOutcome::kOk, "", 0}).code() ==
        StatusCode::kNotFound);
}

TEST_CASE("A host that vanishes is disconnected, and its successor gets the calls") {
  Fixture f;
  f.NewSession("s");
  RecordingSink first;
  auto host = f.remote->ConnectToolHost("s", {"add"}, &first);
  REQUIRE(host.ok());
  REQUIRE(f.runtime.CallTool("s", {"c1", "add", "{}"}));
  first.WaitFor(1);
  *host = nullptr;
  f.runtime.WaitUntil([&] { return f.runtime.hosts == 0; });
  CHECK_FALSE(f.runtime.CallTool("s", {"c1", "add", "{}"}));
  RecordingSink second;
  host = f.remote->ConnectToolHost("s", {"add"}, &second);
  REQUIRE(host.ok());
  REQUIRE(f.runtime.CallTool("s", {"c1", "add", "{}"}));
  CHECK(second.WaitFor(1).size() == 1);
}

TEST_CASE("A sink that says no is gone for the runtime") {
  Fixture f;
  f.NewSession("s");
  RecordingSink sink;
  sink.refuse = true;
  auto host = f.remote->ConnectToolHost("s", {"add"}, &sink);
  REQUIRE(host.ok());
  f.runtime.CallTool("s", {"c1", "add", "{}"});
  f.runtime.WaitUntil([&] { return f.runtime.hosts == 0; });
  CHECK((*host)->SubmitResult("s", {"c1", ToolOutcome::kOk, "", 0}).code() ==
        StatusCode::kUnavailable);
}

TEST_CASE("A host that breaks the protocol is ended with the reason") {
  Fixture f;
  f.NewSession("s");
  SECTION("unknown session") {
    RecordingSink sink;
    CHECK(f.remote->ConnectToolHost("no", {"add"}, &sink).status().reason() == "SESSION_UNKNOWN");
  }
  SECTION("no tools") {
    RecordingSink sink;
    CHECK(f.remote->ConnectToolHost("s", {}, &sink).status().reason() == "BAD_FIELD");
    CHECK(f.remote->ConnectToolHost("s", {""}, &sink).status().reason() == "BAD_FIELD");
  }
  SECTION("result first") {
    RawHost host(f);
    v1::ServeRequest request;
    request.mutable_result()->set_call_id("c1");
    host.stream->Write(request);
    CHECK(host.End().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  }
  SECTION("empty message") {
    RawHost host(f);
    host.stream->Write(v1::ServeRequest());
    CHECK(host.End().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  }
  SECTION("registered twice") {
    RawHost host(f);
    host.Register("sessions/s", {"add"});
    CHECK(host.Read().registered().tools(0) == "add");
    host.Register("sessions/s", {"add"});
    CHECK(host.End().error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  }
  SECTION("half-close is a goodbye") {
    RawHost host(f);
    host.Register("sessions/s", {"add"});
    CHECK(host.Read().has_registered());
    host.stream->WritesDone();
    CHECK(host.End().ok());
  }
  f.runtime.WaitUntil([&] { return f.runtime.hosts == 0; });
  CHECK(f.remote->Stats().ok());
}

TEST_CASE("A host that doesn't read its calls is ended, not buffered for ever") {
  Fixture f;
  f.NewSession("s");
  RawHost host(f);
  host.Register("sessions/s", {"add"});
  REQUIRE(host.Read().has_registered());
  int sent = 0;
  const std::string arguments(10'000, ' ');
  while (f.runtime.CallTool("s", {"c" + std::to_string(sent), "add", arguments})) {
    REQUIRE(++sent < 20'000);
  }
  const grpc::Status end = host.End();
  CHECK(end.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace baleen
