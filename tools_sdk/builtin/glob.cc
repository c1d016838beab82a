#include "tools_sdk/builtin/glob.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/builtin/glob_pattern.h"
#include "tools_sdk/builtin/tree_walk.h"

namespace baleen {
namespace {

constexpr size_t kPathsMax = 100;

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "glob";
  spec.description =
      "Finds files by name, the most recently changed first, at most 100. The pattern knows *, ?, "
      "[a-z], {a,b} and **; without '/' it fits names in any folder. Skips '.git', symbolic links "
      "and what .gitignore leaves out.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("pattern":{"type":"string","description":"For instance *.cc or src/**/test_*.py","minLength":1,"maxLength":1000},)"
      R"("path":{"type":"string","description":"Directory to look into; the whole workspace if absent"}},)"
      R"("required":["pattern"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.output_bytes_max = 50 * 1024;
  return spec;
}

class GlobTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.files == nullptr) return ToolError(call, "this session has no workspace");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    const auto pattern = GlobPattern::ParseForNames(arguments->Text("pattern", ""));
    if (!pattern.ok()) return ToolError(call, pattern.status().message());
    std::string path = arguments->Text("path", ".");
    if (path.empty()) path = ".";
    // What the pattern is compared with begins behind the directory that was asked for.
    size_t skip = 0;
    for (std::string_view rest = path; !rest.empty();) {
      const size_t slash = rest.find('/');
      const std::string_view name = rest.substr(0, slash);
      if (!name.empty() && name != ".") skip += name.size() + 1;
      rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    }
    TreeWalk walk(context);
    std::vector<FileEntry> found;
    const Status status = walk.Walk(path, [&](const FileEntry& file) {
      const std::string_view below =
          std::string_view(file.path).substr(std::min(skip, file.path.size()));
      if (pattern->Matches(below)) found.push_back(file);
      return true;
    });
    if (!status.ok()) return ToolError(call, status.message());
    if (context.Cancelled()) return ToolError(call, "glob was cancelled");
    return Answer(call, std::move(found), walk);
  }

 private:
  ToolResult Answer(const ToolCall& call, std::vector<FileEntry> found,
                    const TreeWalk& walk) const {
    std::sort(found.begin(), found.end(), [](const FileEntry& a, const FileEntry& b) {
      return std::tie(b.modified_ns, a.path) < std::tie(a.modified_ns, b.path);
    });
    BoundedText out(spec_.output_bytes_max);
    std::string remark;
    for (size_t i = 0; i < found.size(); ++i) {
      // A newline in a name must not look like a second one.
      std::string line = found[i].path;
      std::replace(line.begin(), line.end(), '\n', '?');
      if (i < kPathsMax && out.AddLine(line)) continue;
      remark = "[" + std::to_string(found.size() - i) + " older files fit too; narrow the pattern]";
      break;
    }
    if (found.empty()) {
      remark = "[no file fits]";
      if (walk.ignored() > 0) {
        remark += "[ignore files leave out " + std::to_string(walk.ignored()) +
                  " files or directories; a path to one looks into it]";
      }
    }
    if (walk.cut()) remark += "[stopped: more than 100000 entries; give a path]";
    return out.Finish(call, remark);
  }

  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewGlobTool() { return std::make_unique<GlobTool>(); }

}  // namespace baleen
