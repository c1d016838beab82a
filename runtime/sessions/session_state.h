// What the control thread keeps of one session that is in use, and of its running turn.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "model/constraint/grammar.h"
#include "model/text/chat_parser.h"
#include "model/text/tokenizer.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/token_list.h"
#include "runtime/remote/chat_answer.h"
#include "runtime/runtime.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/process_bounds.h"
#include "runtime/sessions/approval_json.h"
#include "runtime/sessions/budget_account.h"
#include "runtime/sessions/conversation.h"
#include "runtime/sessions/journal_json.h"
#include "runtime/sessions/network_reach.h"
#include "runtime/sessions/repeat_guard.h"
#include "runtime/sessions/settings_json.h"
#include "runtime/store/journal.h"
#include "runtime/workspace/workspace.h"
#include "runtime/workspace/workspace_editor.h"
#include "tools_sdk/tool_set.h"

namespace baleen {

/// The grammar of all generations with these settings. A plain value.
struct CompiledConstraint {
  std::string tool_choice;
  std::string answer_schema;
  /// Owners: the session, and the constraints of its generations.
  std::shared_ptr<const Grammar> grammar;
};

/// A generation in flight.
struct GenerationState {
  uint64_t job = 0;
  int64_t step = 0;
  int64_t prompt_end = 0;
  std::unique_ptr<StreamingDetokenizer> detokenizer;
  std::unique_ptr<StreamingChatParser> parser;
  GenerateEffect effect;
  std::optional<ConstraintSettings> constraint;  ///< In force.
  /// Set to end its engine job. Owners: this state, and the job.
  std::shared_ptr<std::atomic<bool>> stop = std::make_shared<std::atomic<bool>>(false);
  bool capped = false;  ///< By a budget, below what its effect allows.
  std::string content;  ///< Streamed so far; what a late watcher is shown.
  std::string reasoning;
  ReuseReport reuse;
  // Tokens travel engine -> journal -> watchers. One commit is under way at a time; what arrives
  // meanwhile waits here and goes out together.
  std::vector<int32_t> pending_ids;
  std::vector<uint64_t> pending_hashes;
  bool commit_running = false;
  bool ended = false;  ///< The engine has reported the end.
  JobEnd end = JobEnd::kStop;
  Status status;
  int64_t last_progress_ms = 0;
  // What its wait is told by.
  int64_t prefill_done = 0;
  int64_t prefill_total = 0;
  bool synced = false;    ///< The context is in place, or an engine elsewhere has begun to answer.
  int64_t synced_ms = 0;  ///< Since when.
  std::string disk_wait;  ///< Not empty: it makes room for others until rows come.
  int64_t prefill_begin_ms = 0;
  // Of engines elsewhere.
  std::vector<Message> messages;     ///< What the prompt says.
  AnswerText pending_text;           ///< That of pending_ids.
  std::optional<ChatAnswer> answer;  ///< Once it has come whole.
  std::string engine_wait;           ///< What it waits for there; empty: not elsewhere.
};

/// Calls in flight; results are filled in by index.
struct ToolRunState {
  struct Call {
    bool awaiting = false;    ///< An approval.
    bool dispatched = false;  ///< Journalled so, or on its way to the journal.
    bool started = false;     ///< Its body may have run.
    std::optional<ToolResult> result;
  };

  ToolRunState(int64_t step_number, const CallToolsEffect& effect)
      : step(step_number), calls(effect.calls), verdicts(effect.verdicts), state(calls.size()) {}

  int64_t step = 0;
  std::vector<ToolCall> calls;
  std::vector<CallVerdict> verdicts;  ///< What the script says of them.
  std::vector<Call> state;            ///< Of each call.
  /// Calls that wait for a host, or that a host is working on, by index. `offer` tells the timers
  /// of one offer from those of the next.
  struct HostWait {
    bool handed = false;
    uint64_t offer = 0;
  };
  std::map<size_t, HostWait> at_host;
  /// Set at a call's deadline, and when the turn ends. Owners: this state and the running tools.
  std::vector<std::shared_ptr<std::atomic<bool>>> stop;

