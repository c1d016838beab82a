// The survival tests' machinery: a worker's data directory, what its journal holds, and whether
// that is what a twin which nobody killed holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "runtime/store/journal.h"
#include "runtime/store/journal_codec.h"
#include "tests/runtime/fixture.h"
#include "tests/testing/child.h"

namespace baleen {

/// What a journal says, read while nobody has it open.
struct Journalled {
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;
  std::vector<EventRecord> events;

  std::string last_kind() const { return events.empty() ? "" : events.back().kind; }
  /// The last event of `kind`, as JSON.
  nlohmann::json Last(const std::string& kind) const;
};

/// Where a worker was when it died, by what it had journalled.
enum class Phase { kPrefill, kDecode, kTools, kElsewhere };

Journalled ReadJournalled(const std::string& data_dir);
Phase PhaseOf(const Journalled& journal);
/// Everything that the lines of a killed worker showed is in the journal.
void CheckShown(const std::vector<std::string>& lines, const Journalled& journal);

/// The worker's command line, behind `prefix` (a tracer).
std::vector<std::string> WorkerCommand(const std::string& data_dir, int64_t turns,
                                       std::vector<std::string> prefix = {});
/// Runs a worker to its end, which must be a good one; its lines.
std::vector<std::string> Finish(const std::string& data_dir, int64_t turns);
void CopyFolder(const std::string& from, const std::string& to);
bool StraceWorks();
/// strace with one injected SIGKILL at the `when`-th of `calls` that any one thread makes.
std::vector<std::string> KillAt(const std::string& calls, int when,
                                const std::vector<std::string>& paths = {});

/// A data directory with one finished turn, and the twin that went on undisturbed for two more.
class Twins {
 public:
  Twins();
  const std::string& start() const { return start_; }
  const Journalled& expected() const { return expected_; }
  /// Of the second turn's first prompt.
  double prefill_ms() const { return prefill_ms_; }
  /// Lets a worker bring `data_dir` to the end of `turns` and compares all ids, hashes and events.
  void FinishAndCompare(const std::string& data_dir, int64_t turns) const;

 private:
  TempDirectory folder_;
  std::string start_;
  Journalled expected_;
  double prefill_ms_ = 0;
};

/// Counts instants, and says so at the end.
class Instants {
 public:
  explicit Instants(const std::string& phase)
      : phase_(phase), seed_(std::random_device()()), random_(seed_) {}
  ~Instants();
  void Hit() { ++hits_; }
  int hits() const { return hits_; }
  uint32_t seed() const { return seed_; }
  /// Uniform in [low, high].
  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

 private:
  std::string phase_;
  uint32_t seed_;
  std::mt19937 random_;
  int hits_ = 0;
};

}  // namespace baleen
