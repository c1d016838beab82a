#include "runtime/grpc/access.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "runtime/clock.h"
#include "runtime/grpc/tenant.h"

namespace baleen {
namespace {

constexpr std::array kScopes = {Scope::kSessionsRead,     Scope::kSessionsWrite, Scope::kTurnsRun,
                                Scope::kApprovalsResolve, Scope::kToolsHost,     Scope::kAdmin};
using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Status Unauthenticated(std::string message, std::string reason) {
  return Status(StatusCode::kUnauthenticated, std::move(message), std::move(reason));
}

std::optional<Digest> DigestFromHex(std::string_view hex) {
  Digest digest = {};
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (size_t i = 0; i < hex.size(); ++i) {
    const size_t value = kDigits.find(hex[i]);
    if (value == std::string_view::npos) return std::nullopt;
    digest[i / 2] = static_cast<unsigned char>(digest[i / 2] << 4 | value);
  }
  return digest;
}

std::string Header(const grpc::ServerContextBase& context, const char* name) {
  const auto found = context.client_metadata().find(name);
  if (found == context.client_metadata().end()) return "";
  return {found->second.data(), found->second.size()};
}

std::string Property(const grpc::AuthContext& peer, const char* name) {
  const auto values = peer.FindPropertyValues(name);
  return values.empty() ? "" : std::string(values[0].data(), values[0].size());
}

Status CheckQuota(const ClientQuota& quota, const std::string& who) {
  constexpr int64_t kMost = 1'000'000;
  const bool good = quota.requests_per_second >= 0 && quota.requests_per_second <= kMost &&
                    quota.running_turns >= 0 && quota.running_turns <= kMost &&
                    quota.sessions_max >= 0 && quota.stored_bytes_max >= 0;
  if (good) return OkStatus();
  return InvalidArgumentError(who +
                              ": requests_per_second, running_turns: expected 0 (no bound) to "
                              "1000000; sessions_max, stored_bytes_max: 0 (no bound) or more");
}

Status CheckRoot(const std::string& folder, const std::string& who) {
  std::error_code error;
  if (folder.starts_with('/') && std::filesystem::is_directory(folder, error)) return OkStatus();
  return InvalidArgumentError(who + ": workspaces: expected absolute paths of folders, got '" +
                              folder.substr(0, 200) + "'");
}

Status CheckGrant(const ClientGrant& grant) {
  const std::string who = "client '" + grant.name + "'";
  if (grant.name.empty()) return InvalidArgumentError("client: expected a name");
  if (grant.token_sha256.empty() == grant.certificate.empty()) {
    return InvalidArgumentError(who +
                                ": expected either a token's SHA-256 or a certificate's name");
  }
  if (!grant.token_sha256.empty() && !DigestFromHex(grant.token_sha256).has_value()) {
    return InvalidArgumentError(who + ": token_sha256: expected 64 digits 0-9a-f, got " +
                                std::to_string(grant.token_sha256.size()) + " characters");
  }
  for (const std::string& folder : grant.workspaces) RETURN_IF_ERROR(CheckRoot(folder, who));
  RETURN_IF_ERROR(CheckQuota(grant.quota, who));
  for (const std::string& name : grant.scopes) {
    bool known = false;
    for (const Scope scope : kScopes) known = known || name == ScopeName(scope);
    if (known) continue;
    std::string all;
    for (const Scope scope : kScopes)
      all += (all.empty() ? "" : ", ") + std::string(ScopeName(scope));
    return InvalidArgumentError(who + ": scopes: expected some of " + all + ", got '" + name + "'");
  }
  return OkStatus();
}

ClientQuota QuotaOf(const ClientQuota& own, const ClientQuota& fallback) {
  ClientQuota quota = own;
  if (quota.requests_per_second == 0) quota.requests_per_second = fallback.requests_per_second;
  if (quota.running_turns == 0) quota.running_turns = fallback.running_turns;
  if (quota.sessions_max == 0) quota.sessions_max = fallback.sessions_max;
  if (quota.stored_bytes_max == 0) quota.stored_bytes_max = fallback.stored_bytes_max;
  return quota;
}

std::vector<std::string> Joined(std::vector<std::string> some,
                                const std::vector<std::string>& more) {
  some.insert(some.end(), more.begin(), more.end());
  return some;
}

}  // namespace

struct Access::Client {
  Client(const ClientGrant& known, const ServerOptions& options)
      : grant(known),
        token(DigestFromHex(known.token_sha256).value_or(Digest{})),
        scopes(known.scopes.begin(), known.scopes.end()),
        tenant(known.name, QuotaOf(known.quota, options.client_quota),
               Joined(known.workspaces, options.workspace_roots), known.network_hosts,
               known.readable_secrets) {}

