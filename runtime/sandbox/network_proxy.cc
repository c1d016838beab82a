#include "runtime/sandbox/network_proxy.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "runtime/clock.h"
#include "runtime/sandbox/descriptor_message.h"
#include "runtime/sandbox/proxy_request.h"
#include "runtime/sandbox/tool_host_path.h"

namespace baleen {
namespace {

constexpr size_t kConnectionsMax = 64;
constexpr size_t kBufferBytes = 64 << 10;  // Of each way.
constexpr size_t kAddressesMax = 16;
constexpr size_t kRefusalsMax = 5;
constexpr int64_t kHeadMs = 15'000;
constexpr int64_t kLookupMs = 20'000;
constexpr int64_t kConnectMs = 10'000;  // For each address.
constexpr int64_t kIdleMs = 300'000;
constexpr int64_t kFarewellMs = 5000;

int64_t NowMs() { return Clock().SteadyMs(); }

Status Failed(const std::string& what) {
  return UnavailableError(what + ": " + std::generic_category().message(errno));
}

std::string InWords(const HostDecision& decision) {
  if (decision.host.empty()) return decision.why;
  return decision.host + ":" + std::to_string(decision.port) + ": " + decision.why;
}

/// Bytes sent of `buffer`, which loses them. false: the other end is gone.
bool SendFrom(std::string& buffer, int fd) {
  while (!buffer.empty()) {
    const ssize_t sent = send(fd, buffer.data(), buffer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    buffer.erase(0, static_cast<size_t>(sent));
  }
  return true;
}

enum class ReadEnd { kMore, kEnded, kBroken };

/// At most `most` bytes more for `buffer`.
ReadEnd ReadInto(std::string& buffer, int fd, size_t most) {
  char bytes[16 << 10];
  const ssize_t got = recv(fd, bytes, std::min(most, sizeof(bytes)), MSG_DONTWAIT);
  if (got == 0) return ReadEnd::kEnded;
  if (got < 0) return errno == EAGAIN || errno == EINTR ? ReadEnd::kMore : ReadEnd::kBroken;
  buffer.append(bytes, static_cast<size_t>(got));
  return ReadEnd::kMore;
}

socklen_t ToSocketAddress(const IpAddress& address, int port, sockaddr_storage* out) {
  *out = {};
  if (address.v6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    std::memcpy(&v6->sin6_addr, address.bytes.data(), sizeof(v6->sin6_addr));
    return sizeof(*v6);
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(out);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(static_cast<uint16_t>(port));
  std::memcpy(&v4->sin_addr, address.bytes.data(), sizeof(v4->sin_addr));
  return sizeof(*v4);
}

/// What a process hands out must be what it was asked for.
bool IsListener(int fd) {
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t bytes = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, name, &value, &bytes) == 0 ? value : -1;
  };
  return option(SO_DOMAIN) == AF_INET && option(SO_TYPE) == SOCK_STREAM &&
         option(SO_ACCEPTCONN) == 1;
}

void Look(const std::string& host, NameResolver::Lookup& lookup) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), nullptr, &wanted, &found);
  const std::lock_guard<std::mutex> lock(lookup.mutex);
  if (failed != 0) lookup.error = gai_strerror(failed);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const auto address = IpAddressOf(*one->ai_addr);
    if (address.has_value() && lookup.addresses.size() < kAddressesMax) {
      lookup.addresses.push_back(*address);
    }
  }
  if (found != nullptr) freeaddrinfo(found);
  if (lookup.addresses.empty() && lookup.error.empty()) lookup.error = "it has no address";
  lookup.done = true;
}

}  // namespace

bool NameResolver::Begin(const std::string& host, std::shared_ptr<Lookup> lookup,
                         std::shared_ptr<FileDescriptor> wake) {
  return worker_.queue().TryPush([host, lookup = std::move(lookup), wake = std::move(wake)] {
    {
      const std::lock_guard<std::mutex> lock(lookup->mutex);
      if (lookup->abandoned) return;
    }
    Look(host, *lookup);
    eventfd_write(wake->get(), 1);
  });
}

/// One client of the proxy, and its server.
struct NetworkProxy::Connection {
  enum class Stage { kHead, kLookup, kConnect, kOpen, kFarewell, kGone };

