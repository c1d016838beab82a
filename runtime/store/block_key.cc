// Block keys: a chain of SHA-256 over the token prefix.
#include <openssl/evp.h>

#include "runtime/store/kv_records.h"
#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

/// Lengths go in before contents, so that a fingerprint can't slide into an arithmetic id.
void AddText(std::string& out, std::string_view text) {
  std::byte length[sizeof(uint64_t)];
  StoreLittle<uint64_t>(text.size(), length);
  out.append(reinterpret_cast<const char*>(length), sizeof(length));
  out.append(text);
}

}  // namespace

BlockKey NextBlockKey(const BlockKey& parent, std::span<const int32_t> tokens,
                      const KvScope& scope) {
  const auto ids = std::as_bytes(tokens);
  std::string input(reinterpret_cast<const char*>(parent.data()), parent.size());
  AddText(input, {reinterpret_cast<const char*>(ids.data()), ids.size()});
  AddText(input, scope.fingerprint);
  AddText(input, scope.arithmetic_id);
  AddText(input, scope.sharing);
  BlockKey key = {};
  // Fails only if the library has no SHA-256. The zero key then finds nothing that the token ids in
  // the header would not unmask, so that the cache misses.
  if (EVP_Digest(input.data(), input.size(), key.data(), nullptr, EVP_sha256(), nullptr) != 1) {
    key.fill(0);
  }
  return key;
}

std::string BlockKeyHex(const BlockKey& key) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const uint8_t byte : key) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

Status BlockNotStored(const BlockKey& key) {
  return NotFoundError("KV block " + BlockKeyHex(key) + " is not stored");
}

}  // namespace baleen
