// ControlLoop: the one thread that owns all session state, and what it does with it.
//
// Everything that happens to a session happens here, in order: requests from hosts, tokens from the
// engine, answers from the journal, results of tools. Each arrives as a closure on the mailbox. The
// agent decides, the loop performs. Split by what is done: control_loop.cc (mailbox, timers,
// commits), session_loading.cc, session_checks.cc, session_verbs.cc (create, get, list),
// session_update.cc, history.cc (fork, delete, pin), rewinds.cc, residence.cc (prefetch, release),
// turns.cc, steering.cc, budgets.cc, generation.cc, elsewhere.cc, compaction.cc, tool_calls.cc,
// decisions.cc, network_reach.cc, tool_hosts.cc, flow_steps.cc, forks.cc, child_turns.cc,
// approvals.cc, grants.cc, found_tools.cc, waits.cc, watching.cc, recovery.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/constraint/vocabulary_trie.h"
#include "model/model.h"
#include "model/text/chat_encoder.h"
#include "runtime/clock.h"
#include "runtime/engine/engine.h"
#include "runtime/remote/remote_engine.h"
#include "runtime/runtime.h"
#include "runtime/sessions/approval_json.h"
#include "runtime/sessions/budget_account.h"
#include "runtime/sessions/cursor.h"
#include "runtime/sessions/guarded_writes.h"
#include "runtime/sessions/path_audit.h"
#include "runtime/sessions/policy.h"
#include "runtime/sessions/session_state.h"
#include "runtime/store/journal.h"
#include "runtime/store/kv_upkeep.h"
#include "runtime/worker.h"
#include "tools_sdk/tool.h"

namespace baleen {

struct ImportPlan;  // runtime/sessions/session_import.h

class CallNews;
class FileHistory;
struct FileKeeper;  // runtime/sessions/file_changes.h
struct FilePlace;   // runtime/store/file_history.h
class LazySandbox;
class NameResolver;
struct NetworkBounds;
class NoteBook;
class OutsideTools;
class ScriptRequests;
class Redactor;
class Worktrees;

/// What the loop works with.
/// Borrows: all pointers, until the loop is gone.
struct ControlParts {
  RuntimeOptions options;
  const Clock* clock = nullptr;
  const Model* model = nullptr;
  Journal* journal_writer = nullptr;  ///< Used on the journal worker only.
  Journal* journal_reader = nullptr;  ///< Used on the control thread only.
  Worker* journal_worker = nullptr;
  Worker* pool = nullptr;
  KvUpkeep* upkeep = nullptr;                 ///< Null: nobody collects.
  std::vector<const Tool*> builtin_tools;     ///< Of every session with a workspace.
  std::vector<const Tool*> optional_tools;    ///< Of those whose settings name them.
  Redactor* redactor = nullptr;               ///< Null: there are no secrets.
  OutsideTools* outside = nullptr;            ///< Null: no session has such tools.
  ScriptRequests* script_requests = nullptr;  ///< Null: scripts have no HTTP.
  Worker* outside_pool = nullptr;       ///< For the calls of both, which wait more than they work.
  FileHistory* file_history = nullptr;  ///< Null: changes of files aren't written down.
  Worktrees* worktrees = nullptr;       ///< Null: no fork has one.
  NoteBook* notes = nullptr;            ///< Null: nothing is remembered.
  /// For "bash", which brings its companions. Owners: also the tools of every session.
  std::shared_ptr<LazySandbox> sandbox;
  /// For proxies of commands. Owners: also the sessions' bounds.
  std::shared_ptr<NameResolver> resolver;
};

template <typename T>
using Answer = std::function<void(Result<T>)>;

/// The method under which the journal keeps answers to StartTurn.
inline constexpr char kStartTurnMethod[] = "StartTurn";

/// The parts of a user's input as one text.
std::string JoinInput(const std::vector<std::string>& parts);
/// Errors: INVALID_ARGUMENT/BAD_FIELD.
Status ValidateInput(const std::string& input, int64_t input_bytes_max);

/// Threads: Post and the EngineListener from any thread; everything else on the control thread,
/// which is the one that calls Run.
class ControlLoop final : public EngineListener, public RemoteListener {
 public:
  static Result<std::unique_ptr<ControlLoop>> Create(const ControlParts& parts);

  void AttachEngine(TokenSource* engine) { engine_ = engine; }
  /// Without one, no session may think elsewhere. Borrows: remote.
  void AttachRemote(RemoteEngine* remote) { remote_ = remote; }
  const SessionEncoder& encoder() const { return encoder_; }
  /// Drains the mailbox and the timers until Close.
  void Run();
  /// Runs one thing that is ready, without waiting: for whoever has one thread for everything.
  /// false: nothing was.
  bool RunReady();
  /// When the next timer is due, in steady milliseconds.
  std::optional<int64_t> NextTimerMs() const;
  /// false: the loop is closed; the work was dropped.
  bool Post(std::function<void()> work) { return mailbox_.Push(std::move(work)); }
  void Close() { mailbox_.Close(); }
  /// Asks running tools to stop; their results no longer matter. Only after Run has returned.
  void StopTools();

