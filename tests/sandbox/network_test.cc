// The one way out of a sandboxed command's network namespace: to the hosts that are named, through
// our proxy, and past it to nobody.
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <iostream>
#include <thread>

#include "runtime/sandbox/command_job.h"
#include "runtime/sandbox/descriptor_message.h"
#include "runtime/sandbox/proxy_request.h"
#include "tests/sandbox/outside_world.h"
#include "tests/store/status_checks.h"
#include "tests/testing/sanitizer.h"

namespace baleen {
namespace {

int ListenOnLoopback(int* port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), bytes) == 0);
  REQUIRE(listen(fd, 16) == 0);
  REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) == 0);
  *port = ntohs(address.sin_port);
  return fd;
}

std::string ReadToEnd(int fd) {
  std::string out;
  char bytes[4096];
  for (ssize_t got = 0; (got = recv(fd, bytes, sizeof(bytes), 0)) > 0;) {
    out.append(bytes, static_cast<size_t>(got));
  }
  return out;
}

/// Answers "HELLO " and what it was sent up to its blank line, and the `body` bytes behind it.
class HelloServer {
 public:
  HelloServer() : fd_(ListenOnLoopback(&port_)), thread_([this] { Run(); }) {}
  ~HelloServer() {
    shutdown(fd_.get(), SHUT_RDWR);
    thread_.join();
  }
  int port() const { return port_; }
  int clients() const { return clients_.load(); }

