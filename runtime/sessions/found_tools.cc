// Deferred tools: a session that names find_tools isn't told of its tools from outside, or of those
// of them that it defers. What a call of it answers is known from then on: in the text at the end
// of the context, and to the grammar. Which those are is read from the journal, so that restarts,
// forks and rewinds agree.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "runtime/sessions/control_loop.h"
#include "tools_sdk/builtin/find_tools.h"
#include "tools_sdk/schema.h"
#include "tools_sdk/tool_pattern.h"

namespace baleen {
namespace {

/// The names in an answer of find_tools: a function object a line.
std::vector<std::string> NamesIn(const std::string& content) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const auto line =
        nlohmann::json::parse(content.begin() + static_cast<int64_t>(begin),
                              content.begin() + static_cast<int64_t>(end), nullptr, false);
    if (line.is_object() && line.contains("name") && line["name"].is_string()) {
      names.push_back(line["name"].get<std::string>());
    }
    begin = end + 1;
  }
  return names;
}

/// Ids and names of the calls of an effect, as it was journalled.
std::vector<ToolCall> CallsIn(const std::string& effect) {
  std::vector<ToolCall> calls;
  const auto json = nlohmann::json::parse(effect, nullptr, false);
  if (!json.is_object() || !json.contains("calls") || !json["calls"].is_array()) return calls;
  for (const auto& call : json["calls"]) {
    if (!call.is_object()) continue;
    calls.push_back({call.value("id", ""), call.value("name", ""), ""});
  }
  return calls;
}

std::string QueryOf(const ToolCall& call) {
  const auto json = nlohmann::json::parse(call.arguments, nullptr, false);
  return json.is_object() ? json.value("query", "") : "";
}

}  // namespace

bool IsDeferred(const SessionSettings& settings, const ToolSpec& tool) {
  if (!NamesTool(settings, kFindTools)) return false;
  const auto& patterns = settings.defer_tools;
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return MatchesToolPattern(pattern, tool); });
}

bool ControlLoop::IsSearchOfTools(const SessionRun& session, const ToolCall& call) const {
  return call.name == kFindTools && OriginOf(session, call.name) == ToolOrigin::kBuiltin;
}

void ControlLoop::AnswerFindTools(SessionRun& session, size_t index) {
  ToolResult result;
  std::vector<ToolSpec> deferred;
  for (const ToolSpec& spec : session.settings.outside_tools) {
    if (IsDeferred(session.settings, spec)) deferred.push_back(spec);
  }
  const auto found = FindTools(deferred, QueryOf(session.turn->tools->calls[index]));
  for (const ToolSpec* spec : found) {
    const bool room = session.tools.Find(spec->name) != nullptr ||
                      session.tools.specs().size() + found.size() <= kToolsMax;
    if (room) result.content += FunctionObjectJson(*spec) + "\n";
  }
  result.content += found.empty() ? "[no such tool; try other words]" : "[you can call these now]";
  SetResult(session, index, std::move(result));
}

void ControlLoop::AddFoundTools(SessionRun& session, const std::vector<ToolCall>& calls,
                                const std::vector<ToolResult>& results) const {
  for (const ToolResult& result : results) {
    const auto call = std::find_if(calls.begin(), calls.end(),
                                   [&](const ToolCall& one) { return one.id == result.call_id; });
    if (call == calls.end() || !IsSearchOfTools(session, *call)) continue;
    if (result.outcome != ToolOutcome::kOk) continue;
    for (const std::string& name : NamesIn(result.content)) {
      const auto& outside = session.settings.outside_tools;
      const auto spec = std::find_if(outside.begin(), outside.end(),
                                     [&](const ToolSpec& one) { return one.name == name; });
      if (spec == outside.end() || session.tools.Find(name) != nullptr) continue;
      session.tools.Add(*spec).IgnoreError("then it can't be called, and calls of it say so");
      session.constraints.clear();
    }
  }
}

Status ControlLoop::ReadTools(SessionRun& session) {
  ASSIGN_OR_RETURN(session.tools, MakeToolSet(session.settings));
  session.tools_told = session.tools.specs().size();
  session.constraints.clear();
  if (!NamesTool(session.settings, kFindTools)) return OkStatus();
  std::vector<ToolCall> calls;
  int64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const auto events,
                     parts_.journal_reader->ReadEvents(session.record.id, after, kJournalPage));
    if (events.empty()) return OkStatus();
    for (const EventRecord& event : events) {
      after = event.seq;
      if (event.kind == event_kind::kToolCalls) {
        ASSIGN_OR_RETURN(const ToolProposal proposal, ToolProposalFromJson(event.payload));
        calls = CallsIn(proposal.effect);
      } else if (event.kind == event_kind::kToolResults || event.kind == event_kind::kToolResult) {
        ASSIGN_OR_RETURN(const StepAnswer answer, StepAnswerFromJson(event.payload));
        const auto* results = std::get_if<ToolResultsEvent>(&answer.event);
        if (results != nullptr) AddFoundTools(session, calls, results->results);
      }
    }
  }
}

}  // namespace baleen
