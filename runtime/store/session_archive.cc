#include "runtime/store/session_archive.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/store/files.h"
#include "runtime/store/journal.h"
#include "runtime/store/little_endian.h"

namespace baleen {
namespace {

constexpr std::string_view kArchiveMagic = "BLNX";
constexpr size_t kFileHeadBytes = 8;
constexpr size_t kFrameHeadBytes = 1 + 8;
constexpr size_t kSecretBytes = 32;

template <typename T>
T LoadFrom(const char* bytes) {
  return LoadLittle<T>(reinterpret_cast<const std::byte*>(bytes));
}

std::string_view Text(const ArchiveDigest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string FrameHead(ArchiveFrame kind, uint64_t payload_bytes) {
  std::string head(1, static_cast<char>(kind));
  AppendLittle<uint64_t>(head, payload_bytes);
  return head;
}

/// The digest of a frame, chained to the one before.
class FrameHash {
 public:
  explicit FrameHash(const ArchiveDigest& before) : context_(EVP_MD_CTX_new()) {
    good_ = context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1;
    Add(Text(before));
  }
  ~FrameHash() { EVP_MD_CTX_free(context_); }
  FrameHash(const FrameHash&) = delete;
  FrameHash& operator=(const FrameHash&) = delete;

  void Add(std::string_view bytes) {
    good_ = good_ && EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1;
  }
  Result<ArchiveDigest> Take() {
    ArchiveDigest digest{};
    if (!good_ || EVP_DigestFinal_ex(context_, digest.data(), nullptr) != 1) {
      return InternalError("SHA-256 isn't available; check the OpenSSL installation");
    }
    return digest;
  }

 private:
  EVP_MD_CTX* context_;
  bool good_ = false;
};

Result<std::string> Sign(const ArchiveKey& key, const ArchiveDigest& digest) {
  std::string signature(EVP_MAX_MD_SIZE, '\0');
  unsigned int bytes = 0;
  if (HMAC(EVP_sha256(), key.secret.data(), static_cast<int>(key.secret.size()), digest.data(),
           digest.size(), reinterpret_cast<unsigned char*>(signature.data()), &bytes) == nullptr) {
    return InternalError("HMAC-SHA256 isn't available; check the OpenSSL installation");
  }
  signature.resize(bytes);
  return signature;
}

bool IsFrame(uint8_t kind) { return kind <= static_cast<uint8_t>(ArchiveFrame::kCheckpoint); }

}  // namespace

int64_t ArchivePayloadBytesMax(ArchiveFrame kind) {
  constexpr int64_t kJsonAround = 64 << 10;  // Field names, and the escapes of a payload's fields.
  switch (kind) {
    case ArchiveFrame::kEnd: return 8 + 32;
    case ArchiveFrame::kHeader: return 2 * kSettingsBytesMax + kJsonAround;
    case ArchiveFrame::kEvent: return 2 * kEventBytesMax + kJsonAround;
    case ArchiveFrame::kTokens: return 16 << 20;
    case ArchiveFrame::kBlock: return 64 << 20;
    case ArchiveFrame::kCheckpoint: return 256 << 20;
  }
  return 0;
}

Result<ArchiveKey> ArchiveKey::OpenOrMake(const std::string& path) {
  auto found = ReadSmallFile(path, kSecretBytes);
  if (found.ok()) {
    if (found->size() == kSecretBytes) return ArchiveKey{*std::move(found)};
    return DataLossError("'" + path + "' has " + std::to_string(found->size()) +
                         " bytes, expected 32; remove it: archives that it signed are then "
                         "imported as text");
  }
  if (found.status().code() != StatusCode::kNotFound) return std::move(found).status();
  ArchiveKey key{std::string(kSecretBytes, '\0')};
  if (RAND_bytes(reinterpret_cast<unsigned char*>(key.secret.data()), kSecretBytes) != 1) {
    return InternalError("no random bytes for the key of archives");
  }
  RETURN_IF_ERROR(WriteFileDurably(path, key.secret));
  return key;
}

ArchiveWriter::ArchiveWriter(std::string path, std::string temporary, int file, ArchiveKey key)
    : path_(std::move(path)), temporary_(std::move(temporary)), key_(std::move(key)), file_(file) {}

ArchiveWriter::~ArchiveWriter() {
  if (file_ < 0) return;
  close(file_);
  unlink(temporary_.c_str());
}

Result<std::unique_ptr<ArchiveWriter>> ArchiveWriter::Create(const std::string& path,
                                                             ArchiveKey key) {
  if (access(path.c_str(), F_OK) == 0) {
    return AlreadyExistsError("'" + path +
                              "' exists; an export never overwrites: name another file");
  }
  std::string temporary = path + ".partial";
  unlink(temporary.c_str());  // What a killed export left behind; never through a link.
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return FileError(errno, "create", temporary);
  std::unique_ptr<ArchiveWriter> writer(
      new ArchiveWriter(path, std::move(temporary), file, std::move(key)));
  std::string head(kArchiveMagic);
  AppendLittle<uint32_t>(head, kArchiveVersion);
  RETURN_IF_ERROR(writer->Write(head));
  return writer;
}

Status ArchiveWriter::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write", temporary_);
    bytes.remove_prefix(static_cast<size_t>(written));
    bytes_written_ += written;
  }
  return OkStatus();
}

