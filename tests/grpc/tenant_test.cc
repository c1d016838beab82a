// What one client may use: its rate, its running turns, the folders that it may name.

#include "runtime/grpc/tenant.h"

#include <baleen/v1/sessions.pb.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "tests/grpc/fixture.h"
#include "tests/grpc/grants.h"
#include "tests/grpc/raw_call.h"

namespace baleen {
namespace {

using std::chrono::milliseconds;

ClientGrant Bounded(const std::string& token, const ClientQuota& quota) {
  ClientGrant grant = GrantOf(token, {"sessions.read", "sessions.write", "turns.run", "admin"});
  grant.quota = quota;
  return grant;
}

std::unique_ptr<Runtime> As(const Fixture& f, const std::string& token) {
  auto connected = ConnectRuntime(f.address(), {.token = token});
  REQUIRE(connected.ok());
  return std::move(connected).value();
}

StartTurnRequest Turn(const std::string& session, const std::string& request_id = "") {
  StartTurnRequest request;
  request.session = session;
  request.input = {"x"};
  request.request_id = request_id;
  return request;
}

CreateSessionRequest In(const std::string& workspace) {
  CreateSessionRequest request;
  request.settings.workspace = workspace;
  return request;
}

TEST_CASE("A second's worth of requests may come at once, then each at its time") {
  Tenant tenant("t", {.requests_per_second = 4}, {});
  auto now = Tenant::Clock::now() + std::chrono::seconds(1);
  wire::Details details;
  for (int i = 0; i < 4; ++i) CHECK(tenant.CountRequest(now, &details).ok());
  CHECK(details.retry_ms == 0);
  const Status refused = tenant.CountRequest(now, &details);
  CHECK(refused.code() == StatusCode::kResourceExhausted);
  CHECK(refused.reason() == "REQUEST_RATE");
  CHECK(details.retry_ms == 250);
  CHECK(details.metadata.at("limit") == "4");
  CHECK(!tenant.CountRequest(now + milliseconds(249), &details).ok());
  CHECK(tenant.CountRequest(now + milliseconds(251), &details).ok());
  CHECK(!tenant.CountRequest(now + milliseconds(252), &details).ok());
  // Idle time saves no more than a second's worth; a clock that stands still gives nothing.
  now += std::chrono::hours(1);
  for (int i = 0; i < 4; ++i) CHECK(tenant.CountRequest(now, &details).ok());
  CHECK(!tenant.CountRequest(now, &details).ok());
}

TEST_CASE("A client over its rate is told when to come again, and others aren't held up") {
  const Fixture f(WithClients({Bounded("busy", {.requests_per_second = 1}), Bounded("calm", {})}));
  const auto channel = TokenChannel(f.address(), "busy");
  grpc::Status status;
  // Two within a second: the second one, or if the machine is slow a later one, is too many.
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    RawCall(channel, "/baleen.v1.Sessions/ListSessions", "", &status);
  }
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status details;
  REQUIRE(details.ParseFromString(status.error_details()));
  REQUIRE(details.details_size() == 2);
  google::rpc::ErrorInfo why;
  google::rpc::RetryInfo when;
  REQUIRE(details.details(0).UnpackTo(&why));
  CHECK(why.reason() == "REQUEST_RATE");
  CHECK(why.metadata().at("quota") == "requests_per_second");
  REQUIRE(details.details(1).UnpackTo(&when));
  const int64_t ms = when.retry_delay().seconds() * 1000 + when.retry_delay().nanos() / 1'000'000;
  CHECK(ms >= 1);
  CHECK(ms <= 1000);
  // A stream that is refused says so, too. Until a second has passed, the next one is.
  status = {};
  for (int i = 0; i < 1000 && status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED; ++i) {
    RawCall(channel, "/baleen.v1.Events/WatchEvents", "", &status);
  }
  REQUIRE(details.ParseFromString(status.error_details()));
  REQUIRE(details.details_size() == 2);
  REQUIRE(details.details(0).UnpackTo(&why));
  CHECK(why.metadata().at("quota") == "requests_per_second");
  CHECK(why.metadata().contains("cursor"));
  CHECK(details.details(1).UnpackTo(&when));
  const auto calm = As(f, "calm");
  for (int i = 0; i < 20; ++i) CHECK(calm->ListSessions(1, "", nullptr).ok());
  for (int i = 0; i < 20; ++i) CHECK(f.remote->ListSessions(1, "", nullptr).ok());
}

TEST_CASE("A client has so many turns running, by all its connections, and no more") {
  ServerOptions options =
      WithClients({Bounded("small", {}), Bounded("large", {.running_turns = 9})});
  options.client_quota.running_turns = 2;  // of those without their own
  Fixture f(std::move(options));
  for (const char* name : {"a", "b", "c"}) f.NewSession(name);
  const auto one = As(f, "small");
  const auto two = As(f, "small");
  const std::string id = "11111111-1111-4111-8111-111111111111";
  REQUIRE(one->StartTurn(Turn("a", id)).ok());
  REQUIRE(two->StartTurn(Turn("b")).ok());
  const Status refused = one->StartTurn(Turn("c")).status();
  CHECK(refused.code() == StatusCode::kResourceExhausted);
  CHECK(refused.reason() == "RUNNING_TURNS");
  CHECK(refused.message().find("has 2 turns running, and may have 2") != std::string::npos);
  CHECK(two->StartTurn(Turn("c")).status().reason() == "RUNNING_TURNS");
  CHECK(one->StartTurn(Turn("a", id)).ok());  // its first answer was lost
  CHECK(As(f, "large")->StartTurn(Turn("c")).ok());
  CHECK(f.remote->StartTurn(Turn("c")).ok());
  f.runtime.FinishTurn("a", "t2", TurnState::kSucceeded, "");  // this runtime knows no repeats
  f.runtime.FinishTurn("b", "t1", TurnState::kSucceeded, "");
  CHECK(one->StartTurn(Turn("c")).ok());
  CHECK(one->StartTurn(Turn("c")).status().reason() == "RUNNING_TURNS");
}

TEST_CASE("A client names folders below its roots only; the owner of the socket any") {
  const TempDirectory place;
  const std::string open = place.File("open");
  for (const char* name : {"open/inner", "openly", "secret"}) {
    std::filesystem::create_directories(place.File(name));
  }
  std::filesystem::create_symlink(place.File("secret"), open + "/link");
  std::filesystem::create_symlink(open + "/inner", place.File("way"));
  ClientGrant own = Bounded("own", {});
  own.workspaces = {place.File("secret")};
  ServerOptions options = WithClients({Bounded("client", {}), own});
  options.workspace_roots = {open};
  const Fixture f(std::move(options));
  const auto client = As(f, "client");
  CHECK(client->CreateSession(In("")).ok());
  CHECK(client->CreateSession(In(open)).ok());
  CHECK(client->CreateSession(In(open + "/inner/..")).ok());
  const auto by_link = client->CreateSession(In(place.File("way")));
  REQUIRE(by_link.ok());
  CHECK(by_link->settings.workspace == std::filesystem::canonical(open + "/inner").string());
  for (const std::string& folder :
       {std::string("/"), place.File("openly"), place.File("secret"), open + "/link",
        open + "/../secret", open + "/missing", std::string("open"), std::string("."),
        std::string("/nowhere"), std::string(5000, 'a')}) {
    CAPTURE(folder);
    const Status refused = client->CreateSession(In(folder)).status();
    CHECK(refused.code() == StatusCode::kPermissionDenied);
    CHECK(refused.reason() == "WORKSPACE_REFUSED");
  }
  ImportRequest import;
  import.path = "/archive";
  import.workspace = place.File("secret");
  CHECK(client->ImportSession(import, {}).status().reason() == "WORKSPACE_REFUSED");
  CHECK(As(f, "own")->CreateSession(In(place.File("secret"))).ok());
  CHECK(As(f, "own")->CreateSession(In(open)).ok());
  CHECK(f.remote->CreateSession(In(place.File("secret"))).ok());
}

TEST_CASE(
    "A client names hosts for its commands that its grant lists; the owner of the socket any") {
  ClientGrant own = Bounded("own", {});
  own.network_hosts = {"*.example.org"};
  const Fixture f(WithClients({Bounded("client", {}), own}));
  const auto reaching = [](const std::string& host) {
    CreateSessionRequest request = In("");
    request.settings.network_hosts = {host};
    return request;
  };
  CHECK(As(f, "client")->CreateSession(reaching("example.org")).status().reason() ==
        "NETWORK_REFUSED");
  CHECK(As(f, "own")->CreateSession(reaching("127.0.0.1:80")).status().reason() ==
        "NETWORK_REFUSED");
  const auto allowed = As(f, "own")->CreateSession(reaching("*.example.org"));
  REQUIRE(allowed.ok());
  CHECK(allowed->settings.network_hosts == std::vector<std::string>{"*.example.org"});
  CHECK(f.remote->CreateSession(reaching("127.0.0.1:80")).ok());
}

TEST_CASE("A client lets its sessions read the secret files that its grant lists") {
  ClientGrant own = Bounded("own", {});
  own.readable_secrets = {"config/.env.*"};
  const Fixture f(WithClients({Bounded("client", {}), own}));
  const auto reading = [](const std::string& path) {
    CreateSessionRequest request = In("");
    request.settings.readable_secrets = {path};
    return request;
  };
  CHECK(As(f, "client")->CreateSession(reading(".env")).status().reason() == "SECRETS_REFUSED");
  CHECK(As(f, "own")->CreateSession(reading("config/.env.test")).status().reason() ==
        "SECRETS_REFUSED");
  const auto allowed = As(f, "own")->CreateSession(reading("config/.env.*"));
  REQUIRE(allowed.ok());
  CHECK(allowed->settings.readable_secrets == std::vector<std::string>{"config/.env.*"});
  CHECK(f.remote->CreateSession(reading(".env")).ok());
}

TEST_CASE("A client makes so many sessions and no more, and is told what to do") {
  ServerOptions options =
      WithClients({Bounded("few", {.sessions_max = 2}), Bounded("plain", {}), Bounded("own", {})});
  options.clients[2].quota.sessions_max = 9;
  options.client_quota.sessions_max = 3;  // of those without their own
  Fixture f(std::move(options));
  const auto few = As(f, "few");
  CreateSessionRequest create;
  create.request_id = "22222222-2222-4222-8222-222222222222";
  const auto first = few->CreateSession(create);
  REQUIRE(first.ok());
  CHECK(first->tenant == "client of few");
  CHECK(f.runtime.created[0].tenant == "client of few");
  ForkRequest fork;
  fork.session = first->session;
  fork.fork = "f";
  fork.request_id = create.request_id;  // ids are a method's own
  REQUIRE(few->ForkSession(fork).ok());
  CHECK(f.runtime.forked[0].tenant == "client of few");
  CHECK(As(f, "own")->ReadTenant("client of few")->sessions == 2);
  const Status refused = few->CreateSession({}).status();
  CHECK(refused.code() == StatusCode::kResourceExhausted);
  CHECK(refused.reason() == "QUOTA");
  CHECK(refused.message().find("holds 2 sessions, and may hold 2; delete") != std::string::npos);
  fork.request_id.clear();
  fork.fork = "g";
  CHECK(few->ForkSession(fork).status().reason() == "QUOTA");
  ImportRequest import;
  import.path = "/archive";
  CHECK(few->ImportSession(import, {}).status().reason() == "QUOTA");
  CHECK(few->StartTurn(Turn("f")).ok());       // that makes none
  f.runtime.FailNext(InternalError("asked"));  // this runtime knows no repeats: it was let through
  CHECK(few->CreateSession(create).status().message() == "asked");
  // Nobody else is held up.
  for (int i = 0; i < 3; ++i) CHECK(As(f, "plain")->CreateSession({}).ok());
  CHECK(As(f, "plain")->CreateSession({}).status().reason() == "QUOTA");
  CHECK(As(f, "own")->CreateSession({}).ok());
  const auto by_owner = f.remote->CreateSession({});
  REQUIRE(by_owner.ok());
  CHECK(by_owner->tenant.empty());
  f.runtime.usage["client of few"].sessions = 1;
  CHECK(few->ForkSession(fork).ok());
}

TEST_CASE("A client that holds too many bytes begins nothing more, and a QuotaFailure says so") {
  Fixture f(WithClients({Bounded("full", {.stored_bytes_max = 1000})}));
  f.NewSession("a");
  const auto full = As(f, "full");
  f.runtime.usage["client of full"] = {1, 999};
  const std::string id = "33333333-3333-4333-8333-333333333333";
  REQUIRE(full->StartTurn(Turn("a", id)).ok());
  f.runtime.usage["client of full"].stored_bytes = 1000;
  CHECK(full->StartTurn(Turn("a", id)).ok());  // its first answer was lost
  CHECK(full->StartTurn(Turn("a")).status().reason() == "QUOTA");
  CHECK(full->GetSession("a").ok());
  grpc::Status status;
  RawCall(TokenChannel(f.address(), "full"), "/baleen.v1.Sessions/CreateSession", "", &status);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status details;
  REQUIRE(details.ParseFromString(status.error_details()));
  REQUIRE(details.details_size() == 2);
  google::rpc::ErrorInfo why;
  google::rpc::QuotaFailure quota;
  REQUIRE(details.details(0).UnpackTo(&why));
  CHECK(why.reason() == "QUOTA");
  CHECK(why.metadata().at("quota") == "stored_bytes_max");
  CHECK(why.metadata().at("limit") == "1000");
  CHECK(why.metadata().at("used") == "1000");
  REQUIRE(details.details(1).UnpackTo(&quota));
  REQUIRE(quota.violations_size() == 1);
  CHECK(quota.violations(0).subject() == "client:client of full");
  CHECK(quota.violations(0).description().find("delete sessions") != std::string::npos);
}

TEST_CASE("Sessions that are made at once count once each") {
  Fixture f(WithClients({Bounded("busy", {.sessions_max = 5})}));
  std::atomic<int> made = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto runtime = ConnectRuntime(f.address(), {.token = "busy"});
      for (int k = 0; k < 4 && runtime.ok(); ++k)
        made += (*runtime)->CreateSession({}).ok() ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(made == 5);
}

TEST_CASE("A client changes the policy only where it may make a session") {
  const TempDirectory place;
  std::filesystem::create_directories(place.File("open"));
  std::filesystem::create_directories(place.File("secret"));
  ClientGrant grant = Bounded("client", {});
  grant.workspaces = {place.File("open")};
  Fixture f(WithClients({grant}));
  for (const char* name : {"open", "secret"}) {
    CreateSessionRequest create = In(place.File(name));
    create.session = name;
    REQUIRE(f.runtime.CreateSession(create).ok());
  }
  const auto client = As(f, "client");
  for (const char* path : {"policy", "policy.rules"}) {
    UpdateSessionRequest update;
    update.mask = {"title", path};
    update.session = "open";
    CHECK(client->UpdateSession(update).ok());
    update.session = "secret";
    CHECK(client->UpdateSession(update).status().reason() == "WORKSPACE_REFUSED");
    CHECK(f.remote->UpdateSession(update).ok());
    update.mask = {"title"};
    CHECK(client->UpdateSession(update).ok());
  }
}

TEST_CASE("Paths that aren't of settings are refused by name before the runtime is asked") {
  Fixture f(WithClients({Bounded("client", {})}));
  f.NewSession("s");
  for (const char* path : {"title", "state", "settings", "*", "settingstitle"}) {
    v1::UpdateSessionRequest update;
    update.mutable_session()->set_name("sessions/s");
    update.mutable_update_mask()->add_paths("settings.title");
    update.mutable_update_mask()->add_paths(path);
    grpc::Status status;
    RawCall(TokenChannel(f.address(), "client"), "/baleen.v1.Sessions/UpdateSession",
            update.SerializeAsString(), &status);
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(status.error_message().find(std::string("got '") + path + "'") != std::string::npos);
    google::rpc::Status details;
    google::rpc::ErrorInfo why;
    REQUIRE(details.ParseFromString(status.error_details()));
    REQUIRE(details.details(0).UnpackTo(&why));
    CHECK(why.reason() == "BAD_FIELD");
  }
  CHECK(f.runtime.updated.empty());
}

TEST_CASE("Bounds that are none, and roots that aren't there, are refused at the start") {
  FakeRuntime runtime;
  const TempDirectory folder;
  const auto refusal = [&](ServerOptions options) {
    options.listen = {"unix:" + folder.File("s")};
    return Server::Start(options, &runtime).status();
  };
  ServerOptions options;
  options.client_quota.stored_bytes_max = -1;
  CHECK(refusal(options).message().find("stored_bytes_max") != std::string::npos);
  options.client_quota = {};
  options.client_quota.running_turns = -1;
  CHECK(refusal(options).code() == StatusCode::kInvalidArgument);
  options = {};
  options.workspace_roots = {folder.File("missing")};
  CHECK(refusal(options).message().find("missing") != std::string::npos);
  ClientGrant grant = GrantOf("t", {});
  grant.workspaces = {"relative"};
  CHECK(refusal(WithClients({grant})).message().find("'relative'") != std::string::npos);
}

}  // namespace
}  // namespace baleen
