#include "runtime/cli/settings.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace baleen::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Puts the options that are added while it lives under one heading, with their defaults shown.
class Section {
 public:
  Section(CLI::App& app, const char* name)
      : app_(app), before_(app.option_defaults()->get_group()) {
    app_.option_defaults()->group(name);
    app_.option_defaults()->always_capture_default();
  }
  ~Section() {
    app_.option_defaults()->group(before_);
    app_.option_defaults()->always_capture_default(false);
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  /// --NAME and --no-NAME.
  void Switch(const std::string& name, bool& variable, const char* about) {
    app_.add_flag("--" + name + ",!--no-" + name, variable, about)
        ->default_str(variable ? "true" : "false");
  }

 private:
  CLI::App& app_;
  const std::string before_;
};

/// NAME=URL or NAME=PROGRAM ARGUMENT..., split at spaces.
McpServerOptions McpServerOf(const std::string& text) {
  McpServerOptions server;
  const size_t name_end = std::min(text.find('='), text.size());
  server.name = text.substr(0, name_end);
  const std::string rest = text.substr(std::min(name_end + 1, text.size()));
  if (rest.starts_with("http://") || rest.starts_with("https://")) {
    server.url = rest;
  } else {
    std::istringstream words(rest);
    for (std::string word; words >> word;) server.command.push_back(word);
  }
  if (Status status = server.Validate(); !status.ok()) {
    throw CLI::ValidationError("--mcp", status.message());
  }
  return server;
}

}  // namespace

std::string DefaultDataDir() {
  if (const std::string home = Environment("XDG_DATA_HOME"); !home.empty()) return home + "/baleen";
  return Environment("HOME") + "/.local/share/baleen";
}

std::string DefaultAddress() {
  if (const std::string dir = Environment("XDG_RUNTIME_DIR"); !dir.empty()) {
    return "unix:" + dir + "/baleen.sock";
  }
  return "unix:" + DefaultDataDir() + "/baleen.sock";
}

void AddOutsideToolSettings(CLI::App& app, RuntimeOptions& options) {
  app.add_option_function<std::vector<std::string>>(
         "--mcp",
         [&options](const std::vector<std::string>& given) {
           for (const std::string& text : given) options.mcp_servers.push_back(McpServerOf(text));
         },
         "MCP server with tools for new sessions, NAME=URL or NAME='PROGRAM ARGUMENT...'; may be "
         "repeated. [mcp.NAME] in baleen.toml says more of one")
      ->allow_extra_args(false);
  {
    const Section section(app, "web");
    app.add_option(
           "--web-fetch-hosts", options.web_fetch_hosts,
           "Hosts that the tool web_fetch may ask, in sessions that name it: HOST, *.DOMAIN "
           "or *, each optionally with :PORT; what isn't public only by its address")
        ->allow_extra_args(false);
    app.add_option("--script-http-hosts", options.script_http_hosts,
                   "Hosts that Lua scripts may ask by require \"baleen.http\", as for "
                   "--web-fetch-hosts; may be repeated; default: none")
        ->allow_extra_args(false)
        ->default_str("");
  }
  const Section section(app, "plugins");
  const auto add = [&app](const char* name, std::vector<std::string>& paths, const char* about) {
    // One value per flag, so that what follows it stays the command's.
    app.add_option(name, paths, about)->allow_extra_args(false)->default_str("");
  };
  add("--plugin", options.plugins,
      "Shared object with tools for new sessions, each call in a sandboxed process of its own; may "
      "be repeated");
  add("--plugin-unsandboxed", options.plugins_unsandboxed,
      "The same without the sandbox: its tools reach all that you can, and are asked about unless "
      "--allow has their very names; '*' doesn't do");
  add("--plugin-in-process", options.plugins_in_process,
      "The same, within this process, whose fate it shares; asked about as unsandboxed ones are");
}

int64_t DaysToMs(double days) {
  constexpr double kDayMs = 24.0 * 3600 * 1000;
  return static_cast<int64_t>(std::llround(days * kDayMs));
}

