#include "runtime/http_tools/script_requests.h"

#include <algorithm>
#include <utility>

#include "runtime/clock.h"
#include "runtime/http_tools/header_rules.h"
#include "runtime/http_tools/http_tools.h"
#include "runtime/http_tools/lost_call.h"
#include "runtime/http_tools/secret_header.h"
#include "tools_sdk/call_result.h"
#include "tools_sdk/json_text.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kWholeMs = 30'000;
constexpr int64_t kWholeMsMax = 600'000;
constexpr int64_t kBodyBytes = 256 << 10;
constexpr int64_t kBodyBytesMax = 1 << 20;
constexpr size_t kHeadersMax = 32;
constexpr size_t kHeaderBytesMax = 4096;

ToolSpec Spec(EffectClass effect) {
  ToolSpec spec;
  spec.name = kHttpRequest;
  spec.description = "A request of a script.";
  // Bodies of requests are bounded so that the control thread can look into them.
  spec.parameters = R"({"type":"object","properties":{)"
                    R"("method":{"type":"string","enum":["GET","POST","PUT","PATCH","DELETE"]},)"
                    R"("url":{"type":"string","minLength":8,"maxLength":8192},)"
                    R"("headers":{"type":"object","additionalProperties":{"type":"string"}},)"
                    R"("body":{"type":"string","maxLength":262144},)"
                    R"("secret":{"type":"string","minLength":1,"maxLength":64},)"
                    R"("secret_header":{"type":"string","minLength":1,"maxLength":64},)"
                    R"("tool":{"type":"string","maxLength":64},)"
                    R"("hosts":{"type":"array","items":{"type":"string"},"maxItems":64},)"
                    R"("timeout_ms":{"type":"integer","minimum":1,"maximum":600000},)"
                    R"("bytes_max":{"type":"integer","minimum":1,"maximum":1048576}},)"
                    R"("required":["method","url"],"additionalProperties":false})";
  spec.effect = effect;
  spec.timeout_ms = kWholeMsMax + 10'000;
  spec.output_bytes_max = kBodyBytesMax + (64 << 10);  // and the line in front
  return spec;
}

ToolSet Alone(EffectClass effect) {
  ToolSet alone;
  alone.Add(Spec(effect)).IgnoreError("it is ours, and tests call it");
  return alone;
}

std::string TextIn(const Json& arguments, const char* name) {
  const auto found = arguments.find(name);
  return found == arguments.end() || !found->is_string() ? "" : found->get<std::string>();
}

Json ReadArguments(const std::string& text) {
  Json arguments = Json::parse(text, nullptr, false);
  return arguments.is_object() ? arguments : Json::object();
}

/// A host as it is written in lists of hosts.
std::string AsRule(const Url& url) {
  const int usual = url.scheme == "https" ? 443 : 80;
  return url.port == usual ? url.host : url.HostAndPort();
}

/// Adds the headers of the arguments. Errors: INVALID_ARGUMENT naming one.
Status AddHeaders(const Json& arguments, FetchRequest* request) {
  const auto found = arguments.find("headers");
  if (found == arguments.end()) return OkStatus();
  if (found->size() > kHeadersMax) {
    return InvalidArgumentError("it has more than " + std::to_string(kHeadersMax) + " headers");
  }
  for (const auto& [name, value] : found->items()) {
    std::string lower = name;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const std::string text = value.get<std::string>();
    if (text.size() > kHeaderBytesMax) {
      return InvalidArgumentError("header '" + name.substr(0, 64) + "' has more than " +
                                  std::to_string(kHeaderBytesMax) + " bytes");
    }
    const bool of_body = lower == "content-type";
    // As a header of any other name, so that one rule says what may be in it.
    RETURN_IF_ERROR(CheckHeader((of_body ? "X-Type" : name) + ": " + text));
    if (of_body) {
      request->content_type = text;
    } else {
      request->own_headers.push_back(name + ": " + text);
    }
  }
  return OkStatus();
}

/// Errors: INVALID_ARGUMENT.
Status AddBody(const Json& arguments, FetchRequest* request) {
  request->body = TextIn(arguments, "body");
  const bool takes_body =
      request->method == "POST" || request->method == "PUT" || request->method == "PATCH";
  if (request->body.empty() || takes_body) return OkStatus();
  return InvalidArgumentError("a " + request->method + " has no body");
}

ToolResult Answered(const FetchReply& reply, int64_t bytes_max) {
  const bool text = IsTextAnswer(reply.content_type, reply.body);
  std::string body = text ? ReplaceInvalidUtf8(reply.body) : "";
  const size_t whole = body.size();
  body.resize(Utf8Prefix(body, static_cast<size_t>(bytes_max)).size());
  Json head = {{"status", reply.code}};
  if (!reply.content_type.empty()) head["content_type"] = reply.content_type;
  if (reply.cut || body.size() < whole) head["cut"] = true;
  if (!text) head["skipped"] = reply.body.size();
  if (!reply.redirect.empty()) head["redirect"] = reply.redirect;
  if (reply.retry_after_s >= 0) head["retry_after"] = reply.retry_after_s;
  ToolResult result;
  result.content = JsonText(head) + "\n" + body;
  return result;
}

}  // namespace

