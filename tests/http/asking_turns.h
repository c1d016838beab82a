// Turns that send requests to a server of the test, and the questions that come first.
#pragma once

#include <string>

#include "tests/remote/scripted_server.h"
#include "tests/runtime/fixture.h"

namespace baleen {

inline constexpr char kKey[] = "sk-0123456789abcdef";

inline ScriptedReply Says(const std::string& body) {
  ScriptedReply reply;
  reply.type = "text/plain";
  reply.body = body;
  return reply;
}

inline TurnView Begin(Runtime& runtime, const std::string& session, const std::string& text) {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  return Must(runtime.StartTurn(request));
}

/// The turn's text, or why there is none, if it ran without a question.
inline std::string Run(Runtime& runtime, const std::string& session, const std::string& text) {
  const TurnView turn = Begin(runtime, session, text);
  const TurnView view = Must(runtime.WaitTurn(session, turn.turn, kPatienceMs));
  INFO(text << ": " << view.error.ToString());
  return view.text.empty() ? view.error.message() : view.text;
}

/// The question that the turn ends up with; it is answered and the turn waited for.
inline ApprovalView Asked(Runtime& runtime, const std::string& session, const std::string& text,
                          bool grant, GrantScope scope = GrantScope::kOnce) {
  Recorder recorder;
  const std::string head = Must(runtime.GetSession(session)).head_cursor;
  const auto watching = Must(runtime.Watch({session, head, true}, &recorder));
  const TurnView turn = Begin(runtime, session, text);
  INFO(text);
  REQUIRE(recorder.WaitFor("approval_requested"));
  const auto waiting = Must(runtime.ListApprovals({session, false}));
  REQUIRE(waiting.size() == 1);
  ResolveApprovalRequest answer;
  answer.session = session;
  answer.approval = waiting[0].approval;
  answer.grant = grant;
  answer.scope = scope;
  REQUIRE_OK(runtime.ResolveApproval(answer));
  REQUIRE_OK(runtime.WaitTurn(session, turn.turn, kPatienceMs));
  return waiting[0];
}

inline bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace baleen
