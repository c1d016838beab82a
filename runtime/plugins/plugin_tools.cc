#include "runtime/plugins/plugin_tools.h"

#include <sys/eventfd.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "runtime/clock.h"
#include "runtime/worker.h"
#include "tools_sdk/call_result.h"
#include "tools_sdk/utf8.h"

namespace baleen {

/// Threads: any.
class PluginTurnstile {
 public:
  /// false: still taken at `until`.
  bool Enter(std::chrono::steady_clock::time_point until, const std::atomic<bool>* cancelled) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (taken_) {
      const auto now = std::chrono::steady_clock::now();
      if (now >= until || (cancelled != nullptr && cancelled->load())) return false;
      free_.wait_until(lock, std::min(until, now + std::chrono::milliseconds(20)));
    }
    taken_ = true;
    return true;
  }
  void Leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    taken_ = false;
    free_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool taken_ = false;
};

namespace {

using SteadyTime = std::chrono::steady_clock;

constexpr const char* kInspect =
    " Its effect may or may not have happened: inspect before repeating it.";

/// Of a body that returned.
ToolResult Returned(const ToolSpec& spec, std::string output, const ResultFrame& frame) {
  ToolResult result = ResultOf(frame.outcome, ReplaceInvalidUtf8(output));
  if (frame.bytes_written > spec.output_bytes_max) {
    result.content_bytes = frame.bytes_written;
    result.content += "\n[cut: " + std::to_string(output.size()) + " of " +
                      std::to_string(frame.bytes_written) + " bytes]";
  }
  if (frame.outcome != ToolOutcome::kOk) {
    result.content += (result.content.empty() ? "" : "\n") + frame.text;
  }
  return result;
}

/// What is known of a call whose body never returned.
std::string Remains(const ToolHostAnswer& answer) {
  std::string text;
  if (!answer.progress.empty()) text += "\nIts last progress: " + answer.progress;
  if (!answer.words.empty()) text += "\nThe end of what it printed: " + answer.words;
  if (!answer.output.empty())
    text += "\nUntil then it wrote:\n" + ReplaceInvalidUtf8(answer.output);
  return text;
}

class ProcessTool final : public PluginTool {
 public:
  ProcessTool(ToolHostCommand command, ToolSpec spec)
      : command_(std::move(command)), spec_(std::move(spec)) {}

  const ToolSpec& spec() const override { return spec_; }

  ToolResult CallIn(const ProcessBounds& bounds, const ToolCall& call,
                    CallContext& context) override {
    ToolHostLimits limits;
    limits.bounds = bounds;
    limits.time_ms = spec_.timeout_ms;
    limits.output_bytes_max = spec_.output_bytes_max;
    limits.cancelled = context.cancelled;
    limits.progress = context.progress;
    const std::string body = CallFrameToJson({call, spec_.timeout_ms});
    if (body.size() >= kFrameBytesMax) {
      return ResultOf(ToolOutcome::kError,
                      "The arguments are too long for a plugin: at most 4 MiB.");
    }
    auto answer = AskToolHost(command_, EncodeFrame(FrameKind::kCall, body), limits);
    if (!answer.ok()) {
      return ResultOf(ToolOutcome::kError,
                      "The call was not run: " + answer.status().message() + ".");
    }
    if (answer->result.has_value()) return Returned(spec_, answer->output, *answer->result);
    if (!answer->refusal.empty()) {
      return ResultOf(ToolOutcome::kError, "The call was not run: " + answer->refusal + ".");
    }
    return Lost(*answer, SteadyClockPassed(context));
  }

 private:
  /// The runtime sets the flag at the deadline, too.
  static bool SteadyClockPassed(const CallContext& context) {
    return Clock().SteadyMs() >= context.deadline_ms;
  }

  ToolResult Lost(const ToolHostAnswer& answer, bool late) const {
    const bool effect = answer.begun && spec_.effect == EffectClass::kEffect;
    const std::string remains = (effect ? kInspect : "") + Remains(answer);
    if (answer.timed_out || (answer.cancelled && late)) {
      return ResultOf(ToolOutcome::kTimeout, "The tool gave no answer in " +
                                                 std::to_string(spec_.timeout_ms) +
                                                 " ms, and its process was ended." + remains);
    }
    if (answer.cancelled) {
      return ResultOf(effect         ? ToolOutcome::kUnknown
                      : answer.begun ? ToolOutcome::kAborted
                                     : ToolOutcome::kAbortedBeforeDispatch,
                      "The call was cancelled, and its process was ended." + remains);
    }
    const std::string when = answer.begun ? "while the call ran" : "before the call began";
    return ResultOf(effect ? ToolOutcome::kUnknown : ToolOutcome::kError,
                    "The plugin's process " + answer.end + " " + when + "." + remains);
  }

