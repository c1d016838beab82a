// Grants that hold beyond their turn: read from the events of approvals, listed, and taken back. A
// revocation is an event, too, and goes with the session wherever it is moved or forked.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "model/checkpoint/fingerprint.h"
#include "runtime/http_tools/script_requests.h"
#include "runtime/http_tools/web_fetch.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/diff_apply.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

constexpr char kRevokeMethod[] = "RevokeGrant";

bool Covers(const GrantView& grant, const std::string& tool) {
  return std::find(grant.tools.begin(), grant.tools.end(), tool) != grant.tools.end();
}

/// Forks have the grants of before, each under their own name. Ids of approvals may come again on
/// another timeline, so the time counts, too.
bool IsSame(const GrantView& grant, const std::string& approval, int64_t granted_ms) {
  return grant.approval == approval && grant.granted_ms == granted_ms;
}

bool IsRevoked(const std::vector<ApprovalEnd>& revoked, const ApprovalEnd& end) {
  return std::any_of(revoked.begin(), revoked.end(), [&](const ApprovalEnd& known) {
    return known.approval == end.approval && known.granted_ms == end.granted_ms;
  });
}

/// Whether the text has the diff whole, as the member `diff` of an f:approve.
bool ShowsDiff(std::string_view text, std::string_view diff) {
  constexpr std::string_view kMember = "diff: ";
  const std::string member = std::string(kMember) + std::string(diff);
  for (size_t at = text.find(member); at != std::string_view::npos;
       at = text.find(member, at + 1)) {
    const size_t end = at + member.size();
    const bool begins = at == 0 || text[at - 1] == '\n';
    if (begins && (end == text.size() || text[end] == '\n')) return !diff.empty();
  }
  return false;
}

/// A text as a grant names it: whole, or as much of it as tells which it was.
std::string NameOfText(const std::string& name) {
  constexpr size_t kShown = 160;
  if (name.size() <= kShown) return name;
  const std::string digest = Sha256Hex(std::as_bytes(std::span(name)));
  return std::string(Utf8Prefix(name, kShown)) + "... (SHA-256 " + digest + ")";
}

std::string NameOfCommand(const std::string& arguments) {
  const auto json = nlohmann::json::parse(arguments, nullptr, false);
  const auto text = [&](const char* member) {
    const bool there = json.is_object() && json.contains(member) && json.at(member).is_string();
    return there ? json.at(member).get<std::string>() : std::string();
  };
  std::string name = text("command");
  if (const std::string folder = text("workdir"); !folder.empty()) name += " (in " + folder + ")";
  return NameOfText(name);
}

std::string NameOfFiles(const std::vector<GuardedWrite>& writes) {
  std::string names;
  for (const GuardedWrite& write : writes) names += (names.empty() ? "" : ", ") + write.path;
  return NameOfText(names);
}

Status NoGrant(const std::string& session, const std::string& approval) {
  return NotFoundError("session '" + session + "' has no grant '" + approval.substr(0, 80) +
                           "' that holds; `baleen approvals grants` shows those that do",
                       "ITEM_UNKNOWN");
}

}  // namespace

/// Those that are listed behind `after`, up to `max`.
struct ControlLoop::GrantList {
  std::string after_session;
  std::string after_approval;
  size_t max = 0;
  std::vector<GrantView> views;

  bool full() const { return max != 0 && views.size() >= max; }
  /// All of `session`, in any order.
  void Add(const std::string& session, std::vector<GrantView> grants) {
    std::sort(grants.begin(), grants.end(), [](const GrantView& a, const GrantView& b) {
      return IsAskedBefore(a.approval, b.approval);
    });
    for (GrantView& grant : grants) {
      if (full()) return;
      if (session == after_session && !IsAskedBefore(after_approval, grant.approval)) continue;
      views.push_back(std::move(grant));
    }
  }
};

std::string ControlLoop::GrantName(const SessionRun& session, const ToolCall& call,
                                   GrantScope scope) const {
  if (OriginOf(session, call.name) != ToolOrigin::kBuiltin) return call.name;
  if (call.name == kWebFetch) return call.name + " " + WebFetchHost(call.arguments);
  // Within a turn somebody is there who saw what it is about. Beyond it, leave for one command is
  // none for all that can be done with a shell.
  const std::vector<GuardedWrite> guarded = GuardedBy(session, call);
  if (call.name == kBashTool && (scope != GrantScope::kTurn || !guarded.empty())) {
    return call.name + " " + NameOfCommand(call.arguments);
  }
  if (!guarded.empty()) return call.name + " " + NameOfFiles(guarded);
  if (call.name != kHttpRequest) return call.name;
  const ScriptRequestHead head = ScriptRequestHeadOf(call.arguments);
  return call.name + " " + head.method + " " + head.host +
         (head.secret.empty() ? "" : " with " + head.secret);
}

