#include "runtime/sandbox/bash_tools.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>
#include <utility>

#include "runtime/sandbox/command_job.h"
#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr double kTimeoutDefaultS = 120, kTimeoutMinS = 0.001, kTimeoutMaxS = 600;
constexpr int64_t kJobTimeoutMs = 24 * 3'600'000;
constexpr size_t kJobsMax = 8;    // That run at once.
constexpr size_t kJobsKept = 32;  // Ended ones among them.
constexpr int64_t kHeadBytes = 16 << 10;
constexpr int64_t kTailBytes = 44 << 10;
constexpr int64_t kAnswerBytesMax = 64 << 10;
constexpr int64_t kPollMs = 50;  // How soon a cancel is seen, and what a command has written.
constexpr int64_t kWatchedBytesMax = 16 << 10;  // Of that, each time.

std::string Joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : ", ") + text;
  return out;
}

ToolSpec BashSpec(const std::vector<std::string>& hosts) {
  ToolSpec spec;
  spec.name = kBashTool;
  std::string network = "there is no network";
  if (!hosts.empty()) {
    network = "of the network there are " + Joined(hosts) +
              " alone, by HTTP and HTTPS through the proxy that HTTP_PROXY and HTTPS_PROXY name";
  }
  spec.description =
      "Runs a bash command in a sandbox: the workspace can be changed, the system only read, /tmp "
      "is private and empty each time, " +
      (hosts.empty() ? "and " + network + " and no terminal" : network + "; there is no terminal") +
      ". Answers with what it wrote and its exit code. When the command ends, so does all that it "
      "started; use background for what is to go on.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("command":{"type":"string","description":"For bash -c","minLength":1,"maxLength":100000},)"
      R"("description":{"type":"string","description":"What it does, in a few words","maxLength":500},)"
      R"("workdir":{"type":"string","description":"Directory to run in, relative to the workspace; its root if absent"},)"
      R"("timeout_s":{"type":"number","description":"0.001 to 600; 120 if absent; not of background jobs"},)"
      R"("background":{"type":"boolean","description":"Start a job and answer at once with its name"}},)"
      R"("required":["command"],"additionalProperties":false})";
  spec.timeout_ms = static_cast<int64_t>(kTimeoutMaxS * 1000) + 10'000;
  spec.output_bytes_max = kAnswerBytesMax;
  return spec;
}

ToolSpec OutputSpec() {
  ToolSpec spec;
  spec.name = "bash_output";
  spec.description =
      "What a background job has written since it was last asked, and whether it still runs.";
  spec.parameters =
      R"({"type":"object","properties":{)"
      R"("job":{"type":"string","description":"Its name","minLength":1},)"
      R"("wait_s":{"type":"integer","description":"Wait so long for its end; 0 if absent","minimum":0,"maximum":300}},)"
      R"("required":["job"],"additionalProperties":false})";
  spec.effect = EffectClass::kPure;
  spec.timeout_ms = 310'000;
  spec.output_bytes_max = kAnswerBytesMax;
  return spec;
}

ToolSpec StopSpec() {
  ToolSpec spec;
  spec.name = "bash_stop";
  spec.description = "Ends a background job and all that it started.";
  spec.parameters = R"({"type":"object","properties":{)"
                    R"("job":{"type":"string","description":"Its name","minLength":1}},)"
                    R"("required":["job"],"additionalProperties":false})";
  spec.effect = EffectClass::kIdempotent;
  spec.output_bytes_max = kAnswerBytesMax;
  return spec;
}

}  // namespace

/// The commands of one session.
class SessionJobs {
 public:
  using Clock = std::chrono::steady_clock;
  struct Job {
    std::unique_ptr<CommandJob> command;
    int64_t told = 0;  ///< Bytes of output that the model has been given. Under the table's mutex.
  };
  SessionJobs(std::shared_ptr<LazySandbox> sandbox, ProcessBounds bounds)
      : sandbox_(std::move(sandbox)), bounds_(std::move(bounds)) {}

