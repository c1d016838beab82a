#include "runtime/remote/chat_request.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "tools_sdk/json_text.h"
#include "tools_sdk/schema.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kToolPrefix = "tool:";

Json Parsed(const std::string& text) { return Json::parse(text, nullptr, false); }

Json CallsJson(const std::vector<ToolCall>& calls) {
  Json out = Json::array();
  for (const ToolCall& call : calls) {
    out.push_back({{"id", call.id},
                   {"type", "function"},
                   {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return out;
}

Json AssistantJson(const Message& message, bool pass_reasoning) {
  Json out = {{"role", "assistant"}, {"content", message.content}};
  if (pass_reasoning && !message.reasoning.empty()) out["reasoning_content"] = message.reasoning;
  if (!message.tool_calls.empty()) out["tool_calls"] = CallsJson(message.tool_calls);
  return out;
}

Json MessagesJson(const ChatRequest& request, bool pass_reasoning) {
  Json out = Json::array();
  if (!request.system.empty()) out.push_back({{"role", "system"}, {"content", request.system}});
  for (const Message& message : request.messages) {
    if (message.role == Role::kAssistant) {
      out.push_back(AssistantJson(message, pass_reasoning));
    } else if (message.role == Role::kTool) {
      out.push_back(
          {{"role", "tool"}, {"tool_call_id", message.tool_call_id}, {"content", message.content}});
    } else if (message.role == Role::kSystem && out.empty()) {
      out.push_back({{"role", "system"}, {"content", message.content}});
    } else if (!out.empty() && out.back()["role"] == "user") {
      out.back()["content"] = out.back()["content"].get<std::string>() + "\n\n" + message.content;
    } else {
      out.push_back({{"role", "user"}, {"content", message.content}});
    }
  }
  return out;
}

void AddTools(const ChatRequest& request, Json& out) {
  if (request.tools.empty()) return;
  Json tools = Json::array();
  for (const ToolSpec& spec : request.tools) {
    tools.push_back({{"type", "function"}, {"function", Parsed(FunctionObjectJson(spec))}});
  }
  out["tools"] = std::move(tools);
  if (request.tool_choice.starts_with(kToolPrefix)) {
    out["tool_choice"] = {{"type", "function"},
                          {"function", {{"name", request.tool_choice.substr(kToolPrefix.size())}}}};
  } else if (request.tool_choice != "auto") {
    out["tool_choice"] = request.tool_choice;  // what is left out is "auto"
  }
}

void AddSampling(const SamplingSettings& sampling, Json& out) {
  out["temperature"] = sampling.temperature;
  if (sampling.top_p < 1.0F) out["top_p"] = sampling.top_p;
  // Beyond the documented API: said only where somebody asked for it.
  if (sampling.min_p > 0.0F) out["min_p"] = sampling.min_p;
  if (sampling.top_k > 0) out["top_k"] = sampling.top_k;
  if (sampling.seed != 0) out["seed"] = sampling.seed;
}

}  // namespace

std::string ChatRequestJson(const ChatRequest& request, const RemoteEngineOptions& options) {
  Json out = {{"model", options.model},
              {"messages", MessagesJson(request, options.pass_reasoning)},
              {"stream", true},
              {"stream_options", {{"include_usage", true}}},
              {"max_tokens", request.tokens_max}};
  AddSampling(request.sampling, out);
  AddTools(request, out);
  if (!request.reasoning_effort.empty()) out["reasoning_effort"] = request.reasoning_effort;
  if (!request.answer_schema.empty()) {
    out["response_format"] = {
        {"type", "json_schema"},
        {"json_schema",
         {{"name", "answer"}, {"strict", true}, {"schema", Parsed(request.answer_schema)}}}};
  }
  if (!options.extra.empty()) {
    const Json extra = Parsed(options.extra);
    if (extra.is_object()) out.update(extra);
  }
  return JsonText(out);
}

}  // namespace baleen