ScriptRequestHead ScriptRequestHeadOf(const std::string& text) {
  const Json arguments = ReadArguments(text);
  const auto url = ParseUrl(TextIn(arguments, "url"));
  return {TextIn(arguments, "method"), url.ok() ? url->HostAndPort() : "",
          TextIn(arguments, "secret")};
}

const ToolSet& ScriptRequestTools(const std::string& arguments) {
  static const ToolSet pure = Alone(EffectClass::kPure);
  static const ToolSet effect = Alone(EffectClass::kEffect);
  return ScriptRequestHeadOf(arguments).method == "GET" ? pure : effect;
}

Result<std::unique_ptr<ScriptRequests>> ScriptRequests::Create(
    const std::vector<std::string>& hosts, const std::vector<SecretOptions>& secrets) {
  std::unique_ptr<ScriptRequests> requests(new ScriptRequests());
  auto rules = HostRules::Parse(hosts);
  if (!rules.ok()) {
    return InvalidArgumentError("script_http_hosts: " + rules.status().message(), "BAD_FIELD");
  }
  requests->hosts_ = *std::move(rules);
  for (const SecretOptions& secret : secrets) {
    RETURN_IF_ERROR(secret.Validate());
    ASSIGN_OR_RETURN(HostRules own, HostRules::Parse(secret.hosts));
    requests->secrets_.push_back({secret, std::move(own)});
  }
  return requests;
}

Result<std::string> ScriptRequests::SecretLine(const std::string& name, const std::string& header,
                                               const Url& url) const {
  const auto found = std::find_if(secrets_.begin(), secrets_.end(),
                                  [&](const Secret& one) { return one.options.name == name; });
  const auto bad = [&](const std::string& why) {
    return InvalidArgumentError("secret '" + name + "' " + why);
  };
  if (found == secrets_.end()) {
    return bad("isn't declared: add [secrets." + name +
               "] to baleen.toml, with its place and hosts");
  }
  if (!found->options.for_scripts) {
    return bad("isn't for scripts to use: add scripts = true to [secrets." + name + "]");
  }
  if (!found->hosts.CheckHost(url.host, url.port).ok()) {
    return bad("may not be sent to " + url.HostAndPort() + ": add \"" + AsRule(url) +
               "\" to the hosts of [secrets." + name + "] if it may");
  }
  if (GoesInClear(url.text)) return bad("would go over the network in clear: use https");
  if (!header.empty()) RETURN_IF_ERROR(CheckHeaderName(header, /*of_secret=*/true));
  return SecretHeader(
      name, {found->options.key, found->options.key_variable, found->options.key_file}, header);
}

Status ScriptRequests::ChooseHosts(const nlohmann::ordered_json& arguments, FetchRequest* request,
                                   HostRules* within) const {
  const Url& url = request->url;
  request->hosts = &hosts_;
  if (!hosts_.CheckHost(url.host, url.port).ok()) {
    return PermissionDeniedError(
        url.HostAndPort() + " is none of the hosts that scripts may ask: add \"" + AsRule(url) +
        "\" to script_http_hosts in [web] of baleen.toml "
        "(--script-http-hosts)");
  }
  if (!arguments.contains("hosts")) return OkStatus();
  const std::string tool = "tool '" + TextIn(arguments, "tool") + "'";
  auto rules = HostRules::Parse(arguments["hosts"].get<std::vector<std::string>>());
  if (!rules.ok()) return rules.status().WithContext(tool + ": traits.network");
  *within = *std::move(rules);
  request->within = within;
  if (within->CheckHost(url.host, url.port).ok()) return OkStatus();
  return PermissionDeniedError(tool + " says that it reaches other hosts than " +
                               url.HostAndPort() + ": add \"" + AsRule(url) +
                               "\" to its traits.network");
}

Result<FetchRequest> ScriptRequests::Make(const nlohmann::ordered_json& arguments,
                                          HostRules* within) const {
  FetchRequest request;
  request.method = TextIn(arguments, "method");
  ASSIGN_OR_RETURN(request.url, ParseUrl(TextIn(arguments, "url")));
  RETURN_IF_ERROR(ChooseHosts(arguments, &request, within));
  RETURN_IF_ERROR(AddHeaders(arguments, &request));
  RETURN_IF_ERROR(AddBody(arguments, &request));
  if (const std::string secret = TextIn(arguments, "secret"); !secret.empty()) {
    ASSIGN_OR_RETURN(std::string line,
                     SecretLine(secret, TextIn(arguments, "secret_header"), request.url));
    request.own_headers.push_back(std::move(line));
  }
  request.to_other_hosts = false;
  request.whole_ms = arguments.value("timeout_ms", kWholeMs);
  request.answer_bytes_max = arguments.value("bytes_max", kBodyBytes);
  return request;
}

ToolResult ScriptRequests::Call(const ToolCall& call, const CallContext& context) {
  HostRules within;
  auto request = Make(ReadArguments(call.arguments), &within);
  if (!request.ok()) return NotRun(request.status().message());
  const EffectClass effect = request->method == "GET" ? EffectClass::kPure : EffectClass::kEffect;
  if (effect != EffectClass::kPure) request->own_headers.push_back(IdempotencyHeader(call.id));
  const FetchReply reply = fetcher_.Fetch(*request, context.cancelled);
  if (reply.status.ok()) return Answered(reply, request->answer_bytes_max);
  return LostCall(reply, effect, request->whole_ms, Clock().SteadyMs() >= context.deadline_ms);
}

}  // namespace baleen
