// The journal on a disk that fails: each operation of a scenario in turn, in each way that a disk
// can fail, and a power cut at each. After every one: nothing acknowledged is lost, nothing that
// isn't true is read, the status is clear, and the journal goes on or says that it must be
// reopened.
#include <algorithm>
#include <iostream>
#include <sstream>

#include "runtime/store/journal.h"
#include "tests/faults/fault_vfs.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

/// Everything that a journal can be asked, as text; an error that a read gave.
Result<std::string> Dump(Journal& journal) {
  std::ostringstream out;
  ASSIGN_OR_RETURN(const auto sessions, journal.ListSessions("", kRowsPerReadMax));
  for (const SessionRecord& session : sessions) {
    out << session.id << '|' << session.title << '|' << session.settings << '|' << session.tokens
        << '|' << session.last_seq << '|' << session.pinned << session.timeline << session.parent
        << '\n';
    ASSIGN_OR_RETURN(const auto events, journal.ReadEvents(session.id, 0, kRowsPerReadMax));
    for (const EventRecord& event : events) {
      out << event.seq << event.kind << event.time_ms << event.payload << '\n';
    }
    ASSIGN_OR_RETURN(const TokenRun run, journal.ReadTokens(session.id, 0, kTokensPerReadMax));
    for (const int32_t id : run.ids) out << id << ' ';
    for (const uint64_t hash : run.logits_hashes) out << hash << ' ';
    out << '\n';
  }
  ASSIGN_OR_RETURN(const auto timelines, journal.ListTimelines("", 0, kRowsPerReadMax));
  for (const TimelineRecord& timeline : timelines) {
    out << timeline.key << '|' << timeline.session << '|' << timeline.number << '|' << timeline.base
        << '|' << timeline.tokens << '|' << timeline.last_seq << '\n';
    ASSIGN_OR_RETURN(const auto events,
                     journal.ReadTimelineEvents(timeline.key, 0, kRowsPerReadMax));
    for (const EventRecord& event : events) out << event.seq << event.payload << '\n';
  }
  for (int i = 0; i < 3; ++i) {
    const auto answer = journal.FindAnswer("request-" + std::to_string(i), "StartTurn");
    if (!answer.ok() && answer.status().code() != StatusCode::kNotFound) return answer.status();
    out << (answer.ok() ? *answer : "-") << '\n';
  }
  return out.str();
}

/// One commit of a scenario.
struct Step {
  JournalBatch batch;
  Durability durability = Durability::kSynced;
  bool reopen_before = false;  ///< Closing copies the log into the file.
};

TokenRun SampleRun(const std::string& session, int64_t begin, int64_t count, bool sampled) {
  TokenRun run;
  run.session = session;
  run.begin = begin;
  for (int64_t i = 0; i < count; ++i) {
    run.ids.push_back(static_cast<int32_t>((begin + i) * 7 % 129280));
    if (sampled) run.logits_hashes.push_back(static_cast<uint64_t>(begin + i) * 0x9e3779b97f4a7c15);
  }
  return run;
}

