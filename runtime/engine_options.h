// RemoteEngineOptions: an engine elsewhere, which sessions may think with.
//
// Public. Said once when a runtime opens; a session names it as "remote:NAME".
#pragma once

#include <cstdint>
#include <string>

#include "tools_sdk/status.h"

namespace baleen {

/// An OpenAI-compatible chat endpoint: vLLM, SGLang, llama.cpp's server, `transformers serve`, a
/// hosted API. Units: milliseconds; 0: no limit.
struct RemoteEngineOptions {
  std::string name;   ///< [a-z0-9][a-z0-9-]{0,62}
  std::string url;    ///< Up to and with its version, e.g. https://api.deepseek.com/v1.
  std::string model;  ///< As the endpoint names it.
  /// What is sent as a bearer token. Never logged, shown or journalled. Empty: `key_file`'s.
  std::string key;
  /// The environment variable that `key` is from. While that is empty, requests say so and fail.
  std::string key_variable;
  /// Read before each request, so that a key can be changed; its owner's alone (0600). Empty: none.
  std::string key_file;
  /// Send the key although the URL is http and not of this machine.
  bool key_in_clear = false;
  std::string proxy;    ///< URL; empty: none, whatever the environment says.
  std::string ca_file;  ///< Authorities of its certificate, PEM; empty: the system's.
  int64_t connect_ms = 10'000;
  int64_t first_byte_ms = 300'000;  ///< Until the first byte of an answer: it covers the prefill.
  int64_t idle_ms = 120'000;        ///< Between two pieces of an answer.
  int64_t whole_ms = 3'600'000;     ///< Of one answer.
  /// Requests that may be repeated, with growing waits: nothing of an answer had come, and the
  /// connection failed, or the server said 408, 429 or 5xx.
  int32_t retries_max = 4;
  int64_t retry_ms = 500;  ///< Before the first repeat; doubles, drawn between half and whole.
  int64_t retry_ms_max = 60'000;  ///< Also of what a server asks for by Retry-After.
  /// Tokens that prompt and answer may have, counted with the local tokenizer.
  int64_t context_tokens = 131'072;
  int64_t answer_bytes_max = 64 << 20;  ///< Of one answer, as it comes.
  bool pass_reasoning = true;           ///< Send earlier reasoning back, as `reasoning_content`.
  std::string extra;  ///< JSON object whose members are added to each request; empty: none.

  /// Errors: INVALID_ARGUMENT/BAD_FIELD.
  Status Validate() const;
};

}  // namespace baleen
