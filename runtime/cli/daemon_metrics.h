// DaemonMetrics: counters of a daemon's work, for Prometheus, over HTTP on this machine only.
//
// The HTTP server is prometheus-cpp's (civetweb), off unless it is asked for. It serves GET
// /metrics and nothing else, asks nobody who he is, and so listens on loopback addresses only;
// figures hold no text, no ids and no paths.
#pragma once

#include <memory>
#include <string>

#include "runtime/grpc/server.h"
#include "runtime/observer.h"
#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

/// Threads: every method from any thread.
class DaemonMetrics final : public RuntimeObserver, public RequestObserver {
 public:
  DaemonMetrics();
  ~DaemonMetrics() override;
  DaemonMetrics(const DaemonMetrics&) = delete;
  DaemonMetrics& operator=(const DaemonMetrics&) = delete;

  /// Serves "127.0.0.1:PORT" or "[::1]:PORT" until Close; gauges are read from `runtime` when
  /// somebody asks, at most once a second. Answers the address with its real port. Borrows:
  /// runtime, until Close. Errors: INVALID_ARGUMENT (no loopback address),
  /// FAILED_PRECONDITION/ADDRESS_IN_USE.
  Result<std::string> Serve(const std::string& address, Runtime* runtime);
  void Close();

  void OnTurnEnded(const TurnView& view, double seconds) override;
  void OnGeneration(const GenerationFigures& figures) override;
  void OnToolCall(ToolOutcome outcome) override;
  void OnCommit(double seconds, bool synced) override;
  void OnAnswer(const Status& status) override;

 private:
  struct Families;
  class Gauges;

  std::shared_ptr<Families> families_;  // owners: this, and the HTTP server while it answers
  std::shared_ptr<Gauges> gauges_;      // owners: as above
  struct HttpServer;
  std::unique_ptr<HttpServer> http_;
};

}  // namespace baleen::cli
