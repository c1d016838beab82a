// A process that dies by SIGKILL in calls_killed_test.cc: one session, one turn that asks for leave
// to pay and then pays. Goes on with what an earlier process left.
//
//   call_worker DATA_DIR MODEL LEDGER PURE|IDEMPOTENT|EFFECT|FLOW|IDEMPOTENT_FLOW|PATCH
//
// PATCH: forks change files in worktrees of the folder LEDGER-ws, and the flow applies their diffs.
// FLOW: of effect class EFFECT (else IDEMPOTENT), by a script with a policy, a tool of its own, and
// a flow of every kind of step.
//
// Prints a line for each durable event and for each step of the host's own, before or after it as
// its name says; at its end "result TEXT turns N". A flow's text is JSON of all that its steps
// gave.
#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "runtime/runtime.h"

namespace baleen {
namespace {

std::mutex output_mutex;

void Say(const std::string& line) {
  const std::lock_guard<std::mutex> lock(output_mutex);
  const std::string whole = line + "\n";
  if (write(STDOUT_FILENO, whole.data(), whole.size()) < 0) _exit(3);
}

/// Hands what happens on the runtime's threads to the main one.
class Inbox final : public EventSubscriber, public ToolHostSink {
 public:
  bool OnEvent(const Event& event) override {
    const bool fork_asks = event.kind == "waiting" &&
                           event.payload.find("SUBAGENT") != std::string::npos &&
                           event.payload.find("APPROVAL") != std::string::npos;
    if (fork_asks) Push("approve");
    if (event.seq == 0) return true;
    Say(event.kind);
    if (event.kind == "approval_requested") Push("approve");
    if (event.kind == "turn_finished") Push("end");
    return true;
  }
  void OnEnd(const Status&) override {}
  bool OnCall(const std::string&, const ToolCall& call, int64_t) override {
    Push("call " + call.id);
    return true;
  }
  void OnCancel(const std::string&, const std::string&) override {}

  std::string Next() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !lines_.empty(); });
    std::string line = lines_.front();
    lines_.pop_front();
    return line;
  }

 private:
  void Push(const std::string& line) {
    const std::lock_guard<std::mutex> lock(mutex_);
    lines_.push_back(line);
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
};

/// The effect: a line that stays. Gives the receipt: how many payments the far side has seen by
/// now, for which a call that comes again is the same payment.
std::string Pay(const std::string& ledger, const std::string& call) {
  const int file = open(ledger.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const std::string line = call + "\n";
  if (file < 0 || write(file, line.data(), line.size()) < 0) _exit(4);
  close(file);
  std::set<std::string> payments;
  std::ifstream seen(ledger);
  for (std::string one; std::getline(seen, one);) payments.insert(one);
  return "receipt " + std::to_string(payments.size());
}

constexpr char kFlow[] = R"(
local json = require "baleen.json"
policy { deny { tool = "pay", args = { euros = "6*" } } }
tool "split" {
  about = "Halves a sum.",
  args = { euros = int() },
  run = function(args) return tostring(args.euros // 2) end,
}
flow("pay", { budget = { tool_calls = 9 } }, function(f, input)
  local s = session.current()
  local begun = f:now()
  local half = tonumber(s:call("split", { euros = 10 }).content)
  f:sleep("3ms")
  f:approve { title = "Pay", euros = half }
  local paid = s:call("pay", { euros = half })
  local halves = f:each({ 10, 10 }, { at_once = 2 }, function(euros)
    local kid = s:fork { label = "kid" }
    kid:ask("Hm?", { max_tokens = 2, tools = "none" })
    return tonumber(kid:call("split", { euros = euros }).content)
  end)
  local said = s:ask(paid.content, { max_tokens = 4, tools = "none", budget = { tokens = 4000 } })
  return json.encode { outcome = paid.outcome, content = paid.content, half = half, halves = halves, said = said,
    drawn = f:random(1 << 30), time_went_on = f:now() >= begun }
end))";

constexpr char kPatchFlow[] = R"(
local json = require "baleen.json"
flow("patch", function(f, input)
  local s = session.current()
  local diffs = f:each({ "log1", "log2" }, { at_once = 2 }, function(path)
    local kid = s:fork { worktree = true, clean = true }
    kid:call("read", { path = path })
    local change = { path = path, old_string = "end\n", new_string = "more\nend\n" }
    local outcome = kid:call("edit", change).outcome
    -- Killed within it: whoever goes on looks first.
    if outcome == "UNKNOWN" and not kid:call("read", { path = path }).content:find("more", 1, true) then
      kid:call("edit", change)
    end
    local diff = kid:diff()
    kid:close()
    return diff
  end)
  s:apply(diffs[1] .. diffs[2])
  return json.encode { outcome = "OK", diffs = diffs }
end))";

