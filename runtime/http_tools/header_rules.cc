#include "runtime/http_tools/header_rules.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace baleen {
namespace {

constexpr std::array<std::string_view, 14> kNotForTools = {"host",
                                                           "content-length",
                                                           "content-type",
                                                           "transfer-encoding",
                                                           "connection",
                                                           "upgrade",
                                                           "te",
                                                           "trailer",
                                                           "expect",
                                                           "idempotency-key",
                                                           "cookie",
                                                           "cookie2",
                                                           "proxy-authorization",
                                                           "proxy-connection"};

std::string Lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool IsHeaderName(const std::string& name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

}  // namespace

Status CheckHeaderName(const std::string& name, bool of_secret) {
  const std::string lower = Lower(name);
  if (!IsHeaderName(name)) return InvalidArgumentError("'" + name + "' is no name of a header");
  const bool framing =
      std::find(kNotForTools.begin(), kNotForTools.end(), lower) != kNotForTools.end();
  if (framing || (lower == "authorization" && !of_secret)) {
    return InvalidArgumentError("header '" + name + "' is not for tools to set" +
                                (lower == "authorization" ? "; name a secret" : ""));
  }
  return OkStatus();
}

Status CheckHeader(const std::string& header) {
  const size_t colon = header.find(": ");
  if (colon == std::string::npos) {
    return InvalidArgumentError("expected headers 'Name: value'");
  }
  const bool clean = std::all_of(header.begin(), header.end(), [](char c) {
    return static_cast<unsigned char>(c) >= ' ' && c != 127;
  });
  if (!clean) return InvalidArgumentError("a header has control characters in it");
  return CheckHeaderName(header.substr(0, colon), /*of_secret=*/false);
}

std::string IdempotencyHeader(const std::string& call_id) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string header = "Idempotency-Key: ";
  for (const char c : call_id) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '/' || c == '-';
    if (plain) {
      header += c;
    } else {
      header += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return header;
}

}  // namespace baleen
