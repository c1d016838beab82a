#include "runtime/grpc/resource_names.h"

#include "tools_sdk/utf8.h"

namespace baleen::wire {
namespace {

constexpr char kSessions[] = "sessions/";
constexpr char kTurns[] = "/turns/";
constexpr char kApprovals[] = "/approvals/";
constexpr size_t kIdBytesMax = 63;

bool IsId(std::string_view id) {
  if (id.empty() || id.size() > kIdBytesMax || id.front() == '-') return false;
  for (const char c : id) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
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

Result<TurnName> ParseTurnName(std::string_view name, std::string_view field) {
  const std::string_view middle = kTurns;
  const size_t at = name.find(middle);
  const std::string_view session = name.substr(0, at);
  const std::string_view prefix = kSessions;
  if (at != std::string_view::npos && session.starts_with(prefix) &&
      IsId(session.substr(prefix.size())) && IsId(name.substr(at + middle.size()))) {
    return TurnName{std::string(session.substr(prefix.size())),
                    std::string(name.substr(at + middle.size()))};
  }
  return BadField(field, "'sessions/{id}/turns/{id}'", name);
}

Result<ApprovalName> ParseApprovalName(std::string_view name, std::string_view field) {
  const std::string_view middle = kApprovals;
  const size_t at = name.find(middle);
  const std::string_view session = name.substr(0, at);
  const std::string_view prefix = kSessions;
  if (at != std::string_view::npos && session.starts_with(prefix) &&
      IsId(session.substr(prefix.size())) && IsId(name.substr(at + middle.size()))) {
    return ApprovalName{std::string(session.substr(prefix.size())),
                        std::string(name.substr(at + middle.size()))};
  }
  return BadField(field, "'sessions/{id}/approvals/{id}'", name);
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
