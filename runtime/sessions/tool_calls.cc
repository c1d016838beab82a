// Tool calls: proposed, judged by the policy, journalled as dispatched before any body runs, then
// built-ins and tools from outside on their pools and host tools over their host's stream. Every
// call gets exactly one result.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "runtime/http/redactor.h"
#include "runtime/http_tools/script_requests.h"
#include "runtime/http_tools/web_fetch.h"
#include "runtime/observer.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sandbox/ripgrep.h"
#include "runtime/sessions/call_results.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/diff_apply.h"
#include "runtime/sessions/file_changes.h"
#include "runtime/sessions/note_book.h"
#include "runtime/sessions/outside_tools.h"
#include "runtime/sessions/path_audit.h"
#include "runtime/sessions/policy.h"
#include "tools_sdk/framed_text.h"

namespace baleen {
namespace {

constexpr char kBegun[] = "Begun: the script runs this tool itself.";

/// After its time limit: longer than a plugin's process takes to be ended.
constexpr int64_t kAbandonMs = 5000;

/// The copy of a workspace that the session works in; empty: it works in none.
std::string WorktreeOf(const SessionRun& session) {
  return session.marks.worktree_of.empty() ? std::string() : session.settings.workspace;
}

/// Its name is the fork's that it was made for, which may be another session than the one that
/// works in it: a fork of that one.
std::string ClosedWorktree(const std::string& tree) {
  return "[the worktree of fork '" + std::filesystem::path(tree).parent_path().filename().string() +
         "' was closed, and this session works in it: its files are gone]";
}

}  // namespace

const Tool* ControlLoop::FindBuiltin(const SessionRun& session, const std::string& name) const {
  for (const Tool* tool : parts_.builtin_tools) {
    // A host may use the names where there is no workspace.
    if (tool->spec().name == name && !session.settings.workspace.empty()) return tool;
  }
  if (session.bash != nullptr) {
    for (const auto& tool : session.bash->tools()) {
      if (tool->spec().name == name) return tool.get();
    }
  }
  const auto& named = session.settings.tools;
  if (std::find(named.begin(), named.end(), name) == named.end()) return nullptr;
  for (const Tool* tool : parts_.optional_tools) {
    if (tool->spec().name == name) return tool;
  }
  return nullptr;
}

bool ControlLoop::IsOfScripts(const SessionRun& session, const std::string& name) const {
  const bool known = name == kApplyDiff || name == kHttpRequest;
  return known && session.tools.Find(name) == nullptr;
}

const ToolSet& ControlLoop::ToolsFor(const SessionRun& session, const ToolCall& call) const {
  if (!IsOfScripts(session, call.name) || IsOfModel(session, call)) return session.tools;
  return call.name == kApplyDiff ? ApplyDiffTools() : ScriptRequestTools(call.arguments);
}

void ControlLoop::RunHttpRequest(SessionRun& session, size_t index) {
  if (parts_.script_requests == nullptr) {
    session.turn->tools->state[index].started = false;
    return SetResult(session, index,
                     FailedCall("The call was not run: scripts have no HTTP here."));
  }
  const std::string& arguments = session.turn->tools->calls[index].arguments;
  RunBody(session, index, *ScriptRequestTools(arguments).Find(kHttpRequest), parts_.outside_pool,
          [requests = parts_.script_requests](const ToolCall& call, CallContext& context) {
            return requests->Call(call, context);
          });
}

void ControlLoop::RunApply(SessionRun& session, size_t index) {
  RunBody(session, index, *ApplyDiffTools().Find(kApplyDiff), parts_.pool,
          [keeper = KeeperOf(session),
           refusal = PathRefusalOf(session, session.turn->tools->calls[index].id)](
              const ToolCall& call, CallContext& context) {
            PathAudit audit(refusal);
            return ApplyDiff(keeper, call, context.cancelled, &audit);
          });
}

ToolOrigin ControlLoop::OriginOf(const SessionRun& session, const std::string& name) const {
  const auto names_it = [&](const std::vector<ToolSpec>& specs) {
    return std::any_of(specs.begin(), specs.end(),
                       [&](const ToolSpec& spec) { return spec.name == name; });
  };
  if (names_it(session.settings.outside_tools)) {
    if (parts_.outside == nullptr) return ToolOrigin::kOutside;
    if (parts_.outside->IsUnsandboxed(name)) return ToolOrigin::kUnsandboxed;
    return parts_.outside->IsHttp(name) ? ToolOrigin::kHttp : ToolOrigin::kOutside;
  }
  if (names_it(session.settings.script_tools)) return ToolOrigin::kScript;
  if (IsOfScripts(session, name)) return ToolOrigin::kBuiltin;
  return FindBuiltin(session, name) != nullptr ? ToolOrigin::kBuiltin : ToolOrigin::kHost;
}

void ControlLoop::ListTools(const std::string& session, const std::vector<ToolSpec>& outside,
                            const Answer<std::vector<ToolView>>& answer) {
  std::vector<ToolView> views;
  if (session.empty()) {
    for (const Tool* tool : parts_.builtin_tools) views.push_back({tool->spec(), "builtin", true});
    for (const Tool* tool : parts_.optional_tools) views.push_back({tool->spec(), "builtin", true});
    for (const ToolSpec& spec : BashToolSpecs()) views.push_back({spec, "builtin", true});
    for (const ToolSpec& spec : outside) {
      views.push_back({spec, parts_.outside->OriginOf(spec.name), true});
    }
    return answer(std::move(views));
  }
  auto loaded = Load(session);
  if (!loaded.ok()) return answer(loaded.status());
  const SessionRun& run = **loaded;
  for (const ToolSpec& spec : run.tools.specs()) {
    ToolView view = {spec, "builtin", true};
    const ToolOrigin origin = OriginOf(run, spec.name);
    if (origin == ToolOrigin::kOutside || origin == ToolOrigin::kUnsandboxed ||
        origin == ToolOrigin::kHttp) {
      view.origin = parts_.outside == nullptr ? "plugin" : parts_.outside->OriginOf(spec.name);
      view.available = parts_.outside != nullptr && parts_.outside->MayRun(spec);
    } else if (origin == ToolOrigin::kHost) {
      view.origin = "host";
      view.available = run.hosts.contains(spec.name);
    } else if (origin == ToolOrigin::kScript) {
      view.origin = "script";
    } else {
      // Without a workspace there are only those that need none.
      view.available = run.workspace != nullptr || run.settings.workspace.empty();
    }
    views.push_back(std::move(view));
  }
  for (const ToolSpec& spec : run.settings.outside_tools) {
    if (run.tools.Find(spec.name) != nullptr) continue;
    views.push_back({spec, "plugin", parts_.outside != nullptr && parts_.outside->MayRun(spec)});
  }
  answer(std::move(views));
}

void ControlLoop::BeginToolCalls(SessionRun& session, const CallToolsEffect& effect) {
  session.turn->tools = std::make_unique<ToolRunState>(session.turn->step, effect);
  session.turn->tool_calls += static_cast<int64_t>(effect.calls.size());
  ToolProposal proposal;
  proposal.turn = session.turn->view.turn;
  proposal.step = session.turn->step;
  proposal.effect = EffectToJson(effect);
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kToolCalls, ""));
  JudgeCalls(session, std::move(batch), {}, &proposal);
}

