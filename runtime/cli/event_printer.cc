#include "runtime/cli/event_printer.h"
#include "runtime/sessions/view_json.h"
#include "tools_sdk/json_text.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

namespace baleen::cli {
namespace {

std::string Member(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Of the terminal that stderr is.
size_t Columns() {
  winsize size = {};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1U : 79;  // in the last one some would begin a new line
}

}  // namespace

EventPrinter::EventPrinter(PrintForm form)
    : form_(form), progress_(form == PrintForm::kText && isatty(STDERR_FILENO) != 0) {}

bool EventPrinter::OnEvent(const Event& event) {
  if (form_ == PrintForm::kJson) {
    std::cout << JsonText(ViewJson(event)) << std::endl;
  } else {
    PrintText(event);
  }
  const bool waits = event.kind == "waiting" || event.kind == "heartbeat";
  if (event.kind == "turn_finished" || event.kind == "approval_requested" || waits) {
    const nlohmann::json payload = nlohmann::json::parse(event.payload, nullptr, false);
    std::lock_guard<std::mutex> lock(mutex_);
    if (event.kind == "turn_finished") {
      last_finished_ = Member(payload, "turn");
    } else {
      // A subagent's approval is an event of its own session: here only the waiting tells.
      asks_ = asks_ || !waits || Member(payload, "waiting_on") == "SUBAGENT";
    }
    changed_.notify_all();
  }
  return true;
}

void EventPrinter::ClearProgress() {
  if (!progress_shown_) return;
  std::fputs("\r\033[K", stderr);
  progress_shown_ = false;
}

bool EventPrinter::MayDraw() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return awaited_ && !asks_;
}

void EventPrinter::DrawCalls(const Event& event) {
  if (event.kind == "heartbeat") {
    const nlohmann::json payload = nlohmann::json::parse(event.payload, nullptr, false);
    if (!payload.is_object() || Member(payload, "waiting_on") != "TOOL") return ClearProgress();
    calls_.Wait(Member(payload, "detail"), payload.value("since_ms", event.time_ms));
  } else {
    calls_.Take(event.payload, event.time_ms);
  }
  if (!progress_ || text_open_ || thinking_ || !MayDraw()) return;
  std::fprintf(stderr, "\r\033[K%s", calls_.Shown(event.time_ms, Columns()).c_str());
  progress_shown_ = true;
}

void EventPrinter::PrintDelta(const std::string& reasoning, const std::string& content) {
  if (!reasoning.empty()) {
    if (!thinking_) reasoning_.clear();
    thinking_ = true;
    reasoning_ += reasoning;
    if (progress_) std::fprintf(stderr, "\r\033[K[thinking: %zu bytes]", reasoning_.size());
  }
  if (content.empty()) return;
  FoldReasoning();
  std::cout << content << std::flush;
  text_open_ = true;
}

void EventPrinter::FoldReasoning() {
  if (!thinking_) return;
  thinking_ = false;
  if (progress_) std::fputs("\r\033[K", stderr);
  std::fprintf(stderr, "[thought: %zu bytes]\n", reasoning_.size());
}

void EventPrinter::PrintText(const Event& event) {
  const nlohmann::json payload = nlohmann::json::parse(event.payload, nullptr, false);
  if (!payload.is_object()) return;
  if (event.kind == "progress" && progress_) {
    std::fprintf(stderr, "\r\033[Kprefill %lld/%lld tokens, %.0f/s, %.0f s left",
                 payload.value("done", 0LL), payload.value("total", 0LL),
                 payload.value("tokens_per_s", 0.0), payload.value("eta_s", 0.0));
    progress_shown_ = true;
    return;
  }
  if (event.kind == "heartbeat" || event.kind == "tool_progress") return DrawCalls(event);
  ClearProgress();
  if (event.kind == "tool_result" || event.kind == "tool_results") calls_.Clear();
  if (event.kind == "delta" || event.kind == "snapshot") {
    const std::string reasoning = Member(payload, "reasoning");
    const std::string content = Member(payload, "content");
    // An empty one takes back what has been shown of an answer.
    if (event.kind == "snapshot" && text_open_ && (reasoning + content).empty()) {
      std::cout << "\n[asked anew]\n";
    }
    return PrintDelta(reasoning, content);
  }
  FoldReasoning();
  if (text_open_ && event.kind != "progress") {
    std::cout << "\n";
    text_open_ = false;
  }
  if (event.kind == "waiting") {
    std::cerr << "[waiting for " << Member(payload, "waiting_on") << " "
              << Member(payload, "detail") << "]\n";
  } else if (event.kind == "tool_calls") {
    const nlohmann::json effect = nlohmann::json::parse(Member(payload, "effect"), nullptr, false);
    if (effect.is_object() && effect.contains("calls")) {
      for (const nlohmann::json& call : effect["calls"]) {
        std::cout << "[" << Member(call, "name") << " " << Member(call, "arguments") << "]\n";
      }
    }
  } else if (event.kind == "compacted") {
    std::cerr << "[the context was compacted; `baleen sessions rewind " << event.session
              << " --tokens " << payload.value("reopen_tokens", 0LL) << "` brings it back]\n";
  } else if (event.kind == "approval_resolved") {
    std::cerr << "[" << Member(payload, "approval") << " " << Member(payload, "state") << " by "
              << Member(payload, "resolved_by") << "]\n";
  } else if (event.kind == "turn_finished" && payload.contains("error")) {
    std::cerr << "[turn " << Member(payload, "turn") << " " << Member(payload, "state") << ": "
              << Member(payload["error"], "message") << "]\n";
  }
}

void EventPrinter::OnEnd(const Status& status) {
  std::lock_guard<std::mutex> lock(mutex_);
  ended_ = true;
  end_status_ = status;
  changed_.notify_all();
}

Result<bool> EventPrinter::WaitForTurn(const std::string& turn) {
  std::unique_lock<std::mutex> lock(mutex_);
  awaited_ = true;
  changed_.wait(lock, [&] { return ended_ || last_finished_ == turn || asks_; });
  awaited_ = false;
  if (last_finished_ == turn) return true;
  if (std::exchange(asks_, false)) return false;
  return end_status_.ok() ? UnavailableError("the event stream ended") : end_status_;
}

}  // namespace baleen::cli
