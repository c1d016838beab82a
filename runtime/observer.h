// RuntimeObserver: what a runtime's work comes to, as it ends, for metrics and logs. Figures only:
// no text of users or models passes here.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/session.h"
#include "tools_sdk/status.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// One generation of a turn.
struct GenerationFigures {
  double restore_seconds = 0;  ///< Reading stored KV.
  double prefill_seconds = 0;  ///< Computing what wasn't there.
  double decode_seconds = 0;   ///< From the context's being in place to the last token.
  int64_t tokens = 0;          ///< That were generated.
};

class RuntimeObserver {
 public:
  virtual ~RuntimeObserver() = default;
  /// `view` says how the turn ended and what tokens it took; the text is left out. `seconds` from
  /// its start, or from the restart that it went on after. Called on the control thread: must not
  /// block and must not call the Runtime.
  virtual void OnTurnEnded(const TurnView& view, double seconds) = 0;
  /// On the control thread.
  virtual void OnGeneration(const GenerationFigures& figures) = 0;
  /// Once per call of a tool, when its result goes to the journal. On the control thread.
  virtual void OnToolCall(ToolOutcome outcome) = 0;
  /// A commit of the journal. On the journal's thread.
  virtual void OnCommit(double seconds, bool synced) = 0;
};

}  // namespace baleen
