// Little-endian integers to and from bytes, for everything that runtime/store puts on disk.
//
// Internal to runtime/store. Does no bounds checks: ByteReader (block_codec.cc) does.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace baleen {

static_assert(std::endian::native == std::endian::little,
              "stored integers are little-endian and copied as they lie in memory");

/// Writes sizeof(T) bytes at `out`.
template <typename T>
void StoreLittle(T value, std::byte* out) {
  std::memcpy(out, &value, sizeof(T));
}

template <typename T>
void AppendLittle(std::string& out, T value) {
  std::byte bytes[sizeof(T)];
  StoreLittle(value, bytes);
  out.append(reinterpret_cast<const char*>(bytes), sizeof(T));
}

/// Keys and hashes as they are.
template <size_t kBytes>
void AppendBytes(std::string& out, const std::array<uint8_t, kBytes>& bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// Reads sizeof(T) bytes at `in`.
template <typename T>
T LoadLittle(const std::byte* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}

}  // namespace baleen
