// Little-endian integers to and from bytes, for everything that runtime/store puts on disk.
//
// Internal to runtime/store. Does no bounds checks: ByteReader (block_codec.cc) does.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace baleen {

static_assert(std::endian::native == std::endian::little,
              "stored integers are little-endian and copied as they lie in memory");

/// Writes sizeof(T) bytes at `out`.
template <typename T>
void StoreLittle(T value, std::byte* out) {
  std::memcpy(out, &value, sizeof(T));
}

/// Reads sizeof(T) bytes at `in`.
template <typename T>
T LoadLittle(const std::byte* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}

}  // namespace baleen
