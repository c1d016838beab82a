#include "runtime/mcp/rpc_message.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "tools_sdk/json_text.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

constexpr int kDepthMax = 64;
constexpr size_t kMessagesMax = 256;
constexpr size_t kTextBytesMax = 2048;
constexpr size_t kIdBytesMax = 256;
constexpr int64_t kMethodNotFound = -32601;

Status Wrong(const std::string& what) { return InvalidArgumentError("JSON-RPC: " + what); }

Status ReadId(const Json& json, std::string* id) {
  const auto found = json.find("id");
  if (found == json.end() || found->is_null()) return OkStatus();
  if (!found->is_string() && !found->is_number_integer()) {
    return Wrong("an id that is neither a text nor a whole number");
  }
  *id = JsonText(*found);
  if (id->size() > kIdBytesMax) return Wrong("an id of more than 256 bytes");
  return OkStatus();
}

Result<RpcMessage> ReadOne(const Json& json) {
  if (!json.is_object()) return Wrong("a message that is no object");
  RpcMessage message;
  RETURN_IF_ERROR(ReadId(json, &message.id));
  const auto text_of = [&](const char* name) {
    const auto found = json.find(name);
    return found == json.end() ? std::string() : JsonText(*found);
  };
  if (const auto method = json.find("method"); method != json.end()) {
    if (!method->is_string()) return Wrong("a method that is no text");
    message.kind =
        message.id.empty() ? RpcMessage::Kind::kNotification : RpcMessage::Kind::kRequest;
    message.method = method->get<std::string>();
    message.body = text_of("params");
    return message;
  }
  if (const auto error = json.find("error"); error != json.end()) {
    if (!error->is_object()) return Wrong("an error that is no object");
    message.kind = RpcMessage::Kind::kError;
    if (const auto code = error->find("code"); code != error->end() && code->is_number_integer()) {
      message.code = code->get<int64_t>();
    }
    if (const auto text = error->find("message"); text != error->end() && text->is_string()) {
      const std::string whole = text->get<std::string>();
      message.text = std::string(Utf8Prefix(whole, kTextBytesMax));
    }
    if (const auto more = error->find("data"); more != error->end()) message.body = JsonText(*more);
    return message;
  }
  if (!json.contains("result")) return Wrong("a message without method, result or error");
  if (message.id.empty()) return Wrong("a result without an id");
  message.kind = RpcMessage::Kind::kResult;
  message.body = text_of("result");
  return message;
}

std::string Written(Json json) {
  Json whole = {{"jsonrpc", "2.0"}};
  whole.update(json);
  return JsonText(whole);
}

/// Of JSON text that this side made or has read.
Json Read(const std::string& text) { return Json::parse(text, nullptr, false); }

}  // namespace

bool NestsAtMost(std::string_view json, int depth_max) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > depth_max) return false;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return true;
}

Result<std::vector<RpcMessage>> ReadRpcMessages(std::string_view text) {
  if (!NestsAtMost(text, kDepthMax)) return Wrong("a message nested over 64 deep");
  const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded()) return Wrong("not JSON");
  std::vector<RpcMessage> messages;
  if (!json.is_array()) {
    ASSIGN_OR_RETURN(RpcMessage message, ReadOne(json));
    messages.push_back(std::move(message));
    return messages;
  }
  if (json.size() > kMessagesMax) return Wrong("a list of more than 256 messages");
  for (const Json& one : json) {
    ASSIGN_OR_RETURN(RpcMessage message, ReadOne(one));
    messages.push_back(std::move(message));
  }
  return messages;
}

std::string RpcRequest(int64_t id, const std::string& method, const std::string& params) {
  return Written({{"id", id}, {"method", method}, {"params", Read(params)}});
}

std::string RpcNotification(const std::string& method, const std::string& params) {
  return Written({{"method", method}, {"params", Read(params)}});
}

std::string RpcEmptyResult(const std::string& id) {
  return Written({{"id", Read(id)}, {"result", Json::object()}});
}

std::string RpcRefusal(const std::string& id, const std::string& method) {
  const std::string what = "this client has no '" + method.substr(0, 80) + "'";
  return Written({{"id", Read(id)}, {"error", {{"code", kMethodNotFound}, {"message", what}}}});
}

Status LineReader::Push(std::string_view piece, std::vector<std::string>* lines) {
  RETURN_IF_ERROR(failure_);
  while (!piece.empty()) {
    const size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    if (line_.size() + part.size() > limit_) {
      return failure_ = ResourceExhaustedError(
                 "a line has more than " + std::to_string(limit_) + " bytes", "ANSWER_TOO_LARGE");
    }
    line_ += part;
    if (end == std::string_view::npos) break;
    piece.remove_prefix(end + 1);
    while (!line_.empty() && (line_.back() == '\r' || line_.back() == ' ')) line_.pop_back();
    if (!line_.empty()) lines->push_back(std::move(line_));
    line_.clear();
  }
  return OkStatus();
}

}  // namespace baleen