  explicit Connection(int fd) : client(std::make_unique<FileDescriptor>(fd)) {}
  ~Connection() {
    if (lookup == nullptr) return;
    const std::lock_guard<std::mutex> lock(lookup->mutex);
    lookup->abandoned = true;
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int ServerFd() const { return server == nullptr ? -1 : server->get(); }
  /// Bytes that may still be read from the client for the server.
  size_t Room() const {
    const size_t room = kBufferBytes - std::min(kBufferBytes, to_server.size());
    return request.tunnel
               ? room
               : static_cast<size_t>(std::min(static_cast<int64_t>(room), request.body_bytes));
  }
  short ClientWants() const {
    int events = to_client.empty() ? 0 : POLLOUT;
    if (stage == Stage::kHead || stage == Stage::kFarewell) events |= POLLIN;
    if (stage == Stage::kOpen && !client_ended && Room() > 0) events |= POLLIN;
    return static_cast<short>(events);
  }
  short ServerWants() const {
    if (stage == Stage::kConnect) return POLLOUT;
    if (stage != Stage::kOpen) return 0;
    int events = to_server.empty() ? 0 : POLLOUT;
    if (!server_ended && to_client.size() < kBufferBytes) events |= POLLIN;
    return static_cast<short>(events);
  }

  Stage stage = Stage::kHead;
  int64_t until = NowMs() + kHeadMs;
  std::unique_ptr<FileDescriptor> client, server;
  std::string said;                              ///< By the client, until its head is whole.
  ProxyRequest request;                          ///< `body_bytes`: those that are still to come.
  std::shared_ptr<NameResolver::Lookup> lookup;  ///< Owners: this and the resolver.
  std::vector<IpAddress> addresses;              ///< To try, the next one last.
  std::string to_client, to_server;
  bool client_ended = false, server_ended = false;
};

NetworkProxy::NetworkProxy(std::shared_ptr<const NetworkBounds> bounds)
    : bounds_(std::move(bounds)) {}

Result<std::unique_ptr<NetworkProxy>> NetworkProxy::Start(
    std::shared_ptr<const NetworkBounds> bounds) {
  std::unique_ptr<NetworkProxy> proxy(new NetworkProxy(std::move(bounds)));
  proxy->starter_ = proxy->bounds_->starter;
  if (proxy->starter_.empty()) {
    ASSIGN_OR_RETURN(proxy->starter_, FindToolHost());
  }
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return Failed("no way out for a sandboxed process");
  }
  proxy->door_here_ = std::make_unique<FileDescriptor>(ends[0]);
  proxy->door_there_ = std::make_unique<FileDescriptor>(ends[1]);
  proxy->wake_ = std::make_shared<FileDescriptor>(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (proxy->wake_->get() < 0) return Failed("no way out for a sandboxed process");
  proxy->thread_ = std::thread([owned = proxy.get()] { owned->Run(); });
  return proxy;
}

NetworkProxy::~NetworkProxy() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  if (wake_ != nullptr) eventfd_write(wake_->get(), 1);
  if (thread_.joinable()) thread_.join();
}

std::vector<std::string> NetworkProxy::Refusals() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return refusals_;
}

void NetworkProxy::Decide(const HostDecision& decision) {
  if (bounds_->on_decision) bounds_->on_decision(decision);
  if (decision.allowed) return;
  const std::string words = InWords(decision);
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool known = std::find(refusals_.begin(), refusals_.end(), words) != refusals_.end();
  if (!known && refusals_.size() < kRefusalsMax) refusals_.push_back(words);
}

void NetworkProxy::Run() {
  constexpr int kLookMs = 1000;  // For what has waited too long.
  for (;;) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stop_) break;
    }
    const bool full = connections_.size() >= kConnectionsMax;
    std::vector<pollfd> polled = {
        {wake_->get(), POLLIN, 0},
        {door_here_ == nullptr ? -1 : door_here_->get(), POLLIN, 0},
        {listener_ == nullptr || full ? -1 : listener_->get(), POLLIN, 0}};
    const size_t before = polled.size();
    for (const auto& connection : connections_) {
      // Who wants nothing isn't asked: that it hung up would be told without end.
      const short client = connection->ClientWants(), server = connection->ServerWants();
      polled.push_back({client == 0 ? -1 : connection->client->get(), client, 0});
      polled.push_back({server == 0 ? -1 : connection->ServerFd(), server, 0});
    }
    if (poll(polled.data(), polled.size(), kLookMs) < 0 && errno != EINTR) break;
    eventfd_t ignored = 0;
    if ((polled[0].revents & POLLIN) != 0) eventfd_read(wake_->get(), &ignored);
    for (size_t i = 0; i < connections_.size(); ++i) {
      Step(*connections_[i], polled[before + 2 * i].revents, polled[before + 2 * i + 1].revents);
    }
    std::erase_if(connections_, [](const auto& connection) {
      return connection->stage == Connection::Stage::kGone;
    });
    if (polled[1].revents != 0) TakeListener();
    if (polled[2].revents != 0) Accept();
  }
  connections_.clear();
}

