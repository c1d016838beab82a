// Tool calls: journalled as dispatched before any body runs, then built-ins on the pool and host
// tools over their host's stream. Every call gets exactly one result.
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

ToolResult Failure(std::string text) {
  ToolResult result;
  result.outcome = ToolOutcome::kError;
  result.content = std::move(text);
  return result;
}

ToolResult OutcomeUnknown(const std::string& why) {
  ToolResult result;
  result.outcome = ToolOutcome::kUnknown;
  result.content = "The outcome of this call is not known (" + why +
                   "). Its effect may or may not have happened: inspect before repeating it.";
  return result;
}

/// Host results are hostile input: valid UTF-8 of a bounded size is what enters the context.
void Bound(ToolResult& result, int64_t bytes_max) {
  result.content = ReplaceInvalidUtf8(result.content);
  const auto size = static_cast<int64_t>(result.content.size());
  if (result.content_bytes < size) result.content_bytes = size;
  if (size <= bytes_max) return;
  const size_t cut = Utf8Prefix(result.content, static_cast<size_t>(bytes_max)).size();
  result.content.resize(cut);
  result.content += "\n[cut: " + std::to_string(cut) + " of " + std::to_string(size) + " bytes]";
}

}  // namespace

const Tool* ControlLoop::FindBuiltin(const std::string& name) const {
  for (const Tool* tool : parts_.builtin_tools) {
    if (tool->spec().name == name) return tool;
  }
  return nullptr;
}

void ControlLoop::BeginToolCalls(SessionRun& session, const CallToolsEffect& effect) {
  session.turn->tools = std::make_unique<ToolRunState>();
  ToolRunState& tools = *session.turn->tools;
  tools.step = session.turn->step;
  tools.calls = effect.calls;
  tools.results.resize(effect.calls.size());
  ToolDispatch dispatch;
  dispatch.turn = session.turn->view.turn;
  dispatch.step = session.turn->step;
  dispatch.effect = EffectToJson(effect);
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kToolCalls, ToolDispatchToJson(dispatch)));
  // Power-safe before any body runs: after a crash nobody may believe that a call never began.
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (status.ok() && run != nullptr && run->turn->view.state == TurnState::kRunning) {
             DispatchCalls(*run, /*after_restart=*/false);
           }
         });
}

void ControlLoop::DispatchCalls(SessionRun& session, bool after_restart) {
  const uint64_t epoch = session.turn->epoch;
  const std::string id = session.record.id;
  const size_t count = session.turn->tools->calls.size();
  for (size_t i = 0; i < count; ++i) {
    // A result that came at once may have ended the step, and even the turn.
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->tools == nullptr) return;
    DispatchCall(*run, i, after_restart);
  }
}

void ControlLoop::DispatchCall(SessionRun& session, size_t index, bool after_restart) {
  const ToolCall& call = session.turn->tools->calls[index];
  if (Status valid = session.tools.CheckCall(call); !valid.ok()) {
    return SetResult(session, index, Failure(valid.message()));
  }
  const ToolSpec* spec = session.tools.Find(call.name);
  if (after_restart && spec->effect == EffectClass::kEffect) {
    return SetResult(session, index,
                     OutcomeUnknown("the runtime stopped while the call was running"));
  }
  if (const Tool* builtin = FindBuiltin(call.name); builtin != nullptr) {
    return RunBuiltin(session, index, *builtin);
  }
  session.turn->tools->at_host[index] = {};
  OfferToHost(session, index);
}

void ControlLoop::RunBuiltin(SessionRun& session, size_t index, const Tool& tool) {
  auto stop = std::make_shared<std::atomic<bool>>(false);  // owners: ToolRunState and the call
  session.turn->tools->stop.push_back(stop);
  // The tool may outlive the turn (a cancelled one ends at once): it owns what it works with.
  const bool queued =
      parts_.pool->queue().TryPush([this, id = session.record.id, epoch = session.turn->epoch,
                                    index, &tool, stop, call = session.turn->tools->calls[index],
                                    files = session.workspace, step = session.turn->step] {
        CallContext context;
        context.files = files.get();
        context.cancelled = stop.get();
        context.deadline_ms = parts_.clock->SteadyMs() + tool.spec().timeout_ms;
        ToolResult result = const_cast<Tool&>(tool).Call(call, context);
        Post([this, id, epoch, index, step, result = std::move(result)]() mutable {
          SessionRun* run = FindTurn(id, epoch);
          if (run == nullptr || run->turn->step != step) return;
          SetResult(*run, index, std::move(result));
        });
      });
  if (!queued) {
    return SetResult(session, index, Failure("The tool pool is full; try again in a moment."));
  }
  After(tool.spec().timeout_ms, [stop] { stop->store(true); });
}