  Result<std::shared_ptr<Job>> Start(const std::string& command, const std::string& folder,
                                     int64_t timeout_ms) {
    auto job = std::make_shared<Job>();  // owners: the table, and calls that look at it
    if (folder.empty()) job->command = TakeSpare();
    if (job->command != nullptr && job->command->Begin(command, timeout_ms)) {
      Prepare();  // an answer may have several commands
      return job;
    }
    SandboxedCommand spec;
    spec.workspace = bounds_.workspace;
    spec.readable_secrets = bounds_.readable_secrets;
    spec.folder = folder;
    spec.command = command;
    ASSIGN_OR_RETURN(job->command,
                     CommandJob::Start(sandbox_->Get(), spec, timeout_ms, bounds_.network));
    return job;
  }

  void Expect(bool soon) {
    const std::lock_guard<std::mutex> lock(mutex_);
    expected_ = soon;
  }

  void Prepare() {
    std::unique_ptr<CommandJob> gone, next;  // both end without the mutex
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (expected_ && spare_ != nullptr && Clock::now() < spare_until_) return;
      gone.swap(spare_);
      if (!expected_) return;
    }
    SandboxedCommand spec;
    spec.workspace = bounds_.workspace;
    spec.readable_secrets = bounds_.readable_secrets;
    next = CommandJob::Prepare(sandbox_->Get(), spec, bounds_.network);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!expected_) return;
    spare_.swap(next);
    // A fresh one well before its end, as a model may think long.
    spare_until_ = Clock::now() + std::chrono::milliseconds(CommandJob::kSpareMs / 2);
  }

  /// Errors: RESOURCE_EXHAUSTED.
  Result<std::string> Keep(std::shared_ptr<Job> job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t running = 0;
    for (auto at = jobs_.begin(); at != jobs_.end();) {
      const bool ended = at->second->command->Wait(0).ended;
      running += ended ? 0 : 1;
      at = ended && jobs_.size() >= kJobsKept ? jobs_.erase(at) : std::next(at);
    }
    if (running >= kJobsMax) {
      return ResourceExhaustedError(std::to_string(running) +
                                    " background jobs run already; stop one with bash_stop");
    }
    const std::string name = "job-" + std::to_string(++last_);
    jobs_[name] = std::move(job);
    return name;
  }

  /// Errors: NOT_FOUND naming those that there are.
  Result<std::shared_ptr<Job>> Find(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const auto found = jobs_.find(name); found != jobs_.end()) return found->second;
    std::string known;
    for (const auto& [other, job] : jobs_) known += (known.empty() ? "" : ", ") + other;
    return NotFoundError(
        "no job '" + name.substr(0, 80) + "'; " +
        (known.empty() ? "there is none (jobs end with the runtime)" : "there are: " + known));
  }

  /// What of the output is new, which counts as told from now on.
  std::pair<int64_t, int64_t> TakeNew(Job& job) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const int64_t from = job.told;
    job.told = job.command->OutputBytes();
    return {from, job.told};
  }

  int NextSpill() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ++last_spill_;
  }

 private:
  std::unique_ptr<CommandJob> TakeSpare() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::move(spare_);
  }

  const std::shared_ptr<LazySandbox> sandbox_;
  const ProcessBounds bounds_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;
  bool expected_ = false;
  std::unique_ptr<CommandJob> spare_;  ///< Waits for the next command; may be null.
  Clock::time_point spare_until_;      ///< Until when it will do.
  int last_ = 0, last_spill_ = 0;
};

