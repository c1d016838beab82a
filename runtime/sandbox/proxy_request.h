// What a sandboxed program asks our proxy for: the head of one HTTP request, read strictly.
//
// A pure function of text. Called by network_proxy.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools_sdk/status.h"

namespace baleen {

/// Of the head with its empty line.
inline constexpr size_t kProxyHeadBytesMax = 16 << 10;

struct ProxyRequest {
  bool tunnel = false;     ///< CONNECT: what follows is passed on as it is, both ways.
  std::string host;        ///< Canonical (address_rules.h).
  int port = 0;            ///< 1 to 65535.
  std::string head;        ///< Of any other request: what its server is sent.
  int64_t body_bytes = 0;  ///< That follow; none of a tunnel.
};

/// `head` ends with its empty line. A request for http://HOST/PATH goes on as one for PATH at HOST:
/// its Host is what the target says, its connection ends with the answer, and what is about the
/// connection or the proxy is left out.
/// Errors: INVALID_ARGUMENT saying what is wrong; UNIMPLEMENTED (a body without a length).
Result<ProxyRequest> ParseProxyRequest(std::string_view head);

}  // namespace baleen