SessionRun* ControlLoop::FindOffer(const std::string& id, uint64_t epoch, size_t index,
                                   uint64_t offer) {
  SessionRun* run = FindTurn(id, epoch);
  if (run == nullptr || run->turn->tools == nullptr) return nullptr;
  const auto waiting = run->turn->tools->at_host.find(index);
  const auto& open = run->turn->tools->at_host;
  return waiting != open.end() && waiting->second.offer == offer ? run : nullptr;
}

void ControlLoop::OfferToHost(SessionRun& session, size_t index) {
  ToolRunState& tools = *session.turn->tools;
  ToolCall call = tools.calls[index];
  const std::string name = call.name;
  const ToolSpec& spec = *session.tools.Find(name);
  const auto host = session.hosts.find(name);
  const uint64_t offer = next_id_++;
  tools.at_host[index] = {false, offer};
  call.id = session.turn->view.turn + "." + call.id;  // unique within the session
  if (host == session.hosts.end() ||
      !host->second.sink->OnCall(session.record.id, call, spec.timeout_ms)) {
    PublishLive(session, event_kind::kWaiting, WaitingToJson("TOOL_HOST", name));
    After(parts_.options.tool_wait_ms_max,
          [this, id = session.record.id, epoch = session.turn->epoch, index, offer, name] {
            SessionRun* run = FindOffer(id, epoch, index, offer);
            if (run == nullptr) return;
            SetResult(*run, index, Failure("No host serves the tool '" + name + "' right now."));
          });
    return;
  }
  tools.at_host[index].handed = true;
  PublishLive(session, event_kind::kWaiting, WaitingToJson("TOOL", name));
  After(spec.timeout_ms, [this, id = session.record.id, epoch = session.turn->epoch, index, offer,
                          call = call.id] {
    SessionRun* run = FindOffer(id, epoch, index, offer);
    if (run == nullptr) return;
    if (const auto late = run->hosts.find(run->turn->tools->calls[index].name);
        late != run->hosts.end()) {
      late->second.sink->OnCancel(id, call);
    }
    ToolResult result;
    result.outcome = ToolOutcome::kTimeout;
    result.content = "The tool gave no answer in time; its effect may or may not have happened.";
    SetResult(*run, index, std::move(result));
  });
}

void ControlLoop::HostGone(SessionRun& session, const std::string& tool) {
  if (session.turn == nullptr || session.turn->tools == nullptr) return;
  const uint64_t epoch = session.turn->epoch;
  const std::string id = session.record.id;
  const auto open = session.turn->tools->at_host;
  for (const auto& [index, wait] : open) {
    SessionRun* run = FindTurn(id, epoch);
    if (run == nullptr || run->turn->tools == nullptr) return;
    if (!wait.handed || run->turn->tools->calls[index].name != tool) continue;
    if (run->tools.Find(tool)->effect == EffectClass::kEffect) {
      SetResult(*run, index, OutcomeUnknown("the host that ran it went away"));
    } else {
      run->turn->tools->at_host[index] = {};
      OfferToHost(*run, index);  // waits for a host to come back
    }
  }
}

