#include "runtime/sessions/cursor.h"

#include <charconv>

namespace baleen {
namespace {
constexpr std::string_view kCursorPrefix = "v1:";

/// Decimal digits and nothing else.
bool ParseNumber(std::string_view digits, int64_t* out) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
  return error == std::errc() && end == digits.data() + digits.size() && *out >= 0;
}
}  // namespace

std::string MakeCursor(std::string_view session, const CursorPoint& point) {
  std::string cursor = std::string(kCursorPrefix) + std::string(session) + ":";
  if (point.timeline != 1) cursor += std::to_string(point.timeline) + ".";
  return cursor + std::to_string(point.seq);
}

std::string HeadCursor(const SessionRecord& record) {
  return MakeCursor(record.id, {record.timeline, record.last_seq});
}

Result<CursorPoint> ParseCursor(std::string_view cursor, std::string_view session) {
  const auto malformed = [&] {
    return InvalidArgumentError(
        "'" + std::string(cursor.substr(0, 100)) +
            "' is not a cursor; use one that an event of this session carried, or none",
        "BAD_CURSOR");
  };
  const size_t colon = cursor.rfind(':');
  if (cursor.substr(0, kCursorPrefix.size()) != kCursorPrefix || colon < kCursorPrefix.size())
    return malformed();
  const std::string_view owner = cursor.substr(kCursorPrefix.size(), colon - kCursorPrefix.size());
  if (owner != session) {
    return InvalidArgumentError("the cursor belongs to session '" +
                                    std::string(owner.substr(0, 63)) + "', not to '" +
                                    std::string(session) + "'",
                                "BAD_CURSOR");
  }
  CursorPoint point;
  std::string_view digits = cursor.substr(colon + 1);
  if (const size_t dot = digits.find('.'); dot != std::string_view::npos) {
    if (!ParseNumber(digits.substr(0, dot), &point.timeline) || point.timeline < 2) {
      return malformed();
    }
    digits = digits.substr(dot + 1);
  }
  if (!ParseNumber(digits, &point.seq)) return malformed();
  return point;
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
