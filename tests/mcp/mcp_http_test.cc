// Servers over streamable HTTP: sessions, streams and keys, and endpoints that do none of it right.
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

#include "tests/mcp/mcp_fixture.h"
#include "tests/testing/test_paths.h"

namespace baleen {
namespace {

/// An endpoint of one manner, in a process that ends with this.
class Endpoint {
 public:
  explicit Endpoint(const std::string& manner) : trace_(temp_.File("trace")) {
    // Its input is the pipe; its port comes by a file.
    const std::string port = temp_.File("port");
    const std::string command = "python3 " + std::string(kSourceDir) +
                                "/tests/mcp/http_server.py " + manner + " " + trace_ + " > " + port;
    process_ = popen(command.c_str(), "w");
    REQUIRE(process_ != nullptr);
    const int64_t until = Clock().SteadyMs() + 60'000;
    std::string text;
    while (text.find('\n') == std::string::npos && Clock().SteadyMs() < until)
      text = ReadFile(port);
    options_.name = "w";
    options_.url = "http://127.0.0.1:" + std::to_string(std::stoi(text)) + "/mcp";
  }
  ~Endpoint() { pclose(process_); }
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  McpServerOptions& options() { return options_; }
  std::string Trace() const { return ReadFile(trace_); }
  const TempDirectory& temp() const { return temp_; }

 private:
  TempDirectory temp_;
  const std::string trace_;
  FILE* process_ = nullptr;
  McpServerOptions options_;
};

ToolResult CallOnce(const McpServerOptions& options) {
  const auto tools = Tools(options);
  return Call(*tools, Spec(Offer(*tools), "w_echo"), R"({"a":"hi"})");
}

}  // namespace

TEST_CASE("OverHttpASessionIsOpenedKeptAndEnded") {
  Endpoint endpoint("plain");
  {
    const auto tools = Tools(endpoint.options());
    const McpOffer offer = Offer(*tools);
    REQUIRE_OK(offer.status);
    REQUIRE(offer.about == "web 1, protocol 2025-06-18");
    REQUIRE(Call(*tools, offer.tools[0], R"({"a":"hi"})").content == "hi");
  }
  const std::string trace = endpoint.Trace();
  INFO(trace);
  for (const char* line :
       {"notifications/initialized mcp-session-id=s0 mcp-protocol-version=2025-06-18\n"
        "tools/list mcp-session-id=s0 mcp-protocol-version=2025-06-18\n",
        "tools/call mcp-session-id=s0 mcp-protocol-version=2025-06-18\n",
        "an answer mcp-session-id=s0", "DELETE mcp-session-id=s0\n"}) {
    INFO(line);
    REQUIRE(trace.find(line) != std::string::npos);
  }
}

TEST_CASE("OverHttpTheStatelessRevisionMirrorsWhatIsAskedInHeaders") {
  Endpoint endpoint("stateless");
  REQUIRE(CallOnce(endpoint.options()).content == "hi");
  const std::string trace = endpoint.Trace();
  INFO(trace);
  REQUIRE(trace.find("tools/call mcp-protocol-version=2026-07-28 mcp-method=tools/call "
                     "mcp-name=echo mcp-param-a=hi\n") != std::string::npos);
  REQUIRE(trace.find("initialize") == std::string::npos);
  REQUIRE(trace.find("DELETE") == std::string::npos);
}

TEST_CASE("OverHttpAForgottenSessionIsBegunAnewAndTheCallMadeOnce") {
  Endpoint endpoint("forgets");
  const ToolResult result = CallOnce(endpoint.options());
  INFO(result.content << "\n" << endpoint.Trace());
  REQUIRE(result.outcome == ToolOutcome::kOk);
}

TEST_CASE("OverHttpEveryFailureHasItsOutcome") {
  const auto outcome = [](const std::string& manner, const std::string& says) {
    Endpoint endpoint(manner);
    endpoint.options().call_ms = 2000;
    const ToolResult result = CallOnce(endpoint.options());
    INFO(result.content);
    CHECK(result.content.find(says) != std::string::npos);
    return result.outcome;
  };
  REQUIRE(outcome("fails", "answered 500") == ToolOutcome::kUnknown);
  REQUIRE(outcome("lies", "gave no result") == ToolOutcome::kUnknown);
  REQUIRE(outcome("cuts", "gave no result") == ToolOutcome::kUnknown);
  REQUIRE(outcome("hangs", "no answer in time") == ToolOutcome::kTimeout);
}

TEST_CASE("OverHttpAFloodIsCutOff") {
  Endpoint endpoint("floods");
  endpoint.options().message_bytes_max = 1 << 20;
  const ToolResult result = CallOnce(endpoint.options());
  INFO(result.content);
  REQUIRE(result.outcome == ToolOutcome::kUnknown);
  REQUIRE(result.content.find("more than 8388608 bytes") != std::string::npos);
}

TEST_CASE("OverHttpKeysAreSentAndRedirectsNotFollowed") {
  Endpoint endpoint("wants_key");
  Status status = Offer(*Tools(endpoint.options())).status;
  INFO(status.ToString());
  REQUIRE(status.message().find("401 (a key is missing") != std::string::npos);
  endpoint.options().key_file = endpoint.temp().File("key");
  std::ofstream(endpoint.options().key_file) << "right\n";
  REQUIRE(chmod(endpoint.options().key_file.c_str(), 0644) == 0);
  status = Offer(*Tools(endpoint.options())).status;
  REQUIRE(status.message().find("chmod 600") != std::string::npos);
  REQUIRE(chmod(endpoint.options().key_file.c_str(), 0600) == 0);
  REQUIRE(CallOnce(endpoint.options()).content == "hi");

  Endpoint redirects("redirects");
  REQUIRE(Offer(*Tools(redirects.options())).status.message().find("aren't followed") !=
          std::string::npos);
  McpServerOptions nobody;
  nobody.name = "w";
  nobody.url = "http://127.0.0.1:1/mcp";
  REQUIRE(Offer(*Tools(nobody)).status.code() == StatusCode::kUnavailable);
}

}  // namespace baleen
