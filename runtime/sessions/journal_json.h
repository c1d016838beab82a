// The JSON of the journal's events; settings_json.h has that of sessions' settings.
//
// On-disk shapes, version 1: members may be added, never renamed. Reading is strict about types and
// lenient about unknown members.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/effect.h"
#include "runtime/engine/engine.h"
#include "runtime/session.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Kinds of durable events. Persisted: don't rename.
namespace event_kind {
inline constexpr char kSessionCreated[] = "session_created";
inline constexpr char kSessionForked[] = "session_forked";
inline constexpr char kSessionRewound[] = "session_rewound";
inline constexpr char kSessionUpdated[] = "session_updated";
inline constexpr char kTurnStarted[] = "turn_started";
inline constexpr char kGenerate[] = "generate";
inline constexpr char kGenerated[] = "generated";
inline constexpr char kGenerationDropped[] = "generation_dropped";
/// Has the shape of kGenerate: the instruction was appended, the summary is on its way.
inline constexpr char kCompactionStarted[] = "compaction_started";
inline constexpr char kCompacted[] = "compacted";
inline constexpr char kToolCalls[] = "tool_calls";
inline constexpr char kToolDispatched[] = "tool_dispatched";
inline constexpr char kToolResult[] = "tool_result";
inline constexpr char kToolResults[] = "tool_results";
inline constexpr char kApprovalRequested[] = "approval_requested";
inline constexpr char kApprovalResolved[] = "approval_resolved";
inline constexpr char kStepStarted[] = "step_started";
inline constexpr char kStepEnded[] = "step_ended";
inline constexpr char kSteered[] = "steered";
inline constexpr char kCancelRequested[] = "cancel_requested";
inline constexpr char kTurnFinished[] = "turn_finished";
// Live lane.
inline constexpr char kProgress[] = "progress";
inline constexpr char kDelta[] = "delta";
inline constexpr char kSnapshot[] = "snapshot";
inline constexpr char kWaiting[] = "waiting";
inline constexpr char kHeartbeat[] = "heartbeat";
inline constexpr char kToolProgress[] = "tool_progress";
// Of the stream itself.
inline constexpr char kTimeline[] = "timeline";
}  // namespace event_kind

/// The turn that a payload begins with, as those of all events of turns do; empty: none.
std::string TurnOf(std::string_view payload);

/// "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED".
const char* TurnStateName(TurnState state);

/// A turn as it began.
struct TurnStart {
  std::string turn;
  std::string input;
  SamplingSettings sampling;
  int64_t tokens_max = 0;
  bool trace_logits = false;
  /// Unset: begun by a version whose generations had no constraint, and goes on without.
  std::optional<ConstraintSettings> constraint;
  BudgetSettings budget;
  /// "COMPACT": only that; the input is a note to pin.
  std::string trigger = "USER";  ///< "STEER": what was said while the turn before ran.
  std::string errand;            ///< Of a fork's turn: AgentOptions::errand; else empty.
  std::string parent;            ///< Of a fork's turn: whose step it is, "SESSION/TURN/...".
};
std::string TurnStartToJson(const TurnStart& start);
Result<TurnStart> TurnStartFromJson(std::string_view json);

/// Step `step` of a turn: the prompt suffix of a generation was appended.
struct GenerateStart {
  std::string turn;
  int64_t step = 0;
  /// EffectToJson, for the divergence check at replay. Empty: the user says the turn's input, which
  /// turn_started holds.
  std::string effect;
  int64_t prompt_begin = 0;         ///< First token of the suffix.
  int64_t prompt_end = 0;           ///< Position of the first sampled token.
  std::vector<std::string> steers;  ///< Ids of what the user said meanwhile and the suffix tells.
  /// What the prompt says, for engines elsewhere, which are told in messages; else empty.
  std::vector<Message> messages;
};
std::string GenerateStartToJson(const GenerateStart& start);
Result<GenerateStart> GenerateStartFromJson(std::string_view json);

/// An answer that broke off and is asked for anew, since an engine elsewhere can't go on behind a
/// token: its tokens stay in the journal, and belong to no message.
struct GenerationDrop {
  std::string turn;
  int64_t step = 0;
  int64_t tokens_begin = 0;
  int64_t tokens_end = 0;
};
std::string GenerationDropToJson(const GenerationDrop& drop);
Result<GenerationDrop> GenerationDropFromJson(std::string_view json);

