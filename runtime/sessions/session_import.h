// Import: an archive file back into a session.
//
// The file is hostile until proven otherwise: it is read through and checked before anything is
// written. Rows of KV can't be checked against their tokens without computing them, so they are
// taken only from archives that this installation signed, or on the caller's word.
#pragma once

#include <string>
#include <vector>

#include "runtime/sessions/session_export.h"

namespace baleen {

/// A checked archive, ready to be journalled.
struct ImportPlan {
  SessionRecord session;  ///< Id and title as archived; settings as the journal keeps them.
  SessionSettings settings;
  JournalBatch::Import history;
  ImportView view;  ///< Filled in but for the session.
};

/// Reads `request.path`, stores its KV under keys that are computed here, and returns what is to be
/// journalled. Nothing is journalled; KV that was stored for an import that then fails is collected
/// like any other that nobody refers to.
/// Errors: those of ArchiveReader; DATA_LOSS (contents that don't fit together), OUT_OF_RANGE
/// (token ids beyond `vocabulary`: another tokenizer), FAILED_PRECONDITION (a turn that had not
/// ended), CANCELLED. Threads: any. Cost: reads the file once, twice if it takes its KV.
Result<ImportPlan> ReadArchive(const PortParts& parts, const ImportRequest& request,
                               int64_t vocabulary);

}  // namespace baleen