  // Requests; each calls `answer` exactly once, from the control thread.
  /// `outside`: tools that the session has from outside the runtime.
  void CreateSession(const CreateSessionRequest& request, const std::vector<ToolSpec>& outside,
                     const Answer<SessionView>& answer);
  void GetSession(const std::string& session, const Answer<SessionView>& answer);
  void ListSessions(int64_t page_size, const std::string& after,
                    const Answer<std::vector<SessionView>>& answer);
  void UpdateSession(const UpdateSessionRequest& request, const Answer<SessionView>& answer);
  void ForkSession(const ForkRequest& request, const Answer<SessionView>& answer);
  void RewindSession(const RewindRequest& request, const Answer<RewindView>& answer);
  void DeleteSession(const DeleteRequest& request, const Answer<DeleteView>& answer);
  void PinSession(const std::string& session, bool pinned, const Answer<SessionView>& answer);
  void PrefetchSession(const std::string& session, const Answer<StepReuse>& answer);
  void ReleaseSession(const std::string& session, const Answer<SessionView>& answer);
  void StartTurn(const StartTurnRequest& request, const Answer<TurnView>& answer);
  void SteerTurn(const SteerTurnRequest& request, const Answer<TurnView>& answer);
  void CancelTurn(const std::string& session, const std::string& turn,
                  const Answer<TurnView>& answer);
  void GetTurn(const std::string& session, const std::string& turn, const Answer<TurnView>& answer);
  /// Answers when the turn has ended.
  void AwaitTurn(const std::string& session, const std::string& turn,
                 const Answer<TurnView>& answer);
  Result<uint64_t> AddWatcher(const WatchOptions& options, EventSubscriber* subscriber);
  void RemoveWatcher(const std::string& session, uint64_t id);
  Result<uint64_t> AddHost(const std::string& session, const std::vector<std::string>& tools,
                           ToolHostSink* sink);
  void RemoveHost(const std::string& session, uint64_t id);
  /// Answers with the call's id when the result is on the disk.
  void SubmitHostResult(const std::string& session, uint64_t host, ToolResult result,
                        const Answer<std::string>& answer);
  void ListApprovals(const ListApprovalsRequest& request,
                     const Answer<std::vector<ApprovalView>>& answer);
  void GetApproval(const std::string& session, const std::string& approval,
                   const Answer<ApprovalView>& answer);
  void ResolveApproval(const ResolveApprovalRequest& request, const Answer<ApprovalView>& answer);
  void ListGrants(const ListGrantsRequest& request, const Answer<std::vector<GrantView>>& answer);
  void RevokeGrant(const RevokeGrantRequest& request, const Answer<GrantView>& answer);
  void ExplainDecision(const std::string& session, const std::string& turn, const std::string& call,
                       const Answer<DecisionView>& answer);
  void ListTools(const std::string& session, const std::vector<ToolSpec>& outside,
                 const Answer<std::vector<ToolView>>& answer);
  void ReadTokens(const std::string& session, int64_t begin, int64_t count,
                  const Answer<TokenTrace>& answer);
  int64_t RunningTurns() const;
  bool IsRunning(const std::string& session) const;
  /// It runs, changes, is watched, or serves tools.
  bool IsInUse(const std::string& session) const;
  /// Schedules the upkeep now and then, every `interval_ms`.
  void RepeatUpkeep(int64_t interval_ms);
  /// The idle session as the journal has it.
  void FindForExport(const std::string& session, const Answer<SessionRecord>& answer);
  /// The session that an earlier import with this request id made. Errors: NOT_FOUND.
  void FindImport(const std::string& request_id, const Answer<SessionView>& answer);
  /// Journals what ReadArchive returned, as a new session. Owners of the plan, which is emptied:
  /// this call, and the requests that wait for an earlier one with its id.
  void AddImport(const ImportRequest& request, const std::shared_ptr<ImportPlan>& plan,
                 const Answer<SessionView>& answer);

  /// Continues every turn that was open when the last process ended. A session that can't be read
  /// is left alone and named in `notes`. Errors: the list of sessions can't be read.
  Status RecoverOpenTurns(std::vector<std::string>* notes);

  // EngineListener, on the engine thread.
  void OnProgress(uint64_t job, int64_t tokens_done, int64_t tokens_total) override;
  void OnSynced(uint64_t job, const ReuseReport& report) override;
  void OnWaiting(uint64_t job, int64_t rows) override;
  void OnToken(uint64_t job, int64_t position, int32_t id, uint64_t hash) override;
  void OnDone(uint64_t job, JobEnd end, const Status& status) override;

