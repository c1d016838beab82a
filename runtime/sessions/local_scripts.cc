// Scripts under names: looked at before they are kept, and read when a session is made with one.
#include <utility>

#include "agent/script_check.h"
#include "runtime/sessions/builtin_tool_names.h"
#include "runtime/sessions/local_runtime.h"

namespace baleen {
namespace {

ScriptView ViewOf(ScriptRecord record) {
  return {std::move(record.name), std::move(record.source), record.bytes, record.changed_ms, {}};
}

}  // namespace

Result<ScriptView> LocalRuntime::GetScript(const std::string& script) {
  ASSIGN_OR_RETURN(ScriptRecord record, scripts_->Get(script));
  return ViewOf(std::move(record));
}

Result<std::vector<ScriptView>> LocalRuntime::ListScripts(int64_t scripts_max,
                                                          const std::string& after) {
  ASSIGN_OR_RETURN(auto records, scripts_->List(scripts_max, after));
  std::vector<ScriptView> views;
  for (ScriptRecord& record : records) views.push_back(ViewOf(std::move(record)));
  return views;
}

Result<ScriptView> LocalRuntime::PutScript(const PutScriptRequest& request) {
  const std::string name = request.script.empty() ? "script" : request.script;
  ASSIGN_OR_RETURN(const auto findings,
                   LintScript(request.source, name + ".lua", BuiltinToolNames()));
  ScriptView view;
  if (request.validate_only) {
    view.script = request.script;
    view.source = request.source;
    view.bytes = std::ssize(request.source);
  } else {
    ASSIGN_OR_RETURN(ScriptRecord record, scripts_->Put(request.script, request.source));
    view = ViewOf(std::move(record));
  }
  for (const ScriptFinding& finding : findings) {
    view.notes.push_back({finding.line, finding.message});
  }
  return view;
}

Result<CreateSessionRequest> LocalRuntime::WithScript(const CreateSessionRequest& request) const {
  CreateSessionRequest whole = request;
  if (request.stored_script.empty()) return whole;
  if (!request.settings.script.empty()) {
    return InvalidArgumentError("settings.script: expected none beside a stored script",
                                "BAD_FIELD");
  }
  ASSIGN_OR_RETURN(ScriptRecord record, scripts_->Get(request.stored_script));
  whole.settings.script = std::move(record.source);
  whole.settings.script_name = record.name + ".lua";
  return whole;
}

}  // namespace baleen
