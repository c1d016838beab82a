// Forks, rewinds, deletes and backups of the journal: what they share, what they refuse, what they
// leave behind; and a random walk against copies in memory.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <random>

#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "runtime/store/sqlite.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

std::unique_ptr<Journal> OpenJournal(const std::string& path) {
  return Must(Journal::Open({.path = path, .busy_timeout_ms = 0}));
}

std::vector<int32_t> Count(int32_t begin, int32_t end) {
  std::vector<int32_t> ids(static_cast<size_t>(end - begin));
  std::iota(ids.begin(), ids.end(), begin);
  return ids;
}

EventRecord TextEvent(const std::string& session, int64_t seq, const std::string& text) {
  EventRecord event = SampleEvent(session, seq);
  event.payload = "{\"text\":\"" + text + "\"}";
  return event;
}

/// Session "s": event 1 before any token, event 2 after 1000 tokens, event 3 after 2500.
std::unique_ptr<Journal> JournalWithHistory(const std::string& path) {
  auto journal = OpenJournal(path);
  JournalBatch batch;
  batch.create_sessions = {SampleSession("s")};
  batch.events = {SampleEvent("s", 1)};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  batch = {};
  batch.tokens = {{"s", 0, Count(0, 1000), {}}};
  batch.events = {SampleEvent("s", 2)};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  batch = {};
  batch.tokens = {{"s", 1000, Count(1000, 2500), {}}};
  batch.events = {SampleEvent("s", 3)};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  return journal;
}

void RequireClean(Journal& journal) {
  const auto report = Must(journal.Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
}

Status Fork(Journal& journal, const std::string& id, const TimelinePoint& from) {
  JournalBatch batch;
  batch.forks = {{SampleSession(id, 5000), from}};
  return journal.Commit(batch, Durability::kKernel);
}

Status Append(Journal& journal, const std::string& id, std::vector<int32_t> ids) {
  const auto session = Must(journal.GetSession(id));
  JournalBatch batch;
  batch.tokens = {{id, session.tokens, std::move(ids), {}}};
  batch.events = {TextEvent(id, session.last_seq + 1, id)};
  return journal.Commit(batch, Durability::kKernel);
}

Status Rewind(Journal& journal, const TimelinePoint& to) {
  JournalBatch batch;
  batch.rewinds = {{to, 9000}};
  return journal.Commit(batch, Durability::kKernel);
}

Status Delete(Journal& journal, const std::string& id) {
  JournalBatch batch;
  batch.delete_sessions = {id};
  return journal.Commit(batch, Durability::kKernel);
}

}  // namespace

TEST_CASE("ForkSharesWhatLiesBeforeItAndGoesOnByItself") {
  const TempDirectory temp;
  auto journal = JournalWithHistory(temp.File("journal.db"));
  REQUIRE_OK(Fork(*journal, "f", {"s", 0, 2, 1234}));
  const auto fork = Must(journal->GetSession("f"));
  REQUIRE(fork.tokens == 1234);
  REQUIRE(fork.last_seq == 2);
  REQUIRE(fork.parent == "s");
  REQUIRE(fork.timeline == 1);
  REQUIRE(fork.settings == SampleSession("s").settings);
  REQUIRE_OK(Append(*journal, "f", {-1 + 100000}));
  REQUIRE_OK(Append(*journal, "s", Count(2500, 2600)));
  std::vector<int32_t> expected = Count(0, 1234);
  expected.push_back(99999);
  REQUIRE(Must(journal->ReadTokens("f", 0, 5000)).ids == expected);
  REQUIRE(Must(journal->ReadTokens("s", 0, 5000)).ids == Count(0, 2600));
  const auto events = Must(journal->ReadEvents("f", 0, 10));
  REQUIRE(events.size() == 3);
  REQUIRE(events[0].session == "f");
  REQUIRE(events[1].payload == SampleEvent("s", 2).payload);
  REQUIRE(events[2].payload == R"({"text":"f"})");
  REQUIRE(events[2].tokens == 1235);
  // Reads that begin or end anywhere in a history of several parts.
  REQUIRE_OK(Fork(*journal, "g", {"f", 0, 3, 1235}));
  REQUIRE_OK(Append(*journal, "g", Count(0, 2000)));
  const auto whole = Must(journal->ReadTokens("g", 0, 9999)).ids;
  REQUIRE(whole.size() == 3235);
  for (const int64_t begin : {0, 959, 960, 1233, 1234, 1235, 1919, 1920, 3234, 3235, 4000}) {
    for (const int64_t count : {0, 1, 2, 300, 961, 4000}) {
      CAPTURE(begin, count);
      const auto first = std::min<size_t>(static_cast<size_t>(begin), whole.size());
      const auto last = std::min(first + static_cast<size_t>(count), whole.size());
      REQUIRE(Must(journal->ReadTokens("g", begin, count)).ids ==
              std::vector<int32_t>(whole.begin() + static_cast<int64_t>(first),
                                   whole.begin() + static_cast<int64_t>(last)));
    }
  }
  REQUIRE(Must(journal->ReadEvents("g", 1, 2)).size() == 2);
  REQUIRE(Must(journal->LastEvent("g", "turn_started")).seq == 3);
  REQUIRE(Must(journal->EventAtTokens("g", 1234)).seq == 2);
  REQUIRE(Must(journal->EventAtTokens("g", 1235)).seq == 3);
  REQUIRE(Must(journal->EventAtTokens("g", 999)).seq == 1);
  RequireClean(*journal);
}

