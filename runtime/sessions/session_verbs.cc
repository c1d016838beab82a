// Sessions made, shown, listed and read.
#include <random>
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/cursor.h"

namespace baleen {
namespace {

std::string RandomSessionId() {
  std::random_device device;
  std::string id = "s";
  for (int i = 0; i < 16; ++i) id += "0123456789abcdefghijklmnopqrstuvwxyz"[device() % 36];
  return id;
}

}  // namespace

SessionView ControlLoop::View(const SessionRun& session) const {
  SessionView view;
  view.session = session.record.id;
  view.settings = session.settings;
  view.state = session.state;
  view.tokens = session.record.tokens;
  view.context_tokens = view.tokens - session.context_begin;
  view.turns = session.turns;
  view.created_ms = session.record.created_ms;
  view.updated_ms = session.record.updated_ms;
  // Whoever watches from here on must hear of what is still on its way: the end of a turn that the
  // view calls open, for one.
  const int64_t seen = session.record.last_seq - session.events_on_way;
  view.head_cursor = MakeCursor(view.session, {session.record.timeline, seen});
  view.schema_notes = session.schema_notes;
  view.policy_notes = session.policy_notes;
  if (session.turn != nullptr) {
    view.open_turn = session.turn->view.turn;
    for (const ApprovalView& approval : session.turn->approvals) {
      if (approval.state == ApprovalState::kPending) {
        view.pending_approvals.push_back(approval.approval);
      }
    }
    if (!view.pending_approvals.empty() && view.state == SessionState::kRunning) {
      view.state = SessionState::kRequiresAction;
    }
  }
  view.pinned = session.record.pinned;
  view.timeline = session.record.timeline;
  view.parent = session.record.parent;
  view.tenant = session.marks.tenant;
  return view;
}

SessionView ControlLoop::ViewOf(const SessionRecord& record) {
  if (const auto found = sessions_.find(record.id); found != sessions_.end()) {
    return View(*found->second);
  }
  SessionView view;
  view.session = record.id;
  // What can't be read is left out: one damaged session must not hide the others.
  SettingsMarks marks;
  if (auto settings = SettingsFromJson(record.settings, &marks); settings.ok()) {
    view.settings = std::move(settings).value();
  }
  view.tenant = marks.tenant;
  view.settings.title = record.title;
  view.tokens = view.context_tokens = record.tokens;
  if (const auto scan = parts_.journal_reader->ScanEvents(record.id, event_kind::kTurnStarted,
                                                          event_kind::kCompacted);
      scan.ok()) {
    view.turns = scan->count;
    if (scan->last.has_value()) view.context_tokens -= scan->last->tokens;
  }
  view.created_ms = record.created_ms;
  view.updated_ms = record.updated_ms;
  view.head_cursor = HeadCursor(record);
  view.pinned = record.pinned;
  view.timeline = record.timeline;
  view.parent = record.parent;
  return view;
}

Result<std::string> ControlLoop::NewSessionId(const std::string& wanted) {
  const std::string id = wanted.empty() ? RandomSessionId() : wanted;
  RETURN_IF_ERROR(ValidateSessionId(id));
  if (sessions_.count(id) != 0 || parts_.journal_reader->GetSession(id).ok()) {
    return AlreadyExistsError(
        "session '" + id + "' exists already; choose another id, or resume it", "SESSION_EXISTS");
  }
  return id;
}

void ControlLoop::CreateSession(const CreateSessionRequest& request,
                                const std::vector<ToolSpec>& outside,
                                const Answer<SessionView>& reply) {
  constexpr const char* kMethod = "CreateSession";
  const auto answer =
      FirstOnly(kMethod, request.request_id, reply,
                [this, request, outside, reply] { CreateSession(request, outside, reply); });
  if (!answer) return;
  if (auto earlier = EarlierAnswer(request.request_id, kMethod); earlier.ok()) {
    return GetSession(IdFromAnswer(*earlier), answer);
  }
  auto wanted = NewSessionId(request.session);
  if (!wanted.ok()) return answer(wanted.status());
  const std::string id = *wanted;
  if (!request.settings.outside_tools.empty() || !request.settings.script_tools.empty()) {
    return answer(InvalidArgumentError(
        "outside_tools are those of the runtime's plugins, MCP servers and HTTP "
        "declarations, script_tools those that the script declares, and not a host's to set",
        "BAD_FIELD"));
  }
  auto run = std::make_unique<SessionRun>();
  run->settings = request.settings;
  run->settings.outside_tools = outside;
  if (Status status = CheckSettings(run->settings); !status.ok()) return answer(status);
  if (Status status = ReadScriptTools(&run->settings); !status.ok()) return answer(status);
  run->record.id = id;
  run->record.title = request.settings.title;
  SettingsMarks marks;
  marks.tenant = request.tenant;
  run->record.settings = SettingsToJson(run->settings, marks);
  run->record.created_ms = run->record.updated_ms = parts_.clock->WallMs();
  JournalBatch batch;
  batch.create_sessions.push_back(run->record);
  batch.events.push_back(NewEvent(*run, event_kind::kSessionCreated, run->record.settings));
  if (!request.request_id.empty()) {
    batch.answers.push_back({request.request_id, kMethod, AnswerJson(id), run->record.created_ms});
  }
  MakeSession(std::move(run), std::move(batch), answer);
}

void ControlLoop::MakeSession(std::unique_ptr<SessionRun> run, JournalBatch batch,
                              const Answer<SessionView>& answer) {
  const std::string id = run->record.id;
  run->creating = true;
  SessionRun& session = *run;
  sessions_[id] = std::move(run);
  Commit(session, std::move(batch), Durability::kSynced, [this, id, answer](const Status& status) {
    sessions_.erase(id);  // reloaded from the journal: one way to make a SessionRun
    if (!status.ok()) return answer(status);
    GetSession(id, answer);
  });
}

void ControlLoop::GetSession(const std::string& session, const Answer<SessionView>& answer) {
  auto run = Load(session);
  if (!run.ok()) return answer(run.status());
  answer(View(**run));
}

void ControlLoop::ListSessions(int64_t page_size, const std::string& after,
                               const Answer<std::vector<SessionView>>& answer) {
  // A session that is being made may already be in the journal, but it isn't there for any verb
  // before its maker has been told.
  const auto being_made = [this](const std::string& id) {
    const auto found = sessions_.find(id);
    return found != sessions_.end() && found->second->creating;
  };
  std::vector<SessionView> views;
  std::string last = after;
  while (std::ssize(views) < page_size) {
    const int64_t wanted = page_size - std::ssize(views);
    auto records = parts_.journal_reader->ListSessions(last, wanted);
    if (!records.ok()) return answer(records.status());
    for (const SessionRecord& record : *records) {
      if (!being_made(record.id)) views.push_back(ViewOf(record));
    }
    if (std::ssize(*records) < wanted) break;
    last = records->back().id;
  }
  answer(std::move(views));
}

void ControlLoop::ReadTokens(const std::string& session, int64_t begin, int64_t count,
                             const Answer<TokenTrace>& answer) {
  if (begin < 0 || count < 0) {
    return answer(InvalidArgumentError("begin and count must not be negative", "BAD_FIELD"));
  }
  auto run = parts_.journal_reader->ReadTokens(session, begin, count);
  if (!run.ok()) return answer(run.status());
  TokenTrace trace;
  trace.begin = run->begin;
  trace.ids = std::move(run->ids);
  trace.logits_hashes = std::move(run->logits_hashes);
  answer(std::move(trace));
}

}  // namespace baleen
