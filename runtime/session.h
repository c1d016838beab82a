// Public value types of sessions, turns and events. No foreign types; JSON is UTF-8 text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/approval.h"
#include "runtime/budget.h"
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

/// What a generation is kept to while it is written. Calls of declared tools always are: names,
/// structure and arguments follow the declarations, token by token.
struct ConstraintSettings {
  /// "auto": text, and then calls if the model wants to; "none": no calls; "required": calls at
  /// once; "tool:NAME": one call of that tool. The last two hold for the first generation of a
  /// turn; later ones are as "auto".
  std::string tool_choice = "auto";
  /// JSON Schema of a final answer, which is then one JSON value; empty: free text.
  std::string answer_schema;
  /// Tokens of reasoning, after which it is closed; -1: as many as the model wants.
  int64_t thinking_tokens = -1;
};

/// What a session is made of. UpdateSession changes some of it; the rest is fixed at creation.
struct SessionSettings {
  std::string title;
  std::string workspace;    ///< Folder that the file tools may read; empty: no file tools.
  std::string script;       ///< Lua source; empty: the default tool loop.
  std::string script_name;  ///< For error messages.
  std::string system_prompt;
  std::string thinking = "chat";  ///< "chat" or "thinking".
  std::string reasoning_effort;   ///< "", "low", "high" or "max".
  /// Built-in tools beside read, list and grep: glob, write, edit, bash, remember and recall, which
  /// need a workspace, todo, ask_user, web_fetch, task and find_tools. With find_tools, the model
  /// is told of the tools of plugins, MCP servers and HTTP only as it finds them.
  std::vector<std::string> tools;
  /// With find_tools: which of those it must find, as patterns with '*'; none: all.
  std::vector<std::string> defer_tools;
  /// Hosts that bash and sandboxed plugins may reach, through a proxy: HOST, *.DOMAIN (what is
  /// below it) or *, with :PORT if it is one alone. None: no network. Names that stand for
  /// addresses which aren't public are refused; such an address may be named itself.
  std::vector<std::string> network_hosts;
  /// Secret files of the workspace (.env, private keys and such, by their names:
  /// tools_sdk/special_files.cc) that tools and commands may read all the same: paths below it, or
  /// patterns with '*', which stands for '/' too. None: file tools refuse all, and under bubblewrap
  /// commands and sandboxed plugins can't read those that a bounded search finds.
  std::vector<std::string> readable_secrets;
  std::vector<ToolSpec> host_tools;  ///< Tools that a connected host will serve.
  /// Those of plugins, MCP servers and declared HTTP tools, as they were when the session was made:
  /// the runtime fills them in.
  std::vector<ToolSpec> outside_tools;
  /// Those that the script declares: read from it when the session is made.
  std::vector<ToolSpec> script_tools;
  SamplingSettings sampling;
  int64_t tokens_max = 1024;  ///< Default bound of one generation.
  ConstraintSettings constraint;
  PolicySettings policy;
  BudgetSettings budget;       ///< Of all turns together, on the current timeline.
  BudgetSettings turn_budget;  ///< Of each turn that brings none of its own.
  PriceSettings prices;
  /// "": the embedded one. "remote:NAME": an engine elsewhere (RuntimeOptions::engines); what is
  /// about KV then doesn't apply, and says so.
  std::string engine;
  /// What a compaction keeps word for word. An empty goal: what the first turn was told.
  std::string goal;
  std::vector<std::string> notes;
  /// A context that has so much of what the engine takes is compacted before it grows on; 0: never.
  int32_t compact_at_percent = 90;
};

