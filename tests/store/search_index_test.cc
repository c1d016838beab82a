// The search index and notes: hostile words are data, files that aren't indexes are replaced.
#include "runtime/store/search_index.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "runtime/store/files.h"
#include "runtime/store/note_store.h"
#include "runtime/store/own_database.h"
#include "runtime/store/sqlite.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

std::unique_ptr<SearchIndex> OpenIndex(const TempDirectory& temp) {
  return Must(SearchIndex::Open(temp.File("search.db")));
}

std::vector<int64_t> Found(SearchIndex& index, const std::string& words) {
  std::vector<int64_t> seqs;
  for (const IndexedText& place : Must(index.Find(words, INT64_MAX, 100))) {
    seqs.push_back(place.seq);
  }
  std::sort(seqs.begin(), seqs.end());
  return seqs;
}

}  // namespace

TEST_CASE("SearchFindsWordsAsTheyStandWhateverTheyLookLike") {
  const TempDirectory temp;
  auto index = OpenIndex(temp);
  const std::vector<std::string> texts = {
      "A plain sentence",  "quotes \"inside\" it", "NEAR(a b) OR NOT *",     "100% of_it \\ done",
      "col:value ^ start", "日本語の文",           "'; DROP TABLE texts; --"};
  std::vector<IndexedText> entries;
  for (size_t i = 0; i < texts.size(); ++i) {
    entries.push_back({0, 1, static_cast<int64_t>(i) + 1, texts[i], "turn_started", "t1", 0});
  }
  REQUIRE_OK(index->Add(1, {1000, 7}, entries));
  // Each text is found by itself, and by nothing that only looks like an operator.
  for (size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(texts[i]);
    REQUIRE(Found(*index, texts[i]) == std::vector<int64_t>{static_cast<int64_t>(i) + 1});
  }
  REQUIRE(Found(*index, "PLAIN") == std::vector<int64_t>{1});
  REQUIRE(Found(*index, "inside\"") == std::vector<int64_t>{2});
  REQUIRE(Found(*index, "plain OR quotes").empty());
  REQUIRE(Found(*index, "plain*").empty());
  REQUIRE(Found(*index, "text:plain").empty());
  // Fewer than three characters, also those of LIKE's own language.
  REQUIRE(Found(*index, "本") == std::vector<int64_t>{6});
  REQUIRE(Found(*index, "%") == std::vector<int64_t>{4});
  REQUIRE(Found(*index, "_") == std::vector<int64_t>{4});
  REQUIRE(Found(*index, "\\") == std::vector<int64_t>{4});
  REQUIRE(Found(*index, "*") == std::vector<int64_t>{3});
  REQUIRE(Found(*index, "\"").size() == 1);
  // Pages, newest first.
  const auto newest = Must(index->Find("e", INT64_MAX, 1));
  REQUIRE(newest.size() == 1);
  REQUIRE(newest[0].seq == 7);
  REQUIRE(Must(index->Find("e", newest[0].key, 1)).at(0).seq == 5);
}

TEST_CASE("SearchForgetsWhatIsGoneAndRemembersAcrossReopen") {
  const TempDirectory temp;
  auto index = OpenIndex(temp);
  REQUIRE_OK(index->Add(
      1, {1000, 2}, {{0, 1, 1, "first words", "", "", 0}, {0, 1, 2, "second words", "", "", 0}}));
  REQUIRE_OK(index->Add(2, {1001, 1}, {{0, 2, 1, "other words", "", "", 0}}));
  index.reset();
  index = OpenIndex(temp);
  REQUIRE(Found(*index, "words").size() == 3);
  REQUIRE(Must(index->Timelines()).at(1).seq == 2);
  REQUIRE(Must(index->Timelines()).at(2).created_ms == 1001);
  REQUIRE_OK(index->Forget(1, 1));
  REQUIRE(Found(*index, "words") == std::vector<int64_t>{1, 1});
  REQUIRE(Found(*index, "second").empty());
  REQUIRE(Must(index->Timelines()).at(1).seq == 1);
  REQUIRE_OK(index->Forget(2, 0));
  REQUIRE(Must(index->Timelines()).size() == 1);
  REQUIRE(Found(*index, "other").empty());
}

TEST_CASE("SearchTellsOfAPlaceWhatItWasTold") {
  const TempDirectory temp;
  auto index = OpenIndex(temp);
  REQUIRE_OK(index->Add(7, {1000, 3}, {{0, 7, 3, "some words", "generated", "t2", 1234}}));
  const auto found = Must(index->Find("words", INT64_MAX, 10));
  REQUIRE(found.size() == 1);
  REQUIRE(found[0].timeline == 7);
  REQUIRE(found[0].seq == 3);
  REQUIRE(found[0].text == "some words");
  REQUIRE(found[0].kind == "generated");
  REQUIRE(found[0].turn == "t2");
  REQUIRE(found[0].time_ms == 1234);
}

TEST_CASE("SearchBeginsAnewWhereTheIndexIsOfAnEarlierVersion") {
  const TempDirectory temp;
  REQUIRE_OK(EnsureFile(temp.File("search.db")));
  {
    const auto old = Must(Sqlite::Open({.path = temp.File("search.db")}));
    REQUIRE_OK(old->Exec(
        "CREATE TABLE timelines(key INTEGER PRIMARY KEY, created_ms INTEGER NOT NULL, "
        "seq INTEGER NOT NULL) STRICT;"
        "CREATE TABLE places(key INTEGER PRIMARY KEY AUTOINCREMENT, timeline INTEGER NOT NULL, "
        "seq INTEGER NOT NULL) STRICT;"
        "CREATE UNIQUE INDEX places_by_event ON places(timeline, seq);"
        "CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = 'trigram');"
        "INSERT INTO timelines VALUES(1, 1000, 1); INSERT INTO places VALUES(1, 1, 1);"
        "INSERT INTO texts(rowid, text) VALUES(1, 'old words');"
        "PRAGMA application_id = 1111575635; PRAGMA user_version = 1;"));
  }
  auto index = OpenIndex(temp);
  REQUIRE(Must(index->Timelines()).empty());
  REQUIRE(Found(*index, "old words").empty());
  REQUIRE_OK(index->Add(1, {1000, 1}, {{0, 1, 1, "new words", "generated", "t1", 5}}));
  REQUIRE(Found(*index, "words").size() == 1);
}

