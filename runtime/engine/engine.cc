#include "runtime/engine/engine.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "kernels/check.h"
#include "model/text/tokenizer.h"
#include "runtime/engine/kv_restore.h"

namespace baleen {
namespace {

using SteadyClock = std::chrono::steady_clock;

double MsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count();
}

}  // namespace

struct Engine::Running {
  enum class Phase { kSync, kPrefill, kLoadRows, kDecode };

  GenerateJob job;
  bool prefetch = false;   // no sampling: all of the prefix is computed, and that is it
  bool load_rows = false;  // prefetch only
  Phase phase = Phase::kSync;
  bool seated = false;
  bool standing = false;  // was refused a seat
  LiveSequence* sequence = nullptr;
  std::vector<KvUnitRef> late;  // what the job is parked for
  ReuseReport report;
  SteadyClock::time_point prefill_start;
  int64_t prefill_begin = 0;
  std::string stop_window;  // the last bytes of generated text, as long as stop_text
  size_t examined = 0;      // generated tokens before this index were looked at for a stop

  /// Tokens to be computed before anything is sampled. The last one is computed by the step that
  /// needs its logits.
  size_t target() const { return job.prefix.size() - (prefetch ? 0 : 1); }
};

Engine::Engine(const KvHome& home, const KvTierOptions& tiers, const EngineOptions& options,
               EngineListener* listener)
    : tiers_(home, tiers), options_(options), listener_(listener), thread_([this] { Loop(); }) {}

Engine::~Engine() { Stop(); }

Status Engine::Submit(GenerateJob job) {
  auto running = std::make_unique<Running>();
  running->examined = static_cast<size_t>(job.generation_begin);
  running->job = std::move(job);
  return Enqueue(std::move(running));
}

Status Engine::Prefetch(PrefetchJob job) {
  auto running = std::make_unique<Running>();
  running->prefetch = true;
  running->load_rows = job.load_rows;
  running->job.id = job.id;
  running->job.sequence = std::move(job.sequence);
  running->job.computed_before = std::ssize(job.tokens);
  running->job.prefix = std::move(job.tokens);
  running->job.checkpoint_kinds = job.checkpoint_kinds;
  running->job.fork_position = job.fork_position;
  running->job.cancelled = std::move(job.cancelled);
  return Enqueue(std::move(running));
}

Status Engine::Enqueue(std::unique_ptr<Running> running) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stop_) return UnavailableError("the engine is stopping", "DRAINING");
    if (static_cast<int64_t>(jobs_.size()) >= options_.jobs_max) {
      return ResourceExhaustedError(
          "the engine has " + std::to_string(jobs_.size()) + " jobs already; wait until one ends",
          "QUOTA");
    }
    jobs_.push_back(std::move(running));
  }
  work_.notify_one();
  return OkStatus();
}

bool Engine::Post(std::function<void()> request) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stop_) return false;
    requests_.push_back(std::move(request));
  }
  work_.notify_one();
  return true;
}

void Engine::Release(const std::string& sequence) {
  Post([this, sequence] {
    const auto found = sequences_.find(sequence);
    if (found == sequences_.end() || seats_.count(sequence) != 0) return;
    found->second.sequence->Checkpoint(kPeriodicCheckpoint);
    const std::vector<BlockKey> keys = found->second.sequence->keys();
    sequences_.erase(found);
    tiers_.ram.Drop(keys);
    resident_.store(static_cast<int64_t>(sequences_.size()), std::memory_order_relaxed);
  });
}

void Engine::AwaitRequests() {
  std::promise<void> done;
  if (Post([&] { done.set_value(); })) done.get_future().wait();
}

std::vector<BlockKey> Engine::LiveKeys() {
  auto promise = std::make_shared<std::promise<std::vector<BlockKey>>>();  // owners: both threads
  auto future = promise->get_future();
  const bool posted = Post([this, promise] {
    std::vector<BlockKey> keys;
    for (const auto& [name, resident] : sequences_) {
      const std::vector<BlockKey>& some = resident.sequence->keys();
      keys.insert(keys.end(), some.begin(), some.end());
    }
    promise->set_value(std::move(keys));
  });
  return posted ? future.get() : std::vector<BlockKey>();
}

void Engine::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
  // Somebody may wait for the answers; the engine's thread is gone, so that this one may give them.
  for (const auto& request : std::exchange(requests_, {})) request();
}

