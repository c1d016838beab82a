#include "tools_sdk/builtin/remember.h"

#include <algorithm>
#include <ctime>
#include <string>
#include <string_view>

#include "tools_sdk/builtin/call_text.h"

namespace baleen {
namespace {

constexpr int64_t kHitsMax = 8;
constexpr size_t kLineBytes = 1000;

ToolSpec RememberSpec() {
  ToolSpec spec;
  spec.name = "remember";
  spec.description =
      "Keeps a short note for later sessions in this workspace: a decision, a fact, a preference "
      "of "
      "the user. Say it so that it can be understood alone. Nothing secret.";
  spec.parameters = R"({"type":"object","properties":{)"
                    R"("text":{"type":"string","minLength":1,"maxLength":4000}},)"
                    R"("required":["text"],"additionalProperties":false})";
  spec.effect = EffectClass::kIdempotent;  // a call remembers once
  spec.output_bytes_max = 4 * 1024;
  return spec;
}

ToolSpec RecallSpec() {
  ToolSpec spec;
  spec.name = "recall";
  spec.description =
      "Looks for words in what was remembered in this workspace, and in what its earlier sessions "
      "and branches that were left said. Answers a few hits with their dates; they may be out of "
      "date.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("query":{"type":"string","description":"Words to look for","minLength":1,"maxLength":500}},)"
      R"("required":["query"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 16 * 1024;
  return spec;
}

std::string DateOf(int64_t time_ms) {
  const std::time_t seconds = static_cast<std::time_t>(time_ms / 1000);
  std::tm utc = {};
  char text[32] = "";
  if (gmtime_r(&seconds, &utc) != nullptr) std::strftime(text, sizeof(text), "%Y-%m-%d", &utc);
  return text;
}

class RememberTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.notes == nullptr) return ToolError(call, "there are no notes here");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    const auto note = context.notes->Remember(arguments->Text("text", ""));
    if (!note.ok()) return ToolError(call, note.status().message());
    BoundedText out(spec_.output_bytes_max);
    out.AddLine("remembered as " + *note);
    return out.Finish(call, "");
  }

 private:
  const ToolSpec spec_ = RememberSpec();
};

class RecallTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.notes == nullptr) return ToolError(call, "there are no notes here");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    const auto found = context.notes->Recall(arguments->Text("query", ""), kHitsMax);
    if (!found.ok()) return ToolError(call, found.status().message());
    BoundedText out(spec_.output_bytes_max);
    for (const RecalledText& hit : *found) {
      out.AddLine("[" + DateOf(hit.time_ms) + ", " + hit.source + "]");
      for (size_t begin = 0; begin < hit.text.size();) {
        const size_t end = std::min(hit.text.find('\n', begin), hit.text.size());
        // Set in, so that no note can look like another one's head.
        out.AddLine("  " + CutLine(std::string_view(hit.text).substr(begin, end - begin),
                                   kLineBytes, end - begin));
        begin = end + 1;
      }
    }
    return out.Finish(call, found->empty() ? "[nothing found]" : "");
  }

 private:
  const ToolSpec spec_ = RecallSpec();
};

}  // namespace

std::unique_ptr<Tool> NewRememberTool() { return std::make_unique<RememberTool>(); }
std::unique_ptr<Tool> NewRecallTool() { return std::make_unique<RecallTool>(); }

}  // namespace baleen
