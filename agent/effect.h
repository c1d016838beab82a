// What an agent asks of the world (Effect) and what the world tells it (AgentEvent).
//
// Values only. The runtime performs effects and journals events; replaying the same events into a
// fresh agent yields the same effects.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Append messages to the context, then let the model write one assistant message.
struct GenerateEffect {
  std::vector<Message> append;  ///< User and tool messages only; in order.
  int64_t tokens_max = 0;       ///< 0: the turn's default.
  std::optional<float> temperature;
  std::optional<uint64_t> seed;
  // What the generation is kept to; unset: the turn's (runtime/session.h, ConstraintSettings).
  std::optional<std::string> tool_choice;
  std::optional<std::string> answer_schema;
  std::optional<int64_t> thinking_tokens;
  /// Where the context would have to be compacted first, nothing is done; answered by a
  /// CompactionDueEvent.
  bool asks_to_compact = false;
  /// Not empty: the context is not compacted, and why. While there is room.
  std::string refuses_compaction = {};
};

/// What the default loop asks first: the user says `text`.
GenerateEffect UserSays(std::string_view text);

/// What the script says of one call. It can only tighten what the session's policy says.
struct CallVerdict {
  std::string call_id;
  bool deny = false;  ///< false: somebody must be asked.
  std::string why;
};

/// Run these calls; results come back in the same order. Of a tool that the script declares, the
/// result says whether its body may run: the script runs it.
struct CallToolsEffect {
  std::vector<ToolCall> calls;
  std::vector<CallVerdict> verdicts = {};  ///< Of some of the calls, in their order.
};

/// Wait so long, across restarts; 0: only tell the time. Answered by a ClockEvent.
struct SleepEffect {
  int64_t ms = 0;
};

/// Wait until somebody grants or denies this. Answered by an ApprovalEvent.
struct ApproveEffect {
  std::string title;
  std::string description;
};

/// From here to its end, what is spent is also charged to an account of this turn; 0: no limit.
/// Accounts nest. Answered by an AccountEvent.
struct AccountEffect {
  bool opens = true;  ///< false: the innermost one ends, and the other members say nothing.
  std::string name;
  int64_t tokens = 0;
  int64_t wall_ms = 0;
  int64_t tool_calls = 0;
  int64_t micro_usd = 0;
};

/// The turn is over.
struct FinishEffect {
  std::string text;
};

/// Make a session that goes on from the turn's context as it is now. Answered by a ForkedEvent.
struct ForkEffect {
  std::string label;
  bool clean = false;  ///< It begins with an empty context instead.
  /// Whether it works in a copy of the workspace: kAll has what ignore rules leave out, too.
  enum class Worktree { kNone, kTracked, kAll };
  Worktree worktree = Worktree::kNone;
};

/// What a fork has changed in its worktree; or be done with that. Answered by a WorktreeEvent.
struct WorktreeEffect {
  std::string session;
  bool removes = false;
};

/// Put a summary in place of the context. Answered by a CompactedEvent.
struct CompactEffect {
  std::string keep;  ///< A note that stays whole; may be empty.
};

/// What one of these is to do as a turn of its own, which counts as spent by this one.
struct ChildTurn {
  std::string session;
  bool runs = false;  ///< It was asked for before, and has not ended: nothing else is said of it.
  std::string text;
  std::string errand;  ///< AgentOptions::errand.
  // What it may spend; 0: as much as this turn has left.
  int64_t tokens = 0;
  int64_t wall_ms = 0;
  int64_t tool_calls = 0;
  int64_t micro_usd = 0;
};

/// Let forks run these turns at once, a fork no more than one. Answered by a ChildTurnsEvent when
/// one of them has ended; the others run on, whatever is asked for next.
struct ChildTurnsEffect {
  std::vector<ChildTurn> turns;
};

/// Stop the turns that these forks run. Answered by a ChildTurnsEvent when all have ended.
struct StopTurnsEffect {
  std::vector<std::string> sessions;
};

using Effect = std::variant<GenerateEffect, CallToolsEffect, SleepEffect, ApproveEffect,
                            AccountEffect, ForkEffect, ChildTurnsEffect, FinishEffect,
                            WorktreeEffect, CompactEffect, StopTurnsEffect>;

/// A turn begins with what the user said.
struct UserTurnEvent {
  std::string text;
};

enum class FinishReason { kStop, kLength, kToolCalls };

struct GeneratedEvent {
  Message message;  ///< Role assistant. Tool calls carry ids.
  FinishReason reason = FinishReason::kStop;
  std::string parse_error;  ///< Not empty: the text did not parse; `message.content` holds it raw.
  int64_t tokens = 0;
};

struct ToolResultsEvent {
  std::vector<ToolResult> results;
};

struct ClockEvent {
  int64_t unix_ms = 0;
};

struct ApprovalEvent {
  bool granted = false;
  std::string by;
  std::string reason;
};

/// What had been spent of the turn when the account was opened; when it ends, within it.
struct AccountEvent {
  int64_t tokens = 0;
  int64_t wall_ms = 0;
  int64_t tool_calls = 0;
  int64_t micro_usd = 0;
};

struct ForkedEvent {
  std::string session;        ///< Empty: `error` says why there is none.
  std::string worktree = {};  ///< What was copied for it, and what wasn't.
  std::string error = {};
};

struct WorktreeEvent {
  std::string diff;
  std::string error;  ///< Not empty: there is no diff, and why.
};

/// A generation wants a compaction first.
struct CompactionDueEvent {
  int64_t tokens = 0;      ///< That the context would have.
  int64_t tokens_max = 0;  ///< That it may have at most.
};

struct CompactedEvent {
  std::string summary;
  std::string error;  ///< Not empty: the context is as it was, and why.
};

/// How a child's turn ended.
struct ChildTurnEnd {
  bool succeeded = false;
  std::string text;
  std::string error;  ///< Why it did not succeed.
  int64_t tokens = 0;
  int64_t wall_ms = 0;
  int64_t tool_calls = 0;
  int64_t micro_usd = 0;
  std::vector<std::string> files = {};  ///< Paths of what it changed.
};

struct ChildTurnsEvent {
  /// In the order of the effect's turns; unset: it still runs. One at least has ended.
  std::vector<std::optional<ChildTurnEnd>> ends;
};

using AgentEvent = std::variant<UserTurnEvent, GeneratedEvent, ToolResultsEvent, ClockEvent,
                                ApprovalEvent, AccountEvent, ForkedEvent, ChildTurnsEvent,
                                WorktreeEvent, CompactedEvent, CompactionDueEvent>;

/// Messages as a JSON array, all members of each. Errors: as AgentEventFromJson.
std::string MessagesToJson(const std::vector<Message>& messages);
Result<std::vector<Message>> MessagesFromJson(std::string_view json);

/// JSON text with a "kind" member; stable member order, so that equal values give equal text.
/// What is empty or zero is left out.
std::string EffectToJson(const Effect& effect);
/// Whether `recorded`, text that this or an older EffectToJson gave, is of an equal effect.
bool IsRecordedEffect(const Effect& effect, std::string_view recorded);
/// The calls of a CallToolsEffect's JSON text. Errors: INVALID_ARGUMENT naming the member.
Result<std::vector<ToolCall>> CallsOfEffect(std::string_view json);
std::string AgentEventToJson(const AgentEvent& event);
/// Errors: INVALID_ARGUMENT naming the member. Sizes are bounded by the caller.
Result<AgentEvent> AgentEventFromJson(std::string_view json);

}  // namespace baleen
