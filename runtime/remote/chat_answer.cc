#include "runtime/remote/chat_answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShownBytesMax = 400;
constexpr int kDepthMax = 64;

/// Parses what can't be nested so deep that destroying it is dangerous.
Json ParseBounded(std::string_view text) {
  int deepest = 0;
  const auto depth_ok = [&](int depth, Json::parse_event_t, Json&) {
    deepest = std::max(deepest, depth);
    return depth <= kDepthMax;
  };
  Json json = Json::parse(text.begin(), text.end(), depth_ok, /*allow_exceptions=*/false);
  return deepest > kDepthMax ? Json(Json::value_t::discarded) : json;
}

/// What a message may show of a server's text: one line, bounded, valid.
std::string Shown(std::string_view text) {
  std::string shown(Utf8Prefix(text, kShownBytesMax));
  shown = ReplaceInvalidUtf8(shown);
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return shown.size() < text.size() ? shown + "..." : shown;
}

const Json* Member(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(name);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

std::string TextMember(const Json& json, const char* name) {
  const Json* member = Member(json, name);
  return member != nullptr && member->is_string() ? member->get<std::string>() : std::string();
}

int64_t CountMember(const Json& json, const char* name) {
  const Json* member = Member(json, name);
  if (member == nullptr || !member->is_number_integer()) return -1;
  const auto count = member->get<int64_t>();
  return count < 0 ? -1 : count;
}

/// {"error": "..."}, {"error": {"message": "..."}}, {"message": "..."}, {"detail": ...}.
std::string ErrorText(const Json& json) {
  for (const char* name : {"error", "detail"}) {
    const Json* error = Member(json, name);
    if (error == nullptr) continue;
    if (error->is_string()) return error->get<std::string>();
    const std::string message = TextMember(*error, "message");
    return message.empty() ? error->dump(-1, ' ', false, Json::error_handler_t::replace) : message;
  }
  return TextMember(json, "message");
}

Status Garbage(const std::string& what) {
  return InvalidArgumentError("the engine sent " + what, "ENGINE_GARBAGE");
}

}  // namespace

struct ChatAnswerReader::Piece {
  const Json& json;
};

Status ChatAnswerReader::Count(size_t bytes) {
  text_bytes_ += bytes;
  if (text_bytes_ <= limits_.text_bytes_max) return OkStatus();
  return ResourceExhaustedError(
      "the answer has more than " + std::to_string(limits_.text_bytes_max) + " bytes of text",
      "ANSWER_TOO_LARGE");
}

Result<AnswerText> ChatAnswerReader::Push(std::string_view data) {
  RETURN_IF_ERROR(failure_);
  AnswerText text;
  if (data == "[DONE]") {
    done_ = true;
    return text;
  }
  if (done_) return text;  // what follows the end isn't read
  const Json json = ParseBounded(data);
  const auto fail = [this](Status status) -> Status { return failure_ = std::move(status); };
  if (!json.is_object()) {
    return fail(Garbage("what is no JSON object where a chunk was expected: " + Shown(data)));
  }
  if (const Json* error = Member(json, "error"); error != nullptr) {
    return fail(UnavailableError("the engine reports: " + Shown(ErrorText(json)), "ENGINE_FAULT"));
  }
  if (const Json* usage = Member(json, "usage"); usage != nullptr) TakeUsage({*usage});
  const Json* choices = Member(json, "choices");
  if (choices == nullptr) return text;  // keep-alives and extensions
  if (!choices->is_array()) return fail(Garbage("'choices' that are no array"));
  for (const Json& choice : *choices) {
    if (!choice.is_object()) return fail(Garbage("a choice that is no object"));
    if (CountMember(choice, "index") > 0) continue;  // one was asked for
    if (Status status = TakeChoice({choice}, &text); !status.ok()) return fail(std::move(status));
  }
  return text;
}

Status ChatAnswerReader::TakeChoice(const Piece& choice, AnswerText* text) {
  const Json* delta = Member(choice.json, "delta");
  const bool whole = delta == nullptr;
  if (whole) delta = Member(choice.json, "message");
  if (delta != nullptr) {
    if (!delta->is_object()) return Garbage("a delta that is no object");
    RETURN_IF_ERROR(TakeText({*delta}, text));
    RETURN_IF_ERROR(TakeCalls({*delta}));
  }
  if (const std::string reason = TextMember(choice.json, "finish_reason"); !reason.empty()) {
    return TakeFinish(reason);
  }
  return OkStatus();
}

Status ChatAnswerReader::TakeText(const Piece& delta, AnswerText* text) {
  std::string reasoning = TextMember(delta.json, "reasoning_content");
  if (reasoning.empty()) reasoning = TextMember(delta.json, "reasoning");
  const std::string content = TextMember(delta.json, "content");
  RETURN_IF_ERROR(Count(reasoning.size() + content.size()));
  reasoning_ += reasoning;
  content_ += content;
  text->reasoning += reasoning;
  text->content += content;
  return OkStatus();
}

Status ChatAnswerReader::TakeCalls(const Piece& delta) {
  const Json* calls = Member(delta.json, "tool_calls");
  if (calls == nullptr) return OkStatus();
  if (!calls->is_array()) return Garbage("'tool_calls' that are no array");
  for (const Json& entry : *calls) {
    if (!entry.is_object()) return Garbage("a tool call that is no object");
    RETURN_IF_ERROR(TakeCall({entry}));
  }
  return OkStatus();
}