void Engine::Loop() {
  while (true) {
    std::unique_ptr<Running> job;
    std::function<void()> request;
    bool alone = false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      const auto ready = [this] { return stop_ || !jobs_.empty() || !requests_.empty(); };
      if (!ready()) {
        work_.wait(lock, ready);
        wakeups_.fetch_add(1, std::memory_order_relaxed);
      }
      if (stop_) return;
      if (!requests_.empty()) {
        request = std::move(requests_.front());
        requests_.pop_front();
      } else {
        // While others could run a parked job doesn't keep them waiting for its rows.
        alone = parked_ + standing_ >= jobs_.size();
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
    }
    if (request) {
      request();
      continue;
    }
    if (!Tick(*job, alone)) continue;
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));  // round robin
  }
}

bool Engine::Tick(Running& running, bool alone) {
  if (running.job.cancelled != nullptr && running.job.cancelled->load()) {
    Finish(running, JobEnd::kCancelled, OkStatus());
    return false;
  }
  if (!Unpark(running, alone)) return true;
  if (running.phase == Running::Phase::kSync && !Seat(running)) return true;
  bool done = false;
  Status status = Step(running, &done);
  if (done) return false;
  if (running.sequence != nullptr) TakeSteps(running);
  if (status.ok()) return true;
  status = Park(running, status);
  if (status.ok()) return true;
  Finish(running, JobEnd::kFailed, status);
  return false;
}

Status Engine::Step(Running& running, bool* done) {
  switch (running.phase) {
    case Running::Phase::kSync: return Sync(running);
    case Running::Phase::kPrefill: return Prefill(running);
    case Running::Phase::kLoadRows: return LoadRows(running);
    case Running::Phase::kDecode: break;
  }
  *done = true;
  if (running.prefetch) {
    Finish(running, JobEnd::kStop, OkStatus());
    return OkStatus();
  }
  auto end = Examine(running);
  if (!end.ok() || end->has_value()) {
    Finish(running, end.ok() ? **end : JobEnd::kFailed, end.status());
    return OkStatus();
  }
  const auto sampled =
      static_cast<int64_t>(running.job.prefix.size()) - running.job.generation_begin;
  if (sampled >= running.job.tokens_max) {
    Finish(running, JobEnd::kLength, OkStatus());
    return OkStatus();
  }
  *done = false;
  return Decode(running);
}

Status Engine::Park(Running& running, const Status& status) {
  std::vector<KvUnitRef> late = tiers_.loader.TakeLate();
  if (status.code() != StatusCode::kDeadlineExceeded || late.empty()) return status;
  ++running.report.parked;
  ++parked_;
  listener_->OnWaiting(running.job.id, std::ssize(late));
  running.late = std::move(late);
  return OkStatus();
}

bool Engine::Unpark(Running& running, bool alone) {
  if (running.late.empty()) return true;
  const auto wait = alone ? tiers_.loader.wait() : std::chrono::milliseconds(0);
  if (!tiers_.loader.Await(running.late, wait)) return false;
  running.late.clear();
  --parked_;
  return true;
}

void Engine::TakeSteps(Running& running) {
  StepReport steps = running.sequence->TakeReport();
  running.report.rows.Add(steps.waits);
  running.report.recomputed += steps.tokens_repaired;
  running.report.reasons.insert(running.report.reasons.end(), steps.reasons.begin(),
                                steps.reasons.end());
}

LiveSequence* Engine::NearestLive(const TokenList& tokens) {
  LiveSequence* nearest = nullptr;
  for (const auto& [name, resident] : sequences_) {
    LiveSequence* live = resident.sequence.get();
    if (live == nullptr || live->position() == 0 || !live->IsPrefixOf(tokens)) continue;
    if (nearest == nullptr || live->position() > nearest->position()) nearest = live;
  }
  return nearest;
}

Result<std::optional<JobEnd>> Engine::Examine(Running& running) const {
  GenerateJob& job = running.job;
  // Tokens of a broken-off generation are looked at like fresh ones: it may have been complete, and
  // the constraint must stand where it stood.
  while (running.examined < job.prefix.size()) {
    const int32_t id = job.prefix[running.examined++];
    if (job.constraint != nullptr && !job.constraint->Accept(id)) {
      return FailedPreconditionError(
          "the token " + std::to_string(id) + " at position " +
              std::to_string(running.examined - 1) +
              " breaks the generation's constraint: another version of the program began it; start "
              "the turn again",
          "CONSTRAINT_CHANGED");
    }
    if (id == job.eos_id) return std::optional(JobEnd::kStop);
    if (StopTextReached(running, id)) return std::optional(JobEnd::kStopText);
  }
  return std::optional<JobEnd>();
}