TEST_CASE("RewindAndUndoMoveTheSessionAndLoseNothing") {
  const TempDirectory temp;
  auto journal = JournalWithHistory(temp.File("journal.db"));
  REQUIRE_OK(Rewind(*journal, {"s", 0, 2, 1000}));
  auto session = Must(journal->GetSession("s"));
  REQUIRE(session.timeline == 2);
  REQUIRE(session.tokens == 1000);
  REQUIRE(session.updated_ms == 9000);
  REQUIRE_OK(Append(*journal, "s", {7, 8}));
  REQUIRE(Must(journal->ReadTokens("s", 999, 10)).ids == std::vector<int32_t>{999, 7, 8});
  REQUIRE(Must(journal->ReadTokens("s", 999, 10, 1)).ids == Count(999, 1009));
  REQUIRE(Must(journal->LastSharedSeq("s", 1, 2)) == 2);
  REQUIRE(Must(journal->LastSharedSeq("s", 2, 2)) == 3);
  // To a point before the last rewind's: based on the first timeline, not on the second.
  REQUIRE_OK(Rewind(*journal, {"s", 0, 1, 10}));
  const auto timelines = Must(journal->ListTimelines("s", 0, 10));
  REQUIRE(timelines.size() == 3);
  REQUIRE(timelines[2].base == timelines[0].key);
  REQUIRE(timelines[2].previous == 2);
  REQUIRE(timelines[2].session == "s");
  JournalBatch undo;
  undo.selects = {{"s", timelines[2].previous}};
  REQUIRE_OK(journal->Commit(undo, Durability::kKernel));
  REQUIRE(Must(journal->GetSession("s")).tokens == 1002);
  undo.selects = {{"s", 1}};
  REQUIRE_OK(journal->Commit(undo, Durability::kKernel));
  session = Must(journal->GetSession("s"));
  REQUIRE(session.timeline == 1);
  REQUIRE(session.last_seq == 3);
  REQUIRE(Must(journal->ReadTokens("s", 0, 9999)).ids == Count(0, 2500));
  undo.selects = {{"s", 4}};
  REQUIRE_ERROR(journal->Commit(undo, Durability::kKernel), StatusCode::kNotFound, "timeline 4");
  RequireClean(*journal);
}

