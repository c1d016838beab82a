#include "runtime/sessions/control_loop.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <utility>

#include "runtime/http_tools/web_fetch.h"
#include "runtime/observer.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/network_proxy.h"
#include "runtime/sessions/compaction.h"
#include "runtime/sessions/constraint.h"
#include "runtime/sessions/cursor.h"
#include "runtime/sessions/policy.h"
#include "runtime/workspace/workspace.h"
#include "tools_sdk/builtin/builtin.h"
#include "tools_sdk/builtin/find_tools.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

/// The engine waits when this many closures are queued; everybody else is bounded by their
/// requests.
constexpr size_t kMailboxLimit = 4096;
/// Idle sessions beyond this are read again from the journal when they are asked for.
constexpr size_t kLoadedSessionsMax = 256;

std::string RandomSessionId() {
  std::random_device device;
  std::string id = "s";
  for (int i = 0; i < 16; ++i) id += "0123456789abcdefghijklmnopqrstuvwxyz"[device() % 36];
  return id;
}

}  // namespace

Result<std::unique_ptr<ControlLoop>> ControlLoop::Create(const ControlParts& parts) {
  const ChatDialect dialect = parts.model->config().dialect == ChatDialect::kUnknown
                                  ? ChatDialect::k0731
                                  : parts.model->config().dialect;
  ASSIGN_OR_RETURN(SessionEncoder encoder,
                   SessionEncoder::Create(*parts.model->tokenizer(), dialect));
  return std::unique_ptr<ControlLoop>(new ControlLoop(parts, std::move(encoder)));
}

ControlLoop::ControlLoop(const ControlParts& parts, SessionEncoder encoder)
    : parts_(parts),
      encoder_(std::move(encoder)),
      trie_(*parts.model->tokenizer(), parts.model->config().vocab),
      instruction_tokens_(InstructionTokens(encoder_, *parts.model->tokenizer())),
      mailbox_(kMailboxLimit) {}

void ControlLoop::Run() {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  while (true) {
    std::optional<steady_clock::time_point> deadline;
    if (!timers_.empty()) {
      const int64_t wait_ms =
          std::max<int64_t>(0, timers_.begin()->first - parts_.clock->SteadyMs());
      deadline = steady_clock::now() + milliseconds(wait_ms);
    }
    if (auto work = mailbox_.Pop(deadline)) {
      (*work)();
    } else if (mailbox_.closed()) {
      return;
    }
    while (!timers_.empty() && timers_.begin()->first <= parts_.clock->SteadyMs()) {
      auto work = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      work();
    }
  }
}

bool ControlLoop::RunReady() {
  if (!timers_.empty() && timers_.begin()->first <= parts_.clock->SteadyMs()) {
    auto work = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    work();
    return true;
  }
  auto work = mailbox_.Pop(std::chrono::steady_clock::time_point::min());
  if (work.has_value()) (*work)();
  return work.has_value();
}

std::optional<int64_t> ControlLoop::NextTimerMs() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

void ControlLoop::StopTools() {
  for (const auto& [id, session] : sessions_) {
    if (session->turn == nullptr || session->turn->tools == nullptr) continue;
    for (const auto& stop : session->turn->tools->stop) stop->store(true);
  }
}

void ControlLoop::After(int64_t delay_ms, std::function<void()> work) {
  timers_.emplace(parts_.clock->SteadyMs() + delay_ms, std::move(work));
}

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
    auto workspace = Workspace::Open(run->settings.workspace);
    // A workspace that is gone must not make the session unreadable: its tools say so when called.
    if (workspace.ok()) {
      run->workspace = std::move(workspace).value();
      run->editor = std::make_shared<WorkspaceEditor>(run->workspace);
    }
    std::error_code gone;  // then what is to run there says so
    const auto plain = std::filesystem::canonical(run->settings.workspace, gone);
    run->bounds.workspace = gone ? run->settings.workspace : plain.string();
  }
  if (!run->settings.network_hosts.empty()) {
    ASSIGN_OR_RETURN(run->bounds.network, MakeNetworkBounds(id, run->settings.network_hosts));
  }
  if (!run->settings.workspace.empty() && NamesTool(run->settings, kBashTool)) {
    run->bash_tools = MakeBashTools(parts_.sandbox, run->bounds);
  }
  RETURN_IF_ERROR(ReadTools(*run));
  run->schema_notes = SchemaNotes(run->settings, run->tools);
  RETURN_IF_ERROR(ReadGrants(*run));
  return run;
}

