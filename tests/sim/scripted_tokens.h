// ScriptedTokens: a model that says what its seed and the context so far decide. Stands where the
// engine stands, so that a thousand histories cost no forward pass; the loop can't tell.
#pragma once

#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/engine/engine.h"

namespace baleen {

/// Ids of the tiny checkpoint's tokenizer (tests/runtime/tiny_checkpoint.h).
inline constexpr int32_t kSimEos = 1;
inline constexpr int32_t kSimDsml = 263;

inline std::vector<int32_t> SimTokens(std::string_view text) {
  constexpr std::string_view kDsml = "\uFF5CDSML\uFF5C";
  std::vector<int32_t> ids;
  while (!text.empty()) {
    if (text.starts_with(kDsml)) {
      ids.push_back(kSimDsml);
      text.remove_prefix(kDsml.size());
    } else {
      ids.push_back(3 + static_cast<uint8_t>(text.front()));
      text.remove_prefix(1);
    }
  }
  return ids;
}

class ScriptedTokens final : public TokenSource {
 public:
  ScriptedTokens(uint64_t seed, std::vector<std::string> tools)
      : seed_(seed), tools_(std::move(tools)) {}
  void Attach(EngineListener* listener) { listener_ = listener; }

  Status Submit(GenerateJob job) override {
    Running running;
    running.reply = Reply(job);
    running.written = static_cast<int64_t>(job.prefix.size()) - job.generation_begin;
    running.job = std::move(job);
    jobs_.push_back(std::move(running));
    return OkStatus();
  }
  Status Prefetch(PrefetchJob) override { return UnimplementedError("the script has no KV"); }
  void Release(const std::string&) override {}

  bool idle() const { return jobs_.empty(); }

  /// One more thing happens to one job; how much the listener was told.
  int64_t Step(std::mt19937_64& random) {
    const size_t index = random() % jobs_.size();
    Running& running = jobs_[index];
    const GenerateJob& job = running.job;
    if (job.cancelled->load()) return End(index, JobEnd::kCancelled);
    if (!running.synced) {
      running.synced = true;
      ReuseReport report;
      report.prefilled = static_cast<int64_t>(job.prefix.size()) - job.computed_before;
      listener_->OnSynced(job.id, report);
      return 1;
    }
    const auto length = static_cast<int64_t>(running.reply.size());
    if (running.written >= length) {
      return End(index, running.reply.back() == kSimEos ? JobEnd::kStop : JobEnd::kStopText);
    }
    if (running.written >= job.tokens_max) return End(index, JobEnd::kLength);
    // Some at once: the journal takes those together that come while it writes.
    const auto most = std::min(
        {length, job.tokens_max, running.written + 1 + static_cast<int64_t>(random() % 40)});
    const int64_t told = most - running.written;
    while (running.written < most) {
      listener_->OnToken(job.id, job.generation_begin + running.written,
                         running.reply[static_cast<size_t>(running.written)], 0);
      ++running.written;
    }
    return told;
  }

 private:
  struct Running {
    GenerateJob job;
    std::vector<int32_t> reply;
    int64_t written = 0;
    bool synced = false;
  };

  int64_t End(size_t index, JobEnd end) {
    const uint64_t id = jobs_[index].job.id;
    jobs_.erase(jobs_.begin() + static_cast<int64_t>(index));
    listener_->OnDone(id, end, OkStatus());
    return 1;
  }

  /// The same after the same context, whatever was cut, killed or asked in between.
  std::vector<int32_t> Reply(const GenerateJob& job) const {
    const auto ids = job.prefix.Ids(0, static_cast<size_t>(job.generation_begin));
    std::mt19937_64 random(XXH3_64bits_withSeed(ids.data(), ids.size() * sizeof(int32_t), seed_));
    std::string text(1 + random() % 12, 'w');
    // A context that has grown long is brought to an end.
    if (job.generation_begin > 3000 || random() % 5 < 2) {
      std::vector<int32_t> ids = SimTokens(text);
      ids.push_back(kSimEos);
      return ids;
    }
    const std::string mark = "\uFF5CDSML\uFF5C";
    text += "\n\n<" + mark + "tool_calls>\n";
    for (uint64_t calls = 1 + random() % 3; calls > 0; --calls) {
      text += "<" + mark + "invoke name=\"" + tools_[random() % tools_.size()] + "\">\n<" + mark +
              "parameter name=\"n\" string=\"false\">" + std::to_string(random() % 10) + "</" +
              mark + "parameter>\n</" + mark + "invoke>\n";
    }
    return SimTokens(text + "</" + mark + "tool_calls>");
  }

  const uint64_t seed_;
  const std::vector<std::string> tools_;
  EngineListener* listener_ = nullptr;
  std::vector<Running> jobs_;
};

}  // namespace baleen
