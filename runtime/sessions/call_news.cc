#include "runtime/sessions/call_news.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/http/redactor.h"
#include "tools_sdk/json_text.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

/// Without the rest of a sequence that a cut went through.
std::string_view FromSequence(std::string_view text) {
  for (int i = 0; i < 3 && !text.empty(); ++i) {
    if ((static_cast<unsigned char>(text.front()) & 0xC0) != 0x80) break;
    text.remove_prefix(1);
  }
  return text;
}

/// Without a sequence at the end that may go on behind it.
std::string_view ToSequence(std::string_view text) {
  for (size_t size = 1; size <= std::min<size_t>(3, text.size()); ++size) {
    const auto byte = static_cast<unsigned char>(text[text.size() - size]);
    if ((byte & 0xC0) == 0x80) continue;
    if (FirstUtf8Sequence(text.substr(text.size() - size)).cut) text.remove_suffix(size);
    break;
  }
  return text;
}

}  // namespace

bool CallNews::Put(const CallProgress& progress) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Append(progress.output, progress.output_bytes);
  const auto number = [this](const std::optional<double>& given, std::optional<double>* known) {
    if (!given.has_value() || !std::isfinite(*given) || given == *known) return;
    *known = given;
    news_ = true;
  };
  number(progress.done, &done_);
  number(progress.total, &total_);
  if (!progress.message.empty() && progress.message != message_) {
    message_ = progress.message.substr(0, 2 * kMessageBytesMax);
    news_ = true;
  }
  return !std::exchange(waits_, true);
}

void CallNews::Append(std::string_view output, int64_t output_bytes) {
  if (output.empty() && output_bytes <= output_end_) return;
  const size_t room = kTextBytesMax + (redactor_ == nullptr ? 0 : redactor_->LongestBytes());
  if (output_bytes - static_cast<int64_t>(output.size()) > output_end_) {
    output_.clear();
    front_cut_ = true;
  }
  if (output.size() > room) {
    output.remove_prefix(output.size() - room);
    output_.clear();
    front_cut_ = true;
  }
  output_ += output;
  output_end_ = output_bytes;
  if (output_.size() > room) {
    output_.erase(0, output_.size() - room);
    front_cut_ = true;
  }
}

CallNews::Told CallNews::TakeOutput() {
  const std::string_view whole = ToSequence(output_);
  Told told;
  size_t taken = whole.size();
  told.text = redactor_ == nullptr ? std::string(whole) : redactor_->RedactBegun(whole, &taken);
  std::string_view shown = told.text;
  // A part of a secret that stands where the output was cut isn't found, but it is at the front.
  if (front_cut_) {
    const size_t hidden = redactor_ == nullptr ? 0 : redactor_->LongestBytes() / 2;
    shown = FromSequence(shown.substr(std::min(shown.size(), hidden)));
  }
  std::string text = ReplaceInvalidUtf8(shown);
  const bool long_text = text.size() > kTextBytesMax;
  if (long_text) text = FromSequence(std::string_view(text).substr(text.size() - kTextBytesMax));
  const bool all = !front_cut_ && !long_text;
  told.end = output_end_ - static_cast<int64_t>(output_.size() - taken);
  told.begin = all ? told_end_ : std::max(told_end_ + 1, told.end - std::ssize(text));
  told.text = std::move(text);
  if (taken > 0) {
    output_.erase(0, taken);
    front_cut_ = false;
    told_end_ = told.end;
  }
  return told;
}

std::string CallNews::Shown(std::string_view message) const {
  // What its maker has cut, too, may end in the middle of a secret.
  const bool cut = message.size() + 3 >= kMessageBytesMax;
  std::string shown(message);
  if (redactor_ != nullptr) {
    size_t taken = 0;
    shown = cut ? redactor_->RedactBegun(message, &taken) : redactor_->Redact(message);
  }
  shown = ReplaceInvalidUtf8(shown);
  return std::string(Utf8Prefix(shown, kMessageBytesMax));
}

std::string CallNews::Take(int64_t now_ms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  taken_ms_ = now_ms;
  waits_ = false;
  const Told told = TakeOutput();
  if (!std::exchange(news_, false) && told.text.empty()) return {};
  nlohmann::json payload = {{"call", call_},
                            {"tool", tool_},
                            {"elapsed_ms", now_ms - begun_ms_},
                            {"text", told.text},
                            {"output_begin", told.begin},
                            {"output_end", told.end}};
  if (done_.has_value()) payload["progress"] = *done_;
  if (total_.has_value()) payload["total"] = *total_;
  if (!message_.empty()) payload["message"] = Shown(message_);
  return JsonText(payload);
}

}  // namespace baleen
