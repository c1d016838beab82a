#include "runtime/sessions/cursor.h"

#include <charconv>

namespace baleen {
namespace {
constexpr std::string_view kPrefix = "v1:";
}  // namespace

std::string MakeCursor(std::string_view session, int64_t seq) {
  return std::string(kPrefix) + std::string(session) + ":" + std::to_string(seq);
}

Result<int64_t> ParseCursor(std::string_view cursor, std::string_view session) {
  if (cursor.empty()) return int64_t{0};
  const auto malformed = [&] {
    return InvalidArgumentError(
        "'" + std::string(cursor.substr(0, 100)) +
            "' is not a cursor; use one that an event of this session carried, or none",
        "BAD_CURSOR");
  };
  const size_t colon = cursor.rfind(':');
  if (cursor.substr(0, kPrefix.size()) != kPrefix || colon < kPrefix.size()) return malformed();
  const std::string_view owner = cursor.substr(kPrefix.size(), colon - kPrefix.size());
  if (owner != session) {
    return InvalidArgumentError("the cursor belongs to session '" +
                                    std::string(owner.substr(0, 63)) + "', not to '" +
                                    std::string(session) + "'",
                                "BAD_CURSOR");
  }
  const std::string_view digits = cursor.substr(colon + 1);
  int64_t seq = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), seq);
  if (error != std::errc() || end != digits.data() + digits.size() || seq < 0) return malformed();
  return seq;
}

Status ValidateSessionId(std::string_view id) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool good = !id.empty() && id.size() <= 63 && plain(id.front());
  for (const char c : id) good = good && (plain(c) || c == '-');
  if (good) return OkStatus();
  return InvalidArgumentError("session id '" + std::string(id.substr(0, 80)) +
                                  "': expected 1 to 63 of a-z, 0-9 and '-', starting with a letter "
                                  "or digit",
                              "BAD_FIELD");
}

}  // namespace baleen
