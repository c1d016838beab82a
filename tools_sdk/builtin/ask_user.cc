#include "tools_sdk/builtin/ask_user.h"

#include "tools_sdk/builtin/call_text.h"

namespace baleen {
namespace {

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = kAskUser;
  spec.description =
      "Asks the user one question and waits for the answer, however long it takes. Only for what "
      "you can't find out or decide yourself.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("question":{"type":"string","minLength":1,"maxLength":2000},)"
      R"("options":{"type":"array","description":"Answers to choose from; the user may give another",)"
      R"("maxItems":10,"items":{"type":"string","minLength":1,"maxLength":200}}},)"
      R"("required":["question"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;  // the answer is kept with the approval
  spec.output_bytes_max = 8 * 1024;
  return spec;
}

class AskUserTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& /*context*/) override {
    return ToolError(call, "there is nobody to ask here: a session's turn asks its user");
  }

 private:
  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewAskUserTool() { return std::make_unique<AskUserTool>(); }

}  // namespace baleen
