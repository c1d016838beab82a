// McpServerOptions: a server of tools elsewhere, which speaks the Model Context Protocol.
//
// Public. Said once when a runtime opens; new sessions have the tools of its servers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// A program on this machine (`command`) or an endpoint (`url`): exactly one of them.
/// Units: milliseconds.
struct McpServerOptions {
  std::string name;  ///< [a-z0-9][a-z0-9-]{0,30}; its tools are called NAME_TOOL.

  /// Program and arguments. A name without '/' is looked for in the PATH that the program gets.
  std::vector<std::string> command;
  /// NAME=VALUE, on top of PATH, HOME and LANG: nothing else is inherited. Never shown.
  std::vector<std::string> environment;
  std::string folder = "/";  ///< Where the program starts.

  std::string url;  ///< http or https; streamable HTTP.
  /// What is sent as a bearer token. Never logged, shown or journalled. Empty: `key_file`'s.
  std::string key;
  /// The environment variable that `key` is of, where one was named: unset, it fails where the
  /// server is asked.
  std::string key_variable;
  /// Read before each request, so that a key can be changed; its owner's alone (0600). Empty: none.
  std::string key_file;
  /// Send the key although the URL is http and not of this machine.
  bool key_in_clear = false;
  std::string proxy;    ///< URL; empty: none, whatever the environment says.
  std::string ca_file;  ///< Authorities of its certificate, PEM; empty: the system's.

  /// The tools that sessions get, as the server names them; empty: all.
  std::vector<std::string> tools;
  /// New sessions are made without its tools where it can't be reached; else they are not made.
  bool optional = false;
  int64_t start_ms = 30'000;  ///< Until it has told of its tools.
  int64_t call_ms = 600'000;  ///< Of a call, from its start or from its newest word of progress.
  int64_t call_ms_max = 3'600'000;       ///< Of a call, whatever its progress.
  int64_t message_bytes_max = 8 << 20;   ///< Of one message that it sends.
  int64_t output_bytes_max = 64 * 1024;  ///< Of a result, as a model gets it.

  /// Errors: INVALID_ARGUMENT/BAD_FIELD.
  Status Validate() const;
};

}  // namespace baleen