CreateSessionRequest Session(const std::string& effect, const std::string& ledger) {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(
return function(message)
  local results = baleen.call_tools { { name = "pay", arguments = { euros = 5 } } }
  baleen.generate { user = results[1].content, max_tokens = 4 }
  return results[1].outcome
end
)";
  ToolSpec spec;
  spec.name = "pay";
  spec.description = "Pays.";
  spec.parameters = R"({"type":"object","properties":{"euros":{"type":"integer"}}})";
  spec.effect = effect.starts_with("IDEMPOTENT") ? EffectClass::kIdempotent
                : effect == "PURE"               ? EffectClass::kPure
                                                 : EffectClass::kEffect;
  if (effect.ends_with("FLOW")) request.settings.script = kFlow;
  if (effect == "PATCH") {
    request.settings.script = kPatchFlow;
    request.settings.workspace = ledger + "-ws";
    request.settings.tools = {"edit"};
    request.settings.policy.rules = {{"*", "", "allow", ""}};
    return request;
  }
  spec.timeout_ms = 120'000;
  request.settings.host_tools.push_back(spec);
  request.settings.policy.rules = {{"pay", "", "ask", "it costs money"}};
  return request;
}

Status Approve(Runtime& runtime) {
  ASSIGN_OR_RETURN(const auto waiting, runtime.ListApprovals({"", false}));  // forks ask, too
  for (const ApprovalView& approval : waiting) {
    Say("approving");
    ResolveApprovalRequest request;
    request.session = approval.session;
    request.approval = approval.approval;
    request.grant = true;
    request.request_id = "leave-" + approval.session + "-" + approval.approval;
    RETURN_IF_ERROR(runtime.ResolveApproval(request).status());
    Say("approved");
  }
  return OkStatus();
}

Status Work(const std::string& data_dir, const std::string& model, const std::string& ledger,
            const std::string& effect) {
  RuntimeOptions options;
  options.data_dir = data_dir;
  options.model_path = model;
  options.threads = 1;
  options.tool_threads = 1;
  ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(options));
  Say("open");
  CreateSessionRequest session = Session(effect, ledger);
  session.request_id = "make-it";
  RETURN_IF_ERROR(runtime->CreateSession(session).status());
  Inbox inbox;
  ASSIGN_OR_RETURN(const auto watching, runtime->Watch({"s", "", true}, &inbox));
  const bool patch = effect == "PATCH";
  std::unique_ptr<ToolHostConnection> host;
  if (!patch) {
    ASSIGN_OR_RETURN(host, runtime->ConnectToolHost("s", {"pay"}, &inbox));
  }
  StartTurnRequest turn;
  turn.session = "s";
  turn.input = {"pay"};
  turn.request_id = "turn-it";
  ASSIGN_OR_RETURN(const TurnView started, runtime->StartTurn(turn));
  // What a fork that goes on by itself asked before anybody watched.
  RETURN_IF_ERROR(Approve(*runtime));
  while (true) {
    const std::string line = inbox.Next();
    if (line == "end") break;
    if (line == "approve") {
      RETURN_IF_ERROR(Approve(*runtime));
      continue;
    }
    ToolResult result;
    result.call_id = line.substr(5);
    result.content = Pay(ledger, result.call_id);
    Say("body");
    const Status taken = host->SubmitResult("s", result);
    Say(taken.ok() ? "submitted" : "refused " + taken.ToString());
  }
  ASSIGN_OR_RETURN(const TurnView ended, runtime->GetTurn("s", started.turn));
  ASSIGN_OR_RETURN(const SessionView view, runtime->GetSession("s"));
  std::string more;
  ASSIGN_OR_RETURN(const auto sessions, runtime->ListSessions(100, "", &more));
  if (std::ssize(sessions) != (patch || effect.ends_with("FLOW") ? 3 : 1)) {
    return InternalError(std::to_string(sessions.size()) + " sessions");
  }
  Say("result " + ended.text + " turns " + std::to_string(view.turns) +
      (ended.error.ok() ? "" : " " + ended.error.ToString()));
  return OkStatus();
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const baleen::Status status = baleen::Work(argv[1], argv[2], argv[3], argv[4]);
  if (status.ok()) return 0;
  baleen::Say("error " + status.ToString());
  return 1;
}
