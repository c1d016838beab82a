// Journals that are damaged, foreign, newer, older, locked, or on a full disk.
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "runtime/store/journal.h"
#include "runtime/store/journal_anchor.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_schema.h"
#include "tests/store/samples.h"
#include "tests/store/small_disk.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/test_paths.h"

namespace baleen {
namespace {

Result<std::unique_ptr<Journal>> Open(const std::string& path, bool read_only = false) {
  return Journal::Open({.path = path, .read_only = read_only, .busy_timeout_ms = 0});
}

/// Runs SQL on the file behind the journal's back.
void Sql(const std::string& path, const std::string& text) {
  sqlite3* handle = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &handle) == SQLITE_OK);
  const int rc = sqlite3_exec(handle, text.c_str(), nullptr, nullptr, nullptr);
  INFO(text << ": " << sqlite3_errmsg(handle));
  sqlite3_close(handle);
  REQUIRE(rc == SQLITE_OK);
}

std::string GoldenCopy(const TempDirectory& temp, int version = 5) {
  const std::string path = temp.File("journal.db");
  std::filesystem::copy_file(
      std::string(kTestData) + "/store/journal_v" + std::to_string(version) + ".db", path);
  chmod(path.c_str(), 0600);
  return path;
}

/// `timeline` of golden holds what GoldenBatch says.
void CheckGolden(Journal& journal, int64_t timeline = 0) {
  const JournalBatch golden = GoldenBatch();
  const auto session = Must(journal.GetSession("golden"));
  REQUIRE(session.settings == golden.create_sessions[0].settings);
  const auto run = Must(journal.ReadTokens("golden", 0, 10'000, timeline));
  REQUIRE(run.ids == golden.tokens[0].ids);
  REQUIRE(run.logits_hashes == golden.tokens[0].logits_hashes);
  const auto events = Must(journal.ReadEvents("golden", 0, 10, timeline));
  REQUIRE(events.size() == golden.events.size());
  REQUIRE(events[1].payload == golden.events[1].payload);
  REQUIRE(Must(journal.FindAnswer("request-1", "StartTurn")) == golden.answers[0].answer);
  const auto report = Must(journal.Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
}

}  // namespace

TEST_CASE("JournalMigratesGoldenVersion1AndKeepsABackup") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, 1);
  REQUIRE_ERROR(Open(path, true), StatusCode::kFailedPrecondition, "older version");
  {
    const auto journal = Must(Open(path));
    CheckGolden(*journal);
    const auto report = Must(journal->Verify(""));
    REQUIRE(report.sessions == 2);
    REQUIRE(report.timelines == 2);
    REQUIRE(report.events == 2);
    REQUIRE(report.tokens == 2000);
    JournalBatch batch;
    batch.events = {SampleEvent("golden", 3)};
    batch.forks = {{SampleSession("branch"), {"golden", 1, 1, 5}}};
    REQUIRE_OK(journal->Commit(batch, Durability::kSynced));
    REQUIRE(Must(journal->ReadTokens("branch", 0, 10)).ids == std::vector<int32_t>{0, 3, 6, 9, 12});
  }
  REQUIRE_OK(Open(path, true));
  // The backup is the old version, complete: a build of that time opens it.
  const auto backup = Must(Sqlite::Open({.path = path + ".v1-backup"}));
  REQUIRE(Must(backup->IntOf("PRAGMA user_version")) == 1);
  REQUIRE(Must(backup->IntOf("SELECT sum(tokens) FROM sessions")) == 2000);
}