  const ClientGrant grant;
  const Digest token;
  const std::set<std::string> scopes;
  Tenant tenant;
};

const char* ScopeName(Scope scope) {
  switch (scope) {
    case Scope::kSessionsRead: return "sessions.read";
    case Scope::kSessionsWrite: return "sessions.write";
    case Scope::kTurnsRun: return "turns.run";
    case Scope::kApprovalsResolve: return "approvals.resolve";
    case Scope::kToolsHost: return "tools.host";
    case Scope::kAdmin: return "admin";
  }
  return "";
}

Status CheckBounds(const ClientQuota& quota, const std::vector<std::string>& roots) {
  RETURN_IF_ERROR(CheckQuota(quota, "server options"));
  for (const std::string& root : roots) RETURN_IF_ERROR(CheckRoot(root, "server options"));
  return OkStatus();
}

Status CheckGrants(const std::vector<ClientGrant>& grants) {
  std::set<std::string> names;
  for (const ClientGrant& grant : grants) {
    RETURN_IF_ERROR(CheckGrant(grant));
    if (!names.insert(grant.name).second) {
      return InvalidArgumentError("client '" + grant.name + "' is there twice");
    }
  }
  return OkStatus();
}

Access::Access(const ServerOptions& options, Runtime* runtime) : runtime_(runtime) {
  for (const ClientGrant& grant : options.clients) {
    clients_.push_back(std::make_unique<Client>(grant, options));
  }
  ClientGrant unlisted;
  unlisted.name = "any with a certificate";
  for (const Scope scope : kScopes) unlisted.scopes.push_back(ScopeName(scope));
  unlisted_ = std::make_unique<Client>(unlisted, options);
}

Access::~Access() = default;

Result<Caller> Access::Admit(const grpc::ServerContextBase& context, Scope scope,
                             wire::Details* details) const {
  if (!Header(context, "origin").empty()) {
    return PermissionDeniedError("calls from web pages are refused", "ORIGIN_REFUSED");
  }
  ASSIGN_OR_RETURN(Client * client, Identify(context));
  if (client == nullptr) return Caller{runtime_, nullptr};
  RETURN_IF_ERROR(client->tenant.CountRequest(Tenant::Clock::now(), details));
  if (client->scopes.count(ScopeName(scope)) == 0) {
    return PermissionDeniedError("client '" + client->grant.name + "' lacks the scope '" +
                                     ScopeName(scope) + "'; whoever runs the server can add it",
                                 "SCOPE_MISSING");
  }
  return Caller{runtime_, &client->tenant};
}

Result<Access::Client*> Access::Identify(const grpc::ServerContextBase& context) const {
  const std::string authorization = Header(context, "authorization");
  if (!authorization.empty()) return ByToken(authorization);
  const auto peer = context.auth_context();
  if (peer == nullptr || Property(*peer, GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME) !=
                             GRPC_SSL_TRANSPORT_SECURITY_TYPE) {
    return nullptr;  // only our Unix sockets are without TLS, and those have asked the kernel
  }
  return ByCertificate(*peer);
}

Result<Access::Client*> Access::ByToken(const std::string& authorization) const {
  constexpr std::string_view kBearer = "Bearer ";
  const std::string_view token = authorization.starts_with(kBearer)
                                     ? std::string_view(authorization).substr(kBearer.size())
                                     : "";
  Digest digest = {};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  // Every entry is compared, each in constant time: how long it takes tells nothing.
  Client* found = nullptr;
  for (const auto& client : clients_) {
    const bool equal = CRYPTO_memcmp(client->token.data(), digest.data(), digest.size()) == 0;
    if (equal && !client->grant.token_sha256.empty()) found = client.get();
  }
  if (found == nullptr) {
    return Unauthenticated("the bearer token is none that this server knows", "TOKEN_INVALID");
  }
  if (found->grant.expires_ms != 0 && Clock().WallMs() >= found->grant.expires_ms) {
    return Unauthenticated(
        "the token of client '" + found->grant.name + "' has expired; make another",
        "TOKEN_EXPIRED");
  }
  return found;
}

Result<Access::Client*> Access::ByCertificate(const grpc::AuthContext& peer) const {
  const std::string name = Property(peer, GRPC_X509_CN_PROPERTY_NAME);
  const bool shown = !Property(peer, GRPC_X509_PEM_CERT_PROPERTY_NAME).empty();
  if (!shown) {
    return Unauthenticated("expected `authorization: Bearer TOKEN`, or a client certificate",
                           "CREDENTIALS_MISSING");
  }
  // The handshake has checked it against the client CA. Without a list, that is enough.
  if (clients_.empty()) return unlisted_.get();
  for (const auto& client : clients_) {
    if (!client->grant.certificate.empty() && client->grant.certificate == name)
      return client.get();
  }
  return Unauthenticated("the certificate of '" + name.substr(0, 100) +
                             "' is none of the clients that this server knows",
                         "CERTIFICATE_UNKNOWN");
}

}  // namespace baleen
