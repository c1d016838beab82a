#include "tools_sdk/builtin/list.h"

#include <string>
#include <vector>

#include "tools_sdk/builtin/call_text.h"

namespace baleen {
namespace {

constexpr int64_t kDepthMax = 5;
constexpr int64_t kEntriesMax = 2000;  // About what fits into the answer.

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "list";
  spec.description =
      "Lists a directory of the workspace: one entry per line, directories end with '/', files "
      "show "
      "their size in bytes, links and other entries end with '@'. depth 2 also lists the "
      "directories inside, and so on.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("path":{"type":"string","description":"Directory, relative to the workspace; its root if absent"},)"
      R"("depth":{"type":"integer","description":"Levels, 1 if absent","minimum":1,"maximum":5}},)"
      R"("additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 50 * 1024;
  return spec;
}

class ListTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.files == nullptr) return ToolError(call, "this session has no workspace");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    std::string path = arguments->Text("path", ".");
    if (path.empty()) path = ".";
    BoundedText out(spec_.output_bytes_max);
    Walk walk{context, &out, kEntriesMax, false};
    const Status status = walk.Show(path, 0, arguments->Integer("depth", 1));
    if (!status.ok()) return ToolError(call, status.message());
    if (context.Cancelled()) return ToolError(call, "list was cancelled");
    if (walk.shown == 0 && !walk.cut) return out.Finish(call, "[the directory is empty]");
    return out.Finish(call, walk.cut ? "[there is more than fits; list one of the directories, or "
                                       "use a smaller depth]"
                                     : "");
  }

 private:
  struct Walk {
    CallContext& context;
    BoundedText* out;
    int64_t entries_left;
    bool cut;
    int64_t shown = 0;

    Status Show(const std::string& path, int64_t level, int64_t depth) {
      ASSIGN_OR_RETURN(const std::vector<FileEntry> entries,
                       context.files->List(path, entries_left + 1));
      for (const FileEntry& entry : entries) {
        if (cut || context.Cancelled()) break;
        if (--entries_left < 0 || !out->AddLine(LineOf(entry, level))) {
          cut = true;
          break;
        }
        ++shown;
        if (entry.kind != FileEntry::Kind::kDirectory || level + 1 >= depth ||
            level + 1 >= kDepthMax) {
          continue;
        }
        const Status inner = Show(entry.path, level + 1, depth);
        // One closed directory must not hide the others.
        if (!inner.ok()) cut |= !out->AddLine(Indent(level + 1) + "[" + inner.message() + "]");
      }
      return OkStatus();
    }

    static std::string Indent(int64_t level) {
      return std::string(static_cast<size_t>(2 * level), ' ');
    }
    static std::string LineOf(const FileEntry& entry, int64_t level) {
      // A newline in a name must not look like a second entry.
      std::string name = entry.path.substr(entry.path.rfind('/') + 1);
      for (char& c : name) {
        if (static_cast<unsigned char>(c) < 0x20) c = '?';
      }
      switch (entry.kind) {
        case FileEntry::Kind::kDirectory: return Indent(level) + name + "/";
        case FileEntry::Kind::kFile:
          return Indent(level) + name + "  " + std::to_string(entry.size_bytes);
        case FileEntry::Kind::kOther: break;
      }
      return Indent(level) + name + "@";
    }
  };

  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewListTool() { return std::make_unique<ListTool>(); }

}  // namespace baleen