Status Engine::Sync(Running& running) {
  const GenerateJob& job = running.job;
  const TokenList wanted = job.prefix.First(running.target());
  Resident& resident = sequences_[job.sequence];
  resident.last_used = ++use_counter_;
  ReuseReport report;
  const auto start = SteadyClock::now();
  if (resident.sequence != nullptr && !resident.sequence->IsPrefixOf(wanted)) {
    report.reasons.push_back("the live sequence is no prefix of the wanted context");
    resident.sequence.reset();
  }
  LiveSequence* live = NearestLive(wanted);
  RestoreReport restored;
  auto stored = RestoreSequence(tiers_, wanted, live == nullptr ? 0 : live->position(), &restored);
  if (!stored.ok()) {
    sequences_.erase(job.sequence);
    return std::move(stored).status();
  }
  if (*stored != nullptr) {
    resident.sequence = std::move(stored).value();
    report.reused_ram = restored.tokens_from_ram;
    report.reused_disk = restored.tokens_from_disk;
    report.recomputed = restored.tokens_repaired;
    report.bytes_read = restored.bytes_read;
    report.restore_ms = MsSince(start);
  } else if (live != nullptr) {
    if (resident.sequence.get() != live) resident.sequence = live->Fork();
    report.reused_ram = live->position();
  } else {
    resident.sequence = std::make_unique<LiveSequence>(tiers_);
  }
  report.reasons.insert(report.reasons.end(), restored.reasons.begin(), restored.reasons.end());
  if (restored.tokens_to_replay > 0) {
    report.reasons.push_back("no checkpoint is near: the last " +
                             std::to_string(restored.tokens_to_replay) +
                             " tokens of the stored rows are computed again over them");
  }
  running.sequence = resident.sequence.get();
  EvictBeyondLimit(job.sequence);
  const int64_t at = running.sequence->position();
  const auto end = std::ssize(wanted);
  const int64_t known = std::clamp(job.computed_before, at, end);
  if (at > 0 && at == job.fork_position) running.sequence->Checkpoint(kForkCheckpoint);
  if (known > at && at == 0 && tiers_.home.store != nullptr) {
    report.reasons.push_back(
        "nothing usable is stored for this context under model " +
        tiers_.home.scope.fingerprint.substr(0, 16) + ", " + tiers_.home.scope.arithmetic_id +
        ": the run stopped before its first checkpoint, the store was emptied, or another model "
        "computed it");
  }
  if (known > at) {
    report.reasons.push_back("tokens " + std::to_string(at) + ".." + std::to_string(known - 1) +
                             " lie after the newest usable checkpoint: replayed");
    if (!restored.miss.empty()) report.reasons.push_back(restored.miss);
  }
  report.recomputed += known - at;
  report.prefilled = end - known;
  running.report = std::move(report);
  running.prefill_start = SteadyClock::now();
  running.prefill_begin = at;
  running.phase = Running::Phase::kPrefill;
  return OkStatus();
}

Status Engine::Prefill(Running& running) {
  const int64_t at = running.sequence->position();
  const auto end = static_cast<int64_t>(running.target());
  if (at >= end) {
    running.report.prefill_ms = MsSince(running.prefill_start);
    listener_->OnSynced(running.job.id, running.report);
    running.phase = running.load_rows ? Running::Phase::kLoadRows : Running::Phase::kDecode;
    return OkStatus();
  }
  const int64_t interval = CheckpointInterval();
  int64_t border = (at / interval + 1) * interval;
  const int64_t fork = running.job.fork_position;
  if (fork > at) border = std::min(border, fork);
  const int64_t count = std::min({options_.prefill_chunk_tokens, end - at, border - at});
  RETURN_IF_ERROR(running.sequence->Append(
      running.job.prefix.Ids(static_cast<size_t>(at), static_cast<size_t>(at + count)),
      LogitsWanted::kNone, nullptr));
  tiers_.ram.Trim();
  if (at + count == fork) {
    running.sequence->Checkpoint(kForkCheckpoint);
  } else if ((at + count) % interval == 0) {
    running.sequence->Checkpoint(kPeriodicCheckpoint);
  }
  listener_->OnProgress(running.job.id, at + count - running.prefill_begin,
                        end - running.prefill_begin);
  return OkStatus();
}

