// What a script would have said to turns that were recorded without it.
//
// Each turn is run again through a fresh agent, and the recording answers: the model is taken to
// say what it said, and tools to return what they returned. Nothing runs, nothing is written down.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"

namespace baleen {

/// One turn of a session's journal.
struct RecordedTurn {
  std::string turn;
  std::string input;
  std::string errand;               ///< AgentOptions::errand.
  bool first = false;               ///< Of the session.
  uint64_t seed = 0;                ///< Of the script's random numbers.
  std::vector<ToolCall> calls;      ///< Those that ran, waited or were refused, in order.
  std::vector<AgentEvent> answers;  ///< What its steps were answered with, in order.
};

/// What the script does about one call that the model made.
struct DryCall {
  std::string turn;
  ToolCall call;         ///< As the model asked for it.
  std::string decision;  ///< "ask", "deny"; empty: the script lets it be.
  std::string why;
  std::string rewritten;  ///< Arguments that the script made of the model's, if other ones.
  std::optional<std::string> told;  ///< What the model is told of the result, if something else.
};

/// Where a turn was not followed to its end, or in which way it isn't as it was.
struct DryNote {
  std::string turn;
  std::string message;
  bool failed = false;  ///< The script raised, or used up a limit.
};

struct DryRun {
  std::vector<DryCall> calls;  ///< All that the model made, as far as the turns were followed.
  std::vector<DryNote> notes;
};

/// `options`: script, its name, and tools; the turns say the rest. A call of the script's own that
/// the recording doesn't hold gets an ERROR, which a note tells.
/// Errors: as Agent::Create. Threads: any.
Result<DryRun> RunDry(const AgentOptions& options, const std::vector<RecordedTurn>& turns);

}  // namespace baleen
