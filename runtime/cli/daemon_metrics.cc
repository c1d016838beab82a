#include "runtime/cli/daemon_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <exception>
#include <mutex>
#include <regex>
#include <utility>
#include <vector>

namespace baleen::cli {
namespace {

using CounterFamily = prometheus::Family<prometheus::Counter>;
using Buckets = prometheus::Histogram::BucketBoundaries;

// From a prompt of a few tokens to a million-token one.
const Buckets kWorkSeconds = {0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600};
// From a page cache's write to a disk that is in trouble.
const Buckets kCommitSeconds = {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 10};

const char* StateName(TurnState state) {
  switch (state) {
    case TurnState::kSucceeded: return "succeeded";
    case TurnState::kFailed: return "failed";
    case TurnState::kCancelled: return "cancelled";
    case TurnState::kRunning: return "running";
  }
  return "";
}

CounterFamily& Counters(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Histogram& Seconds(prometheus::Registry& registry, const char* name, const char* help,
                               const Buckets& buckets, const prometheus::Labels& labels = {}) {
  // A family that is there already is the same one.
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(labels, buckets);
}

}  // namespace

struct DaemonMetrics::Families : prometheus::Collectable {
  prometheus::Registry registry;
  CounterFamily& turns = Counters(registry, "baleen_turns_total", "Turns that ended, by state.");
  CounterFamily& calls =
      Counters(registry, "baleen_tool_calls_total", "Tool calls that got a result, by outcome.");
  CounterFamily& requests = Counters(registry, "baleen_requests_total",
                                     "gRPC calls and streams that ended, by code and reason.");
  CounterFamily& tokens_in =
      Counters(registry, "baleen_prompt_tokens_total",
               "Tokens of contexts, by where their KV came from: ram, disk, recomputed, new.");
  prometheus::Counter& tokens_ram = tokens_in.Add({{"source", "ram"}});
  prometheus::Counter& tokens_disk = tokens_in.Add({{"source", "disk"}});
  prometheus::Counter& tokens_recomputed = tokens_in.Add({{"source", "recomputed"}});
  prometheus::Counter& tokens_new = tokens_in.Add({{"source", "new"}});
  prometheus::Counter& tokens_out =
      Counters(registry, "baleen_generated_tokens_total", "Tokens of turns that ended.").Add({});
  prometheus::Histogram& turn =
      Seconds(registry, "baleen_turn_seconds", "Turns from start to end.", kWorkSeconds);
  prometheus::Histogram& restore = Seconds(registry, "baleen_restore_seconds",
                                           "Reading stored KV, per generation.", kWorkSeconds);
  prometheus::Histogram& prefill = Seconds(registry, "baleen_prefill_seconds",
                                           "Computing the prompt, per generation.", kWorkSeconds);
  prometheus::Histogram& decode = Seconds(registry, "baleen_decode_seconds",
                                          "Writing the answer, per generation.", kWorkSeconds);
  prometheus::Histogram& commit =
      Seconds(registry, "baleen_commit_seconds", "Commits of the journal.", kCommitSeconds,
              {{"synced", "false"}});
  prometheus::Histogram& synced_commit =
      Seconds(registry, "baleen_commit_seconds", "Commits of the journal.", kCommitSeconds,
              {{"synced", "true"}});

  std::vector<prometheus::MetricFamily> Collect() const override { return registry.Collect(); }
};

/// What is read from the runtime when somebody asks.
class DaemonMetrics::Gauges : public prometheus::Collectable {
 public:
  explicit Gauges(Runtime* runtime) : runtime_(runtime) {}

  /// No reading after this.
  void Close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    runtime_ = nullptr;
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    // Counting walks the journal's timelines: whoever asks in a loop gets the last answer.
    if (runtime_ != nullptr && (families_.empty() || now - read_at_ > std::chrono::seconds(1))) {
      read_at_ = now;
      if (const auto stats = runtime_->Stats(); stats.ok()) families_ = Read(*stats);
    }
    return families_;
  }

