#include "runtime/grpc/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace baleen {
namespace {

constexpr char kInUse[] = "ADDRESS_IN_USE";
constexpr int kBacklog = 64;
// Out of descriptors: accept would fail in a tight loop, since the connection stays pending.
constexpr int kRetryMs = 100;

std::string ErrnoText(int error) { return std::generic_category().message(error); }

Status OsError(const std::string& what, int error) {
  const std::string message = what + ": " + ErrnoText(error);
  if (error == EACCES || error == EPERM || error == EROFS) return PermissionDeniedError(message);
  if (error == ENOENT || error == ENOTDIR) return NotFoundError(message);
  if (error == EADDRINUSE) return FailedPreconditionError(message + "; choose another", kInUse);
  return UnavailableError(message);
}

Result<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un out = {};
  out.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(out.sun_path) || path.find('\0') != std::string::npos) {
    return InvalidArgumentError("listen address 'unix:" + path + "': expected a path of 1 to " +
                                std::to_string(sizeof(out.sun_path) - 1) +
                                " bytes (the kernel's limit), got " + std::to_string(path.size()) +
                                "; choose a shorter folder");
  }
  std::memcpy(out.sun_path, path.data(), path.size());
  return out;
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// The folder is the border: nobody else may put a socket of his own into our place.
Status PrepareFolder(const std::string& folder) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return OsError("socket folder '" + folder + "' can't be made", errno);
  }
  struct stat state = {};
  if (stat(folder.c_str(), &state) != 0) return OsError("socket folder '" + folder + "'", errno);
  if (!S_ISDIR(state.st_mode)) {
    return InvalidArgumentError("socket folder '" + folder + "' is not a folder");
  }
  const bool foreign = state.st_uid != geteuid() && state.st_uid != 0;
  const bool open_to_others = (state.st_mode & 0022) != 0;
  if (foreign || open_to_others) {
    return PermissionDeniedError("socket folder '" + folder +
                                 "' belongs to or can be written by other users; expected mode "
                                 "0700, choose another or run chmod 700");
  }
  return OkStatus();
}

/// Under the lock: removes a socket file that nobody answers on.
Status RemoveStaleSocket(const std::string& path, const sockaddr_un& address) {
  struct stat state = {};
  if (lstat(path.c_str(), &state) != 0) {
    return errno == ENOENT ? OkStatus() : OsError("socket '" + path + "'", errno);
  }
  if (!S_ISSOCK(state.st_mode)) {
    return FailedPreconditionError(
        "'" + path + "' exists and is not a socket; move it away or choose another path", kInUse);
  }
  const OwnedFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return OsError("socket", errno);
  const int rc = connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  // EAGAIN: somebody listens, but his backlog is full.
  if (rc == 0 || errno != ECONNREFUSED) {
    return FailedPreconditionError(
        "another server answers on '" + path + "'; stop it or choose another path", kInUse);
  }
  if (unlink(path.c_str()) != 0) return OsError("stale socket '" + path + "'", errno);
  return OkStatus();
}

bool SplitHostPort(const std::string& address, std::string* host, std::string* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  *host = address.substr(0, colon);
  *port = address.substr(colon + 1);
  if (host->size() > 2 && host->front() == '[' && host->back() == ']') {
    *host = host->substr(1, host->size() - 2);
  }
  return !port->empty();
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::Bind(const std::string& address) {
  std::unique_ptr<Listener> listener(new Listener);
  constexpr std::string_view kUnix = "unix:";
  std::string host;
  std::string port;
  if (address.starts_with(kUnix)) {
    RETURN_IF_ERROR(listener->BindUnix(address.substr(kUnix.size())));
  } else if (SplitHostPort(address, &host, &port)) {
    RETURN_IF_ERROR(listener->BindTcp(host, port));
  } else {
    return InvalidArgumentError("listen address: expected 'unix:PATH' or 'HOST:PORT', got '" +
                                address.substr(0, 80) + "'");
  }
  RETURN_IF_ERROR(listener->MakeStopEvent());
  return listener;
}

Listener::~Listener() { Stop(); }

Status Listener::BindUnix(const std::string& path) {
  ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  RETURN_IF_ERROR(PrepareFolder(ParentOf(path)));
  const std::string lock_path = path + ".lock";
  lock_ = OwnedFd(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_.valid()) return OsError("lock file '" + lock_path + "'", errno);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return FailedPreconditionError(
        "another server holds '" + lock_path + "'; stop it or choose another path", kInUse);
  }
  RETURN_IF_ERROR(RemoveStaleSocket(path, address));
  socket_ = OwnedFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_.valid()) return OsError("socket", errno);
  // The mode of the socket's inode becomes that of the file, so there is no moment of wider access.
  if (fchmod(socket_.get(), 0600) != 0) return OsError("socket mode", errno);
  if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return OsError("socket '" + path + "' can't be bound", errno);
  }
  path_ = path;
  if (chmod(path.c_str(), 0600) != 0) return OsError("mode of socket '" + path + "'", errno);
  if (listen(socket_.get(), kBacklog) != 0) return OsError("listening on '" + path + "'", errno);
  address_ = "unix:" + path;
  return OkStatus();
}

