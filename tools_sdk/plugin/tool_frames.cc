#include "tools_sdk/plugin/tool_frames.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kHeadBytes = 4;
constexpr size_t kToolsPerPluginMax = 64;

bool IsKind(uint8_t byte) {
  switch (static_cast<FrameKind>(byte)) {
    case FrameKind::kDescribe:
    case FrameKind::kCall:
    case FrameKind::kManifest:
    case FrameKind::kBegun:
    case FrameKind::kOutput:
    case FrameKind::kProgress:
    case FrameKind::kResult:
    case FrameKind::kRefusal: return true;
  }
  return false;
}

/// Reads members of one object; the first thing that is wrong stays.
class Members {
 public:
  Members(const Json& json, const char* what) : json_(json), what_(what) {
    if (!json.is_object()) Note("", "expected a JSON object");
  }

  void Text(const char* name, size_t bytes_max, std::string* text) {
    const Json* found = Find(name);
    if (found == nullptr) return;
    if (!found->is_string()) return Note(name, "expected a string");
    *text = found->get<std::string>();
    if (text->size() > bytes_max) {
      Note(name,
           std::to_string(text->size()) + " bytes: expected at most " + std::to_string(bytes_max));
    }
  }
  void Integer(const char* name, int64_t least, int64_t most, int64_t* number) {
    const Json* found = Find(name);
    if (found == nullptr) return;
    if (!found->is_number_integer()) return Note(name, "expected an integer");
    // What doesn't fit in 63 bits is out of every range here.
    const bool fits = !found->is_number_unsigned() || found->get<uint64_t>() >> 63 == 0;
    *number = fits ? found->get<int64_t>() : -1;
    if (!fits || *number < least || *number > most) {
      Note(name,
           found->dump() + ": expected " + std::to_string(least) + " to " + std::to_string(most));
    }
  }
  const Json* Find(const char* name) {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(name);
    if (found != json_.end()) return &*found;
    Note(name, "missing");
    return nullptr;
  }
  void Note(const std::string& name, const std::string& wrong) {
    if (!status_.ok()) return;
    status_ =
        InvalidArgumentError(std::string(what_) + (name.empty() ? "" : "." + name) + ": " + wrong);
  }
  const Status& status() const { return status_; }

 private:
  const Json& json_;
  const char* what_;
  Status status_;
};

Json Parsed(std::string_view text) {
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

Status ReadTool(const Json& json, ToolSpec* spec) {
  int64_t effect = 0;
  Members members(json, "tool");
  members.Text("name", 64, &spec->name);
  members.Text("description", 4096, &spec->description);
  members.Text("parameters", 64 * 1024, &spec->parameters);
  members.Integer("effect", 0, 2, &effect);
  members.Integer("timeout_ms", 1, 3'600'000, &spec->timeout_ms);
  members.Integer("output_bytes_max", 1, 1 << 20, &spec->output_bytes_max);
  spec->effect = static_cast<EffectClass>(effect);
  return members.status().WithContext("'" + spec->name.substr(0, 64) + "'");
}

}  // namespace

std::string EncodeFrame(FrameKind kind, std::string_view body) {
  const size_t size = body.size() + 1;
  std::string frame;
  frame.reserve(kHeadBytes + size);
  for (size_t i = 0; i < kHeadBytes; ++i) frame += static_cast<char>(size >> (8 * i) & 0xFF);
  frame += static_cast<char>(kind);
  frame += body;
  return frame;
}

