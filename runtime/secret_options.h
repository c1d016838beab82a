// SecretOptions: a secret that tools may use and nobody may read.
//
// Public. Said once when a runtime opens; tools name it. Its value goes from its place into a
// request to one of its hosts, and is never journalled, logged or shown: what comes back from
// outside is searched for it.
#pragma once

#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

struct SecretOptions {
  std::string name;  ///< [A-Za-z][A-Za-z0-9_-]{0,62}
  std::string key;   ///< The value, of at least 8 bytes: shorter ones can't be told from words.
  /// The environment variable that `key` is of, where one was named.
  std::string key_variable;
  /// Read before each use, so that it can be changed; its owner's alone (0600). Empty: none.
  std::string key_file;
  /// Where it may be sent: HOST, *.DOMAIN, each optionally with :PORT. Not empty.
  std::vector<std::string> hosts;
  /// Scripts may let it go along with any request to those hosts (RuntimeOptions::
  /// script_http_hosts); else it is for declared tools alone.
  bool for_scripts = false;

  /// Errors: INVALID_ARGUMENT/BAD_FIELD.
  Status Validate() const;
};

}  // namespace baleen