  // RemoteListener, on the network thread. (elsewhere.cc)
  void OnText(uint64_t job, const std::vector<int32_t>& ids, const AnswerText& text) override;
  void OnRepeat(uint64_t job, int64_t wait_ms, const Status& why) override;
  void OnAnswer(uint64_t job, const Status& status, const ChatAnswer& answer,
                const std::vector<int32_t>& ids) override;

 private:
  ControlLoop(const ControlParts& parts, SessionEncoder encoder);

  // session_loading.cc
  /// The session, loaded from the journal if need be.
  Result<SessionRun*> Load(const std::string& id);
  Result<std::unique_ptr<SessionRun>> ReadSession(const std::string& id);
  Result<SessionRecord> ReadRecord(const std::string& id);
  /// What of a run stems from the session's record and its current timeline.
  Status ReadTimeline(SessionRun& session);
  Status LoadTokens(SessionRun& session);
  /// What other loaded sessions know of them: those of its base, or of its sisters.
  TokenList KnownTokens(const SessionRun& session) const;
  /// What the last message of the context asked for, and what of its results is known.
  Status LoadOpenCalls(SessionRun& session);
  void UnloadIdleSessions();

  // session_checks.cc
  /// Errors: INVALID_ARGUMENT.
  Result<std::shared_ptr<const NetworkBounds>> MakeNetworkBounds(
      const std::string& session, const std::vector<std::string>& hosts) const;
  /// What the model of such a session is told of: built-ins if it has a workspace, host tools.
  Result<ToolSet> MakeToolSet(const SessionSettings& settings) const;
  /// Errors: INVALID_ARGUMENT/BAD_FIELD naming the tool.
  Status CheckTools(const SessionSettings& settings) const;
  Status CheckSettings(const SessionSettings& settings) const;
  /// Those that UpdateSession may change.
  Status CheckChangeable(const SessionSettings& settings) const;
  /// Runs the script's chunk, and keeps the tools that it declares. Errors: the chunk's, and tools
  /// that can't stand beside the others.
  Status ReadScriptTools(SessionSettings* settings) const;
  /// Sets its policy_notes.
  void NotePolicy(SessionRun& session) const;

  // session_verbs.cc
  SessionView View(const SessionRun& session) const;
  /// `wanted`, if it is good and free; a random one if it is empty.
  Result<std::string> NewSessionId(const std::string& wanted);
  /// Of a session that may not be loaded: a listing must not load them all.
  SessionView ViewOf(const SessionRecord& record);
  /// Journals a new session. It holds its name at once, and is there for verbs when it is stored.
  void MakeSession(std::unique_ptr<SessionRun> run, JournalBatch batch,
                   const Answer<SessionView>& answer);

  // found_tools.cc
  /// What the model is told of, and what find_tools has found for it on the current timeline.
  Status ReadTools(SessionRun& session);
  /// Whether the call is one of find_tools, which is answered here.
  bool IsSearchOfTools(const SessionRun& session, const ToolCall& call) const;
  void AnswerFindTools(SessionRun& session, size_t index);
  /// Makes callable what answers of find_tools among `results` name.
  void AddFoundTools(SessionRun& session, const std::vector<ToolCall>& calls,
                     const std::vector<ToolResult>& results) const;

  // control_loop.cc
  /// The session if it is loaded and `epoch` is still its running turn; else null (a late answer).
  SessionRun* FindTurn(const std::string& id, uint64_t epoch);
  EventRecord NewEvent(SessionRun& session, const char* kind, std::string payload);
  /// Writes on the journal worker, then publishes the events and calls `then` here. A failure
  /// breaks the session.
  void Commit(SessionRun& session, JournalBatch batch, Durability durability,
              std::function<void(const Status&)> then);
  /// Writes on the journal worker, then calls `then` here; touches no session.
  void Write(std::shared_ptr<JournalBatch> batch, Durability durability,
             std::function<void(const Status&)> then);
  void Break(SessionRun& session, const Status& status);
  /// The answer to an earlier request of that id; NOT_FOUND if it is the first.
  Result<std::string> EarlierAnswer(const std::string& request_id, const char* method);
  /// Of the requests with one id, one is carried out at a time: its `reply`, after which those that
  /// came meanwhile begin anew. Empty for these: their `again` runs then.
  template <typename T>
  Answer<T> FirstOnly(const char* method, const std::string& request_id, const Answer<T>& reply,
                      std::function<void()> again);
  void Answered(const std::string& key);
  void After(int64_t delay_ms, std::function<void()> work);

