// Who gets in over TCP and with tokens, what scopes allow, and that each refusal has its code.

#include <baleen/v1/sessions.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/grpc/certificates.h"
#include "tests/grpc/fixture.h"
#include "tests/grpc/grants.h"
#include "tests/grpc/raw_call.h"
#include "tests/testing/test_paths.h"

namespace baleen {
namespace {

/// Every "/baleen.v1.X/Y" that the protos declare.
std::vector<std::string> AllMethods() {
  std::vector<std::string> methods;
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  const std::filesystem::path folder = std::filesystem::path(kSourceDir) / "proto/baleen/v1";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto* file = pool->FindFileByName("baleen/v1/" + entry.path().filename().string());
    INFO(entry.path());
    REQUIRE(file != nullptr);
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j) {
        methods.push_back("/" + file->service(i)->full_name() + "/" +
                          file->service(i)->method(j)->name());
      }
    }
  }
  return methods;
}

/// The ErrorInfo's reason; "" if there is none of ours.
std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo why;
  if (!details.ParseFromString(status.error_details()) || details.details().empty()) return "";
  if (!details.details(0).UnpackTo(&why) || why.domain() != "baleen") return "";
  return why.reason();
}

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_CASE("Every RPC is refused without its scope, and the refusal says which") {
  const Fixture f(WithClients({GrantOf("nothing", {})}));
  const auto channel = TokenChannel(f.address(), "nothing");
  const auto methods = AllMethods();
  REQUIRE(methods.size() > 25);
  for (const std::string& method : methods) {
    CAPTURE(method);
    grpc::Status status;
    RawCall(channel, method, "", &status);
    CHECK(status.error_code() == grpc::StatusCode::PERMISSION_DENIED);
    CHECK(ReasonOf(status) == "SCOPE_MISSING");
    CHECK(status.error_message().find("lacks the scope '") != std::string::npos);
  }
}

TEST_CASE("A scope allows what it names and nothing else") {
  Fixture f(WithClients({GrantOf("reader", {"sessions.read"}), GrantOf("runner", {"turns.run"}),
                         GrantOf("host", {"tools.host"}), GrantOf("keeper", {"admin"})}));
  f.NewSession("s");
  const auto as = [&](const std::string& token) {
    return ConnectRuntime(f.address(), {.token = token});
  };
  const auto reader = as("reader");
  REQUIRE(reader.ok());
  CHECK((*reader)->GetSession("s").ok());
  CHECK((*reader)->StartTurn(TurnOf("s", "x")).status().reason() == "SCOPE_MISSING");
  CHECK((*reader)->CreateSession({}).status().reason() == "SCOPE_MISSING");
  CHECK((*reader)->Stats().status().reason() == "SCOPE_MISSING");
  Recorder recorder;
  CHECK((*reader)->Watch({"s", "", true}, &recorder).ok());
  const auto runner = as("runner");
  CHECK((*runner)->StartTurn(TurnOf("s", "x")).ok());
  CHECK((*runner)->Watch({"s", "", true}, &recorder).status().reason() == "SCOPE_MISSING");
  struct NoSink final : ToolHostSink {
    bool OnCall(const std::string&, const ToolCall&, int64_t) override { return true; }
    void OnCancel(const std::string&, const std::string&) override {}
  } sink;
  CHECK((*as("host"))->ConnectToolHost("s", {"add"}, &sink).ok());
  CHECK((*runner)->ConnectToolHost("s", {"add"}, &sink).status().reason() == "SCOPE_MISSING");
  CHECK((*as("keeper"))->Stats().ok());
  CHECK(f.remote->Stats().ok());  // the owner of the socket may do everything
}

TEST_CASE("Wrong and expired tokens have their codes, on a Unix socket, too") {
  const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  Fixture f(WithClients(
      {GrantOf("old", {"admin"}, now_ms - 1000), GrantOf("young", {"admin"}, now_ms + 3'600'000)}));
  const auto stats = [&](const std::string& token) {
    const auto runtime = ConnectRuntime(f.address(), {.token = token});
    return runtime.ok() ? (*runtime)->Stats().status() : runtime.status();
  };
  CHECK(stats("young").ok());
  CHECK(stats("old").code() == StatusCode::kUnauthenticated);
  CHECK(stats("old").reason() == "TOKEN_EXPIRED");
  for (const char* token : {"wrong", "young ", "youn", "Bearer young"}) {
    INFO(token);
    CHECK(stats(token).code() == StatusCode::kUnauthenticated);
    CHECK(stats(token).reason() == "TOKEN_INVALID");
    CHECK(stats(token).message().find(token) == std::string::npos);
  }
}

