// Runtime: sessions that think, act and survive. The in-process API; gRPC is a thin translation of
// it.
//
// Owns the control, engine, storage and pool threads. Never prints, exits, aborts or installs
// signal actions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine_options.h"
#include "runtime/http_tool_options.h"
#include "runtime/mcp_options.h"
#include "runtime/script.h"
#include "runtime/secret_options.h"
#include "runtime/session.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

class RuntimeObserver;

struct RuntimeOptions {
  std::string data_dir;
  std::string model_path;       ///< Checkpoint folder; empty: DefaultModelPath().
  std::string mode = "native";  ///< "native" or "pure".
  std::string backend = "cpu";
  int threads = 0;                     ///< Of the engine's arithmetic; <= 0: one per core.
  bool map_weights = true;             ///< false: read the files instead (`--no-mmap`).
  int64_t prefill_chunk_tokens = 512;  ///< Per engine tick; longer delays other sequences.
  int64_t checkpoint_interval_tokens = 4096;
  /// Which positions get a checkpoint of the KV cache: "periodic", "full" (every 128 tokens) or
  /// "zero" (none: a resume computes window x layers tokens again over the stored rows).
  std::string checkpoint_policy = "periodic";
  int64_t resident_sequences_max = 8;  ///< Live KV caches; the least recently used goes first.
  /// Sealed blocks of KV that may be in RAM, live or kept for the next resume or fork. Live
  /// sequences that turns work on may exceed it.
  int64_t kv_ram_bytes = int64_t{4} << 30;
  /// Of the KV store on disk; what is over it is evicted, pinned and running sessions apart. 0:
  /// none.
  int64_t kv_disk_bytes = 0;
  /// Of what sessions' files held before `write` and `edit` changed them, so that a rewind can
  /// bring it back. The oldest goes first; 0: nothing is kept.
  int64_t file_history_bytes = int64_t{1} << 30;
  /// A resume begins with what every step reads; other rows come when they are selected, and
  /// behind.
  bool lazy_resume = true;
  int64_t row_wait_ms = 100;  ///< How long a step waits for rows before other sequences go first.
  int tool_threads = 2;
  int64_t tool_wait_ms_max = 10 * 60 * 1000;  ///< For a host tool whose host is away.
  int64_t running_turns_max = 64;
  /// Generations, rounds of calls, forks, sleeps and whatever else a turn waits for: a script that
  /// never ends fails behind so many (RESOURCE_EXHAUSTED/TURN_STEPS).
  int64_t turn_steps_max = 100'000;
  int64_t input_bytes_max = 64 << 20;
  std::vector<RemoteEngineOptions> engines;  ///< Elsewhere; sessions name them.
  /// Shared objects with tools (tools_sdk/README.md): new sessions have them. Each call runs in a
  /// process of its own, in the sandbox of commands; without that for `plugins_unsandboxed`; those
  /// of `plugins_in_process` run in this process, whose fate they share, and which can't close
  /// before their calls have returned. Open fails if one can't be used (NOT_FOUND,
  /// FAILED_PRECONDITION/PLUGIN_UNFIT, FAILED_PRECONDITION: no sandbox on this machine,
  /// ALREADY_EXISTS).
  std::vector<std::string> plugins;
  std::vector<std::string> plugins_unsandboxed;
  std::vector<std::string> plugins_in_process;
  /// Servers of tools: new sessions have those too. A server is begun when the first session is
  /// made or the first call wants it, serves all sessions, and is begun anew when it is gone.
  std::vector<McpServerOptions> mcp_servers;
  /// Declared HTTP tools: new sessions have those, too. And the secrets that they may use.
  std::vector<HttpToolOptions> http_tools;
  std::vector<SecretOptions> secrets;
  /// What the tool web_fetch may ask, in sessions that name it: HOST, "*.DOMAIN" or "*", each
  /// optionally with ":PORT". Addresses that aren't public only where they stand here literally.
  std::vector<std::string> web_fetch_hosts = {"*"};
  /// What scripts may ask by `require "baleen.http"`, in all sessions; as web_fetch_hosts, but none
  /// unless they are named. Redirects to other hosts are told, not followed.
  std::vector<std::string> script_http_hosts;
  std::string tool_host_path;  ///< baleen-tool-host; empty: beside this program or library.
  /// Opens a journal that has lost acknowledged commits, if the earlier state is whole; else that
  /// is refused (DATA_LOSS/JOURNAL_BEHIND).
  bool accept_earlier_journal = false;
  /// Sessions that go by themselves: looked for at the start, every hour and with every upkeep.
  RetentionLimits retention;
  /// Told what retention has deleted, and why; on the upkeep's thread. May be empty.
  std::function<void(const PruneView& pruned)> on_pruned;
  /// Hears figures of the work as it ends; null: nobody. Borrowed until the runtime is gone.
  RuntimeObserver* observer = nullptr;

