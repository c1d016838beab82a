// The order in which an imported history is written: what each event saw of the context must be
// there before it. Shared by the journal and its twin in memory.
#pragma once

#include <algorithm>
#include <span>

#include "runtime/store/journal_records.h"
#include "tools_sdk/status.h"

namespace baleen {

/// Calls `append_tokens(const TokenRun&)` and `append_event(const EventRecord&)`, in order, until
/// one fails. Requires: events ascending in `tokens`.
template <typename AppendTokens, typename AppendEvent>
Status ReplayImport(const JournalBatch::Import& import, const AppendTokens& append_tokens,
                    const AppendEvent& append_event) {
  int64_t done = 0;
  const auto bring_to = [&](int64_t end) {
    end = std::min(end, static_cast<int64_t>(import.tokens.ids.size()));
    if (end <= done) return OkStatus();
    TokenRun run;
    run.session = import.session.id;
    run.begin = done;
    run.ids.assign(import.tokens.ids.begin() + done, import.tokens.ids.begin() + end);
    if (!import.tokens.logits_hashes.empty()) {
      run.logits_hashes.assign(import.tokens.logits_hashes.begin() + done,
                               import.tokens.logits_hashes.begin() + end);
    }
    done = end;
    return append_tokens(run);
  };
  for (EventRecord event : import.events) {
    RETURN_IF_ERROR(bring_to(event.tokens));
    event.session = import.session.id;
    RETURN_IF_ERROR(append_event(event));
  }
  return bring_to(static_cast<int64_t>(import.tokens.ids.size()));
}

}  // namespace baleen
