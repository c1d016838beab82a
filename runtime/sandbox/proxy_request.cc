#include "runtime/sandbox/proxy_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "runtime/http/address_rules.h"

namespace baleen {
namespace {

constexpr size_t kFieldsMax = 100;
constexpr int64_t kBodyBytesMax = int64_t{1} << 40;
constexpr int kPortMax = 65535;

/// About the connection or the proxy, or ours to say.
constexpr std::array<std::string_view, 9> kLeftOut = {"connection",
                                                      "proxy-connection",
                                                      "proxy-authorization",
                                                      "proxy-authenticate",
                                                      "keep-alive",
                                                      "te",
                                                      "trailer",
                                                      "upgrade",
                                                      "host"};

Status Bad(const std::string& what) { return InvalidArgumentError(what, "BAD_REQUEST"); }

bool IsTokenByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenByte);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <typename T>
std::optional<T> Number(std::string_view text, T most) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool digits = !text.empty() && text.front() >= '0' && text.front() <= '9';
  if (!digits || error != std::errc() || end != text.data() + text.size() || value > most) {
    return std::nullopt;
  }
  return value;
}

/// HOST, HOST:PORT, [IPV6] or [IPV6]:PORT. `port_default` 0: a port is needed.
Status ParseAuthority(std::string_view authority, int port_default, ProxyRequest* out) {
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  std::string_view host = authority;
  out->port = port_default;
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    const std::optional<int> port = Number<int>(authority.substr(colon + 1), kPortMax);
    if (!port.has_value() || *port == 0) return Bad("the port isn't 1 to 65535");
    out->port = *port;
    host = authority.substr(0, colon);
  }
  if (out->port == 0) return Bad("expected HOST:PORT");
  if (host.find(':') != std::string_view::npos && !host.starts_with('[')) {
    return Bad("an IPv6 address belongs between '[' and ']'");
  }
  ASSIGN_OR_RETURN(out->host, CanonicalHost(host));
  return OkStatus();
}

/// Splits at the first `mark`; false: there is none.
bool Split(std::string_view text, char mark, std::string_view* first, std::string_view* rest) {
  const size_t at = text.find(mark);
  if (at == std::string_view::npos) return false;
  *first = text.substr(0, at);
  *rest = text.substr(at + 1);
  return true;
}

/// "METHOD TARGET HTTP/1.x".
Status ParseRequestLine(std::string_view line, ProxyRequest* out) {
  std::string_view method, rest, target, version;
  if (!Split(line, ' ', &method, &rest) || !Split(rest, ' ', &target, &version) ||
      !IsToken(method)) {
    return Bad("expected a request line of three words");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return Bad("expected HTTP/1.1 or HTTP/1.0");
  if (method == "CONNECT") {
    out->tunnel = true;
    return ParseAuthority(target, 0, out);
  }
  constexpr std::string_view kScheme = "http://";
  if (Lower(target.substr(0, kScheme.size())) != kScheme) {
    return Bad("expected CONNECT HOST:PORT, or a target that begins with http://");
  }
  target.remove_prefix(kScheme.size());
  const size_t end = std::min(target.find_first_of("/?"), target.size());
  const std::string_view authority = target.substr(0, end);
  std::string path(target.substr(end));
  if (authority.find('@') != std::string_view::npos) return Bad("a target with a user's name");
  if (path.find('#') != std::string::npos) return Bad("a target with a fragment");
  if (!path.starts_with('/')) path.insert(0, "/");
  RETURN_IF_ERROR(ParseAuthority(authority, 80, out));
  const bool v6 = out->host.find(':') != std::string::npos;
  out->head = std::string(method) + " " + path + " " + std::string(version) +
              "\r\nHost: " + (v6 ? "[" + out->host + "]" : out->host) +
              (out->port == 80 ? "" : ":" + std::to_string(out->port)) +
              "\r\nConnection: close\r\n";
  return OkStatus();
}

/// Every byte is one that a head may have, and lines end with CR LF alone.
bool IsPlain(std::string_view head) {
  for (size_t i = 0; i < head.size(); ++i) {
    const auto byte = static_cast<unsigned char>(head[i]);
    if (byte == '\r') {
      if (i + 1 >= head.size() || head[i + 1] != '\n') return false;
    } else if (byte == '\n') {
      if (i == 0 || head[i - 1] != '\r') return false;
    } else if ((byte < ' ' && byte != '\t') || byte == 0x7F) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<ProxyRequest> ParseProxyRequest(std::string_view head) {
  if (head.size() > kProxyHeadBytesMax) return Bad("a head of more than 16 KiB");
  if (!head.ends_with("\r\n\r\n") || head.find("\r\n\r\n") != head.size() - 4 || !IsPlain(head)) {
    return Bad("expected lines of text that end with CR LF, and an empty one");
  }
  head.remove_suffix(2);
  ProxyRequest request;
  std::optional<int64_t> length;
  size_t fields = 0;
  for (bool first = true; !head.empty(); first = false) {
    const size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (first) {
      RETURN_IF_ERROR(ParseRequestLine(line, &request));
      continue;
    }
    std::string_view name, value;
    if (++fields > kFieldsMax) return Bad("more than 100 header fields");
    if (!Split(line, ':', &name, &value) || !IsToken(name)) {
      return Bad("expected header fields NAME: VALUE");
    }
    const std::string field = Lower(name);
    if (field == "transfer-encoding") {
      return UnimplementedError("a body in chunks; this proxy takes those with a Content-Length");
    }
    if (field == "content-length") {
      if (length.has_value()) return Bad("two lengths of the body");
      length = Number<int64_t>(Trimmed(value), kBodyBytesMax);
      if (!length.has_value()) return Bad("a Content-Length that is no number");
    }
    if (std::find(kLeftOut.begin(), kLeftOut.end(), field) != kLeftOut.end()) continue;
    if (!request.tunnel) request.head += std::string(line) + "\r\n";
  }
  if (request.tunnel) return request;
  request.head += "\r\n";
  request.body_bytes = length.value_or(0);
  return request;
}

}  // namespace baleen