  Status Validate() const;
};

/// Gets events. Called on the control thread: must not block and must not call the Runtime.
class EventSubscriber {
 public:
  virtual ~EventSubscriber() = default;
  /// false: the subscriber can't keep up; the subscription ends with
  /// RESOURCE_EXHAUSTED/SLOW_CONSUMER.
  virtual bool OnEvent(const Event& event) = 0;
  /// The last call.
  virtual void OnEnd(const Status& status) = 0;
};

/// A running subscription; destruction ends it and waits until no callback runs.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

struct WatchOptions {
  std::string session;
  std::string after;  ///< Cursor; empty: from the first event.
  bool live = true;   ///< Deltas and progress too.
};

/// Serves tools for sessions. Called on the control thread: must not block.
class ToolHostSink {
 public:
  virtual ~ToolHostSink() = default;
  /// false: the host is gone.
  virtual bool OnCall(const std::string& session, const ToolCall& call, int64_t timeout_ms) = 0;
  virtual void OnCancel(const std::string& session, const std::string& call_id) = 0;
};

/// A connected host; destruction disconnects it (open calls wait for a host to come back).
class ToolHostConnection {
 public:
  virtual ~ToolHostConnection() = default;
  /// Answers when the result is journalled; that of a call with effects is on the disk then. Bytes
  /// that aren't UTF-8 are replaced, and what exceeds the tool's limit is cut and said so. Errors:
  /// NOT_FOUND (no such open call for this host).
  virtual Status SubmitResult(const std::string& session, const ToolResult& result) = 0;
};

/// Threads: every method may be called from any thread except from callbacks; each blocks until the
/// control thread has answered (a journal commit, at most).
class Runtime {
 public:
  /// Opens the data directory, loads the model, and continues turns that a crash interrupted.
  static Result<std::unique_ptr<Runtime>> Open(const RuntimeOptions& options);
  /// Stops at the next token; open turns continue at the next Open.
  virtual ~Runtime() = default;

