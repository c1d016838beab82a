#include "tools_sdk/builtin/write.h"

#include <algorithm>
#include <string>

#include "tools_sdk/builtin/call_text.h"

namespace baleen {
namespace {

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "write";
  spec.description =
      "Writes a text file of the workspace: a new one, with the folders on its way, or the whole "
      "of "
      "one that you have read. Use edit to change a part.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("path":{"type":"string","description":"File, relative to the workspace","minLength":1},)"
      R"("content":{"type":"string","description":"All that the file is to hold"}},)"
      R"("required":["path","content"],"additionalProperties":false})";
  // Once more with what is there already changes nothing, and says so.
  spec.effect = EffectClass::kIdempotent;
  spec.output_bytes_max = 4 * 1024;
  return spec;
}

class WriteTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.changes == nullptr) return ToolError(call, "this session has no workspace");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    const std::string path = arguments->Text("path", "");
    const std::string content = arguments->Text("content", "");
    if (context.Cancelled()) return ToolError(call, "write was cancelled; nothing was changed");
    const Result<SeenFile> before = context.changes->Load(path);
    const bool is_new = !before.ok() && before.status().code() == StatusCode::kNotFound;
    if (!before.ok() && !is_new) return ToolError(call, before.status().message());
    if (!is_new) {
      if (before->content == content)
        return Said(call, "'" + path + "' holds exactly that already");
      if (before->seen == SeenFile::Seen::kNever) {
        return ToolError(call, "'" + path +
                                   "' is there already, and you have not read it; read it "
                                   "first, or choose another name");
      }
      if (before->seen == SeenFile::Seen::kChanged) {
        return ToolError(call, "'" + path + "' has changed since you read it; read it again");
      }
    }
    const Status stored =
        context.changes->Store(path, content, is_new ? nullptr : &before->content);
    if (!stored.ok()) return ToolError(call, stored.message());
    const auto lines = std::count(content.begin(), content.end(), '\n') +
                       (content.empty() || content.back() == '\n' ? 0 : 1);
    return Said(call, (is_new ? "created '" : "replaced '") + path + "': " + std::to_string(lines) +
                          " lines, " + std::to_string(content.size()) + " bytes");
  }

 private:
  ToolResult Said(const ToolCall& call, const std::string& text) const {
    BoundedText out(spec_.output_bytes_max);
    out.AddLine(text);
    return out.Finish(call, "");
  }

  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewWriteTool() { return std::make_unique<WriteTool>(); }

}  // namespace baleen