Status ArchiveWriter::Append(ArchiveFrame kind, std::initializer_list<std::string_view> parts) {
  uint64_t bytes = 0;
  for (const std::string_view part : parts) bytes += part.size();
  if (bytes > static_cast<uint64_t>(ArchivePayloadBytesMax(kind))) {
    return InvalidArgumentError("archive '" + path_ + "': a frame of kind " +
                                std::to_string(static_cast<int>(kind)) + " has " +
                                std::to_string(bytes) + " bytes, expected at most " +
                                std::to_string(ArchivePayloadBytesMax(kind)));
  }
  const std::string head = FrameHead(kind, bytes);
  FrameHash hash(digest_);
  hash.Add(head);
  RETURN_IF_ERROR(Write(head));
  for (const std::string_view part : parts) {
    hash.Add(part);
    RETURN_IF_ERROR(Write(part));
  }
  ASSIGN_OR_RETURN(digest_, hash.Take());
  ++frames_;
  return Write(Text(digest_));
}

Status ArchiveWriter::Finish() {
  std::string frames;
  AppendLittle<uint64_t>(frames, frames_);
  ASSIGN_OR_RETURN(const std::string signature, Sign(key_, digest_));
  RETURN_IF_ERROR(Append(ArchiveFrame::kEnd, {frames, signature}));
  if (fdatasync(file_) != 0) return FileError(errno, "sync", temporary_);
  // Not rename: a file that came to be there meanwhile must stay.
  if (link(temporary_.c_str(), path_.c_str()) != 0) {
    if (errno == EEXIST) return AlreadyExistsError("'" + path_ + "' came to exist meanwhile");
    return FileError(errno, "name", path_);
  }
  close(file_);
  file_ = -1;
  unlink(temporary_.c_str());
  return SyncDirectory(DirectoryOf(path_));
}

ArchiveReader::ArchiveReader(std::string path, int file, int64_t size)
    : path_(std::move(path)), file_(file), size_(size) {}

ArchiveReader::~ArchiveReader() { close(file_); }

Status ArchiveReader::Damaged(const std::string& what) const {
  return DataLossError("archive '" + path_ + "', byte " + std::to_string(offset_) + ": " + what +
                       "; nothing of it was imported: export the session again");
}

Status ArchiveReader::Read(char* out, size_t count, std::string_view field) {
  if (static_cast<int64_t>(count) > size_ - offset_) {
    return Damaged(std::string(field) + " needs " + std::to_string(count) + " bytes, " +
                   std::to_string(size_ - offset_) + " are left");
  }
  while (count > 0) {
    const ssize_t got = pread(file_, out, count, offset_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, "read", path_);
    if (got == 0) return Damaged("the file became shorter while it was read");
    out += got;
    count -= static_cast<size_t>(got);
    offset_ += got;
  }
  return OkStatus();
}

