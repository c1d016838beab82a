#include "tools_sdk/builtin/edit.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/builtin/edit_match.h"

namespace baleen {
namespace {

constexpr size_t kPlacesNamed = 20;
constexpr size_t kPlacesShown = 5;
constexpr size_t kLinesAround = 3;
constexpr size_t kLineBytes = 500;

ToolSpec Spec() {
  ToolSpec spec;
  spec.name = "edit";
  spec.description =
      "Replaces a text of a file in the workspace. old_string must be the file's text, character "
      "by "
      "character, without the line numbers that read shows, and long enough to stand in one place "
      "only; or set replace_all. Line ends stay as the file has them.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("path":{"type":"string","description":"File, relative to the workspace","minLength":1},)"
      R"("old_string":{"type":"string","description":"The text to replace","minLength":1},)"
      R"("new_string":{"type":"string","description":"What takes its place; may be empty"},)"
      R"("replace_all":{"type":"boolean","description":"Replace it wherever it stands"}},)"
      R"("required":["path","old_string","new_string"],"additionalProperties":false})";
  spec.effect = EffectClass::kEffect;
  spec.output_bytes_max = 16 * 1024;
  return spec;
}

/// Whether every line of `text` ends with CRLF, and there is one.
bool HasCarriageReturns(std::string_view text) {
  bool any = false;
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) {
    if (at == 0 || text[at - 1] != '\r') return false;
    any = true;
  }
  return any;
}

struct Edit {
  std::string old_text, new_text;
  std::vector<size_t> places;  ///< Offsets of old_text; overlapping ones too.
};

/// A model sees no CR: what it writes with LF alone means the file's own line ends.
Edit FindPlaces(std::string_view content, std::string old_text, std::string new_text) {
  Edit edit{std::move(old_text), std::move(new_text), {}};
  const bool crlf_file = HasCarriageReturns(content);
  if (crlf_file) edit.new_text = WithCarriageReturns(edit.new_text);
  edit.places = FindAll(content, edit.old_text, kPlacesNamed + 1);
  if (!edit.places.empty() || edit.old_text.find('\n') == std::string::npos) return edit;
  std::string with_returns = WithCarriageReturns(edit.old_text);
  std::vector<size_t> places = FindAll(content, with_returns, kPlacesNamed + 1);
  if (places.empty()) return edit;
  edit.old_text = std::move(with_returns);
  edit.new_text = WithCarriageReturns(edit.new_text);
  edit.places = std::move(places);
  return edit;
}

std::string ReplaceAll(std::string_view content, const Edit& edit, std::vector<size_t>* places) {
  std::string out;
  size_t from = 0;
  for (size_t at = content.find(edit.old_text); at != std::string_view::npos;
       at = content.find(edit.old_text, from)) {
    out += content.substr(from, at - from);
    places->push_back(out.size());
    out += edit.new_text;
    from = at + edit.old_text.size();
  }
  return out += content.substr(from);
}

/// The lines around what was put at `offset`, numbered; those that are new begin with '+'.
void ShowPlace(std::string_view content, size_t offset, size_t bytes, BoundedText* out) {
  const size_t first_new = LineAt(content, offset);
  const size_t last_new = LineAt(content, offset + bytes - (bytes > 0 ? 1 : 0));
  size_t line = 1, begin = 0;
  const size_t first = first_new > kLinesAround ? first_new - kLinesAround : 1;
  while (begin < content.size() && line <= last_new + kLinesAround) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    if (line >= first) {
      std::string_view text = content.substr(begin, end - begin);
      if (text.ends_with('\r')) text.remove_suffix(1);
      const bool is_new = line >= first_new && line <= last_new;
      if (!out->AddLine((is_new ? "+ " : "  ") + std::to_string(line) + ": " +
                        CutLine(text, kLineBytes, text.size()))) {
        return;
      }
    }
    begin = end + 1;
    ++line;
  }
}

class EditTool final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    if (context.changes == nullptr) return ToolError(call, "this session has no workspace");
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    const std::string path = arguments->Text("path", "");
    if (context.Cancelled()) return ToolError(call, "edit was cancelled; nothing was changed");
    const Result<SeenFile> file = context.changes->Load(path);
    if (!file.ok()) return ToolError(call, file.status().message());
    if (file->seen == SeenFile::Seen::kChanged) {
      return ToolError(call, "'" + path +
                                 "' has changed since you read it; read it again. Nothing was "
                                 "changed");
    }
    if (LooksBinary(file->content)) {
      return ToolError(call, "'" + path + "' is a binary file; edit changes text only");
    }
    const std::string old_text = arguments->Text("old_string", "");
    const Edit edit = FindPlaces(file->content, old_text, arguments->Text("new_string", ""));
    const bool all = arguments->Flag("replace_all");
    if (edit.places.empty()) {
      return Failed(call, "old_string is not in '" + path + "'. Nothing was changed." +
                              ExplainMissing(file->content, old_text));
    }
    if (edit.old_text == edit.new_text) {
      return Failed(call, "old_string and new_string are the same; nothing was changed");
    }
    if (!all && edit.places.size() > 1) return Failed(call, Several(path, file->content, edit));
    std::vector<size_t> places;
    std::string content;
    if (all) {
      content = ReplaceAll(file->content, edit, &places);
    } else {
      content = file->content;
      content.replace(edit.places[0], edit.old_text.size(), edit.new_text);
      places = edit.places;
    }
    const Status stored = context.changes->Store(path, content, &file->content);
    if (!stored.ok()) return ToolError(call, stored.message());
    return Report(call, path, content, places, edit.new_text.size());
  }

 private:
  static std::string Several(const std::string& path, std::string_view content, const Edit& edit) {
    std::string lines;
    const size_t named = std::min(edit.places.size(), kPlacesNamed);
    for (size_t i = 0; i < named; ++i) {
      lines += (i == 0 ? "" : ", ") + std::to_string(LineAt(content, edit.places[i]));
    }
    return "old_string stands in " +
           (edit.places.size() > kPlacesNamed ? "more than " + std::to_string(kPlacesNamed)
                                              : std::to_string(edit.places.size())) +
           " places of '" + path + "', at lines " + lines +
           (edit.places.size() > kPlacesNamed ? ", ..." : "") +
           ". Nothing was changed. Add lines around it until it is unique, or set replace_all.";
  }

  ToolResult Failed(const ToolCall& call, const std::string& text) const {
    BoundedText out(spec_.output_bytes_max);
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      out.AddLine(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
    }
    ToolResult result = out.Finish(call, "");
    result.outcome = ToolOutcome::kError;
    return result;
  }

  ToolResult Report(const ToolCall& call, const std::string& path, std::string_view content,
                    const std::vector<size_t>& places, size_t bytes) const {
    BoundedText out(spec_.output_bytes_max);
    out.AddLine("edited '" + path + "': " + std::to_string(places.size()) +
                (places.size() == 1 ? " place" : " places"));
    for (size_t i = 0; i < std::min(places.size(), kPlacesShown); ++i) {
      if (i > 0) out.AddLine("  ...");
      ShowPlace(content, places[i], bytes, &out);
    }
    return out.Finish(call, places.size() > kPlacesShown ? "[the other places look alike]" : "");
  }

  const ToolSpec spec_ = Spec();
};

}  // namespace

std::unique_ptr<Tool> NewEditTool() { return std::make_unique<EditTool>(); }

}  // namespace baleen
