#include "model/training/training_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "model/checkpoint/file_access.h"
#include "model/checkpoint/fingerprint.h"
#include "tools_sdk/json_text.h"

namespace baleen::training {
namespace {

using Json = nlohmann::json;
using Bytes = std::span<const std::byte>;

// On disk, don't renumber: magic, header length (u64, little endian), SHA-256 of the header in hex,
// the header (JSON), the buffers in its order.
constexpr std::string_view kMagic = "BALTRN01";
constexpr size_t kHashBytes = 64;
constexpr size_t kPrefixBytes = 8 + sizeof(uint64_t) + kHashBytes;
constexpr uint64_t kHeaderBytesMax = uint64_t{256} << 20;
constexpr uint64_t kPositionMax = uint64_t{1} << 48;
constexpr std::string_view kSuffix = ".train";

template <typename T>
Bytes BytesOf(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// Every buffer of a state, in the file's order.
std::vector<Bytes> BuffersOf(const ParameterSet& parameters, const Optimiser& optimiser) {
  std::vector<Bytes> buffers;
  for (size_t p = 0; p < parameters.all().size(); ++p) {
    buffers.push_back(BytesOf(parameters.all()[p].value));
    buffers.push_back(BytesOf(optimiser.moments()[p].first));
    buffers.push_back(BytesOf(optimiser.moments()[p].second));
  }
  for (const HashTable& table : parameters.hash_tables()) buffers.push_back(BytesOf(table.experts));
  return buffers;
}

Status CheckFinite(const ParameterSet& parameters) {
  for (const Parameter& parameter : parameters.all()) {
    for (float value : parameter.value) {
      if (!std::isfinite(value)) {
        return AbortedError("tensor '" + parameter.name +
                                "' is no longer finite; not saved. Resume from the last "
                                "checkpoint with a lower rate",
                            "NOT_FINITE");
      }
    }
  }
  return OkStatus();
}

std::string HeaderOf(const RunState& state, const Optimiser& optimiser,
                     const std::vector<Bytes>& buffers) {
  Json header = {{"version", 1},
                 {"step", state.step},
                 {"tokens", state.tokens},
                 {"seconds", state.seconds},
                 {"packer_next", state.packer.next},
                 {"packer_pool", state.packer.pool},
                 {"config", state.canonical},
                 {"source", state.source_identity}};
  Json& updates = header["updates"] = Json::array();
  for (const ParameterMoments& moments : optimiser.moments()) updates.push_back(moments.steps);
  Json& list = header["buffers"] = Json::array();
  for (Bytes buffer : buffers) list.push_back({buffer.size(), Sha256Hex(buffer)});
  return JsonText(header);
}

Status Damaged(const std::string& path, const std::string& what) {
  return DataLossError("training checkpoint '" + path + "': " + what +
                       "; remove it to resume from the one before it");
}

struct ParsedFile {
  RunState state;
  std::vector<int64_t> updates;
  std::vector<Bytes> buffers;
};

bool ReadState(const Json& header, RunState* state, std::vector<int64_t>* updates) {
  const char* integers[] = {"step", "tokens", "packer_next"};
  for (const char* key : integers) {
    if (!header.contains(key) || !header[key].is_number_unsigned() ||
        header[key].get<uint64_t>() > kPositionMax) {
      return false;
    }
  }
  const auto counts = [&](const char* key) {
    if (!header.contains(key) || !header[key].is_array()) return false;
    return std::all_of(header[key].begin(), header[key].end(), [](const Json& value) {
      return value.is_number_unsigned() && value.get<uint64_t>() <= kPositionMax;
    });
  };
  if (!counts("packer_pool") || !counts("updates")) return false;
  for (const char* key : {"config", "source"}) {
    if (!header.contains(key) || !header[key].is_string()) return false;
  }
  state->step = header["step"].get<int64_t>();
  state->tokens = header["tokens"].get<int64_t>();
  state->seconds =
      header.value("seconds", Json(0)).is_number() ? header["seconds"].get<double>() : 0;
  state->packer.next = header["packer_next"].get<uint64_t>();
  state->packer.pool = header["packer_pool"].get<std::vector<uint64_t>>();
  state->canonical = header["config"].get<std::string>();
  state->source_identity = header["source"].get<std::string>();
  *updates = header["updates"].get<std::vector<int64_t>>();
  return true;
}

// Takes the buffers that the header lists from `rest`, checking size and hash of each.
Status ReadBuffers(const Json& header, Bytes rest, const std::string& path,
                   std::vector<Bytes>* buffers) {
  const auto list = header.find("buffers");
  if (list == header.end() || !list->is_array()) return Damaged(path, "no list of buffers");
  for (const Json& entry : *list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_number_unsigned() ||
        !entry[1].is_string()) {
      return Damaged(path, "a buffer without size and hash");
    }
    const auto size = entry[0].get<uint64_t>();
    if (size > rest.size()) {
      return Damaged(path, "buffer " + std::to_string(buffers->size()) + ": expected " +
                               std::to_string(size) + " bytes, got " + std::to_string(rest.size()));
    }
    const Bytes buffer = rest.first(size);
    if (Sha256Hex(buffer) != entry[1].get<std::string>()) {
      return Damaged(path, "buffer " + std::to_string(buffers->size()) + " doesn't match its hash");
    }
    buffers->push_back(buffer);
    rest = rest.subspan(size);
  }
  return rest.empty() ? OkStatus() : Damaged(path, "bytes after the last buffer");
}

Result<ParsedFile> Parse(Bytes file, const std::string& path) {
  if (file.size() < kPrefixBytes) return Damaged(path, "shorter than its fixed part");
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.substr(0, 6) != kMagic.substr(0, 6)) return Damaged(path, "not a training checkpoint");
  if (text.substr(0, kMagic.size()) != kMagic) {
    return FailedPreconditionError("training checkpoint '" + path + "': expected format " +
                                   std::string(kMagic) + ", got another; resume with the version " +
                                   "of baleen that wrote it");
  }
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < sizeof(header_bytes); ++i) {
    header_bytes |= static_cast<uint64_t>(static_cast<unsigned char>(text[8 + i])) << 8 * i;
  }
  if (header_bytes > std::min(kHeaderBytesMax, static_cast<uint64_t>(file.size() - kPrefixBytes))) {
    return Damaged(path, "its header is cut off");
  }
  const Bytes header_part = file.subspan(kPrefixBytes, header_bytes);
  if (Sha256Hex(header_part) != text.substr(8 + sizeof(uint64_t), kHashBytes)) {
    return Damaged(path, "its header doesn't match its hash");
  }
  const std::string_view header_text = text.substr(kPrefixBytes, header_bytes);
  const Json header = Json::parse(header_text.begin(), header_text.end(), nullptr, false);
  ParsedFile parsed;
  if (!header.is_object() || !ReadState(header, &parsed.state, &parsed.updates)) {
    return Damaged(path, "its header lacks fields");
  }
  RETURN_IF_ERROR(
      ReadBuffers(header, file.subspan(kPrefixBytes + header_bytes), path, &parsed.buffers));
  return parsed;
}

