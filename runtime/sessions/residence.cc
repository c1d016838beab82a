// Residence: bring a session's KV into RAM before it is needed, and let go of it after.
#include <algorithm>
#include <utility>

#include "runtime/sessions/control_loop.h"

namespace baleen {

void ControlLoop::PrefetchSession(const std::string& session, const Answer<StepReuse>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  SessionRun& run = **loaded;
  if (Status status = CheckHasKv(run, "prefetch"); !status.ok()) return answer(status);
  if (Status status = CheckIdle(run); !status.ok()) return answer(status);
  if (Status status = LoadTokens(run); !status.ok()) return answer(status);
  if (std::ssize(run.tokens) == run.context_begin) return answer(StepReuse());
  PrefetchJob job;
  job.id = next_id_++;
  job.sequence = session;
  job.tokens = run.tokens.From(static_cast<size_t>(run.context_begin));
  job.fork_position = std::max<int64_t>(0, run.fork_position - run.context_begin);
  const uint64_t id = job.id;
  prefetches_[id].answer = answer;
  prefetches_[id].reuse.context_tokens = run.record.tokens - run.context_begin;
  if (Status status = engine_->Prefetch(std::move(job)); !status.ok()) {
    prefetches_.erase(id);
    answer(status);
  }
}

void ControlLoop::ReleaseSession(const std::string& session, const Answer<SessionView>& answer) {
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  if (Status status = CheckHasKv(**loaded, "release"); !status.ok()) return answer(status);
  if (Status status = CheckIdle(**loaded); !status.ok()) return answer(status);
  engine_->Release(session);
  (*loaded)->tokens = {};
  (*loaded)->tokens_loaded = false;
  answer(View(**loaded));
}

bool ControlLoop::NotePrefetch(uint64_t job, const ReuseReport& report) {
  const auto found = prefetches_.find(job);
  if (found == prefetches_.end()) return false;
  StepReuse& reuse = found->second.reuse;
  reuse.reused_ram = report.reused_ram;
  reuse.reused_disk = report.reused_disk;
  reuse.recomputed = report.recomputed;
  reuse.prefilled = report.prefilled;
  reuse.bytes_read = report.bytes_read;
  reuse.restore_ms = report.restore_ms;
  reuse.prefill_ms = report.prefill_ms;
  reuse.reasons = report.reasons;
  return true;
}

bool ControlLoop::EndPrefetch(uint64_t job, const Status& status) {
  const auto found = prefetches_.find(job);
  if (found == prefetches_.end()) return false;
  const Prefetch ended = std::move(found->second);
  prefetches_.erase(found);
  if (status.ok()) {
    ended.answer(ended.reuse);
  } else {
    ended.answer(status);
  }
  return true;
}

}  // namespace baleen
