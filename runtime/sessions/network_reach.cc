#include "runtime/sessions/network_reach.h"

#include <utility>

#include "runtime/http_tools/script_requests.h"
#include "runtime/http_tools/web_fetch.h"
#include "runtime/sandbox/bash_tools.h"
#include "runtime/sessions/control_loop.h"
#include "runtime/sessions/outside_tools.h"

namespace baleen {
namespace {

/// Of commands and plugins, which choose themselves among the session's hosts.
NetworkReach ReachOfProcesses(const SessionSettings& settings) {
  std::string hosts;
  for (const std::string& host : settings.network_hosts)
    hosts += (hosts.empty() ? "" : ", ") + host;
  return {hosts, ""};
}

}  // namespace

void NetworkSeen::Add(const ToolDispatch& dispatch) {
  if (dispatch.hosts.empty()) return;
  if (host.empty()) {
    host = dispatch.hosts[0];
    turn = dispatch.turn;
  }
  hosts.insert(dispatch.hosts.begin(), dispatch.hosts.end());
}

std::string TaintOf(const NetworkSeen& seen, const NetworkReach& reach) {
  if (seen.host.empty() || reach.host.empty()) return "";
  const bool known = seen.hosts.contains(reach.host);
  if (known && reach.secret.empty()) return "";
  std::string why =
      "what came from " + seen.host + " in turn " + seen.turn + " may want this call: it would ";
  if (!reach.secret.empty()) why += "use the secret '" + reach.secret + "'";
  if (!known)
    why += (reach.secret.empty() ? "reach " : " at ") + reach.host + " for the first time";
  return why;
}

NetworkReach ControlLoop::ReachOf(const SessionRun& session, const ToolCall& call) const {
  switch (OriginOf(session, call.name)) {
    case ToolOrigin::kBuiltin:
      if (call.name == kBashTool) return ReachOfProcesses(session.settings);
      if (call.name == kHttpRequest) {
        ScriptRequestHead head = ScriptRequestHeadOf(call.arguments);
        return {std::move(head.host), std::move(head.secret)};
      }
      return {call.name == kWebFetch ? WebFetchHost(call.arguments) : "", ""};
    case ToolOrigin::kHttp:
    case ToolOrigin::kUnsandboxed:
    case ToolOrigin::kOutside: {
      const NetworkReach reach =
          parts_.outside == nullptr ? NetworkReach() : parts_.outside->ReachOf(call.name);
      return reach.host.empty() ? ReachOfProcesses(session.settings) : reach;
    }
    case ToolOrigin::kHost:
    case ToolOrigin::kScript: break;
  }
  return {};
}

Status ControlLoop::ReadNetwork(SessionRun& session) {
  if (session.network.has_value()) return OkStatus();
  NetworkSeen seen;
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto page,
                     parts_.journal_reader->ReadEventsOfKind(
                         session.record.id, event_kind::kToolDispatched, after, kJournalPage));
    if (page.empty()) break;
    for (const EventRecord& event : page) {
      after = event.seq;
      ASSIGN_OR_RETURN(const ToolDispatch dispatch, ToolDispatchFromJson(event.payload));
      seen.Add(dispatch);
    }
  }
  session.network = std::move(seen);
  return OkStatus();
}

void ControlLoop::NoteNetworkOf(SessionRun& session, const std::vector<std::string>& forks,
                                JournalBatch& batch) {
  ToolDispatch dispatch = {session.turn->view.turn, session.turn->step, {}, {}};
  if (!ReadNetwork(session).ok()) return;  // its own next question says so
  for (const std::string& fork : forks) {
    auto run = Load(fork);
    if (!run.ok() || !ReadNetwork(**run).ok()) continue;
    for (const std::string& host : (*run)->network->hosts) {
      if (!session.network->hosts.contains(host)) dispatch.hosts.push_back(host);
    }
    session.network->Add(dispatch);
  }
  if (dispatch.hosts.empty()) return;
  batch.events.push_back(
      NewEvent(session, event_kind::kToolDispatched, ToolDispatchToJson(dispatch)));
}

std::string ControlLoop::TaintQuestion(SessionRun& session, const ToolCall& call) {
  if (session.settings.policy.ignore_taint) return "";
  const NetworkReach reach = ReachOf(session, call);
  if (reach.host.empty()) return "";
  if (const Status read = ReadNetwork(session); !read.ok()) {
    return "what the session has had from the network can't be read: " + read.message();
  }
  return TaintOf(*session.network, reach);
}

}  // namespace baleen