  virtual Result<SessionView> CreateSession(const CreateSessionRequest& request) = 0;
  virtual Result<SessionView> GetSession(const std::string& session) = 0;
  /// Oldest first, after `page_token` ("" = start); `*next_page_token` is empty at the end.
  virtual Result<std::vector<SessionView>> ListSessions(int64_t page_size,
                                                        const std::string& page_token,
                                                        std::string* next_page_token) = 0;
  /// Changes what `mask` names of an idle session's settings, from its next turn on; watchers get a
  /// session_updated event. Settings are the session's, not its timelines': a rewind doesn't take
  /// the change back, a fork has it. A new goal or notes stand in place of those that a compaction
  /// kept, a new budget without what was granted on top of the old one. Errors:
  /// NOT_FOUND/SESSION_UNKNOWN, INVALID_ARGUMENT/BAD_FIELD (a path that is no setting or is fixed
  /// at creation, and values that CreateSession would refuse), FAILED_PRECONDITION/SESSION_BUSY,
  /// ABORTED/HEAD_MOVED.
  virtual Result<SessionView> UpdateSession(const UpdateSessionRequest& request) = 0;
  /// A new session that shares the origin's history up to a point; nothing is copied, and the
  /// origin may be running. Errors: NOT_FOUND/SESSION_UNKNOWN, NOT_FOUND/POINT_UNKNOWN (turn,
  /// timeline), OUT_OF_RANGE/POINT_UNKNOWN (tokens), FAILED_PRECONDITION/SESSION_BUSY (at a running
  /// turn), ALREADY_EXISTS/SESSION_EXISTS, ABORTED/HEAD_MOVED.
  virtual Result<SessionView> ForkSession(const ForkRequest& request) = 0;
  /// Moves an idle session back to a point, or to a timeline that it left. Watchers are told by a
  /// `timeline` event. With files: each in one step, then the conversation; broken off in between,
  /// the same request finishes it. Errors: as ForkSession; FAILED_PRECONDITION/SESSION_BUSY while a
  /// turn runs, FAILED_PRECONDITION/NOTHING_TO_UNDO, FAILED_PRECONDITION/NO_WORKSPACE,
  /// FAILED_PRECONDITION/FILES_NOT_RESTORED (some can't be written; the conversation stays).
  virtual Result<RewindView> RewindSession(const RewindRequest& request) = 0;
  /// Removes an idle session for good; what forks share stays theirs. KV that nobody else needs is
  /// collected behind the answer, beside live sessions. Watchers end with
  /// NOT_FOUND/SESSION_UNKNOWN. Errors: NOT_FOUND/SESSION_UNKNOWN,
  /// FAILED_PRECONDITION/SESSION_BUSY, FAILED_PRECONDITION/SESSION_PINNED, ABORTED/HEAD_MOVED.
  virtual Result<DeleteView> DeleteSession(const DeleteRequest& request) = 0;
  /// A pinned session is never deleted, and its KV never evicted.
  virtual Result<SessionView> PinSession(const std::string& session, bool pinned) = 0;
  /// Brings an idle session's KV into RAM, from disk or by computing it; answers when it is there.
  /// Errors: NOT_FOUND/SESSION_UNKNOWN, FAILED_PRECONDITION/SESSION_BUSY, RESOURCE_EXHAUSTED.
  virtual Result<StepReuse> PrefetchSession(const std::string& session) = 0;
  /// Lets an idle session's KV go from RAM; it stays on disk.
  virtual Result<SessionView> ReleaseSession(const std::string& session) = 0;
  /// Answers when the turn is accepted and synced. Errors: NOT_FOUND/SESSION_UNKNOWN,
  /// FAILED_PRECONDITION/SESSION_BUSY, ABORTED/HEAD_MOVED, RESOURCE_EXHAUSTED.
  virtual Result<TurnView> StartTurn(const StartTurnRequest& request) = 0;
  /// More input for a running turn; answers when it is on the disk. It is never lost: a turn that
  /// succeeds without having read it is followed by one that does, any other's end returns it.
  /// Errors: NOT_FOUND/ITEM_UNKNOWN, FAILED_PRECONDITION/TURN_NOT_STEERABLE (it has ended, or is
  /// ending), INVALID_ARGUMENT/BAD_FIELD, RESOURCE_EXHAUSTED/QUOTA.
  virtual Result<TurnView> SteerTurn(const SteerTurnRequest& request) = 0;
  /// Answers when the wish is on the disk; a turn_finished event always follows, also after a
  /// restart. Calls that have no result get one that says whether their bodies had begun.
  virtual Result<TurnView> CancelTurn(const std::string& session, const std::string& turn) = 0;
  virtual Result<TurnView> GetTurn(const std::string& session, const std::string& turn) = 0;
  /// Blocks until the turn ends or `timeout_ms` passes (DEADLINE_EXCEEDED; the turn goes on).
  virtual Result<TurnView> WaitTurn(const std::string& session, const std::string& turn,
                                    int64_t timeout_ms) = 0;

