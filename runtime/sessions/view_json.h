// What the runtime answers, as JSON objects under the field names of runtime/session.h: one form
// for the C API's replies and the CLI's --json. Members may be added, never renamed.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/script.h"
#include "runtime/session.h"
#include "tools_sdk/tool.h"

namespace baleen {

/// "IDLE", "RUNNING", "BROKEN", "REQUIRES_ACTION".
const char* SessionStateName(SessionState state);

nlohmann::ordered_json ViewJson(const SessionView& view);
nlohmann::ordered_json ViewJson(const TenantUsage& usage);
nlohmann::ordered_json ViewJson(const TurnView& view);
nlohmann::ordered_json ViewJson(const ApprovalView& view);
nlohmann::ordered_json ViewJson(const DecisionView& view);
nlohmann::ordered_json ViewJson(const ScriptView& view);
nlohmann::ordered_json ViewJson(const GrantView& view);
nlohmann::ordered_json ViewJson(const ToolView& view);
nlohmann::ordered_json ViewJson(const ModelView& view);
nlohmann::ordered_json ViewJson(const RewindView& view);
nlohmann::ordered_json ViewJson(const DeleteView& view);
nlohmann::ordered_json ViewJson(const SearchHit& hit);
nlohmann::ordered_json ViewJson(const NoteView& view);
nlohmann::ordered_json ViewJson(const StepReuse& step);
nlohmann::ordered_json ViewJson(const TokenTrace& trace);
nlohmann::ordered_json ViewJson(const ExportView& view);
nlohmann::ordered_json ViewJson(const ImportView& view);
nlohmann::ordered_json ViewJson(const BackupReport& report);
nlohmann::ordered_json ViewJson(const PruneView& view);
nlohmann::ordered_json ViewJson(const CompactReport& report);
nlohmann::ordered_json ViewJson(const VerifyReport& report);
nlohmann::ordered_json ViewJson(const RuntimeStats& stats);
nlohmann::ordered_json ViewJson(const Event& event);

}  // namespace baleen
