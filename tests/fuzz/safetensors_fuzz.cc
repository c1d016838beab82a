// The safetensors header parser on arbitrary files: any input gives tensors inside the file or a
// status.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/shape.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(input, size));
  const auto header = baleen::ParseSafetensors(bytes, "fuzz");
  if (!header.ok()) return 0;
  uint64_t at = header->data_begin;
  for (const baleen::SafetensorsEntry& tensor : header->tensors) {
    if (header->data_begin + tensor.begin != at || tensor.end < tensor.begin) std::abort();
    at = header->data_begin + tensor.end;
    const int64_t expected = baleen::TensorBytes(tensor.dtype, tensor.shape);
    if (expected != static_cast<int64_t>(tensor.end - tensor.begin)) std::abort();
  }
  if (at != size) std::abort();
  return 0;
}