/// kRequiresAction: its turn waits for an approval.
enum class SessionState { kIdle, kRunning, kBroken, kRequiresAction };

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
  bool pinned = false;
  int64_t timeline = 1;  ///< Number of the current timeline; a rewind begins the next.
  std::string parent;    ///< Session that it was forked from, while that exists; else empty.
  /// What the tools' and the answer's schemas say that is checked only once a text is whole, or not
  /// at all; a sentence each.
  std::vector<std::string> schema_notes;
  /// What is odd about the rules of its policy and of its script's, a sentence each: that they are
  /// about no tool of the session, or can't decide because of a stricter one.
  std::vector<std::string> policy_notes;
  std::vector<std::string> pending_approvals;  ///< Ids.
  int64_t context_tokens = 0;                  ///< Of `tokens`, those that the model still sees.
  std::string tenant;                          ///< Whom it counts for; empty: nobody.
};

struct CreateSessionRequest {
  std::string session;  ///< Wanted id [a-z0-9][a-z0-9-]{0,62}; empty: one is made.
  SessionSettings settings;
  std::string request_id;  ///< Optional; a repeat gets the first answer.
  /// Name of a script that was put (runtime/script.h), in place of the settings' `script`.
  std::string stored_script{};
  std::string tenant{};  ///< Whom it will count for (Runtime::ReadTenant); empty: nobody.
};

struct UpdateSessionRequest {
  std::string session;
  /// What changes: "title", "goal", "notes", "compact_at_percent", "tokens_max", "sampling",
  /// "policy", "budget", "turn_budget", "prices", or a member of one of these, as
  /// "sampling.temperature".
  std::vector<std::string> mask;
  SessionSettings settings;   ///< Has the new values; what `mask` doesn't name isn't read.
  std::string expected_head;  ///< Optional cursor: ABORTED/HEAD_MOVED if the session moved on.
  std::string request_id;     ///< Optional; a repeat gets the first answer.
};

/// What the sessions of one tenant come to.
struct TenantUsage {
  int64_t sessions = 0;
  /// Text and token ids that they wrote themselves: what a fork shares counts where it was written.
  int64_t stored_bytes = 0;
};

struct StartTurnRequest {
  std::string session;
  std::vector<std::string> input;  ///< User text, in parts that are joined by blank lines.
  std::optional<SamplingSettings> sampling;
  int64_t tokens_max = 0;  ///< 0: the session's.
  /// Compact the context now, and nothing else; `input` is pinned as a note.
  bool compact = false;
  bool trace_logits = false;  ///< Journal a hash of the logits behind every sampled token.
  std::optional<ConstraintSettings> constraint;  ///< Unset: the session's.
  std::optional<BudgetSettings> budget;          ///< Unset: the session's `turn_budget`.
  std::string expected_head;  ///< Optional cursor: ABORTED/HEAD_MOVED if the session moved on.
  std::string request_id;
};

/// When a running turn gets what else its user has to say.
enum class SteerDelivery {
  kNextStep,   ///< At the head of its next generation; if it has none, as kAfterTurn.
  kAfterTurn,  ///< As the input of a turn that begins when this one has succeeded.
};

struct SteerTurnRequest {
  std::string session;
  std::string turn;
  std::vector<std::string> input;  ///< As StartTurnRequest::input.
  SteerDelivery delivery = SteerDelivery::kNextStep;
  std::string request_id;
};

/// A place in a session's history: at most one of `turn` and `tokens`; neither: the head, which for
/// a running session is where its running turn began.
struct HistoryPoint {
  std::string turn;               ///< Right after this turn, which has ended.
  std::optional<int64_t> tokens;  ///< Exactly so many tokens of the context. Inside a turn, what it
                                  ///< had written of an item stays in the context, and the turn
                                  ///< counts as cancelled there.
  int64_t timeline = 0;           ///< On this timeline of the session; 0: the current one.
};

struct ForkRequest {
  std::string session;
  HistoryPoint at;
  std::string fork;           ///< Wanted id of the new session; empty: one is made.
  std::string title;          ///< Empty: as the origin's.
  std::string expected_head;  ///< Optional cursor: ABORTED/HEAD_MOVED if the origin moved on.
  std::string request_id;     ///< Optional; a repeat gets the first answer.
  std::string tenant{};       ///< Whom it will count for; empty: whom the origin does.
};

