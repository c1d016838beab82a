#include <openssl/evp.h>

#include <array>

#include "runtime/store/file_history.h"

namespace baleen {

std::string FileDigest(std::string_view content) {
  std::array<unsigned char, 32> digest = {};
  // Only a broken OpenSSL fails here; then nothing is found under this name, and nothing restored.
  if (EVP_Digest(content.data(), content.size(), digest.data(), nullptr, EVP_sha256(), nullptr) !=
      1) {
    return "sha256-not-available";
  }
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : digest) {
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

}  // namespace baleen
