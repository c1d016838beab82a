#include "runtime/http/address_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

namespace baleen {
namespace {

constexpr size_t kRulesMax = 256;
constexpr size_t kNameBytesMax = 253;  // of a name in the DNS, without its final dot
constexpr size_t kLabelBytesMax = 63;

/// The addresses whose first `bits` bits are those of `address`.
struct Range {
  const char* address;
  int bits;
  const char* use;
};

constexpr Range kV4Ranges[] = {
    {"169.254.169.254", 32, "metadata"},
    {"169.254.170.2", 32, "metadata"},    // of containers at Amazon
    {"100.100.100.200", 32, "metadata"},  // Alibaba
    {"168.63.129.16", 32, "metadata"},    // Azure, for all that it is a public one
    {"0.0.0.0", 8, "unspecified"},
    {"10.0.0.0", 8, "private"},
    {"100.64.0.0", 10, "carrier-grade NAT"},
    {"127.0.0.0", 8, "loopback"},
    {"169.254.0.0", 16, "link-local"},
    {"172.16.0.0", 12, "private"},
    {"192.0.0.0", 24, "reserved"},
    {"192.0.2.0", 24, "documentation"},
    {"192.88.99.0", 24, "reserved"},
    {"192.168.0.0", 16, "private"},
    {"198.18.0.0", 15, "benchmarking"},
    {"198.51.100.0", 24, "documentation"},
    {"203.0.113.0", 24, "documentation"},
    {"224.0.0.0", 4, "multicast"},
    {"240.0.0.0", 4, "reserved"},
};

constexpr Range kV6Ranges[] = {
    {"fd00:ec2::254", 128, "metadata"},
    {"::", 128, "unspecified"},
    {"::1", 128, "loopback"},
    {"64:ff9b:1::", 48, "private"},  // NAT64 within a network
    {"fc00::", 7, "private"},
    {"fe80::", 10, "link-local"},
    {"fec0::", 10, "private"},
    {"ff00::", 8, "multicast"},
    {"2001::", 23, "reserved"},  // Teredo and others whose IPv4 ends can't be judged alone
    {"2001:db8::", 32, "documentation"},
    {"3fff::", 20, "documentation"},
};

/// Prefixes behind which, at a byte, lies an IPv4 address that packets go on to.
struct Carrier {
  const char* address;
  int bits;
  size_t v4_at;
};

constexpr Carrier kCarriers[] = {
    {"::ffff:0:0", 96, 12},    // mapped
    {"::", 96, 12},            // compatible
    {"::ffff:0:0:0", 96, 12},  // translated, RFC 2765
    {"64:ff9b::", 96, 12},     // NAT64
    {"2002::", 16, 2},         // 6to4
};

bool Within(std::span<const uint8_t> address, std::span<const uint8_t> prefix, int bits) {
  const auto whole = static_cast<size_t>(bits / 8);
  if (!std::equal(prefix.begin(), prefix.begin() + bits / 8, address.begin())) return false;
  const int rest = bits % 8;
  return rest == 0 || (address[whole] >> (8 - rest)) == (prefix[whole] >> (8 - rest));
}

bool Within(const IpAddress& address, const char* prefix, int bits) {
  const auto parsed = ParseIpAddress(prefix);
  return parsed.has_value() && Within(address.bytes, parsed->bytes, bits);
}

const char* UseIn(std::span<const Range> ranges, const IpAddress& address) {
  for (const Range& range : ranges) {
    if (Within(address, range.address, range.bits)) return range.use;
  }
  return nullptr;
}

IpAddress CarriedV4(const IpAddress& address, size_t at) {
  IpAddress v4;
  std::copy_n(address.bytes.begin() + static_cast<std::ptrdiff_t>(at), 4, v4.bytes.begin());
  return v4;
}

/// The interface id of ISATAP: 0:5efe or 200:5efe before an IPv4 address.
bool IsIsatap(const IpAddress& address) {
  const auto& b = address.bytes;
  return (b[8] & ~2) == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe;
}

bool IsLabel(std::string_view label) {
  if (label.empty() || label.size() > kLabelBytesMax) return false;
  if (label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

/// What resolvers may take for a part of an IPv4 address.
bool IsNumber(std::string_view label) {
  const bool hex = label.starts_with("0x");
  const std::string_view digits = hex ? label.substr(2) : label;
  return std::all_of(digits.begin(), digits.end(), [hex](char c) {
    return (c >= '0' && c <= '9') || (hex && c >= 'a' && c <= 'f');
  });
}

std::string Shown(std::string_view text) {
  std::string shown(text.substr(0, 80));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < ' ' || static_cast<unsigned char>(c) > 126) c = '?';
  }
  return "'" + shown + "'";
}

}  // namespace

std::string IpAddress::ToText() const {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

std::optional<IpAddress> ParseIpAddress(std::string_view text) {
  const std::string terminated(text);
  if (terminated.size() != std::strlen(terminated.c_str())) return std::nullopt;
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address;
  address.v6 = true;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::optional<IpAddress> IpAddressOf(const sockaddr& address) {
  IpAddress ip;
  if (address.sa_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    std::memcpy(ip.bytes.data(), &v4.sin_addr, 4);
    return ip;
  }
  if (address.sa_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    std::memcpy(ip.bytes.data(), &v6.sin6_addr, 16);
    ip.v6 = true;
    return ip;
  }
  return std::nullopt;
}

const char* SpecialUse(const IpAddress& address) {
  if (!address.v6) return UseIn(kV4Ranges, address);
  if (const char* use = UseIn(kV6Ranges, address)) return use;
  for (const Carrier& carrier : kCarriers) {
    if (!Within(address, carrier.address, carrier.bits)) continue;
    return UseIn(kV4Ranges, CarriedV4(address, carrier.v4_at));
  }
  if (IsIsatap(address)) {
    if (const char* use = UseIn(kV4Ranges, CarriedV4(address, 12))) return use;
  }
  // All that is given out lies in here.
  return Within(address, "2000::", 3) ? nullptr : "reserved";
}

Result<std::string> CanonicalHost(std::string_view host) {
  const auto bad = [&](const char* expected) {
    return InvalidArgumentError("host " + Shown(host) + ": expected " + expected, "BAD_HOST");
  };
  std::string name(host);
  if (name.starts_with('[') && name.ends_with(']')) {
    const auto address = ParseIpAddress(name.substr(1, name.size() - 2));
    if (!address.has_value() || !address->v6) return bad("an IPv6 address between '[' and ']'");
    return address->ToText();
  }
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (const auto address = ParseIpAddress(name)) return address->ToText();
  if (name.ends_with('.')) name.pop_back();
  if (name.empty() || name.size() > kNameBytesMax) return bad("a name of 1 to 253 bytes");
  std::string_view last;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    last = std::string_view(name).substr(begin, end - begin);
    if (!IsLabel(last)) {
      return bad("labels of a-z, 0-9, '-' and '_', other scripts in punycode (xn--...)");
    }
    begin = end + 1;
  }
  if (IsNumber(last)) return bad("a name, or an IPv4 address as four decimal numbers");
  return name;
}

Result<HostRules> HostRules::Parse(const std::vector<std::string>& patterns) {
  if (patterns.size() > kRulesMax) {
    return InvalidArgumentError(
        std::to_string(patterns.size()) + " hosts: expected at most " + std::to_string(kRulesMax),
        "BAD_HOST");
  }
  HostRules rules;
  for (const std::string& pattern : patterns) {
    Rule rule;
    std::string_view host = pattern;
    // More than one ':' outside of brackets: an IPv6 address alone.
    const size_t colon = host.rfind(':');
    const bool has_port = colon != std::string_view::npos && colon > 0 &&
                          (host[colon - 1] == ']' || host.find(':') == colon);
    if (has_port) {
      const std::string_view port = host.substr(colon + 1);
      const auto read = std::from_chars(port.data(), port.data() + port.size(), rule.port);
      if (read.ec != std::errc() || read.ptr != port.data() + port.size() || rule.port < 1 ||
          rule.port > 65535) {
        return InvalidArgumentError(
            "host " + Shown(pattern) + ": expected a port of 1 to 65535 behind ':'", "BAD_HOST");
      }
      host = host.substr(0, colon);
    }
    if (host == "*") {
      rule.below = true;
    } else {
      rule.below = host.starts_with("*.");
      if (rule.below) host.remove_prefix(2);
      ASSIGN_OR_RETURN(rule.host, CanonicalHost(host));
      if (rule.below) rule.host.insert(0, ".");
      if (rule.below && ParseIpAddress(rule.host.substr(1)).has_value()) {
        return InvalidArgumentError(
            "host " + Shown(pattern) + ": expected a domain behind '*.', got an address",
            "BAD_HOST");
      }
    }
    rules.rules_.push_back(std::move(rule));
  }
  return rules;
}

Status HostRules::CheckHost(std::string_view host, int port) const {
  const bool allowed = std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
    if (rule.port != 0 && rule.port != port) return false;
    if (!rule.below) return host == rule.host;
    return host.size() > rule.host.size() && host.ends_with(rule.host);
  });
  if (allowed) return OkStatus();
  return PermissionDeniedError(
      "host " + Shown(host) + ", port " + std::to_string(port) + ", is not among those allowed",
      "HOST_REFUSED");
}

Status HostRules::CheckAddress(std::string_view host, int port, const IpAddress& address) const {
  const char* use = SpecialUse(address);
  if (use == nullptr) return OkStatus();
  const std::string literal = address.ToText();
  const bool named =
      host == literal && std::any_of(rules_.begin(), rules_.end(), [&](const Rule& rule) {
        return !rule.below && rule.host == literal && (rule.port == 0 || rule.port == port);
      });
  if (named) return OkStatus();
  std::string what = "host " + Shown(host);
  if (host != literal) what += " stands for " + literal + ", which";
  return PermissionDeniedError(what + " is a " + use +
                                   " address: it is reached only where the allowed hosts name the "
                                   "address itself",
                               "ADDRESS_REFUSED");
}

}  // namespace baleen
