// `baleen serve`: the daemon. The only place that installs signal actions.
#include <pthread.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cli/flags.h"

#ifdef BALEEN_WITH_GRPC
#include "runtime/cli/clients_file.h"
#include "runtime/cli/daemon_log.h"
#include "runtime/cli/daemon_metrics.h"
#include "runtime/cli/daemon_observer.h"
#include "runtime/grpc/server.h"
#endif

namespace baleen::cli {
#ifdef BALEEN_WITH_GRPC
namespace {

constexpr int64_t kSessionsPage = 1000;
constexpr int64_t kRoundMs = 100;
constexpr int64_t kRoundsPerLine = 10;

struct ServeFlags {
  DaemonSettings settings;
  ReadConfig config;
  bool json = false;
};

/// Sessions with a running turn that doesn't wait for a person.
Result<std::vector<std::string>> RunningSessions(Runtime& runtime) {
  std::vector<std::string> running;
  std::string token;
  do {
    std::string next;
    ASSIGN_OR_RETURN(const auto page, runtime.ListSessions(kSessionsPage, token, &next));
    for (const SessionView& view : page) {
      if (!view.open_turn.empty() && view.pending_approvals.empty())
        running.push_back(view.session);
    }
    token = next;
  } while (!token.empty());
  return running;
}

/// Lets running turns end, and says every second which are waited for. Nothing is lost without it:
/// every token is journalled, and a turn that is cut goes on at the next start.
Status AwaitTurns(Runtime& runtime, int64_t drain_ms_max, const sigset_t& signals, DaemonLog& log) {
  using Time = std::chrono::steady_clock;
  const Time::time_point end = Time::now() + std::chrono::milliseconds(drain_ms_max);
  ASSIGN_OR_RETURN(std::vector<std::string> running, RunningSessions(runtime));
  for (int64_t round = 0; !running.empty() && Time::now() < end; ++round) {
    std::erase_if(running, [&](const std::string& session) {
      const auto view = runtime.GetSession(session);
      return !view.ok() || view->open_turn.empty() || !view->pending_approvals.empty();
    });
    if (running.empty()) break;
    if (round % kRoundsPerLine == 0) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Time::now());
      log.Info("waiting for running turns", {{"sessions", running}, {"ms_left", left.count()}});
    }
    const timespec pause = {0, kRoundMs * 1'000'000};
    if (sigtimedwait(&signals, nullptr, &pause) >= 0) break;  // asked twice: no more patience
  }
  if (!running.empty()) {
    log.Info("cut off; these turns go on at the next start", {{"sessions", running}});
  }
  return OkStatus();
}

int Serve(const ServeFlags& flags) {
  const DaemonSettings& settings = flags.settings;
  setenv("GRPC_VERBOSITY", "ERROR", /*overwrite=*/0);  // gRPC writes to stderr by itself
  DaemonLog log(settings.log);
  // The signals are taken by sigwait below; every thread started from here on has them blocked.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  RuntimeOptions options = settings.runtime;
  flags.config.named.AddTo(options);
  auto model = ModelOrDefault(options.model_path);
  if (!model.ok()) return Fail(model.status(), flags.json);
  options.model_path = std::move(model).value();
  options.retention.unused_ms_max = DaysToMs(settings.retention_days);
  options.on_pruned = [&log](const PruneView& pruned) {
    for (const PrunedSession& gone : pruned.sessions) {
      log.Info("retention deleted a session",
               {{"session", gone.session}, {"reason", gone.reason}, {"bytes", gone.bytes}});
    }
  };
  Result<std::vector<ClientGrant>> clients = std::vector<ClientGrant>();
  if (!settings.clients_file.empty()) clients = ReadClientsFile(settings.clients_file);
  if (!clients.ok()) return Fail(clients.status(), flags.json);
  MakeParents(options.data_dir);
  if (!flags.config.path.empty()) log.Info("settings of " + flags.config.path);
  log.Info("opening " + options.data_dir + " with model " + options.model_path);
  DaemonMetrics metrics;
  DaemonObserver observer(&log, &metrics, options.model_path);
  options.observer = &observer;
  auto runtime = Runtime::Open(options);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  ServerOptions server_options;
  server_options.observer = &metrics;
  server_options.listen = settings.listen;
  server_options.tls_certificate_file = settings.tls_certificate_file;
  server_options.tls_key_file = settings.tls_key_file;
  server_options.client_ca_file = settings.client_ca_file;
  server_options.clients = std::move(clients).value();
  auto server = Server::Start(server_options, runtime->get());
  if (!server.ok()) return Fail(server.status(), flags.json);
  if (!settings.metrics_address.empty()) {
    const auto address = metrics.Serve(settings.metrics_address, runtime->get());
    if (!address.ok()) return Fail(address.status(), flags.json);
    log.Info("metrics at http://" + *address + "/metrics");
  }
  for (const std::string& address : (*server)->addresses()) log.Info("listening on " + address);
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  log.Info("signal " + std::to_string(signal_number) + ": draining");
  (*server)->Drain();
  AwaitTurns(**runtime, settings.drain_ms_max, signals, log)
      .IgnoreError("turns that can't be listed aren't waited for");
  (*server)->Shutdown();
  server->reset();
  metrics.Close();
  runtime->reset();
  log.Info("stopped");
  return kExitOk;
}

}  // namespace

void AddServe(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<ServeFlags>();  // owners: the callbacks below
  CLI::App* command = app.add_subcommand("serve", "Serve sessions over gRPC");
  AddDaemonSettings(*command, flags->settings);
  command->add_flag("--accept-earlier-journal", flags->settings.runtime.accept_earlier_journal,
                    kAcceptEarlierJournalHelp);
  command->add_flag("--json", flags->json, "Errors as JSON");
  AddConfig(*command, flags->config);
  command->callback([flags, exit_code] { *exit_code = Serve(*flags); });
}
#else
void AddServe(CLI::App&, int*) {}  // a build without gRPC has no `serve`
#endif

}  // namespace baleen::cli
