// Machine: a simulated computer with one thread, a clock and a disk of its own, on which the
// control loop runs with its real agent and journal; and which can be killed, lose power, or have a
// bad disk.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/model.h"
#include "runtime/clock.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/store/journal.h"
#include "runtime/worker.h"
#include "tests/faults/fault_vfs.h"
#include "tests/faults/faulty_disk.h"
#include "tests/sim/scripted_tokens.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {

class SimClock final : public Clock {
 public:
  int64_t WallMs() const override { return 1'700'000'000'000 + now_ms_; }
  int64_t SteadyMs() const override { return now_ms_; }
  void Advance(int64_t ms) { now_ms_ += ms; }

 private:
  int64_t now_ms_ = 0;
};

class Machine {
 public:
  Machine(uint64_t seed, const Model* model, std::vector<std::string> tools)
      : seed_(seed), random_(seed), model_(model), tools_(std::move(tools)) {
    NewDisk(std::make_unique<MemoryDirectory>());
    Boot();
  }
  ~Machine() { Stop(); }

  ControlLoop& control() { return *control_; }
  Journal& reader() { return *reader_; }
  SimClock& clock() { return clock_; }
  FaultyDisk& disk() { return *disk_; }
  std::mt19937_64& random() { return random_; }
  bool running() const { return control_ != nullptr; }

  /// One thing that is ready happens, in a random order of what the real threads would do at once.
  /// false: nothing was ready.
  bool Step() {
    std::vector<int> order = {0, 1, 2, 3};
    std::shuffle(order.begin(), order.end(), random_);
    for (const int who : order) {
      if (who == 0) {
        if (control_->RunReady()) return true;
        tokens_ahead_ = 0;
      }
      if (who == 1 && RunOne(*journal_worker_)) return true;
      if (who == 2 && RunOne(*pool_)) return true;
      // A full mailbox holds the real engine back until the control thread has emptied it.
      if (who == 3 && !tokens_->idle() && tokens_ahead_ < kTokensAheadMax) {
        tokens_ahead_ += tokens_->Step(random_);
        return true;
      }
    }
    return false;
  }

  /// Lets time pass until the next timer, or some of it.
  void LetTimePass() {
    const auto next = control_->NextTimerMs();
    const int64_t most = next.has_value() ? std::max<int64_t>(1, *next - clock_.SteadyMs()) : 1000;
    clock_.Advance(random_() % 4 == 0 ? most : 1 + static_cast<int64_t>(random_() % 50));
  }

  /// What the process had not handed to the kernel is gone.
  void Kill() { End(Cut::kEverything); }
  /// And what was not synced may be.
  void CutPower() {
    ++power_cuts_;
    End(Cut::kSome);
  }
  void Stop() {
    control_.reset();
    tokens_.reset();
    pool_.reset();
    journal_worker_.reset();
    reader_.reset();
    writer_.reset();
  }

  void Boot() {
    JournalOptions options;
    options.path = folder_->File("journal.db");
    options.vfs = vfs_->name();
    options.boot_id = "run " + std::to_string(power_cuts_);
    writer_ = Must(Journal::Open(options));
    options.read_only = true;
    reader_ = Must(Journal::Open(options));
    journal_worker_ = std::make_unique<Worker>(0, 1024);
    pool_ = std::make_unique<Worker>(0, 1024);
    tokens_ = std::make_unique<ScriptedTokens>(seed_, tools_);
    ControlParts parts;
    parts.options.data_dir = folder_->path();
    parts.options.model_path = "none";
    parts.clock = &clock_;
    parts.model = model_;
    parts.journal_writer = writer_.get();
    parts.journal_reader = reader_.get();
    parts.journal_worker = journal_worker_.get();
    parts.pool = pool_.get();
    control_ = Must(ControlLoop::Create(parts));
    tokens_->Attach(control_.get());
    control_->AttachEngine(tokens_.get());
    std::vector<std::string> notes;
    REQUIRE_OK(control_->RecoverOpenTurns(&notes));
    CAPTURE(notes);
    REQUIRE(notes.empty());
  }

 private:
  static constexpr int64_t kTokensAheadMax = 1000;

  /// Closing a journal writes: what the disk holds is taken before.
  void End(Cut cut) {
    auto next = std::make_unique<MemoryDirectory>();
    disk_->PowerCut(next->path(), cut, random_);
    Stop();
    NewDisk(std::move(next));
  }

  static bool RunOne(Worker& worker) {
    auto work = worker.queue().Pop(std::chrono::steady_clock::time_point::min());
    if (work.has_value()) (*work)();
    return work.has_value();
  }

  void NewDisk(std::unique_ptr<MemoryDirectory> folder) {
    vfs_.reset();
    folder_ = std::move(folder);
    disk_ = std::make_unique<FaultyDisk>(folder_->path());
    vfs_ = std::make_unique<FaultVfs>(disk_.get());
  }

  const uint64_t seed_;
  std::mt19937_64 random_;
  const Model* const model_;
  const std::vector<std::string> tools_;
  int64_t power_cuts_ = 0;
  int64_t tokens_ahead_ = 0;  ///< Since the control loop had nothing to do.
  SimClock clock_;
  std::unique_ptr<MemoryDirectory> folder_;
  std::unique_ptr<FaultyDisk> disk_;
  std::unique_ptr<FaultVfs> vfs_;
  std::unique_ptr<Journal> writer_;
  std::unique_ptr<Journal> reader_;
  std::unique_ptr<Worker> journal_worker_;
  std::unique_ptr<Worker> pool_;
  std::unique_ptr<ScriptedTokens> tokens_;
  std::unique_ptr<ControlLoop> control_;
};

}  // namespace baleen
