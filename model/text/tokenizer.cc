#include "model/text/tokenizer.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <unordered_map>
#include <utility>

#include "model/text/added_tokens.h"
#include "model/text/pre_tokenizer.h"
#include "model/text/tokenizer_json.h"
#include "model/text/utf8.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;  // Positions are 32 bits wide.
constexpr std::streamoff kFileBytesMax = 256 << 20;
constexpr size_t kV4Vocab = 129280;
// Recorded from a released DeepSeek-V4-Flash checkpoint: see CanonicalHash for the form.
constexpr std::string_view kV4TokensHash =
    "c92251fc634ff01cc6767d2e3ce1d368e72b5f02b647983d4410eb0c46693fa3";
constexpr std::string_view kV4MergesHash =
    "8100a9693dc10b8aad79abbe20b172545ff5e1e6051e0705cc91e73b88e3751f";

/// SHA-256 over a list of strings, each as u64le index, u64le length, bytes.
class CanonicalHash {
 public:
  CanonicalHash() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    good_ = context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1;
  }

  void Add(std::string_view text) {
    AddNumber(index_++);
    AddNumber(text.size());
    AddBytes(text.data(), text.size());
  }

  /// Empty if OpenSSL failed (out of memory, or SHA-256 disabled).
  std::string Hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    good_ = good_ && EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1;
    if (!good_) return {};
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string hex;
    for (unsigned int i = 0; i < size; ++i) {
      hex += kHex[digest[i] >> 4];
      hex += kHex[digest[i] & 15];
    }
    return hex;
  }

 private:
  void AddNumber(uint64_t value) {
    std::array<unsigned char, 8> bytes{};
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(value >> (8 * i));
    AddBytes(bytes.data(), bytes.size());
  }
  void AddBytes(const void* bytes, size_t size) {
    good_ = good_ && EVP_DigestUpdate(context_.get(), bytes, size) == 1;
  }

  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
  uint64_t index_ = 0;
  bool good_ = false;
};

/// GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 and up.
std::array<uint32_t, 256> ByteAlphabet() {
  std::array<uint32_t, 256> alphabet{};
  uint32_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    alphabet[byte] = printable ? byte : next++;
  }
  return alphabet;
}

/// Inverse of ByteAlphabet over whole token texts.
class ByteDecoder {
 public:
  ByteDecoder() {
    const std::array<uint32_t, 256> alphabet = ByteAlphabet();
    for (uint32_t byte = 0; byte < 256; ++byte) {
      bytes_[alphabet[byte]] = static_cast<int16_t>(byte);
    }
  }

  /// nullopt if the text isn't written in the byte alphabet.
  std::optional<std::string> Decode(std::string_view text) const {
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const CodePoint point = DecodeUtf8(text, at);
      if (point.bytes == 0 || point.value >= bytes_.size() || bytes_[point.value] < 0) {
        return std::nullopt;
      }
      out.push_back(static_cast<char>(bytes_[point.value]));
      at += point.bytes;
    }
    return out;
  }

 private:
  static constexpr std::array<int16_t, 0x144> Filled() {
    std::array<int16_t, 0x144> bytes{};
    bytes.fill(-1);
    return bytes;
  }
  std::array<int16_t, 0x144> bytes_ = Filled();
};

}  // namespace

class Tokenizer::Impl {
 public:
  static Result<std::unique_ptr<Impl>> Build(TokenizerTables tables);

  Result<std::vector<int32_t>> EncodeSegments(const std::vector<Segment>& segments,
                                              EncodeStats* stats) const;

  explicit Impl(size_t merges) : merges(merges) {}

  std::vector<std::string> bytes;  ///< [vocab]; empty: no such id.
  std::vector<bool> added;         ///< [vocab]
  std::array<int32_t, 256> byte_ids{};
  MergeTable merges;
  /// Pieces that are tokens as they are, by their bytes; empty unless the file ignores merges for
  /// them. Borrows: bytes.
  std::unordered_map<std::string_view, int32_t> whole_pieces;
  AddedTokenMatcher matcher;
  std::unordered_map<std::string, int32_t> added_ids;
  std::string digest;

