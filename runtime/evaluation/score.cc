#include "runtime/evaluation/score.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

namespace baleen::evaluation {
namespace {

constexpr double kZ = 1.959964;  // 97.5 % of the normal distribution.

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

bool SameArguments(const std::string& expected, const std::string& got) {
  const auto one = nlohmann::json::parse(expected, nullptr, /*allow_exceptions=*/false);
  const auto other = nlohmann::json::parse(got, nullptr, /*allow_exceptions=*/false);
  return !one.is_discarded() && !other.is_discarded() && one == other;
}

}  // namespace

Interval WilsonInterval(int64_t correct, int64_t total) {
  if (total <= 0) return {};
  const auto n = static_cast<double>(total);
  const double share = static_cast<double>(correct) / n;
  const double denominator = 1 + kZ * kZ / n;
  const double centre = (share + kZ * kZ / (2 * n)) / denominator;
  const double half = kZ * std::sqrt(share * (1 - share) / n + kZ * kZ / (4 * n * n)) / denominator;
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

bool SameCalls(const Message& expected, const Message& got) {
  return Trimmed(got.content).empty() &&
         std::equal(expected.tool_calls.begin(), expected.tool_calls.end(), got.tool_calls.begin(),
                    got.tool_calls.end(), [](const ToolCall& a, const ToolCall& b) {
                      return a.name == b.name && SameArguments(a.arguments, b.arguments);
                    });
}

bool SameAnswer(const Message& expected, const Message& got) {
  return got.tool_calls.empty() && Trimmed(expected.content) == Trimmed(got.content);
}

bool SameReply(const Message& expected, const Message& got) {
  return expected.tool_calls.empty() ? SameAnswer(expected, got) : SameCalls(expected, got);
}

}  // namespace baleen::evaluation