  // history.cc
  /// As ForkSession; `worktree` not empty: the fork works in this copy of the workspace.
  void ForkInto(const ForkRequest& request, const std::string& worktree,
                const Answer<SessionView>& reply);
  /// A point as the journal knows it, and the turn that it cuts through.
  struct Cut {
    TimelinePoint point;
    std::string open_turn;
  };
  Result<Cut> Resolve(const SessionRun& session, const HistoryPoint& point);
  Result<Cut> CutAtHead(const SessionRun& session, const TimelineRecord& timeline);
  Result<Cut> CutAfterTurn(const SessionRun& session, const std::string& turn, int64_t timeline);
  Result<Cut> CutAtTokens(const SessionRun& session, int64_t tokens,
                          const TimelineRecord& timeline);
  Result<TimelineRecord> FindTimeline(const SessionRun& session, int64_t number);
  /// Errors: a turn runs, a change is on its way, or the head moved.
  Status CheckIdle(const SessionRun& session) const;
  Status CheckHead(const SessionRun& session, const std::string& expected) const;
  /// The events with which a timeline begins that branches off at `cut`.
  std::vector<EventRecord> BranchEvents(const std::string& session, const Cut& cut,
                                        const char* kind) const;
  Result<DeleteView> DeleteViewOf(const SessionRun& session);

  // rewinds.cc
  /// A rewind of which is known where it goes.
  struct Rewinding {
    RewindRequest request;
    HistoryPoint to;
    Cut cut;
    RewindView view;
    Answer<RewindView> answer;
  };
  void RewindConversation(SessionRun& session, Rewinding rewinding);
  /// To a rewind to where the session stands: nothing changes, and a repeat gets the same.
  void AnswerUnmoved(SessionRun& session, Rewinding rewinding);
  void SwitchTimeline(SessionRun& session, JournalBatch batch, Rewinding rewinding);
  /// On the pool; then the conversation, if that is wanted, too.
  void RewindFiles(SessionRun& session, Rewinding rewinding);
  void FilesRewound(const std::string& id, Rewinding rewinding,
                    Result<std::vector<FileRestore>> files);
  /// Without a history or a workspace: `history` or `editor` is null.
  FileKeeper KeeperOf(const SessionRun& session) const;
  /// The point, and those before it on the session's own timelines.
  Result<std::vector<FilePlace>> PlacesUpTo(const TimelinePoint& point);
  /// The history of files learns where the session stands now.
  void MarkFiles(const SessionRun& session);

  // residence.cc
  struct Prefetch {
    StepReuse reuse;
    Answer<StepReuse> answer;
  };
  /// false: the job is no prefetch.
  bool NotePrefetch(uint64_t job, const ReuseReport& report);
  bool EndPrefetch(uint64_t job, const Status& status);

  // turns.cc
  /// As StartTurn, which is without an errand.
  void StartErrand(const StartTurnRequest& request, const Errand& errand,
                   const Answer<TurnView>& reply);
  void Advance(SessionRun& session, const AgentEvent& event);
  void Perform(SessionRun& session, const Effect& effect);
  void FinishTurn(SessionRun& session, TurnState state, std::string text, const Status& error);
  /// `following`: the turn that begins at once, or null.
  void EndTurnInMemory(SessionRun& session, std::unique_ptr<TurnRun> following);
  Result<std::unique_ptr<TurnRun>> MakeTurn(const SessionRun& session, const TurnStart& start);

  // steering.cc
  /// What the next generation is to be told, and its ids; DropSteers removes it once that is
  /// journalled.
  std::vector<Message> SteersForStep(const TurnRun& turn, std::vector<std::string>* ids) const;
  void DropSteers(TurnRun& turn, const std::vector<std::string>& ids);
  Status RestoreSteers(TurnRun& turn, const std::vector<EventRecord>& events);
  /// The turn that follows one which has succeeded, if somebody has said more; else null.
  std::unique_ptr<TurnRun> FollowingTurn(const SessionRun& session);
  /// Begins the session's turn, whose turn_started is journalled.
  void BeginTurn(SessionRun& session);

  // budgets.cc
  std::vector<BudgetAccount> Accounts(SessionRun& session);
  /// Whether there is enough for a step; if not, asks for more and performs `then` when it is
  /// granted.
  bool HasBudget(SessionRun& session, const BudgetNeed& need, std::function<void()> then);
  void AskBudget(SessionRun& session, const BudgetShortage& shortage, std::function<void()> then);
  void EndBudgetApproval(SessionRun& session, ApprovalView& approval, JournalBatch batch,
                         const Answer<ApprovalView>& answer);
  void ApplyExtension(SessionRun& session, const ApprovalView& approval);
  /// What all turns before the running one have spent on this timeline, if the session has limits.
  Status ReadSpent(SessionRun& session);
  Spend SpendOf(const SessionRun& session) const;
  /// Stops the turn's clock while it waits for somebody, and starts it again.
  void PauseClock(TurnRun& turn);
  void ResumeClock(TurnRun& turn);
  /// Stops a generation when the time is spent.
  void ArmWall(SessionRun& session);
  /// The generation ended because its budget did: ask, and go on behind its last token.
  bool PauseGeneration(SessionRun& session);