void AddRuntimeSettings(CLI::App& app, RuntimeOptions& options) {
  AddOutsideToolSettings(app, options);
  if (options.data_dir.empty()) options.data_dir = DefaultDataDir();
  Section section(app, "runtime");
  app.add_option("--data-dir", options.data_dir,
                 "Data directory; given as a flag: in this process");
  app.add_option("--model", options.model_path, kModelHelp);
  app.add_option("--mode", options.mode,
                 "Arithmetic: native, or pure (no quantisation round trips)")
      ->check(CLI::IsMember({"native", "pure"}));
  app.add_option("--threads", options.threads, "Threads of the engine; 0: one per core");
  app.add_option("--checkpoint-interval", options.checkpoint_interval_tokens,
                 "Tokens between checkpoints of the KV cache");
  app.add_option(
         "--checkpoint-policy", options.checkpoint_policy,
         "Where checkpoints are: periodic (and at turns and forks), full (every 128 tokens), "
         "zero (none: a resume computes window x layers tokens again)")
      ->check(CLI::IsMember({"periodic", "full", "zero"}));
  app.add_option("--kv-disk-bytes", options.kv_disk_bytes,
                 "Quota of the KV cache on disk, e.g. 200GiB: the least recently used sessions' KV "
                 "goes first; 0: none")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  app.add_option("--kv-ram-bytes", options.kv_ram_bytes,
                 "Sealed KV that may stay in RAM, e.g. 4GiB; more only for running turns")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  app.add_option("--file-history-bytes", options.file_history_bytes,
                 "What may be kept of files as they were before write and edit changed them, for "
                 "rewinds, e.g. 1GiB; the oldest goes first")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  section.Switch("lazy", options.lazy_resume,
                 "Resume with what every step reads, and read other rows when selected");
  app.add_option("--row-wait-ms", options.row_wait_ms,
                 "How long a step waits for rows from the disk before other sequences go first");
  section.Switch("mmap", options.map_weights, "Map the weights' files; off: read them");
}

void AddDaemonSettings(CLI::App& app, DaemonSettings& settings) {
  AddRuntimeSettings(app, settings.runtime);
  {
    const Section section(app, "server");
    app.add_option("--listen", settings.listen,
                   "unix:PATH or HOST:PORT, or several; a port needs TLS and known clients");
    app.add_option("--tls-cert", settings.tls_certificate_file, "Certificate for ports, PEM");
    app.add_option("--tls-key", settings.tls_key_file, "Its private key, PEM, for its owner only");
    app.add_option("--client-ca", settings.client_ca_file,
                   "Authorities of client certificates, PEM: mutual TLS");
    app.add_option(
        "--clients", settings.clients_file,
        "TOML file of clients with tokens or certificates, and what each may do; `baleen "
        "token` adds to it");
    app.add_option("--metrics", settings.metrics_address,
                   "Prometheus metrics at http://ADDRESS/metrics, loopback only: 127.0.0.1:9464");
    app.add_option(
           "--drain-ms", settings.drain_ms_max,
           "How long running turns may go on after SIGTERM; what is cut continues at the next "
           "start")
        ->check(CLI::Range(int64_t{0}, int64_t{3'600'000}));
  }
  {
    const Section section(app, "retention");
    app.add_option(
           "--retention-days", settings.retention_days,
           "Sessions that nobody used for so long are deleted, pinned ones and those in use "
           "apart; 0: none. `baleen sessions prune --dry-run` shows which")
        ->check(CLI::Range(0.0, kRetentionDaysMax));
    app.add_option(
           "--retention-bytes", settings.runtime.retention.bytes_max,
           "Text and token ids that sessions may hold in all, e.g. 2GiB: the least recently "
           "used are deleted; 0: any number")
        ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  }
  const Section section(app, "log");
  app.add_option("--log-level", settings.log.level, "What is logged, on stderr")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
  app.add_option("--log-format", settings.log.format, "text, or json: an object per line")
      ->check(CLI::IsMember({"text", "json"}));
}

void AddClientSettings(CLI::App& app, ClientSettings& settings) {
  const Section section(app, "client");
  app.add_option("--server", settings.server,
                 "Address of a daemon (unix:PATH or HOST:PORT); default: " + DefaultAddress() +
                     " if it answers");
  app.add_option("--token-file", settings.token_file, "File with a bearer token for the daemon");
  app.add_option("--ca", settings.ca_file,
                 "Authorities of the daemon's certificate, PEM; default: the system's");
  app.add_option("--cert", settings.certificate_file, "Own certificate for the daemon, PEM");
  app.add_option("--key", settings.key_file, "Its private key, PEM");
}

}  // namespace baleen::cli
