#include "runtime/sessions/tenant_counter.h"

#include <utility>

#include "runtime/sessions/settings_json.h"

namespace baleen {

Status TenantCounter::FindNewTimelines() {
  while (true) {
    ASSIGN_OR_RETURN(const auto page, journal_->ListTimelines("", newest_key_, kRowsPerReadMax));
    if (page.empty()) return OkStatus();
    for (const TimelineRecord& timeline : page) {
      if (!timeline.session.empty()) {
        const auto session = journal_->GetSession(timeline.session);
        SettingsMarks marks;
        // One that is deleted meanwhile, or damaged, counts for nobody.
        const StatusCode code = session.status().code();
        if (!session.ok() && code != StatusCode::kNotFound && code != StatusCode::kDataLoss) {
          return session.status();
        }
        if (session.ok() && SettingsFromJson(session->settings, &marks).ok() &&
            !marks.tenant.empty()) {
          timelines_[marks.tenant][timeline.key] = {timeline.base_seq, 0};
        }
      }
      newest_key_ = timeline.key;
    }
  }
}

Result<TenantUsage> TenantCounter::Count(const std::string& tenant) {
  RETURN_IF_ERROR(FindNewTimelines());
  TenantUsage usage;
  const auto own = timelines_.find(tenant);
  if (own == timelines_.end()) return usage;
  for (auto at = own->second.begin(); at != own->second.end();) {
    auto& [key, counted] = *at;
    ASSIGN_OR_RETURN(const auto rows, journal_->ListTimelines("", key - 1, 1));
    if (rows.empty() || rows[0].key != key || rows[0].session.empty()) {
      at = own->second.erase(at);  // deleted; what forks have of it is theirs to keep
      continue;
    }
    const TimelineRecord& timeline = rows[0];
    if (timeline.last_seq > counted.seq) {
      ASSIGN_OR_RETURN(const int64_t bytes, journal_->EventBytes(key, counted.seq));
      counted = {timeline.last_seq, counted.event_bytes + bytes};
    }
    if (timeline.number == 1) usage.sessions += 1;
    usage.stored_bytes += counted.event_bytes;
    usage.stored_bytes += (timeline.tokens - timeline.base_tokens) * int64_t{sizeof(int32_t)};
    ++at;
  }
  return usage;
}

}  // namespace baleen
