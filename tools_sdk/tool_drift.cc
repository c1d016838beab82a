#include "tools_sdk/tool_drift.h"

#include <algorithm>

#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kShownBytes = 400;
constexpr size_t kLeadBytes = 40;

/// The part of a text where it differs from another: from a little before the first difference.
std::string Shown(const std::string& text, size_t first) {
  size_t begin = first > kLeadBytes ? first - kLeadBytes : 0;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  const std::string rest = text.substr(std::min(begin, text.size()));
  const std::string_view shown = Utf8Prefix(rest, kShownBytes);
  return (begin > 0 ? "'..." : "'") + std::string(shown) +
         (shown.size() < rest.size() ? "...'" : "'");
}

void Compare(const char* what, const std::string& then, const std::string& now, std::string* out) {
  if (then == now) return;
  const auto differs = std::mismatch(then.begin(), then.end(), now.begin(), now.end());
  const auto first = static_cast<size_t>(differs.first - then.begin());
  *out += (out->empty() ? "" : "; ") + std::string(what) + " was " + Shown(then, first) +
          " and is " + Shown(now, first);
}

const char* NameOf(EffectClass effect) {
  switch (effect) {
    case EffectClass::kPure: return "PURE";
    case EffectClass::kIdempotent: return "IDEMPOTENT";
    case EffectClass::kEffect: break;
  }
  return "EFFECT";
}

}  // namespace

std::string ToolDrift(const ToolSpec& then, const ToolSpec& now) {
  std::string drift;
  Compare("its description", then.description, now.description, &drift);
  Compare("what it takes", then.parameters, now.parameters, &drift);
  Compare("its effect", NameOf(then.effect), NameOf(now.effect), &drift);
  return drift;
}

}  // namespace baleen
