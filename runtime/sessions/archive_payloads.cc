#include "runtime/sessions/archive_payloads.h"

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "tools_sdk/json_text.h"

namespace baleen {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTokensHeadBytes = 8 + 8 + 1;
constexpr size_t kBlockHeadBytes = 8;
constexpr size_t kCheckpointHeadBytes = 8 + 4;

Status Wrong(const std::string& what) {
  return DataLossError("session archive: " + what +
                       "; it was not written by an export, or is damaged: export again");
}

template <typename T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
T Take(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

/// Members of one JSON object; remembers the first thing that was wrong.
class Members {
 public:
  Members(std::string_view text, std::string what)
      : json_(Json::parse(text, nullptr, false)), what_(std::move(what)) {
    if (!json_.is_object()) status_ = Wrong(what_ + " is not a JSON object");
  }

  void Get(const char* name, std::string* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_string()) return Refuse(name, "a string");
    *out = value->get<std::string>();
  }
  /// An integer of at least 0.
  void Get(const char* name, int64_t* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() &&
         value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) ||
        value->get<int64_t>() < 0) {
      return Refuse(name, "an integer of 63 bits, not negative");
    }
    *out = value->get<int64_t>();
  }
  const Status& status() const { return status_; }

 private:
  const Json* Find(const char* name) {
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(name);
    if (found != json_.end()) return &*found;
    Refuse(name, "a value, found none");
    return nullptr;
  }
  void Refuse(const char* name, const char* expected) {
    if (status_.ok()) status_ = Wrong(what_ + ", member '" + name + "': expected " + expected);
  }

  const Json json_;
  const std::string what_;
  Status status_;
};

}  // namespace

std::string ArchiveHeaderToJson(const ArchiveHeader& header) {
  return JsonText<Json>({{"session", header.session},
                         {"title", header.title},
                         {"settings", header.settings},
                         {"created_ms", header.created_ms},
                         {"tokens", header.tokens},
                         {"events", header.events},
                         {"fingerprint", header.fingerprint},
                         {"arithmetic_id", header.arithmetic_id},
                         {"kv_format", header.kv_format},
                         {"block_tokens", header.block_tokens},
                         {"block_shape", header.block_shape}});
}

Result<ArchiveHeader> ArchiveHeaderFromJson(std::string_view json) {
  Members members(json, "the header");
  ArchiveHeader header;
  members.Get("session", &header.session);
  members.Get("title", &header.title);
  members.Get("settings", &header.settings);
  members.Get("created_ms", &header.created_ms);
  members.Get("tokens", &header.tokens);
  members.Get("events", &header.events);
  members.Get("fingerprint", &header.fingerprint);
  members.Get("arithmetic_id", &header.arithmetic_id);
  members.Get("kv_format", &header.kv_format);
  members.Get("block_tokens", &header.block_tokens);
  members.Get("block_shape", &header.block_shape);
  if (!members.status().ok()) return members.status();
  return header;
}

std::string ArchiveEventToJson(const EventRecord& event) {
  return JsonText<Json>({{"seq", event.seq},
                         {"time_ms", event.time_ms},
                         {"kind", event.kind},
                         {"version", event.version},
                         {"tokens", event.tokens},
                         {"payload", event.payload}});
}

Result<EventRecord> ArchiveEventFromJson(std::string_view json) {
  Members members(json, "an event");
  EventRecord event;
  int64_t version = 0;
  members.Get("seq", &event.seq);
  members.Get("time_ms", &event.time_ms);
  members.Get("kind", &event.kind);
  members.Get("version", &version);
  members.Get("tokens", &event.tokens);
  members.Get("payload", &event.payload);
  if (!members.status().ok()) return members.status();
  if (version > std::numeric_limits<int>::max()) return Wrong("an event's version is too large");
  event.version = static_cast<int>(version);
  return event;
}