Result<std::shared_ptr<const NetworkBounds>> ControlLoop::MakeNetworkBounds(
    const std::string& session, const std::vector<std::string>& hosts) const {
  auto bounds = std::make_shared<NetworkBounds>();  // owners: the session, and calls
  ASSIGN_OR_RETURN(bounds->rules, HostRules::Parse(hosts));
  bounds->resolver = parts_.resolver;
  bounds->starter = parts_.options.tool_host_path;
  for (const std::string& host : hosts) {
    if (host.starts_with("127.") || host.starts_with("[::1]") || host == "::1") {
      bounds->loopback_outside = true;
    }
  }
  if (parts_.options.observer != nullptr) {
    bounds->on_decision = [observer = parts_.options.observer, session](const HostDecision& one) {
      observer->OnHostDecision(session, one.host, one.port, one.address, one.why);
    };
  }
  return std::shared_ptr<const NetworkBounds>(std::move(bounds));
}

Status ControlLoop::CheckTools(const SessionSettings& settings) const {
  for (const ToolSpec& spec : settings.outside_tools) {
    ToolSet alone;  // one that is deferred has to be good when it is found
    RETURN_IF_ERROR(alone.Add(spec));
  }
  if (!settings.defer_tools.empty() && !NamesTool(settings, kFindTools)) {
    return InvalidArgumentError("defer_tools: nobody could find them: expected find_tools in tools",
                                "BAD_FIELD");
  }
  const auto unfit = [](const std::string& one) { return one.empty() || one.size() > 256; };
  if (settings.defer_tools.size() > 64 ||
      std::any_of(settings.defer_tools.begin(), settings.defer_tools.end(), unfit)) {
    return InvalidArgumentError("defer_tools: expected at most 64 patterns of 1 to 256 bytes",
                                "BAD_FIELD");
  }
  std::string known;
  for (const Tool* tool : parts_.optional_tools) known += tool->spec().name + ", ";
  for (const std::string& name : settings.tools) {
    const auto named = [&](const Tool* tool) { return tool->spec().name == name; };
    if (name != kBashTool && name != kTaskTool &&
        std::none_of(parts_.optional_tools.begin(), parts_.optional_tools.end(), named)) {
      return InvalidArgumentError("tools: '" + name.substr(0, 80) +
                                      "' is no built-in tool to be had beside read, list and grep: "
                                      "expected of " +
                                      known + "task, bash",
                                  "BAD_FIELD");
    }
    if (settings.workspace.empty() && name != kWebFetch && name != kTaskTool &&
        NeedsWorkspace(name)) {
      return InvalidArgumentError("tools: '" + name + "' needs a workspace", "BAD_FIELD");
    }
  }
  return OkStatus();
}