TEST_CASE("JournalMigrationFindsTheContextThatEachEventSaw") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, 1);
  {
    // Events as version 1 wrote them: checksums of that version, made from the rows.
    const auto database = Must(Sqlite::Open({.path = path}));
    const std::pair<const char*, const char*> rows[] = {
        {"generate", R"({"turn":"t1","step":1,"prompt_begin":0,"prompt_end":40})"},
        {"generated", R"({"turn":"t1","step":1,"event":{"kind":"generated","tokens":60}})"},
        {"turn_finished", R"({"turn":"t1"})"},
        {"generate", R"({"turn":"t2","prompt_end":"damaged"})"}};
    EventRecord event;
    event.seq = 2;
    for (const auto& [kind, payload] : rows) {
      ++event.seq;
      event.kind = kind;
      event.payload = payload;
      Query insert = Must(database->Prepare(
          "INSERT INTO events(session, seq, time_ms, kind, version, payload, checksum) "
          "SELECT key, ?1, 0, ?2, 1, ?3, ?4 FROM sessions WHERE id = 'golden'"));
      const int64_t key = Must(database->IntOf("SELECT key FROM sessions WHERE id = 'golden'"));
      REQUIRE_OK(insert.Bind(event.seq)
                     .Bind(event.kind)
                     .Bind(event.payload)
                     .Bind(EventChecksumV1(key, event))
                     .Run());
    }
    REQUIRE_OK(database->Exec("UPDATE sessions SET last_seq = 6 WHERE id = 'golden'"));
  }
  const auto journal = Must(Open(path));
  std::vector<int64_t> tokens;
  for (const EventRecord& event : Must(journal->ReadEvents("golden", 0, 10))) {
    tokens.push_back(event.tokens);
  }
  REQUIRE(tokens == std::vector<int64_t>{0, 0, 40, 100, 100, 100});
  REQUIRE(Must(journal->EventAtTokens("golden", 99)).seq == 3);
  const auto report = Must(journal->Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
}

TEST_CASE("JournalMigrationKeepsDamagedRowsDamaged") {
  const std::pair<const char*, const char*> cases[] = {
      {"UPDATE events SET payload = '{\"n\":7}' WHERE seq = 1", "event 1"},
      {"UPDATE sessions SET title = 'x' WHERE id = 'golden'", "the record"},
      {"UPDATE sessions SET settings = '{}' WHERE id = 'golden'", "the record"},
      {"UPDATE token_runs SET ids = zeroblob(8) WHERE begin = 960", "token row 960"}};
  for (const auto& [sql, words] : cases) {
    const TempDirectory temp;
    const std::string path = GoldenCopy(temp, 1);
    Sql(path, sql);
    const auto report = Must(Must(Open(path))->Verify(""));
    CAPTURE(sql, report.problems);
    const std::string wanted = words;
    REQUIRE(std::any_of(report.problems.begin(), report.problems.end(), [&](const auto& problem) {
      return problem.find(wanted) != std::string::npos;
    }));
  }
}

namespace {

/// What GoldenBatches2 says of the sessions that branched off.
void CheckBranches(Journal& journal) {
  CheckGolden(journal, 1);
  const auto golden = Must(journal.GetSession("golden"));
  REQUIRE(golden.timeline == 2);
  REQUIRE(golden.tokens == 501);
  const auto branch = Must(journal.GetSession("branch"));
  REQUIRE(branch.parent == "golden");
  REQUIRE(branch.pinned);
  REQUIRE(branch.settings == golden.settings);
  REQUIRE(branch.created_ms == 3000);
  REQUIRE(branch.tokens == 973);
  REQUIRE(Must(journal.ReadTokens("branch", 969, 10)).ids ==
          std::vector<int32_t>{969 * 3, 1, 2, 3});
  REQUIRE(Must(journal.ReadTokens("golden", 499, 10)).ids == std::vector<int32_t>{499 * 3, 7});
  REQUIRE(Must(journal.ListTimelines("golden", 0, 10)).size() == 2);
  REQUIRE(Must(journal.ListSessions("", 10)).size() == 3);
}

/// Its history goes on, and keys that were used are not used again.
void ContinueBranches(Journal& journal) {
  JournalBatch batch;
  batch.create_sessions = {SampleSession("next", 5000)};
  batch.rewinds = {{{"branch", 0, 1, 970}, 5001}};
  batch.events = {SampleEvent("golden", 3)};
  REQUIRE_OK(journal.Commit(batch, Durability::kSynced));
  // 4 was that of a session that was deleted.
  REQUIRE(Must(journal.ListTimelines("next", 0, 10)).at(0).key == 6);
  REQUIRE(Must(journal.ListTimelines("branch", 0, 10)).at(1).key == 7);
  REQUIRE(Must(journal.Verify("")).problems.empty());
}

}  // namespace