TEST_CASE("A TCP port needs TLS and known clients, and the refusal says how to get them") {
  const TempDirectory folder;
  const Authority authority(folder, "a");
  authority.Issue("server");
  FakeRuntime runtime;
  for (const char* address : {"127.0.0.1:0", "0.0.0.0:0", "[::]:0"}) {
    ServerOptions options;
    options.listen = {address};
    Status status = Server::Start(options, &runtime).status();
    CHECK(status.reason() == "AUTHENTICATION_MISSING");
    CHECK(status.message().find("--tls-cert") != std::string::npos);
    CHECK(status.message().find("--clients") != std::string::npos);
    options.tls_certificate_file = authority.certificate_file("server");
    options.tls_key_file = authority.key_file("server");
    status = Server::Start(options, &runtime).status();
    CHECK(status.reason() == "AUTHENTICATION_MISSING");
    CHECK(status.message().find("--tls-cert") == std::string::npos);
  }
}

/// A server on a TLS port whose certificate is authority's.
struct TlsFixture {
  explicit TlsFixture(std::vector<ClientGrant> clients, bool certificates) {
    authority.Issue("server");
    ServerOptions options;
    options.listen = {"127.0.0.1:0", "unix:" + folder.File("run/s")};
    options.tls_certificate_file = authority.certificate_file("server");
    options.tls_key_file = authority.key_file("server");
    if (certificates) options.client_ca_file = authority.ca_file();
    options.clients = std::move(clients);
    auto started = Server::Start(options, &runtime);
    INFO(started.status().ToString());
    REQUIRE(started.ok());
    server = std::move(started).value();
  }
  Status StatsAs(const ConnectOptions& options) const {
    const auto client = ConnectRuntime(server->addresses()[0], options);
    return client.ok() ? (*client)->Stats().status() : client.status();
  }
  /// With the certificate of `who` of `issuer`.
  Status StatsWith(const Authority& issuer, const std::string& who) const {
    return StatsAs({.ca_file = authority.ca_file(),
                    .certificate_file = issuer.certificate_file(who),
                    .key_file = issuer.key_file(who)});
  }

  TempDirectory folder;
  Authority authority{folder, "a"};
  FakeRuntime runtime;
  std::unique_ptr<Server> server;
};

TEST_CASE("Over TLS a token decides, and a server that isn't trusted gets none") {
  const TlsFixture f({GrantOf("secret", {"admin"})}, false);
  const Authority other(f.folder, "other");
  const std::string ca = f.authority.ca_file();
  const Status good = f.StatsAs({.ca_file = ca, .token = "secret"});
  INFO(good.ToString());
  CHECK(good.ok());
  CHECK(f.StatsAs({.ca_file = ca}).reason() == "CREDENTIALS_MISSING");
  CHECK(f.StatsAs({.ca_file = ca, .token = "guess"}).reason() == "TOKEN_INVALID");
  const Status untrusted = f.StatsAs({.ca_file = other.ca_file(), .token = "secret"});
  INFO(untrusted.ToString());
  CHECK(untrusted.code() == StatusCode::kUnavailable);
  CHECK(untrusted.reason() == "TLS_FAILED");
  CHECK(f.StatsAs({.ca_file = f.folder.File("none"), .token = "x"}).code() ==
        StatusCode::kNotFound);
  // The same server's Unix socket is its owner's.
  CHECK((*ConnectRuntime(f.server->addresses()[1]))->Stats().ok());
}

