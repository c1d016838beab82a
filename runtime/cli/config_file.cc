#include "runtime/cli/config_file.h"

#include <toml++/toml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>

#include "runtime/cli/flags.h"
#include "runtime/cli/parameter_table.h"
#include "runtime/cli/settings.h"

namespace baleen::cli {
namespace {

constexpr char kBadConfig[] = "BAD_CONFIG";
constexpr int64_t kFileBytesMax = 1 << 20;

Status Bad(const std::string& path, int line, const std::string& what) {
  return InvalidArgumentError(path + ":" + std::to_string(line) + ": " + what, kBadConfig);
}

int LineOf(const toml::node& node) { return static_cast<int>(node.source().begin.line); }

std::string NumberText(double number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), number);
  return {text, end.ptr};
}

/// Letters to change, add or leave out between two words.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

/// The keys of every command.
const std::set<std::string>& KnownKeys() {
  static const std::set<std::string> kKeys = [] {
    CLI::App all;
    DaemonSettings daemon;
    ClientSettings client;
    AddDaemonSettings(all, daemon);
    AddClientSettings(all, client);
    std::set<std::string> keys;
    for (const CLI::Option* option : all.get_options()) {
      if (std::string key = SettingKey(*option); !key.empty()) keys.insert(std::move(key));
    }
    return keys;
  }();
  return kKeys;
}

std::string NearestTo(const std::string& key) {
  std::string nearest;
  size_t least = 1000;
  for (const std::string& known : KnownKeys()) {
    // A key in the wrong section is near, too.
    const std::string name = known.substr(known.find('.') + 1);
    const size_t distance =
        std::min(Distance(key, known), 1 + Distance(key.substr(key.find('.') + 1), name));
    if (distance < least) {
      least = distance;
      nearest = known;
    }
  }
  return nearest;
}

/// What a section of its own name may say; each key has one place.
struct TableKeys {
  std::map<std::string, std::string*> texts;
  std::map<std::string, std::string*> schemas;  ///< JSON Schema text, or a table of parameters.
  std::map<std::string, std::function<void(int64_t)>> numbers;
  std::map<std::string, bool*> switches;
  std::map<std::string, std::vector<std::string>*> lists;
  std::string* key = nullptr;  ///< For `key_env`, as the next; null: there is none.
  std::string* key_variable = nullptr;
  std::vector<std::string>* environment = nullptr;  ///< For `pass_env`; null: there is none.

  void Number(const char* name, int64_t* place) {
    numbers[name] = [place](int64_t value) { *place = value; };
  }
};

TableKeys KeysOf(RemoteEngineOptions* engine) {
  TableKeys keys;
  keys.texts = {{"url", &engine->url},           {"model", &engine->model},
                {"key_file", &engine->key_file}, {"proxy", &engine->proxy},
                {"ca_file", &engine->ca_file},   {"extra", &engine->extra}};
  keys.Number("connect_ms", &engine->connect_ms);
  keys.Number("first_byte_ms", &engine->first_byte_ms);
  keys.Number("idle_ms", &engine->idle_ms);
  keys.Number("whole_ms", &engine->whole_ms);
  keys.Number("retry_ms", &engine->retry_ms);
  keys.Number("retry_ms_max", &engine->retry_ms_max);
  keys.Number("context_tokens", &engine->context_tokens);
  keys.Number("answer_bytes_max", &engine->answer_bytes_max);
  keys.numbers["retries_max"] = [engine](int64_t value) {
    engine->retries_max = static_cast<int32_t>(std::clamp<int64_t>(value, -1, 1000));
  };
  keys.switches = {{"key_in_clear", &engine->key_in_clear},
                   {"pass_reasoning", &engine->pass_reasoning}};
  keys.key = &engine->key;
  keys.key_variable = &engine->key_variable;
  return keys;
}

TableKeys KeysOf(SecretOptions* secret) {
  TableKeys keys;
  keys.texts = {{"key_file", &secret->key_file}};
  keys.lists = {{"hosts", &secret->hosts}};
  keys.switches = {{"scripts", &secret->for_scripts}};
  keys.key = &secret->key;
  keys.key_variable = &secret->key_variable;
  return keys;
}

