// Fuzz: hostile bytes as a journal row's columns: token ids, logits hashes, event and settings
// JSON. And as its anchor and its write-ahead log.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "runtime/store/journal_anchor.h"
#include "runtime/store/journal_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size_bytes) {
  const auto blob = std::as_bytes(std::span(bytes, size_bytes));
  const std::string_view text(reinterpret_cast<const char*>(bytes), size_bytes);

  if (const auto ids = baleen::DecodeTokenIds(blob); ids.ok()) {
    const auto again = baleen::EncodeTokenIds(*ids);
    if (!std::equal(again.begin(), again.end(), blob.begin(), blob.end())) std::abort();
  }
  const size_t count = size_bytes > 0 ? bytes[0] : 0;
  if (const auto hashes = baleen::DecodeLogitsHashes(blob, count); hashes.ok()) {
    if (!hashes->empty() && hashes->size() != count) std::abort();
  }
  const bool object = baleen::CheckJsonObject(text, 1 << 16).ok();
  // The parser skips a byte order mark; the journal's texts have none.
  const bool parsed =
      nlohmann::json::parse(text, nullptr, false).is_object() && !text.starts_with("\xef\xbb\xbf");
  if (object != parsed && size_bytes <= 1 << 16) std::abort();
  if (object && !baleen::CheckJson(text, 1 << 16).ok()) std::abort();
  baleen::CheckSessionId(text).IgnoreError("only that it returns");

  if (const auto anchor = baleen::DecodeAnchor(text); anchor.has_value()) {
    // What an older build wrote is written anew with more.
    if (text.size() == baleen::kAnchorBytes && baleen::EncodeAnchor(*anchor) != text) std::abort();
    if (baleen::DecodeAnchor(baleen::EncodeAnchor(*anchor)) != *anchor) std::abort();
  }
  const auto read = [&](int64_t offset, std::span<std::byte> out) -> size_t {
    if (offset < 0 || static_cast<size_t>(offset) >= blob.size()) return 0;
    const auto rest = blob.subspan(static_cast<size_t>(offset));
    const size_t count_read = std::min(rest.size(), out.size());
    std::copy_n(rest.begin(), count_read, out.begin());
    return count_read;
  };
  const baleen::LogExtent log = baleen::WalkLog(read);
  if (log.commits > log.frames || log.frames * 536 > static_cast<int64_t>(size_bytes)) std::abort();

  baleen::EventRecord event;
  event.kind = text.substr(0, size_bytes / 2);
  event.payload = text.substr(size_bytes / 2);
  const int64_t checksum = baleen::EventChecksum(1, event);
  if (!event.payload.empty()) {
    // The same characters, split elsewhere between the fields.
    event.kind.push_back(event.payload[0]);
    event.payload.erase(0, 1);
    if (baleen::EventChecksum(1, event) == checksum) std::abort();
  }
  return 0;
}
