// `baleen config`: the settings that hold, and where each comes from.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "runtime/cli/flags.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ConfigFlags {
  DaemonSettings daemon;
  ClientSettings client;
  ReadConfig config;
  bool json = false;
};

/// What `option` holds, as JSON, whose scalars and lists are TOML, too.
Json ValueOf(const CLI::Option& option) {
  const bool given = option.count() > 0;
  std::vector<std::string> words = given ? option.reduced_results() : std::vector<std::string>();
  const bool is_list = option.get_items_expected_max() > 1;
  std::string fallback = option.get_default_str();
  // A list's default is "[a,b]"; ours have one word.
  if (is_list && fallback.size() > 2) fallback = fallback.substr(1, fallback.size() - 2);
  if (!given && !fallback.empty()) words = {fallback};
  const bool is_text = option.get_type_name().starts_with("TEXT");
  const auto scalar = [&](const std::string& word) {
    // What isn't text was checked to be a number or a switch.
    return is_text ? Json(word) : Json::parse(word, nullptr, /*allow_exceptions=*/false);
  };
  if (is_list) {
    Json list = Json::array();
    for (const std::string& word : words) list.push_back(scalar(word));
    return list;
  }
  return words.empty() ? Json("") : scalar(words[0]);
}

int ShowConfig(const CLI::App& command, const ConfigFlags& flags) {
  std::map<std::string, std::vector<const CLI::Option*>> sections;
  for (const CLI::Option* option : command.get_options()) {
    if (!SettingKey(*option).empty()) sections[option->get_group()].push_back(option);
  }
  Json settings = Json::array();
  if (!flags.json) {
    std::printf("# %s\n", flags.config.path.empty() ? "no baleen.toml" : flags.config.path.c_str());
  }
  for (const char* section : kSections) {
    if (!flags.json) std::printf("\n[%s]\n", section);
    for (const CLI::Option* option : sections[section]) {
      const std::string key = SettingKey(*option);
      const Json value = ValueOf(*option);
      const std::string source = flags.config.SourceOf(key);
      settings.push_back({{"key", key}, {"value", value}, {"from", source}});
      if (flags.json) continue;
      const std::string text = key.substr(key.find('.') + 1) + " = " + value.dump();
      std::printf("%-48s # %s\n", text.c_str(), source.c_str());
    }
  }
  Json engines = Json::array();
  for (const RemoteEngineOptions& engine : flags.config.named.engines) {
    engines.push_back({{"name", engine.name}, {"url", engine.url}, {"model", engine.model}});
    if (flags.json) continue;
    std::printf("\n[engines.%s]\nurl = %s\nmodel = %s\n", engine.name.c_str(),
                Json(engine.url).dump().c_str(), Json(engine.model).dump().c_str());
  }
  Json servers = Json::array();  // of environments and keys, nothing
  for (const McpServerOptions& server : flags.config.named.mcp_servers) {
    const bool program = server.url.empty();
    const Json where = program ? Json(server.command) : Json(server.url);
    servers.push_back({{"name", server.name}, {program ? "command" : "url", where}});
    if (flags.json) continue;
    std::printf("\n[mcp.%s]\n%s = %s\n", server.name.c_str(), program ? "command" : "url",
                where.dump().c_str());
  }
  Json tools = Json::array();
  for (const HttpToolOptions& tool : flags.config.named.http_tools) {
    tools.push_back({{"name", tool.name}, {"method", tool.method}, {"url", tool.url}});
    if (flags.json) continue;
    std::printf("\n[http_tools.%s]\nmethod = %s\nurl = %s\n", tool.name.c_str(),
                Json(tool.method).dump().c_str(), Json(tool.url).dump().c_str());
  }
  Json secrets = Json::array();  // of values and their places, nothing
  for (const SecretOptions& secret : flags.config.named.secrets) {
    secrets.push_back({{"name", secret.name}, {"hosts", secret.hosts}});
    if (flags.json) continue;
    std::printf("\n[secrets.%s]\nhosts = %s\n", secret.name.c_str(),
                Json(secret.hosts).dump().c_str());
  }
  if (flags.json) {
    const Json path = flags.config.path.empty() ? Json() : Json(flags.config.path);
    std::cout << Json{{"file", path},   {"settings", settings}, {"engines", engines},
                      {"mcp", servers}, {"http_tools", tools},  {"secrets", secrets}}
                     .dump(2)
              << "\n";
  }
  return kExitOk;
}

}  // namespace

void AddConfigCommand(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<ConfigFlags>();  // owners: the callbacks below
  CLI::App* command = app.add_subcommand(
      "config", "The settings that would hold, and where each comes from; as a baleen.toml");
  AddDaemonSettings(*command, flags->daemon);
  AddClientSettings(*command, flags->client);
  command->add_flag("--json", flags->json, "JSON on stdout");
  AddConfig(*command, flags->config);
  command->callback([flags, command, exit_code] { *exit_code = ShowConfig(*command, *flags); });
}

}  // namespace baleen::cli