void ControlLoop::ResumeCalls(SessionRun& session) {
  ToolRunState& tools = *session.turn->tools;
  CallOrders orders;
  for (size_t i = 0; i < tools.calls.size(); ++i) {
    ToolRunState::Call& state = tools.state[i];
    if (state.result.has_value() || !state.dispatched) continue;
    const ToolSpec* spec = ToolsFor(session, tools.calls[i]).Find(tools.calls[i].name);
    const bool of_script = spec != nullptr && OriginOf(session, spec->name) == ToolOrigin::kScript;
    // A script's tool has done nothing that the replay doesn't do again.
    if (spec == nullptr || (spec->effect == EffectClass::kEffect && !of_script)) {
      state.started = true;  // as far as anybody knows
      orders.refuse.emplace_back(i,
                                 UnknownOutcome("the runtime stopped while the call was running"));
    } else {
      orders.run.push_back(i);
    }
  }
  // The last result may have been journalled without the step's end.
  if (tools.AllAnswered()) return FinishStep(session, {});
  JudgeCalls(session, {}, std::move(orders), nullptr);
}

void ControlLoop::JudgeCalls(SessionRun& session, JournalBatch batch, CallOrders orders,
                             ToolProposal* proposal) {
  const auto judged = [&](CallJudgement judgement) {
    NoteDecision(session, judgement);
    const bool usual = judgement.decision == "allow" && judgement.by == "default";
    if (proposal != nullptr && !usual) proposal->judged.push_back(std::move(judgement));
  };
  ToolRunState& tools = *session.turn->tools;
  std::vector<size_t> asked;
  std::vector<std::string> reasons;
  for (size_t i = 0; i < tools.calls.size(); ++i) {
    ToolRunState::Call& state = tools.state[i];
    if (state.result.has_value() || state.dispatched || state.awaiting) continue;
    const ToolCall& call = tools.calls[i];
    if (Status valid = ToolsFor(session, call).CheckCall(call); !valid.ok()) {
      orders.refuse.emplace_back(i, FailedCall(valid.message()));
      judged({call.id, "invalid", "schema", valid.message(), ""});
      continue;
    }
    const PolicyVerdict verdict = VerdictOn(session, call);
    const std::string grant =
        verdict.decision == PolicyDecision::kAsk ? LeaveFor(session, call) : "";
    judged({call.id, PolicyDecisionName(verdict.decision), verdict.by, verdict.why, grant});
    if (verdict.decision == PolicyDecision::kDeny) {
      orders.refuse.emplace_back(i, DeniedCall(DenialOf(verdict)));
    } else if (IsQuestion(session, call)) {
      state.awaiting = true;
      AskUser(session, call, batch);
    } else if (verdict.decision == PolicyDecision::kAsk && grant.empty()) {
      state.awaiting = true;
      asked.push_back(i);
      if (std::find(reasons.begin(), reasons.end(), verdict.why) == reasons.end()) {
        reasons.push_back(verdict.why);
      }
    } else {
      state.dispatched = true;
      orders.run.push_back(i);
      orders.fresh.push_back(call.id);
    }
  }
  if (!asked.empty()) RequestApproval(session, asked, reasons, batch);
  // It stands before what it led to, and says what that was.
  if (proposal != nullptr) batch.events.front().payload = ToolProposalToJson(*proposal);
  PerformOrders(session, std::move(batch), std::move(orders), {});
}

