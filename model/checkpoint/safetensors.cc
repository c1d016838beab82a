#include "model/checkpoint/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "model/checkpoint/safetensors_header.h"
#include "model/checkpoint/shape.h"

namespace baleen {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr size_t kHeaderAlignment = 8;

// Little-endian whatever the machine.
uint64_t DecodeLength(std::span<const std::byte> bytes) {
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return length;
}

std::string EncodeLength(uint64_t length) {
  std::string bytes;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    bytes.push_back(static_cast<char>(length >> (8 * i) & 0xFF));
  }
  return bytes;
}

// The tensors, sorted by offset, must meet end to end.
Status CheckLayout(const std::vector<SafetensorsEntry>& tensors, uint64_t data_bytes,
                   const std::string& file) {
  uint64_t at = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    const std::string where = "'" + file + "': tensor '" + tensor.name + "': data_offsets: ";
    if (tensor.begin < at) {
      return InvalidArgumentError(where + "expected to begin at " + std::to_string(at) + ", got " +
                                  std::to_string(tensor.begin) + " (overlaps the one before)");
    }
    if (tensor.begin > at) {
      return InvalidArgumentError(where + "expected to begin at " + std::to_string(at) + ", got " +
                                  std::to_string(tensor.begin) + " (a gap)");
    }
    if (tensor.end > data_bytes) {
      return DataLossError(where + "expected to end within the " + std::to_string(data_bytes) +
                           " bytes after the header, got " + std::to_string(tensor.end) +
                           " (a truncated download?)");
    }
    at = tensor.end;
  }
  if (at != data_bytes) {
    return DataLossError("'" + file + "': expected " + std::to_string(at) +
                         " bytes after the header, got " + std::to_string(data_bytes));
  }
  return OkStatus();
}

// Text by hand: the library's ordered objects look keys up linearly, too slow for 10^5 tensors.
std::string HeaderText(std::span<const SafetensorsOutput> tensors) {
  // transformers refuses files without the "format" entry.
  std::string text = R"({"__metadata__":{"format":"pt"})";
  int64_t at = 0;
  for (const SafetensorsOutput& tensor : tensors) {
    const int64_t end = at + TensorBytes(tensor.dtype, tensor.shape);
    const nlohmann::json fields = {{"dtype", TraitsOf(tensor.dtype).name},
                                   {"shape", tensor.shape},
                                   {"data_offsets", {at, end}}};
    text += ',' + nlohmann::json(tensor.name).dump() + ':' + fields.dump();
    at = end;
  }
  text += '}';
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  return text;
}

}  // namespace

Result<SafetensorsHeader> ParseSafetensors(std::span<const std::byte> bytes,
                                           const std::string& file) {
  if (bytes.size() < kLengthBytes) {
    return DataLossError("'" + file + "': expected at least 8 bytes, got " +
                         std::to_string(bytes.size()));
  }
  const uint64_t length = DecodeLength(bytes);
  if (length > kSafetensorsHeaderMax) {
    return InvalidArgumentError("'" + file + "': header length: expected at most " +
                                std::to_string(kSafetensorsHeaderMax) + ", got " +
                                std::to_string(length));
  }
  if (length > bytes.size() - kLengthBytes) {
    return DataLossError("'" + file + "': header: expected " + std::to_string(length) +
                         " bytes, got " + std::to_string(bytes.size() - kLengthBytes) +
                         " (a truncated download?)");
  }
  const char* json = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  SafetensorsHeader header;
  ASSIGN_OR_RETURN(header.tensors, ReadSafetensorsJson({json, length}, file));
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  header.data_begin = kLengthBytes + length;
  RETURN_IF_ERROR(CheckLayout(header.tensors, bytes.size() - header.data_begin, file));
  return header;
}

Result<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path,
                                                               WeightAccess access) {
  auto file = std::make_unique<SafetensorsFile>();
  ASSIGN_OR_RETURN(file->content_, FileContent::Open(path, access));
  ASSIGN_OR_RETURN(file->header_, ParseSafetensors(file->content_->bytes(), path));
  return file;
}

std::span<const std::byte> SafetensorsFile::BytesOf(const SafetensorsEntry& entry) const {
  return content_->bytes().subspan(header_.data_begin + entry.begin, entry.end - entry.begin);
}

Status WriteSafetensors(const std::string& path, std::vector<SafetensorsOutput> tensors) {
  for (const SafetensorsOutput& tensor : tensors) {
    size_t bytes = 0;
    for (std::span<const std::byte> part : tensor.parts) bytes += part.size();
    const int64_t expected = TensorBytes(tensor.dtype, tensor.shape);
    if (expected < 0 || static_cast<size_t>(expected) != bytes) {
      return InvalidArgumentError(
          "'" + path + "': tensor '" + tensor.name + "' " + ShapeText(tensor.shape) +
          ": expected " + std::to_string(expected) + " bytes, got " + std::to_string(bytes));
    }
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const SafetensorsOutput& a, const SafetensorsOutput& b) {
              const int bits_a = TraitsOf(a.dtype).bits;
              const int bits_b = TraitsOf(b.dtype).bits;
              return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
            });
  const std::string header = HeaderText(tensors);
  const std::string length = EncodeLength(header.size());
  std::vector<std::span<const std::byte>> parts = {
      std::as_bytes(std::span(length.data(), length.size())),
      std::as_bytes(std::span(header.data(), header.size()))};
  for (const SafetensorsOutput& tensor : tensors) {
    parts.insert(parts.end(), tensor.parts.begin(), tensor.parts.end());
  }
  return WriteFileAtomically(path, parts);
}

}  // namespace baleen
