#include "runtime/mcp/mcp_content.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools_sdk/json_text.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

constexpr size_t kToolsPerPageMax = 1024;
constexpr size_t kShortBytesMax = 200;

Status Wrong(const std::string& what) { return InvalidArgumentError("MCP: " + what); }

Result<Json> ReadObject(std::string_view text, const char* what) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return Wrong(std::string(what) + " is no object");
  return json;
}

std::string TextOf(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? ReplaceInvalidUtf8(found->get<std::string>())
                                                   : std::string();
}

std::string Short(const std::string& text) { return std::string(Utf8Prefix(text, kShortBytesMax)); }

bool FlagOf(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_boolean() && found->get<bool>();
}

McpToolListing ReadTool(const Json& json) {
  McpToolListing tool;
  tool.name = Short(TextOf(json, "name"));
  tool.description = TextOf(json, "description");
  if (tool.description.empty()) tool.description = TextOf(json, "title");
  if (tool.description.size() > kMcpDescriptionBytesMax) {
    const size_t whole = tool.description.size();
    tool.description = std::string(Utf8Prefix(tool.description, kMcpDescriptionBytesMax));
    tool.description += " [cut: " + std::to_string(tool.description.size()) + " of " +
                        std::to_string(whole) + " bytes]";
  }
  const auto input = json.find("inputSchema");
  tool.parameters = input == json.end() ? R"({"type":"object"})" : JsonText(*input);
  if (const auto output = json.find("outputSchema"); output != json.end()) {
    tool.output_schema = JsonText(*output);
  }
  if (tool.parameters.size() > kMcpSchemaBytesMax ||
      tool.output_schema.size() > kMcpSchemaBytesMax) {
    tool.parameters.clear();
    tool.output_schema.clear();
    tool.unfit = "its schemas have more than " + std::to_string(kMcpSchemaBytesMax) + " bytes";
  } else if (const auto schema = Schema::Parse(tool.parameters); !schema.ok()) {
    tool.unfit = schema.status().message();
  }
  return tool;
}

/// What a part of a result is to a reader.
std::string PartText(const Json& part) {
  if (!part.is_object()) return "[a part that is no object]";
  const std::string type = TextOf(part, "type");
  if (type == "text") return TextOf(part, "text");
  if (type == "image" || type == "audio") {
    return "[" + type + ", " + Short(TextOf(part, "mimeType")) + ", " +
           std::to_string(TextOf(part, "data").size()) + " bytes of base64, not shown]";
  }
  if (type == "resource_link") {
    return "[resource " + Short(TextOf(part, "name")) + ": " + Short(TextOf(part, "uri")) + "]";
  }
  if (type == "resource" && part.contains("resource") && part["resource"].is_object()) {
    const Json& resource = part["resource"];
    const std::string head = "[resource " + Short(TextOf(resource, "uri"));
    if (resource.contains("text")) return head + "]\n" + TextOf(resource, "text");
    return head + ", " + std::to_string(TextOf(resource, "blob").size()) +
           " bytes of base64, not shown]";
  }
  return "[a part of the unknown type '" + Short(type) + "']";
}

/// Whether a part says what the structured output says: as JSON, or as the one value that SDKs wrap
/// in an object because it is none.
bool SaysSame(const std::string& part, const Json& structured) {
  const Json value = Json::parse(part, nullptr, false);
  if (value == structured) return true;
  const bool wrapped =
      structured.is_object() && structured.size() == 1 && structured.contains("result");
  return wrapped && (structured["result"] == Json(part) || structured["result"] == value);
}

void AddTexts(const Json& list, std::vector<std::string>* texts) {
  if (!list.is_array()) return;
  for (const Json& entry : list) {
    if (entry.is_string() && texts->size() < 64) texts->push_back(Short(entry.get<std::string>()));
  }
}

}  // namespace

const std::vector<std::string>& McpHandshakeVersions() {
  static const std::vector<std::string> kVersions = {"2025-11-25", "2025-06-18", "2025-03-26",
                                                     "2024-11-05"};
  return kVersions;
}

