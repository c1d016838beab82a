// Approvals: questions that a turn waits with, and the policy that says what is asked.
//
// Public value types. An approval is journalled before anybody sees it, waits as long as it may,
// and is answered by whoever is allowed to, in another process or another week.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools_sdk/message.h"

namespace baleen {

/// One line of a policy. Of all that match a call, the strictest decides: deny, ask, allow.
struct PolicyRule {
  std::string tool = "*";        ///< Name; '*' stands for any run of characters.
  std::string effect;            ///< "PURE", "IDEMPOTENT" or "EFFECT"; empty: any.
  std::string decision = "ask";  ///< "allow", "ask" or "deny".
  std::string why;               ///< Shown to whoever is asked, or told to the model on a denial.
  /// For tools whose argument `command` is shell text: the rule is about its parts. Each simple
  /// command whose first words are these (alternatives for each) ...
  std::vector<std::vector<std::string>> argv{};
  /// ... or each file that a redirect writes; a pattern with '*'. One of the two.
  std::string writes{};
};

/// What a session's calls need before they run. A call that no rule matches is allowed if the tool
/// is built in and pure, or if a host serves it (its body runs in the host's process, which may
/// refuse by itself), or is a declared HTTP tool that is pure; any other, and every call of a
/// plugin or an MCP server, is asked about, and web_fetch for each new host. A tool of a plugin
/// that runs without a sandbox is allowed by a rule with its very name only, not by a pattern.
///
/// A command with rules about its parts (argv, writes) gets the strictest answer over them: it is
/// allowed if each simple command, and each file that a redirect writes, is allowed, and asked
/// about if it can't be told from its text what it runs. Such rules are for prompts; what a command
/// can reach is up to its sandbox.
///
/// What rules allow is asked about all the same where write, edit, apply_diff or a redirect of bash
/// changes a file that agents, CI, editors or git obey: AGENTS.md, .github, .mcp.json, .vscode,
/// baleen.toml and such (tools_sdk/special_files.cc), or the session's own script.
struct PolicySettings {
  std::vector<PolicyRule> rules;
  /// An approval that nobody answers for so long is denied; 0: it waits for ever.
  int64_t approval_ms_max = 0;
  /// The model is told when it gets the same result of the same call for the 3rd and the 5th time
  /// in a row, and such a call isn't run any more after the 7th; a script's own calls are.
  bool repeat_guard = true;
  /// Once what came from the network is in a session's context, calls that a rule allows are asked
  /// about all the same where they would reach a host for the first time or use a secret: it may be
  /// the network that wants them. true: they aren't.
  bool ignore_taint = false;
};

/// A limit that a turn has reached.
struct BudgetAsk {
  std::string owner;     ///< "turn", "session", or an account of the turn's script: "NAME@STEP".
  std::string resource;  ///< "tokens", "wall_ms", "tool_calls" or "micro_usd".
  int64_t limit = 0;
  int64_t spent = 0;
  int64_t extend = 0;  ///< What a grant that says nothing else adds; once granted: what it added.
};

/// kRevoked: it was granted for a scope, and that was taken back later.
enum class ApprovalState { kPending, kGranted, kDenied, kExpired, kCancelled, kRevoked };

/// What a grant covers beyond the calls that were asked about: nothing, or later calls of the same
/// tools in this turn, in this session, or in every session with the same workspace. Beyond the
/// turn, one of bash covers that very command only, and one of web_fetch or http_request its host;
/// one of a call that writes files which agents, CI or editors obey covers these files only, and
/// none is for the workspace.
enum class GrantScope { kOnce, kTurn, kSession, kWorkspace };

/// "PENDING", "GRANTED" ...; "ONCE", "TURN" ...
const char* ApprovalStateName(ApprovalState state);
const char* GrantScopeName(GrantScope scope);

struct ApprovalView {
  std::string session;
  std::string approval;  ///< Id, unique within the session.
  std::string turn;
  std::string requester;        ///< Who asks: "SESSION/TURN", from the root to the subagent.
  std::string subject;          ///< "tool_calls", "budget", "flow" (a step of the script) or
                                ///< "question" (of ask_user; a grant's reason is the answer).
  std::string title;            ///< One line.
  std::string description;      ///< Why it is asked: the rules' words.
  std::vector<ToolCall> calls;  ///< What is asked for; any part of them may be granted.
  /// The exact answers that are taken: "grant:once", "grant:turn", "grant:session",
  /// "grant:workspace", "deny".
  std::vector<std::string> allowed_decisions;
  BudgetAsk budget;          ///< Subject "budget": what is spent; a grant raises the limit.
  int64_t requested_ms = 0;  ///< Unix milliseconds.
  int64_t expires_ms = 0;    ///< 0: never. Then it is denied.
  ApprovalState state = ApprovalState::kPending;
  // Once it isn't pending any more.
  GrantScope scope = GrantScope::kOnce;
  std::vector<std::string> granted_calls;  ///< Ids.
  std::string resolved_by;                 ///< As who answered said; "expiry", "cancel".
  std::string reason;
  int64_t resolved_ms = 0;
  // kRevoked: by whom, as he said, and when.
  std::string revoked_by;
  int64_t revoked_ms = 0;
};

/// Why a call ran, waits or was refused.
struct DecisionView {
  std::string session;
  std::string turn;
  std::string call;
  std::string tool;
  std::string arguments_sha256;  ///< Of their JSON text, in hexadecimal.
  /// "allow", "ask", "deny", or "invalid": no such tool, or not its arguments.
  std::string decision;
  /// "default" (no rule names it), "rule N: DECISION TOOL [EFFECT]" of the session's policy, with
  /// "argv at command K" or "writes" behind it where that is about a part of the call, "command"
  /// (what it runs can't be told from its text), "taint", "script", "guarded file", "repeat guard"
  /// or "schema".
  std::string decided_by;
  std::string why;
  std::string grant;     ///< "ask": "SESSION/APPROVAL" of an earlier answer that let it run.
  std::string approval;  ///< "ask": else whose answer it waited for.
  ApprovalState approval_state = ApprovalState::kPending;
  std::string resolved_by;
  std::string reason;
  int64_t decided_ms = 0;  ///< Unix milliseconds.
  std::string outcome;     ///< As of ToolResult; empty: it has none yet.
};

struct ListApprovalsRequest {
  std::string session;        ///< Empty: of all sessions, pending ones only.
  bool resolved = false;      ///< Also those that have been answered; newest last.
  int64_t approvals_max = 0;  ///< 0: all.
  std::string after{};        ///< "SESSION/APPROVAL" of the last one that was listed; empty: none.
};

struct ResolveApprovalRequest {
  std::string session;
  std::string approval;
  bool grant = false;  ///< false: deny.
  GrantScope scope = GrantScope::kOnce;
  /// Ids of the calls that are granted, the others are denied; empty: all.
  std::vector<std::string> calls;
  int64_t extend = 0;       ///< Of a budget: how much is added to the limit; 0: as was asked.
  std::string reason;       ///< For the record, and for the model on a denial.
  std::string resolved_by;  ///< Who answers; empty: "host".
  std::string request_id;   ///< Optional; a repeat gets the first answer.
};

/// An answer that goes on holding: later calls of these tools run without a question.
struct GrantView {
  std::string session;   ///< In which it was given, or which was forked from that one behind it.
  std::string approval;  ///< Whose answer it is; with the session, the grant's name.
  GrantScope scope = GrantScope::kSession;  ///< Or kWorkspace.
  std::string workspace;                    ///< kWorkspace: the folder.
  std::vector<std::string> tools;
  std::string granted_by;
  std::string reason;
  int64_t granted_ms = 0;  ///< Unix milliseconds.
};

struct ListGrantsRequest {
  std::string session;     ///< All that hold for its calls; empty: those of all sessions.
  int64_t grants_max = 0;  ///< 0: all.
  std::string after;       ///< "SESSION/APPROVAL" of the last one that was listed; empty: none.
};

struct RevokeGrantRequest {
  std::string session;
  std::string approval;
  std::string reason;      ///< For the record.
  std::string revoked_by;  ///< Who takes it back; empty: "host".
  std::string request_id;  ///< Optional; a repeat gets the first answer.
};

}  // namespace baleen