Status Engine::LoadRows(Running& running) {
  RETURN_IF_ERROR(running.sequence->FetchRows());
  running.phase = Running::Phase::kDecode;
  return OkStatus();
}

Status Engine::Decode(Running& running) {
  GenerateJob& job = running.job;
  const int32_t last = job.prefix.back();
  RETURN_IF_ERROR(
      running.sequence->Append(std::span<const int32_t>(&last, 1), LogitsWanted::kLast, &logits_));
  const auto position = static_cast<int64_t>(job.prefix.size());
  if (position % CheckpointInterval() == 0) running.sequence->Checkpoint(kPeriodicCheckpoint);
  const TokenMask* mask = job.constraint == nullptr ? nullptr : &job.constraint->Mask();
  if (mask != nullptr && mask->count() == 0) {
    return FailedPreconditionError(
        "no token of the model's vocabulary can follow under the generation's constraint",
        "UNSATISFIABLE");
  }
  const int32_t id = SampleToken(logits_, job.sampling, position, mask);
  const uint64_t hash =
      job.hash_logits ? XXH3_64bits(logits_.data(), logits_.size() * sizeof(float)) : 0;
  job.prefix.push_back(id);
  listener_->OnToken(job.id, position, id, hash);
  return OkStatus();
}

int64_t Engine::CheckpointInterval() const {
  constexpr int64_t kFullInterval = 128;
  const int64_t interval = options_.checkpoint_interval_tokens;
  return tiers_.options.policy == CheckpointPolicy::kFull ? std::min(interval, kFullInterval)
                                                          : interval;
}

bool Engine::StopTextReached(Running& running, int32_t id) const {
  const std::string& stop = running.job.stop_text;
  const Tokenizer* tokenizer = tiers_.home.model->tokenizer();
  if (stop.empty() || tokenizer == nullptr) return false;
  running.stop_window += tokenizer->TokenBytes(id);
  const bool reached = running.stop_window.find(stop) != std::string::npos;
  if (running.stop_window.size() > stop.size()) {
    running.stop_window.erase(0, running.stop_window.size() - stop.size());
  }
  return reached;
}

void Engine::Finish(Running& running, JobEnd end, const Status& status) {
  if (!running.late.empty()) --parked_;
  if (running.standing) --standing_;
  if (running.seated) {
    running.seated = false;
    seats_.erase(running.job.sequence);
    // A turn border: what was computed so far must be there after a restart.
    const auto found = sequences_.find(running.job.sequence);
    if (found != sequences_.end() && found->second.sequence != nullptr) {
      if (end == JobEnd::kFailed) {
        sequences_.erase(found);  // its cache may be half-way through a step
      } else {
        found->second.sequence->Checkpoint(running.job.checkpoint_kinds);
      }
    }
  }
  resident_.store(static_cast<int64_t>(sequences_.size()), std::memory_order_relaxed);
  if (running.phase != Running::Phase::kSync) listener_->OnSynced(running.job.id, running.report);
  listener_->OnDone(running.job.id, end, status);
}

bool Engine::Seat(Running& running) {
  if (running.seated) return true;
  running.seated = static_cast<int64_t>(seats_.size()) < options_.resident_sequences_max &&
                   seats_.insert(running.job.sequence).second;
  standing_ += running.seated ? 0 : 1;
  standing_ -= running.standing ? 1 : 0;
  running.standing = !running.seated;
  return running.seated;
}

void Engine::EvictBeyondLimit(const std::string& keep) {
  tiers_.ram.Trim();
  while (static_cast<int64_t>(sequences_.size()) > options_.resident_sequences_max ||
         tiers_.ram.room() < 0) {
    auto oldest = sequences_.end();
    for (auto it = sequences_.begin(); it != sequences_.end(); ++it) {
      if (it->first == keep || seats_.count(it->first) != 0) continue;
      if (oldest == sequences_.end() || it->second.last_used < oldest->second.last_used)
        oldest = it;
    }
    if (oldest == sequences_.end()) break;
    oldest->second.sequence->Checkpoint(kPeriodicCheckpoint);
    sequences_.erase(oldest);
    tiers_.ram.Trim();
  }
  resident_.store(static_cast<int64_t>(sequences_.size()), std::memory_order_relaxed);
}

}  // namespace baleen
