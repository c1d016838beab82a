#include "runtime/http_tools/http_tools.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/clock.h"
#include "runtime/http/redactor.h"
#include "runtime/http_tools/header_rules.h"
#include "runtime/http_tools/lost_call.h"
#include "runtime/http_tools/secret_header.h"
#include "tools_sdk/call_result.h"
#include "tools_sdk/json_text.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/tool_set.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kRefusalBytesMax = 2048;  // of an error's body

Status Bad(const std::string& what, const std::string& name, const std::string& why) {
  return InvalidArgumentError(what + " '" + name.substr(0, 80) + "': " + why, "BAD_FIELD");
}

std::string Lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool IsOneOf(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* one) { return word == one; });
}

bool TakesBody(const std::string& method) { return IsOneOf(method, {"POST", "PUT", "PATCH"}); }

/// [first][first0-9_-]{0,62}
bool IsName(const std::string& name, bool upper) {
  const auto letter = [&](char c) {
    return (c >= 'a' && c <= 'z') || (upper && c >= 'A' && c <= 'Z');
  };
  if (name.empty() || name.size() > 63 || !letter(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

/// Every parameter that the template names, as a required string.
std::string ParametersOf(const RequestTemplate& request) {
  Json properties = Json::object();
  Json required = Json::array();
  for (const std::string& name : request.names()) {
    properties[name] = {{"type", "string"}};
    required.push_back(name);
  }
  return JsonText(Json{{"type", "object"},
                       {"properties", properties},
                       {"required", required},
                       {"additionalProperties", false}});
}

/// What the template names must be declared, and what is declared must be named or have a body to
/// go into.
Status CheckParameters(const HttpToolOptions& options, const RequestTemplate& request) {
  RETURN_IF_ERROR(Schema::Parse(options.parameters).status());
  const Json schema = Json::parse(options.parameters, nullptr, false);
  const Json properties = schema.value("properties", Json::object());
  const Json required = schema.value("required", Json::array());
  for (const std::string& name : request.names()) {
    if (properties.is_object() && properties.contains(name)) continue;
    return InvalidArgumentError("'{" + name + "}' is none of its parameters");
  }
  for (const std::string& name : request.path_names()) {
    if (std::find(required.begin(), required.end(), name) != required.end()) continue;
    return InvalidArgumentError("'{" + name + "}' stands in the path: expected it to be required");
  }
  for (const std::string& name : request.url_names()) {
    const Json type =
        properties[name].is_object() ? properties[name].value("type", Json()) : Json();
    if (type != "array" && type != "object") continue;
    return InvalidArgumentError("'{" + name + "}' stands in the URL: expected it to be a string, " +
                                "a number or a boolean");
  }
  if (TakesBody(options.method) && !request.has_body()) return OkStatus();
  for (const auto& [name, ignored] : properties.items()) {
    const auto& names = request.names();
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    return InvalidArgumentError("parameter '" + name + "' has no place in URL or body");
  }
  return OkStatus();
}

std::string CutNote(size_t kept, const FetchReply& reply) {
  return "\n[cut: " + std::to_string(kept) + " of " + (reply.cut ? "more than " : "") +
         std::to_string(reply.body.size()) + " bytes]";
}

/// Of an answer that a server gave.
ToolResult Returned(const FetchReply& reply, const HttpTool& tool) {
  const std::string code = std::to_string(reply.code);
  const bool text = IsTextAnswer(reply.content_type, reply.body);
  const bool failed = reply.code >= 300 || reply.code < 200;
  std::string content;
  if (failed) {
    content = "The server answered " + code + ".";
    if (reply.retry_after_s >= 0) {
      content +=
          " It asks to wait " + std::to_string(reply.retry_after_s) + " s before another try.";
    }
    if (reply.code >= 500 && tool.spec.effect != EffectClass::kPure) content += kInspectFirst;
    if (reply.body.empty()) return ResultOf(ToolOutcome::kError, content);
    content += "\n";
  } else if (reply.body.empty()) {
    return ResultOf(ToolOutcome::kOk, "The server answered " + code + ", with nothing in it.");
  }
  if (!text) {
    content += "[" + std::to_string(reply.body.size()) + (reply.cut ? " bytes or more" : " bytes") +
               " of " + (reply.content_type.empty() ? "no type" : reply.content_type) +
               ", which isn't text and isn't shown]";
    return ResultOf(failed ? ToolOutcome::kError : ToolOutcome::kOk, content);
  }
  const size_t bytes_max =
      failed ? kRefusalBytesMax : static_cast<size_t>(tool.options.output_bytes_max);
  const std::string_view kept = Utf8Prefix(reply.body, bytes_max);
  content += kept;
  ToolResult result;
  result.outcome = failed ? ToolOutcome::kError : ToolOutcome::kOk;
  if (reply.cut || kept.size() < reply.body.size()) {
    content += CutNote(kept.size(), reply);
    result.content_bytes = static_cast<int64_t>(reply.body.size());
  }
  result.content = std::move(content);
  return result;
}

}  // namespace

bool IsTextAnswer(const std::string& content_type, const std::string& body) {
  if (body.find('\0') != std::string::npos) return false;
  const std::string type = Lower(content_type.substr(0, content_type.find(';')));
  if (type.starts_with("text/") || type.ends_with("+json") || type.ends_with("+xml") ||
      IsOneOf(type,
              {"application/json", "application/xml", "application/javascript",
               "application/x-ndjson", "application/yaml", "application/x-yaml", "application/toml",
               "application/sql", "application/x-www-form-urlencoded", "image/svg+xml"})) {
    return true;
  }
  // Servers that say nothing, or the wrong thing, of a text; a cut may have split its last letter.
  return Utf8ValidPrefix(body) + 3 >= body.size() &&
         (type.empty() || type == "application/octet-stream");
}

Status SecretOptions::Validate() const {
  const auto bad = [this](const std::string& why) { return Bad("secret", name, why); };
  if (!IsName(name, /*upper=*/true)) {
    return bad("expected a name of letters, digits, '_' and '-', a letter first");
  }
  const KeyPlace place = {key, key_variable, key_file};
  if (place.empty()) return bad("expected its place: key_env or key_file");
  if (Status status = CheckKeyPlace(place); !status.ok()) return bad(status.message());
  if (!key.empty() && key.size() < kSecretBytesMin) {
    return bad("expected at least " + std::to_string(kSecretBytesMin) +
               " bytes: a shorter value can't be told from other text");
  }
  if (hosts.empty()) return bad("expected the hosts that it may be sent to");
  if (const auto rules = HostRules::Parse(hosts); !rules.ok()) {
    return bad(rules.status().message());
  }
  return OkStatus();
}

Status HttpToolOptions::Validate() const {
  const auto bad = [this](const std::string& why) { return Bad("HTTP tool", name, why); };
  if (!IsName(name, /*upper=*/false)) {
    return bad("expected a name of a-z, 0-9, '_' and '-', a letter first");
  }
  if (!IsOneOf(method, {"GET", "POST", "PUT", "PATCH", "DELETE"})) {
    return bad("method: expected GET, POST, PUT, PATCH or DELETE");
  }
  if (!IsOneOf(effect, {"pure", "idempotent", "effect"})) {
    return bad("effect: expected pure, idempotent or effect");
  }
  if (effect == "pure" && method != "GET") {
    return bad("effect: only a GET can be pure; expected idempotent or effect");
  }
  if (!body.empty() && !TakesBody(method)) return bad("a " + method + " has no body");
  const auto request = RequestTemplate::Parse(url, body);
  if (!request.ok()) return bad(request.status().message());
  if (!parameters.empty()) {
    if (Status status = CheckParameters(*this, *request); !status.ok()) {
      return bad("parameters: " + status.message());
    }
  }
  for (const std::string& header : headers) {
    if (Status status = CheckHeader(header); !status.ok()) return bad(status.message());
  }
  if (secret.empty() && !secret_header.empty()) return bad("secret_header: there is no secret");
  if (!secret_header.empty()) {
    if (Status status = CheckHeaderName(secret_header, /*of_secret=*/true); !status.ok()) {
      return bad("secret_header: " + status.message());
    }
  }
  if (!secret.empty() && GoesInClear(url)) {
    return bad("its secret would go over the network in clear; use https");
  }
  const auto rules = HostRules::Parse(
      hosts.empty() ? std::vector<std::string>{request->sample().HostAndPort()} : hosts);
  if (!rules.ok()) return bad(rules.status().message());
  const Url& sample = request->sample();
  if (Status status = rules->CheckHost(sample.host, sample.port); !status.ok()) {
    return bad("hosts: " + status.message());
  }
  if (whole_ms < 1) return bad("whole_ms: expected at least 1");
  if (answer_bytes_max < 1024 || output_bytes_max < 1024) {
    return bad("expected answer_bytes_max and output_bytes_max of at least 1024");
  }
  return OkStatus();
}

Result<std::unique_ptr<HttpTools>> HttpTools::Create(const std::vector<HttpToolOptions>& options,
                                                     const std::vector<SecretOptions>& secrets) {
  for (const SecretOptions& secret : secrets) RETURN_IF_ERROR(secret.Validate());
  std::unique_ptr<HttpTools> tools(new HttpTools());
  for (const HttpToolOptions& one : options) {
    RETURN_IF_ERROR(one.Validate());
    const auto bad = [&](const std::string& why) { return Bad("HTTP tool", one.name, why); };
    if (tools->Find(one.name) != nullptr) return bad("the name is given twice");
    HttpTool tool;
    tool.options = one;
    ASSIGN_OR_RETURN(tool.request, RequestTemplate::Parse(one.url, one.body));
    const Url& sample = tool.request.sample();
    ASSIGN_OR_RETURN(
        tool.hosts,
        HostRules::Parse(one.hosts.empty() ? std::vector<std::string>{sample.HostAndPort()}
                                           : one.hosts));
    if (!one.secret.empty()) {
      const auto found = std::find_if(secrets.begin(), secrets.end(), [&](const auto& secret) {
        return secret.name == one.secret;
      });
      if (found == secrets.end()) return bad("there is no secret '" + one.secret + "'");
      ASSIGN_OR_RETURN(const HostRules rules, HostRules::Parse(found->hosts));
      if (Status status = rules.CheckHost(sample.host, sample.port); !status.ok()) {
        return bad("secret '" + one.secret + "': " + status.message());
      }
      tool.secret = {found->key, found->key_variable, found->key_file};
    }
    tool.spec.name = one.name;
    tool.spec.description = one.description;
    tool.spec.parameters = one.parameters.empty() ? ParametersOf(tool.request) : one.parameters;
    tool.spec.effect = one.effect == "pure"         ? EffectClass::kPure
                       : one.effect == "idempotent" ? EffectClass::kIdempotent
                                                    : EffectClass::kEffect;
    tool.spec.timeout_ms = one.whole_ms;
    tool.spec.output_bytes_max = one.output_bytes_max;
    tools->tools_.push_back(std::move(tool));
  }
  return tools;
}

const HttpTool* HttpTools::Find(const std::string& name) const {
  for (const HttpTool& tool : tools_) {
    if (tool.spec.name == name) return &tool;
  }
  return nullptr;
}

ToolResult HttpTools::Call(const ToolCall& call, const CallContext& context) {
  const HttpTool& tool = *Find(call.name);
  const HttpToolOptions& options = tool.options;
  auto filled = tool.request.Fill(call.arguments);
  if (!filled.ok()) return NotRun(filled.status().message());
  FetchRequest request;
  request.method = options.method;
  request.url = std::move(filled->url);
  request.body = std::move(filled->body);
  if (TakesBody(options.method) && !tool.request.has_body()) {
    auto rest = tool.request.RestAsBody(call.arguments);
    if (!rest.ok()) return NotRun(rest.status().message());
    request.body = *std::move(rest);
  }
  if (tool.spec.effect != EffectClass::kPure) {
    request.headers.push_back(IdempotencyHeader(call.id));
  }
  request.own_headers = options.headers;
  if (!options.secret.empty()) {
    const auto secret = SecretHeader(options.secret, tool.secret, options.secret_header);
    if (!secret.ok()) return NotRun(secret.status().message());
    request.own_headers.push_back(*secret);
  }
  request.hosts = &tool.hosts;
  request.proxy = options.proxy;
  request.ca_file = options.ca_file;
  request.whole_ms = options.whole_ms;
  request.answer_bytes_max = options.answer_bytes_max;
  const FetchReply reply = fetcher_.Fetch(request, context.cancelled);
  if (reply.status.ok()) return Returned(reply, tool);
  // The runtime sets the flag at the deadline, too.
  return LostCall(reply, tool.spec.effect, options.whole_ms,
                  Clock().SteadyMs() >= context.deadline_ms);
}

}  // namespace baleen
