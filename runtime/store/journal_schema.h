// The journal's schema: creation, version check, and migrations with a backup first.
//
// Internal to runtime/store. Every release opens every earlier version; tests/data/store keeps a
// golden file of each.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/store/sqlite.h"
#include "tools_sdk/status.h"

namespace baleen {

/// PRAGMA application_id of a journal: "BALN". On-disk, don't change.
inline constexpr int64_t kJournalApplicationId = 0x42414c4e;
/// PRAGMA user_version that this build writes.
inline constexpr int64_t kJournalVersion = 5;

/// Rare kinds that are read when a session is opened, however long it is: ReadEventsOfKind finds
/// them by the index events_of_approvals, which names each.
inline constexpr std::array<std::string_view, 2> kIndexedKinds = {"approval_requested",
                                                                  "approval_resolved"};

/// Takes a journal from version `from` to `from + 1`, inside the caller's transaction.
struct JournalMigration {
  int64_t from = 0;
  Status (*apply)(Sqlite& database) = nullptr;
};

/// All migrations known to this build, ascending and without gaps.
std::span<const JournalMigration> JournalMigrations();

/// Migrations (journal_migration.cc). A row that is damaged stays so, and is reported when it is
/// read. Version 1 knew no timelines, and kept settings in the session's row.
Status MigrateFrom1(Sqlite& database);
/// Version 2 looked rows up by indexes, which each fork and turn had to write too.
Status MigrateFrom2(Sqlite& database);
/// Version 3 had no commit numbers.
Status MigrateFrom3(Sqlite& database);
/// Version 4 had no index of events.
Status MigrateFrom4(Sqlite& database);

struct SchemaOptions {
  bool read_only = false;
  bool must_exist = false;  ///< An empty file is one that lost what it held.
};

/// Brings an open database to the current version: creates the schema in an empty file, migrates an
/// older one (after a backup beside it, "<path>.v<N>-backup"), all in one synced transaction.
/// Errors: DATA_LOSS (not a journal), FAILED_PRECONDITION (newer version; older one and read-only).
Status PrepareSchema(Sqlite& database, SchemaOptions options);

/// What PrepareSchema does to an older version, with any table of migrations (for tests).
/// Errors: INTERNAL if the table has no way to `target`; the file is then unchanged.
Status MigrateSchema(Sqlite& database, int64_t from, int64_t target,
                     std::span<const JournalMigration> migrations);

}  // namespace baleen