TEST_CASE("ForkAndRewindRefusePointsThatDoNotExist") {
  const TempDirectory temp;
  auto journal = JournalWithHistory(temp.File("journal.db"));
  const TimelinePoint points[] = {
      {"s", 0, 4, 2500}, {"s", 0, 3, 2501}, {"s", 0, -1, 0}, {"s", 0, 1, -1}, {"s", 0, 2, 999}};
  for (const TimelinePoint& point : points) {
    CAPTURE(point.seq, point.tokens);
    REQUIRE_ERROR(Fork(*journal, "f", point), StatusCode::kOutOfRange, "3 events and 2500 tokens");
    REQUIRE_ERROR(Rewind(*journal, point), StatusCode::kOutOfRange, "no point");
  }
  REQUIRE_ERROR(Fork(*journal, "f", {"s", 2, 1, 0}), StatusCode::kNotFound, "no timeline 2");
  REQUIRE_ERROR(Fork(*journal, "f", {"none", 0, 0, 0}), StatusCode::kNotFound, "none");
  REQUIRE_ERROR(Fork(*journal, "s", {"s", 0, 0, 0}), StatusCode::kAlreadyExists, "'s'");
  REQUIRE_ERROR(Fork(*journal, "S", {"s", 0, 0, 0}), StatusCode::kInvalidArgument, "'S'");
  REQUIRE_ERROR(Delete(*journal, "none"), StatusCode::kNotFound, "none");
  // Nothing and everything are points.
  REQUIRE_OK(Fork(*journal, "nothing", {"s", 0, 0, 0}));
  REQUIRE_OK(Fork(*journal, "all", {"s", 0, 3, 2500}));
  REQUIRE(Must(journal->ReadEvents("nothing", 0, 10)).empty());
  REQUIRE_OK(Append(*journal, "nothing", {1}));
  REQUIRE(Must(journal->ReadTokens("nothing", 0, 10)).ids == std::vector<int32_t>{1});
  RequireClean(*journal);
}

TEST_CASE("DeleteKeepsWhatForksNeedAndNothingElse") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  auto journal = JournalWithHistory(path);
  REQUIRE_OK(Fork(*journal, "f", {"s", 0, 2, 1234}));
  REQUIRE_OK(Append(*journal, "f", {5}));
  REQUIRE_OK(Fork(*journal, "g", {"f", 0, 3, 1235}));
  REQUIRE_OK(Rewind(*journal, {"s", 0, 1, 3}));
  REQUIRE_OK(Delete(*journal, "s"));
  REQUIRE_ERROR(journal->GetSession("s"), StatusCode::kNotFound, "'s'");
  REQUIRE(Must(journal->GetSession("f")).parent.empty());
  auto expected = Count(0, 1234);
  expected.push_back(5);
  REQUIRE(Must(journal->ReadTokens("f", 0, 9999)).ids == expected);
  auto report = Must(journal->Verify(""));
  REQUIRE(report.problems.empty());
  REQUIRE(report.tokens == 1235);
  REQUIRE(report.events == 3);
  // A fork of a fork of a deleted session lives on when the fork goes too.
  REQUIRE_OK(Delete(*journal, "f"));
  REQUIRE(Must(journal->ReadTokens("g", 0, 9999)).ids == expected);
  REQUIRE(Must(journal->ReadEvents("g", 0, 10)).size() == 3);
  REQUIRE_OK(Fork(*journal, "h", {"g", 0, 3, 1235}));
  RequireClean(*journal);
  // The name is free again, and the new session has nothing of the old one.
  JournalBatch create;
  create.create_sessions = {SampleSession("s")};
  REQUIRE_OK(journal->Commit(create, Durability::kKernel));
  REQUIRE(Must(journal->GetSession("s")).tokens == 0);
  for (const std::string id : {"g", "h", "s"}) REQUIRE_OK(Delete(*journal, id));
  report = Must(journal->Verify(""));
  REQUIRE(report.problems.empty());
  REQUIRE(report.timelines == 0);
  REQUIRE(report.tokens == 0);
  REQUIRE(report.events == 0);
  journal.reset();
  const auto database = Must(Sqlite::Open({.path = path}));
  REQUIRE(Must(database->IntOf("SELECT count(*) FROM settings")) == 0);
}

TEST_CASE("TimelinesOfManyRewindsStayShallowAndTheirDepthIsBounded") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  auto journal = JournalWithHistory(path);
  JournalBatch many;
  for (int i = 0; i < 500; ++i) many.rewinds.push_back({{"s", 0, 2, 1000}, 9000});
  REQUIRE_OK(journal->Commit(many, Durability::kKernel));
  const auto newest = Must(journal->ListTimelines("s", 500, 10));
  REQUIRE(newest.size() == 1);
  REQUIRE(newest[0].base == 1);
  // A chain: each turn of its own, then a fork of it.
  JournalBatch chain;
  for (int64_t i = 0; i < kTimelineDepthMax - 1; ++i) {
    chain = {};
    const std::string from = i == 0 ? "s" : "c" + std::to_string(i - 1);
    const std::string to = "c" + std::to_string(i);
    chain.forks = {{SampleSession(to), {from, 0, 2 + i, 1000 + i}}};
    chain.tokens = {{to, 1000 + i, {static_cast<int32_t>(i)}, {}}};
    chain.events = {SampleEvent(to, 3 + i)};
    REQUIRE_OK(journal->Commit(chain, Durability::kKernel));
  }
  const std::string last = "c" + std::to_string(kTimelineDepthMax - 2);
  const int64_t seq = Must(journal->GetSession(last)).last_seq;
  REQUIRE(Must(journal->ReadTokens(last, 0, 9999)).ids.size() == 1000 + kTimelineDepthMax - 1);
  REQUIRE_ERROR(Fork(*journal, "more", {last, 0, seq, 999 + kTimelineDepthMax}),
                StatusCode::kResourceExhausted, "import it as one");
}

