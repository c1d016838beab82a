#include "runtime/cli/call_line.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>

#include "runtime/cli/flags.h"
#include "tools_sdk/utf8.h"

namespace baleen::cli {
namespace {

/// Of the output, for its last line.
constexpr size_t kOutputBytesMax = 4096;

/// What a terminal would show last: a carriage return begins a line, too.
std::string_view LastLine(std::string_view text) {
  const size_t end = text.find_last_not_of("\r\n \t");
  if (end == text.npos) return {};
  text = text.substr(0, end + 1);
  return text.substr(text.find_last_of("\r\n") + 1);
}

/// Never less than what a terminal takes for it.
size_t Cells(std::string_view sequence) {
  // From U+1100 on there are wide ones.
  return sequence.size() < 3 || sequence < "\xE1\x84" ? 1 : 2;
}

/// The beginning of valid UTF-8 that fits, with dots where it was cut.
std::string Fitting(std::string_view text, size_t columns) {
  size_t cells = 0;
  size_t fits = 0;  // with the dots behind it
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = FirstUtf8Sequence(text.substr(at)).bytes;
    cells += Cells(text.substr(at, bytes));
    if (cells > columns)
      return std::string(text.substr(0, fits)) + std::string("...", std::min<size_t>(3, columns));
    at += bytes;
    if (cells + 3 <= columns) fits = at;
  }
  return std::string(text);
}

}  // namespace

void CallLine::Take(const std::string& payload, int64_t now_ms) {
  const nlohmann::json json = nlohmann::json::parse(payload, nullptr, false);
  if (!json.is_object()) return;
  const auto text = [&](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto number = [&](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_number() ? found->get<double>() : -1;
  };
  const auto shown = [](double value) {
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%g", value);
    return std::string(digits);
  };
  const auto begun_ms = now_ms - static_cast<int64_t>(std::clamp(number("elapsed_ms"), 0.0, 1e15));
  const std::string tool = text("tool");
  // Of another call, or what lies between was left out: what is known of the output isn't of this.
  const bool goes_on = tool == tool_ && number("output_begin") == static_cast<double>(output_end_);
  output_ = (goes_on ? output_ : std::string()) + text("text");
  if (output_.size() > kOutputBytesMax) output_.erase(0, output_.size() - kOutputBytesMax);
  output_end_ = static_cast<int64_t>(std::clamp(number("output_end"), 0.0, 1e15));
  tool_ = tool;
  begun_ms_ = begun_ms;
  message_ = text("message");
  count_.clear();
  if (json.contains("progress")) count_ = shown(number("progress"));
  if (!count_.empty() && json.contains("total")) count_ += "/" + shown(number("total"));
}

void CallLine::Wait(const std::string& tools, int64_t since_ms) {
  if (!tool_.empty()) return;  // it has told more
  tool_ = tools;
  begun_ms_ = since_ms;
}

std::string CallLine::Shown(int64_t now_ms, size_t columns) const {
  std::string line =
      tool_ + " " + std::to_string(std::max<int64_t>(now_ms - begun_ms_, 0) / 1000) + " s";
  if (!count_.empty()) line += ", " + count_;
  const std::string_view words = message_.empty() ? LastLine(output_) : std::string_view(message_);
  if (!words.empty()) line += ": " + std::string(words);
  return Fitting(ReplaceInvalidUtf8(PlainText(line)), columns);
}

}  // namespace baleen::cli