std::string ControlLoop::GrantOf(const SessionRun& session, const ToolCall& call) const {
  const std::string in_turn = GrantName(session, call, GrantScope::kTurn);
  if (session.turn->grants.contains(in_turn)) {
    for (const ApprovalView& approval : session.turn->approvals) {
      const auto is_of = [&](const ToolCall& one) {
        const auto& granted = approval.granted_calls;
        return GrantName(session, one, GrantScope::kTurn) == in_turn &&
               std::find(granted.begin(), granted.end(), one.id) != granted.end();
      };
      const bool turn_wide =
          approval.state == ApprovalState::kGranted && approval.scope == GrantScope::kTurn;
      if (turn_wide && std::any_of(approval.calls.begin(), approval.calls.end(), is_of)) {
        return session.record.id + "/" + approval.approval;
      }
    }
    return session.record.id + "/" + session.turn->view.turn;
  }
  const std::string name = GrantName(session, call, GrantScope::kSession);
  for (const GrantView& grant : session.grants) {
    if (Covers(grant, name)) return grant.session + "/" + grant.approval;
  }
  const auto found = workspace_grants_.find(session.HomeWorkspace());
  if (found == workspace_grants_.end()) return "";
  for (const auto& [holder, grants] : found->second) {
    for (const GrantView& grant : grants) {
      if (Covers(grant, name)) return grant.session + "/" + grant.approval;
    }
  }
  return "";
}

std::string ControlLoop::LeaveFor(const SessionRun& session, const ToolCall& call) const {
  std::string grant = GrantOf(session, call);
  if (!grant.empty() || call.name != kApplyDiff || !IsOfScripts(session, call.name)) return grant;
  const auto arguments = nlohmann::json::parse(call.arguments, nullptr, false);
  if (!arguments.is_object() || !arguments.contains("diff") || !arguments["diff"].is_string()) {
    return "";
  }
  const auto& diff = arguments["diff"].get_ref<const std::string&>();
  for (const ApprovalView& approval : session.turn->approvals) {
    const bool granted = approval.subject == "flow" && approval.state == ApprovalState::kGranted;
    if (granted && ShowsDiff(approval.description, diff)) {
      return session.record.id + "/" + approval.approval;
    }
  }
  return "";
}

Status ControlLoop::ReadGrants(SessionRun& session) {
  session.grants.clear();
  session.network.reset();  // another timeline may have had less, or more
  session.revoked.clear();
  session.budget = session.settings.budget;
  DropGrants(session);
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page,
                     parts_.journal_reader->ReadEventsOfKind(
                         session.record.id, event_kind::kApprovalResolved, after, kJournalPage));
    if (page.empty()) return OkStatus();
    for (const EventRecord& event : page) {
      after = event.seq;
      ASSIGN_OR_RETURN(const ApprovalEnd end, ApprovalEndFromJson(event.payload));
      if (end.state == ApprovalState::kRevoked) RemoveGrant(session, end);
      if (end.state != ApprovalState::kGranted) continue;
      AddGrant(session, end, event.time_ms);
      if (end.budget.owner == "session" && end.revision < session.marks.budget_revision) continue;
      ApprovalView extension;
      ApplyEnd(end, event.time_ms, &extension);
      ApplyExtension(session, extension);
    }
  }
}

void ControlLoop::AddGrant(SessionRun& session, const ApprovalEnd& end, int64_t granted_ms) {
  const std::string& workspace = session.HomeWorkspace();
  const bool for_workspace = end.scope == GrantScope::kWorkspace && !workspace.empty();
  if (end.tools.empty() || (end.scope != GrantScope::kSession && !for_workspace)) return;
  GrantView grant;
  grant.session = session.record.id;
  grant.approval = end.approval;
  grant.scope = end.scope;
  if (for_workspace) grant.workspace = workspace;
  grant.tools = end.tools;
  grant.granted_by = end.resolved_by;
  grant.reason = end.reason;
  grant.granted_ms = granted_ms;
  if (for_workspace) workspace_grants_[workspace][grant.session].push_back(grant);
  session.grants.push_back(std::move(grant));
}