TEST_CASE("ForkOfAMillionTokensWritesAFewHundredBytesOfRows") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  auto journal = JournalWithHistory(path);
  SessionRecord large = SampleSession("s");
  large.settings = R"({"script":")" + std::string(1 << 20, 'x') + "\"}";
  JournalBatch batch;
  batch.update_sessions = {large};
  batch.tokens = {{"s", 2500, std::vector<int32_t>(1'000'000, 9), {}}};
  REQUIRE_OK(journal->Commit(batch, Durability::kSynced));
  // What the rows of one fork hold, by SQLite's own account of bytes in use.
  const auto payload = [&] {
    const auto database = Must(Sqlite::Open({.path = path, .read_only = true}));
    return Must(database->IntOf(
        "SELECT (SELECT coalesce(sum(length(ids)), 0) FROM token_runs) + (SELECT "
        "coalesce(sum(length(payload) + length(kind) + 48), 0) FROM events) + (SELECT "
        "coalesce(sum(length(text) + 16), 0) FROM settings) + (SELECT count(*) * 96 FROM timelines)"
        " + (SELECT sum(length(id) + length(title) + 48) FROM sessions)"));
  };
  const int64_t before = payload();
  REQUIRE_OK(Fork(*journal, "f", {"s", 0, 3, 1'002'500}));
  REQUIRE(payload() - before < 300);
  REQUIRE(Must(journal->GetSession("f")).settings == large.settings);
}

TEST_CASE("JournalTakesAClockThatGoesBackwards") {
  const TempDirectory temp;
  auto journal = JournalWithHistory(temp.File("journal.db"));
  JournalBatch batch;
  batch.events = {SampleEvent("s", 4)};
  batch.events[0].time_ms = -50;
  batch.rewinds = {};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  const int64_t updated = Must(journal->GetSession("s")).updated_ms;
  REQUIRE(updated == SampleEvent("s", 3).time_ms);
  batch = {};
  batch.rewinds = {{{"s", 0, 2, 1000}, 5}};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  REQUIRE(Must(journal->GetSession("s")).updated_ms == updated);
  // An answer from before the jump still answers its repeat.
  batch = {};
  batch.answers = {{"late", "Fork", "{}", 1000 * kAnswerKeptMs}};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  batch.answers = {{"early", "Fork", "{}", 7}};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  REQUIRE_OK(journal->FindAnswer("late", "Fork"));
  REQUIRE_OK(journal->FindAnswer("early", "Fork"));
  RequireClean(*journal);
}

TEST_CASE("BackupIsACompleteJournalOfOneMomentWhileOthersWrite") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  auto writer = JournalWithHistory(path);
  REQUIRE_OK(Fork(*writer, "f", {"s", 0, 2, 1234}));
  auto reader = Must(Journal::Open({.path = path, .read_only = true}));
  REQUIRE_OK(reader->Backup(temp.File("copy.db")));
  REQUIRE_OK(Append(*writer, "s", {1}));
  struct stat file = {};
  REQUIRE(stat(temp.File("copy.db").c_str(), &file) == 0);
  REQUIRE((file.st_mode & 0777) == 0600);
  auto copy = OpenJournal(temp.File("copy.db"));
  RequireClean(*copy);
  REQUIRE(Must(copy->ReadTokens("s", 0, 9999)).ids == Count(0, 2500));
  REQUIRE(Must(copy->ReadTokens("f", 0, 9999)).ids == Count(0, 1234));
  REQUIRE_OK(Append(*copy, "f", {1}));
  REQUIRE_ERROR(reader->Backup(temp.File("copy.db")), StatusCode::kAlreadyExists, "copy.db");
  REQUIRE_ERROR(reader->Backup(temp.File("no/copy.db")), StatusCode::kNotFound, "no/copy.db");
  REQUIRE_OK(writer->Sync());
}

