// baleen.toml: the settings of the flags, in a file.
//
// A setting is an option whose heading in --help is one of kSections. Its key is [heading] and the
// flag's name with underscores, without the heading in front: --log-level is `level` in [log]. So
// flags, file, help and checks have one descriptor: the option. Flags win over the file, the file
// over defaults. Engines elsewhere, MCP servers, HTTP tools and secrets have sections of their
// own: [engines.NAME], [mcp.NAME], [http_tools.NAME], [secrets.NAME].
#pragma once

#include <CLI/App.hpp>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

inline constexpr std::array<const char*, 7> kSections = {"runtime", "plugins",   "web", "server",
                                                         "client",  "retention", "log"};

/// "runtime.kv_ram_bytes"; empty: `option` isn't a setting.
std::string SettingKey(const CLI::Option& option);

/// $XDG_CONFIG_HOME/baleen/baleen.toml (~/.config), else /etc/baleen/baleen.toml; empty: neither is
/// there.
std::string DefaultConfigPath();

/// What sections whose names are the user's say.
struct NamedSections {
  std::vector<RemoteEngineOptions> engines;
  std::vector<McpServerOptions> mcp_servers;
  std::vector<HttpToolOptions> http_tools;
  std::vector<SecretOptions> secrets;

  /// Puts them into `options`, but for servers whose names flags have given.
  void AddTo(RuntimeOptions& options) const;
};

class ConfigFile {
 public:
  /// Errors: NOT_FOUND; INVALID_ARGUMENT/BAD_CONFIG with file, line and column.
  static Result<ConfigFile> Read(const std::string& path);

  const std::string& path() const { return path_; }
  /// Of sections with names of their own; keys of the environment are in them.
  const NamedSections& named() const { return named_; }
  /// Gives the settings of `command` that no flag has set the file's values.
  /// Errors: INVALID_ARGUMENT/BAD_CONFIG, with file and line: a key that no command knows (and the
  /// nearest one that is known), a value that the option refuses.
  Status Apply(CLI::App& command) const;
  /// "FILE:LINE" of `key`; empty: not in the file.
  std::string Where(const std::string& key) const;

 private:
  enum class Kind { kString, kNumber, kBoolean };
  struct Value {
    std::vector<std::string> words;
    Kind kind = Kind::kString;
    bool list = false;
    int line = 0;
  };

  Status CheckKeys() const;
  Status Give(const std::string& key, const Value& value, CLI::Option& option) const;

  std::string path_;
  std::map<std::string, Value> values_;
  NamedSections named_;
  friend struct ConfigReading;
};

/// What a command has read, once its flags are parsed.
struct ReadConfig {
  std::string path;                            ///< Empty: no file.
  std::map<std::string, std::string> sources;  ///< Of settings that aren't defaults.
  NamedSections named;

  /// "--flag", "FILE:LINE" or "default".
  std::string SourceOf(const std::string& key) const;
};

/// Adds --config, and reads the file into `read` once the flags are parsed: before the command's
/// callback runs. What is wrong with it is a usage error.
/// Borrows: read, as long as `command` lives.
void AddConfig(CLI::App& command, ReadConfig& read);

}  // namespace baleen::cli