  // generation.cc
  /// Whether the model can be told of these settings and tools.
  Status CheckContext(const SessionSettings& settings, const ToolSet& tools) const;
  void BeginGeneration(SessionRun& session, const GenerateEffect& effect);
  /// Encodes the prompt that `append` makes, on the pool; then `then` here, if the turn still runs.
  void EncodePrompt(SessionRun& session, std::vector<Message> append,
                    std::function<void(SessionRun&, const std::vector<int32_t>&)> then);
  void JournalPrompt(SessionRun& session, const GenerateEffect& effect,
                     const std::vector<int32_t>& prompt, const std::vector<std::string>& steers);
  /// Starts the engine job of the turn's current step over the session's tokens; tokens after
  /// `prompt_end` were generated before a restart.
  void SubmitJob(SessionRun& session, const GenerateEffect& effect, int64_t prompt_end,
                 int64_t computed_before);
  /// Tokens that an answer may have which begins at `begin`.
  int64_t AnswerRoom(const SessionRun& session, int64_t begin) const;
  Status SubmitHere(SessionRun& session, const GenerateEffect& effect, int64_t tokens_max,
                    int64_t computed_before);
  /// For one generation; null if there is no constraint. (constraint.cc)
  Result<std::unique_ptr<TokenConstraint>> MakeConstraint(
      SessionRun& session, const std::optional<ConstraintSettings>& constraint) const;
  SessionRun* FindJob(uint64_t job);
  void FlushTokens(SessionRun& session);
  void StreamTokens(SessionRun& session, const std::vector<int32_t>& ids, bool publish);
  void StreamText(SessionRun& session, const AnswerText& text, bool publish);
  void EndGeneration(SessionRun& session);
  void JournalGenerated(SessionRun& session, GeneratedEvent event, bool calls_cut);

  // elsewhere.cc
  /// The engine that the session thinks with; null: the embedded one, or none of that name.
  const RemoteEngineOptions* EngineOf(const SessionSettings& settings) const;
  Status CheckEngine(const SessionSettings& settings) const;
  /// Errors: FAILED_PRECONDITION/ENGINE_REMOTE: `verb` is about KV that such a session hasn't got.
  Status CheckHasKv(const SessionRun& session, const std::string& verb) const;
  /// Tokens that a context may have.
  int64_t ContextTokensMax(const SessionSettings& settings) const;
  /// Asks the session's engine for the answer to what the journal holds.
  Status SubmitElsewhere(SessionRun& session, const GenerateEffect& effect, int64_t tokens_max);
  /// Journals that the answer so far is asked for anew.
  void DropAnswer(SessionRun& session);
  GeneratedEvent TakeAnswer(SessionRun& session, bool* calls_cut);
  /// Tells whoever generates for the turn to stop.
  void StopGeneration(TurnRun& turn);

  // compaction.cc
  /// Reads what a compaction left on the current timeline.
  Status ReadCompaction(SessionRun& session, const std::optional<EventRecord>& last);
  /// Tokens that the context may have before it is compacted; beyond what it may have at all: it
  /// never is.
  int64_t CompactionRoom(const SessionSettings& settings) const;
  /// Whether an instruction and a summary still fit behind the context. Errors:
  /// FAILED_PRECONDITION/NOTHING_TO_COMPACT, RESOURCE_EXHAUSTED/CONTEXT_FULL.
  Status CheckCompactable(const SessionRun& session) const;
  /// Answers a generation that wants to be asked before its context is compacted.
  void TellCompactionDue(SessionRun& session, const GenerateEffect& effect,
                         const CompactionDueEvent& due);
  /// Appends the instruction and lets the model write the summary; then goes on with `effect`, or
  /// ends the script's `step`.
  void BeginCompaction(SessionRun& session, std::optional<GenerateEffect> effect,
                       std::optional<CompactEffect> step = std::nullopt);
  void JournalInstruction(SessionRun& session, const std::vector<int32_t>& prompt);
  void AskForSummary(SessionRun& session, int64_t prompt_end, int64_t computed_before);
  void EndCompaction(SessionRun& session, std::string summary);
  /// What the first prompt of a compacted context says.
  Result<std::vector<Message>> WithHead(const SessionRun& session,
                                        const std::vector<Message>& append);