void ControlLoop::RemoveGrant(SessionRun& session, const ApprovalEnd& end) {
  const auto same = [&](const GrantView& grant) {
    return IsSame(grant, end.approval, end.granted_ms);
  };
  std::erase_if(session.grants, same);
  const auto found = workspace_grants_.find(session.HomeWorkspace());
  if (found != workspace_grants_.end()) {
    if (const auto own = found->second.find(session.record.id); own != found->second.end()) {
      std::erase_if(own->second, same);
    }
  }
  if (!IsRevoked(session.revoked, end)) session.revoked.push_back(end);
}

void ControlLoop::DropGrants(const SessionRun& session) {
  const auto found = workspace_grants_.find(session.HomeWorkspace());
  if (found == workspace_grants_.end()) return;
  found->second.erase(session.record.id);
  if (found->second.empty()) workspace_grants_.erase(found);
}

Status ControlLoop::CarryRevocations(const SessionRun& from, const TimelinePoint& point,
                                     const std::string& session, std::vector<EventRecord>* events) {
  if (from.revoked.empty()) return OkStatus();
  std::vector<ApprovalEnd> known;
  int64_t after = 0;
  while (after < point.seq) {
    ASSIGN_OR_RETURN(const auto page, parts_.journal_reader->ReadEventsOfKind(
                                          point.session, event_kind::kApprovalResolved, after,
                                          kJournalPage, point.timeline));
    if (page.empty()) break;
    for (const EventRecord& event : page) {
      after = event.seq;
      ASSIGN_OR_RETURN(ApprovalEnd end, ApprovalEndFromJson(event.payload));
      if (end.state == ApprovalState::kRevoked && event.seq <= point.seq) {
        known.push_back(std::move(end));
      }
    }
  }
  for (const ApprovalEnd& end : from.revoked) {
    if (IsRevoked(known, end)) continue;
    EventRecord event;
    event.session = session;
    event.seq = point.seq + 1 + std::ssize(*events);
    event.time_ms = parts_.clock->WallMs();
    event.kind = event_kind::kApprovalResolved;
    event.payload = ApprovalEndToJson(end);
    events->push_back(std::move(event));
  }
  return OkStatus();
}

