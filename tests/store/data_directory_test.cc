#include "runtime/store/data_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/store/status_checks.h"
#include "tests/testing/child.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

void WriteText(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

TEST_CASE("DataDirectoryIsCreatedPrivateAndReopened") {
  const TempDirectory temp;
  const std::string path = temp.File("home");
  for (int round = 0; round < 2; ++round) {
    const auto directory = Must(DataDirectory::Open(path));
    REQUIRE(directory->journal_path() == path + "/journal.db");
    REQUIRE(directory->kv_path() == path + "/kv");
    struct stat entry = {};
    REQUIRE(stat(path.c_str(), &entry) == 0);
    REQUIRE((entry.st_mode & 0777) == 0700);
  }
}

TEST_CASE("DataDirectoryRefusesSecondProcessAndNamesTheHolder") {
  const TempDirectory temp;
  const std::string path = temp.File("home");
  Child holder({STORE_WRITER, "hold", path});
  REQUIRE(holder.ReadLine() == "held");
  const auto refused = DataDirectory::Open(path);
  REQUIRE_ERROR(refused, StatusCode::kFailedPrecondition,
                "in use by process " + std::to_string(holder.pid()));
  REQUIRE(refused.status().reason() == "LOCKED");
  // The lock dies with its process, however it dies.
  holder.Kill();
  holder.Wait();
  const auto directory = Must(DataDirectory::Open(path));
  // And within one process.
  REQUIRE_ERROR(DataDirectory::Open(path), StatusCode::kFailedPrecondition,
                std::to_string(getpid()));
}

TEST_CASE("DataDirectoryRefusesUnsafeAndWrongPaths") {
  const TempDirectory temp;
  const std::string path = temp.File("home");
  REQUIRE(mkdir(path.c_str(), 0700) == 0);
  for (const mode_t mode : {0770, 0702, 0777}) {
    REQUIRE(chmod(path.c_str(), mode) == 0);
    REQUIRE_ERROR(DataDirectory::Open(path), StatusCode::kPermissionDenied, "chmod 700");
  }
  REQUIRE(chmod(path.c_str(), 0755) == 0);
  REQUIRE_OK(DataDirectory::Open(path));
  if (geteuid() == 0) {
    REQUIRE(chown(path.c_str(), 12345, 12345) == 0);
    REQUIRE_ERROR(DataDirectory::Open(path), StatusCode::kPermissionDenied,
                  "belongs to user 12345");
  } else {
    WARN("SKIPPED: a foreign owner needs root");
  }
  REQUIRE_ERROR(DataDirectory::Open(""), StatusCode::kInvalidArgument, "empty");
  REQUIRE_ERROR(DataDirectory::Open(temp.File("no/home")), StatusCode::kNotFound, "no/home");
  WriteText(temp.File("file"), "x");
  REQUIRE_ERROR(DataDirectory::Open(temp.File("file")), StatusCode::kInvalidArgument,
                "not a directory");
}

TEST_CASE("DataDirectoryRefusesNewerAndDamagedVersion") {
  const TempDirectory temp;
  const std::string path = temp.File("home");
  REQUIRE_OK(DataDirectory::Open(path));
  WriteText(path + "/VERSION", "2\n");
  REQUIRE_ERROR(DataDirectory::Open(path), StatusCode::kFailedPrecondition, "has version 2");
  for (const std::string text : {"", "x\n", "1", "1\n1\n", "0\n", "-1\n", "99999999999\n"}) {
    WriteText(path + "/VERSION", text);
    CAPTURE(text);
    REQUIRE_ERROR(DataDirectory::Open(path), StatusCode::kDataLoss, "VERSION");
  }
  WriteText(path + "/VERSION", "1\n");
  REQUIRE_OK(DataDirectory::Open(path));
}

}  // namespace baleen