TEST_CASE("CompactGivesBackWhatDeleteFreed") {
  const TempDirectory temp;
  auto journal = JournalWithHistory(temp.File("journal.db"));
  REQUIRE_OK(Append(*journal, "s", std::vector<int32_t>(1'000'000, 3)));
  const int64_t full = Must(journal->BytesOnDisk());
  REQUIRE(full > 4'000'000);
  REQUIRE_OK(Fork(*journal, "f", {"s", 0, 2, 1234}));
  REQUIRE_OK(Delete(*journal, "s"));
  REQUIRE_OK(journal->Compact());
  REQUIRE(Must(journal->BytesOnDisk()) < full / 10);
  REQUIRE(Must(journal->ReadTokens("f", 0, 9999)).ids == Count(0, 1234));
  RequireClean(*journal);
}

namespace {

/// What a history is when every fork and rewind copies it.
struct CopiedTimeline {
  std::vector<int32_t> ids;
  std::vector<std::string> payloads;
  std::vector<std::string> kinds;
  std::vector<int64_t> tokens;  ///< By event.
};
struct CopiedSession {
  std::vector<CopiedTimeline> timelines;
  size_t current = 0;
};
using Copies = std::map<std::string, CopiedSession>;

CopiedTimeline CutAt(const CopiedTimeline& timeline, size_t seq, size_t tokens) {
  CopiedTimeline cut = timeline;
  cut.ids.resize(tokens);
  cut.payloads.resize(seq);
  cut.kinds.resize(seq);
  cut.tokens.resize(seq);
  return cut;
}

/// One random walk; every operation goes to the journal and to the copies.
class RandomWalk {
 public:
  RandomWalk(Journal& journal, uint64_t seed) : journal_(journal), random_(seed) {}

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step();
  }

