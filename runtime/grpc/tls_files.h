// Certificates and keys as files: read, checked against each other, and their dates.
//
// Used by server.cc and client.cc only.
#pragma once

#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// PEM text.
struct TlsIdentity {
  std::string certificates;  ///< Own first, then intermediates.
  std::string key;
};

/// Errors: NOT_FOUND (a file), PERMISSION_DENIED (a key that others may read), INVALID_ARGUMENT
/// (no PEM, a key of another certificate), FAILED_PRECONDITION/CERTIFICATE_EXPIRED.
Result<TlsIdentity> ReadTlsIdentity(const std::string& certificate_file,
                                    const std::string& key_file);

/// The PEM text of one or more certificates of authorities. Errors: NOT_FOUND, INVALID_ARGUMENT.
Result<std::string> ReadAuthorities(const std::string& file);

/// A small text file that only its owner (this user or root) can read. `what` is for messages.
/// Errors: NOT_FOUND, PERMISSION_DENIED (says which chmod mends it), INVALID_ARGUMENT (> 1 MiB).
Result<std::string> ReadSecretFile(const std::string& path, const std::string& what);

}  // namespace baleen