/// From `context_begin` on, the model sees goal, notes and summary in place of what was before.
struct CompactionEnd {
  std::string turn;
  int64_t step = 0;
  int64_t reopen_tokens = 0;  ///< A rewind or fork to so many tokens has the whole context again.
  int64_t context_begin = 0;
  std::string goal;
  std::vector<std::string> notes;
  std::string summary;
  ReuseReport reuse;
  int64_t revision = 0;  ///< Of the settings.
};
std::string CompactionEndToJson(const CompactionEnd& end);
Result<CompactionEnd> CompactionEndFromJson(std::string_view json);

/// A step of a script that is neither a generation nor calls (kind step_started).
struct StepStart {
  std::string turn;
  int64_t step = 0;
  std::string effect;    ///< EffectToJson.
  int64_t until_ms = 0;  ///< Of a sleep: its end, Unix.
};
std::string StepStartToJson(const StepStart& start);
Result<StepStart> StepStartFromJson(std::string_view json);

/// A step's answer (kinds generated, tool_results and step_ended): the event that the agent was
/// given. Kind tool_result has the same shape: one result, while others of the step are still
/// awaited.
struct StepAnswer {
  std::string turn;
  int64_t step = 0;
  AgentEvent event;
  ReuseReport reuse;       ///< `generated` only.
  bool calls_cut = false;  ///< `generated` only: the token limit cut a block of calls.
};
std::string StepAnswerToJson(const StepAnswer& answer);
Result<StepAnswer> StepAnswerFromJson(std::string_view json);

/// What was decided about a call when it was proposed, as DecisionView says it.
struct CallJudgement {
  std::string call;
  std::string decision;
  std::string by;
  std::string why;
  std::string grant;
};

/// Calls that the agent asks for.
struct ToolProposal {
  std::string turn;
  int64_t step = 0;
  std::string effect;  ///< EffectToJson.
  /// Journals of before there were proposals: the bodies of all calls may have run.
  bool dispatched = false;
  /// Of the calls that were not simply allowed because no rule names them.
  std::vector<CallJudgement> judged;
};
std::string ToolProposalToJson(const ToolProposal& proposal);
Result<ToolProposal> ToolProposalFromJson(std::string_view json);

/// What the user said while a turn ran (kind steered).
struct SteerInput {
  std::string turn;
  std::string steer;  ///< Id within the turn.
  std::string input;
  SteerDelivery delivery = SteerDelivery::kNextStep;
};
std::string SteerInputToJson(const SteerInput& steer);
Result<SteerInput> SteerInputFromJson(std::string_view json);

std::string TurnEndToJson(const TurnView& turn);
Result<TurnView> TurnEndFromJson(std::string_view session, std::string_view json);

/// What a repeated request is answered with: the id that the first one made.
std::string AnswerJson(std::string_view id);
std::string IdFromAnswer(std::string_view json);

/// Where a timeline branched off (kinds session_forked and session_rewound).
struct BranchOrigin {
  std::string session;
  int64_t timeline = 1;
  int64_t seq = 0;     ///< Its newest event that is shared.
  int64_t tokens = 0;  ///< Its token ids that are shared.
};
std::string BranchOriginToJson(const BranchOrigin& origin);
Result<BranchOrigin> BranchOriginFromJson(std::string_view json);

/// The first answer to a delete, for its repeats.
std::string DeleteViewToJson(const DeleteView& view);
Result<DeleteView> DeleteViewFromJson(std::string_view json);
std::string RewindViewToJson(const RewindView& view);
Result<RewindView> RewindViewFromJson(std::string_view json);

std::string TimelineToJson(int64_t timeline, int64_t kept_seq);

// Live payloads.
std::string ProgressToJson(std::string_view phase, int64_t done, int64_t total, double rate,
                           double eta_s);
std::string DeltaToJson(std::string_view item, int64_t offset, std::string_view content,
                        std::string_view reasoning);
std::string WaitingToJson(std::string_view what, std::string_view detail);
std::string HeartbeatToJson(std::string_view what, std::string_view detail, int64_t since_ms);

}  // namespace baleen
