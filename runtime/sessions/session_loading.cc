// Sessions in memory: read from the journal when somebody asks for them, their tokens when a turn
// needs them, and let go while they are idle and many.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/network_proxy.h"
#include "runtime/sessions/constraint.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/cursor.h"
#include "runtime/workspace/workspace.h"

namespace baleen {
namespace {

/// Idle sessions beyond this are read again from the journal when they are asked for.
constexpr size_t kLoadedSessionsMax = 256;

}  // namespace

Result<SessionRecord> ControlLoop::ReadRecord(const std::string& id) {
  RETURN_IF_ERROR(ValidateSessionId(id));
  auto record = parts_.journal_reader->GetSession(id);
  if (record.status().code() == StatusCode::kNotFound) {
    return NotFoundError("session '" + id +
                             "' does not exist; `baleen sessions list` shows those "
                             "that do",
                         "SESSION_UNKNOWN");
  }
  return record;
}

Status ControlLoop::ReadTimeline(SessionRun& session) {
  const std::string id = session.record.id;
  ASSIGN_OR_RETURN(session.record, ReadRecord(id));
  session.marks = {};
  ASSIGN_OR_RETURN(session.settings, SettingsFromJson(session.record.settings, &session.marks));
  session.settings.title = session.record.title;
  session.tokens = {};
  session.tokens_loaded = false;
  session.conversation = {};
  session.spent.reset();
  ASSIGN_OR_RETURN(const EventScan scan, parts_.journal_reader->ScanEvents(
                                             id, event_kind::kTurnStarted, event_kind::kCompacted));
  session.turns = scan.count;
  RETURN_IF_ERROR(ReadCompaction(session, scan.last));
  session.last_turn = 0;
  session.fork_position = 0;
  ASSIGN_OR_RETURN(const auto timelines,
                   parts_.journal_reader->ListTimelines(id, 0, kRowsPerReadMax));
  for (const TimelineRecord& timeline : timelines) {
    if (timeline.number == session.record.timeline) {
      session.timeline_key = timeline.key;
      session.base_key = timeline.base;
      session.base_tokens = timeline.base_tokens;
      if (timeline.base != 0) {
        session.fork_position = std::max<int64_t>(0, timeline.base_tokens - 1);
      }
    }
    const auto last =
        parts_.journal_reader->LastEvent(id, event_kind::kTurnStarted, timeline.number);
    if (!last.ok()) continue;
    const std::string turn = TurnOf(last->payload);
    if (!turn.empty()) {
      session.last_turn =
          std::max<int64_t>(session.last_turn, std::strtoll(turn.c_str() + 1, nullptr, 10));
    }
  }
  return OkStatus();
}

TokenList ControlLoop::KnownTokens(const SessionRun& session) const {
  TokenList known;
  if (session.base_key == 0) return known;
  for (const auto& [id, other] : sessions_) {
    if (!other->tokens_loaded) continue;
    int64_t common = session.base_tokens;
    if (other->base_key == session.base_key) {
      common = std::min(common, other->base_tokens);
    } else if (other->timeline_key != session.base_key) {
      continue;
    }
    const size_t count = std::min(static_cast<size_t>(common), other->tokens.size());
    if (count > known.size()) known = other->tokens.First(count);
  }
  return known;
}

Status ControlLoop::LoadTokens(SessionRun& session) {
  if (session.tokens_loaded) return OkStatus();
  session.tokens = KnownTokens(session);
  const auto known = static_cast<int64_t>(session.tokens.size());
  ASSIGN_OR_RETURN(
      const TokenRun rest,
      parts_.journal_reader->ReadTokens(session.record.id, known, session.record.tokens - known));
  session.tokens.Append(rest.ids);
  session.tokens_loaded = true;
  // The opening of a compacted context comes with its first prompt.
  const auto prompt = parts_.journal_reader->LastEvent(session.record.id, event_kind::kGenerate);
  session.has_opening = prompt.ok() && prompt->tokens > session.context_begin;
  return LoadOpenCalls(session);
}

Status ControlLoop::LoadOpenCalls(SessionRun& session) {
  session.open_calls.clear();
  session.known_results.clear();
  const std::string& id = session.record.id;
  const auto last = parts_.journal_reader->LastEvent(id, event_kind::kGenerated);
  if (last.status().code() == StatusCode::kNotFound) return OkStatus();
  RETURN_IF_ERROR(last.status());
  if (last->tokens != session.record.tokens) return OkStatus();  // more was written behind it
  ASSIGN_OR_RETURN(StepAnswer message, StepAnswerFromJson(last->payload));
  auto* generated = std::get_if<GeneratedEvent>(&message.event);
  if (generated == nullptr || generated->message.tool_calls.empty()) return OkStatus();
  ASSIGN_OR_RETURN(const auto events,
                   parts_.journal_reader->ReadEventsOfKind(id, event_kind::kToolResults, last->seq,
                                                           kRowsPerReadMax));
  for (const EventRecord& event : events) {
    ASSIGN_OR_RETURN(StepAnswer answer, StepAnswerFromJson(event.payload));
    if (const auto* results = std::get_if<ToolResultsEvent>(&answer.event)) {
      session.known_results.insert(session.known_results.end(), results->results.begin(),
                                   results->results.end());
    }
  }
  session.open_calls = std::move(generated->message.tool_calls);
  return OkStatus();
}

Result<std::unique_ptr<SessionRun>> ControlLoop::ReadSession(const std::string& id) {
  auto run = std::make_unique<SessionRun>();
  run->record.id = id;
  RETURN_IF_ERROR(ReadTimeline(*run));
  if (!run->settings.workspace.empty()) {
    auto workspace = Workspace::Open(run->settings.workspace, run->settings.readable_secrets);
    // A workspace that is gone must not make the session unreadable: its tools say so when called.
    if (workspace.ok()) {
      run->workspace = std::move(workspace).value();
      run->editor = std::make_shared<WorkspaceEditor>(run->workspace);
    }
    std::error_code gone;  // then what is to run there says so
    const auto plain = std::filesystem::canonical(run->settings.workspace, gone);
    run->bounds.workspace = gone ? run->settings.workspace : plain.string();
    run->bounds.readable_secrets = run->settings.readable_secrets;
  }
  if (!run->settings.network_hosts.empty()) {
    ASSIGN_OR_RETURN(run->bounds.network, MakeNetworkBounds(id, run->settings.network_hosts));
  }
  if (!run->settings.workspace.empty() && NamesTool(run->settings, kBashTool)) {
    run->bash = std::make_shared<BashTools>(parts_.sandbox, run->bounds);
  }
  RETURN_IF_ERROR(ReadTools(*run));
  run->schema_notes = SchemaNotes(run->settings, run->tools);
  NotePolicy(*run);
  RETURN_IF_ERROR(ReadGrants(*run));
  return run;
}

Result<SessionRun*> ControlLoop::Load(const std::string& id) {
  if (const auto found = sessions_.find(id); found != sessions_.end()) {
    if (!found->second->creating) return found->second.get();
    return NotFoundError("session '" + id + "' is being created; ask again", "SESSION_UNKNOWN");
  }
  ASSIGN_OR_RETURN(auto run, ReadSession(id));
  UnloadIdleSessions();
  SessionRun* session = run.get();
  sessions_[id] = std::move(run);
  return session;
}

void ControlLoop::UnloadIdleSessions() {
  if (sessions_.size() < kLoadedSessionsMax) return;
  std::erase_if(sessions_, [](const auto& entry) {
    const SessionRun& run = *entry.second;
    return run.state == SessionState::kIdle && run.turn == nullptr && run.watchers.empty() &&
           run.hosts.empty() && !run.creating && !run.changing;
  });
}

}  // namespace baleen
