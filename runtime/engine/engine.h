// Engine: one model on one backend, its thread, and the live sequences.
//
// Takes Generate jobs from the control loop, runs one sequence per tick in turn, publishes what
// happened to a listener. Knows no sessions' meaning: a sequence is a name and a full token prefix.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "model/constraint/token_constraint.h"
#include "model/model.h"
#include "model/sampler.h"
#include "runtime/engine/kv_tiers.h"
#include "runtime/engine/live_sequence.h"
#include "runtime/engine/token_list.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Sync the sequence to `prefix`, then sample up to `tokens_max` tokens.
struct GenerateJob {
  uint64_t id = 0;
  std::string sequence;
  TokenList prefix;              ///< The whole context, from BOS on.
  int64_t generation_begin = 0;  ///< Position of the first sampled token; < prefix.size() when a
                                 ///< broken-off generation continues.
  int64_t computed_before = 0;   ///< Leading tokens that were computed once already.
  int64_t tokens_max = 0;  ///< Of the whole generation. 0: only sync (all but the last token).
  SamplingOptions sampling;
  int32_t eos_id = -1;
  std::string stop_text;  ///< Generation ends with the token that completes it; empty: none.
  bool hash_logits = false;
  /// CheckpointKind bits of the checkpoint at the end.
  uint32_t checkpoint_kinds = kTurnCheckpoint;
  /// Where others may branch off again: the computation leaves a fork's checkpoint there when it
  /// stands at or passes it. 0: nowhere.
  int64_t fork_position = 0;
  /// What the generation is kept to; null: nothing. As it stands before the first sampled token.
  std::unique_ptr<TokenConstraint> constraint;
  /// Owners: the control loop, which sets it, and the engine, which reads it each tick.
  std::shared_ptr<std::atomic<bool>> cancelled;
};

/// Bring the KV of `tokens` into RAM as `sequence`, all of it, and see to a checkpoint there. With
/// `sequence` a fork's name this makes the fork: blocks that a live sequence or the RAM holds are
/// shared, and the checkpoint for the fork's position is written if it is missing.
struct PrefetchJob {
  uint64_t id = 0;
  std::string sequence;
  TokenList tokens;
  bool load_rows = true;  ///< Wait until no row is absent; false: rows come when selected.
  uint32_t checkpoint_kinds = kPeriodicCheckpoint;  ///< CheckpointKind bits of the checkpoint.
  int64_t fork_position = 0;                        ///< As in GenerateJob.
  /// Owners: as GenerateJob.
  std::shared_ptr<std::atomic<bool>> cancelled;
};

enum class JobEnd { kStop, kLength, kStopText, kCancelled, kFailed };

/// Where the context of a job came from.
struct ReuseReport {
  int64_t reused_ram = 0;
  int64_t reused_disk = 0;
  int64_t recomputed = 0;  ///< Computed again though they had been computed before.
  int64_t prefilled = 0;   ///< New prompt tokens.
  int64_t bytes_read = 0;  ///< While restoring.
  RowWaits rows;           ///< Read lazily, because a step had selected them.
  int64_t parked = 0;      ///< Times that the job made room for others until rows came.
  double restore_ms = 0;
  double prefill_ms = 0;
  std::vector<std::string> reasons;
};

/// Called on the engine thread; must not block for long.
class EngineListener {
 public:
  virtual ~EngineListener() = default;
  virtual void OnProgress(uint64_t job, int64_t tokens_done, int64_t tokens_total) = 0;
  /// When the context is in place, and again, complete, before OnDone.
  virtual void OnSynced(uint64_t job, const ReuseReport& report) = 0;
  /// The job makes room for others until `rows` units of rows have come from the disk.
  virtual void OnWaiting(uint64_t job, int64_t rows) = 0;
  /// `hash` is XXH3-64 of the fp32 logits; 0 unless asked for.
  virtual void OnToken(uint64_t job, int64_t position, int32_t id, uint64_t hash) = 0;
  virtual void OnDone(uint64_t job, JobEnd end, const Status& status) = 0;
};

struct EngineOptions {
  int64_t prefill_chunk_tokens = 512;
  int64_t checkpoint_interval_tokens = 4096;  ///< CheckpointPolicy::kFull: at most 128.
  int64_t resident_sequences_max = 8;
  int64_t jobs_max = 64;
};

