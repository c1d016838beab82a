// Alters one stored KV row of a session and rewrites its checksum, so that the store believes it.
//
// A comparison of logits that can't fail proves nothing: the demonstration runs this on a copy of a
// data directory and expects different logits. Usage:
//   alter_row DATA_DIR SESSION FINGERPRINT ARITHMETIC_ID
#include <iostream>

#include "runtime/store/data_directory.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"

namespace baleen {
namespace {

constexpr int64_t kBlockTokens = 256;
constexpr int64_t kHcaRatio = 128;

/// The codes of a layer whose rows every query sees, so that an altered row can't go unnoticed.
const StoredStream* FindAlwaysSeen(const StoredBlock& block) {
  for (const StoredStream& stream : block.streams) {
    const bool is_codes = stream.name.find("codes") != std::string::npos;
    if (is_codes && stream.rows == kBlockTokens / kHcaRatio) return &stream;
  }
  return nullptr;
}

Status AlterRow(const std::string& folder, const std::string& session, const KvScope& scope) {
  ASSIGN_OR_RETURN(const auto directory, DataDirectory::Open(folder));
  JournalOptions journal_options;
  journal_options.path = directory->journal_path();
  journal_options.read_only = true;
  ASSIGN_OR_RETURN(const auto journal, Journal::Open(journal_options));
  ASSIGN_OR_RETURN(const SessionRecord record, journal->GetSession(session));
  ASSIGN_OR_RETURN(const TokenRun tokens, journal->ReadTokens(session, 0, record.tokens));
  KvStoreOptions kv_options;
  kv_options.path = directory->kv_path();
  ASSIGN_OR_RETURN(const auto store, KvStore::Open(kv_options, nullptr));

  const int64_t wanted = record.tokens / kBlockTokens / 2;
  BlockKey key{};
  std::span<const int32_t> ids;
  for (int64_t i = 0; i <= wanted; ++i) {
    ids = std::span(tokens.ids).subspan(static_cast<size_t>(i * kBlockTokens), kBlockTokens);
    key = NextBlockKey(key, ids, scope);
  }
  ASSIGN_OR_RETURN(StoredBlock block, store->GetBlock(key, ids));
  const StoredStream* stream = FindAlwaysSeen(block);
  if (stream == nullptr) return NotFoundError("no stream of an HCA layer in the block");
  for (int64_t i = 0; i < stream->row_bytes; ++i) {
    block.bytes[static_cast<size_t>(stream->offset + i)] ^= std::byte{0x80};  // the sign
  }
  ASSIGN_OR_RETURN(const BlockShape shape,
                   BlockShape::Make(block.streams, std::ssize(block.bytes)));
  RETURN_IF_ERROR(store->DropBlocks({&key, 1}, DropReason::kRequested));
  RETURN_IF_ERROR(store->PutBlock(key, block.tokens, shape, block.bytes));
  RETURN_IF_ERROR(store->Flush());
  std::cout << "negated row 0 of " << stream->name << " in block " << wanted << " ("
            << BlockKeyHex(key).substr(0, 16) << "...)\n";
  return OkStatus();
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: alter_row DATA_DIR SESSION FINGERPRINT ARITHMETIC_ID\n";
    return 2;
  }
  const baleen::Status status = baleen::AlterRow(argv[1], argv[2], {argv[3], argv[4], "default"});
  if (status.ok()) return 0;
  std::cerr << "alter_row: " << status.ToString() << "\n";
  return 1;
}
