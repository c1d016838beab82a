#include "runtime/sessions/known_secrets.h"

#include <string>
#include <utility>
#include <vector>

namespace baleen {

bool IsSecretVariable(const std::string& entry) {
  std::string name = entry.substr(0, entry.find('='));
  for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  const auto has = [&](const char* word) { return name.find(word) != std::string::npos; };
  return has("KEY") || has("TOKEN") || has("SECRET") || has("PASSW") || has("CREDENTIAL");
}

std::unique_ptr<Redactor> MakeRedactor(const RuntimeOptions& options) {
  std::vector<Redactor::Source> sources;
  for (const RemoteEngineOptions& engine : options.engines) {
    sources.push_back(
        {"engines." + engine.name, {engine.key, engine.key_variable, engine.key_file}});
  }
  for (const McpServerOptions& server : options.mcp_servers) {
    const std::string name = "mcp." + server.name;
    sources.push_back({name, {server.key, server.key_variable, server.key_file}});
    for (const std::string& entry : server.environment) {
      if (!IsSecretVariable(entry)) continue;
      const size_t equals = entry.find('=');
      sources.push_back({name + "." + entry.substr(0, equals), {entry.substr(equals + 1), "", ""}});
    }
  }
  for (const SecretOptions& secret : options.secrets) {
    sources.push_back({secret.name, {secret.key, secret.key_variable, secret.key_file}});
  }
  return std::make_unique<Redactor>(std::move(sources));
}

}  // namespace baleen
