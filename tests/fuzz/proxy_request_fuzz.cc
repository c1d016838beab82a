// A sandboxed program may send its proxy anything: a head that is taken names a host and port that
// can be judged, and what goes on to a server reads as one request, for that host, with one length.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/http/address_rules.h"
#include "runtime/sandbox/proxy_request.h"

namespace {

using baleen::CanonicalHost;
using baleen::ParseProxyRequest;
using baleen::ProxyRequest;

void Require(bool holds) {
  if (!holds) std::abort();
}

size_t Count(const std::string& text, const std::string& what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

std::string Lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string head(reinterpret_cast<const char*>(bytes), size);
  const auto request = ParseProxyRequest(head);
  if (!request.ok()) return 0;
  const auto host = CanonicalHost(request->host);
  Require(host.ok() && *host == request->host);
  Require(request->port >= 1 && request->port <= 65535 && request->body_bytes >= 0);
  if (request->tunnel) {
    Require(request->head.empty() && request->body_bytes == 0);
    return 0;
  }
  const std::string forwarded = Lower(request->head);
  Require(forwarded.find("\r\n\r\n") == forwarded.size() - 4);
  Require(Count(forwarded, "\r\nhost:") == 1 && Count(forwarded, "\r\nconnection:") == 1);
  Require(Count(forwarded, "\r\ncontent-length:") <= 1);
  Require(Count(forwarded, "\r\ntransfer-encoding:") == 0);
  Require(Count(forwarded, "\n") == Count(forwarded, "\r\n"));
  // It is no request to a proxy any more: read as one, it has no host.
  Require(!ParseProxyRequest(request->head).ok());
  return 0;
}