void ControlLoop::PerformOrders(SessionRun& session, JournalBatch batch, CallOrders orders,
                                std::function<void(const Status&)> stored) {
  if (!orders.fresh.empty()) {
    ToolDispatch dispatch = {session.turn->view.turn, session.turn->step, orders.fresh, {}};
    for (const ToolCall& call : session.turn->tools->calls) {
      const auto& fresh = orders.fresh;
      if (std::find(fresh.begin(), fresh.end(), call.id) == fresh.end()) continue;
      std::string host = ReachOf(session, call).host;
      if (!host.empty()) dispatch.hosts.push_back(std::move(host));
    }
    if (session.network.has_value()) session.network->Add(dispatch);
    batch.events.push_back(
        NewEvent(session, event_kind::kToolDispatched, ToolDispatchToJson(dispatch)));
  }
  const auto perform = [this, id = session.record.id, epoch = session.turn->epoch,
                        step = session.turn->step, orders = std::move(orders),
                        stored = std::move(stored)](const Status& status) {
    if (stored) stored(status);
    if (!status.ok()) return;
    // A result that came at once may have ended the step, and even the turn.
    const auto open = [&] {
      SessionRun* run = FindTurn(id, epoch);
      const bool same = run != nullptr && run->turn->tools != nullptr && run->turn->step == step;
      return same ? run : nullptr;
    };
    for (const auto& [index, result] : orders.refuse) {
      if (SessionRun* run = open()) SetResult(*run, index, result);
    }
    for (const size_t index : orders.run) {
      if (SessionRun* run = open()) RunCall(*run, index);
    }
    if (SessionRun* run = open()) NoteWait(*run);
  };
  if (batch.events.empty()) return perform(OkStatus());
  // Power-safe before any body runs: after a crash nobody may believe that a call never began.
  Commit(session, std::move(batch), Durability::kSynced, perform);
}

