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
#include "runtime/grpc/wire_status.h"
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

/// INVALID_ARGUMENT: a number that is no bound, or a folder that isn't there.
Status CheckBounds(const ClientQuota& quota, const std::vector<std::string>& roots);

class Tenant;

/// Who was let in.
struct Caller {
  Runtime* runtime = nullptr;  ///< What he may see of it.
  Tenant* tenant = nullptr;    ///< Whose bounds hold; null: the server's owner, who has none.
};

/// Threads: any; who is known doesn't change after the start.
class Access {
 public:
  /// Requires: options that Validate().
  Access(const ServerOptions& options, Runtime* runtime);
  ~Access();

  /// Counts the call against the caller's rate.
  /// Errors: UNAUTHENTICATED with CREDENTIALS_MISSING, TOKEN_INVALID, TOKEN_EXPIRED or
  /// CERTIFICATE_UNKNOWN; PERMISSION_DENIED/SCOPE_MISSING, PERMISSION_DENIED/ORIGIN_REFUSED;
  /// RESOURCE_EXHAUSTED/REQUEST_RATE.
  Result<Caller> Admit(const grpc::ServerContextBase& context, Scope scope,
                       wire::Details* details) const;

 private:
  struct Client;

  /// nullptr: the owner.
  Result<Client*> Identify(const grpc::ServerContextBase& context) const;
  Result<Client*> ByToken(const std::string& authorization) const;
  Result<Client*> ByCertificate(const grpc::AuthContext& peer) const;

  Runtime* const runtime_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Client> unlisted_;  ///< All who come with a certificate where nobody is listed.
};

}  // namespace baleen
