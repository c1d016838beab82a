#include "runtime/cli/daemon_observer.h"

#include <filesystem>

namespace baleen::cli {
namespace {

/// The last folder of a path, which may end in a slash.
std::string ModelName(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).lexically_normal();
  return folder.has_filename() ? folder.filename().string()
                               : folder.parent_path().filename().string();
}

}  // namespace

DaemonObserver::DaemonObserver(DaemonLog* log, RuntimeObserver* metrics,
                               const std::string& model_path)
    : log_(log), metrics_(metrics), model_(ModelName(model_path)) {}

void DaemonObserver::OnTurnEnded(const TurnView& view, double seconds) {
  const int64_t reused = view.tokens_reused_ram + view.tokens_reused_disk;
  DaemonLog::Fields line = {
      {"gen_ai.operation.name", "invoke_agent"},
      {"gen_ai.provider.name", "baleen"},
      {"gen_ai.request.model", model_},
      {"gen_ai.conversation.id", view.session},
      {"gen_ai.usage.input_tokens", reused + view.tokens_recomputed + view.tokens_prefilled},
      {"gen_ai.usage.cache_read.input_tokens", reused},
      {"gen_ai.usage.output_tokens", view.tokens_generated},
      {"baleen.turn", view.turn},
      {"baleen.seconds", seconds}};
  const char* how = view.state == TurnState::kSucceeded   ? "turn succeeded"
                    : view.state == TurnState::kCancelled ? "turn cancelled"
                                                          : "turn failed";
  if (view.state == TurnState::kFailed) {
    const Status& error = view.error;
    line["error.type"] =
        error.reason().empty() ? std::string(StatusCodeName(error.code())) : error.reason();
    log_->Warn(how, line);
  } else {
    log_->Info(how, line);
  }
  metrics_->OnTurnEnded(view, seconds);
}

void DaemonObserver::OnGeneration(const GenerationFigures& figures) {
  metrics_->OnGeneration(figures);
}

void DaemonObserver::OnToolCall(ToolOutcome outcome) { metrics_->OnToolCall(outcome); }

void DaemonObserver::OnDecision(const DecisionFigures& figures) {
  const DaemonLog::Fields line = {{"gen_ai.operation.name", "execute_tool"},
                                  {"gen_ai.conversation.id", figures.session},
                                  {"gen_ai.tool.call.id", figures.call},
                                  {"gen_ai.tool.name", figures.tool},
                                  {"baleen.turn", figures.turn},
                                  {"baleen.decision", figures.decision},
                                  {"baleen.decided_by", figures.by}};
  log_->Info("call decided", line);
}

void DaemonObserver::OnPathRefused(const std::string& session, const std::string& turn,
                                   const std::string& call, const std::string& path,
                                   const std::string& why) {
  log_->Warn("path refused", {{"gen_ai.conversation.id", session},
                              {"gen_ai.tool.call.id", call},
                              {"baleen.turn", turn},
                              {"file.path", path},
                              {"baleen.decision", "refused"},
                              {"baleen.reason", why}});
}

void DaemonObserver::OnHostDecision(const std::string& session, const std::string& host, int port,
                                    const std::string& address, const std::string& why) {
  DaemonLog::Fields line = {{"gen_ai.conversation.id", session},
                            {"server.address", host},
                            {"server.port", port},
                            {"baleen.decision", why.empty() ? "allowed" : "refused"}};
  if (why.empty()) {
    line["network.peer.address"] = address;
    log_->Info("network access", line);
  } else {
    line["baleen.reason"] = why;
    log_->Warn("network access", line);
  }
}

void DaemonObserver::OnCommit(double seconds, bool synced) { metrics_->OnCommit(seconds, synced); }

}  // namespace baleen::cli
