// TinyCheckpoint: a model folder that opens in milliseconds: random weights, and a tokenizer of
// bytes.
//
// For the tests of the runtime, which care for what survives and in which order, not for words.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "model/checkpoint/write_checkpoint.h"
#include "model/random_weights.h"
#include "tools_sdk/status.h"

namespace baleen {

inline constexpr int64_t kTinyVocab = 268;

/// The character by which a tokenizer.json of the byte-level kind writes `byte`.
/// Source: GPT-2, bytes_to_unicode.
inline std::string ByteSymbol(int byte) {
  const auto plain = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
  };
  int code = byte;
  if (!plain(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += plain(b) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

/// DeepSeek-V4's shape of tokenizer with the 256 bytes at ids 3 to 258, no merges, and the control
/// tokens that sessions need.
inline std::string TinyTokenizerJson() {
  using Json = nlohmann::ordered_json;
  Json added = Json::array();
  const auto control = [&](int id, const char* content, bool special) {
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  };
  control(0, "<｜begin▁of▁sentence｜>", true);
  control(1, "<｜end▁of▁sentence｜>", true);
  control(2, "<｜▁pad▁｜>", true);
  control(259, "<｜User｜>", false);
  control(260, "<｜Assistant｜>", false);
  control(261, "<think>", false);
  control(262, "</think>", false);
  control(263, "｜DSML｜", false);
  control(264, "<｜latest_reminder｜>", false);
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[ByteSymbol(byte)] = 3 + byte;
  const auto split = [](const char* pattern) {
    return Json{{"type", "Split"},
                {"pattern", {{"Regex", pattern}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  };
  Json steps = Json::array();
  steps.push_back(split(R"(\p{N}{1,3})"));
  steps.push_back(split("[一-龥\u3040-ゟ゠-ヿ]+"));
  steps.push_back(split(R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
                        "\r\n"
                        R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[)"
                        "\r\n"
                        R"(]*|\s*[)"
                        "\r\n"
                        R"(]+|\s+(?!\S)|\s+)"));
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  const Json root = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", {{"type", "Sequence"}, {"normalizers", Json::array()}}},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
                     {"post_processor", nullptr},
                     {"decoder",
                      {{"type", "ByteLevel"},
                       {"add_prefix_space", true},
                       {"trim_offsets", true},
                       {"use_regex", true}}},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"vocab", vocab},
                       {"merges", Json::array()}}}};
  return root.dump(1);
}

/// Writes the folder. `positions_max` 0: a million.
inline Status WriteTinyCheckpoint(const std::string& folder, uint64_t seed,
                                  int64_t positions_max = 0) {
  ModelConfig config = TinyConfig(kTinyVocab);
  if (positions_max > 0) config.positions_max = positions_max;
  RETURN_IF_ERROR(
      WriteCheckpoint(RandomWeights(config, seed, RandomStorage::kFloat32), folder, {}));
  std::ofstream(folder + "/tokenizer.json", std::ios::binary) << TinyTokenizerJson();
  return OkStatus();
}

}  // namespace baleen
