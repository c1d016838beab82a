// Public value types of sessions, turns and events. No foreign types; JSON is UTF-8 text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// How tokens are drawn.
struct SamplingSettings {
  float temperature = 1.0F;  ///< 0: greedy.
  float top_p = 1.0F;
  float min_p = 0.0F;
  int32_t top_k = 0;
  uint64_t seed = 0;
};

/// What a session is made of. Fixed at creation.
struct SessionSettings {
  std::string title;
  std::string workspace;    ///< Folder that the file tools may read; empty: no file tools.
  std::string script;       ///< Lua source; empty: the default tool loop.
  std::string script_name;  ///< For error messages.
  std::string system_prompt;
  std::string thinking = "chat";     ///< "chat" or "thinking".
  std::string reasoning_effort;      ///< "", "low", "high" or "max".
  std::vector<ToolSpec> host_tools;  ///< Tools that a connected host will serve.
  SamplingSettings sampling;
  int64_t tokens_max = 1024;  ///< Default bound of one generation.
};

enum class SessionState { kIdle, kRunning, kBroken };

struct SessionView {
  std::string session;  ///< Id, without "sessions/".
  SessionSettings settings;
  SessionState state = SessionState::kIdle;
  int64_t tokens = 0;  ///< Journalled context length.
  int64_t turns = 0;
  int64_t created_ms = 0;  ///< Unix milliseconds.
  int64_t updated_ms = 0;
  std::string head_cursor;  ///< Cursor of the newest durable event.
  std::string open_turn;    ///< Id of the running turn, or empty.
};

struct CreateSessionRequest {
  std::string session;  ///< Wanted id [a-z0-9][a-z0-9-]{0,62}; empty: one is made.
  SessionSettings settings;
  std::string request_id;  ///< Optional; a repeat gets the first answer.
};

struct StartTurnRequest {
  std::string session;
  std::vector<std::string> input;  ///< User text, in parts that are joined by blank lines.
  std::optional<SamplingSettings> sampling;
  int64_t tokens_max = 0;     ///< 0: the session's.
  bool trace_logits = false;  ///< Journal a hash of the logits behind every sampled token.
  std::string expected_head;  ///< Optional cursor: ABORTED/HEAD_MOVED if the session moved on.
  std::string request_id;
};

enum class TurnState { kRunning, kSucceeded, kFailed, kCancelled };

struct TurnView {
  std::string session;
  std::string turn;  ///< "t1", "t2" ...
  TurnState state = TurnState::kRunning;
  std::string text;  ///< The answer, once finished.
  Status error;      ///< For kFailed.
  /// Where the context came from, summed over the turn.
  int64_t tokens_reused_ram = 0;
  int64_t tokens_reused_disk = 0;
  int64_t tokens_recomputed = 0;  ///< Journalled before, and computed (again) now.
  int64_t tokens_prefilled = 0;   ///< New prompt tokens.
  int64_t tokens_generated = 0;
};

/// One event of a session. Durable events have seq > 0 and a payload as journalled.
/// Kinds, durable: session_created, turn_started, generate, generated, tool_calls, tool_results,
/// turn_finished. Live: progress, delta, waiting.
struct Event {
  std::string session;
  std::string turn;
  std::string kind;
  std::string payload;  ///< JSON object text.
  std::string cursor;   ///< Of this event, or of the last durable one before it.
  int64_t seq = 0;      ///< 0: live lane.
  int64_t time_ms = 0;
};

struct TokenTrace {
  int64_t begin = 0;
  std::vector<int32_t> ids;
  std::vector<uint64_t> logits_hashes;  ///< 0: not sampled, or not traced. Empty: none in range.
};

struct VerifyReport {
  int64_t sessions = 0;
  int64_t events = 0;
  int64_t tokens = 0;
  int64_t blocks = 0;
  int64_t block_bytes = 0;  ///< As stored, headers included.
  int64_t checkpoints = 0;
  int64_t checkpoint_bytes = 0;
  std::vector<std::string> problems;  ///< Empty: clean.
};

struct RuntimeStats {
  int64_t sessions = 0;
  int64_t turns_running = 0;
  int64_t sequences_resident = 0;
  int64_t kv_bytes_on_disk = 0;
  int64_t block_tokens = 0;
  int64_t block_payload_bytes = 0;
  int64_t engine_wakeups = 0;  ///< Times the engine thread woke up.
  std::string fingerprint;
  std::string arithmetic_id;
  std::string model_path;
  std::vector<std::string> notes;  ///< What opening the stores found and mended.
};

}  // namespace baleen
