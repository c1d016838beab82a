// Long work that its caller doesn't wait for: begun, followed, stopped, and what came of it.
#include <baleen/v1/admin.grpc.pb.h>
#include <google/longrunning/operations.grpc.pb.h>

#include <atomic>
#include <thread>

#include "runtime/grpc/wire_status.h"
#include "tests/grpc/fixture.h"
#include "tests/grpc/grants.h"

namespace baleen {
namespace {

using google::longrunning::Operation;
using google::longrunning::Operations;

/// Exports don't end before Open, unless they are cancelled.
class Gate {
 public:
  Status Pass(const PortProgress& progress) {
    ++entered_;
    while (!open_) {
      if (!progress(30, 100)) return CancelledError("stopped");
      std::this_thread::yield();
    }
    return OkStatus();
  }
  void Open() { open_ = true; }
  void AwaitEntered(int times) const {
    while (entered_ < times) std::this_thread::yield();
  }

 private:
  std::atomic<bool> open_ = false;
  std::atomic<int> entered_ = 0;
};

struct Rig : Fixture {
  explicit Rig(ServerOptions options = {}) : Fixture(std::move(options)) {
    NewSession("s");
    runtime.on_export = [this](const std::string&, const PortProgress& progress) {
      return gate.Pass(progress);
    };
    Use(grpc::CreateChannel(address(), grpc::experimental::LocalCredentials(UDS)));
  }
  void Use(const std::shared_ptr<grpc::Channel>& channel) {
    admin = v1::Admin::NewStub(channel);
    operations = Operations::NewStub(channel);
  }

