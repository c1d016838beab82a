// watch: waits until a file changes. A native tool in C++17, which ends at once when it is
// cancelled.
#include <baleen/plugin_tool.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace {

using baleen::plugin::Call;
using baleen::plugin::Failure;

struct Inotify {
  int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  ~Inotify() {
    if (fd >= 0) close(fd);
  }
};

std::string Watch(Call& call) {
  const std::string path = *call.Get<std::string>("path");
  const int seconds = call.Get<int>("seconds").value_or(60);
  const Inotify inotify;
  if (inotify_add_watch(inotify.fd, path.c_str(), IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF) < 0) {
    throw Failure("'" + path + "' can't be watched: " + std::strerror(errno));
  }
  call.Progress("watching " + path);
  pollfd fds[] = {{inotify.fd, POLLIN, 0}, {call.cancel_fd(), POLLIN, 0}};
  const int ready = poll(fds, 2, seconds * 1000);
  call.CheckCancelled();
  return ready > 0 ? "'" + path + "' changed."
                   : "'" + path + "' didn't change within " + std::to_string(seconds) + " s.";
}

}  // namespace

BALEEN_PLUGIN("watch", "1.0",
              Tool("watch", "Waits until a file changes, or the time is over.")
                  .Argument<std::string>("path", "Absolute path of the file.")
                  .Optional<int>("seconds", "How long to wait at most; default: 60.")
                  .Pure()
                  .Reentrant()
                  .TimeoutMs(10 * 60 * 1000)
                  .Run(Watch));
