#include "runtime/sessions/known_secrets.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace baleen {
namespace {

/// A variable whose value is meant for nobody else. Others may hold what is said everywhere: a
/// folder, a language.
bool IsNamedLikeASecret(std::string name) {
  for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  const auto has = [&](const char* word) { return name.find(word) != std::string::npos; };
  return has("KEY") || has("TOKEN") || has("SECRET") || has("PASSW") || has("CREDENTIAL");
}

}  // namespace

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
      const size_t equals = std::min(entry.find('='), entry.size());
      const std::string variable = entry.substr(0, equals);
      if (!IsNamedLikeASecret(variable) || equals == entry.size()) continue;
      sources.push_back({name + "." + variable, {entry.substr(equals + 1), "", ""}});
    }
  }
  for (const SecretOptions& secret : options.secrets) {
    sources.push_back({secret.name, {secret.key, secret.key_variable, secret.key_file}});
  }
  return std::make_unique<Redactor>(std::move(sources));
}

}  // namespace baleen