void NetworkProxy::TakeListener() {
  const std::optional<int> received = ReceiveDescriptor(door_here_->get());
  if (!received.has_value()) return;
  if (*received >= 0) {
    auto listener = std::make_unique<FileDescriptor>(*received);
    const int flags = fcntl(*received, F_GETFL);
    if (IsListener(*received) && fcntl(*received, F_SETFL, flags | O_NONBLOCK) == 0) {
      listener_ = std::move(listener);
    }
  }
  door_here_.reset();  // one listener, from before the command began
}

void NetworkProxy::Accept() {
  const int fd = accept4(listener_->get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) connections_.push_back(std::make_unique<Connection>(fd));
  // No descriptors are left: the next look finds the client still waiting.
  constexpr int kPauseMs = 50;
  if (fd < 0 && (errno == EMFILE || errno == ENFILE)) poll(nullptr, 0, kPauseMs);
}

void NetworkProxy::Step(Connection& connection, int client_events, int server_events) {
  using Stage = Connection::Stage;
  switch (connection.stage) {
    case Stage::kHead:
      if (client_events != 0) ReadHead(connection);
      break;
    case Stage::kLookup: TakeAddresses(connection); break;
    case Stage::kConnect:
      if (server_events != 0) Connected(connection);
      break;
    case Stage::kOpen: Pump(connection, client_events, server_events); break;
    case Stage::kFarewell: Linger(connection); break;
    case Stage::kGone: break;
  }
  if (connection.stage == Stage::kGone || NowMs() < connection.until) return;
  switch (connection.stage) {
    case Stage::kHead: return Refuse(connection, 408, "the request took too long");
    case Stage::kLookup: return Refuse(connection, 504, "its name took too long to look up");
    case Stage::kConnect: return ConnectNext(connection);
    default: connection.stage = Stage::kGone;
  }
}

void NetworkProxy::ReadHead(Connection& connection) {
  const ReadEnd end = ReadInto(connection.said, connection.client->get(), kBufferBytes);
  if (end != ReadEnd::kMore) {
    connection.stage = Connection::Stage::kGone;
    return;
  }
  const size_t blank = connection.said.find("\r\n\r\n");
  if (blank == std::string::npos && connection.said.size() <= kProxyHeadBytesMax) return;
  const size_t head = blank == std::string::npos ? connection.said.size() : blank + 4;
  auto request = ParseProxyRequest(std::string_view(connection.said).substr(0, head));
  if (!request.ok()) {
    Decide({"", 0, false, "", "a request that couldn't be read: " + request.status().message()});
    const bool length = request.status().code() == StatusCode::kUnimplemented;
    return Refuse(connection, length ? 411 : 400, request.status().message());
  }
  connection.request = *std::move(request);
  // What came behind the head already.
  connection.said.erase(0, head);
  if (!connection.request.tunnel) {
    const auto body = static_cast<size_t>(std::min<int64_t>(
        connection.request.body_bytes, static_cast<int64_t>(connection.said.size())));
    connection.said.resize(body);
    connection.request.body_bytes -= static_cast<int64_t>(body);
  }
  connection.to_server = connection.request.head + connection.said;
  connection.said.clear();
  Judge(connection);
}

void NetworkProxy::Judge(Connection& connection) {
  const std::string& host = connection.request.host;
  const int port = connection.request.port;
  if (const Status allowed = bounds_->rules.CheckHost(host, port); !allowed.ok()) {
    Decide({host, port, false, "", "not among the session's network_hosts"});
    return Refuse(connection, 403, allowed.message());
  }
  connection.lookup = std::make_shared<NameResolver::Lookup>();
  connection.stage = Connection::Stage::kLookup;
  connection.until = NowMs() + kLookupMs;
  if (const auto address = ParseIpAddress(host)) {
    connection.lookup->addresses = {*address};
    connection.lookup->done = true;
    return TakeAddresses(connection);
  }
  if (!bounds_->resolver->Begin(host, connection.lookup, wake_)) {
    Refuse(connection, 503, "too many names are being looked up");
  }
}

