// The safetensors file format: a length, a JSON header, raw tensors.
//
// Strict: the tensors must fill the file exactly once, in bounds, without overlap or gap, as the
// format's own library demands. Knows no model. Called by Checkpoint and by the fuzz target.
// Source: github.com/huggingface/safetensors, README "Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "model/checkpoint/file_access.h"
#include "model/weight_source.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Longest header accepted; the limit of the format's own library.
inline constexpr uint64_t kSafetensorsHeaderMax = 100'000'000;

/// A tensor as a header declares it. Offsets count from the end of the header.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< In file order.
  uint64_t data_begin = 0;                ///< File offset of the first tensor byte.
};

/// Parses and checks the header at the start of a file's bytes.
/// Errors: INVALID_ARGUMENT naming `file`, the tensor, what was expected and what was found;
/// DATA_LOSS if the file is shorter or longer than its header says.
Result<SafetensorsHeader> ParseSafetensors(std::span<const std::byte> bytes,
                                           const std::string& file);

/// One open file. Threads: immutable; any thread.
class SafetensorsFile {
 public:
  static Result<std::unique_ptr<SafetensorsFile>> Open(const std::string& path,
                                                       WeightAccess access);

  const std::vector<SafetensorsEntry>& tensors() const { return header_.tensors; }
  int64_t file_bytes() const { return static_cast<int64_t>(content_->bytes().size()); }
  /// Requires: `entry` is one of tensors(). Borrows: the file's memory; may be unaligned.
  std::span<const std::byte> BytesOf(const SafetensorsEntry& entry) const;

 private:
  std::unique_ptr<FileContent> content_;
  SafetensorsHeader header_;
};

/// A tensor to write; its bytes are the parts joined.
struct SafetensorsOutput {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<std::span<const std::byte>> parts;  ///< Borrows, until the write returns.
};

/// Writes one file atomically: widest elements first, so that every tensor is aligned to its type.
/// Errors: UNAVAILABLE (disk); INVALID_ARGUMENT if the parts don't add up to the shape.
Status WriteSafetensors(const std::string& path, std::vector<SafetensorsOutput> tensors);

}  // namespace baleen
