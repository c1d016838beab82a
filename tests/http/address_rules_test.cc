// Which hosts may be asked and which addresses connected to: tables, each row a way around the
// rules.
#include "runtime/http/address_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/store/status_checks.h"

namespace baleen {
namespace {

std::string UseOf(const std::string& text) {
  const auto address = ParseIpAddress(text);
  REQUIRE(address.has_value());
  const char* use = SpecialUse(*address);
  return use == nullptr ? "" : use;
}

std::string Canonical(const std::string& host) {
  const auto name = CanonicalHost(host);
  return name.ok() ? *name : "refused";
}

HostRules Rules(const std::vector<std::string>& patterns) {
  return Must(HostRules::Parse(patterns));
}

TEST_CASE("Only public addresses are public, at both ends of every range", "[http]") {
  const std::pair<const char*, const char*> table[] = {
      {"0.0.0.0", "unspecified"},
      {"0.255.255.255", "unspecified"},
      {"1.0.0.0", ""},
      {"9.255.255.255", ""},
      {"10.0.0.0", "private"},
      {"10.255.255.255", "private"},
      {"11.0.0.0", ""},
      {"100.63.255.255", ""},
      {"100.64.0.0", "carrier-grade NAT"},
      {"100.100.100.200", "metadata"},
      {"100.127.255.255", "carrier-grade NAT"},
      {"100.128.0.0", ""},
      {"126.255.255.255", ""},
      {"127.0.0.1", "loopback"},
      {"127.255.255.255", "loopback"},
      {"128.0.0.0", ""},
      {"168.63.129.16", "metadata"},
      {"168.63.129.17", ""},
      {"169.253.255.255", ""},
      {"169.254.0.0", "link-local"},
      {"169.254.169.254", "metadata"},
      {"169.254.170.2", "metadata"},
      {"169.255.0.0", ""},
      {"172.15.255.255", ""},
      {"172.16.0.0", "private"},
      {"172.31.255.255", "private"},
      {"172.32.0.0", ""},
      {"192.0.0.192", "reserved"},
      {"192.0.1.0", ""},
      {"192.0.2.1", "documentation"},
      {"192.88.99.1", "reserved"},
      {"192.167.255.255", ""},
      {"192.168.0.0", "private"},
      {"192.168.255.255", "private"},
      {"192.169.0.0", ""},
      {"198.17.255.255", ""},
      {"198.18.0.0", "benchmarking"},
      {"198.19.255.255", "benchmarking"},
      {"198.20.0.0", ""},
      {"198.51.100.7", "documentation"},
      {"203.0.113.7", "documentation"},
      {"223.255.255.255", ""},
      {"224.0.0.1", "multicast"},
      {"239.255.255.255", "multicast"},
      {"240.0.0.1", "reserved"},
      {"255.255.255.255", "reserved"},
      {"::", "unspecified"},
      {"::1", "loopback"},
      {"::2", "unspecified"},  // of the 0.0.0.0/8 that it carries
      {"::127.0.0.1", "loopback"},
      {"::ffff:127.0.0.1", "loopback"},
      {"::ffff:10.1.2.3", "private"},
      {"::ffff:169.254.169.254", "metadata"},
      {"::ffff:8.8.8.8", ""},
      {"::ffff:0:192.168.1.1", "private"},
      {"64:ff9b::127.0.0.1", "loopback"},
      {"64:ff9b::a9fe:a9fe", "metadata"},
      {"64:ff9b::8.8.8.8", ""},
      {"64:ff9b:1::8.8.8.8", "private"},
      {"2002:7f00:1::", "loopback"},
      {"2002:c0a8:101::1", "private"},
      {"2002:a9fe:a9fe::", "metadata"},
      {"2002:808:808::1", ""},
      {"2001::1", "reserved"},
      {"2001:0:7f00:1::", "reserved"},
      {"2001:1ff:ffff::", "reserved"},
      {"2001:200::1", ""},
      {"2001:db8::1", "documentation"},
      {"2001:4860:4860::8888", ""},
      {"2606:4700::5efe:10.0.0.1", "private"},
      {"2606:4700::200:5efe:127.0.0.1", "loopback"},
      {"2606:4700::5efe:8.8.8.8", ""},
      {"3fff::1", "documentation"},
      {"3ffe:ffff::", ""},
      {"4000::1", "reserved"},
      {"100::1", "reserved"},
      {"5f00::1", "reserved"},
      {"fbff::1", "reserved"},
      {"fc00::1", "private"},
      {"fd00:ec2::254", "metadata"},
      {"fdff:ffff::1", "private"},
      {"fe80::1", "link-local"},
      {"febf::1", "link-local"},
      {"fec0::1", "private"},
      {"ff02::1", "multicast"},
  };
  for (const auto& [address, use] : table) {
    INFO(address);
    CHECK(UseOf(address) == use);
  }
}

TEST_CASE("An address is four decimal numbers or IPv6, and nothing that resolvers take for one",
          "[http]") {
  for (const char* text : {"127.1", "0177.0.0.1", "0x7f.0.0.1", "2130706433", "1.2.3.4.", "1.2.3",
                           "fe80::1%eth0", "[::1]", "", " 1.2.3.4", "1.2.3.256"}) {
    INFO(text);
    CHECK_FALSE(ParseIpAddress(text).has_value());
  }
  CHECK_FALSE(ParseIpAddress(std::string("1.2.3.4\0x", 9)).has_value());
}

TEST_CASE("Socket addresses are read as they are", "[http]") {
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  inet_pton(AF_INET, "10.1.2.3", &v4.sin_addr);
  CHECK(IpAddressOf(reinterpret_cast<sockaddr&>(v4)) == ParseIpAddress("10.1.2.3"));
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  inet_pton(AF_INET6, "fe80::5", &v6.sin6_addr);
  CHECK(IpAddressOf(reinterpret_cast<sockaddr&>(v6)) == ParseIpAddress("fe80::5"));
  sockaddr local = {};
  local.sa_family = AF_UNIX;
  CHECK_FALSE(IpAddressOf(local).has_value());
}

TEST_CASE("A host has one spelling, and what has two meanings is refused", "[http]") {
  CHECK(Canonical("API.Example.ORG.") == "api.example.org");
  CHECK(Canonical("xn--bcher-kva.example") == "xn--bcher-kva.example");
  CHECK(Canonical("localhost") == "localhost");
  CHECK(Canonical("127.0.0.1") == "127.0.0.1");
  CHECK(Canonical("[0:0:0:0:0:0:0:1]") == "::1");
  CHECK(Canonical("2001:DB8::0001") == "2001:db8::1");
  CHECK(Canonical("1.example") == "1.example");
  CHECK(Canonical(std::string(63, 'a') + ".org") == std::string(63, 'a') + ".org");
  for (const std::string host : {"",
                                 ".",
                                 "..",
                                 "a..b",
                                 ".a",
                                 "a b",
                                 "a/b",
                                 "a@b",
                                 "a:80",
                                 "-a.org",
                                 "a-.org",
                                 "[::1",
                                 "[1.2.3.4]",
                                 "fe80::1%1",
                                 "127.1",
                                 "0x7f.1",
                                 "0177.0.0.1",
                                 "2130706433",
                                 "1.2.3.4.5",
                                 "example.0x10",
                                 "b\xc3\xbc"
                                 "cher.example",
                                 "a%2eb",
                                 "*.example.org"}) {
    INFO(host);
    CHECK(Canonical(host) == "refused");
  }
  CHECK(Canonical(std::string(64, 'a') + ".org") == "refused");
  CHECK(Canonical(std::string("a\0b", 3)) == "refused");
  std::string longest = "a";
  while (longest.size() < 253) longest += ".a";
  CHECK(Canonical(longest) == longest);
  CHECK(Canonical(longest + "b") == "refused");
}

TEST_CASE("A pattern is a host, what is below a domain, or any, and may name a port", "[http]") {
  const HostRules rules = Rules(
      {"api.example.org", "*.Sub.example.org.:8443", "[::1]:80", "2001:db8::7", "one.net:443"});
  const std::tuple<const char*, int, bool> table[] = {
      {"api.example.org", 443, true},
      {"api.example.org", 1, true},
      {"x.api.example.org", 443, false},
      {"api.example.org.evil.net", 443, false},
      {"a.sub.example.org", 8443, true},
      {"b.a.sub.example.org", 8443, true},
      {"a.sub.example.org", 443, false},
      {"sub.example.org", 8443, false},
      {"xsub.example.org", 8443, false},
      {"::1", 80, true},
      {"::1", 443, false},
      {"2001:db8::7", 9, true},
      {"one.net", 443, true},
      {"one.net", 80, false},
  };
  for (const auto& [host, port, allowed] : table) {
    INFO(host << " " << port);
    CHECK(rules.CheckHost(host, port).ok() == allowed);
  }
  CHECK(Rules({}).CheckHost("example.org", 443).reason() == "HOST_REFUSED");
  CHECK(Rules({"*"}).CheckHost("example.org", 443).ok());
  CHECK(Rules({"*:443"}).CheckHost("example.org", 80).reason() == "HOST_REFUSED");
  for (const char* pattern : {"", "*.", "**", "*example.org", "a.*.org", "a:0", "a:65536", "a:x",
                              "a:", "*.1.2.3.4", "*.[::1]", "http://a", "a/b", ":80", "127.1"}) {
    INFO(pattern);
    CHECK(HostRules::Parse({pattern}).status().code() == StatusCode::kInvalidArgument);
  }
  CHECK_FALSE(HostRules::Parse(std::vector<std::string>(257, "a")).ok());
}

TEST_CASE("A name never opens a special address, and an address only itself", "[http]") {
  const auto address = [](const char* text) { return *ParseIpAddress(text); };
  const HostRules rules = Rules({"*", "evil.example", "127.0.0.1:8080", "::1", "localhost"});
  CHECK(rules.CheckAddress("evil.example", 443, address("8.8.8.8")).ok());
  const Status status = rules.CheckAddress("evil.example", 8080, address("127.0.0.1"));
  CHECK(status.reason() == "ADDRESS_REFUSED");
  CHECK_THAT(status.message(), Catch::Contains("'evil.example' stands for 127.0.0.1"));
  CHECK_FALSE(rules.CheckAddress("localhost", 8080, address("127.0.0.1")).ok());
  CHECK(rules.CheckAddress("127.0.0.1", 8080, address("127.0.0.1")).ok());
  CHECK_FALSE(rules.CheckAddress("127.0.0.1", 6379, address("127.0.0.1")).ok());
  CHECK_FALSE(rules.CheckAddress("127.0.0.1", 8080, address("127.0.0.2")).ok());
  CHECK_FALSE(rules.CheckAddress("127.0.0.2", 8080, address("127.0.0.2")).ok());
  CHECK(rules.CheckAddress("::1", 1, address("::1")).ok());
  CHECK_FALSE(rules.CheckAddress("::1", 1, address("::ffff:127.0.0.1")).ok());
  CHECK_FALSE(rules.CheckAddress("169.254.169.254", 80, address("169.254.169.254")).ok());
}

}  // namespace
}  // namespace baleen