  void Compare() {
    for (const auto& [id, session] : copies_) {
      for (size_t i = 0; i < session.timelines.size(); ++i) {
        const CopiedTimeline& expected = session.timelines[i];
        const auto number = static_cast<int64_t>(i) + 1;
        CAPTURE(id, number);
        REQUIRE(Must(journal_.ReadTokens(id, 0, 1 << 20, number)).ids == expected.ids);
        const auto events = Must(journal_.ReadEvents(id, 0, 10'000, number));
        REQUIRE(events.size() == expected.payloads.size());
        for (size_t k = 0; k < events.size(); ++k) {
          REQUIRE(events[k].seq == static_cast<int64_t>(k) + 1);
          REQUIRE(events[k].payload == expected.payloads[k]);
          REQUIRE(events[k].tokens == expected.tokens[k]);
        }
        for (const std::string counted : {"rare", "usual", "none"}) {
          const std::string last = counted == "rare" ? "usual" : "rare";
          const EventScan scan = Must(journal_.ScanEvents(id, counted, last, number));
          const auto& kinds = expected.kinds;
          REQUIRE(scan.count == std::count(kinds.begin(), kinds.end(), counted));
          const auto newest = std::find(kinds.rbegin(), kinds.rend(), last);
          REQUIRE(scan.last.has_value() == (newest != kinds.rend()));
          if (scan.last.has_value()) REQUIRE(scan.last->seq == kinds.rend() - newest);
        }
      }
      const auto record = Must(journal_.GetSession(id));
      REQUIRE(record.timeline == static_cast<int64_t>(session.current) + 1);
    }
    REQUIRE(Must(journal_.ListSessions("", 10'000)).size() == copies_.size());
  }

 private:
  size_t Below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  void Step() {
    const size_t verb = Below(10);
    if (copies_.empty() || verb == 0) return Create();
    auto session = copies_.begin();
    std::advance(session, static_cast<int64_t>(Below(copies_.size())));
    if (verb <= 4) return Append(session->first, session->second);
    if (verb <= 6) return Fork(session->first, session->second);
    if (verb == 7) return Rewind(session->first, session->second);
    if (verb == 8) return Select(session->first, session->second);
    if (Below(2) == 0) Delete(session->first);
  }

  std::string NewId() { return "w" + std::to_string(next_++); }

  void Create() {
    JournalBatch batch;
    const std::string id = NewId();
    batch.create_sessions = {SampleSession(id)};
    REQUIRE_OK(journal_.Commit(batch, Durability::kKernel));
    copies_[id].timelines.resize(1);
  }

  void Append(const std::string& id, CopiedSession& session) {
    CopiedTimeline& timeline = session.timelines[session.current];
    JournalBatch batch;
    TokenRun run{id, static_cast<int64_t>(timeline.ids.size()), {}, {}};
    const size_t count = Below(4) == 0 ? Below(2000) : Below(5);
    for (size_t i = 0; i < count; ++i) run.ids.push_back(static_cast<int32_t>(Below(1000)));
    timeline.ids.insert(timeline.ids.end(), run.ids.begin(), run.ids.end());
    batch.tokens = {run};
    if (Below(2) == 0) {
      const auto seq = static_cast<int64_t>(timeline.payloads.size()) + 1;
      batch.events = {TextEvent(id, seq, std::to_string(Below(1'000'000)))};
      batch.events[0].kind = Below(4) == 0 ? "rare" : "usual";
      timeline.payloads.push_back(batch.events[0].payload);
      timeline.kinds.push_back(batch.events[0].kind);
      timeline.tokens.push_back(static_cast<int64_t>(timeline.ids.size()));
    }
    REQUIRE_OK(journal_.Commit(batch, Durability::kKernel));
  }

  /// A random point of a timeline: some tokens, and some of the events that those have seen.
  TimelinePoint PointOf(const std::string& id, const CopiedSession& session, size_t index) {
    const CopiedTimeline& timeline = session.timelines[index];
    const size_t tokens = Below(timeline.ids.size() + 1);
    size_t seq = 0;
    while (seq < timeline.tokens.size() && timeline.tokens[seq] <= static_cast<int64_t>(tokens)) {
      ++seq;
    }
    if (seq > 0 && Below(4) == 0) --seq;
    return {id, static_cast<int64_t>(index) + 1, static_cast<int64_t>(seq),
            static_cast<int64_t>(tokens)};
  }

  void Fork(const std::string& id, const CopiedSession& session) {
    const size_t index = Below(session.timelines.size());
    const TimelinePoint point = PointOf(id, session, index);
    JournalBatch batch;
    const std::string fork = NewId();
    batch.forks = {{SampleSession(fork), point}};
    REQUIRE_OK(journal_.Commit(batch, Durability::kKernel));
    const auto cut = CutAt(session.timelines[index], static_cast<size_t>(point.seq),
                           static_cast<size_t>(point.tokens));
    copies_[fork].timelines = {cut};
  }

  void Rewind(const std::string& id, CopiedSession& session) {
    const size_t index = Below(session.timelines.size());
    const TimelinePoint point = PointOf(id, session, index);
    JournalBatch batch;
    batch.rewinds = {{point, 9000}};
    REQUIRE_OK(journal_.Commit(batch, Durability::kKernel));
    session.timelines.push_back(CutAt(session.timelines[index], static_cast<size_t>(point.seq),
                                      static_cast<size_t>(point.tokens)));
    session.current = session.timelines.size() - 1;
  }

  void Select(const std::string& id, CopiedSession& session) {
    session.current = Below(session.timelines.size());
    JournalBatch batch;
    batch.selects = {{id, static_cast<int64_t>(session.current) + 1}};
    REQUIRE_OK(journal_.Commit(batch, Durability::kKernel));
  }

  void Delete(const std::string& id) {
    JournalBatch batch;
    batch.delete_sessions = {id};
    REQUIRE_OK(journal_.Commit(batch, Durability::kKernel));
    copies_.erase(id);
  }

  Journal& journal_;
  std::mt19937_64 random_;
  Copies copies_;
  int next_ = 0;
};

}  // namespace

TEST_CASE("RandomWalksOfForksRewindsAndDeletesEqualCopies") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    const TempDirectory temp;
    const std::string path = temp.File("journal.db");
    auto journal = OpenJournal(path);
    RandomWalk walk(*journal, seed);
    walk.Run(60);
    walk.Compare();
    RequireClean(*journal);
  }
}

}  // namespace baleen
