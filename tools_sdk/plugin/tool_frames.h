// Frames: what the runtime and a plugin's process (baleen-tool-host) say to each other.
//
// A frame is 4 bytes of length (little-endian, of what follows), 1 byte of kind and a body. Bodies
// are raw bytes or JSON. Both ends trust nobody: lengths, kinds and members are bounded and
// checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/message.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

inline constexpr size_t kFrameBytesMax = size_t{4} << 20;
/// The descriptors that a plugin's process is given: a socket, and an eventfd that is readable once
/// the call is cancelled.
inline constexpr int kFrameFd = 3;
inline constexpr int kCancelFd = 4;

/// On the wire; don't renumber.
enum class FrameKind : uint8_t {
  kDescribe = 'd',  ///< To the plugin: say what you are. Body: none.
  kCall = 'c',      ///< To the plugin: make this call. Body: CallFrame.
  kManifest = 'm',  ///< Its answer to kDescribe. Body: PluginManifest.
  kBegun = 'b',     ///< The tool's body begins. Body: none.
  kOutput = 'o',    ///< Body: bytes for the model.
  kProgress = 'p',  ///< Body: a line.
  kResult = 'r',    ///< The body returned. Body: ResultFrame.
  kRefusal = 'x',   ///< The plugin can't be used. Body: why.
};

struct Frame {
  FrameKind kind = FrameKind::kDescribe;
  std::string body;
};

/// Requires: body.size() < kFrameBytesMax.
std::string EncodeFrame(FrameKind kind, std::string_view body);

/// Takes a stream of bytes apart, however it is cut. After an error it stays broken.
class FrameReader {
 public:
  void Append(std::string_view bytes) { bytes_.append(bytes); }
  /// Empty: the next frame isn't whole yet. Errors: DATA_LOSS (a length of 0 or over
  /// kFrameBytesMax, an unknown kind).
  Result<std::optional<Frame>> Next();

 private:
  std::string bytes_;
  size_t read_ = 0;
};

/// What a plugin says of itself.
struct PluginManifest {
  std::string name;
  std::string version;
  std::vector<ToolSpec> tools;
};
std::string ManifestToJson(const PluginManifest& manifest);
/// Errors: INVALID_ARGUMENT naming the member: not of its type, out of its bounds, not UTF-8; names
/// and schemas of tools are ToolSet's to check.
Result<PluginManifest> ManifestFromJson(std::string_view json);

struct CallFrame {
  ToolCall call;
  int64_t time_left_ms = 0;
};
std::string CallFrameToJson(const CallFrame& frame);
Result<CallFrame> CallFrameFromJson(std::string_view json);

/// How a body ended; what it wrote came in kOutput.
struct ResultFrame {
  ToolOutcome outcome = ToolOutcome::kOk;  ///< kOk, kError, kAborted or kUnknown.
  std::string text;                        ///< Of a failure.
  int64_t bytes_written = 0;               ///< Including what exceeded the limit.
};
std::string ResultFrameToJson(const ResultFrame& frame);
Result<ResultFrame> ResultFrameFromJson(std::string_view json);

}  // namespace baleen