Result<std::unique_ptr<ArchiveReader>> ArchiveReader::Open(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return FileError(errno, "open", path);
  struct stat status = {};
  const bool regular = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  std::unique_ptr<ArchiveReader> reader(new ArchiveReader(path, file, status.st_size));
  if (!regular) return InvalidArgumentError("'" + path + "' is not a regular file");
  char head[kFileHeadBytes];
  RETURN_IF_ERROR(reader->Read(head, sizeof(head), "the file's head"));
  if (std::string_view(head, kArchiveMagic.size()) != kArchiveMagic) {
    return DataLossError("'" + path + "' is not a session archive (no BLNX at its start)");
  }
  if (const auto version = LoadFrom<uint32_t>(head + 4); version != kArchiveVersion) {
    return FailedPreconditionError("'" + path + "' has archive version " + std::to_string(version) +
                                   ", this build reads " + std::to_string(kArchiveVersion) +
                                   "; use a newer build");
  }
  return reader;
}

Result<ArchiveRecord> ArchiveReader::Next() {
  if (ended_) return Damaged("read beyond the end");
  char head[kFrameHeadBytes];
  RETURN_IF_ERROR(Read(head, sizeof(head), "a frame's head"));
  const auto kind = static_cast<uint8_t>(head[0]);
  const auto bytes = LoadFrom<uint64_t>(head + 1);
  if (!IsFrame(kind)) return Damaged("unknown frame kind " + std::to_string(kind));
  ArchiveRecord record{static_cast<ArchiveFrame>(kind), {}};
  if ((record.kind == ArchiveFrame::kHeader) != (frames_ == 0)) {
    return Damaged("the header must be the first frame, and only that");
  }
  const auto most = static_cast<uint64_t>(ArchivePayloadBytesMax(record.kind));
  const auto left = static_cast<uint64_t>(size_ - offset_);
  if (bytes > most || bytes + sizeof(ArchiveDigest) > left) {
    return Damaged("a frame of kind " + std::to_string(kind) + " says " + std::to_string(bytes) +
                   " bytes, expected at most " + std::to_string(most) + ", and " +
                   std::to_string(left) + " are left in the file");
  }
  record.payload.resize(bytes);
  RETURN_IF_ERROR(Read(record.payload.data(), bytes, "a payload"));
  FrameHash hash(frames_ == 0 ? ArchiveDigest{} : digests_[frames_ - 1]);
  hash.Add(std::string_view(head, sizeof(head)));
  hash.Add(record.payload);
  ASSIGN_OR_RETURN(const ArchiveDigest computed, hash.Take());
  RETURN_IF_ERROR(CheckDigest(computed));
  if (record.kind == ArchiveFrame::kEnd) {
    RETURN_IF_ERROR(CheckEnd(record.payload));
    ended_ = true;
    signature_ = record.payload.substr(8);
  }
  ++frames_;
  return record;
}

Status ArchiveReader::CheckDigest(const ArchiveDigest& computed) {
  ArchiveDigest stored{};
  RETURN_IF_ERROR(Read(reinterpret_cast<char*>(stored.data()), stored.size(), "a digest"));
  if (stored != computed) return Damaged("a frame's digest differs");
  if (frames_ == digests_.size()) {
    digests_.push_back(computed);
  } else if (digests_[frames_] != computed) {
    return Damaged("the file changed while it was read");
  }
  return OkStatus();
}

Status ArchiveReader::CheckEnd(const std::string& payload) const {
  if (payload.size() != static_cast<size_t>(ArchivePayloadBytesMax(ArchiveFrame::kEnd)) ||
      LoadFrom<uint64_t>(payload.data()) != frames_) {
    return Damaged("the end counts other frames than were read");
  }
  if (offset_ != size_) return Damaged("bytes follow the end");
  return OkStatus();
}

bool ArchiveReader::SignedBy(const ArchiveKey& key) const {
  if (!ended_ || digests_.size() < 2) return false;
  const auto expected = Sign(key, digests_[digests_.size() - 2]);
  return expected.ok() && expected->size() == signature_.size() &&
         CRYPTO_memcmp(expected->data(), signature_.data(), signature_.size()) == 0;
}

Status ArchiveReader::Rewind() {
  if (!ended_) return FailedPreconditionError("an archive is rewound after it was read to its end");
  ended_ = false;
  frames_ = 0;
  offset_ = kFileHeadBytes;
  return OkStatus();
}

}  // namespace baleen
