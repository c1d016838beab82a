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

/// What was decided about one call, for an audit.
struct DecisionFigures {
  std::string session;
  std::string turn;
  std::string call;
  std::string tool;      ///< Empty: there is none of the name that was asked for.
  std::string decision;  ///< "allow", "ask", "deny" or "invalid"; then "grant" or "deny".
  std::string by;        ///< As DecisionView::decided_by; or who answered an approval.
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
  /// When it is decided, before anything of it happens. On the control thread.
  virtual void OnDecision(const DecisionFigures& /*figures*/) {}
  /// A file tool of the session was refused a path by what confines it: it leads outside, goes
  /// through a link, names no file that may be opened. `why` as the model is told. On a thread of a
  /// pool; must not block.
  virtual void OnPathRefused(const std::string& /*session*/, const std::string& /*turn*/,
                             const std::string& /*call*/, const std::string& /*path*/,
                             const std::string& /*why*/) {}
  /// A process of the session's wanted to connect to a host. `why` empty: it may, to `address`;
  /// else why not, and `host` is empty if its request made no sense. From any thread; must not
  /// block.
  virtual void OnHostDecision(const std::string& /*session*/, const std::string& /*host*/,
                              int /*port*/, const std::string& /*address*/,
                              const std::string& /*why*/) {}
  /// A commit of the journal. On the journal's thread.
  virtual void OnCommit(double seconds, bool synced) = 0;
};

}  // namespace baleen
