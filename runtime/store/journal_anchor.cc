#include "runtime/store/journal_anchor.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/store/files.h"
#include "runtime/store/little_endian.h"
#include "tools_sdk/file_descriptor.h"

namespace baleen {
namespace {

constexpr std::string_view kAnchorMagic = "BALNANC2";
constexpr std::string_view kAnchorMagic1 = "BALNANC1";  ///< Knew no numbers: 16 bytes less.
constexpr size_t kAnchorBytes1 = 72;
constexpr uint32_t kHoldsLog = 1;
constexpr uint32_t kLogEmptied = 2;
constexpr uint32_t kLogBeingCopied = 3;
/// Restarts of a log that an anchor left behind by a power cut may be older than it.
constexpr uint32_t kRestartsMax = 1 << 20;

constexpr size_t kLogHeaderBytes = 32;
constexpr size_t kFrameHeaderBytes = 24;
/// The low bit tells the byte order that the checksums were computed in.
constexpr uint32_t kLogMagic = 0x377f0682;
constexpr uint32_t kLogVersion = 3007000;

std::string AnchorPath(const std::string& path) { return path + "-anchor"; }

uint32_t LoadBig(const std::byte* in) {
  return static_cast<uint32_t>(in[0]) << 24 | static_cast<uint32_t>(in[1]) << 16 |
         static_cast<uint32_t>(in[2]) << 8 | static_cast<uint32_t>(in[3]);
}

/// The running checksum of a log: over pairs of 32-bit words.
struct LogChecksum {
  bool big_endian = false;
  uint32_t first = 0;
  uint32_t second = 0;

  void Add(std::span<const std::byte> bytes) {
    const auto word = [&](size_t at) {
      return big_endian ? LoadBig(&bytes[at]) : LoadLittle<uint32_t>(&bytes[at]);
    };
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first += word(at) + second;
      second += word(at + 4) + first;
    }
  }
  bool Matches(const std::byte* stored) const {
    return first == LoadBig(stored) && second == LoadBig(stored + 4);
  }
};

Status Behind(const std::string& path, const std::string& what) {
  return DataLossError(
      "journal '" + path + "' has lost what it had acknowledged: " + what +
          "; restore the data directory from a backup, or keep a copy of it and open the earlier "
          "state that is left with --accept-earlier-journal",
      "JOURNAL_BEHIND");
}

Status AnchorError(int code, const std::string& path, const char* operation) {
  return InternalError(std::string("cannot ") + operation + " '" + AnchorPath(path) +
                           "' of journal '" + path + "': " + sqlite3_errstr(code) +
                           "; check the disk, then reopen",
                       "DISK_ERROR");
}

}  // namespace