TEST_CASE("Over mutual TLS certificates of the authority get in, and nobody else") {
  const TlsFixture f({}, true);
  const Authority other(f.folder, "other");
  f.authority.Issue("ide");
  f.authority.Issue("late", -60);
  other.Issue("ide");
  const Status good = f.StatsWith(f.authority, "ide");
  INFO(good.ToString());
  CHECK(good.ok());
  CHECK(f.StatsWith(other, "ide").code() == StatusCode::kUnavailable);
  CHECK(f.StatsAs({.ca_file = f.authority.ca_file()}).code() == StatusCode::kUnavailable);
  // Our own client sees that its certificate is too old before it asks.
  CHECK(f.StatsWith(f.authority, "late").reason() == "CERTIFICATE_EXPIRED");
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = ReadWhole(f.authority.ca_file());
  tls.pem_cert_chain = ReadWhole(f.authority.certificate_file("late"));
  tls.pem_private_key = ReadWhole(f.authority.key_file("late"));
  grpc::Status status;
  RawCall(grpc::CreateChannel(f.server->addresses()[0], grpc::SslCredentials(tls)),
          "/baleen.v1.Admin/GetStats", "", &status);
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("With a list of clients, a certificate must be on it") {
  ClientGrant listed;
  listed.name = "the IDE";
  listed.certificate = "ide";
  listed.scopes = {"sessions.read"};
  const TlsFixture f({listed, GrantOf("secret", {"admin"})}, true);
  f.authority.Issue("ide");
  f.authority.Issue("stranger");
  CHECK(f.StatsWith(f.authority, "ide").reason() == "SCOPE_MISSING");
  CHECK(f.StatsWith(f.authority, "stranger").code() == StatusCode::kUnauthenticated);
  CHECK(f.StatsWith(f.authority, "stranger").reason() == "CERTIFICATE_UNKNOWN");
  CHECK(f.StatsAs({.ca_file = f.authority.ca_file(), .token = "secret"}).ok());
  CHECK(f.StatsAs({.ca_file = f.authority.ca_file()}).reason() == "CREDENTIALS_MISSING");
}

TEST_CASE("A server doesn't start with files that would fail later") {
  const TempDirectory folder;
  const Authority authority(folder, "a");
  authority.Issue("server");
  authority.Issue("late", -60);
  FakeRuntime runtime;
  ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.clients = {GrantOf("x", {})};
  const auto start = [&](const std::string& certificate, const std::string& key) {
    options.tls_certificate_file = certificate;
    options.tls_key_file = key;
    return Server::Start(options, &runtime).status();
  };
  const std::string good = authority.certificate_file("server");
  const std::string key = authority.key_file("server");
  CHECK(start(good, key).ok());
  CHECK(start(authority.certificate_file("late"), authority.key_file("late")).reason() ==
        "CERTIFICATE_EXPIRED");
  CHECK(start(good, authority.key_file("late")).code() == StatusCode::kInvalidArgument);
  CHECK(start(key, key).code() == StatusCode::kInvalidArgument);
  CHECK(start(good, "").code() == StatusCode::kInvalidArgument);
  CHECK(start(good, folder.File("none")).code() == StatusCode::kNotFound);
  REQUIRE(chmod(key.c_str(), 0640) == 0);
  CHECK(start(good, key).code() == StatusCode::kPermissionDenied);
  options.clients[0].scopes = {"everything"};
  CHECK(start(good, key).message().find("sessions.read") != std::string::npos);
}

TEST_CASE("A web page's calls are refused") {
  const Fixture f;
  grpc::GenericStub stub(RawChannel(f.address()));
  grpc::ClientContext context;
  context.AddMetadata("origin", "https://example.org");
  grpc::CompletionQueue queue;
  const grpc::Slice empty;
  const grpc::ByteBuffer request(&empty, 1);
  const auto call = stub.PrepareUnaryCall(&context, "/baleen.v1.Admin/GetStats", request, &queue);
  call->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  REQUIRE(queue.Next(&tag, &ok));
  CHECK(ReasonOf(status) == "ORIGIN_REFUSED");
}

TEST_CASE("Every error of every RPC has an ErrorInfo") {
  Fixture f;
  const auto channel = RawChannel(f.address());
  const std::string name = "no name of anything!";
  const std::string bad = "\x0A" + std::string(1, static_cast<char>(name.size())) + name;
  const std::string nested = "\x0A" + std::string(1, static_cast<char>(bad.size())) + bad;
  // What a string in field 1 isn't wrong for.
  const std::set<std::string> fine = {
      "/baleen.v1.Admin/GetStats",        "/baleen.v1.Admin/Compact",
      "/baleen.v1.Admin/PruneSessions",   "/baleen.v1.Sessions/SearchSessions",
      "/baleen.v1.Scripts/ListScripts",   "/baleen.v1.Admin/ListNotes",
      "/baleen.v1.Admin/StartOperation",  // a message is there: gRPC refuses a string
      "/baleen.v1.Sessions/ListSessions", "/baleen.v1.Models/ListModels"};
  int refused = 0;
  for (const std::string& method : AllMethods()) {
    CAPTURE(method);
    grpc::Status status;
    RawCall(channel, method,
            method == "/baleen.v1.ToolHost/Serve"           ? ""
            : method == "/baleen.v1.Sessions/UpdateSession" ? nested
                                                            : bad,
            &status);
    if (fine.count(method) != 0) continue;
    ++refused;
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(ReasonOf(status) == "BAD_FIELD");
    for (const StatusCode code : {StatusCode::kInternal, StatusCode::kDataLoss}) {
      f.runtime.FailNext(Status(code, "made up"));  // without a reason of its own
      const std::string empty;
      RawCall(channel, "/baleen.v1.Admin/GetStats", empty, &status);
      CHECK(ReasonOf(status) == std::string(StatusCodeName(code)));
    }
  }
  CHECK(refused > 20);
}

}  // namespace
}  // namespace baleen
