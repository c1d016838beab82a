// Access: who a caller is, and what he may do.
//
// On a Unix socket the kernel has said who the peer is: this user, who may do everything. Over TLS
// a caller shows a bearer token or a client certificate. A token that is shown counts on a Unix
// socket, too, so that a program can ask for less than its user may. Knows no sessions. Used by
// this folder only.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/grpc/server.h"
#include "runtime/runtime.h"
#include "tools_sdk/status.h"

namespace baleen {

/// What a caller may do; ClientGrant::scopes has the names.
enum class Scope {
  kSessionsRead,
  kSessionsWrite,
  kTurnsRun,
  kApprovalsResolve,
  kToolsHost,
  kAdmin
};

/// "sessions.read", "sessions.write", "turns.run", "approvals.resolve", "tools.host", "admin".
const char* ScopeName(Scope scope);

/// Threads: any; nothing changes after the start.
class Access {
 public:
  /// Requires: options that Validate().
  Access(const ServerOptions& options, Runtime* runtime);
  ~Access();

  /// What the caller may see of the runtime.
  /// Errors: UNAUTHENTICATED with CREDENTIALS_MISSING, TOKEN_INVALID, TOKEN_EXPIRED or
  /// CERTIFICATE_UNKNOWN; PERMISSION_DENIED/SCOPE_MISSING, PERMISSION_DENIED/ORIGIN_REFUSED.
  Result<Runtime*> Admit(const grpc::ServerContextBase& context, Scope scope) const;

 private:
  struct Client;

  /// nullptr: the owner.
  Result<const Client*> Identify(const grpc::ServerContextBase& context) const;
  Result<const Client*> ByToken(const std::string& authorization) const;
  Result<const Client*> ByCertificate(const grpc::AuthContext& peer) const;

  Runtime* const runtime_;
  std::vector<Client> clients_;
};

}  // namespace baleen