void NetworkProxy::TakeAddresses(Connection& connection) {
  const std::string& host = connection.request.host;
  const int port = connection.request.port;
  std::vector<IpAddress> found;
  std::string error;
  {
    const std::lock_guard<std::mutex> lock(connection.lookup->mutex);
    if (!connection.lookup->done) return;
    found = connection.lookup->addresses;
    error = connection.lookup->error;
  }
  if (!error.empty()) return Refuse(connection, 502, "'" + host + "' can't be found: " + error);
  Status refused;
  for (const IpAddress& address : found) {
    const Status fit = bounds_->rules.CheckAddress(host, port, address);
    if (fit.ok()) connection.addresses.push_back(address);
    if (!fit.ok()) refused = fit;
  }
  if (connection.addresses.empty()) {
    Decide({host, port, false, "", refused.message()});
    return Refuse(connection, 403, refused.message());
  }
  std::reverse(connection.addresses.begin(), connection.addresses.end());
  Decide({host, port, true, connection.addresses.back().ToText(), ""});
  ConnectNext(connection);
}

void NetworkProxy::ConnectNext(Connection& connection) {
  while (!connection.addresses.empty()) {
    const IpAddress address = connection.addresses.back();
    connection.addresses.pop_back();
    sockaddr_storage to = {};
    const socklen_t bytes = ToSocketAddress(address, connection.request.port, &to);
    const int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) continue;
    connection.server = std::make_unique<FileDescriptor>(fd);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), bytes) != 0 && errno != EINPROGRESS) {
      continue;
    }
    connection.stage = Connection::Stage::kConnect;
    connection.until = NowMs() + kConnectMs;
    return;
  }
  Refuse(connection, 502, "'" + connection.request.host + "' can't be connected to");
}

void NetworkProxy::Connected(Connection& connection) {
  int error = 0;
  socklen_t bytes = sizeof(error);
  const int fd = connection.ServerFd();
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0 || error != 0) {
    return ConnectNext(connection);
  }
  const int at_once = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once));
  setsockopt(connection.client->get(), IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once));
  if (connection.request.tunnel) {
    connection.to_client = "HTTP/1.1 200 Connection established\r\n\r\n";
  }
  connection.stage = Connection::Stage::kOpen;
  connection.until = NowMs() + kIdleMs;
  Pump(connection, 0, 0);
}

void NetworkProxy::Pump(Connection& connection, int client_events, int server_events) {
  const int client = connection.client->get(), server = connection.ServerFd();
  if ((client_events | server_events) != 0) connection.until = NowMs() + kIdleMs;
  bool broken = false;
  if (client_events != 0 && !connection.client_ended && connection.Room() > 0) {
    const size_t before = connection.to_server.size();
    const ReadEnd end = ReadInto(connection.to_server, client, connection.Room());
    connection.request.body_bytes -= static_cast<int64_t>(connection.to_server.size() - before);
    connection.client_ended = end == ReadEnd::kEnded;
    // A tunnel may be closed on one side; a body that stops short may not.
    broken = end == ReadEnd::kBroken || (connection.client_ended && !connection.request.tunnel);
  }
  if (server_events != 0 && !connection.server_ended &&
      connection.to_client.size() < kBufferBytes) {
    const ReadEnd end =
        ReadInto(connection.to_client, server, kBufferBytes - connection.to_client.size());
    connection.server_ended = end != ReadEnd::kMore;
  }
  broken = broken || !SendFrom(connection.to_client, client);
  if (!connection.server_ended) {
    broken = broken || !SendFrom(connection.to_server, server);
    if (connection.client_ended && connection.to_server.empty()) shutdown(server, SHUT_WR);
  }
  if (broken) connection.stage = Connection::Stage::kGone;
  if (!broken && connection.server_ended && connection.to_client.empty()) Farewell(connection);
}

void NetworkProxy::Farewell(Connection& connection) {
  connection.server.reset();
  connection.stage = Connection::Stage::kFarewell;
  connection.until = NowMs() + kFarewellMs;
  Linger(connection);
}

void NetworkProxy::Linger(Connection& connection) {
  const int client = connection.client->get();
  if (!SendFrom(connection.to_client, client)) {
    connection.stage = Connection::Stage::kGone;
    return;
  }
  if (!connection.to_client.empty()) return;
  shutdown(client, SHUT_WR);
  // What it still says is read and dropped: closed at once, it would lose what it was told.
  connection.said.clear();
  if (ReadInto(connection.said, client, kBufferBytes) != ReadEnd::kMore) {
    connection.stage = Connection::Stage::kGone;
  }
}

void NetworkProxy::Refuse(Connection& connection, int code, const std::string& why) {
  const std::string text = "baleen: " + why + "\n";
  connection.to_client = "HTTP/1.1 " + std::to_string(code) +
                         " Refused\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                         "Content-Length: " +
                         std::to_string(text.size()) + "\r\n\r\n" + text;
  Farewell(connection);
}

}  // namespace baleen