Result<ToolSet> ControlLoop::MakeToolSet(const SessionSettings& settings) const {
  ToolSet tools;
  if (!settings.workspace.empty()) {
    for (const Tool* tool : parts_.builtin_tools) RETURN_IF_ERROR(tools.Add(tool->spec()));
  }
  for (const Tool* tool : parts_.optional_tools) {
    if (NamesTool(settings, tool->spec().name)) RETURN_IF_ERROR(tools.Add(tool->spec()));
  }
  if (NamesTool(settings, kBashTool)) {
    for (const ToolSpec& spec : BashToolSpecs(settings.network_hosts)) {
      RETURN_IF_ERROR(tools.Add(spec));
    }
  }
  for (const ToolSpec& spec : settings.outside_tools) {
    if (IsDeferred(settings, spec.name)) continue;  // found_tools.cc adds it when it is found
    const Status added = tools.Add(spec);
    if (added.code() != StatusCode::kResourceExhausted) {
      RETURN_IF_ERROR(added);
      continue;
    }
    return ResourceExhaustedError(
        added.message() + "; defer those of plugins and servers (tools: find_tools), or name " +
        "those that are wanted: [mcp.NAME] tools = [...]");
  }
  for (const ToolSpec& spec : settings.host_tools) RETURN_IF_ERROR(tools.Add(spec));
  for (const ToolSpec& spec : settings.script_tools) RETURN_IF_ERROR(tools.Add(spec));
  for (const ToolSpec& spec : settings.outside_tools) {
    if (IsDeferred(settings, spec.name) && tools.Find(spec.name) != nullptr) {
      return AlreadyExistsError("two tools are called '" + spec.name + "'; give one another name");
    }
  }
  return tools;
}

Status ControlLoop::CheckChangeable(const SessionSettings& settings) const {
  if (settings.tokens_max < 1) {
    return InvalidArgumentError(
        "tokens_max is " + std::to_string(settings.tokens_max) + ": expected at least 1",
        "BAD_FIELD");
  }
  if (Utf8ValidPrefix(settings.title) != settings.title.size()) {
    return InvalidArgumentError("the title is not valid UTF-8", "BAD_FIELD");
  }
  RETURN_IF_ERROR(CheckCompaction(settings));
  RETURN_IF_ERROR(CheckPolicy(settings.policy));
  RETURN_IF_ERROR(CheckBudget(settings.budget));
  RETURN_IF_ERROR(CheckBudget(settings.turn_budget));
  return CheckPrices(settings.prices);
}

Status ControlLoop::CheckSettings(const SessionSettings& settings) const {
  if (settings.thinking != "chat" && settings.thinking != "thinking") {
    return InvalidArgumentError(
        "thinking is '" + settings.thinking + "': expected 'chat' or 'thinking'", "BAD_FIELD");
  }
  RETURN_IF_ERROR(CheckChangeable(settings));
  for (const std::string* text : {&settings.system_prompt, &settings.script}) {
    if (Utf8ValidPrefix(*text) != text->size()) {
      return InvalidArgumentError("system prompt or script is not valid UTF-8", "BAD_FIELD");
    }
  }
  RETURN_IF_ERROR(CheckScript(settings.script.empty() ? DefaultLoopSource() : settings.script,
                              settings.script_name));
  if (!settings.workspace.empty()) {
    if (auto workspace = Workspace::Open(settings.workspace); !workspace.ok()) {
      return workspace.status().WithContext("workspace");
    }
  }
  RETURN_IF_ERROR(CheckEngine(settings));
  RETURN_IF_ERROR(CheckTools(settings));
  if (const auto hosts = HostRules::Parse(settings.network_hosts); !hosts.ok()) {
    return InvalidArgumentError("network_hosts: " + hosts.status().message(), "BAD_FIELD");
  }
  ASSIGN_OR_RETURN(const ToolSet tools, MakeToolSet(settings));
  RETURN_IF_ERROR(CheckConstraint(settings.constraint, settings, tools));
  return CheckContext(settings, tools);
}

Status ControlLoop::ReadScriptTools(SessionSettings* settings) const {
  const bool task = NamesTool(*settings, kTaskTool);
  if (settings->script.empty() && !task) return OkStatus();
  ASSIGN_OR_RETURN(const ToolSet others, MakeToolSet(*settings));
  AgentOptions options;
  options.script = settings->script;
  if (!settings->script_name.empty()) options.script_name = settings->script_name;
  options.tools = others.specs();
  options.task = task;
  options.seed = settings->sampling.seed;
  auto declared = ScriptTools(options);
  if (!declared.ok()) return declared.status().WithContext("script");
  if (declared->empty()) return OkStatus();
  settings->script_tools = std::move(declared).value();
  ASSIGN_OR_RETURN(const ToolSet all, MakeToolSet(*settings));
  return CheckContext(*settings, all);
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

SessionRun* ControlLoop::FindTurn(const std::string& id, uint64_t epoch) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return nullptr;
  SessionRun* session = found->second.get();
  return session->turn != nullptr && session->turn->epoch == epoch ? session : nullptr;
}

