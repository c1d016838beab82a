#include "tools_sdk/builtin/todo.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/schema.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "todo";
  spec.description =
      "Tells the user your plan: all its items, in order, each time anew. For work of several "
      "steps; one item is doing at a time.";
  spec.parameters =
      R"({"type":"object","properties":{"items":{"type":"array","maxItems":50,"items":)"
      R"({"type":"object","properties":{)"
      R"("text":{"type":"string","minLength":1,"maxLength":300},)"
      R"("state":{"type":"string","enum":["open","doing","done"]}},)"
      R"("required":["text","state"],"additionalProperties":false}}},)"
      R"("required":["items"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 64 * 1024;
  return spec;
}

const char* Mark(const std::string& state) {
  if (state == "done") return "[x] ";
  return state == "doing" ? "[>] " : "[ ] ";
}

class TodoTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& /*context*/) override {
    if (Status valid = ValidateArguments(spec_, call.arguments); !valid.ok()) {
      return ToolError(call, valid.message());
    }
    const Json items = Json::parse(call.arguments)["items"];
    BoundedText out(spec_.output_bytes_max);
    int64_t done = 0;
    int64_t doing = 0;
    for (const Json& item : items) {
      const std::string state = item["state"];
      std::string text = item["text"];
      std::replace(text.begin(), text.end(), '\n', ' ');
      out.AddLine(Mark(state) + text);
      done += state == "done" ? 1 : 0;
      doing += state == "doing" ? 1 : 0;
    }
    if (doing > 1) {
      return ToolError(call, std::to_string(doing) + " items are doing; expected one at a time");
    }
    return out.Finish(
        call, "[" + std::to_string(done) + " of " + std::to_string(items.size()) + " done]");
  }

 private:
  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewTodoTool() { return std::make_unique<TodoTool>(); }

}  // namespace baleen