void ControlLoop::SetResult(SessionRun& session, size_t index, ToolResult result) {
  if (session.turn->tools == nullptr || session.turn->view.state != TurnState::kRunning) return;
  ToolRunState& tools = *session.turn->tools;
  if (tools.results[index].has_value()) return;  // the first answer counts
  const ToolSpec* spec = session.tools.Find(tools.calls[index].name);
  result.call_id = tools.calls[index].id;
  Bound(result, spec == nullptr ? 64 * 1024 : spec->output_bytes_max + 1024);
  tools.results[index] = std::move(result);
  tools.at_host.erase(index);
  StepAnswer answer;
  ToolResultsEvent event;
  for (const auto& entry : tools.results) {
    if (!entry.has_value()) return;  // others are still at work
    event.results.push_back(*entry);
  }
  session.turn->tools.reset();
  answer.turn = session.turn->view.turn;
  answer.step = session.turn->step;
  answer.event = event;
  JournalBatch batch;
  batch.events.push_back(NewEvent(session, event_kind::kToolResults, StepAnswerToJson(answer)));
  // Synced: a result that the model is about to read must not be asked for again.
  Commit(session, std::move(batch), Durability::kSynced,
         [this, id = session.record.id, epoch = session.turn->epoch, event](const Status& status) {
           SessionRun* run = FindTurn(id, epoch);
           if (status.ok() && run != nullptr && run->turn->view.state == TurnState::kRunning) {
             Advance(*run, event);
           }
         });
}

Result<uint64_t> ControlLoop::AddHost(const std::string& session,
                                      const std::vector<std::string>& tools, ToolHostSink* sink) {
  ASSIGN_OR_RETURN(SessionRun * run, Load(session));
  if (tools.empty()) {
    return InvalidArgumentError("a tool host must name the tools that it serves", "BAD_FIELD");
  }
  for (const std::string& tool : tools) {
    if (run->tools.Find(tool) == nullptr || FindBuiltin(tool) != nullptr) {
      return InvalidArgumentError("session '" + session + "' has no host tool named '" + tool +
                                      "'; declare it in host_tools when the session is created",
                                  "BAD_FIELD");
    }
  }
  const uint64_t id = next_id_++;
  for (const std::string& tool : tools) {
    if (const auto earlier = run->hosts.find(tool); earlier != run->hosts.end()) {
      run->hosts.erase(earlier);
      HostGone(*run, tool);
    }
    run->hosts[tool] = {id, sink};
  }
  // The sink's owner learns its connection first, then the calls that were waiting for it.
  Post([this, session, id] {
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return;
    SessionRun& waiting = *found->second;
    if (waiting.turn == nullptr || waiting.turn->tools == nullptr) return;
    const auto open = waiting.turn->tools->at_host;
    for (const auto& [index, wait] : open) {
      if (waiting.turn == nullptr || waiting.turn->tools == nullptr) return;
      const auto host = waiting.hosts.find(waiting.turn->tools->calls[index].name);
      if (!wait.handed && host != waiting.hosts.end() && host->second.id == id) {
        OfferToHost(waiting, index);
      }
    }
  });
  return id;
}

void ControlLoop::RemoveHost(const std::string& session, uint64_t id) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  SessionRun& run = *found->second;
  std::vector<std::string> gone;
  for (const auto& [tool, host] : run.hosts) {
    if (host.id == id) gone.push_back(tool);
  }
  for (const std::string& tool : gone) run.hosts.erase(tool);
  for (const std::string& tool : gone) HostGone(run, tool);
}

Status ControlLoop::SubmitHostResult(const std::string& session, uint64_t host, ToolResult result) {
  const auto unknown = [&] {
    return NotFoundError("no open call '" + result.call_id + "' of session '" + session +
                             "' is with this host; it was answered, timed out or cancelled",
                         "ITEM_UNKNOWN");
  };
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return unknown();
  SessionRun& run = *found->second;
  if (run.turn == nullptr || run.turn->tools == nullptr) return unknown();
  ToolRunState& tools = *run.turn->tools;
  for (const auto& [index, wait] : tools.at_host) {
    const std::string id = run.turn->view.turn + "." + tools.calls[index].id;
    const auto owner = run.hosts.find(tools.calls[index].name);
    if (!wait.handed || id != result.call_id || owner == run.hosts.end() ||
        owner->second.id != host) {
      continue;
    }
    SetResult(run, index, std::move(result));
    return OkStatus();
  }
  return unknown();
}

}  // namespace baleen
