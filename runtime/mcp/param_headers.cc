#include "runtime/mcp/param_headers.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = nlohmann::json;
/// Called with each annotated schema and the argument that it is of (null: there is none).
using Visit = std::function<void(const Json& schema, const Json* argument)>;

constexpr std::string_view kMark = "x-mcp-header";
constexpr std::string_view kBegin = "=?base64?";
constexpr std::string_view kEnd = "?=";

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t j = 0; j < 3; ++j) {
      word = word << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? kLetters[word >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

bool IsHeaderName(const std::string& name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           kMarks.find(c) != std::string_view::npos;
  });
}

void Walk(const Json& schema, const Json* argument, const Visit& visit) {
  if (!schema.is_object()) return;
  if (schema.contains(kMark)) visit(schema, argument);
  const auto properties = schema.find("properties");
  if (properties == schema.end() || !properties->is_object()) return;
  for (const auto& [name, inner] : properties->items()) {
    const bool there = argument != nullptr && argument->is_object() && argument->contains(name);
    Walk(inner, there ? &(*argument)[name] : nullptr, visit);
  }
}

}  // namespace

std::string McpHeaderValue(std::string_view text) {
  const bool plain =
      !text.empty() && text.front() != ' ' && text.back() != ' ' &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 127; }) &&
      !(text.starts_with(kBegin) && text.ends_with(kEnd));
  if (plain || text.empty()) return std::string(text);
  return std::string(kBegin) + Base64(text) + std::string(kEnd);
}

Status CheckParamHeaders(std::string_view parameters) {
  const Json schema = Json::parse(parameters.begin(), parameters.end(), nullptr, false);
  std::set<std::string> names;
  std::string wrong;
  Walk(schema, nullptr, [&](const Json& marked, const Json*) {
    const Json& mark = marked[std::string(kMark)];
    const std::string type = marked.value("type", Json()).is_string()
                                 ? marked["type"].get<std::string>()
                                 : std::string();
    std::string name = mark.is_string() ? mark.get<std::string>() : std::string();
    const bool fits =
        IsHeaderName(name) && (type == "string" || type == "integer" || type == "boolean");
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!fits || !names.insert(name).second) wrong = ShownJson(mark);
  });
  if (wrong.empty()) return OkStatus();
  return InvalidArgumentError("x-mcp-header " + wrong +
                              ": expected names of headers, each once, of texts, whole numbers "
                              "and truth values");
}

std::vector<std::string> McpParamHeaders(std::string_view parameters, std::string_view arguments) {
  std::vector<std::string> headers;
  if (!CheckParamHeaders(parameters).ok()) return headers;
  const Json schema = Json::parse(parameters.begin(), parameters.end(), nullptr, false);
  const Json given = Json::parse(arguments.begin(), arguments.end(), nullptr, false);
  Walk(schema, &given, [&](const Json& marked, const Json* argument) {
    if (argument == nullptr || argument->is_null()) return;
    const std::string value =
        argument->is_string() ? argument->get<std::string>() : JsonText(*argument);
    headers.push_back("Mcp-Param-" + marked[std::string(kMark)].get<std::string>() + ": " +
                      McpHeaderValue(value));
  });
  return headers;
}

}  // namespace baleen
