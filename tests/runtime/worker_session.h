// The session that session_worker works on: its settings and turns, so that tests can make the
// same.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/runtime.h"

namespace baleen {

inline constexpr char kWorkerSession[] = "survivor";

/// Generates, and from the second turn on calls three tools and generates again.
inline constexpr char kWorkerScript[] = R"(
return function(message)
  local reply = baleen.generate { user = message, max_tokens = 24 }
  if message:sub(1, 6) == "turn 1" then return reply.content end
  local results = baleen.call_tools {
    { name = "list", arguments = { path = "." } },
    { name = "grep", arguments = { pattern = "needle" } },
    { name = "read", arguments = { path = "f3.txt" } },
  }
  local text = ""
  for _, result in ipairs(results) do text = text .. result.outcome .. "\n" .. result.content end
  local answer = baleen.generate { user = text:sub(1, 400), max_tokens = 40 }
  return answer.content
end
)";

inline RuntimeOptions WorkerOptions(const std::string& data_dir, const std::string& model) {
  RuntimeOptions options;
  options.data_dir = data_dir;
  options.model_path = model;
  options.threads = 1;
  options.prefill_chunk_tokens = 64;
  options.checkpoint_interval_tokens = 512;
  return options;
}

inline CreateSessionRequest WorkerSession(const std::string& workspace) {
  CreateSessionRequest request;
  request.session = kWorkerSession;
  request.settings.workspace = workspace;
  request.settings.script = kWorkerScript;
  request.settings.script_name = "worker.lua";
  request.settings.sampling.seed = 11;
  return request;
}

/// The request for turn `number`: about 1,300 bytes of text, each a token.
inline StartTurnRequest WorkerTurn(int64_t number) {
  StartTurnRequest request;
  request.session = kWorkerSession;
  request.trace_logits = true;
  std::string text = "turn " + std::to_string(number) + ":";
  for (int64_t i = 0; i < 100; ++i) text += " word " + std::to_string(i * number * 37 % 1000) + ",";
  request.input.push_back(text);
  return request;
}

}  // namespace baleen