// Removes what interrupted saves and the limit on checkpoints leave over. A file that can't be
// removed costs space only.
void RemoveSurplus(const std::string& folder, int64_t kept) {
  std::error_code ignored;
  std::vector<int64_t> steps = ListTrainingCheckpoints(folder);
  for (size_t i = 0; i + static_cast<size_t>(kept) < steps.size(); ++i) {
    std::filesystem::remove(TrainingCheckpointPath(folder, steps[i]), ignored);
  }
  std::vector<std::filesystem::path> drafts;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find(std::string(kSuffix) + ".part-") != std::string::npos) {
      drafts.push_back(entry.path());
    }
  }
  for (const auto& draft : drafts) std::filesystem::remove(draft, ignored);
}

}  // namespace

std::string TrainingCheckpointPath(const std::string& folder, int64_t step) {
  char name[48];
  std::snprintf(name, sizeof(name), "/step-%012lld", static_cast<long long>(step));
  return folder + name + std::string(kSuffix);
}

std::vector<int64_t> ListTrainingCheckpoints(const std::string& folder) {
  std::vector<int64_t> steps;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step-") || !name.ends_with(kSuffix)) continue;
    int64_t step = 0;
    const char* end = name.data() + name.size() - kSuffix.size();
    const auto read = std::from_chars(name.data() + 5, end, step);
    if (read.ec == std::errc() && read.ptr == end && step >= 0) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Status SaveTrainingCheckpoint(const std::string& folder, const RunState& state,
                              const ParameterSet& parameters, const Optimiser& optimiser,
                              int64_t kept) {
  RETURN_IF_ERROR(CheckFinite(parameters));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return UnavailableError("cannot create folder '" + folder + "': " + error.message());
  }
  const std::vector<Bytes> buffers = BuffersOf(parameters, optimiser);
  const std::string header = HeaderOf(state, optimiser, buffers);
  const Bytes header_bytes = std::as_bytes(std::span(header.data(), header.size()));
  std::string prefix(kMagic);
  for (size_t i = 0; i < sizeof(uint64_t); ++i) {
    prefix.push_back(static_cast<char>(header.size() >> 8 * i & 0xFF));
  }
  prefix += Sha256Hex(header_bytes);
  std::vector<Bytes> parts = {std::as_bytes(std::span(prefix.data(), prefix.size())), header_bytes};
  parts.insert(parts.end(), buffers.begin(), buffers.end());
  RETURN_IF_ERROR(WriteFileAtomically(TrainingCheckpointPath(folder, state.step), parts));
  RemoveSurplus(folder, kept);
  return OkStatus();
}

Result<RunState> LoadTrainingCheckpoint(const std::string& path, ParameterSet* parameters,
                                        Optimiser* optimiser) {
  ASSIGN_OR_RETURN(const auto file, FileContent::Open(path, WeightAccess::kMapped));
  ASSIGN_OR_RETURN(ParsedFile parsed, Parse(file->bytes(), path));
  const std::vector<Bytes> expected = BuffersOf(*parameters, *optimiser);
  const bool same =
      std::equal(expected.begin(), expected.end(), parsed.buffers.begin(), parsed.buffers.end(),
                 [](Bytes a, Bytes b) { return a.size() == b.size(); });
  if (!same || parsed.updates.size() != parameters->all().size()) {
    return FailedPreconditionError("training checkpoint '" + path +
                                   "': its tensors are those of another model; resume with the "
                                   "config that wrote it");
  }
  size_t at = 0;
  const auto take = [&](auto& values) {
    const Bytes from = parsed.buffers[at++];
    if (!from.empty()) std::memcpy(values.data(), from.data(), from.size());
  };
  for (size_t p = 0; p < parameters->all().size(); ++p) {
    take(parameters->all()[p].value);
    take(optimiser->moments()[p].first);
    take(optimiser->moments()[p].second);
    optimiser->moments()[p].steps = parsed.updates[p];
  }
  for (HashTable& table : parameters->hash_tables()) take(table.experts);
  return std::move(parsed.state);
}

Result<RunState> ParseRunState(std::span<const std::byte> file, const std::string& path) {
  ASSIGN_OR_RETURN(ParsedFile parsed, Parse(file, path));
  return std::move(parsed.state);
}

}  // namespace baleen::training
