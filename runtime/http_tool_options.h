// HttpToolOptions: a tool whose body is an HTTP request, declared instead of programmed.
//
// Public. Said once when a runtime opens; new sessions have the tools. What a model gives for a
// parameter stands where `url` and `body` have {NAME}, encoded for that place: it never changes
// host, port, or how many segments and parts there are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools_sdk/status.h"

namespace baleen {

/// Units: milliseconds.
struct HttpToolOptions {
  std::string name;            ///< [a-z][a-z0-9_-]{0,62}
  std::string description;     ///< For the model.
  std::string method = "GET";  ///< Or POST, PUT, PATCH, DELETE.
  /// http or https. {NAME} may stand in its path and query; a part of the query (between '&') whose
  /// parameter is absent is left out.
  std::string url;
  /// JSON Schema text; empty: what `url` and `body` name, all of them required strings.
  std::string parameters;
  /// JSON text with {NAME}: the value, or its characters within a string. Empty: of POST, PUT and
  /// PATCH an object of those arguments that `url` doesn't name.
  std::string body;
  std::vector<std::string> headers;  ///< "Name: value", as they stand.
  std::string secret;                ///< SecretOptions::name; empty: none.
  std::string
      secret_header;  ///< That has it as its value; empty: Authorization, as a bearer token.
  /// Where redirects may lead, as SecretOptions::hosts; empty: to the host and port of `url`. A
  /// secret and `headers` go to the origin of `url` only, and nothing from https to http.
  std::vector<std::string> hosts;
  /// "effect": after a crash nobody knows whether it happened. "idempotent": the request may be
  /// repeated. Both carry the call's id as Idempotency-Key. "pure" (of GET): it also changes
  /// nothing, and needs no leave by default.
  std::string effect = "effect";
  std::string proxy;    ///< URL; empty: none. It resolves names, and judges addresses, itself.
  std::string ca_file;  ///< Authorities of the server's certificate, PEM; empty: the system's.
  int64_t whole_ms = 30'000;             ///< Of a call, redirects included.
  int64_t answer_bytes_max = 1 << 20;    ///< Of an answer; what is over it is not read.
  int64_t output_bytes_max = 64 * 1024;  ///< Of a result, as a model gets it.

  /// Errors: INVALID_ARGUMENT/BAD_FIELD.
  Status Validate() const;
};

}  // namespace baleen