/// Creation, events, tokens across rows, answers, an update, a fork, a rewind and its undoing, a
/// deletion; kernel and synced commits mixed, and closings in between. `big_bytes`: of one event in
/// the middle.
std::vector<Step> Scenario(size_t big_bytes) {
  std::vector<Step> steps(16);
  steps[0].batch.create_sessions = {SampleSession("a"), SampleSession("b", 1001)};
  steps[1].batch.events = {SampleEvent("a", 1), SampleEvent("b", 1)};
  steps[1].batch.answers = {{"request-1", "StartTurn", R"({"turn":"1"})", 5000}};
  steps[2].batch.tokens = {SampleRun("a", 0, 1200, false)};
  steps[2].durability = Durability::kKernel;
  steps[3].batch.tokens = {SampleRun("a", 1200, 1, true), SampleRun("b", 0, 3, true)};
  steps[3].durability = Durability::kKernel;
  steps[4].batch.events = {SampleEvent("a", 2)};
  steps[4].batch.events[0].payload = "{\"text\":\"" + std::string(big_bytes, 'x') + "\"}";
  steps[4].batch.tokens = {SampleRun("a", 1201, 2, true)};
  steps[5].batch.update_sessions = {SampleSession("b", 1001)};
  steps[5].batch.update_sessions[0].title = "Renamed";
  steps[5].durability = Durability::kKernel;
  steps[6].batch.events = {SampleEvent("b", 2), SampleEvent("b", 3)};
  steps[6].reopen_before = true;
  steps[7].batch.tokens = {SampleRun("b", 3, 40, true)};
  steps[7].durability = Durability::kKernel;
  steps[8].batch.events = {SampleEvent("a", 3)};
  steps[8].batch.answers = {{"request-2", "StartTurn", R"({"turn":"2"})", 6000}};
  steps[9].batch.events = {SampleEvent("b", 4)};
  const auto point = [](const std::string& session, int64_t seq, int64_t tokens) {
    TimelinePoint at;
    at.session = session;
    at.seq = seq;
    at.tokens = tokens;
    return at;
  };
  steps[10].batch.forks = {{SampleSession("f", 1002), point("a", 2, 1203)}};
  steps[11].batch.tokens = {SampleRun("f", 1203, 5, true)};
  steps[11].batch.events = {SampleEvent("f", 3)};
  steps[11].durability = Durability::kKernel;
  steps[12].batch.rewinds = {{point("a", 1, 1201), 7000}};
  steps[13].batch.tokens = {SampleRun("a", 1201, 3, true)};
  steps[13].batch.events = {SampleEvent("a", 2)};
  steps[13].reopen_before = true;
  steps[14].batch.selects = {{"a", 1}};
  steps[14].batch.pins = {{"a", true}};
  steps[15].batch.delete_sessions = {"b"};
  return steps;
}

/// A cut that keeps nothing or some is one of the power, which begins a new run of the machine.
JournalOptions OptionsAfter(Cut cut, const std::string& path, const std::string& vfs) {
  JournalOptions options;
  options.path = path;
  options.vfs = vfs;
  if (cut != Cut::kEverything) options.boot_id = "after the power cut";
  return options;
}

/// A clear error names the journal and what to do.
void CheckClear(const Status& status, const std::string& path) {
  CAPTURE(status.ToString());
  const StatusCode code = status.code();
  REQUIRE((code == StatusCode::kInternal || code == StatusCode::kResourceExhausted ||
           code == StatusCode::kFailedPrecondition || code == StatusCode::kDataLoss));
  REQUIRE(status.message().find(path) != std::string::npos);
  const bool says_what_to_do =
      status.message().find("check the disk") != std::string::npos ||
      status.message().find("free space") != std::string::npos ||
      status.message().find("reopen") != std::string::npos ||
      status.message().find("restore it") != std::string::npos ||
      status.message().find("run verify") != std::string::npos ||
      status.message().find("expected a regular file") != std::string::npos;
  REQUIRE(says_what_to_do);
}

class Sweep {
 public:
  explicit Sweep(size_t big_bytes) : steps_(Scenario(big_bytes)) {
    const MemoryDirectory folder;
    const std::string path = folder.File("journal.db");
    auto journal = Must(Journal::Open({.path = path}));
    states_.push_back(Must(Dump(*journal)));
    for (const Step& step : steps_) {
      REQUIRE_OK(journal->Commit(step.batch, step.durability));
      states_.push_back(Must(Dump(*journal)));
    }
  }

  /// Operations of the undisturbed scenario.
  std::vector<FaultyDisk::Entry> Operations() {
    Run run(*this);
    run.Go(-1, Fault::kNone, false);
    REQUIRE(run.acknowledged == std::ssize(steps_));
    first_commit_ = run.first_commit;
    return run.disk.log();
  }
  /// Operations before the scenario's first commit. Known after Operations().
  int64_t first_commit() const { return first_commit_; }

  /// One fault, after which the caller tries again, at first with the same journal.
  void Once(int64_t number, Fault fault, std::mt19937_64& random) {
    Run run(*this);
    run.Go(number, fault, false);
    if (fault == Fault::kTornWrite) {
      CheckReadsTrue(run, random);
      return;
    }
    REQUIRE(run.acknowledged == std::ssize(steps_));
    CheckImages(run, random, {run.synced, std::ssize(steps_), std::ssize(steps_)});
  }

