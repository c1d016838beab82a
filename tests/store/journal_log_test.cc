// Write-ahead logs that lost what was acknowledged, and the anchor that tells so.
#include <filesystem>
#include <string>

#include "runtime/store/journal_anchor.h"
#include "tests/store/journal_files.h"

namespace baleen {
namespace {

/// What a killed process leaves of a journal with `events` events, each in a commit of its own.
void LeaveKilled(const std::string& folder, int64_t events) {
  const std::string live = folder + "-live";
  std::filesystem::create_directory(live);
  auto journal = Must(OpenJournal(live + "/journal.db"));
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
      const auto journal = OpenJournal(path);
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
    const auto journal = Must(OpenJournal(path));
    REQUIRE(Must(journal->GetSession("s")).last_seq == 4);
    REQUIRE(journal->notes().size() == (attempt == 0 ? 1 : 0));
  }
}

TEST_CASE("JournalWhoseLogIsGoneIsRefusedUnlessTheFileHoldsItsNewestCommit") {
  const TempDirectory temp;
  const std::string live = temp.File("live.db");
  auto journal = Must(OpenJournal(live));
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
    const auto refused = OpenJournal(without);
    REQUIRE_ERROR(refused, StatusCode::kDataLoss, "commits that were not yet in the file");
    REQUIRE(refused.status().reason() == "JOURNAL_BEHIND");
  }
  // After a power cut the commit that wasn't synced doesn't count.
  REQUIRE_OK(Journal::Open({.path = without, .boot_id = "the next"}));
  const std::string moved = copy("moved");
  Sql(moved, "SELECT 1 FROM sessions");
  REQUIRE_FALSE(std::filesystem::exists(moved + "-wal"));
  REQUIRE(Must(OpenJournal(moved))->notes().size() == 1);
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
  REQUIRE_ERROR(OpenJournal(path), StatusCode::kDataLoss, "holds 3 of 4 commits");
  const auto journal = Must(Journal::Open({.path = path, .boot_id = "the next"}));
  REQUIRE(Must(journal->GetSession("s")).last_seq == 2);
}

TEST_CASE("JournalThatIsMissingOrEmptyBesideItsAnchorIsDataLoss") {
  const TempDirectory temp;
  const std::string path = GoldenCopy(temp);
  Must(OpenJournal(path)).reset();
  std::filesystem::resize_file(path, 0);
  REQUIRE_ERROR(OpenJournal(path), StatusCode::kDataLoss, "the file is empty");
  REQUIRE(std::filesystem::remove(path));
  const auto missing = Journal::Open({.path = path, .accept_earlier_state = true});
  REQUIRE_ERROR(missing, StatusCode::kDataLoss, "is missing");
  REQUIRE(missing.status().reason() == "JOURNAL_MISSING");
  REQUIRE_FALSE(std::filesystem::exists(path));
  REQUIRE(std::filesystem::remove(path + "-anchor"));
  REQUIRE_OK(OpenJournal(path));
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
    const auto journal = Must(OpenJournal(path));
    REQUIRE(journal->notes().size() == (exists ? 1 : 0));
    REQUIRE(Must(journal->GetSession("s")).last_seq == 3);
  }
  // It is there again.
  REQUIRE(Must(OpenJournal(path))->notes().empty());
  REQUIRE(std::filesystem::exists(path + "-anchor"));
}

}  // namespace baleen
