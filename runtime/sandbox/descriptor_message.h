// An open file as a message: how a listening socket gets out of a namespace. Called by
// baleen-tool-host.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>

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

}  // namespace baleen