  bool AllAnswered() const {
    return std::all_of(state.begin(), state.end(),
                       [](const Call& call) { return call.result.has_value(); });
  }
};

/// What is to happen to calls of a step, by index, once the journal knows of it.
struct CallOrders {
  std::vector<size_t> run;
  std::vector<std::string> fresh;  ///< Ids of those among `run` that were not dispatched before.
  std::vector<std::pair<size_t, ToolResult>> refuse;
};

/// The turn is compacting its context; what waits for that.
struct CompactionState {
  int64_t prompt_begin = 0;              ///< Where the instruction begins.
  std::optional<GenerateEffect> effect;  ///< Goes on afterwards.
  std::optional<CompactEffect> step;     ///< Or it is a step of the script.
};

/// What the user said while the turn ran.
struct Steer {
  std::string id;
  std::string input;
  SteerDelivery delivery = SteerDelivery::kNextStep;
};

/// What a turn waits for, as hosts are told.
struct TurnWait {
  std::string what;
  std::string detail;
  int64_t since_ms = 0;
};

/// Adds what a generation found of its context to its turn's sums.
inline void AddReuse(const ReuseReport& reuse, TurnView* view) {
  view->tokens_reused_ram += reuse.reused_ram;
  view->tokens_reused_disk += reuse.reused_disk;
  view->tokens_recomputed += reuse.recomputed;
  view->tokens_prefilled += reuse.prefilled;
}

/// Whether the session has the built-in tool beside read, list and grep.
inline bool NamesTool(const SessionSettings& settings, std::string_view tool) {
  return std::find(settings.tools.begin(), settings.tools.end(), tool) != settings.tools.end();
}

/// Whether the model must find a tool from outside before it can call it (found_tools.cc).
bool IsDeferred(const SessionSettings& settings, const ToolSpec& tool);

/// Adds paths that were changed to those of a turn.
inline void AddFiles(const std::vector<std::string>& paths, TurnView* view) {
  constexpr size_t kFilesMax = 1000;
  for (const std::string& path : paths) {
    const auto at = std::lower_bound(view->files.begin(), view->files.end(), path);
    if (at == view->files.end() || *at != path) view->files.insert(at, path);
  }
  if (view->files.size() > kFilesMax) view->files.resize(kFilesMax);
}

inline void AddFiles(const ToolResultsEvent& event, TurnView* view) {
  std::vector<std::string> paths;
  for (const ToolResult& result : event.results) {
    for (const ChangedFile& file : result.files) paths.push_back(file.path);
  }
  AddFiles(paths, view);
}

/// What a turn of a fork does, and for whom.
struct Errand {
  std::string text;    ///< AgentOptions::errand; empty: a turn like any other.
  std::string parent;  ///< "SESSION/TURN", from the root to the turn that wants it.
};

/// A budget that the turn's script has opened.
struct ScriptAccount {
  std::string owner;
  BudgetSettings limit;
  Spend before;  ///< Of the turn, when it was opened.
};

/// A turn of a fork that the script wants, until it is told how it ended.
struct ChildRun {
  std::string request_id;  ///< Of the step that wanted it: it is asked for under this.
  ChildTurn wanted;
  bool asked = false;     ///< In this process.
  bool stops = false;     ///< Nobody wants it any more.
  BudgetSettings budget;  ///< What it may spend, and nobody else while it runs.
  size_t accounts = 0;    ///< Of its parent's script, the first so many: it is charged to them.
  std::string turn;       ///< Once it has begun.
  std::optional<ChildTurnEnd> end;

