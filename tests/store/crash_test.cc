// What survives when the process dies, at chosen system calls and at random instants; and that the
// syncs which promise more than that really happen, in order.
#include <filesystem>
#include <fstream>
#include <random>
#include <regex>
#include <set>

#include "runtime/store/journal.h"
#include "runtime/store/kv_store.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/child.h"
#include "tests/testing/strace.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

/// The number after the last "ack ", or 0.
int64_t LastAck(const std::vector<std::string>& lines) {
  int64_t ack = 0;
  for (const std::string& line : lines) {
    if (line.starts_with("ack ")) ack = std::stoll(line.substr(4));
  }
  return ack;
}

/// Opens the journal after a crash: clean, and every event and token from 1 to `acknowledged` is
/// there.
void CheckJournal(const std::string& path, int64_t acknowledged) {
  const auto journal = Must(Journal::Open({.path = path}));
  const auto report = Must(journal->Verify(""));
  CAPTURE(report.problems, acknowledged);
  REQUIRE(report.problems.empty());
  REQUIRE(report.events >= acknowledged);
  // At most the commit that was under way beyond.
  REQUIRE(report.events <= acknowledged + 1);
  REQUIRE(report.tokens == report.events);
  if (acknowledged == 0) return;
  const auto events = Must(journal->ReadEvents("crash", 0, kRowsPerReadMax));
  for (size_t i = 0; i < events.size(); ++i) {
    REQUIRE(events[i].payload == SampleEvent("crash", static_cast<int64_t>(i) + 1).payload);
  }
}

std::vector<std::string> TraceEvents(const std::string& path, const std::string& mode, int count,
                                     const std::string& trace_path) {
  Child writer({"strace", "-f", "-y", "-s", "64", "-o", trace_path, "-e",
                "trace=fdatasync,fsync,write,pwrite64", STORE_WRITER, "events", path, mode,
                std::to_string(count)});
  const auto lines = writer.ReadAll();
  REQUIRE(writer.Wait() == 0);
  REQUIRE(LastAck(lines) == count);
  std::vector<std::string> calls;
  std::ifstream trace(trace_path);
  for (std::string line; std::getline(trace, line);) calls.push_back(line);
  return calls;
}

bool IsSync(const std::string& call, const std::string& file) {
  static const std::regex pattern(R"(f(data)?sync\(\d+<[^>]*>\)\s+= 0)");
  return std::regex_search(call, pattern) && call.find(file + ">") != std::string::npos;
}

bool IsLogWrite(const std::string& call) {
  return call.find("pwrite64(") != std::string::npos && call.find("-wal>") != std::string::npos;
}

/// Of the acknowledgements after "open": how many came after a sync of everything in the log.
struct AckCount {
  int synced = 0;
  int unsynced = 0;
  int syncs = 0;  ///< Of the log, from "open" to the last acknowledgement.
};

AckCount CountAcks(const std::vector<std::string>& calls) {
  AckCount count;
  bool open = false;
  bool dirty = false;
  bool wrote = false;
  int syncs = 0;
  for (const std::string& call : calls) {
    if (call.find("\"open\\n\"") != std::string::npos) open = true;
    if (IsLogWrite(call)) dirty = wrote = true;
    if (IsSync(call, "-wal")) {
      dirty = false;
      if (open) ++syncs;
    }
    if (call.find("\"ack ") == std::string::npos) continue;
    REQUIRE(wrote);  // Else the trace shows nothing of what this test is about.
    wrote = false;
    count.syncs = syncs;
    ++(dirty ? count.unsynced : count.synced);
  }
  return count;
}

}  // namespace

TEST_CASE("EverySyncedCommitSyncsTheLogBeforeItReturns") {
  if (!StraceWorks()) return;
  const TempDirectory temp;
  for (const std::string mode : {"synced", "mixed", "sync"}) {
    const AckCount count =
        CountAcks(TraceEvents(temp.File(mode + ".db"), mode, 20, temp.File("trace")));
    CAPTURE(mode, count.synced, count.unsynced, count.syncs);
    REQUIRE(count.unsynced == 0);
    REQUIRE(count.synced == 20);
    // Exactly one sync each: more would double the price of every acknowledgement.
    REQUIRE(count.syncs == 20);
  }
}

TEST_CASE("KernelCommitDoesNotSync") {
  if (!StraceWorks()) return;
  const TempDirectory temp;
  const AckCount count =
      CountAcks(TraceEvents(temp.File("journal.db"), "kernel", 20, temp.File("trace")));
  REQUIRE(count.unsynced == 20);
  REQUIRE(count.syncs == 0);
}