  // tool_calls.cc
  void BeginToolCalls(SessionRun& session, const CallToolsEffect& effect);
  /// After a restart: the recovery table.
  void ResumeCalls(SessionRun& session);
  /// Lets the policy decide about every call that nobody has decided about; then as PerformOrders.
  /// `proposal` is journalled with what was decided; null: it has been before.
  void JudgeCalls(SessionRun& session, JournalBatch batch, CallOrders orders,
                  ToolProposal* proposal);
  /// Journals `batch` and that calls are dispatched, then runs and refuses. `stored` may be empty.
  void PerformOrders(SessionRun& session, JournalBatch batch, CallOrders orders,
                     std::function<void(const Status&)> stored);
  void RunCall(SessionRun& session, size_t index);
  void RunLocally(SessionRun& session, size_t index, const Tool& tool);
  void RunOutside(SessionRun& session, size_t index, const std::string& name);
  /// Without keys and secrets.
  std::string Redacted(const std::string& text) const;
  using ToolBody = std::function<ToolResult(const ToolCall& call, CallContext& context)>;
  /// Tells the observer, if there is one; may outlive the session.
  PathRefusal PathRefusalOf(const SessionRun& session, const std::string& call) const;
  /// Has the sandbox of the session's next command made, or not kept any longer.
  void ExpectCommand(SessionRun& session, bool soon);
  void RunBody(SessionRun& session, size_t index, const ToolSpec& spec, Worker* pool,
               ToolBody body);
  /// Marks what came from the network as somebody else's, for the model.
  void FrameResult(const SessionRun& session, const ToolCall& call, ToolResult* result) const;
  /// Journals the result; `stored` (or nothing) is called when it is on the disk, or wasn't taken.
  void SetResult(SessionRun& session, size_t index, ToolResult result,
                 std::function<void(const Status&)> stored = {});
  /// Journals the results of a step whose calls are all answered, and goes on.
  void FinishStep(SessionRun& session, std::function<void(const Status&)> stored);
  /// Adds the step's results to `batch`; calls that have none get one that says what is true.
  ToolResultsEvent EndStep(SessionRun& session, JournalBatch& batch);
  /// The tools that the call is of: the session's, or what scripts alone may call.
  const ToolSet& ToolsFor(const SessionRun& session, const ToolCall& call) const;
  /// Whether scripts alone have a tool of that name: apply_diff, http_request.
  bool IsOfScripts(const SessionRun& session, const std::string& name) const;
  void RunApply(SessionRun& session, size_t index);
  void RunHttpRequest(SessionRun& session, size_t index);
  /// Whether the model asks for the call, not the script.
  static bool IsOfModel(const SessionRun& session, const ToolCall& call);
  /// Null: the session has no built-in of that name.
  const Tool* FindBuiltin(const SessionRun& session, const std::string& name) const;
  /// As it was when the session was made. Null: not loaded now, or another one.
  ToolOrigin OriginOf(const SessionRun& session, const std::string& name) const;

  // decisions.cc
  /// Whether the model wants the call, and may be told that it repeats itself.
  bool GuardsRepeats(const SessionRun& session, const ToolCall& call) const;
  /// On a call of the turn's current step, whose tool there is.
  PolicyVerdict VerdictOn(SessionRun& session, const ToolCall& call);
  /// The guarded files that the call would write.
  std::vector<GuardedWrite> GuardedBy(const SessionRun& session, const ToolCall& call) const;
  static std::string DenialOf(const PolicyVerdict& verdict);
  /// Tells whoever keeps an audit.
  void NoteDecision(const SessionRun& session, const CallJudgement& judgement) const;
  Result<DecisionView> ReadDecision(const SessionRun& session, const std::string& turn,
                                    const std::string& call);
  /// What the journal holds behind the call's proposal: an approval, a result.
  Status ReadAnswerTo(const SessionRun& session, int64_t proposed_seq, DecisionView* view);

  // flow_steps.cc
  /// A step of the script that asks neither the model nor tools: journalled, and ended at once or
  /// later.
  void BeginFlowStep(SessionRun& session, const Effect& effect);
  /// What a step does once its begin is journalled.
  void PerformFlowStep(SessionRun& session, const Effect& effect, int64_t until_ms);
  /// After a restart.
  void ResumeFlowStep(SessionRun& session, const Effect& effect, int64_t until_ms);
  /// Journals `batch` and the step's end, calls `stored` (or nothing), and goes on.
  void EndFlowStep(SessionRun& session, const AgentEvent& event, JournalBatch batch,
                   std::function<void(const Status&)> stored = {});
  void ArmSleep(SessionRun& session, int64_t until_ms);
  /// Opens or ends an account; what its step is answered with.
  AccountEvent ApplyAccount(SessionRun& session, const AccountEffect& effect);
  void RestoreAccount(SessionRun& session, const AccountEffect& effect, const AccountEvent& event);
  void EndFlowApproval(SessionRun& session, const ApprovalView& approval, JournalBatch batch,
                       const Answer<ApprovalView>& answer);

