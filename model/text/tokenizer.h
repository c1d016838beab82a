// Tokenizer: byte-level BPE from a Hugging Face tokenizer.json, with the DeepSeek pre-tokenizer.
//
// Doesn't add BOS or EOS and knows no roles: that is the chat encoder's. Called by the encoder, the
// engine (bytes of sampled ids) and the command line.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/bpe.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Whether text may name control tokens. kData never can: every byte goes through BPE.
enum class TextTrust { kTrusted, kData };

/// A piece of a prompt, by construction: either one control id, or text of a stated trust.
struct Segment {
  enum class Kind { kControl, kTrusted, kData };
  Kind kind = Kind::kData;
  int32_t id = 0;    ///< kControl only.
  std::string text;  ///< kTrusted and kData.
};

/// Immutable after Load. Threads: const methods from any thread.
class Tokenizer {
 public:
  /// Errors: INVALID_ARGUMENT naming what in the JSON isn't supported; DATA_LOSS for 129,280-entry
  /// vocabularies whose hashes aren't DeepSeek-V4's.
  static Result<std::unique_ptr<Tokenizer>> Load(const std::string& path);
  static Result<std::unique_ptr<Tokenizer>> FromJson(std::string_view json);
  ~Tokenizer();

  int64_t vocab() const;  ///< Largest id + 1.

  /// `stats`, if given, is added to. Cost: O(n log n) for any text of n bytes.
  /// Errors: INVALID_ARGUMENT with the byte offset of invalid UTF-8, or for over 1 GiB.
  Result<std::vector<int32_t>> Encode(std::string_view text, TextTrust trust,
                                      EncodeStats* stats = nullptr) const;

  /// Maximal runs between control ids are pre-tokenised as one string, so that the result equals
  /// encoding the whole trusted text, except that added tokens are not recognised inside kData.
  /// Errors: as Encode; INVALID_ARGUMENT for a kControl id that isn't in the vocabulary.
  Result<std::vector<int32_t>> EncodeSegments(const std::vector<Segment>& segments,
                                              EncodeStats* stats = nullptr) const;

  /// Id of an added (control) token by its literal string.
  std::optional<int32_t> AddedTokenId(std::string_view literal) const;
  bool IsAddedToken(int32_t id) const;

  /// Raw bytes of one token (may be part of a UTF-8 sequence). Empty view for unknown ids.
  std::string_view TokenBytes(int32_t id) const;

  /// Whole decoding; incomplete or invalid UTF-8 becomes U+FFFD.
  /// Errors: INVALID_ARGUMENT for an unknown id.
  Result<std::string> Decode(const std::vector<int32_t>& ids) const;

  /// Hash of vocabulary and merges, hex; part of the model's fingerprint.
  const std::string& digest() const;

 private:
  class Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Emits only complete UTF-8; holds back at most 3 bytes.
class StreamingDetokenizer {
 public:
  explicit StreamingDetokenizer(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  /// Text that became complete with this token.
  std::string Push(int32_t id);
  /// The rest; an incomplete tail becomes U+FFFD.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;
};

}  // namespace baleen