TableKeys KeysOf(HttpToolOptions* tool) {
  TableKeys keys;
  keys.texts = {{"description", &tool->description},
                {"method", &tool->method},
                {"url", &tool->url},
                {"body", &tool->body},
                {"secret", &tool->secret},
                {"secret_header", &tool->secret_header},
                {"effect", &tool->effect},
                {"proxy", &tool->proxy},
                {"ca_file", &tool->ca_file}};
  keys.Number("whole_ms", &tool->whole_ms);
  keys.Number("answer_bytes_max", &tool->answer_bytes_max);
  keys.Number("output_bytes_max", &tool->output_bytes_max);
  keys.schemas = {{"parameters", &tool->parameters}};
  keys.lists = {{"headers", &tool->headers}, {"hosts", &tool->hosts}};
  return keys;
}

TableKeys KeysOf(McpServerOptions* server) {
  TableKeys keys;
  keys.texts = {{"folder", &server->folder},
                {"url", &server->url},
                {"key_file", &server->key_file},
                {"proxy", &server->proxy},
                {"ca_file", &server->ca_file}};
  keys.Number("start_ms", &server->start_ms);
  keys.Number("call_ms", &server->call_ms);
  keys.Number("call_ms_max", &server->call_ms_max);
  keys.Number("message_bytes_max", &server->message_bytes_max);
  keys.Number("output_bytes_max", &server->output_bytes_max);
  keys.switches = {{"key_in_clear", &server->key_in_clear}, {"optional", &server->optional}};
  keys.lists = {{"command", &server->command},
                {"environment", &server->environment},
                {"tools", &server->tools}};
  keys.key = &server->key;
  keys.key_variable = &server->key_variable;
  keys.environment = &server->environment;
  return keys;
}

}  // namespace

/// Turns the parsed file into values.
struct ConfigReading {
  ConfigFile* file;

  /// [HEADING.NAME] for each of `to`.
  template <typename Options>
  Status TakeTables(const std::string& heading, const toml::node& node, std::vector<Options>* to) {
    if (!node.is_table()) {
      return Bad(file->path_, LineOf(node),
                 "'" + heading + "' has sections: write [" + heading + ".NAME]");
    }
    for (const auto& [name, entry] : *node.as_table()) {
      const std::string section = heading + "." + std::string(name.str());
      if (!entry.is_table()) {
        return Bad(file->path_, LineOf(entry), "'" + section + "' is a section: write it so");
      }
      Options options;
      options.name = std::string(name.str());
      const TableKeys keys = KeysOf(&options);
      for (const auto& [key, value] : *entry.as_table()) {
        RETURN_IF_ERROR(TakeTableKey(section, std::string(key.str()), value, keys));
      }
      if (Status status = options.Validate(); !status.ok()) {
        return Bad(file->path_, LineOf(entry), status.message());
      }
      to->push_back(std::move(options));
    }
    return OkStatus();
  }

  Status TakeTableKey(const std::string& section, const std::string& key, const toml::node& value,
                      const TableKeys& keys) {
    const auto unfit = [&](const char* expected) {
      return Bad(file->path_, LineOf(value), section + "." + key + ": expected " + expected);
    };
    if (const auto text = keys.texts.find(key); text != keys.texts.end()) {
      if (!value.is_string()) return unfit("a string");
      *text->second = value.as_string()->get();
    } else if (const auto schema = keys.schemas.find(key); schema != keys.schemas.end()) {
      if (value.is_string()) {
        *schema->second = value.as_string()->get();
      } else if (value.is_table()) {
        auto made = SchemaOfParameters(*value.as_table());
        if (!made.ok()) {
          return Bad(file->path_, LineOf(value),
                     section + "." + key + ": " + made.status().message());
        }
        *schema->second = *std::move(made);
      } else {
        return unfit("JSON Schema text, or a table: { id = \"what it is\" }");
      }
    } else if (const auto number = keys.numbers.find(key); number != keys.numbers.end()) {
      if (!value.is_integer()) return unfit("a whole number");
      number->second(value.as_integer()->get());
    } else if (const auto flag = keys.switches.find(key); flag != keys.switches.end()) {
      if (!value.is_boolean()) return unfit("true or false");
      *flag->second = value.as_boolean()->get();
    } else if (const auto list = keys.lists.find(key); list != keys.lists.end()) {
      if (!TakeTexts(value, list->second)) return unfit("a list of strings");
    } else if (key == "key_env" && keys.key != nullptr) {
      if (!value.is_string()) return unfit("the name of a variable");
      // One that isn't set fails where it is used: other commands don't need it.
      *keys.key_variable = value.as_string()->get();
      if (keys.key_variable->empty()) return unfit("the name of a variable");
      const char* secret = std::getenv(keys.key_variable->c_str());
      if (secret != nullptr) *keys.key = secret;
    } else if (key == "pass_env" && keys.environment != nullptr) {
      std::vector<std::string> names;
      if (!TakeTexts(value, &names)) return unfit("a list of names of variables");
      for (const std::string& name : names) {
        const char* passed = std::getenv(name.c_str());
        if (passed != nullptr) keys.environment->push_back(name + "=" + passed);
      }
    } else {
      return Bad(file->path_, LineOf(value),
                 "unknown key '" + section + "." + key + "'; README.md lists those of [" +
                     section.substr(0, section.find('.')) + ".NAME]");
    }
    return OkStatus();
  }

