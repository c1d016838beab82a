#include "runtime/store/note_store.h"

#include <unistd.h>

#include <mutex>
#include <utility>

#include "runtime/store/own_database.h"
#include "runtime/store/sqlite.h"

namespace baleen {
namespace {

/// PRAGMA user_version and application_id ("BALN"). On-disk.
constexpr int64_t kNoteVersion = 1;
constexpr int64_t kNoteApplicationId = 1111575630;
constexpr int kQueryWordsMax = 32;

constexpr const char* kNoteSetup =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;";
constexpr const char* kNoteSchema = R"sql(
BEGIN IMMEDIATE;
CREATE TABLE notes(
  key INTEGER PRIMARY KEY AUTOINCREMENT,
  workspace TEXT NOT NULL,
  session TEXT NOT NULL,
  call TEXT NOT NULL UNIQUE,
  time_ms INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX notes_by_workspace ON notes(workspace);
CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'unicode61');
PRAGMA application_id = 1111575630;
PRAGMA user_version = 1;
COMMIT;
)sql";

Result<std::unique_ptr<Sqlite>> OpenNotes(const std::string& path) {
  return OpenOwnDatabase(
      path, {"a store of notes", kNoteSetup, kNoteSchema, kNoteApplicationId, kNoteVersion});
}

/// Any of the words, each as it stands.
std::string AnyWord(std::string_view query) {
  std::string any;
  std::string word;
  int words = 0;
  const auto end_word = [&] {
    if (!word.empty() && words < kQueryWordsMax) {
      any += (words++ > 0 ? " OR \"" : "\"") + word + "\"";
    }
    word.clear();
  };
  for (const char c : query) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = byte >= 0x80 || (byte >= '0' && byte <= '9') ||
                        ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
    if (letter) {
      word += c;
    } else {
      end_word();
    }
  }
  end_word();
  return any;
}

StoredNote NoteFromRow(const Query& row) {
  return {row.Int(0), row.Text(1), row.Text(2), row.Text(3), row.Int(4), row.Text(5)};
}

}  // namespace

class NoteStore::Impl {
 public:
  explicit Impl(std::string file) : path(std::move(file)) {}

  /// Null: there is none, and `make` is false.
  Result<Sqlite*> Database(bool make) {
    if (database == nullptr && (make || access(path.c_str(), F_OK) == 0)) {
      ASSIGN_OR_RETURN(database, OpenNotes(path));
    }
    return database.get();
  }

  Result<std::vector<StoredNote>> Rows(Query query) {
    std::vector<StoredNote> notes;
    while (true) {
      ASSIGN_OR_RETURN(const bool row, query.Step());
      if (!row) return notes;
      notes.push_back(NoteFromRow(query));
    }
  }

  Result<int64_t> Insert(Sqlite* opened, const StoredNote& note) {
    {
      ASSIGN_OR_RETURN(Query earlier, opened->Prepare("SELECT key FROM notes WHERE call = ?1"));
      earlier.Bind(note.call);
      ASSIGN_OR_RETURN(const bool row, earlier.Step());
      if (row) return earlier.Int(0);
    }
    {
      ASSIGN_OR_RETURN(Query count,
                       opened->Prepare("SELECT count(*) FROM notes WHERE workspace = ?1"));
      count.Bind(note.workspace);
      RETURN_IF_ERROR(count.Step().status());
      if (count.Int(0) >= kNotesMax) {
        return ResourceExhaustedError("this workspace has " + std::to_string(kNotesMax) +
                                      " notes already; `baleen notes forget` removes some");
      }
    }
    {
      ASSIGN_OR_RETURN(Query insert,
                       opened->Prepare("INSERT INTO notes(workspace, session, call, time_ms, text) "
                                       "VALUES(?1, ?2, ?3, ?4, ?5)"));
      RETURN_IF_ERROR(insert.Bind(note.workspace)
                          .Bind(note.session)
                          .Bind(note.call)
                          .Bind(note.time_ms)
                          .Bind(note.text)
                          .Run());
    }
    const int64_t key = sqlite3_last_insert_rowid(opened->handle());
    ASSIGN_OR_RETURN(Query words, opened->Prepare("INSERT INTO words(rowid, text) VALUES(?1, ?2)"));
    RETURN_IF_ERROR(words.Bind(key).Bind(note.text).Run());
    return key;
  }

