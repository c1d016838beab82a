// The file of clients that may connect by token or certificate, in TOML:
//
//   [[client]]
//   name = "ide"
//   token_sha256 = "..."           # or certificate = "the common name in it"
//   scopes = ["sessions.read", "turns.run"]
//   expires = 2027-01-01T00:00:00Z # optional, as all that follows
//   workspaces = ["/srv/projects"]  # may be named, and all below
//   requests_per_second = 20
//   running_turns = 4
#pragma once

#include <string>
#include <vector>

#include "runtime/grpc/server.h"
#include "tools_sdk/status.h"

namespace baleen::cli {

/// Errors: NOT_FOUND, PERMISSION_DENIED (others may read it), INVALID_ARGUMENT/BAD_CONFIG with
/// line.
Result<std::vector<ClientGrant>> ReadClientsFile(const std::string& path);

/// Adds `grant`; the file is made with mode 0600 if it isn't there.
/// Errors: as ReadClientsFile; INVALID_ARGUMENT (a name that is there, unknown scopes).
Status AddClient(const std::string& path, const ClientGrant& grant);

}  // namespace baleen::cli
