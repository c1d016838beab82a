#include "runtime/grpc/tls_files.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <system_error>

#include "runtime/grpc/owned_fd.h"

namespace baleen {
namespace {

constexpr int64_t kFileBytesMax = 1 << 20;

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

Bio Memory(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Result<std::string> ReadAll(const OwnedFd& file, const std::string& name) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return UnavailableError(name + ": " + std::generic_category().message(errno));
    }
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (static_cast<int64_t>(text.size()) > kFileBytesMax) {
      return InvalidArgumentError(name + ": expected at most 1 MiB");
    }
  }
}

Result<OwnedFd> OpenFile(const std::string& path, const std::string& name) {
  OwnedFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.valid()) return file;
  const std::string message = name + ": " + std::generic_category().message(errno);
  return errno == EACCES ? PermissionDeniedError(message) : NotFoundError(message);
}

/// No passphrase is ever asked for on a terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) { return 0; }

std::string TimeText(const ASN1_TIME* time) {
  const Bio out(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(out.get(), time);
  char* text = nullptr;
  const long length = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<size_t>(length)};
}

}  // namespace

Result<std::string> ReadSecretFile(const std::string& path, const std::string& what) {
  const std::string name = what + " '" + path + "'";
  ASSIGN_OR_RETURN(const OwnedFd file, OpenFile(path, name));
  struct stat state = {};
  if (fstat(file.get(), &state) != 0 || !S_ISREG(state.st_mode)) {
    return InvalidArgumentError(name + ": expected a file");
  }
  if ((state.st_uid != geteuid() && state.st_uid != 0) || (state.st_mode & 0077) != 0) {
    return PermissionDeniedError(name +
                                 " belongs to or can be read by others; run chown and chmod 600");
  }
  return ReadAll(file, name);
}

Result<TlsIdentity> ReadTlsIdentity(const std::string& certificate_file,
                                    const std::string& key_file) {
  const std::string name = "certificate '" + certificate_file + "'";
  TlsIdentity identity;
  {
    ASSIGN_OR_RETURN(const OwnedFd file, OpenFile(certificate_file, name));
    ASSIGN_OR_RETURN(identity.certificates, ReadAll(file, name));
  }
  ASSIGN_OR_RETURN(identity.key, ReadSecretFile(key_file, "private key"));
  const Certificate certificate(
      PEM_read_bio_X509(Memory(identity.certificates).get(), nullptr, NoPassphrase, nullptr));
  if (certificate == nullptr) return InvalidArgumentError(name + ": expected a certificate in PEM");
  const Key key(
      PEM_read_bio_PrivateKey(Memory(identity.key).get(), nullptr, NoPassphrase, nullptr));
  if (key == nullptr) {
    return InvalidArgumentError("private key '" + key_file +
                                "': expected an unencrypted private key in PEM");
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return InvalidArgumentError("private key '" + key_file + "' is not that of " + name);
  }
  const ASN1_TIME* end = X509_get0_notAfter(certificate.get());
  if (X509_cmp_current_time(end) < 0) {
    return FailedPreconditionError(name + " expired on " + TimeText(end) + "; renew it",
                                   "CERTIFICATE_EXPIRED");
  }
  return identity;
}

Result<std::string> ReadAuthorities(const std::string& file) {
  const std::string name = "certificates of authorities '" + file + "'";
  ASSIGN_OR_RETURN(const OwnedFd opened, OpenFile(file, name));
  ASSIGN_OR_RETURN(std::string text, ReadAll(opened, name));
  const Certificate first(PEM_read_bio_X509(Memory(text).get(), nullptr, NoPassphrase, nullptr));
  if (first == nullptr) return InvalidArgumentError(name + ": expected certificates in PEM");
  return text;
}

}  // namespace baleen