 private:
  /// Text between two control ids, and which parts of it may name control tokens.
  struct Run {
    std::string text;
    std::vector<std::pair<size_t, size_t>> trusted;  ///< [begin, end), ascending.
  };
  Status PlaceTokens(const TokenizerTables& tables);
  Status PlaceMerges(const TokenizerTables& tables);
  void PlaceWholePieces();
  Status CheckHashes(const TokenizerTables& tables);
  Status Flush(Run* run, BpeMerger* merger, std::vector<int32_t>* out, EncodeStats* stats) const;
};

Status Tokenizer::Impl::PlaceTokens(const TokenizerTables& tables) {
  const ByteDecoder decoder;
  bytes.resize(tables.tokens.size());
  added = tables.added;
  byte_ids.fill(-1);
  for (size_t id = 0; id < tables.tokens.size(); ++id) {
    const std::string& text = tables.tokens[id];
    if (text.empty()) continue;
    if (added[id]) {
      bytes[id] = text;
      if (!matcher.Add(text, static_cast<int32_t>(id))) {
        return InvalidArgumentError("tokenizer.json: added token \"" + text + "\" (id " +
                                    std::to_string(id) + ") is there twice, or there are too many");
      }
      added_ids.emplace(text, static_cast<int32_t>(id));
      continue;
    }
    std::optional<std::string> decoded = decoder.Decode(text);
    if (!decoded.has_value()) {
      return InvalidArgumentError("tokenizer.json: token \"" + text + "\" (id " +
                                  std::to_string(id) + ") isn't in the byte-level alphabet");
    }
    bytes[id] = *std::move(decoded);
    if (bytes[id].size() == 1) byte_ids[static_cast<uint8_t>(bytes[id][0])] = static_cast<int>(id);
  }
  for (size_t byte = 0; byte < byte_ids.size(); ++byte) {
    if (byte_ids[byte] < 0) {
      return InvalidArgumentError("tokenizer.json: the vocabulary has no token for byte " +
                                  std::to_string(byte) + "; byte-level BPE needs all 256");
    }
  }
  return OkStatus();
}

Status Tokenizer::Impl::PlaceMerges(const TokenizerTables& tables) {
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(tables.tokens.size());
  for (size_t id = 0; id < tables.tokens.size(); ++id) {
    if (!added[id]) ids.emplace(tables.tokens[id], static_cast<int32_t>(id));
  }
  for (size_t rank = 0; rank < tables.merges.size(); ++rank) {
    const auto& [left, right] = tables.merges[rank];
    const std::string merged = left + right;
    const auto left_id = ids.find(left);
    const auto right_id = ids.find(right);
    const auto result = ids.find(merged);
    if (left_id == ids.end() || right_id == ids.end() || result == ids.end() ||
        !merges.Add(left_id->second, right_id->second, static_cast<int32_t>(rank),
                    result->second)) {
      return InvalidArgumentError("tokenizer.json: merge " + std::to_string(rank) + " (\"" + left +
                                  "\" + \"" + right +
                                  "\"): expected both and their result in the vocabulary, and each "
                                  "pair once");
    }
  }
  return OkStatus();
}

void Tokenizer::Impl::PlaceWholePieces() {
  whole_pieces.reserve(bytes.size());
  for (size_t id = 0; id < bytes.size(); ++id) {
    if (!bytes[id].empty() && !added[id]) {
      whole_pieces.emplace(bytes[id], static_cast<int32_t>(id));
    }
  }
}

