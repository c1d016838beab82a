#include "runtime/store/search_index.h"

#include <unistd.h>

#include <cerrno>

#include "runtime/store/files.h"
#include "runtime/store/own_database.h"
#include "runtime/store/sqlite.h"

namespace baleen {
namespace {

/// PRAGMA user_version; another one is replaced. "BALS" is PRAGMA application_id.
constexpr int64_t kIndexVersion = 2;
constexpr int64_t kIndexApplicationId = 0x42414c53;

// Nothing here must survive a power cut: what is lost is indexed again.
constexpr const char* kIndexSetup =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;";
constexpr const char* kIndexSchema = R"sql(
BEGIN IMMEDIATE;
CREATE TABLE timelines(
  key INTEGER PRIMARY KEY,
  created_ms INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;
CREATE TABLE places(
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  timeline INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  kind TEXT NOT NULL,
  turn TEXT NOT NULL,
  time_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX places_by_event ON places(timeline, seq);
CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = 'trigram');
PRAGMA application_id = 1111575635;
PRAGMA user_version = 2;
COMMIT;
)sql";
static_assert(kIndexApplicationId == 1111575635);

Result<std::unique_ptr<Sqlite>> OpenIndex(const std::string& path) {
  return OpenOwnDatabase(
      path, {"a search index", kIndexSetup, kIndexSchema, kIndexApplicationId, kIndexVersion});
}

int64_t CharactersOf(std::string_view text) {
  int64_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

/// `words` as one FTS5 string: nothing in it is an operator.
std::string Phrase(std::string_view words) {
  std::string phrase = "\"";
  for (const char c : words) {
    phrase += c;
    if (c == '"') phrase += c;
  }
  return phrase + "\"";
}

/// `words` anywhere, as a pattern of LIKE with the escape character '\'.
std::string Pattern(std::string_view words) {
  std::string pattern = "%";
  for (const char c : words) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + "%";
}

}  // namespace

class SearchIndex::Impl {
 public:
  explicit Impl(std::unique_ptr<Sqlite> opened) : database(std::move(opened)) {}

  Status Write(int64_t timeline, const IndexedTimeline& upto,
               const std::vector<IndexedText>& texts) {
    for (const IndexedText& entry : texts) {
      {
        ASSIGN_OR_RETURN(Query place,
                         database->Prepare("INSERT INTO places(timeline, seq, kind, turn, time_ms) "
                                           "VALUES(?1, ?2, ?3, ?4, ?5)"));
        place.Bind(timeline).Bind(entry.seq).Bind(entry.kind).Bind(entry.turn);
        RETURN_IF_ERROR(place.Bind(entry.time_ms).Run());
      }
      const int64_t key = sqlite3_last_insert_rowid(database->handle());
      ASSIGN_OR_RETURN(Query text,
                       database->Prepare("INSERT INTO texts(rowid, text) VALUES(?1, ?2)"));
      RETURN_IF_ERROR(text.Bind(key).Bind(entry.text).Run());
    }
    ASSIGN_OR_RETURN(Query indexed,
                     database->Prepare("INSERT INTO timelines(key, created_ms, seq) "
                                       "VALUES(?1, ?2, ?3) ON CONFLICT(key) DO UPDATE SET "
                                       "created_ms = ?2, seq = ?3"));
    return indexed.Bind(timeline).Bind(upto.created_ms).Bind(upto.seq).Run();
  }

  Status Erase(int64_t timeline, int64_t seq) {
    for (const char* sql : {"DELETE FROM texts WHERE rowid IN (SELECT key FROM places WHERE "
                            "timeline = ?1 AND seq > ?2)",
                            "DELETE FROM places WHERE timeline = ?1 AND seq > ?2",
                            "DELETE FROM timelines WHERE key = ?1 AND ?2 = 0",
                            "UPDATE timelines SET seq = min(seq, ?2) WHERE key = ?1"}) {
      ASSIGN_OR_RETURN(Query query, database->Prepare(sql));
      RETURN_IF_ERROR(query.Bind(timeline).Bind(seq).Run());
    }
    return OkStatus();
  }

  Status End(Status status) {
    if (status.ok()) status = database->Exec("COMMIT");
    if (!status.ok() && database->InTransaction()) {
      database->Exec("ROLLBACK").IgnoreError("the first error is reported");
    }
    return status;
  }

  std::unique_ptr<Sqlite> database;
};

SearchIndex::SearchIndex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SearchIndex::~SearchIndex() = default;

Result<std::unique_ptr<SearchIndex>> SearchIndex::Open(const std::string& path) {
  auto database = OpenIndex(path);
  // A cache: one of another version, older or newer, is filled anew as well.
  if (database.status().code() == StatusCode::kDataLoss ||
      database.status().reason() == "NEWER_VERSION") {
    RETURN_IF_ERROR(Remove(path));
    database = OpenIndex(path);
  }
  RETURN_IF_ERROR(database.status());
  return std::unique_ptr<SearchIndex>(
      new SearchIndex(std::make_unique<Impl>(std::move(*database))));
}

Status SearchIndex::Remove(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::string file = path + suffix;
    if (unlink(file.c_str()) != 0 && errno != ENOENT) return FileError(errno, "remove", file);
  }
  return OkStatus();
}

Result<std::map<int64_t, IndexedTimeline>> SearchIndex::Timelines() {
  ASSIGN_OR_RETURN(Query select,
                   impl_->database->Prepare("SELECT key, created_ms, seq FROM timelines"));
  std::map<int64_t, IndexedTimeline> timelines;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return timelines;
    timelines[select.Int(0)] = {select.Int(1), select.Int(2)};
  }
}

Status SearchIndex::Add(int64_t timeline, const IndexedTimeline& upto,
                        const std::vector<IndexedText>& texts) {
  RETURN_IF_ERROR(impl_->database->Exec("BEGIN IMMEDIATE"));
  return impl_->End(impl_->Write(timeline, upto, texts));
}

Status SearchIndex::Forget(int64_t timeline, int64_t seq) {
  RETURN_IF_ERROR(impl_->database->Exec("BEGIN IMMEDIATE"));
  return impl_->End(impl_->Erase(timeline, seq));
}

#define BALEEN_SELECT_PLACE                                                          \
  "SELECT p.key, p.timeline, p.seq, t.text, p.kind, p.turn, p.time_ms FROM texts t " \
  "JOIN places p ON p.key = t.rowid "

Result<std::vector<IndexedText>> SearchIndex::Find(std::string_view words, int64_t before,
                                                   int64_t limit) {
  // A trigram needs three characters; shorter words are looked for in each text.
  const bool indexed = CharactersOf(words) >= 3;
  const std::string wanted = indexed ? Phrase(words) : Pattern(words);
  ASSIGN_OR_RETURN(Query select,
                   impl_->database->Prepare(indexed ? BALEEN_SELECT_PLACE
                                                "WHERE t.text MATCH ?1 AND t.rowid < ?2 "
                                                "ORDER BY t.rowid DESC LIMIT ?3"
                                                    : BALEEN_SELECT_PLACE
                                                "WHERE t.text LIKE ?1 ESCAPE '\\' AND t.rowid < ?2 "
                                                "ORDER BY t.rowid DESC LIMIT ?3"));
  select.Bind(wanted).Bind(before).Bind(limit);
  std::vector<IndexedText> found;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return found;
    found.push_back({select.Int(0), select.Int(1), select.Int(2), select.Text(3), select.Text(4),
                     select.Text(5), select.Int(6)});
  }
}

#undef BALEEN_SELECT_PLACE

}  // namespace baleen