TEST_CASE("JournalMigratesGoldenVersion2AndKeepsABackup") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, 2);
  REQUIRE_ERROR(Open(path, true), StatusCode::kFailedPrecondition, "older version");
  {
    const auto journal = Must(Open(path));
    CheckBranches(*journal);
    ContinueBranches(*journal);
  }
  const auto backup = Must(Sqlite::Open({.path = path + ".v2-backup"}));
  REQUIRE(Must(backup->IntOf("PRAGMA user_version")) == 2);
  REQUIRE(Must(backup->IntOf("SELECT sum(tokens) FROM timelines WHERE session != 0")) == 3474);
}

TEST_CASE("JournalMigratesGoldenVersion3AndKeepsABackup") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, 3);
  REQUIRE_ERROR(Open(path, true), StatusCode::kFailedPrecondition, "older version");
  {
    const auto journal = Must(Open(path));
    CheckBranches(*journal);
    ContinueBranches(*journal);
  }
  const auto backup = Must(Sqlite::Open({.path = path + ".v3-backup"}));
  REQUIRE(Must(backup->IntOf("PRAGMA user_version")) == 3);
  REQUIRE(Must(backup->IntOf("SELECT sum(tokens) FROM timelines WHERE session != 0")) == 3474);
}

TEST_CASE("JournalMigratesGoldenVersion4AndFindsItsApprovals") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, 4);
  {
    // As version 4 wrote them.
    const auto database = Must(Sqlite::Open({.path = path}));
    int64_t seq = 2;
    for (const char* kind : {"approval_requested", "note", "approval_resolved"}) {
      EventRecord event;
      event.seq = ++seq;
      event.kind = kind;
      event.payload = "{}";
      event.tokens = 2000;
      Query insert = Must(database->Prepare(
          "INSERT INTO events(key, kind, time_ms, version, tokens, checksum, payload) "
          "VALUES(?1, ?2, 0, 1, 2000, ?3, '{}')"));
      REQUIRE_OK(
          insert.Bind(RowKey(1, event.seq)).Bind(event.kind).Bind(EventChecksum(1, event)).Run());
    }
    REQUIRE_OK(database->Exec("UPDATE timelines SET last_seq = 5 WHERE key = 1"));
  }
  {
    const auto journal = Must(Open(path));
    for (const auto& [kind, seq] : {std::pair{"approval_requested", 3}, {"approval_resolved", 5}}) {
      const auto found = Must(journal->ReadEventsOfKind("golden", kind, 0, 10, 1));
      REQUIRE(found.size() == 1);
      REQUIRE(found[0].seq == seq);
    }
    REQUIRE(Must(journal->ReadEventsOfKind("golden", "approval_resolved", 5, 10, 1)).empty());
    const auto report = Must(journal->Verify(""));
    CAPTURE(report.problems);
    REQUIRE(report.problems.empty());
  }
  const auto backup = Must(Sqlite::Open({.path = path + ".v4-backup"}));
  REQUIRE(Must(backup->IntOf("PRAGMA user_version")) == 4);
}

TEST_CASE("MigratedJournalHasTheSchemaOfANewOne") {
  const TempDirectory temp;
  Must(Open(temp.File("new.db"))).reset();
  const auto schema_of = [](const std::string& path) {
    const auto database = Must(Sqlite::Open({.path = path, .read_only = true}));
    Query select = Must(database->Prepare(
        "SELECT s.name || ' ' || coalesce(c.name || ' ' || c.type, s.sql, '') FROM sqlite_schema s "
        "LEFT JOIN pragma_table_info(s.name) c ON s.type = 'table' "
        "WHERE s.name NOT LIKE 'sqlite_%' ORDER BY s.name, c.cid"));
    std::vector<std::string> rows;
    while (Must(select.Step())) rows.push_back(select.Text(0));
    return rows;
  };
  const auto wanted = schema_of(temp.File("new.db"));
  REQUIRE(wanted.size() > 40);
  for (const int version : {1, 2, 3, 4}) {
    CAPTURE(version);
    const TempDirectory old;
    const std::string path = GoldenCopy(old, version);
    Must(Open(path)).reset();
    REQUIRE(schema_of(path) == wanted);
  }
}