  /// From the operation on nothing works any more, as if the process or the machine had died there.
  void Lasting(int64_t number, Fault fault, std::mt19937_64& random) {
    Run run(*this);
    run.Go(number, fault, true);
    // One more than acknowledged: the commit whose answer never came. After EIO the kernel may have
    // forgotten commits that were only handed to it.
    const int64_t handed_over = fault == Fault::kIoError ? run.synced : run.acknowledged;
    CheckImages(run, random, {run.synced, handed_over, run.acknowledged + 1});
  }

  /// One sync is left out, and the power fails at the operation `cut`. True: something that was
  /// acknowledged as synced is lost.
  bool LosesWithout(int64_t sync, int64_t cut, std::mt19937_64& random) {
    Run run(*this);
    run.skipped_sync = sync;
    run.Go(cut, Fault::kNoSpace, true);
    const MemoryDirectory image;
    for (const Cut kept : {Cut::kNothing, Cut::kEverything, Cut::kSome, Cut::kSome, Cut::kSome}) {
      run.disk.PowerCut(image.File("cut"), kept, random);
      const auto state = StateOf(image.File("cut/journal.db"), kept);
      if (!state.ok() || *state < run.synced) return true;
    }
    return false;
  }

 private:
  /// In steps, what must be there.
  struct Bounds {
    int64_t after_power = 0;
    int64_t after_kill = 0;
    int64_t most = 0;
  };

  struct Run {
    explicit Run(Sweep& sweep_) : sweep(sweep_), disk(folder.path()), vfs(&disk) {}

    JournalOptions Options() { return {.path = path, .vfs = vfs.name()}; }

    /// Leaves the journal open if everything fails from `number` on: a dead process closes nothing.
    void Go(int64_t number, Fault fault, bool lasting) {
      if (number >= 0) disk.FailAt(number, fault, lasting);
      if (skipped_sync >= 0) disk.SkipSync(skipped_sync);
      const bool dies = lasting;
      for (int64_t i = 0; i < std::ssize(sweep.steps_); ++i) {
        Status status = Try(i);
        for (int tries = 0; !status.ok() && !dies && tries < 3; ++tries) {
          CAPTURE(i, status.ToString());
          if (fault == Fault::kTornWrite) return;  // Said something else than what isn't true.
          CheckClear(status, path);
          status = TryAgain(i, status);
        }
        if (dies && !status.ok()) {
          CheckClear(status, path);
          return;
        }
        CAPTURE(i, status.ToString());
        if (fault == Fault::kTornWrite && !status.ok()) return;
        REQUIRE(status.ok());
      }
    }

    Status Try(int64_t i) {
      const Step& step = sweep.steps_[static_cast<size_t>(i)];
      if (step.reopen_before && reopened_for < i) {
        journal.reset();
        reopened_for = i;
      }
      if (journal == nullptr) {
        ASSIGN_OR_RETURN(journal, Journal::Open(Options()));
        SyncedByOpen();
      }
      if (first_commit < 0) first_commit = std::ssize(disk.log());
      RETURN_IF_ERROR(journal->Commit(step.batch, step.durability));
      acknowledged = i + 1;
      if (step.durability == Durability::kSynced) synced = acknowledged;
      return OkStatus();
    }

    /// Open syncs the directory by system call, past SQLite; crash_test.cc sees to that.
    void SyncedByOpen() { disk.SyncedDirectory(folder.path()); }

    /// What failed left nothing behind: not here, and if it must be reopened, not there either.
    Status TryAgain(int64_t i, const Status& failed) {
      if (journal != nullptr) CheckState(i);
      if (failed.message().find("reopen") != std::string::npos || journal == nullptr) {
        journal.reset();
        auto opened = Journal::Open(Options());
        if (!opened.ok()) return opened.status();
        journal = std::move(*opened);
        SyncedByOpen();
        CheckState(i);
      }
      return Try(i);
    }

    void CheckState(int64_t i) {
      const auto dump = Dump(*journal);
      CAPTURE(i, dump.status().ToString());
      if (!dump.ok()) {
        CheckClear(dump.status(), path);
        return;
      }
      REQUIRE(sweep.states_[static_cast<size_t>(i)] == *dump);
    }