std::string EncodeAnchor(const AnchorRecord& record) {
  std::array<std::byte, kAnchorBytes> bytes{};
  std::memcpy(bytes.data(), kAnchorMagic.data(), kAnchorMagic.size());
  StoreLittle(record.emptied   ? kLogEmptied
              : record.copying ? kLogBeingCopied
                               : kHoldsLog,
              &bytes[8]);
  StoreLittle(record.salts.first, &bytes[12]);
  StoreLittle(record.salts.second, &bytes[16]);
  StoreLittle(record.frames, &bytes[24]);
  StoreLittle(record.commits, &bytes[32]);
  StoreLittle(record.synced_frames, &bytes[40]);
  StoreLittle(record.synced_commits, &bytes[48]);
  StoreLittle(record.boot, &bytes[56]);
  StoreLittle(record.number, &bytes[64]);
  StoreLittle(record.synced_number, &bytes[72]);
  constexpr size_t kChecksumAt = kAnchorBytes - 8;
  StoreLittle<uint64_t>(XXH3_64bits(bytes.data(), kChecksumAt), &bytes[kChecksumAt]);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<AnchorRecord> DecodeAnchor(std::string_view text) {
  const bool current = text.size() == kAnchorBytes && text.starts_with(kAnchorMagic);
  const bool older = text.size() == kAnchorBytes1 && text.starts_with(kAnchorMagic1);
  if (!current && !older) return std::nullopt;
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  const size_t checksum_at = text.size() - 8;
  if (XXH3_64bits(bytes, checksum_at) != LoadLittle<uint64_t>(bytes + checksum_at)) {
    return std::nullopt;
  }
  AnchorRecord record;
  const auto state = LoadLittle<uint32_t>(bytes + 8);
  record.emptied = state == kLogEmptied;
  record.copying = state == kLogBeingCopied;
  record.salts = {LoadLittle<uint32_t>(bytes + 12), LoadLittle<uint32_t>(bytes + 16)};
  record.frames = LoadLittle<int64_t>(bytes + 24);
  record.commits = LoadLittle<int64_t>(bytes + 32);
  record.synced_frames = LoadLittle<int64_t>(bytes + 40);
  record.synced_commits = LoadLittle<int64_t>(bytes + 48);
  record.boot = LoadLittle<uint64_t>(bytes + 56);
  if (current) {
    record.number = LoadLittle<int64_t>(bytes + 64);
    record.synced_number = LoadLittle<int64_t>(bytes + 72);
  }
  const bool sane = (record.emptied || record.copying || state == kHoldsLog) &&
                    record.synced_frames >= 0 && record.synced_frames <= record.frames &&
                    record.synced_commits >= 0 && record.synced_commits <= record.commits &&
                    record.synced_number >= 0 && record.synced_number <= record.number;
  return sane ? std::optional(record) : std::nullopt;
}

LogExtent WalkLog(const LogReader& read) {
  LogExtent log;
  std::array<std::byte, kLogHeaderBytes> header{};
  if (read(0, header) != header.size()) return log;
  const uint32_t magic = LoadBig(header.data());
  const uint32_t page_bytes = LoadBig(&header[8]);
  const bool sane = (magic & ~1U) == kLogMagic && LoadBig(&header[4]) == kLogVersion &&
                    page_bytes >= 512 && page_bytes <= 65536 &&
                    (page_bytes & (page_bytes - 1)) == 0;
  LogChecksum checksum{.big_endian = (magic & 1) != 0};
  checksum.Add(std::span(header).first(24));
  if (!sane || !checksum.Matches(&header[24])) return log;
  log.header = true;
  log.salts = {LoadBig(&header[16]), LoadBig(&header[20])};
  std::vector<std::byte> frame(kFrameHeaderBytes + page_bytes);
  for (int64_t number = 1;; ++number) {
    const int64_t offset =
        static_cast<int64_t>(kLogHeaderBytes) + (number - 1) * static_cast<int64_t>(frame.size());
    if (read(offset, frame) != frame.size()) return log;
    checksum.Add(std::span(frame).first(8));
    checksum.Add(std::span(frame).subspan(kFrameHeaderBytes));
    const bool whole = LoadBig(frame.data()) != 0 && LoadBig(&frame[8]) == log.salts.first &&
                       LoadBig(&frame[12]) == log.salts.second && checksum.Matches(&frame[16]);
    if (!whole) return log;
    if (LoadBig(&frame[4]) == 0) continue;  // not the last frame of its commit
    log.frames = number;
    ++log.commits;
  }
}

Result<LogExtent> WalkLogFile(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) return LogExtent();
  if (file.get() < 0) return FileError(errno, "open", path);
  int error = 0;
  const LogExtent log = WalkLog([&](int64_t offset, std::span<std::byte> out) {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = pread(file.get(), out.data() + done, out.size() - done,
                                offset + static_cast<int64_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) error = errno;
      if (got <= 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  });
  if (error != 0) return FileError(error, "read", path);
  return log;
}

Status CheckLog(const AnchorRecord& record, const LogExtent& log, bool same_boot,
                const std::string& path) {
  const bool same_log = log.header && log.salts == record.salts;
  if (record.emptied) {
    // What is left of an emptied log is in the file already; half of it would hide newer pages.
    if (!same_log || log.frames == 0 || log.frames >= record.frames) return OkStatus();
    return Behind(path, "its log '" + path + "-wal' is cut at page " + std::to_string(log.frames) +
                            " of " + std::to_string(record.frames));
  }
  const int64_t frames = same_boot ? record.frames : record.synced_frames;
  const int64_t commits = same_boot ? record.commits : record.synced_commits;
  if (frames == 0 || (same_log && log.frames >= frames)) return OkStatus();
  // A log is begun anew only once all of it is in the file, and then gets the next salt.
  const uint32_t restarts = log.salts.first - record.salts.first;
  if (log.header && !same_log && restarts >= 1 && restarts < kRestartsMax) return OkStatus();
  const int64_t left = same_log ? log.commits : 0;
  return Behind(path, "its log '" + path + "-wal' is damaged, cut or missing, and holds " +
                          std::to_string(left) + " of " + std::to_string(commits) +
                          " commits that were not yet in the file");
}

std::optional<int64_t> NumberWithoutLog(const AnchorRecord& record, const LogExtent& log,
                                        bool same_boot) {
  const int64_t number = same_boot ? record.number : record.synced_number;
  // A copy that was cut short may have brought the newest commit's stamp and not all of its pages.
  if (number == 0 || record.emptied || record.copying || log.header) return std::nullopt;
  return number;
}

uint64_t BootHash(const std::string& boot_id) {
  std::string name = boot_id;
  if (name.empty()) {
    const auto text = ReadSmallFile("/proc/sys/kernel/random/boot_id", 256);
    if (text.ok()) name = *text;
  }
  // 0, where it can't be known, never equals the one of a run: then only synced commits count.
  return name.empty() ? 0 : XXH3_64bits(name.data(), name.size()) | 1;
}

/// Opened through SQLite's VFS, so that what makes a disk fail there does so here.
struct JournalAnchor::File {
  std::string name;  ///< Borrowed by the VFS while open.
  std::unique_ptr<std::byte[]> memory;
  sqlite3_file* file = nullptr;

  ~File() {
    if (file != nullptr && file->pMethods != nullptr) file->pMethods->xClose(file);
  }
};

JournalAnchor::JournalAnchor(std::unique_ptr<File> file, std::string path, uint64_t boot)
    : file_(std::move(file)), path_(std::move(path)), boot_(boot) {}
JournalAnchor::~JournalAnchor() = default;

Result<std::optional<AnchorRecord>> JournalAnchor::Read(const std::string& path, bool* damaged) {
  *damaged = false;
  const auto text = ReadSmallFile(AnchorPath(path), kAnchorBytes);
  if (text.status().code() == StatusCode::kNotFound) return std::optional<AnchorRecord>();
  if (!text.ok() && text.status().code() != StatusCode::kOutOfRange) return text.status();
  const auto record = text.ok() ? DecodeAnchor(*text) : std::nullopt;
  // Empty: the process ended between making and writing it.
  *damaged = !record.has_value() && !(text.ok() && text->empty());
  return record;
}

Result<std::unique_ptr<JournalAnchor>> JournalAnchor::Open(const std::string& path,
                                                           const std::string& vfs, uint64_t boot) {
  RETURN_IF_ERROR(EnsureFile(AnchorPath(path)));
  sqlite3_vfs* const system = sqlite3_vfs_find(vfs.empty() ? nullptr : vfs.c_str());
  if (system == nullptr) return InvalidArgumentError("no SQLite VFS '" + vfs + "' is registered");
  auto file = std::make_unique<File>();
  file->name = AnchorPath(path);
  file->name.push_back('\0');  // where SQLite would have parameters of the name
  file->memory = std::make_unique<std::byte[]>(static_cast<size_t>(system->szOsFile));
  file->file = reinterpret_cast<sqlite3_file*>(file->memory.get());
  int flags = 0;
  const int rc = system->xOpen(system, file->name.c_str(), file->file,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_SUPER_JOURNAL, &flags);
  if (rc != SQLITE_OK) return AnchorError(rc, path, "open");
  std::unique_ptr<JournalAnchor> anchor(new JournalAnchor(std::move(file), path, boot));
  if (!anchor->Load().has_value()) {
    AnchorRecord fresh;
    fresh.emptied = true;
    fresh.boot = boot;
    RETURN_IF_ERROR(anchor->Store(fresh));
  }
  return anchor;
}

std::optional<AnchorRecord> JournalAnchor::Load() {
  std::string text(kAnchorBytes, '\0');
  const int rc = file_->file->pMethods->xRead(file_->file, text.data(), kAnchorBytes, 0);
  if (rc == SQLITE_IOERR_SHORT_READ && text.starts_with(kAnchorMagic1)) text.resize(kAnchorBytes1);
  return rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ ? DecodeAnchor(text) : std::nullopt;
}

Status JournalAnchor::Store(const AnchorRecord& record) {
  const std::string text = EncodeAnchor(record);
  const int rc = file_->file->pMethods->xWrite(file_->file, text.data(), kAnchorBytes, 0);
  return rc == SQLITE_OK ? OkStatus() : AnchorError(rc, path_, "write");
}

int64_t JournalAnchor::number() { return Load().value_or(AnchorRecord()).number; }

void JournalAnchor::Committed(int64_t frames, LogSalts salts, int64_t number,
                              Durability durability) {
  AnchorRecord record = Load().value_or(AnchorRecord());
  // A log begun anew: what was in it before is in the file. After a power cut what a run that is
  // over handed to the kernel no longer counts either.
  if (record.emptied || record.salts != salts) record = {};
  record.salts = salts;
  record.boot = boot_;
  record.frames = frames;
  ++record.commits;
  record.number = number;
  if (durability == Durability::kSynced) {
    record.synced_frames = record.frames;
    record.synced_commits = record.commits;
    record.synced_number = record.number;
  }
  Store(record).IgnoreError("the commit is done; the anchor vouches for less until the next one");
}

void JournalAnchor::Synced() {
  auto record = Load();
  if (!record.has_value() || record->emptied) return;
  record->synced_frames = record->frames;
  record->synced_commits = record->commits;
  record->synced_number = record->number;
  Store(*record).IgnoreError("as above");
}

void JournalAnchor::SyncFailed() {
  auto record = Load();
  if (!record.has_value() || record->emptied) return;
  record->frames = record->synced_frames;
  record->commits = record->synced_commits;
  record->number = record->synced_number;
  Store(*record).IgnoreError("the first error is reported");
}

Status JournalAnchor::Copying(bool now) {
  auto record = Load();
  if (!record.has_value() || record->emptied || record->copying == now) return OkStatus();
  record->copying = now;
  return Store(*record);
}

Status JournalAnchor::Emptied(int64_t frames, LogSalts salts) {
  const auto before = Load();
  AnchorRecord record;
  record.emptied = true;
  record.salts = salts;
  record.frames = record.synced_frames = frames;
  record.boot = boot_;
  if (before.has_value() && before->emptied && (frames == 0 || *before == record)) {
    return OkStatus();
  }
  RETURN_IF_ERROR(Store(record));
  const int rc = file_->file->pMethods->xSync(file_->file, SQLITE_SYNC_NORMAL);
  return rc == SQLITE_OK ? OkStatus() : AnchorError(rc, path_, "sync");
}

}  // namespace baleen
