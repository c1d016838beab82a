#include "runtime/http_tools/secret_header.h"

#include "runtime/http/redactor.h"

namespace baleen {

Result<std::string> SecretHeader(const std::string& name, const KeyPlace& place,
                                 const std::string& header) {
  const auto bad = [&](const std::string& why) {
    return FailedPreconditionError("secret '" + name + "'" + why);
  };
  const auto secret = ReadKey(place);
  if (!secret.ok()) return bad(": " + secret.status().message());
  if (secret->empty()) return bad(" is empty");
  if (secret->size() < kSecretBytesMin) {
    return bad(" has less than " + std::to_string(kSecretBytesMin) + " bytes");
  }
  return header.empty() ? "Authorization: Bearer " + *secret : header + ": " + *secret;
}

}  // namespace baleen