    Sweep& sweep;
    MemoryDirectory folder;
    FaultyDisk disk;
    FaultVfs vfs;
    std::string path = folder.File("journal.db");
    std::unique_ptr<Journal> journal;
    int64_t acknowledged = 0;  ///< Steps.
    int64_t synced = 0;        ///< Steps up to the last one acknowledged as synced.
    int64_t reopened_for = -1;
    int64_t skipped_sync = -1;
    int64_t first_commit = -1;  ///< Operations before it.
  };

  /// Which of the scenario's states the journal at `path` is in. -1: in none, which is a lie.
  Result<int64_t> StateOf(const std::string& path, Cut cut, bool accept_earlier = false) {
    FaultyDisk disk(path.substr(0, path.rfind('/')));
    const FaultVfs vfs(&disk);
    JournalOptions options = OptionsAfter(cut, path, vfs.name());
    options.accept_earlier_state = accept_earlier;
    ASSIGN_OR_RETURN(const auto journal, Journal::Open(options));
    ASSIGN_OR_RETURN(const std::string dump, Dump(*journal));
    ASSIGN_OR_RETURN(const JournalReport report, journal->Verify(""));
    if (!report.problems.empty()) return DataLossError(report.problems.front());
    for (int64_t i = std::ssize(states_) - 1; i >= 0; --i) {
      if (states_[static_cast<size_t>(i)] == dump) return i;
    }
    return int64_t{-1};
  }

  void CheckImages(const Run& run, std::mt19937_64& random, Bounds bounds) {
    const MemoryDirectory image;
    for (const Cut cut : {Cut::kNothing, Cut::kEverything, Cut::kSome}) {
      if (cut != Cut::kSome && random() % 2 == 0) continue;
      const std::string path = image.File("cut");
      run.disk.PowerCut(path, cut, random);
      auto state = StateOf(path + "/journal.db", cut);
      if (cut == Cut::kEverything && bounds.after_kill < bounds.most - 1 &&
          state.status().reason() == "JOURNAL_BEHIND") {
        // The kernel forgot what it had been handed, and the anchor saw it.
        state = StateOf(path + "/journal.db", cut, true);
      }
      CAPTURE(static_cast<int>(cut), state.status().ToString(), bounds.after_power, bounds.most);
      REQUIRE(state.ok());
      // A process that only died loses nothing that was acknowledged at all.
      REQUIRE(*state >= (cut == Cut::kEverything ? bounds.after_kill : bounds.after_power));
      REQUIRE(*state <= bounds.most);
    }
  }

  /// A disk that says it wrote and did not: a write may be missing, but every event and token that
  /// is read is one that was written.
  void CheckReadsTrue(const Run& run, std::mt19937_64& random) {
    const MemoryDirectory image;
    for (const Cut cut : {Cut::kNothing, Cut::kEverything}) {
      const std::string folder = image.File("cut");
      run.disk.PowerCut(folder, cut, random);
      FaultyDisk disk(folder);
      const FaultVfs vfs(&disk);
      const auto journal = Journal::Open(OptionsAfter(cut, folder + "/journal.db", vfs.name()));
      if (!journal.ok()) continue;
      for (const Step& step : steps_) {
        for (const EventRecord& event : step.batch.events) {
          const auto read = (*journal)->ReadEvents(event.session, event.seq - 1, 1);
          if (!read.ok() || read->empty() || read->front().seq != event.seq) continue;
          // A rewound session has two events of one number.
          const bool true_words = std::any_of(steps_.begin(), steps_.end(), [&](const Step& other) {
            return std::any_of(other.batch.events.begin(), other.batch.events.end(),
                               [&](const EventRecord& written) {
                                 return written.session == event.session &&
                                        written.payload == read->front().payload;
                               });
          });
          REQUIRE(true_words);
        }
        for (const TokenRun& tokens : step.batch.tokens) {
          const auto read = (*journal)->ReadTokens(tokens.session, tokens.begin, 1);
          if (read.ok() && !read->ids.empty()) REQUIRE(read->ids.front() == tokens.ids.front());
        }
      }
    }
  }

