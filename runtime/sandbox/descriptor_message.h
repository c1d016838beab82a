// An open file as a message: how a listening socket gets out of a namespace. Sent by
// baleen-tool-host, received by the proxy.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace baleen {

/// False: errno says why.
inline bool SendDescriptor(int socket, int file) {
  char byte = 'L';
  iovec text = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(part), &file, sizeof(file));
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

/// Unset: no message has come yet. -1: one without a file, or the other side is gone. Waits for
/// nothing; the file is closed on exec.
inline std::optional<int> ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec text = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  const cmsghdr* part = got <= 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (part == nullptr || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS ||
      part->cmsg_len != CMSG_LEN(sizeof(int))) {
    return -1;
  }
  int file = -1;
  std::memcpy(&file, CMSG_DATA(part), sizeof(file));
  return file;
}

}  // namespace baleen