  Status Start(const std::string& path, Operation* out, const std::string& request_id = "") {
    v1::StartOperationRequest request;
    request.mutable_export_session()->set_name("sessions/s");
    request.mutable_export_session()->set_path(path);
    request.set_request_id(request_id);
    grpc::ClientContext context;
    return wire::FromGrpc(admin->StartOperation(&context, request, out));
  }
  template <typename Request, typename Method, typename Response>
  Status Ask(Method method, const std::string& name, Response* response) {
    Request request;
    request.set_name(name);
    grpc::ClientContext context;
    return wire::FromGrpc((operations.get()->*method)(&context, request, response));
  }
  Status Get(const std::string& name, Operation* out) {
    return Ask<google::longrunning::GetOperationRequest>(&Operations::Stub::GetOperation, name,
                                                         out);
  }
  Status Wait(const std::string& name, Operation* out) {
    return Ask<google::longrunning::WaitOperationRequest>(&Operations::Stub::WaitOperation, name,
                                                          out);
  }
  Status Cancel(const std::string& name) {
    google::protobuf::Empty nothing;
    return Ask<google::longrunning::CancelOperationRequest>(&Operations::Stub::CancelOperation,
                                                            name, &nothing);
  }
  Status Delete(const std::string& name) {
    google::protobuf::Empty nothing;
    return Ask<google::longrunning::DeleteOperationRequest>(&Operations::Stub::DeleteOperation,
                                                            name, &nothing);
  }
  std::vector<std::string> List(int page_size = 0) {
    std::vector<std::string> names;
    google::longrunning::ListOperationsRequest request;
    request.set_page_size(page_size);
    do {
      grpc::ClientContext context;
      google::longrunning::ListOperationsResponse page;
      REQUIRE(operations->ListOperations(&context, request, &page).ok());
      for (const Operation& operation : page.operations()) names.push_back(operation.name());
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    return names;
  }

  Gate gate;
  std::unique_ptr<v1::Admin::Stub> admin;
  std::unique_ptr<Operations::Stub> operations;
};

v1::OperationMetadata MetadataOf(const Operation& operation) {
  v1::OperationMetadata metadata;
  REQUIRE(operation.metadata().UnpackTo(&metadata));
  return metadata;
}

}  // namespace

TEST_CASE("An operation is answered at once, followed, and keeps what came of it") {
  Rig rig;
  Operation first, second, seen;
  REQUIRE(rig.Start("/a", &first, "r1").ok());
  CHECK_FALSE(first.done());
  CHECK(first.name().starts_with("operations/"));
  rig.gate.AwaitEntered(1);
  REQUIRE(rig.Start("/b", &second).ok());
  // The same request again is the same operation, and no third one.
  REQUIRE(rig.Start("/a", &seen, "r1").ok());
  CHECK(seen.name() == first.name());
  CHECK(rig.List() == std::vector<std::string>{second.name(), first.name()});
  CHECK(rig.List(1) == std::vector<std::string>{second.name(), first.name()});

  REQUIRE(rig.Get(second.name(), &seen).ok());
  CHECK(MetadataOf(seen).verb() == "ExportSession");
  CHECK(MetadataOf(seen).has_create_time());
  CHECK_FALSE(MetadataOf(seen).has_start_time());  // the first works
  REQUIRE(rig.Get(first.name(), &seen).ok());
  CHECK(MetadataOf(seen).has_start_time());
  CHECK(rig.Delete(first.name()).reason() == "OPERATION_RUNNING");
  // Who waits for his work in the RPC doesn't get between.
  CHECK(rig.remote->Backup("/c").status().reason() == "UPKEEP_RUNNING");

  rig.gate.Open();
  REQUIRE(rig.Wait(first.name(), &seen).ok());
  REQUIRE(seen.done());
  CHECK(MetadataOf(seen).done() == 30);
  CHECK(MetadataOf(seen).total() == 100);
  CHECK(MetadataOf(seen).has_end_time());
  v1::ExportSessionResponse response;
  REQUIRE(seen.response().UnpackTo(&response));
  CHECK(response.path() == "/a");
  REQUIRE(rig.Wait(second.name(), &seen).ok());
  CHECK(seen.done());
  REQUIRE(rig.Delete(first.name()).ok());
  CHECK(rig.Get(first.name(), &seen).reason() == "OPERATION_UNKNOWN");
  CHECK(rig.List() == std::vector<std::string>{second.name()});
}

TEST_CASE("An operation that is cancelled, working or waiting, ends as such") {
  Rig rig;
  Operation first, second, seen;
  REQUIRE(rig.Start("/a", &first).ok());
  REQUIRE(rig.Start("/b", &second).ok());
  rig.gate.AwaitEntered(1);
  REQUIRE(rig.Cancel(second.name()).ok());
  REQUIRE(rig.Cancel(first.name()).ok());
  for (const Operation& operation : {first, second}) {
    REQUIRE(rig.Wait(operation.name(), &seen).ok());
    REQUIRE(seen.done());
    CHECK(MetadataOf(seen).cancel_requested());
    CHECK(wire::FromRpc(seen.error()).code() == StatusCode::kCancelled);
  }
  CHECK(MetadataOf(seen).has_start_time() == false);
  // What is over can be cancelled no more, and isn't changed by it.
  rig.gate.Open();
  REQUIRE(rig.Start("/c", &seen).ok());
  REQUIRE(rig.Wait(seen.name(), &seen).ok());
  REQUIRE(rig.Cancel(seen.name()).ok());
  CHECK(seen.has_response());
}

TEST_CASE("A client's export shows progress, and stops when its caller says so") {
  Rig rig;
  int64_t done = 0, total = 0;
  const auto stopped = rig.remote->ExportSession("s", "/a", [&](int64_t now, int64_t all) {
    done = now;
    total = all;
    return done == 0;
  });
  CHECK(stopped.status().code() == StatusCode::kCancelled);
  CHECK(done == 30);
  CHECK(total == 100);
  rig.gate.Open();
  CHECK(rig.remote->ExportSession("s", "/b", {}).ok());
  // What is wrong with the work is its error, with its reason.
  CHECK(rig.remote->ExportSession("none", "/b", {}).status().reason() == "SESSION_UNKNOWN");
  CHECK(rig.remote->ExportSession("s", "b", {}).status().reason() == "BAD_FIELD");
}

TEST_CASE("Operations that nobody may begin or that nobody knows are refused") {
  Rig rig(WithClients({GrantOf("reader", {"sessions.read", "sessions.write"})}));
  Operation operation;
  grpc::ClientContext context;
  CHECK(wire::FromGrpc(rig.admin->StartOperation(&context, {}, &operation)).reason() ==
        "BAD_FIELD");
  for (const std::string& name :
       {std::string(), std::string("operations/1-1"), std::string(70'000, 'x')}) {
    CHECK(rig.Get(name, &operation).reason() == "OPERATION_UNKNOWN");
    CHECK(rig.Wait(name, &operation).reason() == "OPERATION_UNKNOWN");
    CHECK(rig.Cancel(name).reason() == "OPERATION_UNKNOWN");
    CHECK(rig.Delete(name).reason() == "OPERATION_UNKNOWN");
  }
  // As many as may wait, and one more.
  Status status;
  int begun = 0;
  for (; begun < 100; ++begun) {
    status = rig.Start("/a", &operation);
    if (!status.ok()) break;
  }
  CHECK(begun == 16);
  CHECK(status.reason() == "OPERATIONS_WAITING");

  rig.Use(TokenChannel(rig.address(), "reader"));
  CHECK(rig.Start("/a", &operation).reason() == "SCOPE_MISSING");
  CHECK(rig.Get("operations/1", &operation).reason() == "SCOPE_MISSING");
  // They are stopped when the server is, which doesn't wait for the gate.
  rig.server->Shutdown();
}

}  // namespace baleen