namespace {

/// Puts what doesn't fit into an answer into a file that the model can read. Empty: it can't be.
std::string Spill(const CommandJob& job, int64_t from, int64_t to, SessionJobs& jobs,
                  CallContext& context) {
  if (context.changes == nullptr) return {};
  const int64_t kept = std::min(to - from, WorkspaceChanges::kChangeBytesMax);
  const std::string text = job.Output(from, kept);
  for (int tries = 0; tries < 1000; ++tries) {
    const std::string name = "output-" + std::to_string(jobs.NextSpill()) + ".txt";
    auto stored = StoreAside(*context.changes, name, text, nullptr);
    if (stored.ok()) return std::move(stored).value();
    if (stored.status().code() != StatusCode::kAborted) break;  // else: of an earlier run
  }
  return {};
}

/// Output [from, to), its middle left out if it is long.
std::string Shown(const CommandJob& job, int64_t from, int64_t to, SessionJobs& jobs,
                  CallContext& context) {
  if (to - from <= kHeadBytes + kTailBytes) {
    std::string text = ReplaceInvalidUtf8(job.Output(from, to - from));
    // Bytes that are no text grow when they are replaced.
    if (static_cast<int64_t>(text.size()) <= kHeadBytes + kTailBytes) return text;
  }
  const std::string path = Spill(job, from, to, jobs, context);
  const auto part = [&](int64_t offset, int64_t bytes) {
    const std::string text = ReplaceInvalidUtf8(job.Output(offset, bytes));
    return std::string(Utf8Prefix(text, static_cast<size_t>(bytes)));
  };
  const int64_t tail = std::min(kTailBytes, (to - from) / 2);
  const int64_t head = std::min(kHeadBytes, to - from - tail);
  return part(from, head) + "\n[" + std::to_string(to - from - head - tail) +
         " bytes left out here; " +
         (path.empty() ? "they are lost" : "all of it is in '" + path + "'") + "]\n" +
         part(to - tail, tail);
}

/// Tells watchers what the command has written behind the first `told` bytes. Answers with how much
/// they know of now.
int64_t TellOutput(const CommandJob& job, int64_t told, const CallContext& context) {
  const int64_t bytes = context.progress ? job.OutputBytes() : told;
  if (bytes <= told) return told;
  const int64_t from = std::max(told, bytes - kWatchedBytesMax);
  CallProgress news;
  const std::string output = job.Output(from, bytes - from);
  news.output = output;
  news.output_bytes = from + static_cast<int64_t>(output.size());
  context.progress(news);
  return news.output_bytes;
}

std::string Ending(const JobState& state) {
  if (!state.ended) return "[still running]";
  std::string text = "[exit code: " + std::to_string(state.exit_code);
  if (!state.stopped.empty()) text += "; " + state.stopped + " and was ended";
  text += "; " + std::to_string(state.elapsed_ms) + " ms]";
  if (!state.refused_hosts.empty()) {
    text += "\n[network refused: " + ReplaceInvalidUtf8(state.refused_hosts) + "]";
  }
  return text;
}

ToolResult Answer(const ToolCall& call, std::string text, const JobState& state) {
  ToolResult result;
  result.call_id = call.id;
  result.outcome = state.timed_out ? ToolOutcome::kTimeout : ToolOutcome::kOk;
  if (!text.empty() && text.back() != '\n') text += '\n';
  result.content = text + Ending(state);
  return result;
}

class BashTool final : public Tool {
 public:
  explicit BashTool(std::shared_ptr<SessionJobs> jobs) : jobs_(std::move(jobs)) {}
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) override {
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    const std::string command = arguments->Text("command", "");
    if (command.find('\0') != std::string::npos) {
      return ToolError(call, "'command' has a NUL byte, which no command line can hold");
    }
    const std::string folder = arguments->Text("workdir", "");
    if (context.files != nullptr && !folder.empty()) {
      if (const auto there = context.files->List(folder, 1); !there.ok()) {
        return ToolError(call, "workdir: " + there.status().message());
      }
    }
    const bool background = arguments->Flag("background");
    // Not bounds of the schema: a number's can't be held while a model writes it.
    const double timeout_s = arguments->Number("timeout_s", kTimeoutDefaultS);
    if (!(timeout_s >= kTimeoutMinS && timeout_s <= kTimeoutMaxS)) {
      char got[32];
      std::snprintf(got, sizeof(got), "%g", timeout_s);
      return ToolError(call, "'timeout_s': expected 0.001 to 600 seconds, got " + std::string(got));
    }
    const int64_t timeout_ms = background ? kJobTimeoutMs : std::llround(timeout_s * 1000);
    auto job = jobs_->Start(command, folder, timeout_ms);
    if (!job.ok()) return ToolError(call, job.status().message());
    if (background) return Background(call, *job);
    CommandJob& running = *(*job)->command;
    JobState state;
    int64_t told = 0;
    while (!(state = running.Wait(kPollMs)).ended) {
      told = TellOutput(running, told, context);
      if (context.Cancelled()) running.Stop();
    }
    if (!state.failed.ok()) return ToolError(call, state.failed.message());
    return Answer(call, Shown(running, 0, running.OutputBytes(), *jobs_, context), state);
  }

