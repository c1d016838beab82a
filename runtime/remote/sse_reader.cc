#include "runtime/remote/sse_reader.h"

namespace baleen {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kDataField = "data";

}  // namespace

Status SseReader::Push(std::string_view piece, std::vector<std::string>* data) {
  RETURN_IF_ERROR(failure_);
  for (const char byte : piece) {
    if (byte == '\n' && after_cr_) {
      after_cr_ = false;
      continue;
    }
    after_cr_ = byte == '\r';
    if (byte != '\n' && byte != '\r') {
      line_ += byte;
      if (line_.size() + event_.size() <= limit_) continue;
      return failure_ = ResourceExhaustedError(
                 "an event of the stream has more than " + std::to_string(limit_) + " bytes",
                 "ANSWER_TOO_LARGE");
    }
    TakeLine(line_, data);
    line_.clear();
  }
  return OkStatus();
}

void SseReader::TakeLine(std::string_view line, std::vector<std::string>* data) {
  if (!begun_ && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  begun_ = true;
  if (line.empty()) {
    if (event_.empty()) return;
    event_.pop_back();
    data->push_back(std::move(event_));
    event_.clear();
    return;
  }
  const size_t colon = line.find(':');
  if (line.substr(0, colon) != kDataField) return;  // comments and other fields
  std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  event_ += value;
  event_ += '\n';
}

}  // namespace baleen
