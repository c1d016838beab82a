// A plugin's process may send anything: frames are the same however their bytes are cut, and bodies
// that parse survive a round trip.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "tools_sdk/plugin/tool_frames.h"

namespace {

using baleen::CallFrameFromJson;
using baleen::CallFrameToJson;
using baleen::EncodeFrame;
using baleen::Frame;
using baleen::FrameReader;
using baleen::ManifestFromJson;
using baleen::ManifestToJson;
using baleen::ResultFrameFromJson;
using baleen::ResultFrameToJson;

struct Read {
  std::vector<Frame> frames;
  bool broken = false;
};

Read ReadAll(std::string_view bytes, size_t piece) {
  Read read;
  FrameReader reader;
  for (size_t at = 0; at < bytes.size() && !read.broken; at += piece) {
    reader.Append(bytes.substr(at, piece));
    while (true) {
      auto next = reader.Next();
      read.broken = !next.ok();
      if (read.broken || !next->has_value()) break;
      read.frames.push_back(**std::move(next));
    }
  }
  return read;
}

void Check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const Read whole = ReadAll(text, size + 1);
  const Read cut = ReadAll(text, 3);
  Check(whole.broken == cut.broken && whole.frames.size() == cut.frames.size());
  std::string again;
  for (size_t i = 0; i < whole.frames.size(); ++i) {
    Check(whole.frames[i].body == cut.frames[i].body);
    again += EncodeFrame(whole.frames[i].kind, whole.frames[i].body);
  }
  Check(text.starts_with(again));
  if (const auto manifest = ManifestFromJson(text); manifest.ok()) {
    Check(ManifestFromJson(ManifestToJson(*manifest)).ok());
  }
  if (const auto call = CallFrameFromJson(text); call.ok()) {
    Check(CallFrameFromJson(CallFrameToJson(*call)).ok());
  }
  if (const auto result = ResultFrameFromJson(text); result.ok()) {
    Check(ResultFrameFromJson(ResultFrameToJson(*result)).ok());
  }
  return 0;
}
