// Sessions with a script, and what their turns did.
#pragma once

#include "tests/runtime/calling_session.h"
#include "tests/runtime/waiting_turns.h"

namespace baleen {

inline CreateSessionRequest Scripted(const std::string& id, const std::string& script) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script = script;
  request.settings.script_name = "script.lua";
  request.settings.host_tools = {Spec("pay"), Spec("look")};
  return request;
}

/// Answers every call with its arguments.
class Shop {
 public:
  Shop(Runtime& runtime, const std::string& session) {
    host_.Serve(runtime, session, {"pay", "look"});
  }
  /// The names of the calls, each with a space behind it.
  std::string ran() {
    std::string names;
    for (const std::string& name : host_.ran()) names += name + " ";
    return names;
  }

 private:
  Host host_{[](const ToolCall& call) { return call.arguments; }};
};

inline TurnView End(Runtime& runtime, const std::string& session, const std::string& turn) {
  return Must(runtime.WaitTurn(session, turn, kPatienceMs));
}

inline void Answer(Runtime& runtime, const ApprovalView& approval, bool grant,
                   const std::string& reason = "") {
  ResolveApprovalRequest request;
  request.session = approval.session;
  request.approval = approval.approval;
  request.grant = grant;
  request.reason = reason;
  request.resolved_by = "ann";
  REQUIRE_OK(runtime.ResolveApproval(request));
}

inline int64_t Count(Runtime& runtime, const std::string& session, const std::string& kind) {
  const auto events = AllEvents(runtime, session);
  return std::count_if(events.begin(), events.end(),
                       [&](const Event& event) { return event.kind == kind; });
}

}  // namespace baleen