Status ChatAnswerReader::TakeCall(const Piece& entry) {
  const Json none = Json::object();
  const Json* function = Member(entry.json, "function");
  if (function == nullptr) function = &none;
  const std::string id = TextMember(entry.json, "id");
  const std::string name = TextMember(*function, "name");
  std::string arguments = TextMember(*function, "arguments");
  // Some servers send the arguments as the object itself.
  if (const Json* object = Member(*function, "arguments");
      object != nullptr && object->is_object()) {
    arguments = object->dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  RETURN_IF_ERROR(Count(id.size() + name.size() + arguments.size()));
  int64_t index = CountMember(entry.json, "index");
  if (index < 0) {
    // No index: a name begins a call, everything else goes on with the last one.
    index = calls_.empty() ? 0 : calls_.back().index + (name.empty() ? 0 : 1);
  }
  const auto found = std::find_if(calls_.rbegin(), calls_.rend(),
                                  [&](const Call& call) { return call.index == index; });
  // Ids may change within a call (only the index counts), but a second name after arguments is
  // another call of a server that numbers them all alike.
  const bool another = found != calls_.rend() && !name.empty() && !found->arguments.empty() &&
                       !id.empty() && id != found->id;
  if (found == calls_.rend() || another) {
    if (calls_.size() >= limits_.calls_max) {
      return ResourceExhaustedError(
          "the answer has more than " + std::to_string(limits_.calls_max) + " tool calls",
          "ANSWER_TOO_LARGE");
    }
    calls_.push_back({index, id, name, std::move(arguments)});
    return OkStatus();
  }
  if (found->name.empty()) found->name = name;
  found->arguments += arguments;
  return OkStatus();
}

Status ChatAnswerReader::TakeFinish(const std::string& reason) {
  if (reason == "content_filter") {
    return PermissionDeniedError("the engine's content filter stopped the answer",
                                 "ENGINE_REFUSED");
  }
  if (reason == "insufficient_system_resource" || reason == "error") {
    return UnavailableError("the engine stopped: " + Shown(reason), "ENGINE_FAULT");
  }
  finish_ = reason;
  finished_ = true;
  return OkStatus();
}

void ChatAnswerReader::CutHere() {
  finish_ = "length";
  finished_ = true;
  done_ = true;
}

void ChatAnswerReader::TakeUsage(const Piece& usage) {
  const auto take = [&](const char* name, int64_t* out) {
    if (const int64_t count = CountMember(usage.json, name); count >= 0) *out = count;
  };
  take("prompt_tokens", &usage_.prompt_tokens);
  take("completion_tokens", &usage_.completion_tokens);
  take("prompt_cache_hit_tokens", &usage_.cached_tokens);
  if (const Json* details = Member(usage.json, "prompt_tokens_details"); details != nullptr) {
    if (const int64_t count = CountMember(*details, "cached_tokens"); count >= 0) {
      usage_.cached_tokens = count;
    }
  }
}

Result<ChatAnswer> ChatAnswerReader::Finish() const {
  RETURN_IF_ERROR(failure_);
  if (!ended()) {
    return UnavailableError("the answer broke off after " + std::to_string(text_bytes_) + " bytes",
                            "ENGINE_BROKEN_OFF");
  }
  ChatAnswer answer;
  answer.message.role = Role::kAssistant;
  answer.message.content = content_;
  answer.message.reasoning = reasoning_;
  answer.usage = usage_;
  if (!finished_) answer.notes.push_back("the stream ended without a finish_reason");
  if (finish_ == "length") {
    answer.reason = FinishReason::kLength;
    answer.calls_cut = !calls_.empty();
    if (answer.calls_cut) answer.fault = "the token limit cut the calls: none was taken";
    return answer;
  }
  for (size_t i = 0; i < calls_.size(); ++i) {
    const Call& call = calls_[i];
    const std::string arguments = call.arguments.empty() ? "{}" : call.arguments;
    const bool is_object = ParseBounded(arguments).is_object();
    if (call.name.empty() || !is_object) {
      answer.fault = "tool call " + std::to_string(i + 1);
      answer.fault += call.name.empty()
                          ? " has no name"
                          : " (" + Shown(call.name) +
                                "): its arguments are no JSON object: " + Shown(arguments);
      answer.message.tool_calls.clear();
      return answer;
    }
    answer.message.tool_calls.push_back({"", call.name, arguments});
  }
  if (!answer.message.tool_calls.empty()) answer.reason = FinishReason::kToolCalls;
  return answer;
}

Status ErrorOfAnswer(int http_status, std::string_view body) {
  const Json json = ParseBounded(body);
  std::string said = json.is_object() ? ErrorText(json) : std::string(body);
  std::string lower = said;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const std::string text = "the engine answers HTTP " + std::to_string(http_status) +
                           (said.empty() ? std::string(", and says nothing") : ": " + Shown(said));
  if (http_status == 401) return Status(StatusCode::kUnauthenticated, text, "ENGINE_REFUSED");
  if (http_status == 402 || http_status == 403)
    return PermissionDeniedError(text, "ENGINE_REFUSED");
  if (http_status == 404) return NotFoundError(text, "ENGINE_REFUSED");
  if (http_status == 429) return ResourceExhaustedError(text, "ENGINE_BUSY");
  if (http_status >= 500 || http_status == 408) return UnavailableError(text, "ENGINE_FAULT");
  const bool too_long = http_status == 413 || (lower.find("context") != std::string::npos &&
                                               (lower.find("length") != std::string::npos ||
                                                lower.find("exceed") != std::string::npos ||
                                                lower.find("too long") != std::string::npos));
  if (too_long) return OutOfRangeError(text, "CONTEXT_FULL");
  return InvalidArgumentError(text, "ENGINE_REFUSED");
}

}  // namespace baleen
