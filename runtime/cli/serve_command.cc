// `baleen serve`: the daemon. The only place that installs signal actions.
#include <pthread.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "runtime/cli/flags.h"

#ifdef BALEEN_WITH_GRPC
#include "runtime/cli/clients_file.h"
#include "runtime/cli/daemon_log.h"
#include "runtime/grpc/server.h"
#endif

namespace baleen::cli {
#ifdef BALEEN_WITH_GRPC
namespace {

struct ServeFlags {
  DaemonSettings settings;
  ReadConfig config;
  bool json = false;
};

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
  auto model = ModelOrDefault(options.model_path);
  if (!model.ok()) return Fail(model.status(), flags.json);
  options.model_path = std::move(model).value();
  Result<std::vector<ClientGrant>> clients = std::vector<ClientGrant>();
  if (!settings.clients_file.empty()) clients = ReadClientsFile(settings.clients_file);
  if (!clients.ok()) return Fail(clients.status(), flags.json);
  MakeParents(options.data_dir);
  if (!flags.config.path.empty()) log.Info("settings of " + flags.config.path);
  log.Info("opening " + options.data_dir + " with model " + options.model_path);
  auto runtime = Runtime::Open(options);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  ServerOptions server_options;
  server_options.listen = settings.listen;
  server_options.tls_certificate_file = settings.tls_certificate_file;
  server_options.tls_key_file = settings.tls_key_file;
  server_options.client_ca_file = settings.client_ca_file;
  server_options.clients = std::move(clients).value();
  auto server = Server::Start(server_options, runtime->get());
  if (!server.ok()) return Fail(server.status(), flags.json);
  for (const std::string& address : (*server)->addresses()) log.Info("listening on " + address);
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  log.Info("signal " + std::to_string(signal_number) + ": draining");
  (*server)->Shutdown();
  server->reset();
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