TEST_CASE("JournalOpensGoldenVersion5") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  CheckBranches(*Must(Open(path, true)));
  const auto journal = Must(Open(path));
  CheckBranches(*journal);
  ContinueBranches(*journal);
}

TEST_CASE("JournalMigrationOfVersion2KeepsDamagedRowsDamaged") {
  const std::pair<const char*, const char*> cases[] = {
      {"UPDATE events SET payload = '{\"n\":7}' WHERE seq = 1", "event 1"},
      {"UPDATE events SET seq = -1 WHERE seq = 2", "ends at event 1"},
      {"UPDATE sessions SET title = 'x' WHERE id = 'golden'", "the record"},
      {"UPDATE settings SET text = '{}'", "the settings"},
      {"UPDATE token_runs SET ids = zeroblob(8) WHERE begin = 960", "token row 960"},
      {"UPDATE timelines SET session = 99 WHERE key = 2", "unknown session"},
      {"UPDATE timelines SET number = 5 WHERE key = 3", "does not match its checksum"},
      {"DELETE FROM timelines WHERE key = 1", "missing or cut"}};
  for (const auto& [sql, words] : cases) {
    const TempDirectory temp;
    const std::string path = GoldenCopy(temp, 2);
    Sql(path, sql);
    const auto report = Must(Must(Open(path))->Verify(""));
    CAPTURE(sql, report.problems);
    const std::string wanted = words;
    REQUIRE(std::any_of(report.problems.begin(), report.problems.end(), [&](const auto& problem) {
      return problem.find(wanted) != std::string::npos;
    }));
  }
}

TEST_CASE("JournalRefusesWhatIsNotAJournal") {
  const TempDirectory temp;
  REQUIRE_ERROR(Open(""), StatusCode::kInvalidArgument, "empty");
  REQUIRE_ERROR(Open(temp.path()), StatusCode::kInvalidArgument, "not a regular file");
  REQUIRE_ERROR(Open(temp.File("no/journal.db")), StatusCode::kNotFound, "no/journal.db");
  REQUIRE_ERROR(Open(temp.File("absent"), true), StatusCode::kNotFound, "absent");
  REQUIRE_FALSE(std::filesystem::exists(temp.File("absent")));
  std::ofstream(temp.File("text")) << std::string(5000, 'x');
  REQUIRE_ERROR(Open(temp.File("text")), StatusCode::kDataLoss, "not a journal");
  std::ofstream(temp.File("short")) << "SQLite format 3";
  REQUIRE_ERROR(Open(temp.File("short")), StatusCode::kDataLoss, "not a journal");
  Sql(temp.File("foreign"), "CREATE TABLE t(a)");
  REQUIRE_ERROR(Open(temp.File("foreign")), StatusCode::kDataLoss, "application id");
  std::ofstream(temp.File("empty")).close();
  REQUIRE_ERROR(Open(temp.File("empty"), true), StatusCode::kDataLoss, "empty");
  REQUIRE_OK(Open(temp.File("empty")));
}

TEST_CASE("JournalRefusesNewerVersionAndSaysWhatToDo") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  Sql(path, "PRAGMA user_version = 6");
  for (const bool read_only : {true, false}) {
    const auto refused = Open(path, read_only);
    REQUIRE_ERROR(refused, StatusCode::kFailedPrecondition, "newer build");
    REQUIRE(refused.status().reason() == "NEWER_VERSION");
  }
  Sql(path, "PRAGMA user_version = 5");
  CheckGolden(*Must(Open(path)), 1);
}