  // forks.cc
  void RunFork(SessionRun& session, const ForkEffect& effect);
  void EndFork(SessionRun& session, const Result<SessionView>& fork, const std::string& worktree);
  /// Copies the workspace on the pool, then forks into the copy.
  void RunWorktreeFork(SessionRun& session, const ForkEffect& effect, ForkRequest request);
  void RunWorktree(SessionRun& session, const WorktreeEffect& effect);

  // child_turns.cc
  static ChildRun* FindChild(TurnRun& turn, const std::string& request_id);
  /// Lets the step at hand wait for what the fork runs.
  static void AwaitChild(TurnRun& turn, const std::string& fork);
  /// Lists what a step wants of forks, and what it waits for; nothing is begun. Twice is as once.
  void NoteChildren(SessionRun& session, const Effect& effect);
  /// Performs the step, a ChildTurnsEffect or a StopTurnsEffect; after a restart, too.
  void RunChildTurns(SessionRun& session, const Effect& effect);
  void StopAwaited(TurnRun& turn);
  /// Begins the children that can, or finds those that were begun before a restart.
  void StartChildren(SessionRun& session);
  void StartChild(SessionRun& session, const ChildRun& child);
  bool MayBegin(SessionRun& session, const ChildRun& child);
  void EndChildTurn(SessionRun& session, const std::string& request_id, ChildTurnEnd end);
  /// Ends the step at hand if what it waits for has ended.
  void TellChildren(SessionRun& session);
  /// The script is told, or was told before a restart: they count, and are no children any more.
  static void TakeEnds(TurnRun& turn, const ChildTurnsEvent& event);
  void CancelChildren(const TurnRun& turn);
  /// What a fork's turn may spend: its share, one of `shares`, of what all that it is charged to
  /// have left. So that turns that run at once can't spend more than that together.
  BudgetSettings ChildBudget(SessionRun& session, const ChildTurn& wanted, size_t shares);
  /// What the step at hand asks for under, the same after a restart.
  static std::string StepRequestId(const SessionRun& session);
  /// "SESSION/TURN", from the root to this one.
  static std::string PathOf(const SessionRun& session);
  /// The forks whose running turns the session's turn waits for.
  std::vector<const SessionRun*> ChildrenOf(const SessionRun& session) const;
  /// The session, its children, and theirs.
  std::vector<const SessionRun*> WithChildren(const SessionRun& session) const;

  // tool_hosts.cc
  void OfferToHost(SessionRun& session, size_t index);
  /// The session if call `index` still waits on this very offer; else null.
  SessionRun* FindOffer(const std::string& id, uint64_t epoch, size_t index, uint64_t offer);
  void HostGone(SessionRun& session, const std::string& tool);

  // network_reach.cc
  NetworkReach ReachOf(const SessionRun& session, const ToolCall& call) const;
  Status ReadNetwork(SessionRun& session);
  /// What these forks have had from the network, the session has from them.
  void NoteNetworkOf(SessionRun& session, const std::vector<std::string>& forks,
                     JournalBatch& batch);
  /// Why the taint rule wants a call asked about; empty: it doesn't.
  std::string TaintQuestion(SessionRun& session, const ToolCall& call);

  // grants.cc
  struct GrantList;
  /// What a grant of such calls is of: the tool, of web_fetch with its host, and beyond the turn of
  /// bash with its command. Of a call that writes guarded files it is of these alone.
  std::string GrantName(const SessionRun& session, const ToolCall& call, GrantScope scope) const;
  /// "SESSION/APPROVAL" of a grant that covers such calls (GrantName); empty: there is none.
  std::string GrantOf(const SessionRun& session, const ToolCall& call) const;
  /// As GrantOf, for this call: of a diff also the approval in which the turn's script has shown
  /// it.
  std::string LeaveFor(const SessionRun& session, const ToolCall& call) const;
  Status ReadGrants(SessionRun& session);
  void AddGrant(SessionRun& session, const ApprovalEnd& end, int64_t granted_ms);
  void RemoveGrant(SessionRun& session, const ApprovalEnd& end);
  void DropGrants(const SessionRun& session);
  /// Adds to the `events` that follow `point` what `from` knows as revoked and `point` doesn't.
  Status CarryRevocations(const SessionRun& from, const TimelinePoint& point,
                          const std::string& session, std::vector<EventRecord>* events);
  void ListAllGrants(const std::shared_ptr<GrantList>& list, const std::string& after,
                     const Answer<std::vector<GrantView>>& answer);
  /// The sessions that have the grant, marked as changing.
  Result<std::vector<SessionRun*>> HoldersOf(const GrantView& grant);
  void Revoke(const GrantView& grant, ApprovalEnd end, JournalBatch batch,
              const Answer<GrantView>& answer);

