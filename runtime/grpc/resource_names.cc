#include "runtime/grpc/resource_names.h"

#include <optional>
#include <utility>

#include "tools_sdk/utf8.h"

namespace baleen::wire {
namespace {

constexpr char kSessions[] = "sessions/";
constexpr char kScripts[] = "scripts/";
constexpr char kTurns[] = "/turns/";
constexpr char kApprovals[] = "/approvals/";
constexpr char kGrants[] = "/grants/";
constexpr char kTools[] = "/tools/";
constexpr char kTenants[] = "tenants/";
constexpr char kAllSessions[] = "sessions/-";
constexpr size_t kIdBytesMax = 63;
constexpr size_t kToolNameBytesMax = 64;

bool IsId(std::string_view id) {
  if (id.empty() || id.size() > kIdBytesMax || id.front() == '-') return false;
  for (const char c : id) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
}

/// "sessions/{id}" + middle + "{id}" -> both ids.
std::optional<std::pair<std::string, std::string>> SplitName(std::string_view name,
                                                             std::string_view middle) {
  const std::string_view prefix = kSessions;
  const size_t at = name.find(middle);
  if (at == std::string_view::npos || !name.starts_with(prefix) || at < prefix.size()) {
    return std::nullopt;
  }
  const std::string_view session = name.substr(prefix.size(), at - prefix.size());
  const std::string_view item = name.substr(at + middle.size());
  if (!IsId(session) || !IsId(item)) return std::nullopt;
  return std::pair{std::string(session), std::string(item)};
}

}  // namespace

Status BadField(std::string_view field, std::string_view expected, std::string_view got) {
  // A hostile name may be megabytes long: show its start.
  const std::string shown = ReplaceInvalidUtf8(got.substr(0, 80)) + (got.size() > 80 ? "..." : "");
  return InvalidArgumentError(
      std::string(field) + ": expected " + std::string(expected) + ", got '" + shown + "'",
      kBadField);
}

Status CheckSessionId(std::string_view id, std::string_view field) {
  if (IsId(id)) return OkStatus();
  return BadField(field, "[a-z0-9][a-z0-9-]{0,62}", id);
}

Result<std::string> ParseSessionName(std::string_view name, std::string_view field) {
  const std::string_view prefix = kSessions;
  if (!name.starts_with(prefix) || !IsId(name.substr(prefix.size()))) {
    return BadField(field, "'sessions/{id}' with id [a-z0-9][a-z0-9-]{0,62}", name);
  }
  return std::string(name.substr(prefix.size()));
}

Result<std::string> ParseScriptName(std::string_view name, std::string_view field) {
  const std::string_view prefix = kScripts;
  if (!name.starts_with(prefix) || !IsId(name.substr(prefix.size()))) {
    return BadField(field, "'scripts/{script}' with a name [a-z0-9][a-z0-9-]{0,62}", name);
  }
  return std::string(name.substr(prefix.size()));
}

std::string ScriptNameOf(std::string_view script) { return kScripts + std::string(script); }

Result<TurnName> ParseTurnName(std::string_view name, std::string_view field) {
  const auto parts = SplitName(name, kTurns);
  if (!parts.has_value()) return BadField(field, "'sessions/{id}/turns/{id}'", name);
  return TurnName{parts->first, parts->second};
}

Result<ApprovalName> ParseApprovalName(std::string_view name, std::string_view field) {
  const auto parts = SplitName(name, kApprovals);
  if (!parts.has_value()) return BadField(field, "'sessions/{id}/approvals/{id}'", name);
  return ApprovalName{parts->first, parts->second};
}

Result<ApprovalName> ParseGrantName(std::string_view name, std::string_view field) {
  const auto parts = SplitName(name, kGrants);
  if (!parts.has_value()) return BadField(field, "'sessions/{id}/grants/{id}'", name);
  return ApprovalName{parts->first, parts->second};
}

Result<std::string> ParseNoteName(std::string_view name, std::string_view field) {
  constexpr std::string_view kNotes = "notes/";
  if (!name.starts_with(kNotes) || !CheckSessionId(name.substr(kNotes.size()), field).ok()) {
    return BadField(field, "'notes/{id}'", name);
  }
  return std::string(name.substr(kNotes.size()));
}

Result<std::string> ParseParent(std::string_view name, std::string_view field) {
  if (name == kAllSessions) return std::string();
  return ParseSessionName(name, field);
}

Result<ToolName> ParseToolName(std::string_view name, std::string_view field) {
  const size_t at = name.find(kTools);
  const std::string_view tool =
      at == std::string_view::npos ? "" : name.substr(at + std::string_view(kTools).size());
  auto session = ParseParent(name.substr(0, at), field);
  if (!session.ok() || tool.empty() || tool.size() > kToolNameBytesMax) {
    return BadField(field, "'sessions/{id}/tools/{name}'", name);
  }
  return ToolName{std::move(session).value(), std::string(tool)};
}

Result<std::string> ParseTenantName(std::string_view name, std::string_view field) {
  const std::string_view prefix = kTenants;
  if (name.size() > prefix.size() && name.starts_with(prefix)) {
    return std::string(name.substr(prefix.size()));
  }
  return BadField(field, "'tenants/{client}'", name);
}

std::string TenantNameOf(std::string_view tenant) { return kTenants + std::string(tenant); }

std::string GrantNameOf(std::string_view session, std::string_view approval) {
  return SessionName(session) + kGrants + std::string(approval);
}

std::string ToolNameOf(std::string_view session, std::string_view tool) {
  return (session.empty() ? std::string(kAllSessions) : SessionName(session)) + kTools +
         std::string(tool);
}

std::string ModelNameOf(std::string_view engine) {
  return "models/" + std::string(engine.empty() ? "embedded" : engine);
}

std::string ApprovalNameOf(std::string_view session, std::string_view approval) {
  return SessionName(session) + kApprovals + std::string(approval);
}

std::string SessionName(std::string_view session) { return kSessions + std::string(session); }

std::string TurnNameOf(std::string_view session, std::string_view turn) {
  if (turn.empty()) return {};
  return SessionName(session) + kTurns + std::string(turn);
}

}  // namespace baleen::wire