  /// What waits for an answer, of one session or of all.
  virtual Result<std::vector<ApprovalView>> ListApprovals(const ListApprovalsRequest& request) = 0;
  /// Errors: NOT_FOUND/SESSION_UNKNOWN, NOT_FOUND/ITEM_UNKNOWN.
  virtual Result<ApprovalView> GetApproval(const std::string& session,
                                           const std::string& approval) = 0;
  /// Answers when the answer is on the disk; then the granted calls run. Errors: as GetApproval;
  /// FAILED_PRECONDITION/NOT_AWAITING (it was answered, expired, or its turn ended),
  /// INVALID_ARGUMENT/BAD_FIELD.
  virtual Result<ApprovalView> ResolveApproval(const ResolveApprovalRequest& request) = 0;
  /// What was granted beyond a turn and holds, by session and age. Errors:
  /// NOT_FOUND/SESSION_UNKNOWN.
  virtual Result<std::vector<GrantView>> ListGrants(const ListGrantsRequest& request) = 0;
  /// Why call `call` of turn `turn` ran, waits or was refused; on the current timeline. Errors:
  /// NOT_FOUND.
  virtual Result<DecisionView> ExplainDecision(const std::string& session, const std::string& turn,
                                               const std::string& call) = 0;
  /// Answers, once that is on the disk, with what was taken back; calls that run already go on. A
  /// grant for a workspace goes from the session and its forks alike. No rewind or fork brings it
  /// back. Errors: NOT_FOUND/SESSION_UNKNOWN, NOT_FOUND/ITEM_UNKNOWN,
  /// FAILED_PRECONDITION/SESSION_BUSY (it is being rewound, changed or deleted),
  /// INVALID_ARGUMENT/BAD_FIELD.
  virtual Result<GrantView> RevokeGrant(const RevokeGrantRequest& request) = 0;
  /// Of a session, in the order in which its model is told of them; "": what new ones may have, but
  /// for the tools of hosts. Errors: NOT_FOUND/SESSION_UNKNOWN.
  virtual Result<std::vector<ToolView>> ListTools(const std::string& session) = 0;
  /// The embedded one first.
  virtual Result<std::vector<ModelView>> ListModels() = 0;

  /// Keeps a script under a name, on disk when this returns, with notes of what was noticed in it.
  /// Errors: INVALID_ARGUMENT (it doesn't load), INVALID_ARGUMENT/BAD_FIELD,
  /// RESOURCE_EXHAUSTED/QUOTA.
  virtual Result<ScriptView> PutScript(const PutScriptRequest& request) = 0;
  /// Errors: NOT_FOUND/SCRIPT_UNKNOWN.
  virtual Result<ScriptView> GetScript(const std::string& script) = 0;
  /// By name, behind `after`, at most `scripts_max` (0: all), without their sources.
  virtual Result<std::vector<ScriptView>> ListScripts(int64_t scripts_max,
                                                      const std::string& after) = 0;
  /// Sessions that were made with it keep it. Errors: NOT_FOUND/SCRIPT_UNKNOWN.
  virtual Status DeleteScript(const std::string& script) = 0;

  /// Borrows: subscriber, until the subscription is gone.
  /// A cursor of a timeline that the session has left is good: the first event is then a `timeline`
  /// event, unless the current timeline shares what the cursor saw.
  /// Errors: NOT_FOUND, INVALID_ARGUMENT (a cursor of another session),
  /// OUT_OF_RANGE/CURSOR_EXPIRED.
  virtual Result<std::unique_ptr<Subscription>> Watch(const WatchOptions& options,
                                                      EventSubscriber* subscriber) = 0;
  /// Serves the host tools `tools` (names) of `session`; a second host for the same tool takes
  /// over. Borrows: sink, until the connection is gone.
  virtual Result<std::unique_ptr<ToolHostConnection>> ConnectToolHost(
      const std::string& session, const std::vector<std::string>& tools, ToolHostSink* sink) = 0;