TEST_CASE("MigrationBacksUpFirstAndIsAllOrNothing") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, 1);
  const auto add_note = [](Sqlite& open) {
    return open.Exec("ALTER TABLE sessions ADD COLUMN note TEXT");
  };
  const auto add_table = [](Sqlite& open) {
    return open.Exec("CREATE TABLE notes(a TEXT) STRICT");
  };
  const auto fail = [](Sqlite& open) { return open.Exec("NONSENSE"); };
  const JournalMigration good[] = {{1, add_note}, {2, add_table}};
  const JournalMigration bad[] = {{1, add_note}, {2, fail}};
  auto database = Must(Sqlite::Open({.path = path}));
  REQUIRE_ERROR(MigrateSchema(*database, 1, 3, bad), StatusCode::kInternal, "from version 1 to 3");
  REQUIRE(Must(database->IntOf("PRAGMA user_version")) == 1);
  REQUIRE(Must(database->IntOf("SELECT count(*) FROM pragma_table_info('sessions') "
                               "WHERE name = 'note'")) == 0);
  REQUIRE_ERROR(MigrateSchema(*database, 1, 4, good), StatusCode::kInternal, "no migration");
  REQUIRE(Must(database->IntOf("PRAGMA user_version")) == 1);
  REQUIRE_OK(MigrateSchema(*database, 1, 3, good));
  REQUIRE(Must(database->IntOf("PRAGMA user_version")) == 3);
  REQUIRE(Must(database->IntOf("SELECT count(*) FROM notes")) == 0);
  // The backup is a journal of the old version, complete.
  CheckGolden(*Must(Open(path + ".v1-backup")));
}

TEST_CASE("JournalReportsLockAsFailedPrecondition") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  auto journal = Must(Open(path));
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
    const auto journal = Must(Open(path));
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
  const auto journal = Must(Open(path));
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
    const auto journal = Open(path);
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
  const auto journal = Open(path);
  if (journal.ok()) {
    const auto report = Must((*journal)->Verify(""));
    REQUIRE_FALSE(report.problems.empty());
    REQUIRE((*journal)->ReadTokens("golden", 0, 2000, 1).status().code() == StatusCode::kDataLoss);
  } else {
    REQUIRE(journal.status().code() == StatusCode::kDataLoss);
  }
}

namespace {

/// What a killed process leaves of a journal with `events` events, each in a commit of its own.
void LeaveKilled(const std::string& folder, int64_t events) {
  const std::string live = folder + "-live";
  std::filesystem::create_directory(live);
  auto journal = Must(Open(live + "/journal.db"));
  JournalBatch create;
  create.create_sessions = {SampleSession("s")};
  REQUIRE_OK(journal->Commit(create, Durability::kSynced));
  for (int64_t seq = 1; seq <= events; ++seq) {
    JournalBatch batch;
    batch.events = {SampleEvent("s", seq)};
    REQUIRE_OK(journal->Commit(batch, seq == 1 ? Durability::kSynced : Durability::kKernel));
  }
  std::filesystem::copy(live, folder);
}

void FlipByte(const std::string& path, int64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const char old = static_cast<char>(file.get());
  file.seekp(at);
  file.put(static_cast<char>(old ^ 0x10));
}

}  // namespace