void ControlLoop::RunCall(SessionRun& session, size_t index) {
  session.turn->tools->state[index].started = true;
  const std::string name = session.turn->tools->calls[index].name;
  if (IsQuestion(session, session.turn->tools->calls[index])) return GiveAnswer(session, index);
  if (IsSearchOfTools(session, session.turn->tools->calls[index])) {
    return AnswerFindTools(session, index);
  }
  // The model's calls of such names have been refused: it has no tools of theirs.
  if (IsOfScripts(session, name)) {
    return name == kApplyDiff ? RunApply(session, index) : RunHttpRequest(session, index);
  }
  switch (OriginOf(session, name)) {
    case ToolOrigin::kBuiltin: return RunLocally(session, index, *FindBuiltin(session, name));
    case ToolOrigin::kHttp:
    case ToolOrigin::kUnsandboxed:
    case ToolOrigin::kOutside: return RunOutside(session, index, name);
    case ToolOrigin::kScript: {
      ToolResult begun;
      begun.content = kBegun;
      return SetResult(session, index, std::move(begun));
    }
    case ToolOrigin::kHost: break;
  }
  session.turn->tools->at_host[index] = {};
  OfferToHost(session, index);
}

void ControlLoop::RunOutside(SessionRun& session, size_t index, const std::string& name) {
  const ToolSpec spec = *session.tools.Find(name);
  if (parts_.outside == nullptr) {
    session.turn->tools->state[index].started = false;
    return SetResult(
        session, index,
        FailedCall("The call was not run: there is no tool '" + name + "' from outside any more."));
  }
  // One in this process may ignore its end: the turn goes on without it.
  After(spec.timeout_ms + kAbandonMs, [this, id = session.record.id, epoch = session.turn->epoch,
                                       step = session.turn->step, index] {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->tools == nullptr || run->turn->step != step) return;
    ToolResult result;
    result.outcome = ToolOutcome::kTimeout;
    result.content =
        "The tool didn't stop when its time was over, and was left alone; its effect may or "
        "may not have happened.";
    SetResult(*run, index, std::move(result));
  });
  RunBody(session, index, spec, parts_.outside_pool,
          [outside = parts_.outside, spec, bounds = session.bounds](const ToolCall& call,
                                                                    CallContext& context) {
            return outside->Call(spec, bounds, call, context);
          });
}

void ControlLoop::RunLocally(SessionRun& session, size_t index, const Tool& tool) {
  // Tools of the session's own outlive it, if need be, by what RunBody keeps.
  const bool waits = tool.spec().name == kWebFetch;  // more than it works
  RunBody(session, index, tool.spec(), waits ? parts_.outside_pool : parts_.pool,
          [&tool](const ToolCall& call, CallContext& context) {
            return const_cast<Tool&>(tool).Call(call, context);
          });
}

PathRefusal ControlLoop::PathRefusalOf(const SessionRun& session, const std::string& call) const {
  if (parts_.options.observer == nullptr) return {};
  return [observer = parts_.options.observer, id = session.record.id,
          turn = session.turn->view.turn, call](const std::string& path, const std::string& why) {
    observer->OnPathRefused(id, turn, call, path, why);
  };
}

void ControlLoop::ExpectCommand(SessionRun& session, bool soon) {
  if (session.bash == nullptr) return;
  session.bash->Expect(soon);
  // A full pool has better to do: the command then makes its own.
  parts_.pool->queue().TryPush([bash = session.bash] { bash->Prepare(); });
}

