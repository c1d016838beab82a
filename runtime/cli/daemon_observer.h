// DaemonObserver: a line in the daemon's log for each turn that ends and for each decision about a
// call, and its figures in the metrics.
//
// The line's members are named as OpenTelemetry's conventions for generative AI name them, so that
// a collector of logs can read them without being taught; what those have no name for is
// `baleen.*`. No text of users, models or tools is logged. Source: opentelemetry.io, semantic
// conventions, gen-ai-agent-spans (invoke_agent).
#pragma once

#include <string>

#include "runtime/cli/daemon_log.h"
#include "runtime/observer.h"

namespace baleen::cli {

/// Threads: as RuntimeObserver.
class DaemonObserver final : public RuntimeObserver {
 public:
  /// Borrows: log and metrics. `model_path` names the model.
  DaemonObserver(DaemonLog* log, RuntimeObserver* metrics, const std::string& model_path);

  void OnTurnEnded(const TurnView& view, double seconds) override;
  void OnGeneration(const GenerationFigures& figures) override;
  void OnToolCall(ToolOutcome outcome) override;
  void OnDecision(const DecisionFigures& figures) override;
  void OnPathRefused(const std::string& session, const std::string& turn, const std::string& call,
                     const std::string& path, const std::string& why) override;
  void OnHostDecision(const std::string& session, const std::string& host, int port,
                      const std::string& address, const std::string& why) override;
  void OnCommit(double seconds, bool synced) override;

 private:
  DaemonLog* const log_;
  RuntimeObserver* const metrics_;
  const std::string model_;
};

}  // namespace baleen::cli
