#include "runtime/cli/flags.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/default_model.h"

#ifdef BALEEN_WITH_GRPC
#include "runtime/grpc/client.h"
#include "runtime/grpc/tls_files.h"
#endif

namespace baleen::cli {
#ifdef BALEEN_WITH_GRPC
namespace {

Result<ConnectOptions> ConnectOptionsOf(const ClientSettings& settings) {
  ConnectOptions options;
  options.ca_file = settings.ca_file;
  options.certificate_file = settings.certificate_file;
  options.key_file = settings.key_file;
  if (settings.token_file.empty()) return options;
  ASSIGN_OR_RETURN(options.token, ReadSecretFile(settings.token_file, "token file"));
  while (!options.token.empty() && std::isspace(static_cast<unsigned char>(options.token.back()))) {
    options.token.pop_back();
  }
  if (options.token.empty()) {
    return InvalidArgumentError("token file '" + settings.token_file + "' is empty");
  }
  return options;
}

}  // namespace
#endif
void MakeParents(const std::string& data_dir) {
  std::error_code ignored;  // opening the directory says what is wrong
  std::filesystem::create_directories(std::filesystem::absolute(data_dir, ignored).parent_path(),
                                      ignored);
}

void RuntimeFlags::AddTo(CLI::App& app) {
  AddClientSettings(app, client);
  AddRuntimeSettings(app, options);
  app.add_flag("--accept-earlier-journal", options.accept_earlier_journal,
               kAcceptEarlierJournalHelp);
  AddConfig(app, config);
}

Result<std::unique_ptr<Runtime>> OpenRuntime(RuntimeFlags flags) {
  const bool own_tools =
      flags.config.SourceOf("plugins.plugin") == "--plugin" ||
      flags.config.SourceOf("plugins.plugin_unsandboxed") == "--plugin-unsandboxed" ||
      flags.config.SourceOf("plugins.plugin_in_process") == "--plugin-in-process" ||
      flags.config.SourceOf("web.fetch_hosts") == "--web-fetch-hosts" ||
      !flags.options.mcp_servers.empty();
  if (own_tools && !flags.client.server.empty()) {
    return InvalidArgumentError(
        "--plugin, --mcp and --web-fetch-hosts are for sessions in this process; a daemon has "
        "those of its own flags "
        "and of its "
        "baleen.toml");
  }
#ifdef BALEEN_WITH_GRPC
  ASSIGN_OR_RETURN(const ConnectOptions connect, ConnectOptionsOf(flags.client));
  if (!flags.client.server.empty()) return ConnectRuntime(flags.client.server, connect);
  if (!own_tools && flags.config.SourceOf("runtime.data_dir") != "--data-dir") {
    const std::string address = DefaultAddress();
    if (std::filesystem::exists(address.substr(5))) {
      auto daemon = ConnectRuntime(address, connect);
      if (daemon.ok()) return daemon;
    }
  }
#else
  if (!flags.client.server.empty()) {
    return UnimplementedError("this build has no gRPC; --server can't be used");
  }
#endif
  ASSIGN_OR_RETURN(flags.options.model_path, ModelOrDefault(flags.options.model_path));
  flags.config.named.AddTo(flags.options);
  MakeParents(flags.options.data_dir);
  return Runtime::Open(flags.options);
}

Result<std::string> ModelOrDefault(const std::string& model) {
  if (!model.empty()) return model;
  const char* named = std::getenv("BALEEN_MODEL");
  if (named != nullptr && *named != '\0') return std::string(named);
  return DefaultModelPath();
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

std::string PlainText(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : ' ');
    const bool pair = byte == 0xC2 && next >= 0x80 && next < 0xA0;
    if (pair) ++i;
    const bool control = pair || byte < 0x20 || byte == 0x7F;
    plain += control ? (c == '\n' ? ' ' : '?') : c;
  }
  return plain;
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
