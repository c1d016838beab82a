// Hosts: applications that serve tools to a session, come, go, and come back.
#include <utility>

#include "runtime/sessions/call_results.h"
#include "runtime/sessions/control_loop.h"

namespace baleen {

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
    NoteWait(session);
    After(parts_.options.tool_wait_ms_max,
          [this, id = session.record.id, epoch = session.turn->epoch, index, offer, name] {
            SessionRun* run = FindOffer(id, epoch, index, offer);
            if (run == nullptr) return;
            SetResult(*run, index, FailedCall("No host serves the tool '" + name + "' right now."));
          });
    return;
  }
  tools.at_host[index].handed = true;
  NoteWait(session);
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
      SetResult(*run, index, UnknownOutcome("the host that ran it went away"));
    } else {
      run->turn->tools->at_host[index] = {};
      OfferToHost(*run, index);  // waits for a host to come back
    }
  }
}

Result<uint64_t> ControlLoop::AddHost(const std::string& session,
                                      const std::vector<std::string>& tools, ToolHostSink* sink) {
  ASSIGN_OR_RETURN(SessionRun * run, Load(session));
  if (tools.empty()) {
    return InvalidArgumentError("a tool host must name the tools that it serves", "BAD_FIELD");
  }
  for (const std::string& tool : tools) {
    if (run->tools.Find(tool) == nullptr || OriginOf(*run, tool) != ToolOrigin::kHost) {
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

void ControlLoop::SubmitHostResult(const std::string& session, uint64_t host, ToolResult result,
                                   const Answer<std::string>& answer) {
  const auto unknown = [&] {
    return NotFoundError("no open call '" + result.call_id + "' of session '" + session +
                             "' is with this host; it was answered, timed out or cancelled",
                         "ITEM_UNKNOWN");
  };
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return answer(unknown());
  SessionRun& run = *found->second;
  if (run.turn == nullptr || run.turn->tools == nullptr) return answer(unknown());
  ToolRunState& tools = *run.turn->tools;
  for (const auto& [index, wait] : tools.at_host) {
    const std::string id = run.turn->view.turn + "." + tools.calls[index].id;
    const auto owner = run.hosts.find(tools.calls[index].name);
    if (!wait.handed || id != result.call_id || owner == run.hosts.end() ||
        owner->second.id != host) {
      continue;
    }
    return SetResult(run, index, std::move(result), [answer, id](const Status& status) {
      if (!status.ok()) return answer(status);
      answer(id);
    });
  }
  answer(unknown());
}

}  // namespace baleen