TEST_CASE("SearchBeginsAnewWhereTheIndexIsOfALaterVersion") {
  const TempDirectory temp;
  REQUIRE_OK(OpenIndex(temp)->Add(1, {1000, 1}, {{0, 1, 1, "some words", "", "", 0}}));
  REQUIRE_OK(
      Must(Sqlite::Open({.path = temp.File("search.db")}))->Exec("PRAGMA user_version = 99"));
  REQUIRE(Must(OpenIndex(temp)->Timelines()).empty());
}

TEST_CASE("OwnDatabasesKnowTheirOwnersAndVersions") {
  const TempDirectory temp;
  const OwnSchema schema = {"a list", "PRAGMA journal_mode = WAL;",
                            "CREATE TABLE list(item TEXT) STRICT;"
                            "PRAGMA application_id = 77; PRAGMA user_version = 3;",
                            77, 3};
  const auto open = [&](const char* change) {
    const std::string path = temp.File("list.db");
    {
      const auto database = Must(OpenOwnDatabase(path, schema));
      REQUIRE_OK(RunInTransaction(
          *database, [&] { return database->Exec("INSERT INTO list VALUES('kept')"); }));
      // What fails leaves nothing, and the next one goes on.
      REQUIRE(RunInTransaction(*database, [&]() -> Status {
                RETURN_IF_ERROR(database->Exec("INSERT INTO list VALUES('lost')"));
                return AbortedError("not this");
              }).code() == StatusCode::kAborted);
      REQUIRE_FALSE(database->InTransaction());
      REQUIRE(Must(database->IntOf("SELECT count(*) FROM list WHERE item = 'lost'")) == 0);
      REQUIRE(Must(database->IntOf("SELECT count(*) FROM list")) > 0);
      REQUIRE_OK(database->Exec(change));
    }
    const Status status = OpenOwnDatabase(path, schema).status();
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
    return status;
  };
  REQUIRE_OK(open(""));
  REQUIRE(open("PRAGMA user_version = 4").reason() == "NEWER_VERSION");
  REQUIRE(open("PRAGMA user_version = 2").code() == StatusCode::kDataLoss);
  const Status foreign = open("PRAGMA application_id = 78; PRAGMA user_version = 4");
  REQUIRE(foreign.code() == StatusCode::kDataLoss);
  REQUIRE(foreign.message().find("is not a list of version 3") != std::string::npos);
}

TEST_CASE("SearchReplacesFilesThatAreNoIndex") {
  const TempDirectory temp;
  std::ofstream(temp.File("search.db")) << std::string(5000, 'x');
  auto index = OpenIndex(temp);
  REQUIRE(Must(index->Timelines()).empty());
  REQUIRE_OK(index->Add(1, {1000, 1}, {{0, 1, 1, "some words", "", "", 0}}));
  REQUIRE(Found(*index, "words").size() == 1);
}

TEST_CASE("NotesAreKeptOnceByTheirCallAndFoundByAnyWordInTheirWorkspace") {
  const TempDirectory temp;
  {
    NoteStore notes(temp.File("notes.db"));
    REQUIRE(Must(notes.Find("/w", "word", 5)).empty());  // makes no file
    REQUIRE(Must(notes.Add({0, "/w", "s", "c1", 10, "Tabs, never spaces"})) == 1);
    REQUIRE(Must(notes.Add({0, "/w", "s", "c1", 11, "a repeat"})) == 1);
    REQUIRE(Must(notes.Add({0, "/w", "s", "c2", 12, "spaces spaces in YAML"})) == 2);
    REQUIRE(Must(notes.Add({0, "/v", "s", "c3", 13, "spaces elsewhere"})) == 3);
  }
  NoteStore notes(temp.File("notes.db"));
  const auto found = [&](const std::string& query) {
    std::vector<int64_t> keys;
    for (const StoredNote& note : Must(notes.Find("/w", query, 5))) keys.push_back(note.key);
    return keys;
  };
  REQUIRE(found("SPACES? or what") == std::vector<int64_t>{2, 1});
  REQUIRE(found("tabs* OR (\"nothing") == std::vector<int64_t>{1});
  REQUIRE(found("*\"()").empty());
  REQUIRE(Must(notes.List("", 1, 1)).at(0).text == "spaces spaces in YAML");
  REQUIRE(Must(notes.Forget(2)).call == "c2");
  REQUIRE(notes.Forget(2).status().code() == StatusCode::kNotFound);
  REQUIRE(found("spaces") == std::vector<int64_t>{1});
  REQUIRE(Must(notes.Add({0, "/w", "s", "c4", 14, "later"})) == 4);  // no id comes twice
  REQUIRE(Must(notes.Verify()).empty());
  REQUIRE_OK(notes.Backup(temp.File("copy.db")));
  NoteStore copy(temp.File("copy.db"));
  REQUIRE(Must(copy.List("/w", 0, 10)).size() == 2);
}

}  // namespace baleen
