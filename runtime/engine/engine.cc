#include "runtime/engine/engine.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "model/text/tokenizer.h"

namespace baleen {
namespace {

using SteadyClock = std::chrono::steady_clock;

double MsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - start).count();
}

}  // namespace

struct Engine::Running {
  enum class Phase { kSync, kPrefill, kDecode };

  GenerateJob job;
  Phase phase = Phase::kSync;
  bool seated = false;
  LiveSequence* sequence = nullptr;
  ReuseReport report;
  SteadyClock::time_point prefill_start;
  int64_t prefill_begin = 0;
  std::string stop_window;  // the last bytes of generated text, as long as stop_text
  size_t examined = 0;      // generated tokens before this index were looked at for a stop
};

Engine::Engine(const KvHome& home, const EngineOptions& options, EngineListener* listener)
    : home_(home), options_(options), listener_(listener), thread_([this] { Loop(); }) {}

Engine::~Engine() { Stop(); }

Status Engine::Submit(GenerateJob job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stop_) return UnavailableError("the engine is stopping", "DRAINING");
    if (static_cast<int64_t>(jobs_.size()) >= options_.jobs_max) {
      return ResourceExhaustedError(
          "the engine has " + std::to_string(jobs_.size()) + " jobs already; wait until one ends",
          "QUOTA");
    }
    auto running = std::make_unique<Running>();
    running->examined = static_cast<size_t>(job.generation_begin);
    running->job = std::move(job);
    jobs_.push_back(std::move(running));
  }
  work_.notify_one();
  return OkStatus();
}

void Engine::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Engine::Loop() {
  while (true) {
    std::unique_ptr<Running> job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (jobs_.empty() && !stop_) {
        work_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        wakeups_.fetch_add(1, std::memory_order_relaxed);
      }
      if (stop_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    if (!Tick(*job)) continue;
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));  // round robin
  }
}

bool Engine::Tick(Running& running) {
  if (running.job.cancelled != nullptr && running.job.cancelled->load()) {
    Finish(running, JobEnd::kCancelled, OkStatus());
    return false;
  }
  if (running.phase == Running::Phase::kSync) {
    if (!Seat(running)) return true;
    if (Status status = Sync(running); !status.ok()) {
      Finish(running, JobEnd::kFailed, status);
      return false;
    }
    return true;
  }
  // Another job may have evicted the sequence since the last tick: then this one syncs again.
  const auto found = sequences_.find(running.job.sequence);
  if (found == sequences_.end() || found->second.sequence.get() != running.sequence) {
    running.job.computed_before = static_cast<int64_t>(running.job.prefix.size());
    running.phase = Running::Phase::kSync;
    return true;
  }
  found->second.last_used = ++use_counter_;
  if (running.phase == Running::Phase::kPrefill) {
    if (Status status = Prefill(running); !status.ok()) {
      Finish(running, JobEnd::kFailed, status);
      return false;
    }
    return true;
  }
  // Tokens of a broken-off generation are looked at like fresh ones: it may have been complete.
  while (running.examined < running.job.prefix.size()) {
    const int32_t id = running.job.prefix[running.examined++];
    if (id == running.job.eos_id || StopTextReached(running, id)) {
      Finish(running, id == running.job.eos_id ? JobEnd::kStop : JobEnd::kStopText, OkStatus());
      return false;
    }
  }
  const auto sampled =
      static_cast<int64_t>(running.job.prefix.size()) - running.job.generation_begin;
  if (sampled >= running.job.tokens_max) {
    Finish(running, JobEnd::kLength, OkStatus());
    return false;
  }
  if (Status status = Decode(running); !status.ok()) {
    Finish(running, JobEnd::kFailed, status);
    return false;
  }
  return true;
}

