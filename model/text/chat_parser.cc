#include "model/text/chat_parser.h"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_set>
#include <utility>

#include "model/text/json_value.h"
#include "model/text/unicode_class.h"
#include "model/text/utf8.h"

namespace baleen {
namespace {

constexpr std::string_view kBos = "<｜begin▁of▁sentence｜>";
constexpr std::string_view kEos = "<｜end▁of▁sentence｜>";
constexpr std::string_view kThinkOpen = "<think>";
constexpr std::string_view kThinkClose = "</think>";
constexpr std::string_view kDsml = "｜DSML｜";
constexpr std::string_view kCallsStart = "\n\n<｜DSML｜tool_calls";
constexpr std::string_view kCallsEnd = "</｜DSML｜tool_calls>";
constexpr std::string_view kInvokeStart = "<｜DSML｜invoke";
constexpr std::string_view kInvokeEnd = "</｜DSML｜invoke";
constexpr std::string_view kParameterStart = "<｜DSML｜parameter";
constexpr std::string_view kParameterEnd = "/｜DSML｜parameter";
constexpr std::string_view kTagEnd = ">\n";

// Everything that means something in running text. None starts with another one.
constexpr std::array<std::string_view, 6> kMarkers = {kCallsStart, kEos,        kBos,
                                                      kThinkOpen,  kThinkClose, kDsml};

/// Python's `\s` for text: Unicode white space and the four separators U+001C to U+001F.
bool IsPythonSpace(uint32_t code_point) {
  return ClassOf(code_point) == UnicodeClass::kWhiteSpace ||
         (code_point >= 0x1C && code_point <= 0x1F);
}

/// Takes the tag's attribute text apart: white space, `name="`, the name, `">` and a newline.
std::optional<std::string> ReadInvokeName(std::string_view head) {
  size_t at = 0;
  while (at < head.size()) {
    const CodePoint point = DecodeUtf8(head, at);
    if (point.bytes == 0 || !IsPythonSpace(point.value)) break;
    at += point.bytes;
  }
  constexpr std::string_view kOpen = "name=\"";
  if (head.substr(at, kOpen.size()) != kOpen) return std::nullopt;
  std::string_view rest = head.substr(at + kOpen.size());
  // One more newline is allowed: so calls without parameters are rendered.
  for (const std::string_view close : {std::string_view("\">\n"), std::string_view("\">\n\n")}) {
    if (rest.ends_with(close)) return std::string(rest.substr(0, rest.size() - close.size()));
  }
  return std::nullopt;
}

struct ParsedParameter {
  std::string_view name;
  std::string_view value;
  bool is_string = false;
};

/// ` name="` name `" string="true|false">` value `<`.
std::optional<ParsedParameter> ReadParameter(std::string_view text) {
  constexpr std::string_view kOpen = " name=\"";
  constexpr std::string_view kType = "\" string=\"";
  if (text.substr(0, kOpen.size()) != kOpen) return std::nullopt;
  const std::string_view rest = text.substr(kOpen.size());
  // The reference's pattern lets one newline follow the last '<'.
  size_t value_end = std::string_view::npos;
  if (rest.ends_with("<")) value_end = rest.size() - 1;
  if (rest.ends_with("<\n")) value_end = rest.size() - 2;
  if (value_end == std::string_view::npos) return std::nullopt;
  for (size_t at = rest.find(kType); at != std::string_view::npos; at = rest.find(kType, at + 1)) {
    const std::string_view type = rest.substr(at + kType.size());
    for (const std::string_view flag :
         {std::string_view("true\">"), std::string_view("false\">")}) {
      const size_t value = at + kType.size() + flag.size();
      if (!type.starts_with(flag) || value > value_end) continue;
      return ParsedParameter{rest.substr(0, at), rest.substr(value, value_end - value),
                             flag[0] == 't'};
    }
  }
  return std::nullopt;
}

}  // namespace

class StreamingChatParser::Impl {
 public:
  explicit Impl(ThinkingMode mode)
      : state_(mode == ThinkingMode::kThinking ? State::kReasoning : State::kContent) {
    message_.role = Role::kAssistant;
  }

  ChatDelta Push(std::string_view text);
  Result<Message> Finish();
  ChatDelta Flush();
  const Message& message() const { return message_; }

 private:
  enum class State {
    kReasoning,
    kContent,
    kBlock,           ///< Expects `>\n`, then a call or the block's end.
    kInvokeHead,      ///< Up to the first parameter or the call's end.
    kParameter,       ///< Up to the parameter's end.
    kAfterParameter,  ///< Expects `>\n`, then a parameter or the call's end.
    kAfterCall,       ///< Expects `>\n`; the call is then whole.
    kAfterBlock,      ///< Expects EOS or nothing.
    kDone,
    kWrong,
  };

  /// Consumes what is certain. False if more text is needed.
  bool Step();
  bool StepText();
  bool StepInvokeHead();
  bool StepParameter();
  bool StepChoice(std::string_view first, State after_first, std::string_view second,
                  State after_second, std::string_view expected);
  bool StepAfterBlock();
  void Emit(size_t bytes);
  void FinishCall();

