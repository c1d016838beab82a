// Small checkpoints and byte surgery for the checkpoint tests.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "model/random_weights.h"
#include "tests/testing/temp_directory.h"

namespace baleen::testing {

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void WriteFile(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// `text` with the first `from` replaced; unchanged text means the test itself is wrong.
inline std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? "" : text.replace(at, from.size(), to);
}

/// Safetensors bytes: length, header, `bytes` zeros.
inline std::string SafetensorsText(std::string_view header, size_t bytes) {
  std::string text;
  for (int i = 0; i < 8; ++i) text.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFF));
  return text + std::string(header) + std::string(bytes, '\0');
}

/// One layer of each kind, so that writing it takes milliseconds.
inline ModelConfig SmallConfig() {
  ModelConfig config = TinyConfig(64);
  config.layers = 3;
  config.layer_kinds = {LayerKind::kWindow, LayerKind::kCsa, LayerKind::kHca};
  config.hash_layers = 1;
  config.experts = 4;
  return config;
}

}  // namespace baleen::testing
