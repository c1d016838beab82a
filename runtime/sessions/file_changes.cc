#include "runtime/sessions/file_changes.h"

#include <map>
#include <utility>

namespace baleen {
namespace {

constexpr size_t kFailuresNamed = 5;
constexpr size_t kFilesMax = 10'000;  ///< Of one answer, which has to fit into a message.

std::string DigestOf(const std::optional<std::string>& content) {
  return content.has_value() ? FileDigest(*content) : std::string();
}

/// Whether the change is certain not to have happened after its Store has failed so.
bool NothingChanged(const Status& status) {
  switch (status.code()) {
    case StatusCode::kAborted:
    case StatusCode::kPermissionDenied:
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound: return true;
    default: return false;
  }
}

/// One change through the history: `make` makes it.
template <typename Make>
Result<int64_t> Recorded(const FileKeeper& keeper, const FileChange& change,
                         std::string_view before, int64_t restore, const Make& make) {
  ASSIGN_OR_RETURN(const int64_t key,
                   keeper.history->Begin(keeper.owner, keeper.place, change, before, restore));
  const Status made = make();
  if (made.ok() || NothingChanged(made)) {
    keeper.history->Settle(key, made.ok())
        .IgnoreError("an unsettled change is judged by what the file holds");
  }
  RETURN_IF_ERROR(made);
  return key;
}

/// What a file held before the first of `changes`, if nobody else's change lies between them and
/// what is there now. Sets `why` if one does.
struct Origin {
  std::string digest;  ///< Empty: no file.
  uint32_t mode = 0;   ///< Permission bits; 0: not known.
  std::string why;
};

/// The permission bits before a change of a file that stays, by those after it. Others than it left
/// are somebody else's, or it never happened: they stay.
uint32_t ModeBefore(const FileChange& change, uint32_t after) {
  return change.new_mode != 0 && change.new_mode == after ? change.mode : after;
}

Origin WalkBack(const std::vector<FileChange>& changes, const std::string& present, uint32_t mode) {
  Origin origin = {present, mode, {}};
  // Somebody else may have brought it back already.
  if (changes.front().settled && changes.front().before == present) {
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
      origin.mode = ModeBefore(*change, origin.mode);
    }
    return origin;
  }
  for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
    if (change->after == origin.digest) {
      origin.digest = change->before;
      origin.mode = change->before.empty()  ? 0
                    : change->after.empty() ? change->mode
                                            : ModeBefore(*change, origin.mode);
    } else if (change->settled || change->before != origin.digest) {
      origin.why = change != changes.rbegin()
                       ? "somebody else changed it between changes of the session"
                   : present.empty() ? "somebody else removed or renamed it"
                                     : "it isn't as the session left it";
      return origin;
    }  // else the process ended before this one happened
  }
  return origin;
}

struct PlannedFile {
  FileRestore view;
  std::string present;  ///< Digest.
  uint32_t present_mode = 0;
  Origin origin;

  /// What a file that stays or comes back gets; 0: its own, or as any new one.
  uint32_t NewMode() const { return origin.mode == present_mode ? 0 : origin.mode; }
};

Result<PlannedFile> PlanFile(const FileKeeper& keeper, const std::string& path,
                             const std::vector<FileChange>& changes) {
  PlannedFile plan;
  plan.view.path = path;
  const auto conflict = [&](std::string why) {
    plan.view.action = FileAction::kConflict;
    plan.view.why = std::move(why);
    return plan;
  };
  const auto present = keeper.editor->Present(path);
  if (!present.ok()) return conflict(present.status().message());
  plan.present = DigestOf(present->content);
  plan.present_mode = present->mode;
  plan.origin = WalkBack(changes, plan.present, present->mode);
  if (!plan.origin.why.empty()) return conflict(plan.origin.why);
  if (plan.origin.digest == plan.present) {
    if (plan.NewMode() != 0) plan.view.action = FileAction::kRestore;
    return plan;
  }
  if (plan.origin.digest.empty()) {
    plan.view.action = FileAction::kDelete;
    return plan;
  }
  plan.view.action = plan.present.empty() ? FileAction::kRecreate : FileAction::kRestore;
  ASSIGN_OR_RETURN(const bool kept, keeper.history->Keeps(plan.origin.digest));
  if (!kept) {
    plan.view.action = FileAction::kNotKept;
    plan.view.why = "what it held (sha256 " + plan.origin.digest.substr(0, 12) +
                    "...) was too large to keep, or is too long ago (file_history_bytes)";
  }
  return plan;
}