  std::string_view Rest() const { return std::string_view(buffer_).substr(at_); }
  void Consume(size_t bytes) {
    at_ += bytes;
    searched_ = 0;
  }
  /// Looks for the first of two markers from where the last search stopped.
  size_t Search(std::string_view a, std::string_view b);
  bool Fail(std::string_view message, const char* reason = "CHAT_SYNTAX");
  Status CutShort() const;

  State state_;
  std::string buffer_;
  size_t at_ = 0;        ///< Consumed part of the buffer.
  size_t offset_ = 0;    ///< Of the buffer's start in the whole text.
  size_t searched_ = 0;  ///< Bytes of Rest() known to hold no marker.
  Message message_;
  ChatDelta delta_;
  ToolCall call_;
  std::unordered_set<std::string> parameter_names_;
  Status error_;
};

bool StreamingChatParser::Impl::Fail(std::string_view message, const char* reason) {
  error_ = InvalidArgumentError(
      "completion at byte " + std::to_string(offset_ + at_) + ": " + std::string(message), reason);
  state_ = State::kWrong;
  return false;
}

size_t StreamingChatParser::Impl::Search(std::string_view a, std::string_view b) {
  const std::string_view rest = Rest();
  const size_t found = std::min(rest.find(a, searched_), rest.find(b, searched_));
  if (found == std::string_view::npos) {
    // A marker may have begun in the last bytes.
    const size_t longest = std::max(a.size(), b.size()) - 1;
    searched_ = std::max(searched_, rest.size() - std::min(rest.size(), longest));
  }
  return found;
}

bool StreamingChatParser::Impl::Step() {
  switch (state_) {
    case State::kReasoning:
    case State::kContent: return StepText();
    case State::kBlock:
      return StepChoice(kInvokeStart, State::kInvokeHead, kCallsEnd, State::kAfterBlock,
                        "'>', a newline and a call or the end of the calls block");
    case State::kInvokeHead: return StepInvokeHead();
    case State::kParameter: return StepParameter();
    case State::kAfterParameter:
      return StepChoice(kParameterStart, State::kParameter, kInvokeEnd, State::kAfterCall,
                        "'>', a newline and a parameter or the end of the call");
    case State::kAfterCall: {
      const std::string_view rest = Rest();
      if (rest.substr(0, kTagEnd.size()) == kTagEnd) {
        FinishCall();
        state_ = State::kBlock;  // Which consumes the tag's end.
        return true;
      }
      if (kTagEnd.starts_with(rest)) return false;
      return Fail("expected '>' and a newline after the end of a call");
    }
    case State::kAfterBlock: return StepAfterBlock();
    case State::kDone:
      return Rest().empty() ? false : Fail("unexpected text after the end of the message");
    case State::kWrong: return false;
  }
  return false;
}

void StreamingChatParser::Impl::Emit(size_t bytes) {
  const std::string_view text = Rest().substr(0, bytes);
  if (state_ == State::kReasoning) {
    delta_.reasoning += text;
    message_.reasoning += text;
  } else {
    delta_.content += text;
    message_.content += text;
  }
  Consume(bytes);
}

// Running text: everything up to the first marker, or up to what may become one.
bool StreamingChatParser::Impl::StepText() {
  const std::string_view rest = Rest();
  for (size_t at = 0; at < rest.size(); ++at) {
    const char c = rest[at];
    if (c != '<' && c != '\n' && c != kDsml[0]) continue;
    const std::string_view tail = rest.substr(at);
    for (const std::string_view marker : kMarkers) {
      if (tail.size() < marker.size()) {
        if (!marker.starts_with(tail)) continue;
        Emit(at);
        return false;
      }
      if (!tail.starts_with(marker)) continue;
      Emit(at);
      const bool reasoning = state_ == State::kReasoning;
      if (reasoning && marker == kThinkClose) {
        Consume(marker.size());
        state_ = State::kContent;
        return true;
      }
      if (reasoning && marker == kCallsStart) {
        return Fail("expected </think> before the calls block");
      }
      if (!reasoning && (marker == kCallsStart || marker == kEos)) {
        Consume(marker.size());
        state_ = marker == kEos ? State::kDone : State::kBlock;
        return true;
      }
      return Fail("unexpected control token " + std::string(marker) +
                  (reasoning ? " in the reasoning" : " in the content"));
    }
  }
  Emit(rest.size());
  return false;
}

bool StreamingChatParser::Impl::StepChoice(std::string_view first, State after_first,
                                           std::string_view second, State after_second,
                                           std::string_view expected) {
  const std::string_view rest = Rest();
  bool open = false;
  for (const auto& [marker, next] :
       {std::pair(first, after_first), std::pair(second, after_second)}) {
    const std::string whole = std::string(kTagEnd) + std::string(marker);
    if (rest.starts_with(whole)) {
      Consume(whole.size());
      state_ = next;
      return true;
    }
    open = open || std::string_view(whole).starts_with(rest);
  }
  return open ? false : Fail("expected " + std::string(expected));
}

bool StreamingChatParser::Impl::StepInvokeHead() {
  const size_t found = Search(kParameterStart, kInvokeEnd);
  if (found == std::string_view::npos) return false;
  std::optional<std::string> name = ReadInvokeName(Rest().substr(0, found));
  if (!name.has_value())
    return Fail("expected name=\"...\"> and a newline after " + std::string(kInvokeStart));
  call_ = {};
  call_.name = *std::move(name);
  parameter_names_.clear();
  const bool parameters = Rest().substr(found).starts_with(kParameterStart);
  Consume(found + (parameters ? kParameterStart : kInvokeEnd).size());
  state_ = parameters ? State::kParameter : State::kAfterCall;
  return true;
}

bool StreamingChatParser::Impl::StepParameter() {
  const size_t found = Search(kParameterEnd, kParameterEnd);
  if (found == std::string_view::npos) return false;
  const std::optional<ParsedParameter> parameter = ReadParameter(Rest().substr(0, found));
  if (!parameter.has_value()) {
    return Fail("expected name=\"...\" string=\"true|false\">...</ after " +
                std::string(kParameterStart));
  }
  const std::string name(parameter->name);
  const bool first = parameter_names_.empty();
  if (!parameter_names_.insert(name).second) {
    return Fail("parameter \"" + name + "\" is given twice");
  }
  call_.arguments += (first ? "" : ", ") + QuoteJson(name) + ": ";
  call_.arguments +=
      parameter->is_string ? QuoteJson(parameter->value) : std::string(parameter->value);
  Consume(found + kParameterEnd.size());
  state_ = State::kAfterParameter;
  return true;
}

void StreamingChatParser::Impl::FinishCall() {
  call_.arguments = "{" + call_.arguments + "}";
  delta_.finished_calls.push_back(call_);
  message_.tool_calls.push_back(std::move(call_));
  call_ = {};
}

bool StreamingChatParser::Impl::StepAfterBlock() {
  const std::string_view rest = Rest();
  if (rest.starts_with(kEos)) {
    Consume(kEos.size());
    state_ = State::kDone;
    return true;
  }
  if (kEos.starts_with(rest)) return false;
  return Fail("unexpected text after the calls block");
}

ChatDelta StreamingChatParser::Impl::Push(std::string_view text) {
  if (state_ == State::kWrong) return {};
  buffer_ += text;
  while (Step()) {
  }
  buffer_.erase(0, at_);
  offset_ += at_;
  at_ = 0;
  return std::exchange(delta_, {});
}

Status StreamingChatParser::Impl::CutShort() const {
  const auto cut = [&](std::string_view expected, const char* reason) {
    return InvalidArgumentError("completion ends at byte " +
                                    std::to_string(offset_ + buffer_.size()) + ": expected " +
                                    std::string(expected),
                                reason);
  };
  switch (state_) {
    case State::kReasoning: return cut("</think>", "REASONING_UNFINISHED");
    case State::kContent: return cut("the EOS token", "EOS_MISSING");
    case State::kDone: return OkStatus();
    case State::kAfterBlock:
      return buffer_.empty() ? OkStatus() : cut("the EOS token or nothing", "CALLS_UNFINISHED");
    default: return cut(kCallsEnd, "CALLS_UNFINISHED");
  }
}

Result<Message> StreamingChatParser::Impl::Finish() {
  if (state_ == State::kWrong) return error_;
  RETURN_IF_ERROR(CutShort());
  return std::move(message_);
}

ChatDelta StreamingChatParser::Impl::Flush() {
  if (state_ == State::kReasoning || state_ == State::kContent) Emit(buffer_.size());
  state_ = State::kWrong;
  error_ = FailedPreconditionError("the parser was flushed; start a new one for a new completion");
  buffer_.clear();
  at_ = 0;
  return std::exchange(delta_, {});
}

StreamingChatParser::StreamingChatParser(ThinkingMode mode) : impl_(std::make_unique<Impl>(mode)) {}
StreamingChatParser::~StreamingChatParser() = default;
StreamingChatParser::StreamingChatParser(StreamingChatParser&&) noexcept = default;
StreamingChatParser& StreamingChatParser::operator=(StreamingChatParser&&) noexcept = default;

ChatDelta StreamingChatParser::Push(std::string_view text) { return impl_->Push(text); }
Result<Message> StreamingChatParser::Finish() { return impl_->Finish(); }
ChatDelta StreamingChatParser::Flush() { return impl_->Flush(); }
const Message& StreamingChatParser::partial() const { return impl_->message(); }

Result<Message> ParseCompletion(std::string_view text, ThinkingMode mode) {
  StreamingChatParser parser(mode);
  parser.Push(text);
  return parser.Finish();
}

}  // namespace baleen