Status Listener::BindTcp(const std::string& host, const std::string& port) {
  const std::string numeric = host == "localhost" ? "127.0.0.1" : host;
  uint16_t number = 0;
  const char* end = port.data() + port.size();
  const auto [stop, error] = std::from_chars(port.data(), end, number);
  if (error != std::errc() || stop != end) {
    return InvalidArgumentError("listen port: expected 0 to 65535, got '" + port + "'");
  }
  sockaddr_in v4 = {};
  sockaddr_in6 v6 = {};
  const bool is_v4 = inet_pton(AF_INET, numeric.c_str(), &v4.sin_addr) == 1;
  const bool is_v6 = !is_v4 && inet_pton(AF_INET6, numeric.c_str(), &v6.sin6_addr) == 1;
  if (!is_v4 && !is_v6) {
    return InvalidArgumentError("listen address '" + host.substr(0, 80) +
                                "': expected a numeric address or localhost");
  }
  v4.sin_family = AF_INET;
  v4.sin_port = htons(number);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(number);
  sockaddr* where = is_v4 ? reinterpret_cast<sockaddr*>(&v4) : reinterpret_cast<sockaddr*>(&v6);
  socklen_t length = is_v4 ? sizeof(v4) : sizeof(v6);
  socket_ = OwnedFd(socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_.valid()) return OsError("socket", errno);
  const int on = 1;  // a port in TIME_WAIT may be taken again; a listening one may not
  setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket_.get(), where, length) != 0 || listen(socket_.get(), kBacklog) != 0) {
    return OsError("listen address '" + host + ":" + port + "'", errno);
  }
  if (getsockname(socket_.get(), where, &length) != 0) return OsError("getsockname", errno);
  const uint16_t real = ntohs(is_v4 ? v4.sin_port : v6.sin6_port);
  address_ = (is_v4 ? numeric : "[" + numeric + "]") + ":" + std::to_string(real);
  return OkStatus();
}

Status Listener::MakeStopEvent() {
  stop_event_ = OwnedFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  return stop_event_.valid() ? OkStatus() : OsError("eventfd", errno);
}

void Listener::Start(std::function<void(int fd)> take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Accept(); });
}

void Listener::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    // Can't fail: the counter of an eventfd that is written once has room.
    if (write(stop_event_.get(), &one, sizeof(one)) == sizeof(one)) thread_.join();
  }
  // The file first, while the lock still keeps a successor from binding the same path.
  if (!path_.empty()) unlink(std::exchange(path_, {}).c_str());
  socket_.Close();
  lock_.Close();
}

void Listener::Accept() {
  pollfd waits[2] = {{stop_event_.get(), POLLIN, 0}, {socket_.get(), POLLIN, 0}};
  while (true) {
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if ((waits[0].revents & POLLIN) != 0) return;
    const int fd = accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      OwnedFd peer(fd);
      if (PeerAllowed(fd)) take_(peer.Release());
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      if (poll(waits, 1, kRetryMs) > 0) return;
    }
  }
}

bool Listener::PeerAllowed(int fd) const {
  if (path_.empty()) return true;
  ucred peer = {};
  socklen_t length = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == geteuid() || peer.uid == 0;
}

}  // namespace baleen
