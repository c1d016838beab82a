// NetworkReach: what a call reaches of the network; NetworkSeen: what a session has reached so far.
//
// The taint rule: what comes from the network may want something of the model. So once it is in a
// context, calls that reach further need leave. Read from the journal's dispatches alone: a
// restart, a fork and a rewind see what happened on their timeline. Pure functions.
#pragma once

#include <set>
#include <string>

#include "runtime/sessions/approval_json.h"

namespace baleen {

/// What is known of a call before it runs.
struct NetworkReach {
  std::string host;    ///< "HOST:PORT", or another name of who is asked; empty: nobody.
  std::string secret;  ///< That goes along; empty: none.
};

struct NetworkSeen {
  std::string host;  ///< The first from which something came; empty: nothing did.
  std::string turn;  ///< In which.
  std::set<std::string> hosts;

  void Add(const ToolDispatch& dispatch);
};

/// Why a call that a rule allows is asked about all the same; empty: it isn't.
std::string TaintOf(const NetworkSeen& seen, const NetworkReach& reach);

}  // namespace baleen
