// Survival: a worker killed with SIGKILL at many instants goes on as if nothing had happened. After
// each kill everything it had shown is in the journal, and once finished its token ids, the hashes
// of its logits and its events are those of a twin that was never killed.
#include <chrono>

#include "tests/runtime/survivor.h"

namespace baleen {
namespace {

constexpr int kInstants = 10;
constexpr int kTries = 40;

/// Spins: the instant is what is being drawn, and a scheduler would round it.
void SpinFor(int64_t microseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// Reads lines until one starts with `start`; appends them. false: the output ended.
bool ReadTo(Child& worker, const std::string& start, std::vector<std::string>& lines) {
  while (true) {
    lines.push_back(worker.ReadLine());
    if (lines.back().starts_with(start)) return true;
    if (lines.back().empty()) return false;
  }
}

void KillNow(Child& worker, std::vector<std::string>& lines) {
  worker.Kill();
  const auto rest = worker.ReadAll();
  lines.insert(lines.end(), rest.begin(), rest.end());
  worker.Wait();
}

/// Every third survivor goes a turn further: what it stored must be good as well.
int64_t TurnsFor(int attempt) { return attempt % 3 == 0 ? 3 : 2; }

/// The first `generate` of the second turn, as printed.
constexpr char kSecondTurnPrompt[] = "event 7 generate";

}  // namespace

TEST_CASE("SurvivesKillsDuringPrefill") {
  const Twins twins;
  Instants instants("prefill");
  CAPTURE(instants.seed());
  const TempDirectory temp;
  const std::string data_dir = temp.File("data");
  for (int attempt = 0; attempt < kTries && instants.hits() < kInstants + 2; ++attempt) {
    CopyFolder(twins.start(), data_dir);
    std::vector<std::string> lines;
    {
      Child worker(WorkerCommand(data_dir, 2));
      REQUIRE(ReadTo(worker, kSecondTurnPrompt, lines));
      SpinFor(instants.Draw(0, static_cast<int>(twins.prefill_ms() * 1000)));
      KillNow(worker, lines);
    }
    const Journalled after = ReadJournalled(data_dir);
    CheckShown(lines, after);
    if (PhaseOf(after) == Phase::kPrefill) instants.Hit();
    twins.FinishAndCompare(data_dir, TurnsFor(attempt));
  }
  REQUIRE(instants.hits() >= kInstants);
}

TEST_CASE("SurvivesKillsDuringTheVeryFirstPrefill") {
  const Twins twins;
  Instants instants("first prefill");
  CAPTURE(instants.seed());
  const TempDirectory temp;
  const std::string data_dir = temp.File("data");
  for (int attempt = 0; attempt < 4; ++attempt) {
    std::filesystem::remove_all(data_dir);
    std::vector<std::string> lines;
    {
      Child worker(WorkerCommand(data_dir, 1));
      REQUIRE(ReadTo(worker, "event 3 generate", lines));
      SpinFor(instants.Draw(0, 400'000));
      KillNow(worker, lines);
    }
    CheckShown(lines, ReadJournalled(data_dir));
    instants.Hit();
    twins.FinishAndCompare(data_dir, 1);
  }
}

TEST_CASE("SurvivesKillsDuringDecode") {
  const Twins twins;
  Instants instants("decode");
  CAPTURE(instants.seed());
  const TempDirectory temp;
  const std::string data_dir = temp.File("data");
  for (int attempt = 0; attempt < kTries && instants.hits() < kInstants + 2; ++attempt) {
    CopyFolder(twins.start(), data_dir);
    std::vector<std::string> lines;
    {
      Child worker(WorkerCommand(data_dir, 2));
      const bool second = attempt % 2 == 1;
      REQUIRE(ReadTo(worker, second ? "event 11 generate" : kSecondTurnPrompt, lines));
      const int deltas = instants.Draw(1, second ? 15 : 8);
      for (int i = 0; i < deltas; ++i) ReadTo(worker, "delta", lines);
      SpinFor(instants.Draw(0, 500));
      KillNow(worker, lines);
    }
    const Journalled after = ReadJournalled(data_dir);
    CheckShown(lines, after);
    if (PhaseOf(after) == Phase::kDecode) instants.Hit();
    twins.FinishAndCompare(data_dir, TurnsFor(attempt));
  }
  REQUIRE(instants.hits() >= kInstants);
}

TEST_CASE("SurvivesKillsDuringToolRuns") {
  if (!StraceWorks()) return;
  const Twins twins;
  Instants instants("tool run");
  CAPTURE(instants.seed());
  const TempDirectory temp;
  const std::string data_dir = temp.File("data");
  // Nothing but tools opens files beneath a workspace, each of the two pool threads about ten.
  for (int when = 2; when <= kTries && instants.hits() < kInstants + 2; ++when) {
    CopyFolder(twins.start(), data_dir);
    std::vector<std::string> lines;
    {
      Child worker(WorkerCommand(data_dir, 2, KillAt("openat2", 1 + when / 2)));
      lines = worker.ReadAll();
      worker.Wait();
    }
    const Journalled after = ReadJournalled(data_dir);
    CheckShown(lines, after);
    if (PhaseOf(after) == Phase::kTools) instants.Hit();
    twins.FinishAndCompare(data_dir, TurnsFor(when));
  }
  REQUIRE(instants.hits() >= kInstants);
}

TEST_CASE("SurvivesKillsDuringBlockWrites") {
  if (!StraceWorks()) return;
  const Twins twins;
  Instants instants("block write");
  CAPTURE(instants.seed());
  const TempDirectory temp;
  const std::string data_dir = temp.File("data");
  std::vector<std::string> tables;
  for (int i = 1; i <= 120; ++i) {
    const std::string number = std::to_string(i);
    tables.push_back(data_dir + "/kv/db/" + std::string(6 - number.size(), '0') + number + ".sst");
  }
  // Creating, filling and syncing tables, by whichever thread of the store.
  const std::string calls = "openat,write,pwrite64,sync_file_range,fdatasync";
  for (int attempt = 0; attempt < kTries && instants.hits() < kInstants + 2; ++attempt) {
    CopyFolder(twins.start(), data_dir);
    std::vector<std::string> lines;
    int status = 0;
    {
      Child worker(WorkerCommand(data_dir, 2, KillAt(calls, instants.Draw(1, 14), tables)));
      lines = worker.ReadAll();
      status = worker.Wait();
    }
    CheckShown(lines, ReadJournalled(data_dir));
    if (status == 128 + SIGKILL) instants.Hit();
    twins.FinishAndCompare(data_dir, TurnsFor(attempt));
  }
  REQUIRE(instants.hits() >= kInstants);
}

TEST_CASE("SurvivesKillsDuringJournalCommits") {
  if (!StraceWorks()) return;
  const Twins twins;
  Instants instants("journal commit");
  CAPTURE(instants.seed());
  const TempDirectory temp;
  const std::string data_dir = temp.File("data");
  for (int attempt = 0; attempt < kTries && instants.hits() < kInstants + 4; ++attempt) {
    CopyFolder(twins.start(), data_dir);
    // Syncs are few: each second instant is one of them. A token's commit is some writes.
    const bool sync = attempt % 2 == 0;
    const int when = sync ? instants.Draw(1, 4) : instants.Draw(1, 120);
    std::vector<std::string> lines;
    int status = 0;
    {
      Child worker(WorkerCommand(
          data_dir, 2,
          KillAt(sync ? "fdatasync,fsync" : "pwrite64", when, {data_dir + "/journal.db-wal"})));
      lines = worker.ReadAll();
      status = worker.Wait();
    }
    CheckShown(lines, ReadJournalled(data_dir));
    if (status == 128 + SIGKILL) instants.Hit();
    twins.FinishAndCompare(data_dir, TurnsFor(attempt));
  }
  REQUIRE(instants.hits() >= kInstants);
}

TEST_CASE("SurvivesKillsDuringRecovery") {
  if (!StraceWorks()) return;
  const Twins twins;
  Instants instants("recovery");
  CAPTURE(instants.seed());
  const TempDirectory temp;
  const std::string data_dir = temp.File("data");
  const std::string killed = temp.File("killed");
  CopyFolder(twins.start(), killed);
  {
    Child worker(WorkerCommand(killed, 2));
    std::vector<std::string> lines;
    REQUIRE(ReadTo(worker, "event 11 generate", lines));
    for (int i = 0; i < 4; ++i) REQUIRE(ReadTo(worker, "delta", lines));
    KillNow(worker, lines);
  }
  const Journalled before = ReadJournalled(killed);
  REQUIRE(PhaseOf(before) == Phase::kDecode);
  for (int attempt = 0; attempt < kTries && instants.hits() < kInstants + 4; ++attempt) {
    CopyFolder(killed, data_dir);
    // Up to three deaths in a row; each second one at a read of either store, the others by time.
    bool all_in_recovery = true;
    for (int death = 0; death <= attempt % 3; ++death) {
      const bool traced = (attempt + death) % 2 == 0;
      Child worker(WorkerCommand(data_dir, 2,
                                 traced ? KillAt("pread64,openat,fdatasync", instants.Draw(20, 220))
                                        : std::vector<std::string>()));
      std::vector<std::string> lines;
      if (!traced && ReadTo(worker, "open", lines)) SpinFor(instants.Draw(0, 3000));
      if (!traced) worker.Kill();
      const auto rest = worker.ReadAll();
      lines.insert(lines.end(), rest.begin(), rest.end());
      const int status = worker.Wait();
      const Journalled after = ReadJournalled(data_dir);
      CheckShown(lines, after);
      all_in_recovery = all_in_recovery && status == 128 + SIGKILL &&
                        after.ids.size() == before.ids.size() &&
                        after.events.size() == before.events.size();
    }
    if (all_in_recovery) instants.Hit();
    twins.FinishAndCompare(data_dir, TurnsFor(attempt));
  }
  REQUIRE(instants.hits() >= kInstants);
}

}  // namespace baleen