TEST_CASE("JournalCreationSyncsFileAndDirectoryEntry") {
  if (!StraceWorks()) return;
  const TempDirectory temp;
  const auto calls = TraceEvents(temp.File("journal.db"), "synced", 1, temp.File("trace"));
  bool file = false;
  bool directory_after_file = false;
  int directory_syncs = 0;
  for (const std::string& call : calls) {
    if (call.find("\"ack ") != std::string::npos) break;
    if (IsSync(call, "/journal.db")) file = true;
    if (IsSync(call, temp.path())) {
      ++directory_syncs;
      directory_after_file = directory_after_file || file;
    }
  }
  REQUIRE(file);
  REQUIRE(directory_after_file);
  // Once for the journal's entry, once for its log's.
  REQUIRE(directory_syncs >= 2);
}

TEST_CASE("EveryNameAndSmallFileIsSyncedBeforeItIsBuiltUpon") {
  if (!StraceWorks()) return;
  const TempDirectory temp;
  {
    Child writer({"strace", "-f", "-y", "-s", "512", "-o", temp.File("trace"), "-e",
                  "trace=mkdir,rename,link,unlink,openat,fsync,fdatasync,write,pwrite64",
                  STORE_WRITER, "folder", temp.File("data")});
    REQUIRE(LastAck(writer.ReadAll()) == 1);
    REQUIRE(writer.Wait() == 0);
  }
  // RocksDB and SQLite see to their own files; what a lock file says may be lost.
  const auto is_ours = [&](const std::string& path) {
    static const std::regex others(R"(/kv/db|-wal$|-shm$|-journal$|-anchor$|/LOCK$)");
    return path.starts_with(temp.path() + "/data") && !std::regex_search(path, others);
  };
  const std::regex call(R"re((mkdir|rename|link|unlink)\("([^"]*)"(?:, "([^"]*)")?.*= 0)re");
  const std::regex created(R"re(openat\([^"]*"([^"]*)", [^,]*O_EXCL.*= \d+<)re");
  const std::regex on_file(R"re((fsync|fdatasync|write|pwrite64)\(\d+<([^>]*)>)re");
  std::set<std::string> unsynced;  // Files with bytes, and names whose folder must be synced.
  std::set<std::string> names;
  int synced_names = 0;
  std::ifstream trace(temp.File("trace"));
  for (std::string line; std::getline(trace, line);) {
    if (line.find("\"ack 1") != std::string::npos) break;
    std::smatch found;
    CAPTURE(line);
    if (std::regex_search(line, found, call)) {
      const std::string target = found[3].matched ? found[3].str() : found[2].str();
      if (found[1] == "unlink") {
        unsynced.erase(target);
        names.erase(target);
      } else if (is_ours(target)) {
        if (found[3].matched) {
          REQUIRE(unsynced.count(found[2]) == 0);  // Else the name could outlive the bytes.
          names.erase(found[2]);
        }
        REQUIRE(names.empty());  // One is power-safe before the next is made.
        names.insert(target);
      }
    } else if (std::regex_search(line, found, created)) {
      if (is_ours(found[1])) {
        REQUIRE(names.empty());
        names.insert(found[1]);
        unsynced.insert(found[1]);
      }
    } else if (std::regex_search(line, found, on_file)) {
      const std::string file = found[2];
      if (found[1] == "write" || found[1] == "pwrite64") {
        if (is_ours(file)) unsynced.insert(file);
        continue;
      }
      unsynced.erase(file);
      synced_names += static_cast<int>(std::erase_if(names, [&](const std::string& name) {
        return std::filesystem::path(name).parent_path().string() == file;
      }));
    }
  }
  CAPTURE(unsynced, names);
  REQUIRE(unsynced.empty());
  REQUIRE(names.empty());
  REQUIRE(synced_names >= 8);
}

TEST_CASE("AcknowledgedEventsSurviveAKillAtAnySync") {
  if (!StraceWorks()) return;
  for (const std::string mode : {"synced", "mixed", "sync"}) {
    int64_t last = 0;
    for (int when = 1; when <= 16; ++when) {
      const TempDirectory temp;
      const std::string path = temp.File("journal.db");
      Child writer({"strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e",
                    "inject=fdatasync,fsync:signal=KILL:when=" + std::to_string(when), STORE_WRITER,
                    "events", path, mode, "100"});
      const auto lines = writer.ReadAll();
      REQUIRE(writer.Wait() == 128 + SIGKILL);
      CAPTURE(mode, when);
      last = LastAck(lines);
      CheckJournal(path, last);
    }
    // The later kills fell inside the loop, not all at creation.
    REQUIRE(last >= 3);
  }
}