/// What goes back. Of files only what `write` and `edit` of this session changed: what its commands
/// did, or a fork of it, stays.
enum class RewindScope { kConversation, kFiles, kBoth };

struct RewindRequest {
  std::string session;
  HistoryPoint to;             ///< With a timeline alone: that timeline, as it was left.
  bool undo = false;           ///< Instead: the timeline that the current one took over from.
  bool validate_only = false;  ///< Answers what would be, and changes nothing.
  std::string expected_head;
  std::string request_id;
  /// kFiles with `undo`: takes back what the last restore of files did.
  RewindScope scope = RewindScope::kConversation;
};

/// What happens to a file.
enum class FileAction {
  kUnchanged,
  kRestore,   ///< It gets back what it held.
  kDelete,    ///< The session had made it.
  kRecreate,  ///< It was there, and is not.
  kConflict,  ///< Left alone: it isn't as the session left it, so it is somebody else's.
  kNotKept,   ///< Left alone: what it held was too large to keep, or is too long ago.
};

/// "unchanged", "restore", "delete", "recreate", "conflict", "not_kept".
const char* FileActionName(FileAction action);

/// A file that the session changed after the point.
struct FileRestore {
  std::string path;
  FileAction action = FileAction::kUnchanged;
  std::string why;  ///< Of kConflict and kNotKept.
};

/// What a rewind did, or would do. Nothing is lost: the timeline that was left can be returned to.
struct RewindView {
  SessionView session;
  int64_t kept_seq = 0;     ///< The newest event that both timelines have.
  int64_t left_tokens = 0;  ///< Length of the context that was left.
  int64_t left_turns = 0;
  int64_t left_timeline = 0;
  std::vector<FileRestore> files;  ///< By path; none if the scope is the conversation.
  std::vector<std::string> notes;  ///< What was not looked at.
};

struct DeleteRequest {
  std::string session;
  bool validate_only = false;
  std::string expected_head;
  std::string request_id;
};

/// What a delete removed, or would remove.
struct DeleteView {
  std::string session;
  int64_t tokens = 0;  ///< Of the current timeline.
  int64_t turns = 0;
  int64_t timelines = 0;
  int64_t forks = 0;  ///< Sessions that are based on it and keep what they share.
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
  /// Messages that the token limit cut inside a block of calls. None of those calls ran.
  int64_t calls_cut = 0;
  /// While it runs, what it waits for: MODEL, PREFILL, DISK, PROMPT, TOOL, TOOL_HOST, APPROVAL,
  /// SLEEP, SUBAGENT or JOURNAL; which; and since when (Unix milliseconds).
  std::string waiting_on;
  std::string waiting_detail;
  int64_t waiting_since_ms = 0;
  Spend spend;
  BudgetSettings budget;  ///< In force, with what was granted on top.
  /// Steering input that was not delivered, because the turn failed or was cancelled.
  std::vector<std::string> unsent;
  /// Paths of what its calls of write and edit changed, and those of its subagents; sorted, the
  /// first thousand.
  std::vector<std::string> files;
};

/// One event of a session. Durable events have seq > 0 and a payload as journalled.
/// Kinds, durable: session_created, session_forked, session_rewound, session_updated, turn_started,
/// generate, generated, tool_calls, approval_requested, approval_resolved, tool_dispatched,
/// tool_result, tool_results, step_started and step_ended (of a script's other effects: a sleep, an
/// approval, a budget of its own, a fork, a turn of a fork), steered, compaction_started,
/// compacted, generation_dropped (the answer is asked for anew), cancel_requested, turn_finished.
/// Live: progress, delta, snapshot, waiting, heartbeat (every few seconds while a turn runs, with
/// what it waits for), tool_progress (of a running call: what it has written since the last one,
/// how far it is; a few per second, the newest counts). One more tells of the stream itself:
/// `timeline` (payload {"timeline", "kept_seq"}, seq = kept_seq). The session moved to another
/// timeline: what was sent with a higher seq is no longer part of it; the events after kept_seq
/// follow.
struct Event {
  std::string session;
  std::string turn;
  std::string kind;
  std::string payload;  ///< JSON object text.
  std::string cursor;   ///< Of this event, or of the last durable one before it.
  int64_t seq = 0;      ///< 0: live lane.
  int64_t time_ms = 0;
};