  static bool TakeTexts(const toml::node& value, std::vector<std::string>* texts) {
    if (!value.is_array()) return false;
    for (const toml::node& entry : *value.as_array()) {
      if (!entry.is_string()) return false;
      texts->push_back(entry.as_string()->get());
    }
    return true;
  }

  Status TakeSection(const std::string& section, const toml::node& node) {
    NamedSections& named = file->named_;
    if (section == "engines") return TakeTables(section, node, &named.engines);
    if (section == "mcp") return TakeTables(section, node, &named.mcp_servers);
    if (section == "http_tools") return TakeTables(section, node, &named.http_tools);
    if (section == "secrets") return TakeTables(section, node, &named.secrets);
    if (std::find(kSections.begin(), kSections.end(), section) == kSections.end()) {
      std::string known;
      for (const char* name : kSections) known += "[" + std::string(name) + "], ";
      known += "[engines.NAME], [mcp.NAME], [http_tools.NAME], [secrets.NAME]";
      return Bad(file->path_, LineOf(node),
                 "unknown section or key '" + section + "'; expected one of the sections " + known);
    }
    if (!node.is_table()) {
      return Bad(file->path_, LineOf(node),
                 "'" + section + "' is a section: write [" + section + "]");
    }
    for (const auto& [key, value] : *node.as_table()) {
      const std::string full = section + "." + std::string(key.str());
      ASSIGN_OR_RETURN(file->values_[full], TakeValue(full, value));
      file->values_[full].line = static_cast<int>(key.source().begin.line);
    }
    return OkStatus();
  }

  Result<ConfigFile::Value> TakeValue(const std::string& key, const toml::node& node) {
    ConfigFile::Value value;
    if (const toml::array* list = node.as_array()) {
      value.list = true;
      for (const toml::node& entry : *list) {
        if (entry.is_array()) return Unfit(key, node);
        ASSIGN_OR_RETURN(const ConfigFile::Value one, TakeValue(key, entry));
        value.kind = one.kind;
        value.words.push_back(one.words[0]);
      }
    } else if (node.is_string()) {
      value.words = {node.as_string()->get()};
    } else if (node.is_integer()) {
      value.kind = ConfigFile::Kind::kNumber;
      value.words = {std::to_string(node.as_integer()->get())};
    } else if (node.is_floating_point()) {
      value.kind = ConfigFile::Kind::kNumber;
      value.words = {NumberText(node.as_floating_point()->get())};
    } else if (node.is_boolean()) {
      value.kind = ConfigFile::Kind::kBoolean;
      value.words = {node.as_boolean()->get() ? "true" : "false"};
    } else {
      return Unfit(key, node);
    }
    return value;
  }

  Status Unfit(const std::string& key, const toml::node& node) {
    return Bad(file->path_, LineOf(node),
               key + ": expected a string, a number, true, false or a list of those");
  }
};

std::string SettingKey(const CLI::Option& option) {
  const std::string& section = option.get_group();
  if (std::find(kSections.begin(), kSections.end(), section) == kSections.end()) return "";
  if (option.get_lnames().empty()) return "";
  std::string name = option.get_lnames()[0];
  if (name.starts_with(section + "-")) name = name.substr(section.size() + 1);
  std::replace(name.begin(), name.end(), '-', '_');
  return section + "." + name;
}

std::string DefaultConfigPath() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string home = variable("XDG_CONFIG_HOME");
  const std::string own =
      (home.empty() ? variable("HOME") + "/.config" : home) + "/baleen/baleen.toml";
  for (const std::string& path : {own, std::string("/etc/baleen/baleen.toml")}) {
    std::error_code unreadable;  // as if it weren't there
    if (std::filesystem::exists(path, unreadable)) return path;
  }
  return "";
}