  // approvals.cc
  void AddApproval(SessionRun& session, ApprovalView approval, JournalBatch& batch);
  /// Whether the call is one of ask_user: each is an approval of its own, whose reason is the
  /// answer.
  bool IsQuestion(const SessionRun& session, const ToolCall& call) const;
  void AskUser(SessionRun& session, const ToolCall& call, JournalBatch& batch);
  void GiveAnswer(SessionRun& session, size_t index);
  void RequestApproval(SessionRun& session, const std::vector<size_t>& calls,
                       const std::vector<std::string>& reasons, JournalBatch& batch);
  void ArmExpiry(SessionRun& session, const ApprovalView& approval);
  ApprovalView* FindPending(SessionRun& session, const std::string& approval);
  void EndApproval(SessionRun& session, ApprovalView& approval, ApprovalEnd end, JournalBatch batch,
                   const Answer<ApprovalView>& answer);
  void CancelApprovals(SessionRun& session, JournalBatch& batch);
  Result<std::vector<ApprovalView>> ReadApprovals(const SessionRun& session);

  // waits.cc
  TurnWait WaitOf(const SessionRun& session) const;
  TurnWait SubagentsWait(const std::vector<const SessionRun*>& children) const;
  /// Tells watchers if the turn waits for something else than before.
  void NoteWait(SessionRun& session);
  void Heartbeat(SessionRun& session);
  /// What a call's body tells its watchers by; may outlive the turn.
  std::function<void(const CallProgress&)> NewsOf(const SessionRun& session, size_t index);
  /// Tells watchers the newest of a call that still runs, now or when it is time to.
  void TellNews(const std::string& id, uint64_t epoch, int64_t step, size_t index,
                const std::shared_ptr<CallNews>& news);
  /// The turn as it stands.
  TurnView ViewTurn(SessionRun& session);

  // watching.cc
  void Publish(SessionRun& session, const EventRecord& record);
  void PublishLive(SessionRun& session, const char* kind, std::string payload);
  void CatchUp(SessionRun& session, WatchState& watcher);
  void DropWatcher(SessionRun& session, uint64_t id, const Status& status);
  /// The newest event up to `seen` that the session's current timeline has too.
  /// Errors: OUT_OF_RANGE/CURSOR_EXPIRED.
  Result<int64_t> KeptSeq(const SessionRun& session, const CursorPoint& seen);
  /// All of a session's watchers go on with the current timeline, after event `kept_seq`.
  void MoveWatchers(SessionRun& session, int64_t kept_seq);

  // recovery.cc
  Status RecoverSession(const std::string& id);
  /// Grants for a whole workspace, which other sessions may ask for before this one is loaded.
  Status RecoverGrants(const std::string& id);
  Status RestoreApprovals(TurnRun& turn, const std::vector<EventRecord>& events);
  void RestoreClock(TurnRun& turn, const std::vector<EventRecord>& events);
  void RestoreCalls(SessionRun& session, const CallToolsEffect& calls,
                    const std::vector<EventRecord>& events);
  void RecoverTurn(SessionRun& session, const EventRecord& started);
  void Replay(SessionRun& session, const std::vector<EventRecord>& events);

  const ControlParts parts_;
  const SessionEncoder encoder_;
  const VocabularyTrie trie_;
  const int64_t instruction_tokens_;  ///< Of a compaction's, with its frame.
  TokenSource* engine_ = nullptr;
  RemoteEngine* remote_ = nullptr;
  WorkQueue mailbox_;
  std::multimap<int64_t, std::function<void()>> timers_;  ///< By steady milliseconds.
  std::map<std::string, std::unique_ptr<SessionRun>> sessions_;
  std::map<uint64_t, std::pair<std::string, uint64_t>> jobs_;  ///< job -> session, turn epoch.
  std::map<uint64_t, Prefetch> prefetches_;                    ///< By job.
  /// Workspace -> session -> what is granted there for the workspace. Of all sessions.
  std::map<std::string, std::map<std::string, std::vector<GrantView>>> workspace_grants_;
  /// "METHOD/request id" of what is carried out -> the repeats that came meanwhile.
  std::map<std::string, std::vector<std::function<void()>>> in_flight_;
  uint64_t next_id_ = 1;  ///< Jobs, epochs, watchers, hosts.
};

template <typename T>
Answer<T> ControlLoop::FirstOnly(const char* method, const std::string& request_id,
                                 const Answer<T>& reply, std::function<void()> again) {
  if (request_id.empty()) return reply;
  const std::string key = std::string(method) + "/" + request_id;
  const auto [first, begins] = in_flight_.try_emplace(key);
  if (!begins) {
    first->second.push_back(std::move(again));
    return nullptr;
  }
  return [this, key, reply](Result<T> result) {
    reply(std::move(result));
    Answered(key);
  };
}

}  // namespace baleen
