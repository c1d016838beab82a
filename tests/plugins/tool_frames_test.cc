// Frames survive any cut, and say what is wrong with those that lie.
#include "tools_sdk/plugin/tool_frames.h"

#include <catch2/catch.hpp>

#include "tests/store/status_checks.h"

namespace baleen {

TEST_CASE("FramesComeOutAsTheyWentInHoweverTheyAreCut") {
  const std::string stream = EncodeFrame(FrameKind::kBegun, "") +
                             EncodeFrame(FrameKind::kOutput, std::string("a\0b", 3)) +
                             EncodeFrame(FrameKind::kResult, std::string(300, 'r'));
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameReader reader;
    std::vector<Frame> frames;
    for (size_t at = 0; at < stream.size(); at += piece) {
      reader.Append(std::string_view(stream).substr(at, piece));
      while (auto frame = Must(reader.Next())) frames.push_back(*std::move(frame));
    }
    REQUIRE(frames.size() == 3);
    REQUIRE(frames[0].kind == FrameKind::kBegun);
    REQUIRE(frames[1].body == std::string("a\0b", 3));
    REQUIRE(frames[2].body == std::string(300, 'r'));
  }
}

TEST_CASE("FramesThatLieAreRefused") {
  for (const std::string& bytes : {std::string("\0\0\0\0", 4), std::string("\xff\xff\xff\xff", 4),
                                   std::string("\1\0\0\0?", 5), std::string("\1\0\x40\0", 4)}) {
    FrameReader reader;
    reader.Append(bytes);
    REQUIRE(reader.Next().status().code() == StatusCode::kDataLoss);
  }
}

TEST_CASE("BodiesRoundTripAndRubbishIsNamed") {
  PluginManifest manifest{"name", "1.0", {}};
  ToolSpec spec;
  spec.name = "tool";
  spec.description = "Does \"it\".";
  spec.parameters = R"({"type":"object"})";
  spec.effect = EffectClass::kIdempotent;
  spec.timeout_ms = 17;
  spec.output_bytes_max = 18;
  manifest.tools = {spec};
  const PluginManifest read = Must(ManifestFromJson(ManifestToJson(manifest)));
  REQUIRE(ManifestToJson(read) == ManifestToJson(manifest));
  REQUIRE(read.tools[0].effect == EffectClass::kIdempotent);
  const CallFrame call = Must(CallFrameFromJson(CallFrameToJson({{"i", "n", "{\"a\":1}"}, 9})));
  REQUIRE((call.call.id == "i" && call.call.arguments == "{\"a\":1}" && call.time_left_ms == 9));
  const ResultFrame result =
      Must(ResultFrameFromJson(ResultFrameToJson({ToolOutcome::kUnknown, "why", 5})));
  REQUIRE((result.outcome == ToolOutcome::kUnknown && result.text == "why"));

  for (const char* text :
       {"", "[]", "{}", R"({"outcome":2,"text":"","bytes_written":0})",
        R"({"outcome":99,"text":"","bytes_written":0})", R"({"outcome":0,"text":5})",
        R"({"outcome":0,"text":"","bytes_written":-1})",
        R"({"outcome":0,"text":"","bytes_written":18446744073709551615})"}) {
    INFO(text);
    REQUIRE(ResultFrameFromJson(text).status().code() == StatusCode::kInvalidArgument);
  }
  for (const char* text :
       {R"({"name":"a","version":"b"})", R"({"name":"a","version":"b","tools":[]})",
        R"({"name":"a","version":"b","tools":[5]})",
        R"({"name":"a","version":"b","tools":[{"name":"x"}]})"}) {
    INFO(text);
    REQUIRE(ManifestFromJson(text).status().code() == StatusCode::kInvalidArgument);
  }
}

}  // namespace baleen