void ControlLoop::ListGrants(const ListGrantsRequest& request,
                             const Answer<std::vector<GrantView>>& answer) {
  if (request.grants_max < 0) {
    return answer(InvalidArgumentError(
        "grants_max is " + std::to_string(request.grants_max) + ": expected 0 (all) or more",
        "BAD_FIELD"));
  }
  auto list = std::make_shared<GrantList>();  // owners: this listing's steps, one after the other
  list->max = static_cast<size_t>(request.grants_max);
  const size_t slash = std::min(request.after.find('/'), request.after.size());
  list->after_session = request.after.substr(0, slash);
  list->after_approval = request.after.substr(std::min(slash + 1, request.after.size()));
  const std::string& after = list->after_session;
  if (request.session.empty()) {
    if (after.empty()) return ListAllGrants(list, "", answer);
    auto last = Load(after);
    if (!last.ok()) return answer(last.status());
    list->Add(after, (*last)->grants);
    return ListAllGrants(list, after, answer);
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  const SessionRun& session = **loaded;
  const bool at_others = !after.empty() && after != request.session;
  if (!at_others) list->Add(request.session, session.grants);
  if (const auto found = workspace_grants_.find(session.HomeWorkspace());
      found != workspace_grants_.end()) {
    for (const auto& [id, others] : found->second) {
      if (id != request.session && (!at_others || id >= after)) list->Add(id, others);
    }
  }
  answer(std::move(list->views));
}

void ControlLoop::ListAllGrants(const std::shared_ptr<GrantList>& list, const std::string& after,
                                const Answer<std::vector<GrantView>>& answer) {
  auto page = parts_.journal_reader->ListSessions(after, kJournalPage);
  if (!page.ok()) return answer(page.status());
  for (const SessionRecord& record : *page) {
    if (list->full()) break;
    const auto first =
        parts_.journal_reader->ReadEventsOfKind(record.id, event_kind::kApprovalResolved, 0, 1);
    if (!first.ok() || first->empty()) continue;  // most were never asked
    // One that can't be read grants nothing, and must not hide the others.
    if (auto loaded = Load(record.id); loaded.ok()) list->Add(record.id, (*loaded)->grants);
  }
  if (list->full() || std::ssize(*page) < kJournalPage) return answer(std::move(list->views));
  // In steps: thousands of sessions must not hold up those that run.
  Post([this, list, next = page->back().id, answer] { ListAllGrants(list, next, answer); });
}

void ControlLoop::RevokeGrant(const RevokeGrantRequest& request, const Answer<GrantView>& reply) {
  const auto answer = FirstOnly(kRevokeMethod, request.request_id, reply,
                                [this, request, reply] { RevokeGrant(request, reply); });
  if (!answer) return;
  const Status said = CheckSaid(request.reason, request.revoked_by, "reason, revoked_by");
  if (!said.ok()) return answer(said);
  ApprovalEnd end;
  end.state = ApprovalState::kRevoked;
  end.resolved_by = request.revoked_by.empty() ? "host" : request.revoked_by;
  end.reason = request.reason;
  JournalBatch batch;
  if (const auto earlier = EarlierAnswer(request.request_id, kRevokeMethod); earlier.ok()) {
    auto grant = GrantFromJson(*earlier);
    if (!grant.ok()) return answer(grant.status());
    return Revoke(*grant, std::move(end), std::move(batch), answer);  // a fork may have had it yet
  }
  auto loaded = Load(request.session);
  if (!loaded.ok()) return answer(loaded.status());
  const auto& grants = (*loaded)->grants;
  const auto found = std::find_if(grants.begin(), grants.end(), [&](const GrantView& grant) {
    return grant.approval == request.approval;
  });
  if (found == grants.end()) return answer(NoGrant(request.session, request.approval));
  if (!request.request_id.empty()) {
    batch.answers.push_back(
        {request.request_id, kRevokeMethod, GrantToJson(*found), parts_.clock->WallMs()});
  }
  Revoke(GrantView(*found), std::move(end), std::move(batch), answer);
}

Result<std::vector<SessionRun*>> ControlLoop::HoldersOf(const GrantView& grant) {
  std::vector<std::string> ids;
  if (grant.scope == GrantScope::kSession) ids = {grant.session};
  if (const auto found = workspace_grants_.find(grant.workspace);
      grant.scope == GrantScope::kWorkspace && found != workspace_grants_.end()) {
    for (const auto& [id, grants] : found->second) ids.push_back(id);
  }
  std::vector<SessionRun*> holders;
  Status status;
  for (const std::string& id : ids) {
    auto loaded = Load(id);
    if (loaded.status().code() == StatusCode::kNotFound) continue;  // deleted meanwhile
    status = loaded.status();
    if (!status.ok()) break;
    SessionRun& session = **loaded;
    const bool holds = std::any_of(
        session.grants.begin(), session.grants.end(),
        [&](const GrantView& own) { return IsSame(own, grant.approval, grant.granted_ms); });
    if (!holds) continue;
    if (session.state == SessionState::kBroken) status = session.broken;
    if (session.changing) {
      status = FailedPreconditionError(
          "session '" + id + "' is being rewound, changed or deleted; ask again", "SESSION_BUSY");
    }
    if (!status.ok()) break;
    session.changing = true;  // which keeps it loaded, and where it is
    holders.push_back(&session);
  }
  if (status.ok()) return holders;
  for (SessionRun* holder : holders) holder->changing = false;
  return status;
}

void ControlLoop::Revoke(const GrantView& grant, ApprovalEnd end, JournalBatch batch,
                         const Answer<GrantView>& answer) {
  auto holders = HoldersOf(grant);
  if (!holders.ok()) return answer(holders.status());
  if (holders->empty()) return answer(grant);
  end.turn = grant.approval.substr(0, grant.approval.find('-'));
  end.approval = grant.approval;
  end.scope = grant.scope;
  end.tools = grant.tools;
  end.granted_ms = grant.granted_ms;
  for (SessionRun* holder : *holders) {
    batch.events.push_back(
        NewEvent(*holder, event_kind::kApprovalResolved, ApprovalEndToJson(end)));
    RemoveGrant(*holder, end);  // nothing more runs on it from here on
  }
  auto shared = std::make_shared<JournalBatch>(std::move(batch));  // owners: as in Commit
  Write(shared, Durability::kSynced, [this, shared, grant, end, answer](const Status& status) {
    for (const EventRecord& event : shared->events) {
      SessionRun& holder = *sessions_.at(event.session);  // a changing session stays loaded
      holder.changing = false;
      if (status.ok()) {
        Publish(holder, event);
      } else {
        Break(holder, status);
      }
    }
    if (!status.ok()) return answer(status);
    Revoke(grant, end, {}, answer);  // forks that were on their way to the journal meanwhile
  });
}

}  // namespace baleen