/// Where the control loop's tokens come from.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  /// Errors: RESOURCE_EXHAUSTED when too many jobs wait; UNAVAILABLE while ending.
  virtual Status Submit(GenerateJob job) = 0;
  /// Its end is OnDone with kStop. Errors: as Submit.
  virtual Status Prefetch(PrefetchJob job) = 0;
  /// Lets go of what it keeps of `sequence`, unless a job works on it. Returns at once.
  virtual void Release(const std::string& sequence) = 0;
};

/// Jobs on one sequence run one after another, in the order in which they came.
/// Threads: Stop from the owner; everything else from any thread.
class Engine final : public TokenSource {
 public:
  /// Borrows: everything in `home`, listener.
  Engine(const KvHome& home, const KvTierOptions& tiers, const EngineOptions& options,
         EngineListener* listener);
  ~Engine() override;

  /// Errors: RESOURCE_EXHAUSTED when jobs_max jobs wait; UNAVAILABLE after Stop.
  Status Submit(GenerateJob job) override;
  Status Prefetch(PrefetchJob job) override;
  /// Frees the live KV of `sequence` after a checkpoint, and the blocks in RAM that no other live
  /// sequence uses. A sequence that a job works on is left alone. Returns at once.
  void Release(const std::string& sequence) override;
  /// Returns once everything that Release and others asked for before has been done.
  void AwaitRequests();
  /// The keys of all blocks of live sequences; waits for the current tick. Empty after Stop.
  std::vector<BlockKey> LiveKeys();
  /// Ends after the current tick, with no further calls to the listener.
  void Stop();

  int64_t wakeups() const { return wakeups_.load(std::memory_order_relaxed); }
  int64_t resident() const { return resident_.load(std::memory_order_relaxed); }
  /// Bytes of sealed blocks in RAM.
  int64_t kv_ram_bytes() const { return tiers_.ram.bytes(); }

 private:
  struct Running;

  Status Enqueue(std::unique_ptr<Running> running);
  /// false: stopped; not queued.
  bool Post(std::function<void()> request);
  void Loop();
  /// One tick of one job. false: the job is done. `alone`: no other job could run instead.
  bool Tick(Running& job, bool alone);
  Status Step(Running& job, bool* done);
  /// Puts a job whose rows are late aside. Any other status is returned.
  Status Park(Running& job, const Status& status);
  /// true: its rows are there.
  bool Unpark(Running& job, bool alone);
  Status Sync(Running& job);
  /// The longest live sequence that can become `tokens`, or null.
  LiveSequence* NearestLive(const TokenList& tokens);
  Status Prefill(Running& job);
  Status LoadRows(Running& job);
  Status Decode(Running& job);
  void TakeSteps(Running& job);
  int64_t CheckpointInterval() const;
  /// Looks at the generated tokens that nobody looked at yet. The end that one of them is, if any.
  Result<std::optional<JobEnd>> Examine(Running& job) const;
  void Finish(Running& job, JobEnd end, const Status& status);
  bool StopTextReached(Running& job, int32_t id) const;
  /// false: no seat is free; the job waits in the rotation.
  bool Seat(Running& job);
  void EvictBeyondLimit(const std::string& keep);

  KvTiers tiers_;  // engine thread
  const EngineOptions options_;
  EngineListener* const listener_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<std::unique_ptr<Running>> jobs_;   // guarded by mutex_
  std::deque<std::function<void()>> requests_;  // guarded by mutex_
  bool stop_ = false;                           // guarded by mutex_

  // Engine thread only.
  struct Resident {
    std::unique_ptr<LiveSequence> sequence;
    uint64_t last_used = 0;
  };
  std::unordered_map<std::string, Resident> sequences_;
  uint64_t use_counter_ = 0;
  /// Sequences that jobs are working on, one job each. Never more than may be resident: else jobs
  /// would evict each other's sequences in turn and none would get anywhere.
  std::set<std::string> seats_;
  size_t parked_ = 0;    // jobs that wait for rows
  size_t standing_ = 0;  // jobs that wait for a seat
  std::vector<float> logits_;

  std::atomic<int64_t> wakeups_{0};
  std::atomic<int64_t> resident_{0};
  std::thread thread_;
};

}  // namespace baleen