Result<ConfigFile> ConfigFile::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  if (static_cast<int64_t>(text.size()) > kFileBytesMax) {
    return Bad(path, 1, "expected at most 1 MiB, got " + std::to_string(text.size()) + " bytes");
  }
  ConfigFile file;
  file.path_ = path;
  try {
    const toml::table root = toml::parse(text, path);
    ConfigReading reading{&file};
    for (const auto& [section, node] : root) {
      RETURN_IF_ERROR(reading.TakeSection(std::string(section.str()), node));
    }
  } catch (const toml::parse_error& error) {
    return InvalidArgumentError(path + ":" + std::to_string(error.source().begin.line) + ":" +
                                    std::to_string(error.source().begin.column) + ": " +
                                    std::string(error.description()),
                                kBadConfig);
  }
  RETURN_IF_ERROR(file.CheckKeys());
  return file;
}

Status ConfigFile::CheckKeys() const {
  for (const auto& [key, value] : values_) {
    if (KnownKeys().count(key) != 0) continue;
    return Bad(path_, value.line,
               "unknown key '" + key + "'; did you mean '" + NearestTo(key) + "'?");
  }
  return OkStatus();
}

Status ConfigFile::Apply(CLI::App& command) const {
  for (CLI::Option* option : command.get_options()) {
    const auto found = values_.find(SettingKey(*option));
    if (found == values_.end() || option->count() > 0) continue;
    RETURN_IF_ERROR(Give(found->first, found->second, *option));
  }
  return OkStatus();
}

Status ConfigFile::Give(const std::string& key, const Value& value, CLI::Option& option) const {
  const bool is_switch = option.get_items_expected_max() == 0;
  const bool is_text = option.get_type_name().starts_with("TEXT");
  const bool takes_list = option.get_items_expected_max() > 1;
  if (is_switch != (value.kind == Kind::kBoolean)) {
    return Bad(path_, value.line,
               key + (is_switch ? ": expected true or false" : ": true and false are not for it"));
  }
  if (is_text && value.kind != Kind::kString)
    return Bad(path_, value.line, key + ": expected a string");
  if (value.list && !takes_list)
    return Bad(path_, value.line, key + ": expected one value, got a list");
  if (value.list && value.words.empty()) {
    if (option.get_default_str().empty()) return OkStatus();  // as it is by default
    return Bad(path_, value.line, key + ": the list is empty");
  }
  try {
    option.add_result(value.words);
    option.run_callback();
  } catch (const CLI::Error& error) {
    return Bad(path_, value.line, key + ": " + error.what());
  }
  return OkStatus();
}

std::string ConfigFile::Where(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? "" : path_ + ":" + std::to_string(found->second.line);
}

void NamedSections::AddTo(RuntimeOptions& options) const {
  options.engines = engines;
  options.http_tools = http_tools;
  options.secrets = secrets;
  auto& servers = options.mcp_servers;
  for (const McpServerOptions& server : mcp_servers) {
    const bool given = std::any_of(servers.begin(), servers.end(),
                                   [&](const auto& other) { return other.name == server.name; });
    if (!given) servers.push_back(server);
  }
}

std::string ReadConfig::SourceOf(const std::string& key) const {
  const auto found = sources.find(key);
  return found == sources.end() ? "default" : found->second;
}

void AddConfig(CLI::App& command, ReadConfig& read) {
  auto path = std::make_shared<std::string>();  // owners: the option and the callback
  command.add_option("--config", *path,
                     "Settings in TOML, which flags override; default: baleen/baleen.toml below "
                     "$XDG_CONFIG_HOME, else /etc/baleen/baleen.toml, if it is there");
  command.parse_complete_callback([&command, path, &read] {
    for (const CLI::Option* option : command.get_options()) {
      const std::string key = SettingKey(*option);
      if (option->count() > 0 && !key.empty()) read.sources[key] = "--" + option->get_lnames()[0];
    }
    read.path = path->empty() ? DefaultConfigPath() : *path;
    if (read.path.empty()) return;
    const auto file = ConfigFile::Read(read.path);
    const Status status = file.ok() ? file->Apply(command) : file.status();
    if (!status.ok()) throw CLI::ValidationError(status.message());
    read.named = file->named();
    for (const std::string& key : KnownKeys()) {
      if (std::string where = file->Where(key); !where.empty()) read.sources.emplace(key, where);
    }
  });
}

}  // namespace baleen::cli
