// Turns that wait for somebody: host tools that are asked about, a host that answers, the approval
// that a session waits with.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/fixture.h"

namespace baleen {

/// Calls "first" and "second" with the number that the user gives, and tells what came of it.
inline constexpr char kTwoCalls[] = R"(
return function(message)
  local results = baleen.call_tools {
    { name = "first", arguments = { x = tonumber(message) } },
    { name = "second", arguments = { x = tonumber(message) } },
  }
  local text = ""
  for _, result in ipairs(results) do text = text .. result.outcome .. ":" .. result.content .. "|" end
  return text
end
)";

inline ToolSpec Spec(const std::string& name) {
  ToolSpec spec;
  spec.name = name;
  spec.description = "Does " + name + ".";
  spec.parameters = R"({"type":"object","properties":{"x":{"type":"integer"}}})";
  spec.timeout_ms = kPatienceMs;
  return spec;
}

inline CreateSessionRequest Asking(const std::string& id, const std::string& workspace = "") {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script = kTwoCalls;
  request.settings.workspace = workspace;
  request.settings.host_tools = {Spec("first"), Spec("second")};
  request.settings.policy.rules = {{"*", "EFFECT", "ask", "it changes things"}};
  return request;
}

/// Answers every call with what `answer` says of it, by default its name, and keeps the names.
class Host final : public ToolHostSink {
 public:
  using Answer = std::string (*)(const ToolCall&);
  explicit Host(Answer answer = [](const ToolCall& call) { return call.name; }) : answer_(answer) {}
  void Serve(Runtime& runtime, const std::string& session,
             const std::vector<std::string>& tools = {"first", "second"}) {
    connection_ = Must(runtime.ConnectToolHost(session, tools, this));
    thread_ = std::thread([this, session] {
      std::unique_lock<std::mutex> lock(mutex_);
      while (true) {
        changed_.wait(lock, [this] { return stop_ || !calls_.empty(); });
        if (calls_.empty()) return;
        const ToolCall call = calls_.front();
        calls_.erase(calls_.begin());
        ran_.push_back(call.name);
        lock.unlock();
        ToolResult result;
        result.call_id = call.id;
        result.content = answer_(call);
        static_cast<void>(connection_->SubmitResult(session, result).ok());  // or it has ended
        lock.lock();
      }
    });
  }
  ~Host() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }
  bool OnCall(const std::string&, const ToolCall& call, int64_t) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(call);
    changed_.notify_all();
    return true;
  }
  void OnCancel(const std::string&, const std::string&) override {}
  std::vector<std::string> ran() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ran_;
  }

 private:
  const Answer answer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ToolCall> calls_;
  std::vector<std::string> ran_;
  bool stop_ = false;
  std::unique_ptr<ToolHostConnection> connection_;
  std::thread thread_;
};

inline std::string Start(Runtime& runtime, const std::string& session,
                         const std::string& text = "1") {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  return Must(runtime.StartTurn(request)).turn;
}

/// The approval that the session's turn waits for.
inline ApprovalView Pending(Runtime& runtime, const std::string& session, int64_t number = 1) {
  Recorder recorder;
  const auto watching = Must(runtime.Watch({session, "", false}, &recorder));
  REQUIRE(recorder.WaitFor("approval_requested", number));
  const auto waiting = Must(runtime.ListApprovals({session, false}));
  REQUIRE(waiting.size() == 1);
  return waiting[0];
}

inline ResolveApprovalRequest Resolve(const ApprovalView& approval, bool grant,
                                      GrantScope scope = GrantScope::kOnce) {
  ResolveApprovalRequest request;
  request.session = approval.session;
  request.approval = approval.approval;
  request.grant = grant;
  request.scope = scope;
  return request;
}

inline std::string TextOf(Runtime& runtime, const std::string& session, const std::string& turn) {
  const TurnView view = Must(runtime.WaitTurn(session, turn, kPatienceMs));
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  return view.text;
}

inline RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel());
}

}  // namespace baleen
