// Journals that are damaged, foreign, locked, or on a full disk.
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/store/journal_files.h"
#include "tests/store/small_disk.h"

namespace baleen {

TEST_CASE("JournalRefusesWhatIsNotAJournal") {
  const TempDirectory temp;
  REQUIRE_ERROR(OpenJournal(""), StatusCode::kInvalidArgument, "empty");
  REQUIRE_ERROR(OpenJournal(temp.path()), StatusCode::kInvalidArgument, "not a regular file");
  REQUIRE_ERROR(OpenJournal(temp.File("no/journal.db")), StatusCode::kNotFound, "no/journal.db");
  REQUIRE_ERROR(OpenJournal(temp.File("absent"), true), StatusCode::kNotFound, "absent");
  REQUIRE_FALSE(std::filesystem::exists(temp.File("absent")));
  std::ofstream(temp.File("text")) << std::string(5000, 'x');
  REQUIRE_ERROR(OpenJournal(temp.File("text")), StatusCode::kDataLoss, "not a journal");
  std::ofstream(temp.File("short")) << "SQLite format 3";
  REQUIRE_ERROR(OpenJournal(temp.File("short")), StatusCode::kDataLoss, "not a journal");
  Sql(temp.File("foreign"), "CREATE TABLE t(a)");
  REQUIRE_ERROR(OpenJournal(temp.File("foreign")), StatusCode::kDataLoss, "application id");
  std::ofstream(temp.File("empty")).close();
  REQUIRE_ERROR(OpenJournal(temp.File("empty"), true), StatusCode::kDataLoss, "empty");
  REQUIRE_OK(OpenJournal(temp.File("empty")));
}

TEST_CASE("JournalReportsLockAsFailedPrecondition") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  auto journal = Must(OpenJournal(path));
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  JournalBatch batch;
  batch.events = {SampleEvent("golden", 3)};
  REQUIRE_ERROR(journal->Commit(batch, Durability::kKernel), StatusCode::kFailedPrecondition,
                "locked by another process");
  sqlite3_close(other);
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
}

TEST_CASE("JournalDetectsRowsChangedBehindItsBack") {
  struct Damage {
    std::string sql;
    std::string words;
  };
  const Damage cases[] = {
      {"UPDATE events SET payload = '{\"n\":7}' WHERE seq = 1", "event 1"},
      {"UPDATE events SET kind = 'x' WHERE seq = 2", "event 2"},
      {"UPDATE events SET tokens = 1 WHERE seq = 2", "event 2"},
      {"UPDATE events SET key = key + 1 WHERE seq = 2", "follows 1"},
      {"DELETE FROM events WHERE seq = 2", "ends at event 1"},
      {"UPDATE token_runs SET ids = zeroblob(8) WHERE begin = 960", "token row 960"},
      {"UPDATE token_runs SET logits_hashes = NULL WHERE begin = 0", "token row 0"},
      {"DELETE FROM token_runs WHERE begin = 960", "expected 960"},
      {"DELETE FROM token_runs WHERE begin = 1920", "has 1920 tokens, expected 2000"},
      {"UPDATE settings SET text = '{}'", "the settings"},
      {"DELETE FROM settings", "the settings"},
      {"UPDATE timelines SET title = 'x' WHERE id = 'golden'", "the record"},
      {"UPDATE timelines SET current = 1 WHERE id = 'golden'", "the record"},
      {"UPDATE timelines SET tokens = 1999 WHERE tokens = 2000", "expected 1999"},
      {"UPDATE timelines SET base_tokens = 971 WHERE base_tokens = 970", "timeline 3"},
      {"UPDATE timelines SET base = 0 WHERE base != 0", "timeline 3"},
      {"UPDATE timelines SET session = 99 WHERE key = 1", "unknown session"},
      {"UPDATE timelines SET session = 0 WHERE number = 2", "nothing is based on"},
      {"UPDATE timelines SET tokens = 960, last_seq = 0 WHERE key = 1", "missing or cut"},
      {"DELETE FROM timelines WHERE key = 1", "missing or cut"},
      {"UPDATE events SET key = key + (98 << 32) WHERE timeline = 1", "belong to no session"},
      {"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX "
       "timelines_by_id ON timelines(title) WHERE id IS NOT NULL' WHERE name = 'timelines_by_id'",
       "pages:"},
  };
  for (const Damage& damage : cases) {
    const TempDirectory temp;
    const std::string path = GoldenCopy(temp);
    Sql(path, damage.sql);
    const auto journal = Must(OpenJournal(path));
    const auto report = Must(journal->Verify(""));
    CAPTURE(damage.sql, report.problems);
    bool found = false;
    for (const std::string& problem : report.problems) {
      found = found || problem.find(damage.words) != std::string::npos;
    }
    REQUIRE(found);
  }
}