Status Engine::Sync(Running& running) {
  const GenerateJob& job = running.job;
  // The last token is always computed by the step that needs its logits.
  const size_t target = job.prefix.size() - 1;
  Resident& resident = sequences_[job.sequence];
  resident.last_used = ++use_counter_;
  const auto extends = [&](const std::vector<int32_t>& live) {
    return live.size() <= target && std::equal(live.begin(), live.end(), job.prefix.begin());
  };
  ReuseReport report;
  if (resident.sequence != nullptr && extends(resident.sequence->tokens())) {
    report.reused_ram = static_cast<int64_t>(resident.sequence->tokens().size());
  } else {
    if (resident.sequence != nullptr) {
      report.reasons.push_back("the live sequence is no prefix of the wanted context");
    }
    const auto start = SteadyClock::now();
    RestoreReport restored;
    auto sequence =
        RestoreSequence(home_, std::span<const int32_t>(job.prefix.data(), target), &restored);
    if (!sequence.ok()) {
      sequences_.erase(job.sequence);
      return std::move(sequence).status();
    }
    resident.sequence = std::move(sequence).value();
    report.reused_disk = restored.tokens_from_disk - restored.tokens_repaired;
    if (report.reused_disk < 0) report.reused_disk = 0;
    report.recomputed = restored.tokens_repaired;
    report.bytes_read = restored.bytes_read;
    report.restore_ms = MsSince(start);
    report.reasons.insert(report.reasons.end(), restored.reasons.begin(), restored.reasons.end());
  }
  running.sequence = resident.sequence.get();
  EvictBeyondLimit(job.sequence);
  const auto at = static_cast<int64_t>(running.sequence->tokens().size());
  const auto end = static_cast<int64_t>(target);
  const int64_t known = std::clamp(job.computed_before, at, end);
  if (known > at && at == 0 && home_.store != nullptr) {
    report.reasons.push_back(
        "nothing usable is stored for this context under model " +
        home_.scope.fingerprint.substr(0, 16) + ", " + home_.scope.arithmetic_id +
        ": the run stopped before its first checkpoint, the store was emptied, or another model "
        "computed it");
  }
  if (known > at) {
    report.reasons.push_back("tokens " + std::to_string(at) + ".." + std::to_string(known - 1) +
                             " lie after the newest usable checkpoint: replayed");
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
  const auto at = static_cast<int64_t>(running.sequence->tokens().size());
  const auto end = static_cast<int64_t>(running.job.prefix.size()) - 1;
  if (at >= end) {
    running.report.prefill_ms = MsSince(running.prefill_start);
    listener_->OnSynced(running.job.id, running.report);
    running.phase = Running::Phase::kDecode;
    return OkStatus();
  }
  const int64_t interval = options_.checkpoint_interval_tokens;
  const int64_t border = (at / interval + 1) * interval;
  const int64_t count = std::min({options_.prefill_chunk_tokens, end - at, border - at});
  RETURN_IF_ERROR(
      running.sequence->Append(std::span<const int32_t>(running.job.prefix)
                                   .subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
                               LogitsWanted::kNone, nullptr));
  if ((at + count) % interval == 0) running.sequence->Checkpoint();
  listener_->OnProgress(running.job.id, at + count - running.prefill_begin,
                        end - running.prefill_begin);
  return OkStatus();
}

Status Engine::Decode(Running& running) {
  GenerateJob& job = running.job;
  const int32_t last = job.prefix.back();
  RETURN_IF_ERROR(
      running.sequence->Append(std::span<const int32_t>(&last, 1), LogitsWanted::kLast, &logits_));
  const auto position = static_cast<int64_t>(job.prefix.size());
  if (position % options_.checkpoint_interval_tokens == 0) running.sequence->Checkpoint();
  const int32_t id = SampleToken(logits_, job.sampling, position);
  const uint64_t hash =
      job.hash_logits ? XXH3_64bits(logits_.data(), logits_.size() * sizeof(float)) : 0;
  job.prefix.push_back(id);
  listener_->OnToken(job.id, position, id, hash);
  return OkStatus();
}

bool Engine::StopTextReached(Running& running, int32_t id) const {
  const std::string& stop = running.job.stop_text;
  const Tokenizer* tokenizer = home_.model->tokenizer();
  if (stop.empty() || tokenizer == nullptr) return false;
  running.stop_window += tokenizer->TokenBytes(id);
  const bool reached = running.stop_window.find(stop) != std::string::npos;
  if (running.stop_window.size() > stop.size()) {
    running.stop_window.erase(0, running.stop_window.size() - stop.size());
  }
  return reached;
}

void Engine::Finish(Running& running, JobEnd end, const Status& status) {
  Unseat(running);
  // A turn border: what was computed so far must be there after a restart.
  const auto found = sequences_.find(running.job.sequence);
  if (found != sequences_.end() && found->second.sequence != nullptr) {
    if (end == JobEnd::kFailed) {
      sequences_.erase(found);  // its cache may be half-way through a step
    } else {
      found->second.sequence->Checkpoint();
    }
  }
  resident_.store(static_cast<int64_t>(sequences_.size()), std::memory_order_relaxed);
  listener_->OnDone(running.job.id, end, status);
}

bool Engine::Seat(Running& running) {
  if (running.seated) return true;
  const bool shared = seats_.count(running.job.sequence) != 0;
  if (!shared && static_cast<int64_t>(seats_.size()) >= options_.resident_sequences_max) {
    return false;
  }
  ++seats_[running.job.sequence];
  running.seated = true;
  return true;
}

void Engine::Unseat(Running& running) {
  if (!running.seated) return;
  running.seated = false;
  const auto seat = seats_.find(running.job.sequence);
  if (--seat->second == 0) seats_.erase(seat);
}

void Engine::EvictBeyondLimit(const std::string& keep) {
  while (static_cast<int64_t>(sequences_.size()) > options_.resident_sequences_max) {
    auto oldest = sequences_.end();
    for (auto it = sequences_.begin(); it != sequences_.end(); ++it) {
      if (it->first == keep || seats_.count(it->first) != 0) continue;
      if (oldest == sequences_.end() || it->second.last_used < oldest->second.last_used)
        oldest = it;
    }
    if (oldest == sequences_.end()) return;
    oldest->second.sequence->Checkpoint();
    sequences_.erase(oldest);
  }
  resident_.store(static_cast<int64_t>(sequences_.size()), std::memory_order_relaxed);
}

}  // namespace baleen
