#include "model/checkpoint/fingerprint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <vector>

#include "model/checkpoint/file_access.h"
#include "model/checkpoint/shape.h"

namespace baleen {
namespace {

// Part of every fingerprint and cache key; changes when the recipe does.
constexpr std::string_view kRecipe = "baleen model fingerprint 1\n";
constexpr size_t kProgressBytes = size_t{64} << 20;
constexpr int64_t kTokenizerBytesMax = int64_t{1} << 30;
constexpr int64_t kCacheEntryBytesMax = 4096;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    ok_ = context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }

  void Add(std::span<const std::byte> bytes) {
    ok_ = ok_ && EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1;
  }
  // Length first, so that neighbouring texts can't trade characters.
  void AddText(std::string_view text) {
    const std::string length = std::to_string(text.size()) + ":";
    Add(std::as_bytes(std::span(length.data(), length.size())));
    Add(std::as_bytes(std::span(text.data(), text.size())));
  }

  // Empty if the library failed (out of memory).
  std::string Hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (!ok_ || EVP_DigestFinal_ex(context_.get(), digest, &size) != 1) return {};
    constexpr char kDigits[] = "0123456789abcdef";
    std::string hex;
    for (unsigned int i = 0; i < size; ++i) {
      hex += kDigits[digest[i] >> 4];
      hex += kDigits[digest[i] & 15];
    }
    return hex;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
  bool ok_ = false;
};

std::string TokenizerPath(const Checkpoint& checkpoint) {
  return checkpoint.folder() + "/tokenizer.json";
}

Result<std::string> TokenizerHash(const Checkpoint& checkpoint) {
  if (!checkpoint.has_tokenizer()) return std::string();
  ASSIGN_OR_RETURN(const std::string text,
                   ReadTextFile(TokenizerPath(checkpoint), kTokenizerBytesMax));
  return Sha256Hex(std::as_bytes(std::span(text.data(), text.size())));
}

// Digest of the identities of all files the fingerprint depends on.
Result<std::string> IdentityKey(const Checkpoint& checkpoint) {
  std::vector<std::string> files = checkpoint.shard_names();
  files.push_back("config.json");
  if (checkpoint.has_tokenizer()) files.push_back("tokenizer.json");
  Sha256 hash;
  hash.AddText(kRecipe);
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(const FileIdentity identity, IdentifyFile(checkpoint.folder() + "/" + file));
    hash.AddText(file);
    for (const std::string& part :
         {std::to_string(identity.size), std::to_string(identity.modified_ns),
          std::to_string(identity.inode), std::to_string(identity.device)}) {
      hash.AddText(part);
    }
  }
  return hash.Hex();
}

bool IsSha256Hex(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// The remembered fingerprint; empty if there is none or the entry is damaged.
std::string Remembered(const std::string& path, const std::string& key) {
  const Result<std::string> text = ReadTextFile(path, kCacheEntryBytesMax);
  if (!text.ok()) return {};
  const auto root = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("files") || root["files"] != key ||
      !root.contains("fingerprint") || !root["fingerprint"].is_string()) {
    return {};
  }
  const std::string fingerprint = root["fingerprint"].get<std::string>();
  return IsSha256Hex(fingerprint) ? fingerprint : std::string();
}

void Remember(const std::string& folder, const std::string& path, const std::string& key,
              const std::string& fingerprint) {
  std::error_code ignored;  // The write below fails too, and for the reason that counts.
  std::filesystem::create_directories(folder, ignored);
  const nlohmann::json root = {{"files", key}, {"fingerprint", fingerprint}};
  WriteFileAtomically(path, root.dump() + "\n")
      .IgnoreError("an unwritable cache costs the next start a pass over the files, no more");
}

}  // namespace

std::string Sha256Hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.Add(bytes);
  return hash.Hex();
}

Result<std::string> FingerprintOf(const WeightSource& source, const std::string& tokenizer_sha256,
                                  const std::function<void(int64_t, int64_t)>& progress) {
  const std::vector<std::string> names = source.Names();
  int64_t total = 0;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const TensorView view, source.Find(name));
    total += static_cast<int64_t>(view.bytes.size());
  }
  Sha256 manifest;
  manifest.AddText(kRecipe);
  manifest.AddText(source.config().ToJson());
  int64_t done = 0;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const TensorView view, source.Find(name));
    Sha256 content;
    for (size_t at = 0; at < view.bytes.size(); at += kProgressBytes) {
      const auto piece = view.bytes.subspan(at, std::min(kProgressBytes, view.bytes.size() - at));
      content.Add(piece);
      done += static_cast<int64_t>(piece.size());
      if (progress) progress(done, total);
    }
    manifest.AddText(name);
    manifest.AddText(TraitsOf(view.dtype).name);
    manifest.AddText(ShapeText(view.shape));
    manifest.AddText(content.Hex());
  }
  manifest.AddText(tokenizer_sha256);
  const std::string fingerprint = manifest.Hex();
  if (fingerprint.empty()) return InternalError("SHA-256 failed inside OpenSSL");
  return fingerprint;
}

Result<std::string> CheckpointFingerprint(const Checkpoint& checkpoint,
                                          const FingerprintOptions& options) {
  std::string key;
  std::string path;
  if (!options.cache_folder.empty()) {
    ASSIGN_OR_RETURN(key, IdentityKey(checkpoint));
    path = options.cache_folder + "/fingerprint-" + key.substr(0, 32) + ".json";
    const std::string known = Remembered(path, key);
    if (!known.empty()) return known;
  }
  ASSIGN_OR_RETURN(const std::string tokenizer, TokenizerHash(checkpoint));
  ASSIGN_OR_RETURN(const std::string fingerprint,
                   FingerprintOf(checkpoint, tokenizer, options.progress));
  if (!path.empty()) Remember(options.cache_folder, path, key, fingerprint);
  return fingerprint;
}

}  // namespace baleen
