#include "runtime/store/session_archive.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

const ArchiveKey kKey{std::string(32, 'k')};

std::string ReadFile(const std::string& path) {
  std::stringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  return bytes.str();
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Header, two events, tokens, block, checkpoint, end.
std::string WriteSample(const std::string& path) {
  auto writer = Must(ArchiveWriter::Create(path, kKey));
  REQUIRE_OK(writer->Append(ArchiveFrame::kHeader, {R"({"session":)", R"("first"})"}));
  REQUIRE_OK(writer->Append(ArchiveFrame::kEvent, {R"({"seq":1})"}));
  REQUIRE_OK(writer->Append(ArchiveFrame::kEvent, {R"({"seq":2})"}));
  REQUIRE_OK(writer->Append(ArchiveFrame::kTokens, {"tokens"}));
  REQUIRE_OK(writer->Append(ArchiveFrame::kBlock, {std::string(300, 'b'), "rest"}));
  REQUIRE_OK(writer->Append(ArchiveFrame::kCheckpoint, {""}));
  REQUIRE_OK(writer->Finish());
  return ReadFile(path);
}

/// The first error, or OK when the file reads to its end.
Status ReadAll(const std::string& path, std::vector<ArchiveRecord>* records = nullptr) {
  auto reader = ArchiveReader::Open(path);
  if (!reader.ok()) return std::move(reader).status();
  while (true) {
    auto record = (*reader)->Next();
    if (!record.ok()) return std::move(record).status();
    const bool end = record->kind == ArchiveFrame::kEnd;
    if (records != nullptr) records->push_back(std::move(record).value());
    if (end) return OkStatus();
  }
}

/// Byte offsets at which frames begin, the end of the file last.
std::vector<size_t> FrameBegins(const std::string& bytes) {
  std::vector<size_t> begins;
  for (size_t at = 8; at < bytes.size();) {
    begins.push_back(at);
    uint64_t payload = 0;
    memcpy(&payload, bytes.data() + at + 1, sizeof(payload));
    at += 1 + 8 + payload + sizeof(ArchiveDigest);
  }
  begins.push_back(bytes.size());
  return begins;
}

}  // namespace

