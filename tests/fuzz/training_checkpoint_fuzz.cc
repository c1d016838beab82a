// Any bytes as a training checkpoint: a state or a status, never a crash. The hashes are made
// right, so that the parser behind them is reached.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "model/checkpoint/fingerprint.h"
#include "model/training/training_checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using baleen::training::ParseRunState;
  const auto bytes = std::as_bytes(std::span(data, size));
  ParseRunState(bytes, "fuzz").status().IgnoreError("any outcome but a crash");
  std::vector<std::byte> file;
  for (char letter : std::string("BALTRN01")) file.push_back(static_cast<std::byte>(letter));
  for (size_t i = 0; i < 8; ++i) file.push_back(static_cast<std::byte>(size >> 8 * i & 0xFF));
  for (char letter : baleen::Sha256Hex(bytes)) file.push_back(static_cast<std::byte>(letter));
  file.insert(file.end(), bytes.begin(), bytes.end());
  ParseRunState(file, "fuzz").status().IgnoreError("any outcome but a crash");
  return 0;
}