 private:
  ToolResult Background(const ToolCall& call, const std::shared_ptr<SessionJobs::Job>& job) {
    const Result<std::string> name = jobs_->Keep(job);
    if (!name.ok()) return ToolError(call, name.status().message());
    ToolResult result;
    result.call_id = call.id;
    result.content = "started '" + *name + "'; see it with bash_output, end it with bash_stop";
    return result;
  }

  const ToolSpec spec_ = BashSpec({});
  const std::shared_ptr<SessionJobs> jobs_;  // owners: the three tools
};

/// A tool about one background job: answers with what the job has written since it was last told.
class JobTool : public Tool {
 public:
  JobTool(ToolSpec spec, std::shared_ptr<SessionJobs> jobs)
      : spec_(std::move(spec)), jobs_(std::move(jobs)) {}
  const ToolSpec& spec() const override { return spec_; }

  ToolResult Call(const ToolCall& call, CallContext& context) final {
    const Result<CallArguments> arguments = CallArguments::Parse(spec_, call);
    if (!arguments.ok()) return ToolError(call, arguments.status().message());
    auto job = jobs_->Find(arguments->Text("job", ""));
    if (!job.ok()) return ToolError(call, job.status().message());
    CommandJob& running = *(*job)->command;
    const Result<JobState> state = Await(running, *arguments, context);
    if (!state.ok()) return ToolError(call, state.status().message());
    if (!state->failed.ok()) return ToolError(call, state->failed.message());
    const auto [from, to] = jobs_->TakeNew(**job);
    return Answer(call, Shown(running, from, to, *jobs_, context), *state);
  }

 private:
  /// Errors: CANCELLED.
  virtual Result<JobState> Await(CommandJob& running, const CallArguments& arguments,
                                 CallContext& context) = 0;

  const ToolSpec spec_;
  const std::shared_ptr<SessionJobs> jobs_;  // owners: the three tools
};

class BashOutputTool final : public JobTool {
 public:
  explicit BashOutputTool(std::shared_ptr<SessionJobs> jobs)
      : JobTool(OutputSpec(), std::move(jobs)) {}

 private:
  Result<JobState> Await(CommandJob& running, const CallArguments& arguments,
                         CallContext& context) override {
    JobState state = running.Wait(0);
    for (int64_t left = arguments.Integer("wait_s", 0) * 1000; left > 0 && !state.ended;
         left -= kPollMs) {
      if (context.Cancelled()) return CancelledError("bash_output was cancelled");
      state = running.Wait(kPollMs);
    }
    return state;
  }
};

class BashStopTool final : public JobTool {
 public:
  explicit BashStopTool(std::shared_ptr<SessionJobs> jobs) : JobTool(StopSpec(), std::move(jobs)) {}

 private:
  Result<JobState> Await(CommandJob& running, const CallArguments& /*arguments*/,
                         CallContext& context) override {
    running.Stop();
    JobState state;
    while (!(state = running.Wait(kPollMs)).ended) {
      if (context.Cancelled()) return CancelledError("bash_stop was cancelled; the job will end");
    }
    return state;
  }
};

}  // namespace

std::vector<ToolSpec> BashToolSpecs(const std::vector<std::string>& hosts) {
  return {BashSpec(hosts), OutputSpec(), StopSpec()};
}

BashTools::BashTools(std::shared_ptr<LazySandbox> sandbox, const ProcessBounds& bounds)
    : jobs_(std::make_shared<SessionJobs>(std::move(sandbox), bounds)),
      tools_({std::make_shared<BashTool>(jobs_), std::make_shared<BashOutputTool>(jobs_),
              std::make_shared<BashStopTool>(jobs_)}) {}

void BashTools::Expect(bool soon) { jobs_->Expect(soon); }

void BashTools::Prepare() { jobs_->Prepare(); }

}  // namespace baleen
