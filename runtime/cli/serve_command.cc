// `baleen serve`: the daemon. The only place that installs signal actions.
#include <pthread.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "runtime/cli/flags.h"

#ifdef BALEEN_WITH_GRPC
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "runtime/grpc/server.h"
#endif

namespace baleen::cli {
#ifdef BALEEN_WITH_GRPC
namespace {

struct ServeFlags {
  RuntimeOptions options;
  std::string listen;
  bool json = false;
};

int Serve(ServeFlags flags) {
  setenv("GRPC_VERBOSITY", "ERROR", /*overwrite=*/0);  // gRPC writes to stderr by itself
  auto log = spdlog::stderr_logger_mt("baleen");
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  // The signals are taken by sigwait below; every thread started from here on has them blocked.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  if (flags.options.data_dir.empty()) flags.options.data_dir = DefaultDataDir();
  if (flags.listen.empty()) flags.listen = DefaultAddress();
  MakeParents(flags.options.data_dir);
  log->info("opening {} with model {}", flags.options.data_dir, flags.options.model_path);
  auto runtime = Runtime::Open(flags.options);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  ServerOptions server_options;
  server_options.listen = flags.listen;
  auto server = Server::Start(server_options, runtime->get());
  if (!server.ok()) return Fail(server.status(), flags.json);
  log->info("listening on {}", (*server)->address());
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  log->info("signal {}: draining", signal_number);
  (*server)->Shutdown();
  server->reset();
  runtime->reset();
  log->info("stopped");
  return kExitOk;
}

}  // namespace

void AddServe(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<ServeFlags>();  // owners: the callback below
  CLI::App* command = app.add_subcommand("serve", "Serve sessions over gRPC");
  command->add_option("--data-dir", flags->options.data_dir,
                      "Data directory; default: " + DefaultDataDir());
  command->add_option("--model", flags->options.model_path, "Checkpoint folder")->required();
  command->add_option("--listen", flags->listen,
                      "unix:PATH, or a loopback HOST:PORT; default: " + DefaultAddress());
  AddEngineOptions(*command, flags->options);
  command->add_flag("--json", flags->json, "Errors as JSON");
  command->callback([flags, exit_code] { *exit_code = Serve(*flags); });
}
#else
void AddServe(CLI::App&, int*) {}  // a build without gRPC has no `serve`
#endif

}  // namespace baleen::cli
