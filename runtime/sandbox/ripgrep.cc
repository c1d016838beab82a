#include "runtime/sandbox/ripgrep.h"

#include <unistd.h>

#include <iterator>
#include <string_view>
#include <unordered_map>

#include "runtime/sandbox/command_job.h"

namespace baleen {
namespace {

constexpr int64_t kOutputBytesMax = 4 << 20;
constexpr int64_t kCpuSecondsMax = 60;
constexpr int64_t kPollMs = 50;  // How soon a cancel is seen.

// Whatever the file holds is searched as it is: no guess at an encoding, no end at a NUL. No memory
// map: whoever shortens a file meanwhile would end the search.
constexpr const char* kFlags[] = {"--no-config",     "--files-with-matches",
                                  "--null",          "--color=never",
                                  "--no-messages",   "--no-ignore",
                                  "--hidden",        "--text",
                                  "--encoding=none", "--no-mmap",
                                  "--fixed-strings", "--ignore-case"};

/// In front of each path: none is an option, nor "-", the standard input.
constexpr std::string_view kHere = "./";

bool IsCancelled(const std::atomic<bool>* cancelled) {
  return cancelled != nullptr && cancelled->load();
}

/// Waits for its end, at most kRunMs.
Result<JobState> EndOf(CommandJob& job, const std::atomic<bool>* cancelled) {
  for (;;) {
    JobState state = job.Wait(kPollMs);
    if (state.ended) return state;
    if (IsCancelled(cancelled)) return CancelledError("the search");
  }
}

}  // namespace

Result<std::vector<bool>> Ripgrep::MayHold(const std::vector<std::string>& paths,
                                           const std::vector<std::string>& texts,
                                           const std::atomic<bool>* cancelled) {
  if (access(program_.c_str(), X_OK) != 0) return NotFoundError("no " + program_);
  std::vector<bool> may_hold(paths.size(), false);
  size_t begin = 0;
  while (begin < paths.size()) {
    if (IsCancelled(cancelled)) return CancelledError("the search");
    size_t end = begin, bytes = 0;
    do {
      bytes += paths[end++].size() + kHere.size() + 1 + sizeof(char*);
    } while (end < paths.size() && bytes + paths[end].size() < kArgumentBytes);
    RETURN_IF_ERROR(Run(paths, begin, end, texts, cancelled, &may_hold));
    begin = end;
  }
  return may_hold;
}

Status Ripgrep::Run(const std::vector<std::string>& paths, size_t begin, size_t end,
                    const std::vector<std::string>& texts, const std::atomic<bool>* cancelled,
                    std::vector<bool>* may_hold) const {
  SandboxedCommand command;
  command.workspace = workspace_;
  command.reads_only = true;
  command.limits.output_bytes = kOutputBytesMax;
  command.limits.cpu_seconds = kCpuSecondsMax;
  command.program = {program_};
  command.program.insert(command.program.end(), std::begin(kFlags), std::end(kFlags));
  for (const std::string& text : texts) command.program.push_back("--regexp=" + text);
  command.program.emplace_back("--");
  std::unordered_map<std::string, size_t> place;
  for (size_t i = begin; i < end; ++i) {
    std::string path = std::string(kHere) + paths[i];
    command.program.push_back(path);
    place.emplace(std::move(path), i);
  }
  ASSIGN_OR_RETURN(const auto job, CommandJob::Start(sandbox_->Get(), std::move(command), kRunMs));
  ASSIGN_OR_RETURN(const JobState state, EndOf(*job, cancelled));
  RETURN_IF_ERROR(state.failed);
  if (state.timed_out) return DeadlineExceededError("rg took too long");
  // 1: nothing is found. 2: something went wrong, if only with one file.
  if (!state.stopped.empty() || state.exit_code > 1) return UnavailableError("rg failed");
  const std::string output = job->Output(0, job->OutputBytes());
  for (size_t at = 0; at < output.size();) {
    const size_t name_end = output.find('\0', at);
    const auto found =
        name_end == std::string::npos ? place.end() : place.find(output.substr(at, name_end - at));
    if (found == place.end()) return UnavailableError("rg named what it wasn't asked for");
    (*may_hold)[found->second] = true;
    at = name_end + 1;
  }
  return OkStatus();
}

}  // namespace baleen