TEST_CASE("JournalRefusesAKilledProcesssLogThatHasLostCommits") {
  const TempDirectory temp;
  constexpr int64_t kEvents = 4;
  LeaveKilled(temp.File("killed"), kEvents);
  const auto copy = [&] {
    std::filesystem::remove_all(temp.File("copy"));
    std::filesystem::copy(temp.File("killed"), temp.File("copy"));
    return temp.File("copy/journal.db");
  };
  const auto size_bytes = static_cast<int64_t>(std::filesystem::file_size(copy() + "-wal"));
  int refused = 0;
  int whole = 0;
  // 1 in 3 positions is cut there, the others flipped; -1: the log is missing.
  for (int64_t at = -1; at < size_bytes; at += 499) {
    const std::string path = copy();
    if (at < 0) {
      std::filesystem::remove(path + "-wal");
    } else if (at % 3 == 0) {
      std::filesystem::resize_file(path + "-wal", static_cast<uintmax_t>(at));
    } else {
      FlipByte(path + "-wal", at);
    }
    CAPTURE(at, size_bytes);
    for (int attempt = 0; attempt < 2; ++attempt) {  // a refusal changes nothing
      const auto journal = Open(path);
      if (journal.ok()) {
        REQUIRE(Must((*journal)->GetSession("s")).last_seq == kEvents);
        REQUIRE((*journal)->notes().empty());
        ++whole;
        continue;
      }
      REQUIRE_ERROR(journal, StatusCode::kDataLoss, "commits that were not yet in the file");
      REQUIRE(journal.status().reason() == "JOURNAL_BEHIND");
      ++refused;
    }
    if (refused == 0 || whole % 2 != 0) continue;
    const auto journal = Journal::Open({.path = path, .accept_earlier_state = true});
    REQUIRE_OK(journal);
    const auto sessions = Must((*journal)->ListSessions("", 10));
    if (!sessions.empty() && sessions[0].last_seq == kEvents) continue;
    REQUIRE((*journal)->notes().size() == 1);
    REQUIRE(Must((*journal)->Verify("")).problems.empty());
  }
  CAPTURE(refused, whole);
  REQUIRE(refused > 20);
}

TEST_CASE("JournalOfAKilledProcessThatAnotherProgramOpenedIsWhole") {
  const TempDirectory temp;
  LeaveKilled(temp.File("killed"), 4);
  const std::string path = temp.File("killed/journal.db");
  // What the shell of SQLite does: its end moves the log into the file and removes it.
  Sql(path, "SELECT count(*) FROM sessions");
  REQUIRE_FALSE(std::filesystem::exists(path + "-wal"));
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto journal = Must(Open(path));
    REQUIRE(Must(journal->GetSession("s")).last_seq == 4);
    REQUIRE(journal->notes().size() == (attempt == 0 ? 1 : 0));
  }
}

TEST_CASE("JournalWhoseLogIsGoneIsRefusedUnlessTheFileHoldsItsNewestCommit") {
  const TempDirectory temp;
  const std::string live = temp.File("live.db");
  auto journal = Must(Open(live));
  JournalBatch create;
  create.create_sessions = {SampleSession("s")};
  REQUIRE_OK(journal->Commit(create, Durability::kSynced));
  // Another program moves the log into the file while the journal is open; then it goes on.
  Sql(live, "PRAGMA wal_checkpoint(PASSIVE)");
  JournalBatch batch;
  SECTION("an event") { batch.events = {SampleEvent("s", 1)}; }
  SECTION("an answer, which touches no session") {
    batch.answers = {{"request", "StartTurn", "{}", 5000}};
  }
  SECTION("a change that is as it was") { batch.pins = {{"s", false}}; }
  SECTION("a deletion") { batch.delete_sessions = {"s"}; }
  SECTION("a session that is deleted at once") {
    batch.create_sessions = {SampleSession("t")};
    batch.delete_sessions = {"t"};
  }
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  const auto copy = [&](const std::string& name) {
    std::filesystem::create_directory(temp.File(name));
    const std::string path = temp.File(name + "/journal.db");
    for (const char* end : {"", "-anchor", "-wal"}) {
      std::filesystem::copy_file(live + end, path + end);
    }
    return path;
  };
  const std::string without = copy("without");
  std::filesystem::remove(without + "-wal");
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto refused = Open(without);
    REQUIRE_ERROR(refused, StatusCode::kDataLoss, "commits that were not yet in the file");
    REQUIRE(refused.status().reason() == "JOURNAL_BEHIND");
  }
  // After a power cut the commit that wasn't synced doesn't count.
  REQUIRE_OK(Journal::Open({.path = without, .boot_id = "the next"}));
  const std::string moved = copy("moved");
  Sql(moved, "SELECT 1 FROM sessions");
  REQUIRE_FALSE(std::filesystem::exists(moved + "-wal"));
  REQUIRE(Must(Open(moved))->notes().size() == 1);
}