 private:
  void Run() {
    for (int client = 0; (client = accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      const FileDescriptor owned(client);
      ++clients_;
      std::string said;
      char byte = 0;
      while (!said.ends_with("\r\n\r\n") && recv(client, &byte, 1, 0) == 1) said += byte;
      for (int body = said.find("Content-Length: 4") == std::string::npos ? 0 : 4; body > 0;
           --body) {
        if (recv(client, &byte, 1, 0) == 1) said += byte;
      }
      const std::string answer = "HTTP/1.0 200 OK\r\n\r\nHELLO " + said;
      send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
  }

  int port_ = 0;
  const FileDescriptor fd_;
  std::atomic<int> clients_ = 0;
  std::thread thread_;
};

std::shared_ptr<NetworkBounds> Bounds(const std::vector<std::string>& hosts,
                                      std::vector<HostDecision>* decisions = nullptr) {
  auto bounds = std::make_shared<NetworkBounds>();  // owners: as NetworkProxy says
  bounds->rules = Must(HostRules::Parse(hosts));
  bounds->resolver = std::make_shared<NameResolver>();
  bounds->loopback_outside = true;
  if (decisions != nullptr) {
    bounds->on_decision = [decisions, mutex = std::make_shared<std::mutex>()](const auto& one) {
      const std::lock_guard<std::mutex> lock(*mutex);
      decisions->push_back(one);
    };
  }
  return bounds;
}

/// A proxy whose process is this one.
class OwnProxy {
 public:
  explicit OwnProxy(const std::shared_ptr<NetworkBounds>& bounds)
      : proxy_(Must(NetworkProxy::Start(bounds))) {
    const FileDescriptor listener(ListenOnLoopback(&port_));
    REQUIRE(SendDescriptor(proxy_->door(), listener.get()));
    proxy_->CloseDoor();
  }

  /// What it answers until it closes. `half`: this end is closed after `text`.
  std::string Ask(const std::string& text, bool half = true) const {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (half) shutdown(fd.get(), SHUT_WR);
    return ReadToEnd(fd.get());
  }
  const NetworkProxy& proxy() const { return *proxy_; }

 private:
  std::unique_ptr<NetworkProxy> proxy_;
  int port_ = 0;
};

}  // namespace

TEST_CASE("HeadsOfRequestsAreReadStrictly") {
  const auto head = [](const std::string& text) { return ParseProxyRequest(text); };
  const ProxyRequest tunnel =
      Must(head("CONNECT Example.ORG.:443 HTTP/1.1\r\nHost: other\r\n\r\n"));
  CHECK((tunnel.tunnel && tunnel.host == "example.org" && tunnel.port == 443));
  CHECK(Must(head("CONNECT [::1]:8 HTTP/1.0\r\n\r\n")).host == "::1");
  const ProxyRequest get = Must(
      head("POST http://a.example/x?y=1 HTTP/1.1\r\nHost: evil.example\r\nAccept: */*\r\n"
           "Proxy-Authorization: Basic x\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\n"));
  CHECK(get.head ==
        "POST /x?y=1 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nAccept: */*\r\n"
        "Content-Length: 4\r\n\r\n");
  CHECK((get.body_bytes == 4 && get.port == 80 && !get.tunnel));
  CHECK(Must(head("GET http://a.example:81 HTTP/1.1\r\n\r\n")).head.find("GET / ") == 0);
  const std::vector<std::string> refused = {
      "",
      "\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "GET https://a.example/ HTTP/1.1\r\n\r\n",
      "GET ftp://a.example/ HTTP/1.1\r\n\r\n",
      "GET http://user@a.example/ HTTP/1.1\r\n\r\n",
      "GET http://a.example@b.example/ HTTP/1.1\r\n\r\n",
      "GET http://a.example/#x HTTP/1.1\r\n\r\n",
      "GET http:///x HTTP/1.1\r\n\r\n",
      "GET http://a.example/ HTTP/2\r\n\r\n",
      "GET http://a.example/ x HTTP/1.1\r\n\r\n",
      "G T http://a.example/ HTTP/1.1\r\n\r\n",
      "GET http://a.example\\@b.example/ HTTP/1.1\r\n\r\n",
      "GET http://0x7f.1/ HTTP/1.1\r\n\r\n",
      "GET http://127.1/ HTTP/1.1\r\n\r\n",
      "GET http://::1/ HTTP/1.1\r\n\r\n",
      "CONNECT a.example HTTP/1.1\r\n\r\n",
      "CONNECT a.example:0 HTTP/1.1\r\n\r\n",
      "CONNECT a.example:65536 HTTP/1.1\r\n\r\n",
      "CONNECT a.example:+80 HTTP/1.1\r\n\r\n",
      "CONNECT a.example:80:443 HTTP/1.1\r\n\r\n",
      "CONNECT :443 HTTP/1.1\r\n\r\n",
      "CONNECT a\xC3\xA4.example:443 HTTP/1.1\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\nHost: x\n\n",
      "GET http://a.example/ HTTP/1.1\r\nA: b\r\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
      std::string("GET http://a.example/\0 HTTP/1.1\r\n\r\n", 36),
      "GET http://a.example/ HTTP/1.1\r\nno field\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nHost : x\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET http://a.example/ HTTP/1.1\r\n\r\nGET http://b.example/ HTTP/1.1\r\n\r\n",
      "GET http://a.example/" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n",
  };
  for (const std::string& text : refused) {
    INFO(text.substr(0, 200));
    CHECK(!head(text).ok());
  }
}

TEST_CASE("AProxyReachesTheHostsThatAreNamedAndNoOther") {
  const HelloServer server, other;
  const std::string at = "127.0.0.1:" + std::to_string(server.port());
  const std::string elsewhere = "127.0.0.1:" + std::to_string(other.port());
  std::vector<HostDecision> decisions;
  {
    const OwnProxy proxy(Bounds({at, "localhost", "no-such-name.invalid"}, &decisions));
    const std::string plain = proxy.Ask(
        "POST http://" + at + "/p HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodySMUGGLED", false);
    CHECK(plain == "HTTP/1.0 200 OK\r\n\r\nHELLO POST /p HTTP/1.1\r\nHost: " + at +
                       "\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody");
    const std::string tunnel = proxy.Ask("CONNECT " + at + " HTTP/1.1\r\n\r\nhidden\r\n\r\n");
    CHECK(tunnel ==
          "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.0 200 OK\r\n\r\n"
          "HELLO hidden\r\n\r\n");
    CHECK(server.clients() == 2);
    const auto refused = [&](const std::string& request, const std::string& code) {
      const std::string answer = proxy.Ask(request);
      INFO(request << " -> " << answer);
      CHECK(answer.starts_with("HTTP/1.1 " + code + " "));
    };
    refused("CONNECT " + elsewhere + " HTTP/1.1\r\n\r\n", "403");
    refused("GET http://" + elsewhere + "/ HTTP/1.1\r\n\r\n", "403");
    refused("CONNECT example.net:443 HTTP/1.1\r\n\r\n", "403");
    refused("CONNECT 169.254.169.254:80 HTTP/1.1\r\n\r\n", "403");
    refused("CONNECT [::ffff:127.0.0.1]:" + std::to_string(other.port()) + " HTTP/1.1\r\n\r\n",
            "403");
    // A name that is allowed, and stands for this machine.
    refused("CONNECT localhost:" + std::to_string(other.port()) + " HTTP/1.1\r\n\r\n", "403");
    refused("CONNECT no-such-name.invalid:80 HTTP/1.1\r\n\r\n", "502");
    refused("SSH-2.0-hello\r\n\r\n", "400");
    refused(std::string(100'000, 'x'), "400");
    refused("POST http://" + at + "/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "411");
    CHECK(proxy.proxy().Refusals().size() == 5);
    CHECK(proxy.Ask("CONNECT 127").empty());  // cut off
    // Whoever says nothing keeps nobody else waiting.
    std::vector<std::unique_ptr<std::thread>> held;
    CHECK(proxy.Ask("CONNECT " + at + " HTTP/1.1\r\n\r\nagain\r\n\r\n").ends_with("again\r\n\r\n"));
  }
  CHECK(other.clients() == 0);
  size_t allowed = 0, refused_hosts = 0;
  for (const HostDecision& one : decisions) {
    (one.allowed ? allowed : refused_hosts) += 1;
    if (one.allowed) CHECK((one.address == "127.0.0.1" && one.port == server.port()));
    if (!one.allowed) CHECK(!one.why.empty());
  }
  CHECK(allowed == 3);
  CHECK(refused_hosts == 9);
}

TEST_CASE("ASandboxedCommandReachesItsHostsThroughTheProxyAlone") {
  if (kAddressSanitizer) {
    std::cout << "SKIPPED: nothing of this test runs here: " << kNoHostInSandbox << "\n";
    WARN("SKIP: " << kNoHostInSandbox);
    return;
  }
  const Sandbox sandbox = Sandbox::Probe(SandboxKind::kBubblewrap);
  if (sandbox.kind() != SandboxKind::kBubblewrap) {
    std::cout << "SKIPPED: nothing of this test runs without bubblewrap\n";
    WARN("SKIP: " << sandbox.reason());
    return;
  }
  const HelloServer server;
  const OutsideWorld world;
  const std::string at = "127.0.0.1:" + std::to_string(server.port());
  std::vector<HostDecision> decisions;
  const auto run = [&](const std::string& command, const std::vector<std::string>& hosts) {
    SandboxedCommand spec;
    spec.workspace = world.workspace();
    spec.command = world.Filled(command);
    decisions.clear();
    auto job = Must(CommandJob::Start(sandbox, spec, 60'000,
                                      hosts.empty() ? nullptr : Bounds(hosts, &decisions)));
    const JobState state = job->Wait(120'000);
    CHECK(state.failed.ok());
    return job->Output(0, 1 << 20) + state.refused_hosts;
  };
  const std::string fetch = "python3 -c \"import urllib.request as r; print(r.urlopen('http://" +
                            at + "/x').read().decode())\" 2>&1";
  CHECK(run(fetch, {at}).find("HELLO GET /x HTTP/1.1") != std::string::npos);
  CHECK((decisions.size() == 1 && decisions[0].allowed));
  CHECK(run("env | grep -i proxy; " + fetch, {}).find("HELLO") == std::string::npos);
  const std::string refused = run(fetch, {"example.org"});
  INFO(refused);
  CHECK(refused.find("403") != std::string::npos);
  CHECK(refused.find("not among the session's network_hosts") != std::string::npos);
  CHECK((decisions.size() == 1 && !decisions[0].allowed));
  CHECK(server.clients() == 1);
  // Past the proxy there is nothing, and what it was set up with is gone.
  const std::string raw = run(
      "for p in @PORT@ " + std::to_string(server.port()) +
          "; do echo hi > /dev/tcp/127.0.0.1/$p && "
          "echo REACHED; done; timeout 5 bash -c 'echo hi > /dev/tcp/1.1.1.1/80' && echo REACHED; "
          "echo x > /dev/udp/127.0.0.1/@UDP@; for f in 3 4 5 6 7 8; do { : <&$f; } 2>/dev/null && "
          "echo open $f; done; env | grep -i proxy= | sort -f | uniq -i; true",
      {at});
  INFO(raw);
  CHECK(raw.find("REACHED") == std::string::npos);
  CHECK(raw.find("open") == std::string::npos);
  CHECK(raw.find("HTTPS_PROXY=http://127.0.0.1:") != std::string::npos);
  CHECK(world.Changes().empty());
  CHECK(server.clients() == 1);
}

TEST_CASE("HostsNeedANamespaceOfTheirOwn") {
  const Sandbox sandbox = Sandbox::Probe(SandboxKind::kLandlock);
  if (sandbox.kind() != SandboxKind::kLandlock) {
    std::cout << "SKIPPED: nothing of this test runs without Landlock\n";
    return;
  }
  const OutsideWorld world;
  SandboxedCommand spec;
  spec.workspace = world.workspace();
  spec.command = "true";
  REQUIRE_ERROR(CommandJob::Start(sandbox, spec, 60'000, Bounds({"example.org"})),
                StatusCode::kFailedPrecondition, "bubblewrap");
}

}  // namespace baleen
