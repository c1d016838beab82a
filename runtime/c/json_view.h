// What the runtime answers, as JSON objects under the field names of runtime/session.h.
#pragma once

#include <nlohmann/json.hpp>

#include "runtime/session.h"
#include "tools_sdk/tool.h"

namespace baleen::c {

using Json = nlohmann::ordered_json;

Json ViewJson(const SessionView& view);
Json ViewJson(const TurnView& view);
Json ViewJson(const RewindView& view);
Json ViewJson(const DeleteView& view);
Json ViewJson(const SearchHit& hit);
Json ViewJson(const StepReuse& step);
Json ViewJson(const TokenTrace& trace);
Json ViewJson(const ExportView& view);
Json ViewJson(const ImportView& view);
Json ViewJson(const BackupReport& report);
Json ViewJson(const CompactReport& report);
Json ViewJson(const VerifyReport& report);
Json ViewJson(const RuntimeStats& stats);
Json ViewJson(const Event& event);

}  // namespace baleen::c
