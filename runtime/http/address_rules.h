// AddressRules: which hosts may be asked, and which addresses their names may stand for.
//
// A name that is allowed may still resolve to this machine, to the network around it or to a
// cloud's metadata: those addresses are connected to only where a rule names them literally. Pure
// functions of text and bytes: resolves nothing, opens nothing. Called by whatever connects on a
// model's behalf.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// IPv4 lies in the first four bytes, in network order.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};
  bool v6 = false;

  bool operator==(const IpAddress&) const = default;
  /// As inet_ntop writes it.
  std::string ToText() const;
};

/// Four decimal numbers, or IPv6 without brackets and zone; nothing else is an address.
std::optional<IpAddress> ParseIpAddress(std::string_view text);

/// Empty: neither IPv4 nor IPv6.
std::optional<IpAddress> IpAddressOf(const sockaddr& address);

/// What makes an address not a public one ("loopback", "private", ...); null: nothing does. An
/// address that carries an IPv4 one (mapped, translated, tunnelled) is what that one is.
/// Source: IANA special-purpose address registries (RFC 6890 and its updates), as of 2025.
const char* SpecialUse(const IpAddress& address);

/// One spelling per host: lower case, no trailing dot, an address as ToText writes it without
/// brackets. Errors: INVALID_ARGUMENT: not a name of ASCII labels (other scripts: in punycode) nor
/// an address, such as "0x7f.1" or "127.1".
Result<std::string> CanonicalHost(std::string_view host);

/// The hosts that may be asked. A value.
class HostRules {
 public:
  /// Each a host, "*.DOMAIN" (what is below it) or "*" (any), optionally with ":PORT"; IPv6 with a
  /// port in brackets. None: nothing may be asked. Errors: INVALID_ARGUMENT naming the pattern.
  static Result<HostRules> Parse(const std::vector<std::string>& patterns);

  /// Requires: `host` is canonical. Errors: PERMISSION_DENIED/HOST_REFUSED.
  Status CheckHost(std::string_view host, int port) const;

  /// Whether `address`, which the allowed `host` stands for, may be connected to: a public one, or
  /// `host` is that address and a rule names it literally.
  /// Requires: `host` is canonical. Errors: PERMISSION_DENIED/ADDRESS_REFUSED.
  Status CheckAddress(std::string_view host, int port, const IpAddress& address) const;

 private:
  struct Rule {
    std::string host;  ///< Canonical; of a domain with its '.' in front; "": any.
    int port = 0;      ///< 0: any.
    bool below = false;
  };

  std::vector<Rule> rules_;
};

}  // namespace baleen