Status Tokenizer::Impl::CheckHashes(const TokenizerTables& tables) {
  CanonicalHash tokens_hash;
  for (const std::string& text : tables.tokens) tokens_hash.Add(text);
  CanonicalHash merges_hash;
  for (const auto& [left, right] : tables.merges) merges_hash.Add(left + " " + right);
  const std::string tokens_hex = tokens_hash.Hex();
  const std::string merges_hex = merges_hash.Hex();
  CanonicalHash all;
  all.Add(tokens_hex);
  all.Add(merges_hex);
  if (tables.ignore_merges) all.Add("ignore_merges");
  for (size_t id = 0; id < added.size(); ++id) {
    if (added[id]) all.Add(std::to_string(id));
  }
  digest = all.Hex();
  if (digest.empty()) return InternalError("tokenizer: OpenSSL could not compute SHA-256");
  if (tables.tokens.size() != kV4Vocab) return OkStatus();
  const auto refuse = [](std::string_view what, std::string_view expected, std::string_view got) {
    return DataLossError("tokenizer.json: has 129280 entries but its " + std::string(what) +
                             " aren't DeepSeek-V4's: expected SHA-256 " + std::string(expected) +
                             ", got " + std::string(got) + "; fetch the checkpoint's file again",
                         "TOKENIZER_HASH");
  };
  if (tokens_hex != kV4TokensHash) return refuse("token strings", kV4TokensHash, tokens_hex);
  if (merges_hex != kV4MergesHash) return refuse("merges", kV4MergesHash, merges_hex);
  // The hash fixes each id's string; that these are matched as control tokens is a separate flag.
  for (const int32_t id : {0, 1, 128803, 128804, 128821, 128822, 128825, 128828}) {
    if (!added[id]) {
      return DataLossError("tokenizer.json: id " + std::to_string(id) + " (\"" + bytes[id] +
                           "\") must be listed in added_tokens");
    }
  }
  return OkStatus();
}

Result<std::unique_ptr<Tokenizer::Impl>> Tokenizer::Impl::Build(TokenizerTables tables) {
  auto impl = std::make_unique<Impl>(tables.merges.size());
  // Hashes first: for a damaged file this is the message that helps.
  impl->added = tables.added;
  RETURN_IF_ERROR(impl->PlaceTokens(tables));
  RETURN_IF_ERROR(impl->CheckHashes(tables));
  RETURN_IF_ERROR(impl->PlaceMerges(tables));
  if (tables.ignore_merges) impl->PlaceWholePieces();
  return impl;
}

Status Tokenizer::Impl::Flush(Run* run, BpeMerger* merger, std::vector<int32_t>* out,
                              EncodeStats* stats) const {
  const std::string_view text = run->text;
  if (text.size() > kTextBytesMax) {
    return InvalidArgumentError("text of " + std::to_string(text.size()) +
                                " bytes between control tokens: at most " +
                                std::to_string(kTextBytesMax) + " can be encoded");
  }
  if (const size_t valid = Utf8ValidPrefix(text); valid != text.size()) {
    return InvalidArgumentError("text isn't valid UTF-8 at byte " + std::to_string(valid) + " of " +
                                    std::to_string(text.size()),
                                "INVALID_UTF8");
  }
  const auto encode_plain = [&](size_t begin, size_t end) {
    PieceScanner scanner(text.substr(begin, end - begin));
    for (std::string_view piece = scanner.Next(); !piece.empty(); piece = scanner.Next()) {
      const auto whole = whole_pieces.find(piece);
      if (whole == whole_pieces.end()) {
        merger->Encode(piece, out, stats);
        continue;
      }
      out->push_back(whole->second);
      if (stats != nullptr) ++stats->pieces;
    }
  };
  size_t done = 0;
  for (const auto& [begin, end] : run->trusted) {
    const std::string_view part = text.substr(0, end);
    for (size_t from = begin; from < end;) {
      const AddedTokenMatcher::Match match = matcher.Find(part, from);
      if (match.end == 0) break;
      encode_plain(done, match.begin);
      out->push_back(match.id);
      done = from = match.end;
    }
  }
  encode_plain(done, text.size());
  *run = {};
  return OkStatus();
}