void ControlLoop::RunBody(SessionRun& session, size_t index, const ToolSpec& spec, Worker* pool,
                          ToolBody body) {
  ToolCall call = session.turn->tools->calls[index];
  PathRefusal refusal = PathRefusalOf(session, call.id);
  // Unique among sessions: a tool may keep what it has done under it.
  call.id = session.record.id + "/" + session.turn->view.turn + "." + call.id;
  // A session of that name that is gone had calls with the same ids.
  const std::string remembered_as = std::to_string(session.record.created_ms) + "/" + call.id;
  auto stop = std::make_shared<std::atomic<bool>>(false);  // owners: ToolRunState and the call
  session.turn->tools->stop.push_back(stop);
  // The tool may outlive the turn (a cancelled one ends at once): it owns what it works with.
  const bool queued = pool->queue().TryPush(
      [this, id = session.record.id, epoch = session.turn->epoch, index, body = std::move(body),
       stop, timeout_ms = spec.timeout_ms, call = std::move(call), files = session.workspace,
       keeper = KeeperOf(session), workspace = session.HomeWorkspace(), remembered_as,
       bash = session.bash, step = session.turn->step, refusal = std::move(refusal),
       folder = session.bounds.workspace, tree = WorktreeOf(session),
       news = NewsOf(session, index)] {
        const bool closed = !tree.empty() && access(tree.c_str(), F_OK) != 0;
        PathAudit audit(refusal);
        RecordedChanges recorded(keeper);
        AuditedChanges changes(&recorded, &audit);
        std::optional<AuditedFiles> audited;
        if (files != nullptr && !closed) audited.emplace(*files, &audit);
        SessionNotes notes(parts_.notes, workspace, id, remembered_as);
        CallContext context;
        if (audited.has_value()) context.files = &*audited;
        if (keeper.editor != nullptr && !closed) context.changes = &changes;
        if (!workspace.empty()) context.notes = &notes;
        Ripgrep ripgrep(parts_.sandbox, folder);
        if (parts_.sandbox != nullptr && context.files != nullptr) context.sieve = &ripgrep;
        context.cancelled = stop.get();
        context.deadline_ms = parts_.clock->SteadyMs() + timeout_ms;
        context.progress = news;
        ToolResult result = body(call, context);
        if (closed && result.outcome != ToolOutcome::kOk) {
          result.content += "\n" + ClosedWorktree(tree);
        }
        if (parts_.redactor != nullptr) parts_.redactor->Refresh();  // it may have used a new key
        const auto& changed = recorded.files();
        result.files.insert(result.files.end(), changed.begin(), changed.end());
        Post([this, id, epoch, index, step, result = std::move(result)]() mutable {
          SessionRun* run = FindTurn(id, epoch);
          if (run == nullptr || run->turn->step != step) return;
          SetResult(*run, index, std::move(result));
        });
      });
  if (!queued) {
    session.turn->tools->state[index].started = false;
    return SetResult(session, index, FailedCall("The tool pool is full; try again in a moment."));
  }
  After(spec.timeout_ms, [stop] { stop->store(true); });
}

std::string ControlLoop::Redacted(const std::string& text) const {
  return parts_.redactor == nullptr ? text : parts_.redactor->Redact(text);
}

void ControlLoop::FrameResult(const SessionRun& session, const ToolCall& call,
                              ToolResult* result) const {
  const bool ran = result->outcome == ToolOutcome::kOk || result->outcome == ToolOutcome::kError ||
                   result->outcome == ToolOutcome::kTimeout;
  // What a script asked for, a program reads. web_fetch frames its own, with the address.
  if (!ran || result->content.empty() || !IsOfModel(session, call) || call.name == kWebFetch)
    return;
  const std::string host = ReachOf(session, call).host;
  if (host.empty()) return;
  result->content = FramedText("what " + call.name + " answered, from " + host, call.name,
                               std::move(result->content));
}

