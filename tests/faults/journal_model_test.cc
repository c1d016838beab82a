// The journal against a model of it that is too simple to be wrong: random sequences of appends,
// forks, rewinds, undone rewinds, pins, deletions, compactions, and ends of the process and of the
// power, 1,000 seeds. After each end, and now and then, everything readable is compared.
#include <iostream>
#include <map>

#include "runtime/store/journal.h"
#include "tests/faults/fault_vfs.h"
#include "tests/faults/seeds.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

constexpr int kSteps = 40;

/// A timeline as if nothing were ever shared.
struct Line {
  std::vector<std::string> payloads;
  std::vector<int64_t> saw;  ///< Tokens that were there at each event.
  std::vector<int32_t> ids;
};

struct ModelSession {
  std::map<int64_t, Line> lines;
  int64_t current = 1;
  bool pinned = false;
};

using Model = std::map<std::string, ModelSession>;

/// Where the journal differs from the model; empty: nowhere.
std::string Difference(Journal& journal, const Model& model) {
  const auto sessions = Must(journal.ListSessions("", kRowsPerReadMax));
  if (sessions.size() != model.size()) return std::to_string(sessions.size()) + " sessions";
  for (const SessionRecord& session : sessions) {
    const auto found = model.find(session.id);
    if (found == model.end()) return session.id + " should not be there";
    const ModelSession& expected = found->second;
    if (session.timeline != expected.current) return session.id + ": current timeline";
    if (session.pinned != expected.pinned) return session.id + ": pinned";
    for (const auto& [number, line] : expected.lines) {
      const std::string where = session.id + " timeline " + std::to_string(number);
      const auto events = journal.ReadEvents(session.id, 0, kRowsPerReadMax, number);
      if (!events.ok()) return where + ": " + events.status().ToString();
      if (events->size() != line.payloads.size()) {
        return where + ": " + std::to_string(events->size()) + " events";
      }
      for (size_t i = 0; i < events->size(); ++i) {
        const EventRecord& event = (*events)[i];
        if (event.seq != static_cast<int64_t>(i) + 1) return where + ": numbers";
        if (event.payload != line.payloads[i] || event.tokens != line.saw[i]) {
          return where + ": event " + std::to_string(i + 1);
        }
      }
      const auto run = journal.ReadTokens(session.id, 0, kTokensPerReadMax, number);
      if (!run.ok()) return where + ": " + run.status().ToString();
      if (run->ids != line.ids) return where + ": token ids";
    }
  }
  return "";
}

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed) { OpenIn(std::make_unique<MemoryDirectory>()); }

  void Step() {
    const int64_t roll = Draw(100);
    if (model_.empty() || (roll < 8 && model_.size() < 6)) return Create();
    if (roll < 50) return Append();
    if (roll < 60) return Fork();
    if (roll < 70) return Rewind();
    if (roll < 76) return Select();
    if (roll < 80) return Pin();
    if (roll < 84) return Delete();
    if (roll < 86) return Compact();
    if (roll < 92) return CloseAndOpen();
    End(roll < 96 ? Cut::kEverything : Cut::kSome);
  }

  void Compare() { REQUIRE(Difference(*journal_, model_).empty()); }
  int64_t ends() const { return ends_; }

 private:
  int64_t Draw(int64_t below) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(below));
  }
  std::pair<const std::string, ModelSession>& AnySession() {
    auto session = model_.begin();
    std::advance(session, Draw(std::ssize(model_)));
    return *session;
  }
  static int64_t AnyLine(const ModelSession& session, int64_t draw) {
    auto line = session.lines.begin();
    std::advance(line, draw % std::ssize(session.lines));
    return line->first;
  }

  void Commit(const JournalBatch& batch) {
    const bool synced = Draw(3) == 0;
    REQUIRE_OK(journal_->Commit(batch, synced ? Durability::kSynced : Durability::kKernel));
    if (synced) since_sync_.clear();
    since_sync_.push_back(model_);
  }

  void Create() {
    const std::string id = "s" + std::to_string(++names_);
    model_[id].lines[1];
    JournalBatch batch;
    batch.create_sessions = {SampleSession(id, 1000 + names_)};
    Commit(batch);
  }

  void Append() {
    auto& [id, session] = AnySession();
    Line& line = session.lines[session.current];
    JournalBatch batch;
    TokenRun run;
    run.session = id;
    run.begin = std::ssize(line.ids);
    const int64_t count = Draw(4) == 0 ? Draw(2000) : Draw(5);
    for (int64_t i = 0; i < count; ++i) run.ids.push_back(static_cast<int32_t>(Draw(129280)));
    line.ids.insert(line.ids.end(), run.ids.begin(), run.ids.end());
    if (count > 0) batch.tokens = {run};
    for (int64_t i = Draw(3); i > 0 || count == 0; --i) {
      EventRecord event = SampleEvent(id, std::ssize(line.payloads) + 1);
      event.payload = "{\"n\":" + std::to_string(++events_) + "}";
      line.payloads.push_back(event.payload);
      line.saw.push_back(std::ssize(line.ids));
      batch.events.push_back(event);
      if (i <= 0) break;
    }
    Commit(batch);
  }

  /// A point of one of the session's timelines, and the timeline as it was there.
  TimelinePoint AnyPoint(const std::string& id, const ModelSession& session, Line* kept) {
    TimelinePoint point;
    point.session = id;
    point.timeline = AnyLine(session, Draw(1000));
    const Line& line = session.lines.at(point.timeline);
    point.seq = Draw(std::ssize(line.payloads) + 1);
    const int64_t least = point.seq == 0 ? 0 : line.saw[static_cast<size_t>(point.seq - 1)];
    point.tokens = least + Draw(std::ssize(line.ids) - least + 1);
    *kept = line;
    kept->payloads.resize(static_cast<size_t>(point.seq));
    kept->saw.resize(static_cast<size_t>(point.seq));
    kept->ids.resize(static_cast<size_t>(point.tokens));
    return point;
  }

  void Fork() {
    const auto& [id, session] = AnySession();
    Line kept;
    JournalBatch batch;
    const TimelinePoint point = AnyPoint(id, session, &kept);
    const std::string name = "s" + std::to_string(++names_);
    batch.forks = {{SampleSession(name, 1000 + names_), point}};
    model_[name].lines[1] = kept;
    Commit(batch);
  }

  void Rewind() {
    auto& [id, session] = AnySession();
    Line kept;
    JournalBatch batch;
    batch.rewinds = {{AnyPoint(id, session, &kept), 5000}};
    session.current = session.lines.rbegin()->first + 1;
    session.lines[session.current] = kept;
    Commit(batch);
  }

  void Select() {
    auto& [id, session] = AnySession();
    session.current = AnyLine(session, Draw(1000));
    JournalBatch batch;
    batch.selects = {{id, session.current}};
    Commit(batch);
  }

  void Pin() {
    auto& [id, session] = AnySession();
    session.pinned = !session.pinned;
    JournalBatch batch;
    batch.pins = {{id, session.pinned}};
    Commit(batch);
  }

  void Delete() {
    const std::string id = AnySession().first;
    model_.erase(id);
    JournalBatch batch;
    batch.delete_sessions = {id};
    Commit(batch);
  }

  void Compact() { REQUIRE_OK(journal_->Compact()); }

  void CloseAndOpen() {
    journal_.reset();
    Open();
    ++ends_;
    Compare();
    since_sync_ = {model_};  // Closing copied the log into the file, synced.
  }

  /// kEverything: the process ends. kSome: the power does.
  void End(Cut cut) {
    auto next = std::make_unique<MemoryDirectory>();
    disk_->PowerCut(next->path(), cut, random_);
    journal_.reset();
    vfs_.reset();
    if (cut != Cut::kEverything) ++power_cuts_;
    OpenIn(std::move(next));
    ++ends_;
    const auto report = Must(journal_->Verify(""));
    CAPTURE(report.problems);
    REQUIRE(report.problems.empty());
    if (cut == Cut::kEverything) return Compare();
    // Back to the last synced commit, or any after it; whole in any case.
    std::string difference;
    while (!since_sync_.empty()) {
      model_ = since_sync_.back();
      difference = Difference(*journal_, model_);
      if (difference.empty()) break;
      since_sync_.pop_back();
    }
    CAPTURE(difference);
    REQUIRE_FALSE(since_sync_.empty());
    since_sync_ = {model_};
  }

  void OpenIn(std::unique_ptr<MemoryDirectory> folder) {
    folder_ = std::move(folder);
    disk_ = std::make_unique<FaultyDisk>(folder_->path());
    vfs_ = std::make_unique<FaultVfs>(disk_.get());
    Open();
    if (since_sync_.empty()) since_sync_ = {model_};
  }

  void Open() {
    JournalOptions options;
    options.path = folder_->File("journal.db");
    options.vfs = vfs_->name();
    options.boot_id = "run " + std::to_string(power_cuts_);
    journal_ = Must(Journal::Open(options));
  }

  std::mt19937_64 random_;
  Model model_;
  /// The model after the last synced commit and each one after it.
  std::vector<Model> since_sync_;
  int64_t names_ = 0;
  int64_t events_ = 0;
  int64_t ends_ = 0;
  int64_t power_cuts_ = 0;
  std::unique_ptr<MemoryDirectory> folder_;
  std::unique_ptr<FaultyDisk> disk_;
  std::unique_ptr<FaultVfs> vfs_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace

TEST_CASE("JournalIsWhatItsModelIsOverRandomHistories") {
  int64_t ends = 0;
  const auto seeds = Seeds(1000);
  for (const uint64_t seed : seeds) {
    CAPTURE(seed);
    Walk walk(seed);
    for (int step = 0; step < kSteps; ++step) {
      CAPTURE(step);
      walk.Step();
    }
    walk.Compare();
    ends += walk.ends();
  }
  std::cout << "journal model: " << seeds.size() << " seeds, " << ends << " ends\n";
}

}  // namespace baleen