Result<McpToolPage> ReadMcpToolPage(std::string_view result) {
  ASSIGN_OR_RETURN(const Json json, ReadObject(result, "a list of tools"));
  const auto tools = json.find("tools");
  if (tools == json.end() || !tools->is_array()) return Wrong("a list of tools without 'tools'");
  if (tools->size() > kToolsPerPageMax) return Wrong("over 1024 tools on a page");
  McpToolPage page;
  for (const Json& tool : *tools) {
    if (!tool.is_object()) return Wrong("a tool that is no object");
    page.tools.push_back(ReadTool(tool));
  }
  if (const auto next = json.find("nextCursor"); next != json.end() && next->is_string()) {
    page.next_cursor = JsonText(*next);
  }
  return page;
}

Result<McpCallAnswer> ReadMcpCallAnswer(std::string_view result) {
  ASSIGN_OR_RETURN(const Json json, ReadObject(result, "the answer to a call"));
  McpCallAnswer answer;
  if (TextOf(json, "resultType") == "input_required") {
    answer.wants_input = true;
    return answer;
  }
  answer.is_error = FlagOf(json, "isError");
  const auto structured = json.find("structuredContent");
  const bool has_structured = structured != json.end() && !structured->is_null();
  const auto content = json.find("content");
  if (content == json.end() && !has_structured) return Wrong("an answer without 'content'");
  if (content != json.end() && !content->is_array()) return Wrong("'content' that is no list");
  bool said = false;
  if (content != json.end()) {
    for (const Json& part : *content) {
      const std::string text = PartText(part);
      if (has_structured && !said) said = SaysSame(text, *structured);
      answer.content += (answer.content.empty() ? "" : "\n") + text;
    }
  }
  if (has_structured) {
    answer.structured = JsonText(*structured);
    if (!said) answer.content += (answer.content.empty() ? "" : "\n") + answer.structured;
  }
  return answer;
}

Result<McpGreeting> ReadMcpGreeting(std::string_view result) {
  ASSIGN_OR_RETURN(const Json json, ReadObject(result, "the answer to the handshake"));
  McpGreeting greeting;
  if (const std::string version = TextOf(json, "protocolVersion"); !version.empty()) {
    greeting.versions.push_back(Short(version));
  }
  if (const auto all = json.find("supportedVersions"); all != json.end()) {
    AddTexts(*all, &greeting.versions);
  }
  if (greeting.versions.empty()) return Wrong("an answer to the handshake without a version");
  const auto about = [&](const Json& place, const char* name) {
    const auto found = place.find(name);
    if (found == place.end() || !found->is_object()) return;
    const std::string version = TextOf(*found, "version");
    greeting.server = Short(TextOf(*found, "name") + (version.empty() ? "" : " " + version));
  };
  about(json, "serverInfo");
  if (const auto meta = json.find("_meta"); meta != json.end() && meta->is_object()) {
    about(*meta, "io.modelcontextprotocol/serverInfo");
  }
  const auto can = json.find("capabilities");
  greeting.has_tools = can != json.end() && can->is_object() && can->contains("tools");
  return greeting;
}

std::vector<std::string> ReadSupportedVersions(std::string_view error_body) {
  const Json json = Json::parse(error_body.begin(), error_body.end(), nullptr, false);
  std::vector<std::string> versions;
  if (json.is_object() && json.contains("supported")) AddTexts(json["supported"], &versions);
  return versions;
}

Result<McpProgress> ReadMcpProgress(std::string_view params) {
  ASSIGN_OR_RETURN(const Json json, ReadObject(params, "progress"));
  const auto token = json.find("progressToken");
  if (token == json.end()) return Wrong("progress without a token");
  McpProgress progress;
  progress.token = JsonText(*token);
  const auto number = [&](const char* name, std::optional<double>* value) {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_number()) return std::string();
    *value = found->get<double>();
    return JsonText(*found);
  };
  progress.text = number("progress", &progress.done);
  if (const std::string total = number("total", &progress.total); !total.empty()) {
    progress.text += " of " + total;
  }
  if (const std::string text = TextOf(json, "message"); !text.empty()) {
    progress.text += (progress.text.empty() ? "" : ": ") + text;
    progress.message = Short(text);
  }
  progress.text = Short(progress.text);
  return progress;
}

}  // namespace baleen