  /// Writes the idle session's history and its KV to the new file `path`, for Import here or
  /// elsewhere. Blocks until it is written; other sessions go on. `progress` may be empty.
  /// Errors: NOT_FOUND/SESSION_UNKNOWN, FAILED_PRECONDITION/SESSION_BUSY (export a fork instead),
  /// ALREADY_EXISTS (`path`), PERMISSION_DENIED, RESOURCE_EXHAUSTED (disk full), CANCELLED.
  virtual Result<ExportView> ExportSession(const std::string& session, const std::string& path,
                                           const PortProgress& progress) = 0;
  /// A new session from an archive. KV of another model or arithmetic, or of an archive that this
  /// installation didn't sign, is left out and computed again at the next turn; `notes` say so.
  /// Errors: NOT_FOUND, DATA_LOSS (damaged, or not an archive), FAILED_PRECONDITION (a newer
  /// version), OUT_OF_RANGE (another tokenizer), ALREADY_EXISTS/SESSION_EXISTS, CANCELLED.
  virtual Result<ImportView> ImportSession(const ImportRequest& request,
                                           const PortProgress& progress) = 0;

  virtual Result<TokenTrace> ReadTokens(const std::string& session, int64_t begin,
                                        int64_t count) = 0;
  /// Hits in titles first, then newest first. The first search after new turns indexes them.
  /// Errors: INVALID_ARGUMENT/BAD_FIELD.
  virtual Result<std::vector<SearchHit>> Search(const SearchRequest& request) = 0;
  /// The generations of the current timeline in order; of one turn, if `turn` isn't empty.
  virtual Result<std::vector<StepReuse>> Explain(const std::string& session,
                                                 const std::string& turn) = 0;
  /// Oldest first; `*next_page_token` is empty at the end. Errors: INVALID_ARGUMENT/BAD_FIELD.
  virtual Result<std::vector<NoteView>> ListNotes(const ListNotesRequest& request,
                                                  std::string* next_page_token) = 0;
  /// Removes a note for good. Errors: NOT_FOUND/ITEM_UNKNOWN.
  virtual Result<NoteView> DeleteNote(const std::string& note) = 0;
  /// Makes `path`, which must not exist, a data directory that holds everything as of now, while
  /// turns go on. It appears complete or not at all. Errors: ALREADY_EXISTS, NOT_FOUND (no parent),
  /// PERMISSION_DENIED, RESOURCE_EXHAUSTED/DISK_FULL.
  virtual Result<BackupReport> Backup(const std::string& path) = 0;
  /// Collects KV that no session needs, and gives back space that deleted sessions left. Commits
  /// wait while the journal is rewritten.
  virtual Result<CompactReport> Compact() = 0;
  /// Deletes the sessions that go beyond limits of age and size, as DeleteSession would; what is
  /// used meanwhile stays. Errors: INVALID_ARGUMENT/BAD_FIELD.
  virtual Result<PruneView> PruneSessions(const PruneRequest& request) = 0;
  /// What all sessions that count for `tenant` come to; nothing for one that nobody has heard of.
  /// Errors: INVALID_ARGUMENT/BAD_FIELD (no name). Cost: as the tenant's timelines, and what was
  /// written since it was asked last; the first call reads all sessions.
  virtual Result<TenantUsage> ReadTenant(const std::string& tenant) = 0;
  /// Walks journal and KV; "" = all sessions.
  virtual Result<VerifyReport> Verify(const std::string& session) = 0;
  virtual Result<RuntimeStats> Stats() = 0;
};

}  // namespace baleen
