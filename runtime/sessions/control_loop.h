// ControlLoop: the one thread that owns all session state, and what it does with it.
//
// Everything that happens to a session happens here, in order: requests from hosts, tokens from the
// engine, answers from the journal, results of tools. Each arrives as a closure on the mailbox. The
// agent decides, the loop performs. Split by verb: control_loop.cc (mailbox, commits, sessions),
// turns.cc, generation.cc, tool_calls.cc, watching.cc, recovery.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/text/chat_encoder.h"
#include "runtime/clock.h"
#include "runtime/engine/engine.h"
#include "runtime/runtime.h"
#include "runtime/sessions/session_state.h"
#include "runtime/store/journal.h"
#include "runtime/worker.h"
#include "tools_sdk/tool.h"

namespace baleen {

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
  std::vector<const Tool*> builtin_tools;
};

template <typename T>
using Answer = std::function<void(Result<T>)>;

/// Threads: Post and the EngineListener from any thread; everything else on the control thread,
/// which is the one that calls Run.
class ControlLoop final : public EngineListener {
 public:
  static Result<std::unique_ptr<ControlLoop>> Create(const ControlParts& parts);

  void AttachEngine(Engine* engine) { engine_ = engine; }
  /// Drains the mailbox and the timers until Close.
  void Run();
  /// false: the loop is closed; the work was dropped.
  bool Post(std::function<void()> work) { return mailbox_.Push(std::move(work)); }
  void Close() { mailbox_.Close(); }
  /// Asks running tools to stop; their results no longer matter. Only after Run has returned.
  void StopTools();

  // Requests; each calls `answer` exactly once, from the control thread.
  void CreateSession(const CreateSessionRequest& request, const Answer<SessionView>& answer);
  void GetSession(const std::string& session, const Answer<SessionView>& answer);
  void ListSessions(int64_t page_size, const std::string& after,
                    const Answer<std::vector<SessionView>>& answer);
  void StartTurn(const StartTurnRequest& request, const Answer<TurnView>& answer);
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
  Status SubmitHostResult(const std::string& session, uint64_t host, ToolResult result);
  void ReadTokens(const std::string& session, int64_t begin, int64_t count,
                  const Answer<TokenTrace>& answer);
  int64_t RunningTurns() const;

  /// Continues every turn that was open when the last process ended. A session that can't be read
  /// is left alone and named in `notes`. Errors: the list of sessions can't be read.
  Status RecoverOpenTurns(std::vector<std::string>* notes);

  // EngineListener, on the engine thread.
  void OnProgress(uint64_t job, int64_t tokens_done, int64_t tokens_total) override;
  void OnSynced(uint64_t job, const ReuseReport& report) override;
  void OnWaiting(uint64_t job, int64_t rows) override;
  void OnToken(uint64_t job, int64_t position, int32_t id, uint64_t hash) override;
  void OnDone(uint64_t job, JobEnd end, const Status& status) override;

 private:
  ControlLoop(const ControlParts& parts, SessionEncoder encoder);

  // control_loop.cc
  /// The session, loaded from the journal if need be.
  Result<SessionRun*> Load(const std::string& id);
  Result<std::unique_ptr<SessionRun>> ReadSession(const std::string& id);
  void UnloadIdleSessions();
  /// What the model of such a session is told of: built-ins if it has a workspace, host tools.
  Result<ToolSet> MakeToolSet(const SessionSettings& settings) const;
  Status CheckSettings(const SessionSettings& settings) const;
  /// The session if it is loaded and `epoch` is still its running turn; else null (a late answer).
  SessionRun* FindTurn(const std::string& id, uint64_t epoch);
  EventRecord NewEvent(SessionRun& session, const char* kind, std::string payload);
  /// Writes on the journal worker, then publishes the events and calls `then` here. A failure
  /// breaks the session.
  void Commit(SessionRun& session, JournalBatch batch, Durability durability,
              std::function<void(const Status&)> then);
  void Break(SessionRun& session, const Status& status);
  SessionView View(const SessionRun& session) const;
  void After(int64_t delay_ms, std::function<void()> work);

  // turns.cc
  void Advance(SessionRun& session, const AgentEvent& event);
  void Perform(SessionRun& session, const Effect& effect);
  void FinishTurn(SessionRun& session, TurnState state, std::string text, const Status& error);
  void EndTurnInMemory(SessionRun& session);
  Result<std::unique_ptr<TurnRun>> MakeTurn(const SessionRun& session, const TurnStart& start);

  // generation.cc
  /// Whether the model can be told of these settings and tools.
  Status CheckContext(const SessionSettings& settings, const ToolSet& tools) const;
  void BeginGeneration(SessionRun& session, const GenerateEffect& effect);
  void JournalPrompt(SessionRun& session, const GenerateEffect& effect,
                     const std::vector<int32_t>& prompt);
  /// Starts the engine job of the turn's current step over the session's tokens; tokens after
  /// `prompt_end` were generated before a restart.
  void SubmitJob(SessionRun& session, const GenerateEffect& effect, int64_t prompt_end,
                 int64_t computed_before);
  SessionRun* FindJob(uint64_t job);
  void FlushTokens(SessionRun& session);
  void StreamTokens(SessionRun& session, const std::vector<int32_t>& ids, bool publish);
  void EndGeneration(SessionRun& session);
  void JournalGenerated(SessionRun& session, GeneratedEvent event);

  // tool_calls.cc
  void BeginToolCalls(SessionRun& session, const CallToolsEffect& effect);
  void DispatchCalls(SessionRun& session, bool after_restart);
  void DispatchCall(SessionRun& session, size_t index, bool after_restart);
  void RunBuiltin(SessionRun& session, size_t index, const Tool& tool);
  void OfferToHost(SessionRun& session, size_t index);
  /// The session if call `index` still waits on this very offer; else null.
  SessionRun* FindOffer(const std::string& id, uint64_t epoch, size_t index, uint64_t offer);
  void HostGone(SessionRun& session, const std::string& tool);
  void SetResult(SessionRun& session, size_t index, ToolResult result);
  const Tool* FindBuiltin(const std::string& name) const;

  // watching.cc
  void Publish(SessionRun& session, const EventRecord& record);
  void PublishLive(SessionRun& session, const char* kind, std::string payload);
  void CatchUp(SessionRun& session, WatchState& watcher);
  void DropWatcher(SessionRun& session, uint64_t id, const Status& status);

  // recovery.cc
  Status RecoverSession(const std::string& id);
  void RecoverTurn(SessionRun& session, const EventRecord& started);
  void Replay(SessionRun& session, const std::vector<EventRecord>& events);

  const ControlParts parts_;
  const SessionEncoder encoder_;
  Engine* engine_ = nullptr;
  WorkQueue mailbox_;
  std::multimap<int64_t, std::function<void()>> timers_;  ///< By steady milliseconds.
  std::map<std::string, std::unique_ptr<SessionRun>> sessions_;
  std::map<uint64_t, std::pair<std::string, uint64_t>> jobs_;  ///< job -> session, turn epoch.
  uint64_t next_id_ = 1;                                       ///< Jobs, epochs, watchers, hosts.
};

}  // namespace baleen