struct SearchRequest {
  std::string words;      ///< Found as they stand, letters of either case alike; no operators.
  int64_t hits_max = 50;  ///< At most 1,000.
  /// Also what was said on timelines that rewinds have left.
  bool left_timelines = false;
};

/// A text that contains the words: of a user, of the model, or a title.
struct SearchHit {
  std::string session;
  std::string turn;  ///< Empty for a title.
  std::string kind;  ///< "title", or the event's.
  int64_t seq = 0;   ///< Of the event; 0: a title.
  int64_t time_ms = 0;
  std::string snippet;   ///< What stands around the words.
  int64_t sessions = 1;  ///< That have this event in common: forks share it.
  int64_t timeline = 0;  ///< Number of the left timeline that it stands on; 0: the current one.
};

/// What a session's model remembered for later sessions of its workspace.
struct NoteView {
  std::string note;       ///< Id, "n1", "n2" ...; never used twice.
  std::string workspace;  ///< Real path of the folder.
  std::string session;    ///< By its name then; it may be gone.
  int64_t time_ms = 0;
  std::string text;
};

struct ListNotesRequest {
  std::string workspace;   ///< Real path; empty: of all.
  int64_t page_size = 0;   ///< 0: 100; at most 1,000.
  std::string page_token;  ///< Empty: from the first.
};

/// Where the context of one generation came from.
struct StepReuse {
  std::string turn;
  int64_t step = 0;
  int64_t context_tokens = 0;  ///< After it.
  int64_t reused_ram = 0;
  int64_t reused_disk = 0;
  int64_t recomputed = 0;
  int64_t prefilled = 0;
  int64_t generated = 0;
  int64_t bytes_read = 0;
  double restore_ms = 0;
  double prefill_ms = 0;
  std::vector<std::string> reasons;  ///< Why not more was reused, miss by miss.
};

/// A tool that a session's model is told of.
struct ToolView {
  ToolSpec spec;
  std::string origin;  ///< "builtin", "plugin", "mcp", "http", "host" or "script".
  /// Its plugin is loaded as it was, its server is known, or a host is connected for it.
  bool available = true;
};

/// What sessions may think with.
struct ModelView {
  std::string engine;  ///< As SessionSettings::engine names it; "": the embedded one.
  std::string model;   ///< Folder of the checkpoint, or what the endpoint calls it.
  std::string url;     ///< Of an engine elsewhere.
  /// Of config, weights and tokenizer, and of the arithmetic; "" elsewhere, where nobody can know.
  std::string fingerprint;
  std::string arithmetic_id;
  int64_t context_tokens_max = 0;  ///< Prompt and answer together.
  int64_t vocabulary = 0;          ///< Of the tokenizer that counts.
  int64_t layers = 0;              ///< 0: elsewhere.
};

struct BackupReport {
  std::string path;
  int64_t journal_bytes = 0;
};

struct CompactReport {
  int64_t journal_bytes_before = 0;
  int64_t journal_bytes_after = 0;
  int64_t kv_bytes_before = 0;
  int64_t kv_bytes_after = 0;
};

/// Which sessions may go by themselves; 0: no limit. Pinned sessions and those in use never go.
struct RetentionLimits {
  int64_t unused_ms_max = 0;  ///< Since a session's newest event.
  int64_t bytes_max = 0;      ///< Text and token ids of all sessions; KV has its own quota.
};

