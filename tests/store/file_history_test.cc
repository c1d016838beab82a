// The history of files as earlier versions left it.
#include "runtime/store/file_history.h"

#include <catch2/catch.hpp>

#include "runtime/store/sqlite.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

// As version 1 made it; its files have no modes that changes give.
constexpr const char* kVersion1 = R"sql(
PRAGMA journal_mode = WAL;
CREATE TABLE contents(key INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE,
  size INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE TABLE changes(key INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL,
  created_ms INTEGER NOT NULL, timeline INTEGER NOT NULL, seq INTEGER NOT NULL,
  restore INTEGER NOT NULL, settled INTEGER NOT NULL, path TEXT NOT NULL, mode INTEGER NOT NULL,
  before TEXT NOT NULL, after TEXT NOT NULL) STRICT;
CREATE INDEX changes_by_session ON changes(session, created_ms);
CREATE INDEX changes_by_before ON changes(before);
INSERT INTO changes VALUES(7, 's', 1, 1, 3, 0, 1, 'a.txt', 420, 'old', 'new');
PRAGMA application_id = 1111575622;
)sql";

std::string MadeBy(const TempDirectory& temp, int version) {
  temp.Write("files", "");
  const auto database = Must(Sqlite::Open({.path = temp.File("files")}));
  REQUIRE_OK(database->Exec(kVersion1));
  const std::string numbered = "PRAGMA user_version = " + std::to_string(version);
  REQUIRE_OK(database->Exec(numbered.c_str()));
  return temp.File("files");
}

TEST_CASE("AHistoryOfVersion1IsUnderstoodAndGoesOn") {
  const TempDirectory temp;
  const std::string path = MadeBy(temp, 1);
  for (int opened = 0; opened < 2; ++opened) {
    FileHistory history(path, 1 << 20);
    auto changes = Must(history.ChangesAfter({"s", 1}, 0));
    REQUIRE(changes.size() == static_cast<size_t>(1 + opened));
    CHECK(changes[0].path == "a.txt");
    CHECK(changes[0].mode == 0644);
    CHECK(changes[0].new_mode == 0);
    CHECK(changes[0].settled);
    changes[0].new_mode = 0755;
    REQUIRE_OK(history.Begin({"s", 1}, {1, 4}, changes[0], "old", 0));
    CHECK(Must(history.ChangesAfter({"s", 1}, 7)).back().new_mode == 0755);
    CHECK(history.Notes().empty());
  }
}

TEST_CASE("AHistoryOfANewerVersionIsLeftAlone") {
  const TempDirectory temp;
  FileHistory history(MadeBy(temp, 3), 1 << 20);
  REQUIRE_ERROR(history.ChangesAfter({"s", 1}, 0), StatusCode::kFailedPrecondition, "newer build");
}

}  // namespace
}  // namespace baleen
