// EngineRig: an engine over a store in a folder, without sessions, and a listener that keeps all.
#pragma once

#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/random_weights.h"
#include "runtime/engine/engine.h"
#include "runtime/store/kv_store.h"
#include "runtime/worker.h"
#include "tests/store/status_checks.h"

namespace baleen {

/// What a job did.
struct JobTrace {
  std::vector<int32_t> ids;
  std::vector<uint64_t> hashes;
  ReuseReport report;
  JobEnd end = JobEnd::kFailed;
  Status status;
  int64_t first_position = 0;
  int64_t waited_for = 0;  ///< Units, as told while waiting.
};

/// Threads: events on the engine thread, Wait on the test's.
class JobRecorder final : public EngineListener {
 public:
  void OnProgress(uint64_t /*job*/, int64_t /*done*/, int64_t /*total*/) override {}
  void OnSynced(uint64_t job, const ReuseReport& report) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_[job].report = report;
  }
  void OnWaiting(uint64_t job, int64_t rows) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_[job].waited_for += rows;
  }
  void OnToken(uint64_t job, int64_t position, int32_t id, uint64_t hash) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    JobTrace& trace = jobs_[job];
    if (trace.ids.empty()) trace.first_position = position;
    trace.ids.push_back(id);
    trace.hashes.push_back(hash);
  }
  void OnDone(uint64_t job, JobEnd end, const Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_[job].end = end;
    jobs_[job].status = status;
    done_[job] = true;
    changed_.notify_all();
  }
  JobTrace Wait(uint64_t job) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return done_[job]; });
    return jobs_[job];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, JobTrace> jobs_;
  std::map<uint64_t, bool> done_;
};

/// The tiny model; made once per test program. One engine may run on it at a time.
inline Model& RigModel() {
  static const std::unique_ptr<Model> model = [] {
    ModelOptions options;
    options.threads = 1;
    ModelConfig config = TinyConfig(268);
    config.index_topk = 16;  // of a few hundred entries, so that most blocks aren't selected
    return Must(
        Model::FromWeights(RandomWeights(config, 1, RandomStorage::kFloat32), options, "rig"));
  }();
  return *model;
}

inline std::vector<int32_t> RigTokens(int64_t count, uint64_t seed = 1) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    token = static_cast<int32_t>((seed >> 33) % 256) + 3;
  }
  return tokens;
}

struct RigOptions {
  KvTierOptions tiers;
  EngineOptions engine;
  int reader_threads = 4;
};

class EngineRig {
 public:
  /// `path` empty: no store.
  explicit EngineRig(const std::string& path, const RigOptions& options = {})
      : worker_(std::make_unique<Worker>(1, 64)) {
    KvStoreOptions store;
    store.path = path;
    store.reader_threads = options.reader_threads;
    if (!path.empty()) store_ = Must(KvStore::Open(store, nullptr));
    const KvHome home = {&RigModel(), store_.get(), &worker_->queue(), scope()};
    engine_ = std::make_unique<Engine>(home, options.tiers, options.engine, &recorder_);
  }
  ~EngineRig() {
    engine_->Stop();
    worker_->Stop();
  }

  static KvScope scope() { return {"rig", RigModel().arithmetic_id(), "test"}; }
  Engine& engine() { return *engine_; }
  KvStore& store() { return *store_; }
  JobRecorder& recorder() { return recorder_; }

  /// Starts a generation of `count` tokens behind `prefix`; the number to wait for.
  uint64_t Start(const std::string& sequence, const std::vector<int32_t>& prefix, int64_t count,
                 int64_t computed_before = 0, int64_t fork_position = 0) {
    GenerateJob job;
    job.id = ++next_;
    job.sequence = sequence;
    job.prefix = prefix;
    job.generation_begin = std::ssize(prefix);
    job.computed_before = computed_before;
    job.fork_position = fork_position;
    job.tokens_max = count;
    job.sampling.temperature = 0;
    job.hash_logits = true;
    REQUIRE_OK(engine_->Submit(std::move(job)));
    return next_;
  }
  JobTrace Generate(const std::string& sequence, const std::vector<int32_t>& prefix, int64_t count,
                    int64_t computed_before = 0, int64_t fork_position = 0) {
    const JobTrace trace =
        recorder_.Wait(Start(sequence, prefix, count, computed_before, fork_position));
    INFO(trace.status.ToString());
    REQUIRE(trace.status.ok());
    REQUIRE(std::ssize(trace.ids) == count);
    return trace;
  }
  JobTrace Prefetch(const std::string& sequence, const std::vector<int32_t>& tokens,
                    bool load_rows = true, uint32_t kinds = kPeriodicCheckpoint) {
    PrefetchJob job;
    job.id = ++next_;
    job.sequence = sequence;
    job.tokens = tokens;
    job.load_rows = load_rows;
    job.checkpoint_kinds = kinds;
    REQUIRE_OK(engine_->Prefetch(std::move(job)));
    const JobTrace trace = recorder_.Wait(next_);
    INFO(trace.status.ToString());
    REQUIRE(trace.end == JobEnd::kStop);
    return trace;
  }
  /// Returns once everything that was handed to the KV thread is written.
  void WaitForStorage() {
    std::promise<void> written;
    worker_->queue().Push([&] { written.set_value(); });
    written.get_future().wait();
  }

 private:
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<KvStore> store_;
  JobRecorder recorder_;
  std::unique_ptr<Engine> engine_;
  uint64_t next_ = 0;
};

inline std::vector<int32_t> Joined(std::vector<int32_t> tokens, const std::vector<int32_t>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
  return tokens;
}

}  // namespace baleen
