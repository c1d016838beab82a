// Authorities and certificates made for one test.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "tests/testing/temp_directory.h"

namespace baleen {

/// A self-signed authority and what it signs, as PEM files in a folder.
class Authority {
 public:
  explicit Authority(const TempDirectory& folder, const std::string& name)
      : folder_(folder), name_(name), key_(EVP_EC_gen("P-256")) {
    certificate_ = Sign(key_, name, 3600, key_, nullptr);
    Write(ca_file(), [this](BIO* out) { PEM_write_bio_X509(out, certificate_); }, 0644);
  }
  ~Authority() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  std::string ca_file() const { return folder_.File(name_ + ".ca.pem"); }
  std::string certificate_file(const std::string& who) const {
    return folder_.File(name_ + "." + who + ".pem");
  }
  std::string key_file(const std::string& who) const {
    return folder_.File(name_ + "." + who + ".key");
  }
  /// For 127.0.0.1 and for clients; valid for `seconds` from now, negative: expired.
  void Issue(const std::string& who, long seconds = 3600) const {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = Sign(key, who, seconds, key_, certificate_);
    Write(certificate_file(who), [&](BIO* out) { PEM_write_bio_X509(out, certificate); }, 0644);
    Write(
        key_file(who),
        [&](BIO* out) {
          PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
        },
        0600);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

 private:
  static X509* Sign(EVP_PKEY* key, const std::string& who, long seconds, EVP_PKEY* signer,
                    X509* issuer) {
    static long serial = 1;
    X509* out = X509_new();
    X509_set_version(out, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(out), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(out), -7200);
    X509_gmtime_adj(X509_getm_notAfter(out), seconds);
    X509_set_pubkey(out, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(who.c_str()), -1, -1, 0);
    X509_set_issuer_name(out, X509_get_subject_name(issuer == nullptr ? out : issuer));
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer == nullptr ? out : issuer, out, nullptr, nullptr, 0);
    const auto extend = [&](int kind, const char* value) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
      X509_add_ext(out, extension, -1);
      X509_EXTENSION_free(extension);
    };
    extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
    if (issuer != nullptr) extend(NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
    REQUIRE(X509_sign(out, signer, EVP_sha256()) != 0);
    return out;
  }

  template <typename WriteText>
  static void Write(const std::string& path, const WriteText& write, mode_t mode) {
    BIO* out = BIO_new_file(path.c_str(), "w");
    REQUIRE(out != nullptr);
    write(out);
    BIO_free(out);
    REQUIRE(chmod(path.c_str(), mode) == 0);
  }

  const TempDirectory& folder_;
  const std::string name_;
  EVP_PKEY* const key_;
  X509* certificate_ = nullptr;
};

}  // namespace baleen