  bool Waits() const { return !asked && !end.has_value(); }
  bool Runs() const { return asked && !end.has_value(); }
};

struct TurnRun {
  uint64_t epoch = 0;    ///< Distinguishes this run from late answers to an earlier one.
  int64_t begun_ms = 0;  ///< Steady; in this process.
  TurnStart start;
  int64_t started_seq = 0;     ///< Of its turn_started.
  int64_t started_tokens = 0;  ///< Length of the context before it.
  int64_t started_ms = 0;      ///< Unix; after a restart.
  TurnView view;
  std::unique_ptr<Agent> agent;
  int64_t step = 0;         ///< Effects performed so far.
  int64_t generations = 0;  ///< Of these, generations.
  std::unique_ptr<GenerationState> generation;
  std::unique_ptr<ToolRunState> tools;
  std::unique_ptr<CompactionState> compaction;
  std::optional<GenerateStart> open_compaction;  ///< That a restart found unfinished.
  std::vector<ApprovalView> approvals;           ///< All that it asked for.
  std::set<std::string> grants;  ///< Tools that may run without asking until it ends.
  RepeatGuard repeats;
  TurnWait wait;
  std::vector<Steer> steers;  ///< Not delivered yet.
  int64_t steered = 0;        ///< How many there have been.
  int64_t tool_calls = 0;
  BudgetSettings budget;                  ///< In force, grants included.
  std::vector<ScriptAccount> accounts;    ///< The outermost first.
  int64_t sleep_until_ms = 0;             ///< Unix; 0: it doesn't sleep.
  std::set<std::string> forks;            ///< Sessions that its script has forked off it.
  Spend forks_spent;                      ///< By their turns that have ended.
  std::vector<ChildRun> children;         ///< In the order in which they were wanted.
  std::vector<std::string> awaited;       ///< By the step at hand: requests of children.
  bool awaits_all = false;                ///< false: the first that ends ends the step.
  int64_t worked_ms = 0;                  ///< Before `working_since_ms`.
  int64_t working_since_ms = -1;          ///< Steady; -1: it waits for somebody.
  std::function<void()> continue_paused;  ///< Once a budget is granted; else null.
  /// Owners: this turn, and whoever runs on its behalf (engine job, tool calls).
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

/// Notes a whole step's results for its turn's repeat guard.
inline void NoteRepeats(const std::vector<ToolCall>& calls, const ToolResultsEvent& results,
                        TurnRun& turn) {
  for (size_t i = 0; i < calls.size() && i < results.results.size(); ++i) {
    turn.repeats.Note(calls[i], results.results[i]);
  }
}

/// One watcher of a session.
struct WatchState {
  uint64_t id = 0;
  EventSubscriber* subscriber = nullptr;
  bool live = true;
  int64_t next_seq = 1;  ///< The next durable event of the current timeline that it has not seen.
  bool told_timeline = true;  ///< false: it has yet to hear that the timeline is another one.
  /// false: what it missed is still to be told. Nothing new comes before that.
  bool caught_up = false;
};

/// A connected tool host.
struct HostState {
  uint64_t id = 0;
  ToolHostSink* sink = nullptr;
};

struct SessionRun {
  SessionRecord record;
  SessionSettings settings;
  SettingsMarks marks;
  /// The workspace that its notes and grants are of: of a worktree the one that it is a copy of.
  const std::string& HomeWorkspace() const {
    return marks.worktree_of.empty() ? settings.workspace : marks.worktree_of;
  }
  SessionState state = SessionState::kIdle;
  Status broken;          ///< Why, for kBroken.
  bool creating = false;  ///< Not in the journal yet.
  bool changing = false;  ///< A rewind, an update, a delete or a pin is on its way to the journal.
  TokenList tokens;       ///< All of the timeline's, once `tokens_loaded`.
  int64_t context_begin = 0;  ///< The model sees those from here on: what was before is compacted.
  std::string context_head;   ///< What its context begins with in place of what was before.
  std::string goal;           ///< What compactions keep.
  std::vector<std::string> notes;
  bool tokens_loaded = false;  ///< Read when a turn needs them: most sessions only lie there.
  bool has_opening = false;    ///< A whole prompt lies in them, so the opening does too.
  int64_t turns = 0;           ///< On the current timeline.
  int64_t timeline_key = 0;    ///< Of the current timeline in the journal.
  int64_t base_key = 0;        ///< Of the timeline that it branched off from; 0: of none.
  int64_t base_tokens = 0;     ///< Tokens that it has of that one.
  /// Where the current timeline branched off, before the token that its base may have sampled but
  /// not computed; 0: it is based on none.
  int64_t fork_position = 0;
  int64_t events_on_way = 0;  ///< To the journal, the newest of its record: nobody has seen them.
  int64_t last_turn = 0;      ///< Highest number of a turn, on any timeline: never used again.
  /// Calls of the context's last message, which the next prompt owes a result each; and the results
  /// that are known of them.
  std::vector<ToolCall> open_calls;
  std::vector<ToolResult> known_results;
  std::vector<GrantView> grants;       ///< Those that hold beyond their turns, on this timeline.
  std::vector<ApprovalEnd> revoked;    ///< What was taken back; also on timelines that were left.
  BudgetSettings budget;               ///< The settings', and what was granted on this timeline.
  std::optional<Spend> spent;          ///< By turns that have ended; read when a budget needs it.
  std::optional<NetworkSeen> network;  ///< On this timeline; read when a call needs it.
  std::unique_ptr<TurnRun> following;  ///< Begins when the running turn's end is journalled.
  /// Null: no file tools. Owners: the session, and tool calls that outlive their cancelled turn.
  std::shared_ptr<const Workspace> workspace;
  ProcessBounds bounds;  ///< Of its commands and plugins.
  /// Null as `workspace`. Owners: as of `workspace`.
  std::shared_ptr<WorkspaceEditor> editor;
  /// bash and its companions; null: the settings don't name it. Owners: as of `workspace`.
  std::shared_ptr<BashTools> bash;
  ToolSet tools;  ///< What the model may call, in order.
  size_t tools_told =
      0;  ///< Of these, what it was told of from the start; find_tools found the rest.
  std::vector<std::string> schema_notes;  ///< SessionView::schema_notes.
  std::vector<std::string> policy_notes;  ///< SessionView::policy_notes.
  /// What its generations were kept to of late (constraint.cc).
  std::vector<CompiledConstraint> constraints;
  Conversation conversation;  ///< Of engines elsewhere.
  std::unique_ptr<TurnRun> turn;
  std::vector<std::unique_ptr<WatchState>> watchers;
  std::map<std::string, HostState> hosts;  ///< By tool name.
  std::vector<std::function<void(const TurnView&)>> turn_waiters;
};

}  // namespace baleen