Result<std::vector<PlannedFile>> PlanAll(const FileKeeper& keeper, int64_t key) {
  ASSIGN_OR_RETURN(std::vector<FileChange> changes,
                   keeper.history->ChangesAfter(keeper.owner, key));
  std::map<std::string, std::vector<FileChange>> by_path;
  for (FileChange& change : changes) by_path[change.path].push_back(std::move(change));
  if (by_path.size() > kFilesMax) {
    return ResourceExhaustedError("the session changed " + std::to_string(by_path.size()) +
                                  " files since: expected at most " + std::to_string(kFilesMax) +
                                  "; rewind in smaller steps");
  }
  std::vector<PlannedFile> plans;
  for (const auto& [path, of_path] : by_path) {
    ASSIGN_OR_RETURN(PlannedFile plan, PlanFile(keeper, path, of_path));
    plans.push_back(std::move(plan));
  }
  return plans;
}

/// Sets `restore` to the key of the first change.
Status RestoreFile(const FileKeeper& keeper, const PlannedFile& plan, int64_t* restore) {
  const std::string& path = plan.view.path;
  ASSIGN_OR_RETURN(const PresentFile present, keeper.editor->Present(path));
  if (DigestOf(present.content) != plan.present || present.mode != plan.present_mode) {
    return AbortedError("it was changed by somebody else in this moment");
  }
  std::optional<std::string> content;
  if (plan.origin.digest == plan.present) {
    content = present.content;
  } else if (!plan.origin.digest.empty()) {
    ASSIGN_OR_RETURN(content, keeper.history->Content(plan.origin.digest));
  }
  FileChange change;
  change.path = path;
  change.before = plan.present;
  change.after = plan.origin.digest;
  change.mode = present.mode;
  if (present.content.has_value() && content.has_value()) change.new_mode = plan.NewMode();
  ASSIGN_OR_RETURN(const int64_t key,
                   Recorded(keeper, change, present.content.value_or(""), *restore, [&] {
                     return keeper.editor->Restore(path, content, present.content, plan.NewMode());
                   }));
  if (*restore == FileHistory::kNewRestore) *restore = key;
  return OkStatus();
}

}  // namespace

Status RecordedChanges::Store(std::string_view path, std::string_view content,
                              const std::string* replaced) {
  if (keeper_.history == nullptr) return keeper_.editor->Store(path, content, replaced);
  ChangedFile file;
  ASSIGN_OR_RETURN(file.path, PlainPath(path));
  file.before = replaced == nullptr ? std::string() : FileDigest(*replaced);
  file.after = FileDigest(content);
  FileChange change;
  change.path = file.path;
  change.before = file.before;
  change.after = file.after;
  RETURN_IF_ERROR(Recorded(keeper_, change, replaced == nullptr ? "" : *replaced, 0, [&] {
                    return keeper_.editor->Store(path, content, replaced);
                  }).status());
  files_.push_back(std::move(file));
  return OkStatus();
}

Status RecordedChanges::Replace(const std::string& path, const PresentFile& before,
                                const std::optional<std::string>& content, uint32_t mode) {
  const auto make = [&] { return keeper_.editor->Restore(path, content, before.content, mode); };
  if (keeper_.history == nullptr) return make();
  FileChange change;
  change.path = path;
  change.before = DigestOf(before.content);
  change.after = DigestOf(content);
  change.mode = before.mode;
  if (before.content.has_value() && content.has_value() && mode != before.mode) {
    change.new_mode = mode;
  }
  RETURN_IF_ERROR(Recorded(keeper_, change, before.content.value_or(""), 0, make).status());
  files_.push_back({path, change.before, change.after});
  return OkStatus();
}

Result<std::vector<FileRestore>> PlanFiles(const FileKeeper& keeper, int64_t key) {
  ASSIGN_OR_RETURN(std::vector<PlannedFile> plans, PlanAll(keeper, key));
  std::vector<FileRestore> files;
  for (PlannedFile& plan : plans) files.push_back(std::move(plan.view));
  return files;
}

Result<std::vector<FileRestore>> RestoreFiles(const FileKeeper& keeper, int64_t key) {
  ASSIGN_OR_RETURN(std::vector<PlannedFile> plans, PlanAll(keeper, key));
  std::vector<FileRestore> files;
  std::string failures;
  size_t failed = 0, restored = 0;
  int64_t restore = FileHistory::kNewRestore;
  for (PlannedFile& plan : plans) {
    const FileAction action = plan.view.action;
    if (action == FileAction::kRestore || action == FileAction::kDelete ||
        action == FileAction::kRecreate) {
      const Status status = RestoreFile(keeper, plan, &restore);
      if (status.code() == StatusCode::kAborted) {
        plan.view.action = FileAction::kConflict;
        plan.view.why = status.message();
      } else if (!status.ok()) {
        if (++failed <= kFailuresNamed) failures += "; " + status.message();
      } else {
        ++restored;
      }
    }
    files.push_back(std::move(plan.view));
  }
  if (failed > 0) {
    return FailedPreconditionError(
        std::to_string(failed) + " of " + std::to_string(failed + restored) +
            " files could not be restored" + failures +
            "; the conversation was not moved: mend that, and rewind again",
        "FILES_NOT_RESTORED");
  }
  return files;
}

}  // namespace baleen