TEST_CASE("ArchiveGivesBackItsFramesInOrder") {
  const TempDirectory folder;
  const std::string path = folder.path() + "/a.baleen";
  WriteSample(path);
  std::vector<ArchiveRecord> records;
  REQUIRE_OK(ReadAll(path, &records));
  REQUIRE(records.size() == 7);
  REQUIRE(records[0].payload == R"({"session":"first"})");
  REQUIRE(records[2].payload == R"({"seq":2})");
  REQUIRE(records[4].kind == ArchiveFrame::kBlock);
  REQUIRE(records[4].payload == std::string(300, 'b') + "rest");
  REQUIRE(records[5].payload.empty());
  REQUIRE(records[6].kind == ArchiveFrame::kEnd);
  struct stat status = {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  REQUIRE((status.st_mode & 0777) == 0600);
}

TEST_CASE("ArchiveDetectsEveryFlippedBitTruncationAndExtraByte") {
  const TempDirectory folder;
  std::string bytes = WriteSample(folder.path() + "/a.baleen");
  const std::string path = folder.path() + "/damaged.baleen";
  for (size_t at = 0; at < bytes.size(); ++at) {
    const char flipped = static_cast<char>(1 << (at % 8));
    bytes[at] ^= flipped;
    WriteFile(path, bytes);
    if (ReadAll(path).ok()) FAIL("flip at byte " << at << " passed");
    bytes[at] ^= flipped;
    WriteFile(path, bytes.substr(0, at));
    if (ReadAll(path).code() != StatusCode::kDataLoss) FAIL("cut to " << at << " bytes passed");
  }
  WriteFile(path, bytes + "x");
  REQUIRE_ERROR(ReadAll(path), StatusCode::kDataLoss, "bytes follow the end");
}

TEST_CASE("ArchiveDetectsFramesThatWereDroppedOrSwapped") {
  const TempDirectory folder;
  const std::string bytes = WriteSample(folder.path() + "/a.baleen");
  const auto begins = FrameBegins(bytes);
  const auto frame = [&](size_t i) { return bytes.substr(begins[i], begins[i + 1] - begins[i]); };
  const std::string path = folder.path() + "/edited.baleen";
  std::string dropped = bytes.substr(0, begins[1]);
  for (size_t i = 2; i + 1 < begins.size(); ++i) dropped += frame(i);
  WriteFile(path, dropped);
  REQUIRE_ERROR(ReadAll(path), StatusCode::kDataLoss, "digest differs");
  std::string swapped = bytes.substr(0, begins[1]) + frame(2) + frame(1);
  for (size_t i = 3; i + 1 < begins.size(); ++i) swapped += frame(i);
  WriteFile(path, swapped);
  REQUIRE_ERROR(ReadAll(path), StatusCode::kDataLoss, "digest differs");
  WriteFile(path, bytes.substr(0, 8) + frame(1));
  REQUIRE_ERROR(ReadAll(path), StatusCode::kDataLoss, "header must be the first");
}

TEST_CASE("ArchiveRefusesLengthsThatLieWithoutAllocatingThem") {
  const TempDirectory folder;
  std::string bytes = WriteSample(folder.path() + "/a.baleen");
  const std::string path = folder.path() + "/lies.baleen";
  for (const uint64_t lie :
       {uint64_t{1} << 20, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{0} - 31}) {
    memcpy(bytes.data() + 8 + 1, &lie, sizeof(lie));
    WriteFile(path, bytes);
    REQUIRE_ERROR(ReadAll(path), StatusCode::kDataLoss, "bytes");
  }
}

TEST_CASE("ArchiveNamesWhatIsNotAnArchive") {
  const TempDirectory folder;
  const std::string path = folder.path() + "/other";
  REQUIRE_ERROR(ReadAll(path), StatusCode::kNotFound, path);
  WriteFile(path, "PK plainly something else");
  REQUIRE_ERROR(ReadAll(path), StatusCode::kDataLoss, "not a session archive");
  WriteFile(path, std::string("BLNX\x02\0\0\0", 8));
  REQUIRE_ERROR(ReadAll(path), StatusCode::kFailedPrecondition, "newer build");
  REQUIRE_ERROR(ReadAll(folder.path()), StatusCode::kInvalidArgument, "regular file");
  REQUIRE(mkfifo((folder.path() + "/fifo").c_str(), 0600) == 0);
  REQUIRE_ERROR(ReadAll(folder.path() + "/fifo"), StatusCode::kInvalidArgument, "regular file");
}

TEST_CASE("ArchiveIsWholeOrAbsentAndNeverOverwrites") {
  const TempDirectory folder;
  const std::string path = folder.path() + "/a.baleen";
  {
    auto writer = Must(ArchiveWriter::Create(path, kKey));
    REQUIRE_OK(writer->Append(ArchiveFrame::kHeader, {"{}"}));
    REQUIRE(access(path.c_str(), F_OK) != 0);
  }
  REQUIRE(access((path + ".partial").c_str(), F_OK) != 0);
  WriteFile(path + ".partial", "left by a killed export");
  const std::string bytes = WriteSample(path);
  REQUIRE_ERROR(ArchiveWriter::Create(path, kKey).status(), StatusCode::kAlreadyExists, path);
  REQUIRE(ReadFile(path) == bytes);
  REQUIRE(access((path + ".partial").c_str(), F_OK) != 0);
}

TEST_CASE("ArchiveRefusesPayloadsBeyondTheLimitOfTheirKind") {
  const TempDirectory folder;
  auto writer = Must(ArchiveWriter::Create(folder.path() + "/a.baleen", kKey));
  const std::string big(static_cast<size_t>(ArchivePayloadBytesMax(ArchiveFrame::kTokens)) + 1,
                        't');
  REQUIRE_ERROR(writer->Append(ArchiveFrame::kTokens, {big}), StatusCode::kInvalidArgument,
                "at most");
}

TEST_CASE("ArchiveTellsWhoSignedIt") {
  const TempDirectory folder;
  const std::string path = folder.path() + "/a.baleen";
  WriteSample(path);
  const auto reader = Must(ArchiveReader::Open(path));
  while (Must(reader->Next()).kind != ArchiveFrame::kEnd) REQUIRE_FALSE(reader->SignedBy(kKey));
  REQUIRE(reader->SignedBy(kKey));
  REQUIRE_FALSE(reader->SignedBy({std::string(32, 'x')}));
  REQUIRE_FALSE(reader->SignedBy({""}));
}

TEST_CASE("ArchiveDetectsAFileThatChangesBetweenTwoReadings") {
  const TempDirectory folder;
  const std::string path = folder.path() + "/a.baleen";
  WriteSample(path);
  const auto reader = Must(ArchiveReader::Open(path));
  REQUIRE_ERROR(reader->Rewind(), StatusCode::kFailedPrecondition, "read to its end");
  while (Must(reader->Next()).kind != ArchiveFrame::kEnd) continue;
  REQUIRE_OK(reader->Rewind());
  REQUIRE(Must(reader->Next()).payload == R"({"session":"first"})");
  // A whole, well-formed archive of the same length in its place: only the first reading tells.
  const std::string other = folder.path() + "/b.baleen";
  auto writer = Must(ArchiveWriter::Create(other, kKey));
  REQUIRE_OK(writer->Append(ArchiveFrame::kHeader, {R"({"session":"other"})"}));
  REQUIRE_OK(writer->Append(ArchiveFrame::kEvent, {R"({"seq":7})"}));
  REQUIRE_OK(writer->Finish());
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << ReadFile(other);
  REQUIRE_ERROR(reader->Next().status(), StatusCode::kDataLoss, "differs");
}

TEST_CASE("ArchiveKeyIsMadeOnceAndPrivate") {
  const TempDirectory folder;
  const std::string path = folder.path() + "/archive.key";
  const ArchiveKey made = Must(ArchiveKey::OpenOrMake(path));
  REQUIRE(made.secret.size() == 32);
  REQUIRE(Must(ArchiveKey::OpenOrMake(path)).secret == made.secret);
  struct stat status = {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  REQUIRE((status.st_mode & 0777) == 0600);
  WriteFile(path, "short");
  REQUIRE_ERROR(ArchiveKey::OpenOrMake(path), StatusCode::kDataLoss, "expected 32");
}

}  // namespace baleen