EventRecord ControlLoop::NewEvent(SessionRun& session, const char* kind, std::string payload) {
  EventRecord event;
  event.session = session.record.id;
  event.seq = ++session.record.last_seq;
  event.time_ms = parts_.clock->WallMs();
  event.kind = kind;
  event.payload = std::move(payload);
  session.record.updated_ms = event.time_ms;
  return event;
}

void ControlLoop::Write(std::shared_ptr<JournalBatch> batch, Durability durability,
                        std::function<void(const Status&)> then) {
  parts_.journal_worker->queue().Push(
      [this, batch = std::move(batch), durability, then = std::move(then)] {
        const auto start = std::chrono::steady_clock::now();
        const Status status = parts_.journal_writer->Commit(*batch, durability);
        if (parts_.options.observer != nullptr) {
          const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
          parts_.options.observer->OnCommit(took.count(), durability == Durability::kSynced);
        }
        Post([status, then] { then(status); });
      });
}

void ControlLoop::Commit(SessionRun& session, JournalBatch batch, Durability durability,
                         std::function<void(const Status&)> then) {
  // Owners: the journal worker while it writes, then the answer on this thread.
  auto shared = std::make_shared<JournalBatch>(std::move(batch));
  Write(shared, durability,
        [this, id = session.record.id, shared, then = std::move(then)](const Status& status) {
          const auto found = sessions_.find(id);
          if (found == sessions_.end()) return;
          if (!status.ok()) {
            Break(*found->second, status);
          } else {
            for (const EventRecord& event : shared->events) Publish(*found->second, event);
          }
          then(status);
        });
}

void ControlLoop::Break(SessionRun& session, const Status& status) {
  if (session.state == SessionState::kBroken) return;
  session.state = SessionState::kBroken;
  session.broken =
      status.WithContext("the journal refused a write; restart after mending the cause");
  if (session.turn == nullptr) return;
  session.turn->cancelled->store(true);
  if (session.turn->generation != nullptr) session.turn->generation->stop->store(true);
  session.turn->view.state = TurnState::kFailed;
  session.turn->view.error = session.broken;
  session.following.reset();
  EndTurnInMemory(session, nullptr);
}

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
  view.head_cursor = HeadCursor(session.record);
  view.schema_notes = session.schema_notes;
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

Result<std::string> ControlLoop::EarlierAnswer(const std::string& request_id, const char* method) {
  if (request_id.empty()) return NotFoundError("a request without an id is always the first");
  return parts_.journal_reader->FindAnswer(request_id, method);
}

void ControlLoop::Answered(const std::string& key) {
  auto waiting = in_flight_.extract(key);
  if (waiting.empty()) return;
  // Each finds the answer in the journal; after a refusal the next of them is the first.
  for (auto& again : waiting.mapped()) again();
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

bool ControlLoop::IsRunning(const std::string& session) const {
  const auto found = sessions_.find(session);
  return found != sessions_.end() && found->second->turn != nullptr;
}

bool ControlLoop::IsInUse(const std::string& session) const {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return false;
  const SessionRun& run = *found->second;
  return run.turn != nullptr || !run.watchers.empty() || !run.hosts.empty() || run.creating ||
         run.changing;
}

void ControlLoop::RepeatUpkeep(int64_t interval_ms) {
  parts_.upkeep->Schedule({});
  After(interval_ms, [this, interval_ms] { RepeatUpkeep(interval_ms); });
}

int64_t ControlLoop::RunningTurns() const {
  return std::count_if(sessions_.begin(), sessions_.end(),
                       [](const auto& entry) { return entry.second->turn != nullptr; });
}

}  // namespace baleen