TEST_CASE("SyncErrorIsReportedAndTheFailedCommitIsInvisibleAfterReopening") {
  if (!StraceWorks()) return;
  for (const std::string mode : {"synced", "mixed", "sync"}) {
    int in_loop = 0;
    for (int when = 1; when <= 8; ++when) {
      const TempDirectory temp;
      const std::string path = temp.File("journal.db");
      // Only the log's syncs: SQLite ignores those of a directory, which is why Open has its own.
      Child writer({"strace", "-f", "-o", "/dev/null", "-P", path + "-wal", "-e",
                    "trace=fdatasync,fsync", "-e",
                    "inject=fdatasync,fsync:error=EIO:when=" + std::to_string(when), STORE_WRITER,
                    "events", path, mode, "100"});
      const auto lines = writer.ReadAll();
      CAPTURE(mode, when, lines);
      REQUIRE(writer.Wait() == 3);
      REQUIRE(lines.back().starts_with("error INTERNAL"));
      REQUIRE(lines.back().find("disk") != std::string::npos);
      const int64_t last = LastAck(lines);
      if (lines.front() != "open") continue;  // Failed at creation.
      ++in_loop;
      CheckJournal(path, last);
      if (mode != "sync") {
        const auto journal = Must(Journal::Open({.path = path, .read_only = true}));
        REQUIRE(Must(journal->GetSession("crash")).last_seq == last);
      }
    }
    REQUIRE(in_loop >= 3);
  }
}

TEST_CASE("DirectorySyncErrorFailsOpen") {
  if (!StraceWorks()) return;
  for (int when = 1; when <= 2; ++when) {
    const TempDirectory temp;
    // 1: the new file's entry. 2 and 3: the log's, by SQLite, which ignores the error, and by Open.
    Child writer({"strace", "-f", "-o", "/dev/null", "-P", temp.path(), "-e", "trace=fsync", "-e",
                  "inject=fsync:error=EIO:when=" + std::to_string(when) + "+", STORE_WRITER,
                  "events", temp.File("journal.db"), "synced", "1"});
    const auto lines = writer.ReadAll();
    CAPTURE(when, lines);
    REQUIRE(writer.Wait() == 3);
    REQUIRE(lines.back().starts_with("error INTERNAL"));
  }
}

TEST_CASE("JournalIsCleanAfterKillsAtRandomInstants") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  const uint32_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  int64_t acknowledged = 0;
  for (int round = 0; round < 12; ++round) {
    Child writer({STORE_WRITER, "events", path, round % 2 == 0 ? "kernel" : "synced", "1000000"});
    // The pipe is read a random number of lines, then the writer dies wherever it is by then.
    const int lines = std::uniform_int_distribution<int>(1, 120)(random);
    std::vector<std::string> seen;
    for (int i = 0; i < lines; ++i) seen.push_back(writer.ReadLine());
    writer.Kill();
    const auto rest = writer.ReadAll();
    seen.insert(seen.end(), rest.begin(), rest.end());
    REQUIRE(writer.Wait() == 128 + SIGKILL);
    // A last line without its end isn't an acknowledgement; lines are written whole.
    const int64_t last = LastAck(seen);
    // 0: died before the first acknowledgement of this round.
    REQUIRE((last == 0 || last > acknowledged));
    acknowledged = std::max(acknowledged, last);
    CheckJournal(path, acknowledged);
    acknowledged = Must(Must(Journal::Open({.path = path}))->GetSession("crash")).last_seq;
  }
  REQUIRE(acknowledged > 12);
}

TEST_CASE("KvStoreKeepsEveryFlushedBlockThroughKillsAtRandomInstants") {
  const TempDirectory temp;
  const std::string path = temp.File("kv");
  const uint32_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  int64_t flushed = 0;
  for (int round = 0; round < 12; ++round) {
    Child writer({STORE_WRITER, "blocks", path, "1000000"});
    REQUIRE(writer.ReadLine() == "open");
    std::vector<std::string> seen;
    const int lines = std::uniform_int_distribution<int>(1, 12)(random);
    for (int i = 0; i < lines; ++i) seen.push_back(writer.ReadLine());
    writer.Kill();
    const auto rest = writer.ReadAll();
    seen.insert(seen.end(), rest.begin(), rest.end());
    REQUIRE(writer.Wait() == 128 + SIGKILL);
    // Rounds begin anew from block 0, so that later ones also cross existing keys.
    flushed = std::max(flushed, LastAck(seen));
    CAPTURE(round, flushed);
    const auto store = Must(KvStore::Open({.path = path}, nullptr));
    const auto report = Must(store->Verify());
    CAPTURE(report.problems);
    REQUIRE(report.problems.empty());
    REQUIRE(report.blocks >= flushed);
    REQUIRE(report.checkpoints >= flushed / 4);
    BlockKey parent = {};
    for (int64_t i = 0; i < flushed; ++i) {
      const StoredBlock block = SampleBlock(i, 96 << 10);
      parent = NextBlockKey(parent, block.tokens, kSampleScope);
      REQUIRE(Must(store->GetBlock(parent, block.tokens)).bytes == block.bytes);
      if (i % 4 != 3) continue;
      REQUIRE(Must(store->FindCheckpoints(parent, {}, nullptr)).size() == 1);
    }
  }
}

}  // namespace baleen
