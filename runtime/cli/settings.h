// The settings of Baleen: each one option with a heading, which is also its section in baleen.toml.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "runtime/cli/daemon_log.h"
#include "runtime/runtime.h"

namespace baleen::cli {

/// $XDG_DATA_HOME/baleen, or ~/.local/share/baleen.
std::string DefaultDataDir();
/// unix:$XDG_RUNTIME_DIR/baleen.sock, or one in the data directory.
std::string DefaultAddress();

/// For a flag that is no setting: it is meant for one start.
inline constexpr char kAcceptEarlierJournalHelp[] =
    "Go on from an earlier state, if it is whole, when the journal's log has lost what was "
    "acknowledged; without it, that is refused";

inline constexpr double kRetentionDaysMax = 36'500;
int64_t DaysToMs(double days);

/// Of `baleen serve`.
struct DaemonSettings {
  RuntimeOptions runtime;
  std::vector<std::string> listen{DefaultAddress()};
  std::string tls_certificate_file;
  std::string tls_key_file;
  std::string client_ca_file;
  std::string clients_file;
  std::string metrics_address;  ///< Empty: no metrics.
  int64_t drain_ms_max = 5000;  ///< How long turns may go on after SIGTERM.
  double retention_days = 0;    ///< 0: sessions stay, however long unused.
  LogSettings log;
};
void AddDaemonSettings(CLI::App& command, DaemonSettings& settings);

/// Of commands that may talk to a daemon.
struct ClientSettings {
  std::string server;  ///< Empty: the daemon at the default address, if it answers.
  std::string token_file;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
};
void AddClientSettings(CLI::App& command, ClientSettings& settings);

/// What --model means to every command that has it.
inline constexpr const char* kModelHelp =
    "Checkpoint folder; default: $BALEEN_MODEL, else Krill, which comes along";

/// [plugins] and --mcp: tools from outside.
void AddOutsideToolSettings(CLI::App& command, RuntimeOptions& options);

/// [runtime], [plugins] and --mcp: data directory, model, engine, tools from outside.
void AddRuntimeSettings(CLI::App& command, RuntimeOptions& options);

}  // namespace baleen::cli
