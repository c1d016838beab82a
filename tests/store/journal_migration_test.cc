// Journals of older builds and of newer ones.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "runtime/store/journal_codec.h"
#include "runtime/store/journal_schema.h"
#include "runtime/store/sqlite.h"
#include "tests/store/journal_files.h"

namespace baleen {

TEST_CASE("JournalMigratesGoldenVersion1AndKeepsABackup") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, 1);
  REQUIRE_ERROR(OpenJournal(path, true), StatusCode::kFailedPrecondition, "older version");
  {
    const auto journal = Must(OpenJournal(path));
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
  REQUIRE_OK(OpenJournal(path, true));
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
  const auto journal = Must(OpenJournal(path));
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
    const auto report = Must(Must(OpenJournal(path))->Verify(""));
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

TEST_CASE("JournalMigratesGoldenVersions2And3AndKeepsABackup") {
  const int version = GENERATE(2, 3);
  CAPTURE(version);
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp, version);
  REQUIRE_ERROR(OpenJournal(path, true), StatusCode::kFailedPrecondition, "older version");
  {
    const auto journal = Must(OpenJournal(path));
    CheckBranches(*journal);
    ContinueBranches(*journal);
  }
  const auto backup =
      Must(Sqlite::Open({.path = path + ".v" + std::to_string(version) + "-backup"}));
  REQUIRE(Must(backup->IntOf("PRAGMA user_version")) == version);
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
    const auto journal = Must(OpenJournal(path));
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
  Must(OpenJournal(temp.File("new.db"))).reset();
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
    Must(OpenJournal(path)).reset();
    REQUIRE(schema_of(path) == wanted);
  }
}

TEST_CASE("JournalOpensGoldenVersion5") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  CheckBranches(*Must(OpenJournal(path, true)));
  const auto journal = Must(OpenJournal(path));
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
    const auto report = Must(Must(OpenJournal(path))->Verify(""));
    CAPTURE(sql, report.problems);
    const std::string wanted = words;
    REQUIRE(std::any_of(report.problems.begin(), report.problems.end(), [&](const auto& problem) {
      return problem.find(wanted) != std::string::npos;
    }));
  }
}

TEST_CASE("JournalRefusesNewerVersionAndSaysWhatToDo") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  Sql(path, "PRAGMA user_version = 6");
  for (const bool read_only : {true, false}) {
    const auto refused = OpenJournal(path, read_only);
    REQUIRE_ERROR(refused, StatusCode::kFailedPrecondition, "newer build");
    REQUIRE(refused.status().reason() == "NEWER_VERSION");
  }
  Sql(path, "PRAGMA user_version = 5");
  CheckGolden(*Must(OpenJournal(path)), 1);
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
  CheckGolden(*Must(OpenJournal(path + ".v1-backup")));
}

}  // namespace baleen