TEST_CASE("AnchorThatSawACopyBeginTrustsNoStamp") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  bool damaged = false;
  {
    const auto anchor = Must(JournalAnchor::Open(path, "", 1));
    anchor->Committed(5, {1, 2}, 7, Durability::kSynced);
    anchor->Committed(8, {1, 2}, 8, Durability::kKernel);
    const auto record = *Must(JournalAnchor::Read(path, &damaged));
    REQUIRE(NumberWithoutLog(record, {}, true) == 8);
    REQUIRE(NumberWithoutLog(record, {}, false) == 7);
    LogExtent log;
    log.header = true;
    REQUIRE_FALSE(NumberWithoutLog(record, log, true).has_value());
    REQUIRE_OK(anchor->Copying(true));
    REQUIRE_FALSE(
        NumberWithoutLog(*Must(JournalAnchor::Read(path, &damaged)), {}, true).has_value());
    // It still knows how far the log must reach, and goes on counting.
    anchor->Committed(9, {1, 2}, 9, Durability::kKernel);
    const auto copying = *Must(JournalAnchor::Read(path, &damaged));
    REQUIRE(copying.copying);
    REQUIRE(copying.frames == 9);
    REQUIRE_OK(anchor->Copying(false));
    REQUIRE(NumberWithoutLog(*Must(JournalAnchor::Read(path, &damaged)), {}, true) == 9);
  }
  REQUIRE_FALSE(damaged);
}

TEST_CASE("JournalNeedsOnlySyncedCommitsAfterAPowerCut") {
  const TempDirectory temp;
  LeaveKilled(temp.File("killed"), 3);
  const std::string path = temp.File("killed/journal.db");
  const auto size_bytes = std::filesystem::file_size(path + "-wal");
  // The last commit was only handed to the kernel.
  std::filesystem::resize_file(path + "-wal", size_bytes - 100);
  REQUIRE_ERROR(Open(path), StatusCode::kDataLoss, "holds 3 of 4 commits");
  const auto journal = Must(Journal::Open({.path = path, .boot_id = "the next"}));
  REQUIRE(Must(journal->GetSession("s")).last_seq == 2);
}

TEST_CASE("JournalThatIsMissingOrEmptyBesideItsAnchorIsDataLoss") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  Must(Open(path)).reset();
  std::filesystem::resize_file(path, 0);
  REQUIRE_ERROR(Open(path), StatusCode::kDataLoss, "the file is empty");
  REQUIRE(std::filesystem::remove(path));
  const auto missing = Journal::Open({.path = path, .accept_earlier_state = true});
  REQUIRE_ERROR(missing, StatusCode::kDataLoss, "is missing");
  REQUIRE(missing.status().reason() == "JOURNAL_MISSING");
  REQUIRE_FALSE(std::filesystem::exists(path));
  REQUIRE(std::filesystem::remove(path + "-anchor"));
  REQUIRE_OK(Open(path));
}

TEST_CASE("JournalOpensWithoutItsAnchorAndSaysThatADamagedOneTellsNothing") {
  const TempDirectory temp;
  LeaveKilled(temp.File("killed"), 3);
  const std::string path = temp.File("killed/journal.db");
  SECTION("missing") { REQUIRE(std::filesystem::remove(path + "-anchor")); }
  SECTION("damaged") { FlipByte(path + "-anchor", 30); }
  SECTION("cut") { std::filesystem::resize_file(path + "-anchor", 40); }
  const bool exists = std::filesystem::exists(path + "-anchor");
  {
    const auto journal = Must(Open(path));
    REQUIRE(journal->notes().size() == (exists ? 1 : 0));
    REQUIRE(Must(journal->GetSession("s")).last_seq == 3);
  }
  // It is there again.
  REQUIRE(Must(Open(path))->notes().empty());
  REQUIRE(std::filesystem::exists(path + "-anchor"));
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
  auto journal = Must(Open(path));
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
  const auto report = Must(Must(Open(path))->Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
  REQUIRE(report.events == seq + 1);
}

}  // namespace baleen