 private:
  static std::vector<prometheus::MetricFamily> Read(const RuntimeStats& stats) {
    prometheus::Registry registry;
    const auto gauge = [&](const char* name, const char* help, int64_t value) {
      prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({}).Set(
          static_cast<double>(value));
    };
    const auto counter = [&](const char* name, const char* help, int64_t value) {
      Counters(registry, name, help).Add({}).Increment(static_cast<double>(value));
    };
    gauge("baleen_sessions", "Sessions that are stored.", stats.sessions);
    gauge("baleen_turns_running", "Turns that run.", stats.turns_running);
    gauge("baleen_sequences_resident", "Sequences whose KV is in RAM.", stats.sequences_resident);
    gauge("baleen_kv_ram_bytes", "Sealed KV in RAM.", stats.kv_bytes_in_ram);
    gauge("baleen_kv_disk_bytes", "KV on disk.", stats.kv_bytes_on_disk);
    gauge("baleen_journal_bytes", "The journal on disk.", stats.journal_bytes);
    counter("baleen_kv_blocks_found_total", "Blocks that resumes asked for and found.",
            stats.kv_blocks_found);
    counter("baleen_kv_blocks_missed_total", "Blocks that resumes asked for and did not find.",
            stats.kv_blocks_missed);
    counter("baleen_kv_blocks_evicted_total", "Blocks that went because of the quota on disk.",
            stats.kv_blocks_evicted);
    return registry.Collect();
  }

  mutable std::mutex mutex_;
  Runtime* runtime_;
  mutable std::chrono::steady_clock::time_point read_at_;
  mutable std::vector<prometheus::MetricFamily> families_;
};

struct DaemonMetrics::HttpServer {
  explicit HttpServer(std::vector<std::string> options) : exposer(std::move(options)) {}
  prometheus::Exposer exposer;
};

DaemonMetrics::DaemonMetrics() : families_(std::make_shared<Families>()) {}

DaemonMetrics::~DaemonMetrics() { Close(); }

Result<std::string> DaemonMetrics::Serve(const std::string& address, Runtime* runtime) {
  static const std::regex kLoopback(R"((127(?:\.\d{1,3}){3}|\[::1\]):(\d{1,5}))");
  std::smatch parts;
  if (!std::regex_match(address, parts, kLoopback) || std::stoi(parts[2]) > 65535) {
    return InvalidArgumentError("--metrics '" + address.substr(0, 80) +
                                "': expected a loopback address, 127.0.0.1:PORT or [::1]:PORT; it "
                                "asks nobody who he is, so let what scrapes from elsewhere come by "
                                "a proxy or an SSH tunnel");
  }
  gauges_ = std::make_shared<Gauges>(runtime);
  try {
    // Two threads: one slow reader doesn't keep another out. Nothing idle is kept for long.
    http_ = std::make_unique<HttpServer>(
        std::vector<std::string>{"listening_ports", address, "num_threads", "2",
                                 "request_timeout_ms", "5000", "enable_keep_alive", "no"});
  } catch (const std::exception& error) {
    return FailedPreconditionError(
        "--metrics: can't listen on " + address + " (" + error.what() + ")", "ADDRESS_IN_USE");
  }
  http_->exposer.RegisterCollectable(families_);
  http_->exposer.RegisterCollectable(gauges_);
  const std::vector<int> ports = http_->exposer.GetListeningPorts();
  return parts[1].str() + ":" + std::to_string(ports.empty() ? 0 : ports[0]);
}

void DaemonMetrics::Close() {
  if (gauges_ != nullptr) gauges_->Close();
  http_.reset();
}

void DaemonMetrics::OnTurnEnded(const TurnView& view, double seconds) {
  families_->turns.Add({{"state", StateName(view.state)}}).Increment();
  families_->turn.Observe(seconds);
  families_->tokens_ram.Increment(static_cast<double>(view.tokens_reused_ram));
  families_->tokens_disk.Increment(static_cast<double>(view.tokens_reused_disk));
  families_->tokens_recomputed.Increment(static_cast<double>(view.tokens_recomputed));
  families_->tokens_new.Increment(static_cast<double>(view.tokens_prefilled));
  families_->tokens_out.Increment(static_cast<double>(view.tokens_generated));
}

void DaemonMetrics::OnGeneration(const GenerationFigures& figures) {
  families_->restore.Observe(figures.restore_seconds);
  families_->prefill.Observe(figures.prefill_seconds);
  families_->decode.Observe(figures.decode_seconds);
}

void DaemonMetrics::OnToolCall(ToolOutcome outcome) {
  families_->calls.Add({{"outcome", std::string(ToolOutcomeName(outcome))}}).Increment();
}

void DaemonMetrics::OnCommit(double seconds, bool synced) {
  (synced ? families_->synced_commit : families_->commit).Observe(seconds);
}

void DaemonMetrics::OnAnswer(const Status& status) {
  families_->requests
      .Add({{"code", std::string(StatusCodeName(status.code()))}, {"reason", status.reason()}})
      .Increment();
}

}  // namespace baleen::cli
