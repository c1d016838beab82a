// EventPrinter: a session's events on a terminal, in a pipe, or as JSON lines.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>

#include "runtime/cli/call_line.h"
#include "runtime/runtime.h"

namespace baleen::cli {

enum class PrintForm { kText, kJson };

/// Threads: OnEvent and OnEnd on the runtime's thread, WaitForTurn on the command's.
class EventPrinter final : public EventSubscriber {
 public:
  explicit EventPrinter(PrintForm form);

  bool OnEvent(const Event& event) override;
  void OnEnd(const Status& status) override;

  /// Returns when `turn` has ended (true), or when it or a subagent of its may have begun to wait
  /// for an approval since the last call. Errors: the subscription's end.
  Result<bool> WaitForTurn(const std::string& turn);

  /// What was thought before the last answer: text shows only how much. After the turn.
  const std::string& reasoning() const { return reasoning_; }

 private:
  void PrintText(const Event& event);
  void PrintDelta(const std::string& reasoning, const std::string& content);
  /// Draws the line that tells of running calls anew: a tool_progress, or a heartbeat.
  void DrawCalls(const Event& event);
  /// Whether the command only waits: else it may be asking something.
  bool MayDraw();
  /// Closes the line that tells of the thinking.
  void FoldReasoning();
  void ClearProgress();

  const PrintForm form_;
  const bool progress_;  ///< Progress goes to stderr, and only if that is a terminal.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string last_finished_;  // guarded by mutex_
  bool asks_ = false;          // guarded by mutex_
  bool awaited_ = false;       // guarded by mutex_; WaitForTurn runs
  bool ended_ = false;         // guarded by mutex_
  Status end_status_;          // guarded by mutex_
  CallLine calls_;
  bool progress_shown_ = false;
  bool text_open_ = false;
  bool thinking_ = false;  ///< Reasoning comes, and no text yet.
  std::string reasoning_;
};

}  // namespace baleen::cli