void ControlLoop::SetResult(SessionRun& session, size_t index, ToolResult result,
                            std::function<void(const Status&)> stored) {
  const auto late = [&] {
    if (stored) stored(NotFoundError("the call has been answered already", "ITEM_UNKNOWN"));
  };
  if (session.turn->tools == nullptr || session.turn->view.state != TurnState::kRunning) {
    return late();
  }
  ToolRunState& tools = *session.turn->tools;
  if (tools.state[index].result.has_value()) return late();  // the first answer counts
  const ToolSpec* spec = ToolsFor(session, tools.calls[index]).Find(tools.calls[index].name);
  result.call_id = tools.calls[index].id;
  // All results come by here, before model, journal and watchers: the one place for this.
  result.content = Redacted(result.content);
  BoundResult(spec == nullptr ? 64 * 1024 : spec->output_bytes_max + 1024, &result);
  FrameResult(session, tools.calls[index], &result);
  if (GuardsRepeats(session, tools.calls[index])) {
    result.content += session.turn->repeats.Advice(tools.calls[index], result);
  }
  tools.state[index].result = result;
  tools.at_host.erase(index);
  StepAnswer answer;
  answer.turn = session.turn->view.turn;
  answer.step = session.turn->step;
  JournalBatch batch;
  if (!tools.AllAnswered()) {
    answer.event = ToolResultsEvent{{std::move(result)}};
    batch.events.push_back(NewEvent(session, event_kind::kToolResult, StepAnswerToJson(answer)));
    // A result that can be had again needs no sync of its own.
    const bool effect = spec == nullptr || spec->effect == EffectClass::kEffect;
    return Commit(session, std::move(batch), effect ? Durability::kSynced : Durability::kKernel,
                  [stored = std::move(stored)](const Status& status) {
                    if (stored) stored(status);
                  });
  }
  FinishStep(session, std::move(stored));
}

void ControlLoop::FinishStep(SessionRun& session, std::function<void(const Status&)> stored) {
  JournalBatch batch;
  const ToolResultsEvent event = EndStep(session, batch);
  // Synced: a result that the model is about to read must not be asked for again.
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch, event,
          stored = std::move(stored)](const Status& status) {
           if (stored) stored(status);
           SessionRun* run = FindTurn(id, epoch);
           if (status.ok() && run != nullptr && run->turn->view.state == TurnState::kRunning) {
             Advance(*run, event);
           }
         });
}

ToolResultsEvent ControlLoop::EndStep(SessionRun& session, JournalBatch& batch) {
  ToolRunState& tools = *session.turn->tools;
  ToolResultsEvent event;
  for (size_t i = 0; i < tools.calls.size(); ++i) {
    ToolRunState::Call& state = tools.state[i];
    if (!state.result.has_value()) {
      const ToolSpec* spec = ToolsFor(session, tools.calls[i]).Find(tools.calls[i].name);
      state.result = AbortedCall(
          state.started, spec == nullptr || spec->effect == EffectClass::kEffect,
          state.started ? "the turn was cancelled while it ran" : "the turn was cancelled before");
    }
    // Those that were made here, now or after a restart, have neither yet.
    state.result->call_id = tools.calls[i].id;
    state.result->content_bytes =
        std::max(state.result->content_bytes, static_cast<int64_t>(state.result->content.size()));
    event.results.push_back(*state.result);
    if (parts_.options.observer != nullptr) {
      parts_.options.observer->OnToolCall(state.result->outcome);
    }
  }
  NoteRepeats(tools.calls, event, *session.turn);
  StepAnswer answer;
  answer.turn = session.turn->view.turn;
  answer.step = session.turn->step;
  answer.event = event;
  AddFiles(event, &session.turn->view);
  AddFoundTools(session, tools.calls, event.results);
  batch.events.push_back(NewEvent(session, event_kind::kToolResults, StepAnswerToJson(answer)));
  session.turn->tools.reset();
  session.known_results.insert(session.known_results.end(), event.results.begin(),
                               event.results.end());
  return event;
}

}  // namespace baleen
