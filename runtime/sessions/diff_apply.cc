#include "runtime/sessions/diff_apply.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools_sdk/builtin/call_text.h"
#include "tools_sdk/builtin/patch.h"
#include "tools_sdk/builtin/unified_diff.h"

namespace baleen {
namespace {

constexpr int64_t kApplyTimeoutMs = 120'000;

ToolSpec ApplyDiffSpec() {
  ToolSpec spec;
  spec.name = kApplyDiff;
  spec.description = "Changes files of the workspace as a unified diff says, all of it or nothing.";
  spec.parameters = R"({"type":"object","properties":{)"
                    R"("diff":{"type":"string","description":"In unified form","minLength":1}},)"
                    R"("required":["diff"],"additionalProperties":false})";
  spec.effect = EffectClass::kIdempotent;
  spec.timeout_ms = kApplyTimeoutMs;
  spec.output_bytes_max = 16 * 1024;
  return spec;
}

/// What is to happen to one file.
struct PlannedChange {
  std::string path;
  PresentFile before;
  std::optional<std::string> after;
  uint32_t mode = 0;  ///< As WorkspaceEditor::Restore has it.
};

/// As chmod +x and -x do: whoever may read it may run it, or nobody may.
uint32_t WithExecutable(uint32_t mode, bool executable) {
  return executable ? mode | 0100 | (mode & 0444) >> 2 : mode & ~uint32_t{0111};
}

Result<PresentFile> ReadPresent(const WorkspaceEditor& editor, const std::string& path) {
  auto present = editor.Present(path);
  // A file lies where a folder of the path should be.
  if (present.status().code() == StatusCode::kNotFound) return PresentFile();
  return present;
}

/// The new content of a file that stays; unset: it is so already.
Result<std::optional<std::string>> NewContent(const std::string& content, const FilePatch& patch) {
  if (patch.hunks.empty()) return std::optional<std::string>();
  const std::string digest = patch.before_digest.empty() ? "" : ContentDigest(content);
  if (!digest.empty() && digest == patch.after_digest) return std::optional<std::string>();
  const auto forward = Patched(content, patch);
  if (!digest.empty() && digest == patch.before_digest) {
    RETURN_IF_ERROR(forward.status());
    if (ContentDigest(*forward) == patch.after_digest) return std::optional(*forward);
    return InvalidArgumentError(patch.path +
                                ": the hunks don't make what the index line says: the diff was "
                                "changed by hand, leave its index lines out");
  }
  // Another file than the diff was made of: its lines must say clearly what is the case, also when
  // they are asked again.
  const bool is_so = Patched(content, patch, PatchDirection::kReverse).ok();
  if (!forward.ok() && is_so) return std::optional<std::string>();
  RETURN_IF_ERROR(forward.status());
  if (!is_so && !Patched(*forward, patch).ok()) return std::optional(*forward);
  return AbortedError(patch.path +
                      ": the file has changed since the diff was made, and by its lines nobody can "
                      "tell whether the diff was applied already");
}

/// Unset: nothing has to be done.
Result<std::optional<PlannedChange>> PlanPatch(const WorkspaceEditor& editor,
                                               const FilePatch& patch) {
  PlannedChange change;
  change.path = patch.path;
  RETURN_IF_ERROR(editor.CheckSecret(patch.path));
  ASSIGN_OR_RETURN(change.before, ReadPresent(editor, patch.path));
  const std::optional<std::string>& content = change.before.content;
  switch (patch.kind) {
    case FilePatch::Kind::kCreate: {
      ASSIGN_OR_RETURN(change.after, Patched("", patch));
      if (content == change.after) return std::optional<PlannedChange>();
      if (content.has_value()) {
        return AbortedError(patch.path + ": the diff makes it anew, and it is there already");
      }
      change.mode = patch.executable.value_or(false) ? 0755 : 0;
      return std::optional(std::move(change));
    }
    case FilePatch::Kind::kDelete: {
      if (!content.has_value()) return std::optional<PlannedChange>();
      ASSIGN_OR_RETURN(const std::string rest, Patched(*content, patch));
      if (rest.empty()) return std::optional(std::move(change));
      return AbortedError(patch.path + ": the diff deletes it, and it has more lines by now");
    }
    case FilePatch::Kind::kChange: break;
  }
  if (!content.has_value()) return AbortedError(patch.path + ": it isn't there");
  ASSIGN_OR_RETURN(change.after, NewContent(*content, patch));
  if (!change.after.has_value()) change.after = content;
  if (patch.executable.has_value() && *patch.executable != change.before.executable()) {
    change.mode = WithExecutable(change.before.mode, *patch.executable);
  }
  if (change.after == content && change.mode == 0) return std::optional<PlannedChange>();
  return std::optional(std::move(change));
}

struct PatchPlan {
  std::vector<PlannedChange> changes;  ///< Deletions first: a folder may take a file's place.
  int64_t created = 0, deleted = 0, so_already = 0;
};

Result<PatchPlan> PlanPatches(const WorkspaceEditor& editor, const std::string& diff,
                              PathAudit* audit) {
  ASSIGN_OR_RETURN(const std::vector<FilePatch> patches, ParsePatch(diff));
  PatchPlan plan;
  std::vector<PlannedChange> others;
  for (const FilePatch& patch : patches) {
    auto planned = PlanPatch(editor, patch);
    audit->Note(patch.path, planned.status());
    ASSIGN_OR_RETURN(std::optional<PlannedChange> change, std::move(planned));
    if (!change.has_value()) {
      ++plan.so_already;
      continue;
    }
    plan.created += patch.kind == FilePatch::Kind::kCreate ? 1 : 0;
    plan.deleted += patch.kind == FilePatch::Kind::kDelete ? 1 : 0;
    (change->after.has_value() ? others : plan.changes).push_back(*std::move(change));
  }
  std::move(others.begin(), others.end(), std::back_inserter(plan.changes));
  return plan;
}

/// Takes back the first `count` changes; what can't be is named.
std::string TakeBack(RecordedChanges& recorded, const std::vector<PlannedChange>& changes,
                     size_t count) {
  std::string left;
  while (count > 0) {
    const PlannedChange& change = changes[--count];
    PresentFile made;
    made.content = change.after;
    made.mode = change.mode != 0 ? change.mode : change.before.mode;
    const Status status =
        recorded.Replace(change.path, made, change.before.content, change.before.mode);
    if (!status.ok()) left += "; " + change.path + " stays changed: " + status.message();
  }
  return left.empty() ? "; nothing was changed" : left;
}

std::string Told(const PatchPlan& plan) {
  const auto of = [](int64_t count, const char* what) {
    return std::to_string(count) + " " + what;
  };
  std::string text =
      "applied: " + of(std::ssize(plan.changes) - plan.created - plan.deleted, "changed, ") +
      of(plan.created, "new, ") + of(plan.deleted, "deleted");
  if (plan.so_already > 0) text += "; " + of(plan.so_already, "were so already");
  return text;
}

}  // namespace

const ToolSet& ApplyDiffTools() {
  static const ToolSet tools = [] {
    ToolSet alone;
    alone.Add(ApplyDiffSpec()).IgnoreError("it is ours, and tests call it");
    return alone;
  }();
  return tools;
}

ToolResult ApplyDiff(const FileKeeper& keeper, const ToolCall& call,
                     const std::atomic<bool>* cancelled, PathAudit* audit) {
  if (keeper.editor == nullptr) return ToolError(call, "this session has no workspace");
  const auto arguments = CallArguments::Parse(*ApplyDiffTools().Find(kApplyDiff), call);
  if (!arguments.ok()) return ToolError(call, arguments.status().message());
  if (cancelled->load()) return ToolError(call, "it was cancelled; nothing was changed");
  const auto plan = PlanPatches(*keeper.editor, arguments->Text("diff", ""), audit);
  if (!plan.ok()) return ToolError(call, plan.status().message() + "; nothing was changed");
  RecordedChanges recorded(keeper);
  ToolResult result;
  for (size_t i = 0; i < plan->changes.size(); ++i) {
    const PlannedChange& change = plan->changes[i];
    const Status status = recorded.Replace(change.path, change.before, change.after, change.mode);
    audit->Note(change.path, status);
    if (status.ok()) continue;
    result = ToolError(call, status.message() + TakeBack(recorded, plan->changes, i));
    result.files = recorded.files();
    return result;
  }
  result.call_id = call.id;
  result.content = Told(*plan);
  result.files = recorded.files();
  return result;
}

}  // namespace baleen
