#include "runtime/sessions/session_export.h"

#include <algorithm>

#include "runtime/sessions/archive_payloads.h"

namespace baleen {
namespace {

/// Blocks that are read at once: enough for the disk's queue, little enough to hold in memory.
constexpr int64_t kBlocksPerRead = 16;
constexpr int64_t kEventsPerRead = 256;

std::string_view Chars(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Exporter {
 public:
  Exporter(const PortParts& parts, const SessionRecord& record, ArchiveWriter& archive)
      : parts_(parts), record_(record), archive_(archive) {}

  Result<ExportView> Run() {
    RETURN_IF_ERROR(archive_.Append(ArchiveFrame::kHeader, {ArchiveHeaderToJson(Header())}));
    RETURN_IF_ERROR(Events());
    RETURN_IF_ERROR(Tokens());
    const std::vector<BlockKey> keys = KeysOfBlocks(tokens_, parts_);
    for (int64_t first = 0; first < static_cast<int64_t>(keys.size()); first += kBlocksPerRead) {
      RETURN_IF_ERROR(Blocks(keys, first));
    }
    RETURN_IF_ERROR(Checkpoint(keys));
    RETURN_IF_ERROR(archive_.Finish());
    view_.bytes = archive_.bytes_written();
    return std::move(view_);
  }

 private:
  ArchiveHeader Header() const {
    return {.session = record_.id,
            .title = record_.title,
            .settings = record_.settings,
            .created_ms = record_.created_ms,
            .tokens = record_.tokens,
            .events = record_.last_seq,
            .fingerprint = parts_.scope.fingerprint,
            .arithmetic_id = parts_.scope.arithmetic_id,
            .kv_format = kKvFormatVersion,
            .block_tokens = parts_.block_tokens,
            .block_shape = ShapeHex(*parts_.shape)};
  }

  Status Events() {
    int64_t after = 0;
    while (after < record_.last_seq) {
      ASSIGN_OR_RETURN(const auto events, parts_.journal->ReadEvents(
                                              record_.id, after, kEventsPerRead, record_.timeline));
      if (events.empty()) break;
      for (const EventRecord& event : events) {
        if (event.seq > record_.last_seq) break;
        RETURN_IF_ERROR(archive_.Append(ArchiveFrame::kEvent, {ArchiveEventToJson(event)}));
        ++view_.events;
      }
      after = events.back().seq;
    }
    return OkStatus();
  }

  Status Tokens() {
    while (static_cast<int64_t>(tokens_.size()) < record_.tokens) {
      const auto begin = static_cast<int64_t>(tokens_.size());
      ASSIGN_OR_RETURN(
          const TokenRun run,
          parts_.journal->ReadTokens(record_.id, begin,
                                     std::min(kArchiveTokensPerFrame, record_.tokens - begin),
                                     record_.timeline));
      if (run.ids.empty()) {
        return DataLossError("session '" + record_.id + "' has " + std::to_string(begin) +
                             " token ids, expected " + std::to_string(record_.tokens) +
                             "; run `baleen sessions verify`");
      }
      RETURN_IF_ERROR(archive_.Append(ArchiveFrame::kTokens, {EncodeArchiveTokens(run)}));
      tokens_.insert(tokens_.end(), run.ids.begin(), run.ids.end());
    }
    view_.tokens = record_.tokens;
    return OkStatus();
  }

  Status Blocks(const std::vector<BlockKey>& keys, int64_t first) {
    const auto end = std::min<int64_t>(first + kBlocksPerRead, static_cast<int64_t>(keys.size()));
    const auto block_bytes = static_cast<size_t>(parts_.shape->block_bytes());
    std::vector<std::vector<std::byte>> blocks(static_cast<size_t>(end - first),
                                               std::vector<std::byte>(block_bytes));
    std::vector<UnitRead> reads;
    for (int64_t i = first; i < end; ++i) {
      for (int32_t unit = 0; unit < parts_.shape->units(); ++unit) {
        const BlockExtent extent = parts_.shape->extent(unit);
        UnitRead read;
        read.key = keys[static_cast<size_t>(i)];
        read.unit = unit;
        read.out =
            std::span(blocks[static_cast<size_t>(i - first)])
                .subspan(static_cast<size_t>(extent.offset), static_cast<size_t>(extent.bytes));
        read.tokens = std::span<const int32_t>(tokens_).subspan(
            static_cast<size_t>(i * parts_.block_tokens), static_cast<size_t>(parts_.block_tokens));
        reads.push_back(read);
      }
    }
    parts_.kv->LoadUnits(reads, *parts_.shape).IgnoreError("each read has its own status");
    const auto units = static_cast<size_t>(parts_.shape->units());
    for (int64_t i = first; i < end; ++i) {
      const auto at = static_cast<size_t>(i - first);
      const auto bad = std::find_if(reads.begin() + static_cast<int64_t>(at * units),
                                    reads.begin() + static_cast<int64_t>((at + 1) * units),
                                    [](const UnitRead& read) { return !read.status.ok(); });
      if (bad != reads.begin() + static_cast<int64_t>((at + 1) * units)) {
        NoteMissing(i, bad->status);
        continue;
      }
      RETURN_IF_ERROR(
          archive_.Append(ArchiveFrame::kBlock, {EncodeArchiveBlockHead(i), Chars(blocks[at])}));
      ++view_.blocks;
    }
    if (parts_.progress && !parts_.progress(end, static_cast<int64_t>(keys.size()))) {
      return CancelledError("the export was cancelled; no file was made");
    }
    return OkStatus();
  }

  void NoteMissing(int64_t index, const Status& status) {
    ++view_.blocks_missing;
    if (view_.blocks_missing > 1) return;  // One example; the number tells the rest.
    view_.notes.push_back("block " + std::to_string(index) + " (tokens " +
                          std::to_string(index * parts_.block_tokens) +
                          "..) is not in the KV store: " + status.message() +
                          "; whoever resumes the import computes it again");
  }

  /// The newest checkpoint that is stored for this context.
  Status Checkpoint(const std::vector<BlockKey>& keys) {
    for (auto border = static_cast<int64_t>(keys.size()); border >= 0; --border) {
      const auto begin = static_cast<size_t>(border * parts_.block_tokens);
      const size_t length =
          std::min<size_t>(tokens_.size() - begin, static_cast<size_t>(parts_.block_tokens - 1));
      const BlockKey parent = border == 0 ? BlockKey{} : keys[static_cast<size_t>(border - 1)];
      const auto found = parts_.kv->FindCheckpoints(
          parent, std::span<const int32_t>(tokens_).subspan(begin, length), nullptr);
      if (!found.ok() || found->empty()) continue;
      const StoredCheckpoint& newest = found->front();
      ++view_.checkpoints;
      return archive_.Append(ArchiveFrame::kCheckpoint,
                             {EncodeArchiveCheckpointHead(newest), newest.state});
    }
    if (view_.blocks > 0) {
      view_.notes.push_back("no checkpoint is stored for this context; a resume computes more");
    }
    return OkStatus();
  }

  const PortParts& parts_;
  const SessionRecord& record_;
  ArchiveWriter& archive_;
  std::vector<int32_t> tokens_;
  ExportView view_;
};

}  // namespace

std::string ShapeHex(const BlockShape& shape) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const uint8_t byte : shape.hash()) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

std::vector<BlockKey> KeysOfBlocks(std::span<const int32_t> tokens, const PortParts& parts) {
  std::vector<BlockKey> keys;
  const auto size = static_cast<size_t>(parts.block_tokens);
  for (size_t begin = 0; begin + size <= tokens.size(); begin += size) {
    const BlockKey parent = keys.empty() ? BlockKey{} : keys.back();
    keys.push_back(NextBlockKey(parent, tokens.subspan(begin, size), parts.scope));
  }
  return keys;
}

Result<ExportView> ExportSession(const PortParts& parts, const SessionRecord& record,
                                 const std::string& path) {
  ASSIGN_OR_RETURN(const auto archive, ArchiveWriter::Create(path, parts.key));
  ASSIGN_OR_RETURN(ExportView view, Exporter(parts, record, *archive).Run());
  view.path = path;
  return view;
}

}  // namespace baleen