  const ToolHostCommand command_;
  const ToolSpec spec_;
};

/// A call in this process.
class LocalPort final : public PluginCallPort {
 public:
  LocalPort(const CallContext& context, SteadyTime::time_point end)
      : cancelled_(context.cancelled), tell_(context.progress), end_(end) {}
  ~LocalPort() override {
    done_.store(true);
    ended_.notify_all();
  }

  bool Cancelled() const override {
    return (cancelled_ != nullptr && cancelled_->load()) || SteadyTime::now() >= end_;
  }
  /// Made when it is first asked for, with a thread that looks at the flag for it.
  int CancelFd() const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (watch_ == nullptr) {
      event_.emplace(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      watch_ = std::make_unique<Worker>(1, 1);
      watch_->queue().TryPush([this] {
        std::unique_lock<std::mutex> waiting(watch_mutex_);
        while (!done_.load() && !Cancelled()) {
          ended_.wait_for(waiting, std::chrono::milliseconds(20));
        }
        eventfd_write(event_->get(), 1);
      });
    }
    return event_->get();
  }
  int64_t TimeLeftMs() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(end_ - SteadyTime::now()).count();
  }
  bool Write(std::string_view bytes) override {
    output_ += bytes;
    Tell(bytes, {});
    return true;
  }
  bool Progress(std::string_view line) override {
    Tell({}, line);
    return true;
  }
  std::string TakeOutput() { return std::move(output_); }

 private:
  void Tell(std::string_view output, std::string_view line) const {
    if (!tell_) return;
    CallProgress news;
    news.output = output;
    news.output_bytes = static_cast<int64_t>(output_.size());
    news.message = line;
    tell_(news);
  }

  const std::atomic<bool>* cancelled_;
  const std::function<void(const CallProgress&)> tell_;
  const SteadyTime::time_point end_;
  std::string output_;
  std::atomic<bool> done_{false};
  mutable std::mutex mutex_;
  mutable std::optional<FileDescriptor> event_;
  mutable std::mutex watch_mutex_;
  mutable std::condition_variable ended_;
  mutable std::unique_ptr<Worker> watch_;  ///< Joined first.
};

class InProcessTool final : public PluginTool {
 public:
  InProcessTool(const PluginLibrary* library, size_t tool,
                std::shared_ptr<PluginTurnstile> turnstile)
      : library_(library), tool_(tool), turnstile_(std::move(turnstile)) {}

  const ToolSpec& spec() const override { return library_->manifest().tools[tool_]; }

  ToolResult CallIn(const ProcessBounds& /*bounds*/, const ToolCall& call,
                    CallContext& context) override {
    const auto end = SteadyTime::now() + std::chrono::milliseconds(spec().timeout_ms);
    const bool alone = !library_->IsReentrant(tool_);
    if (alone && !turnstile_->Enter(end, context.cancelled)) {
      return ResultOf(ToolOutcome::kAbortedBeforeDispatch,
                      "The call was not run: another call of its plugin was still running.");
    }
    LocalPort port(context, end);
    const ResultFrame frame = library_->Run(tool_, call, port);
    if (alone) turnstile_->Leave();
    return Returned(spec(), port.TakeOutput(), frame);
  }

 private:
  const PluginLibrary* library_;
  const size_t tool_;
  const std::shared_ptr<PluginTurnstile> turnstile_;  // owners: the plugin's tools
};

}  // namespace

std::unique_ptr<PluginTool> NewProcessTool(ToolHostCommand command, ToolSpec spec) {
  return std::make_unique<ProcessTool>(std::move(command), std::move(spec));
}

std::unique_ptr<PluginTool> NewInProcessTool(const PluginLibrary* library, size_t tool,
                                             std::shared_ptr<PluginTurnstile> turnstile) {
  return std::make_unique<InProcessTool>(library, tool, std::move(turnstile));
}

std::shared_ptr<PluginTurnstile> NewPluginTurnstile() {
  return std::make_shared<PluginTurnstile>();
}

}  // namespace baleen