Result<std::vector<int32_t>> Tokenizer::Impl::EncodeSegments(const std::vector<Segment>& segments,
                                                             EncodeStats* stats) const {
  std::vector<int32_t> ids;
  BpeMerger merger(merges, byte_ids);
  Run run;
  for (const Segment& segment : segments) {
    if (segment.kind != Segment::Kind::kControl) {
      if (segment.kind == Segment::Kind::kTrusted && !segment.text.empty()) {
        const size_t begin = run.text.size();
        const size_t end = begin + segment.text.size();
        if (!run.trusted.empty() && run.trusted.back().second == begin) {
          run.trusted.back().second = end;
        } else {
          run.trusted.emplace_back(begin, end);
        }
      }
      run.text += segment.text;
      continue;
    }
    const int32_t id = segment.id;
    if (id < 0 || static_cast<size_t>(id) >= bytes.size() || bytes[id].empty()) {
      return InvalidArgumentError("control id " + std::to_string(id) +
                                  " isn't in the vocabulary of " + std::to_string(bytes.size()));
    }
    RETURN_IF_ERROR(Flush(&run, &merger, &ids, stats));
    ids.push_back(id);
  }
  RETURN_IF_ERROR(Flush(&run, &merger, &ids, stats));
  return ids;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    return NotFoundError("tokenizer '" + path + "' can't be opened; name a tokenizer.json");
  }
  const std::streamoff size = file.tellg();
  if (size < 0 || size > kFileBytesMax) {
    return InvalidArgumentError("tokenizer '" + path + "': expected a file of at most " +
                                std::to_string(kFileBytesMax) + " bytes, got " +
                                std::to_string(size));
  }
  std::string json(static_cast<size_t>(size), '\0');
  file.seekg(0);
  if (!file.read(json.data(), size)) {
    return DataLossError("tokenizer '" + path + "' can't be read to its end");
  }
  auto tokenizer = FromJson(json);
  if (!tokenizer.ok()) return tokenizer.status().WithContext("'" + path + "'");
  return tokenizer;
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view json) {
  ASSIGN_OR_RETURN(TokenizerTables tables, ReadTokenizerJson(json));
  ASSIGN_OR_RETURN(auto impl, Impl::Build(std::move(tables)));
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

int64_t Tokenizer::vocab() const { return static_cast<int64_t>(impl_->bytes.size()); }

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view text, TextTrust trust,
                                               EncodeStats* stats) const {
  const auto kind = trust == TextTrust::kTrusted ? Segment::Kind::kTrusted : Segment::Kind::kData;
  return impl_->EncodeSegments({Segment{kind, 0, std::string(text)}}, stats);
}

Result<std::vector<int32_t>> Tokenizer::EncodeSegments(const std::vector<Segment>& segments,
                                                       EncodeStats* stats) const {
  return impl_->EncodeSegments(segments, stats);
}

std::optional<int32_t> Tokenizer::AddedTokenId(std::string_view literal) const {
  const auto found = impl_->added_ids.find(std::string(literal));
  if (found == impl_->added_ids.end()) return std::nullopt;
  return found->second;
}

bool Tokenizer::IsAddedToken(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < impl_->added.size() && impl_->added[id];
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= impl_->bytes.size()) return {};
  return impl_->bytes[id];
}

Result<std::string> Tokenizer::Decode(const std::vector<int32_t>& ids) const {
  std::string raw;
  for (const int32_t id : ids) {
    const std::string_view token = TokenBytes(id);
    if (token.empty()) {
      return InvalidArgumentError("token id " + std::to_string(id) +
                                  " isn't in the vocabulary of " + std::to_string(vocab()));
    }
    raw += token;
  }
  std::string text;
  if (AppendCompleteUtf8(raw, &text) < raw.size()) text += kReplacementCharacter;
  return text;
}

const std::string& Tokenizer::digest() const { return impl_->digest; }

std::string StreamingDetokenizer::Push(int32_t id) {
  pending_ += tokenizer_->TokenBytes(id);
  std::string text;
  pending_.erase(0, AppendCompleteUtf8(pending_, &text));
  return text;
}

std::string StreamingDetokenizer::Finish() {
  const bool cut = !pending_.empty();
  pending_.clear();
  return cut ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace baleen
