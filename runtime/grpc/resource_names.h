// Names of sessions and turns on the wire, and the error for a field that is not what it should be.
//
// Knows no messages. Used by convert.cc and by server and client of this folder.
#pragma once

#include <string>
#include <string_view>

#include "tools_sdk/status.h"

namespace baleen::wire {

inline constexpr char kBadField[] = "BAD_FIELD";
/// INVALID_ARGUMENT/BAD_FIELD; shows the start of `got`.
Status BadField(std::string_view field, std::string_view expected, std::string_view got);

struct TurnName {
  std::string session;
  std::string turn;
};

struct ApprovalName {
  std::string session;
  std::string approval;
};

struct ToolName {
  std::string session;  ///< Empty: "sessions/-".
  std::string tool;
};

/// "sessions/{id}" -> id, [a-z0-9][a-z0-9-]{0,62}. `field` is for the message.
Result<std::string> ParseSessionName(std::string_view name, std::string_view field);
/// "sessions/{id}/turns/{id}"; turn ids as session ids.
Result<TurnName> ParseTurnName(std::string_view name, std::string_view field);
/// "sessions/{id}/approvals/{id}"; approval ids as session ids.
Result<ApprovalName> ParseApprovalName(std::string_view name, std::string_view field);
/// "sessions/{id}/grants/{id}": a grant goes by the id of its approval.
Result<ApprovalName> ParseGrantName(std::string_view name, std::string_view field);
/// "sessions/{id}/tools/{name}", or of "sessions/-".
Result<ToolName> ParseToolName(std::string_view name, std::string_view field);
/// "scripts/{script}"; names as session ids.
Result<std::string> ParseScriptName(std::string_view name, std::string_view field);
/// "notes/{id}"; note ids as session ids.
Result<std::string> ParseNoteName(std::string_view name, std::string_view field);
/// "sessions/{id}", or "sessions/-", which is empty then.
Result<std::string> ParseParent(std::string_view name, std::string_view field);
/// Errors: INVALID_ARGUMENT/BAD_FIELD, as ParseSessionName but without "sessions/".
Status CheckSessionId(std::string_view id, std::string_view field);

std::string SessionName(std::string_view session);
/// "" for an empty turn.
std::string TurnNameOf(std::string_view session, std::string_view turn);

std::string ApprovalNameOf(std::string_view session, std::string_view approval);
std::string GrantNameOf(std::string_view session, std::string_view approval);
std::string ScriptNameOf(std::string_view script);
std::string ToolNameOf(std::string_view session, std::string_view tool);
/// "tenants/{client}": whatever the file of clients may call one.
Result<std::string> ParseTenantName(std::string_view name, std::string_view field);
std::string TenantNameOf(std::string_view tenant);
/// "models/embedded" for an empty one.
std::string ModelNameOf(std::string_view engine);

}  // namespace baleen::wire
