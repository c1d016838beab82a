// Clients with tokens, as a server's file of clients would have them.
#pragma once

#include <grpcpp/grpcpp.h>
#include <openssl/sha.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/grpc/server.h"

namespace baleen {

inline std::string Sha256Of(const std::string& text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

inline ClientGrant GrantOf(const std::string& token, std::vector<std::string> scopes,
                           int64_t expires_ms = 0) {
  ClientGrant grant;
  grant.name = "client of " + token;
  grant.token_sha256 = Sha256Of(token);
  grant.scopes = std::move(scopes);
  grant.expires_ms = expires_ms;
  return grant;
}

inline std::shared_ptr<grpc::Channel> TokenChannel(const std::string& address,
                                                   const std::string& token) {
  return grpc::CreateChannel(
      address, grpc::CompositeChannelCredentials(grpc::experimental::LocalCredentials(UDS),
                                                 grpc::AccessTokenCredentials(token)));
}

inline ServerOptions WithClients(std::vector<ClientGrant> clients) {
  ServerOptions options;
  options.clients = std::move(clients);
  return options;
}

}  // namespace baleen
