#include "runtime/http/url.h"

#include <curl/curl.h>

#include <charconv>
#include <memory>

#include "runtime/http/address_rules.h"

namespace baleen {
namespace {

constexpr size_t kUrlBytesMax = 8 << 10;

using Handle = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

Status Bad(const std::string& what) { return InvalidArgumentError("url: " + what, "BAD_URL"); }

Result<std::string> Part(CURLU* url, CURLUPart part, unsigned int flags = 0) {
  char* text = nullptr;
  const CURLUcode code = curl_url_get(url, part, &text, flags);
  const std::unique_ptr<char, decltype(&curl_free)> owned(text, curl_free);
  if (code != CURLUE_OK) return Bad(curl_url_strerror(code));
  return std::string(text);
}

Status Set(CURLU* url, CURLUPart part, const std::string& text) {
  if (text.size() > kUrlBytesMax) {
    return Bad("more than " + std::to_string(kUrlBytesMax) + " bytes");
  }
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 127) {
      return Bad("it has white space or control characters in it");
    }
  }
  const CURLUcode code = curl_url_set(url, part, text.c_str(), CURLU_DISALLOW_USER);
  return code == CURLUE_OK ? OkStatus() : Bad(curl_url_strerror(code));
}

Result<Url> Read(CURLU* handle) {
  Url url;
  ASSIGN_OR_RETURN(url.scheme, Part(handle, CURLUPART_SCHEME));
  if (url.scheme != "http" && url.scheme != "https") return Bad("expected http:// or https://");
  ASSIGN_OR_RETURN(const std::string host, Part(handle, CURLUPART_HOST));
  ASSIGN_OR_RETURN(url.host, CanonicalHost(host));
  if (char* zone = nullptr; curl_url_get(handle, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK) {
    curl_free(zone);
    return Bad("an address with a zone");
  }
  const bool v6 = url.host.find(':') != std::string::npos;
  RETURN_IF_ERROR(Set(handle, CURLUPART_HOST, v6 ? "[" + url.host + "]" : url.host));
  curl_url_set(handle, CURLUPART_FRAGMENT, nullptr, 0);
  ASSIGN_OR_RETURN(const std::string port, Part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT));
  std::from_chars(port.data(), port.data() + port.size(), url.port);
  if (url.port < 1 || url.port > 65535) return Bad("expected a port of 1 to 65535");
  ASSIGN_OR_RETURN(url.path, Part(handle, CURLUPART_PATH));
  ASSIGN_OR_RETURN(url.text, Part(handle, CURLUPART_URL));
  return url;
}

}  // namespace

std::string Url::HostAndPort() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Url> ParseUrl(const std::string& text) {
  const Handle handle(curl_url(), curl_url_cleanup);
  if (handle == nullptr) return InternalError("libcurl: no URL handle");
  RETURN_IF_ERROR(Set(handle.get(), CURLUPART_URL, text));
  return Read(handle.get());
}

Result<Url> ResolveUrl(const Url& base, const std::string& reference) {
  const Handle handle(curl_url(), curl_url_cleanup);
  if (handle == nullptr) return InternalError("libcurl: no URL handle");
  RETURN_IF_ERROR(Set(handle.get(), CURLUPART_URL, base.text));
  RETURN_IF_ERROR(Set(handle.get(), CURLUPART_URL, reference));
  return Read(handle.get());
}

}  // namespace baleen