struct PruneRequest {
  std::optional<RetentionLimits> limits;  ///< Unset: the runtime's own.
  bool validate_only = false;             ///< Answers what would go, and deletes nothing.
};

/// A session that retention removed, or would remove.
struct PrunedSession {
  std::string session;
  int64_t used_ms = 0;  ///< Unix milliseconds.
  int64_t bytes = 0;    ///< 0: sizes weren't asked for.
  std::string reason;
};

struct PruneView {
  std::vector<PrunedSession> sessions;  ///< The least recently used first.
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
};

struct TokenTrace {
  int64_t begin = 0;
  std::vector<int32_t> ids;
  std::vector<uint64_t> logits_hashes;  ///< 0: not sampled, or not traced. Empty: none in range.
};

/// What an export wrote.
struct ExportView {
  std::string path;
  int64_t bytes = 0;
  int64_t events = 0;
  int64_t tokens = 0;
  int64_t blocks = 0;  ///< KV blocks; `blocks_missing` more were not in the store.
  int64_t blocks_missing = 0;
  int64_t checkpoints = 0;
  std::vector<std::string> notes;
};

struct ImportRequest {
  std::string path;
  std::string session;    ///< Wanted id; empty: the archive's.
  std::string workspace;  ///< Folder for the file tools; empty: none, whatever the archive says.
  /// Take the KV rows of an archive that another installation signed. They can't be checked: wrong
  /// ones give wrong answers, here and in every session that shares their tokens.
  bool trust_kv = false;
  std::string request_id;  ///< Optional; a repeat gets the first answer.
  std::string tenant{};    ///< Whom it will count for; empty: nobody, whatever the archive says.
};

/// What an import took over.
struct ImportView {
  SessionView session;
  int64_t events = 0;
  int64_t tokens = 0;
  int64_t blocks = 0;
  int64_t checkpoints = 0;
  bool kv_taken = false;  ///< false: imported as text; `notes` say why.
  std::vector<std::string> notes;
};

/// Called now and then from the calling thread during long work; false cancels it.
using PortProgress = std::function<bool(int64_t done, int64_t total)>;

struct VerifyReport {
  int64_t sessions = 0;
  int64_t events = 0;
  int64_t tokens = 0;
  int64_t blocks = 0;
  int64_t block_bytes = 0;  ///< As stored, headers included.
  int64_t checkpoints = 0;
  int64_t checkpoint_bytes = 0;
  std::vector<std::string> problems;  ///< Empty: clean.
  int64_t file_changes = 0;           ///< Written down for rewinds.
  int64_t file_contents = 0;          ///< Kept for them.
  int64_t file_content_bytes = 0;
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
  int64_t timelines = 0;
  int64_t timeline_tokens = 0;  ///< Lengths of all timelines of all sessions, added up.
  int64_t journal_tokens = 0;   ///< Stored for that: what timelines share counts once.
  int64_t journal_bytes = 0;
  int64_t kv_blocks = 0;
  int64_t kv_block_bytes = 0;         ///< As stored, headers included.
  double kv_write_amplification = 0;  ///< File bytes written over bytes put, since the start.
  int64_t kv_blocks_found = 0;        ///< Of those that resumes asked for, since the start.
  int64_t kv_blocks_missed = 0;
  int64_t kv_bytes_in_ram = 0;    ///< Sealed blocks.
  int64_t kv_blocks_evicted = 0;  ///< Because of the quota on disk, since the start.

  /// 1: nothing is shared.
  double SharingFactor() const {
    return journal_tokens == 0
               ? 1
               : static_cast<double>(timeline_tokens) / static_cast<double>(journal_tokens);
  }
  double KvBytesPerToken() const {
    const double tokens = static_cast<double>(kv_blocks) * static_cast<double>(block_tokens);
    return tokens == 0 ? 0 : static_cast<double>(kv_block_bytes) / tokens;
  }
};

}  // namespace baleen
