// Url: an http or https URL in its parts, read by the parser that later sends it.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen {

struct Url {
  std::string text;    ///< As it is sent: host in its one spelling, no fragment.
  std::string scheme;  ///< "http" or "https".
  std::string host;    ///< Canonical (runtime/http/address_rules.h).
  int port = 0;
  std::string path;

  /// "HOST:PORT", IPv6 in brackets: a host rule that matches this alone.
  std::string HostAndPort() const;
  bool SameOrigin(const Url& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

/// Errors: INVALID_ARGUMENT/BAD_URL: not absolute, not http or https, a name or password in it, a
/// host that isn't canonical (CanonicalHost), more than 8 KiB.
Result<Url> ParseUrl(const std::string& text);

/// Where `reference` (a Location, a link) leads from `base`. Errors: as ParseUrl.
Result<Url> ResolveUrl(const Url& base, const std::string& reference);

}  // namespace baleen