  std::mutex mutex;
  const std::string path;
  std::unique_ptr<Sqlite> database;
};

NoteStore::NoteStore(std::string path) : impl_(std::make_unique<Impl>(std::move(path))) {}
NoteStore::~NoteStore() = default;

Result<int64_t> NoteStore::Add(const StoredNote& note) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(true));
  int64_t key = 0;
  RETURN_IF_ERROR(RunInTransaction(*database, [&]() -> Status {
    ASSIGN_OR_RETURN(key, impl_->Insert(database, note));
    return OkStatus();
  }));
  return key;
}

Result<std::vector<StoredNote>> NoteStore::Find(const std::string& workspace,
                                                std::string_view query, int64_t limit) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  const std::string any = AnyWord(query);
  if (database == nullptr || any.empty()) return std::vector<StoredNote>();
  ASSIGN_OR_RETURN(
      Query select,
      database->Prepare("SELECT n.key, n.workspace, n.session, n.call, n.time_ms, n.text FROM "
                        "words JOIN notes n ON n.key = words.rowid WHERE words MATCH ?1 AND "
                        "n.workspace = ?2 ORDER BY bm25(words), n.key DESC LIMIT ?3"));
  select.Bind(any).Bind(workspace).Bind(limit);
  return impl_->Rows(std::move(select));
}

Result<std::vector<StoredNote>> NoteStore::List(const std::string& workspace, int64_t after,
                                                int64_t limit) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  if (database == nullptr) return std::vector<StoredNote>();
  ASSIGN_OR_RETURN(Query select,
                   database->Prepare("SELECT key, workspace, session, call, time_ms, text FROM "
                                     "notes WHERE (?1 = '' OR workspace = ?1) AND key > ?2 "
                                     "ORDER BY key LIMIT ?3"));
  select.Bind(workspace).Bind(after).Bind(limit);
  return impl_->Rows(std::move(select));
}

Result<StoredNote> NoteStore::Forget(int64_t key) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  std::vector<StoredNote> gone;
  if (database != nullptr) {
    RETURN_IF_ERROR(RunInTransaction(*database, [&]() -> Status {
      {
        ASSIGN_OR_RETURN(Query note,
                         database->Prepare("DELETE FROM notes WHERE key = ?1 RETURNING key, "
                                           "workspace, session, call, time_ms, text"));
        note.Bind(key);
        ASSIGN_OR_RETURN(gone, impl_->Rows(std::move(note)));
      }
      ASSIGN_OR_RETURN(Query words, database->Prepare("DELETE FROM words WHERE rowid = ?1"));
      return words.Bind(key).Run();
    }));
  }
  if (!gone.empty()) return std::move(gone.front());
  return NotFoundError(
      "there is no note n" + std::to_string(key) + "; `baleen notes list` names them",
      "ITEM_UNKNOWN");
}

Result<std::vector<std::string>> NoteStore::Verify() {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  std::vector<std::string> problems;
  const auto opened = impl_->Database(false);
  if (!opened.ok()) problems.push_back("notes: " + opened.status().message());
  if (!opened.ok() || *opened == nullptr) return problems;
  ASSIGN_OR_RETURN(Query check, (*opened)->Prepare("PRAGMA integrity_check(20)"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, check.Step());
    if (!row) return problems;
    if (check.Text(0) != "ok") problems.push_back("notes: " + check.Text(0));
  }
}

Status NoteStore::Backup(const std::string& path) {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  ASSIGN_OR_RETURN(Sqlite * database, impl_->Database(false));
  return database == nullptr ? OkStatus() : database->CopyTo(path);
}

}  // namespace baleen