std::string EncodeArchiveTokens(const TokenRun& run) {
  std::string bytes;
  Put<uint64_t>(bytes, static_cast<uint64_t>(run.begin));
  Put<uint64_t>(bytes, run.ids.size());
  bytes.push_back(run.logits_hashes.empty() ? '\0' : '\1');
  bytes.append(reinterpret_cast<const char*>(run.ids.data()), run.ids.size() * sizeof(int32_t));
  bytes.append(reinterpret_cast<const char*>(run.logits_hashes.data()),
               run.logits_hashes.size() * sizeof(uint64_t));
  return bytes;
}

Result<TokenRun> DecodeArchiveTokens(std::string_view bytes) {
  if (bytes.size() < kTokensHeadBytes) return Wrong("a token frame is too short");
  const auto begin = Take<uint64_t>(bytes, 0);
  const auto count = Take<uint64_t>(bytes, 8);
  const auto hashed = static_cast<uint8_t>(bytes[16]);
  if (begin > (uint64_t{1} << 40) || count < 1 ||
      count > static_cast<uint64_t>(kArchiveTokensPerFrame) || hashed > 1) {
    return Wrong("a token frame says begin " + std::to_string(begin) + ", count " +
                 std::to_string(count) + ": out of bounds");
  }
  const uint64_t expected =
      kTokensHeadBytes + count * (sizeof(int32_t) + (hashed != 0 ? sizeof(uint64_t) : 0));
  if (bytes.size() != expected) {
    return Wrong("a token frame has " + std::to_string(bytes.size()) + " bytes, expected " +
                 std::to_string(expected));
  }
  TokenRun run;
  run.begin = static_cast<int64_t>(begin);
  run.ids.resize(count);
  std::memcpy(run.ids.data(), bytes.data() + kTokensHeadBytes, count * sizeof(int32_t));
  if (hashed != 0) {
    run.logits_hashes.resize(count);
    std::memcpy(run.logits_hashes.data(), bytes.data() + kTokensHeadBytes + count * sizeof(int32_t),
                count * sizeof(uint64_t));
  }
  for (const int32_t id : run.ids) {
    if (id < 0) return Wrong("token id " + std::to_string(id) + " is negative");
  }
  return run;
}

std::string EncodeArchiveBlockHead(int64_t index) {
  std::string bytes;
  Put<uint64_t>(bytes, static_cast<uint64_t>(index));
  return bytes;
}

Result<ArchiveBlock> DecodeArchiveBlock(std::string_view payload, int64_t block_bytes) {
  if (payload.size() != kBlockHeadBytes + static_cast<uint64_t>(block_bytes)) {
    return Wrong("a block has " + std::to_string(payload.size()) + " bytes, expected " +
                 std::to_string(kBlockHeadBytes + static_cast<uint64_t>(block_bytes)));
  }
  const auto index = Take<uint64_t>(payload, 0);
  if (index > (uint64_t{1} << 32)) return Wrong("a block's index is out of bounds");
  return ArchiveBlock{static_cast<int64_t>(index), payload.substr(kBlockHeadBytes)};
}

std::string EncodeArchiveCheckpointHead(const StoredCheckpoint& checkpoint) {
  std::string bytes;
  Put<uint64_t>(bytes, static_cast<uint64_t>(checkpoint.position));
  Put<uint32_t>(bytes, checkpoint.kinds);
  return bytes;
}

Result<StoredCheckpoint> DecodeArchiveCheckpoint(std::string_view payload) {
  if (payload.size() < kCheckpointHeadBytes) return Wrong("a checkpoint is too short");
  const auto position = Take<uint64_t>(payload, 0);
  if (position > (uint64_t{1} << 40)) return Wrong("a checkpoint's position is out of bounds");
  StoredCheckpoint checkpoint;
  checkpoint.position = static_cast<int64_t>(position);
  checkpoint.kinds = Take<uint32_t>(payload, 8);
  checkpoint.state = std::string(payload.substr(kCheckpointHeadBytes));
  return checkpoint;
}

}  // namespace baleen