TEST_CASE("JournalReadsRefuseDamagedRows") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  Sql(path,
      "UPDATE events SET time_ms = 1 WHERE seq = 2;"
      "UPDATE token_runs SET ids = zeroblob(3840) WHERE begin = 960");
  const auto journal = Must(OpenJournal(path));
  REQUIRE_ERROR(journal->ReadEvents("golden", 0, 10, 1), StatusCode::kDataLoss, "event 2");
  REQUIRE_ERROR(journal->LastEvent("golden", "item_finished"), StatusCode::kDataLoss, "event 2");
  REQUIRE(Must(journal->ReadEvents("golden", 0, 1)).size() == 1);
  REQUIRE_ERROR(journal->ReadTokens("golden", 0, 2000, 1), StatusCode::kDataLoss, "token row 960");
  REQUIRE(Must(journal->ReadTokens("golden", 0, 960, 1)).ids.size() == 960);
}

TEST_CASE("JournalSurvivesEveryDamagedPageWithoutCrashing") {
  const std::string golden = std::string(kTestData) + "/store/journal_v5.db";
  const auto size_bytes = static_cast<int64_t>(std::filesystem::file_size(golden));
  int detected = 0;
  int rounds = 0;
  // Steps of 211, prime, reach every part of a page's header, cells and free space over the pages.
  for (int64_t at = 0; at < size_bytes; at += 211, ++rounds) {
    const TempDirectory temp;
    const std::string path = GoldenCopy(temp);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char old = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(old ^ 0x55));
    file.close();
    const auto journal = OpenJournal(path);
    if (!journal.ok()) {
      ++detected;
      continue;
    }
    const auto report = (*journal)->Verify("");
    const auto events = (*journal)->ReadEvents("golden", 0, 100, 1);
    const auto tokens = (*journal)->ReadTokens("golden", 0, 10'000, 1);
    // What is returned as good is good.
    if (events.ok() && events->size() == 2) REQUIRE((*events)[0].payload == R"({"n":1})");
    if (tokens.ok() && tokens->ids.size() == 2000)
      REQUIRE(tokens->ids == GoldenBatch().tokens[0].ids);
    if (!report.ok() || !report->problems.empty()) ++detected;
  }
  // Free space inside pages holds nothing that could be damaged: 3 full token rows and headers make
  // more than a quarter of the file.
  CAPTURE(detected, rounds);
  REQUIRE(detected > rounds / 4);
}

TEST_CASE("JournalTruncatedFileIsDataLoss") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  std::filesystem::resize_file(path, 8192);
  const auto journal = OpenJournal(path);
  if (journal.ok()) {
    const auto report = Must((*journal)->Verify(""));
    REQUIRE_FALSE(report.problems.empty());
    REQUIRE((*journal)->ReadTokens("golden", 0, 2000, 1).status().code() == StatusCode::kDataLoss);
  } else {
    REQUIRE(journal.status().code() == StatusCode::kDataLoss);
  }
}

TEST_CASE("JournalOnAFullDiskFailsWholeAndContinuesOnceThereIsSpace") {
  const TempDirectory temp;
  const std::string disk_path = temp.File("disk");
  const SmallDisk disk(disk_path, "2m");
  if (!disk.mounted()) {
    WARN("SKIPPED: needs the right to mount a tmpfs");
    return;
  }
  const std::string path = disk_path + "/journal.db";
  auto journal = Must(OpenJournal(path));
  JournalBatch create;
  create.create_sessions = {SampleSession("s")};
  REQUIRE_OK(journal->Commit(create, Durability::kSynced));
  const std::string ballast = disk_path + "/ballast";
  std::ofstream(ballast) << std::string(1 << 20, 'b');
  int64_t seq = 0;
  Status status;
  while (status.ok() && seq < 1000) {
    JournalBatch batch;
    batch.events = {SampleEvent("s", seq + 1)};
    batch.events[0].payload = "{\"text\":\"" + std::string(20'000, 'x') + "\"}";
    status = journal->Commit(batch, seq % 2 == 0 ? Durability::kKernel : Durability::kSynced);
    if (status.ok()) ++seq;
  }
  INFO(status.ToString());
  REQUIRE(status.code() == StatusCode::kResourceExhausted);
  REQUIRE(status.message().find(path) != std::string::npos);
  REQUIRE(status.message().find("free space") != std::string::npos);
  REQUIRE(Must(journal->GetSession("s")).last_seq == seq);
  REQUIRE(std::filesystem::remove(ballast));
  JournalBatch batch;
  batch.events = {SampleEvent("s", seq + 1)};
  REQUIRE_OK(journal->Commit(batch, Durability::kSynced));
  journal.reset();
  const auto report = Must(Must(OpenJournal(path))->Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
  REQUIRE(report.events == seq + 1);
}

}  // namespace baleen