Result<std::optional<Frame>> FrameReader::Next() {
  if (bytes_.size() - read_ < kHeadBytes) return std::optional<Frame>();
  size_t size = 0;
  for (size_t i = 0; i < kHeadBytes; ++i) {
    size |= static_cast<size_t>(static_cast<uint8_t>(bytes_[read_ + i])) << (8 * i);
  }
  if (size == 0 || size > kFrameBytesMax) {
    return DataLossError("a frame of " + std::to_string(size) + " bytes: expected 1 to " +
                         std::to_string(kFrameBytesMax));
  }
  if (bytes_.size() - read_ == kHeadBytes) return std::optional<Frame>();
  const auto kind = static_cast<uint8_t>(bytes_[read_ + kHeadBytes]);
  if (!IsKind(kind)) return DataLossError("a frame of the unknown kind " + std::to_string(kind));
  if (bytes_.size() - read_ < kHeadBytes + size) return std::optional<Frame>();
  Frame frame;
  frame.kind = static_cast<FrameKind>(kind);
  frame.body = bytes_.substr(read_ + kHeadBytes + 1, size - 1);
  read_ += kHeadBytes + size;
  if (read_ == bytes_.size() || read_ > kFrameBytesMax) {
    bytes_.erase(0, read_);
    read_ = 0;
  }
  return std::optional<Frame>(std::move(frame));
}

std::string ManifestToJson(const PluginManifest& manifest) {
  Json tools = Json::array();
  for (const ToolSpec& tool : manifest.tools) {
    tools.push_back({{"name", tool.name},
                     {"description", tool.description},
                     {"parameters", tool.parameters},
                     {"effect", static_cast<int>(tool.effect)},
                     {"timeout_ms", tool.timeout_ms},
                     {"output_bytes_max", tool.output_bytes_max}});
  }
  return JsonText(
      Json{{"name", manifest.name}, {"version", manifest.version}, {"tools", std::move(tools)}});
}

Result<PluginManifest> ManifestFromJson(std::string_view text) {
  const Json json = Parsed(text);
  PluginManifest manifest;
  Members members(json, "manifest");
  members.Text("name", 64, &manifest.name);
  members.Text("version", 64, &manifest.version);
  const Json* tools = members.Find("tools");
  RETURN_IF_ERROR(members.status());
  if (!tools->is_array() || tools->empty() || tools->size() > kToolsPerPluginMax) {
    return InvalidArgumentError("manifest.tools: expected a list of 1 to " +
                                std::to_string(kToolsPerPluginMax) + " tools");
  }
  for (const Json& tool : *tools) {
    manifest.tools.emplace_back();
    RETURN_IF_ERROR(ReadTool(tool, &manifest.tools.back()));
  }
  return manifest;
}

std::string CallFrameToJson(const CallFrame& frame) {
  return JsonText(Json{{"id", frame.call.id},
                       {"name", frame.call.name},
                       {"arguments", frame.call.arguments},
                       {"time_left_ms", frame.time_left_ms}});
}

Result<CallFrame> CallFrameFromJson(std::string_view text) {
  const Json json = Parsed(text);
  CallFrame frame;
  Members members(json, "call");
  members.Text("id", 256, &frame.call.id);
  members.Text("name", 64, &frame.call.name);
  members.Text("arguments", kFrameBytesMax, &frame.call.arguments);
  members.Integer("time_left_ms", 0, 3'600'000, &frame.time_left_ms);
  RETURN_IF_ERROR(members.status());
  return frame;
}

std::string ResultFrameToJson(const ResultFrame& frame) {
  return JsonText(Json{{"outcome", static_cast<int>(frame.outcome)},
                       {"text", frame.text},
                       {"bytes_written", frame.bytes_written}});
}

Result<ResultFrame> ResultFrameFromJson(std::string_view text) {
  const Json json = Parsed(text);
  ResultFrame frame;
  int64_t outcome = 0;
  Members members(json, "result");
  members.Integer("outcome", 0, static_cast<int64_t>(ToolOutcome::kUnknown), &outcome);
  members.Text("text", 64 * 1024, &frame.text);
  members.Integer("bytes_written", 0, INT64_MAX, &frame.bytes_written);
  frame.outcome = static_cast<ToolOutcome>(outcome);
  if (frame.outcome == ToolOutcome::kDenied || frame.outcome == ToolOutcome::kTimeout) {
    members.Note("outcome", "not for a tool to say");
  }
  RETURN_IF_ERROR(members.status());
  return frame;
}

}  // namespace baleen