  std::vector<Step> steps_;
  int64_t first_commit_ = 0;
  std::vector<std::string> states_;  ///< Dumps: before the first step, and after each.
};

}  // namespace

TEST_CASE("JournalSurvivesEveryFaultOfItsDisk") {
  Sweep sweep(2'000);
  const auto operations = sweep.Operations();
  std::mt19937_64 random(20261127);
  int64_t faults = 0;
  for (int64_t number = 0; number < std::ssize(operations); ++number) {
    const auto& operation = operations[static_cast<size_t>(number)];
    CAPTURE(number, DiskOpName(operation.op), operation.path);
    // EIO once and the end of everything at every operation; the other ways at each in turn, since
    // all of them everywhere would take minutes.
    std::vector<Fault> once = {Fault::kIoError};
    if (number % 2 == 0) once.push_back(Fault::kNoSpace);
    if (operation.op == DiskOp::kWrite && number % 2 == 1) once.push_back(Fault::kShortWrite);
    if (operation.op == DiskOp::kWrite && number % 3 == 0) once.push_back(Fault::kTornWrite);
    for (const Fault fault : once) {
      CAPTURE(static_cast<int>(fault));
      sweep.Once(number, fault, random);
      ++faults;
    }
    CAPTURE("lasting");
    sweep.Lasting(number, Fault::kNoSpace, random);
    if (number % 3 == 1) sweep.Lasting(number, Fault::kIoError, random);
    ++faults;
  }
  std::cout << "journal: " << faults << " faults at " << operations.size() << " operations\n";
  REQUIRE(faults > 2 * std::ssize(operations));
}

TEST_CASE("ASyncedCommitThatChangesNoRowSyncsWhatWasCommittedBefore") {
  const MemoryDirectory folder;
  FaultyDisk disk(folder.path());
  FaultVfs vfs(&disk);
  JournalOptions options;
  options.path = folder.File("journal.db");
  options.vfs = vfs.name();
  const auto journal = Must(Journal::Open(options));
  JournalBatch batch;
  batch.create_sessions = {SampleSession("s")};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  const auto before = std::ssize(disk.log());
  batch = {};
  batch.pins = {{"s", false}};  // as it is: SQLite writes nothing, and then doesn't sync either
  REQUIRE_OK(journal->Commit(batch, Durability::kSynced));
  const auto log = disk.log();
  REQUIRE(std::any_of(log.begin() + before, log.end(), [](const FaultyDisk::Entry& entry) {
    return entry.op == DiskOp::kSync && entry.path.ends_with("-wal");
  }));
}

TEST_CASE("WithoutAnyOneSyncTheJournalWouldLoseWhatItAcknowledged") {
  Sweep sweep(9'000);
  const auto operations = sweep.Operations();
  std::mt19937_64 random(7);
  int64_t sync = -1;
  int64_t needed = 0;
  const auto is = [&](int64_t number, DiskOp op, const std::string& end) {
    const auto& operation = operations[static_cast<size_t>(number)];
    return operation.op == op && operation.path.ends_with(end);
  };
  for (int64_t number = 0; number < std::ssize(operations); ++number) {
    const auto& operation = operations[static_cast<size_t>(number)];
    if (operation.op != DiskOp::kSync && operation.op != DiskOp::kSyncDirectory) continue;
    ++sync;
    if (operation.op == DiskOp::kSyncDirectory) continue;  // Open has its own.
    if (number < sweep.first_commit()) continue;           // Nothing was acknowledged yet.
    // SQLite's own belt beside its braces: a new log's header before anything is behind it, and the
    // log before its pages go to the file, which an intact page survives.
    if (is(number, DiskOp::kSync, "-wal") && !is(number - 2, DiskOp::kWrite, "-wal")) continue;
    if (number + 1 < std::ssize(operations) && is(number + 1, DiskOp::kWrite, "journal.db")) {
      continue;
    }
    bool loses = false;
    for (int64_t cut = number + 1; cut <= std::ssize(operations) && !loses; cut += 3) {
      loses = sweep.LosesWithout(sync, cut, random);
    }
    CAPTURE(number, sync, DiskOpName(operation.op), operation.path);
    CHECK(loses);
    ++needed;
  }
  REQUIRE(needed >= 10);
}

}  // namespace baleen
