// TenantCounter: what the sessions of each tenant come to.
//
// A session's settings name its tenant, for good. Remembers what it has read, so that asking again
// costs as what was written since. Reads the journal by a connection of its own, beside live
// sessions; called on hosts' threads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "runtime/session.h"
#include "runtime/store/journal.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Threads: one at a time.
class TenantCounter {
 public:
  /// `journal`: a reading connection of its own.
  explicit TenantCounter(std::unique_ptr<Journal> journal) : journal_(std::move(journal)) {}

  /// Of `tenant`, which isn't empty.
  Result<TenantUsage> Count(const std::string& tenant);

 private:
  /// Up to where a timeline's own events were added up.
  struct Counted {
    int64_t seq = 0;
    int64_t event_bytes = 0;
  };

  Status FindNewTimelines();

  const std::unique_ptr<Journal> journal_;
  int64_t newest_key_ = 0;  ///< Of all timelines that were looked at.
  /// Tenant -> key of a timeline of one of its sessions.
  std::map<std::string, std::map<int64_t, Counted>> timelines_;
};

}  // namespace baleen
