#include "runtime/cli/flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#ifdef BALEEN_WITH_GRPC
#include "runtime/grpc/client.h"
#endif

namespace baleen::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
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

void MakeParents(const std::string& data_dir) {
  std::error_code ignored;  // opening the directory says what is wrong
  std::filesystem::create_directories(std::filesystem::absolute(data_dir, ignored).parent_path(),
                                      ignored);
}

void AddEngineOptions(CLI::App& app, RuntimeOptions& options) {
  app.add_option("--mode", options.mode,
                 "Arithmetic: native, or pure (no quantisation round trips)")
      ->check(CLI::IsMember({"native", "pure"}));
  app.add_option("--threads", options.threads, "Threads of the engine; 0: one per core");
  app.add_option("--checkpoint-interval", options.checkpoint_interval_tokens,
                 "Tokens between checkpoints of the KV cache")
      ->capture_default_str();
  app.add_option(
         "--checkpoint-policy", options.checkpoint_policy,
         "Where checkpoints are: periodic (and at turns and forks), full (every 128 tokens), "
         "zero (none: a resume computes window x layers tokens again)")
      ->capture_default_str()
      ->check(CLI::IsMember({"periodic", "full", "zero"}));
  app.add_option("--kv-disk-bytes", options.kv_disk_bytes,
                 "Quota of the KV cache on disk: the least recently used sessions' KV goes first; "
                 "0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--kv-ram-bytes", options.kv_ram_bytes,
                 "Sealed KV that may stay in RAM, e.g. 4GiB; more only for running turns")
      ->capture_default_str()
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  app.add_flag(
      "--lazy,!--no-lazy", options.lazy_resume,
      "Resume with what every step reads, and read other rows when selected (the default)");
  app.add_option("--row-wait-ms", options.row_wait_ms,
                 "How long a step waits for rows from the disk before other sequences go first")
      ->capture_default_str();
  app.add_flag("--accept-earlier-journal", options.accept_earlier_journal,
               "Go on from an earlier state, if it is whole, when the journal's log has lost what "
               "was acknowledged; without it, that is refused");
  app.add_flag("!--no-mmap", options.map_weights, "Read the weights instead of mapping the files");
}

void RuntimeFlags::AddTo(CLI::App& app) {
  app.add_option("--server", server,
                 "Address of a daemon (unix:PATH or HOST:PORT); default: " + DefaultAddress() +
                     " if it answers");
  app.add_option("--data-dir", data_dir,
                 "Open this data directory in this process; default: " + DefaultDataDir());
  app.add_option("--model", options.model_path, "Checkpoint folder, when opened in this process");
  AddEngineOptions(app, options);
}

Result<std::unique_ptr<Runtime>> OpenRuntime(RuntimeFlags flags) {
#ifdef BALEEN_WITH_GRPC
  if (!flags.server.empty()) return ConnectRuntime(flags.server);
  if (flags.data_dir.empty()) {
    const std::string address = DefaultAddress();
    if (std::filesystem::exists(address.substr(5))) {
      auto daemon = ConnectRuntime(address);
      if (daemon.ok()) return daemon;
    }
  }
#else
  if (!flags.server.empty()) {
    return UnimplementedError("this build has no gRPC; --server can't be used");
  }
#endif
  flags.options.data_dir = flags.data_dir.empty() ? DefaultDataDir() : flags.data_dir;
  if (flags.options.model_path.empty()) {
    return InvalidArgumentError(
        "no daemon answers at " + DefaultAddress() +
        ", so the sessions would be opened in this process, and --model is missing; start `baleen "
        "serve`, or give --model CHECKPOINT");
  }
  MakeParents(flags.options.data_dir);
  return Runtime::Open(flags.options);
}

void SamplingFlags::AddTo(CLI::App& app) {
  app.add_option("--max-tokens", tokens_max, "Tokens that one generation may have")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  app.add_option("--temperature", sampling.temperature, "0: greedy")->capture_default_str();
  app.add_option("--top-p", sampling.top_p)->capture_default_str();
  app.add_option("--min-p", sampling.min_p)->capture_default_str();
  app.add_option("--top-k", sampling.top_k, "0: all")->capture_default_str();
  app.add_option("--seed", sampling.seed, "Of the random draws")->capture_default_str();
}

Result<std::string> ReadTextFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFoundError("can't open '" + path + "'");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void ConstraintFlags::AddTo(CLI::App& app) {
  app.add_option("--tool-choice", tool_choice,
                 "auto, none, required (calls at once) or tool:NAME (one call of that tool)");
  app.add_option("--answer-schema", answer_schema_file,
                 "JSON Schema file; the final answer is then one JSON value that it allows");
  app.add_option("--thinking-budget", thinking_budget,
                 "Tokens of reasoning, after which it is closed")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
}

Result<std::optional<ConstraintSettings>> ConstraintFlags::Read() const {
  std::optional<ConstraintSettings> settings;
  if (tool_choice.empty() && answer_schema_file.empty() && thinking_budget < 0) return settings;
  settings.emplace();
  if (!tool_choice.empty()) settings->tool_choice = tool_choice;
  if (!answer_schema_file.empty()) {
    ASSIGN_OR_RETURN(settings->answer_schema, ReadTextFile(answer_schema_file));
  }
  settings->thinking_tokens = thinking_budget;
  return settings;
}

int Fail(const Status& status, bool json) {
  if (json) {
    std::cerr << nlohmann::json{{"error",
                                 {{"code", std::string(StatusCodeName(status.code()))},
                                  {"reason", status.reason()},
                                  {"message", status.message()}}}}
                     .dump()
              << "\n";
  } else {
    std::cerr << "baleen: " << status.ToString() << "\n";
  }
  return status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kUnimplemented
             ? kExitNotAvailable
             : kExitFailed;
}

}  // namespace baleen::cli
