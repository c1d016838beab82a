// What a tool is: a spec and a Call. Implemented by built-ins, plugins, Lua and host-side proxies.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools_sdk/message.h"
#include "tools_sdk/status.h"

namespace baleen {

/// What calling twice would do; decides what a restart may repeat.
enum class EffectClass { kPure, kIdempotent, kEffect };

struct ToolSpec {
  std::string name;         ///< [a-zA-Z0-9_.-]{1,64}
  std::string description;  ///< For the model; data, never trusted text.
  std::string parameters;   ///< JSON Schema text of an object.
  EffectClass effect = EffectClass::kEffect;
  int64_t timeout_ms = 30'000;
  int64_t output_bytes_max = 64 * 1024;
  bool of_mcp_server = false;  ///< Patterns may name it as mcp:NAME (tool_pattern.h).
};

/// One directory entry below a workspace root.
struct FileEntry {
  enum class Kind { kFile, kDirectory, kOther };
  std::string path;  ///< Relative to the workspace root, '/' separated.
  Kind kind = Kind::kOther;
  int64_t size_bytes = 0;
  int64_t modified_ns = 0;  ///< Since 1970.
};

/// Read access to the files of one workspace. Nothing outside the root can be reached, whatever the
/// path says. Implemented by the runtime (runtime/workspace.h).
/// Threads: const methods may be called from any thread.
class WorkspaceFiles {
 public:
  virtual ~WorkspaceFiles() = default;
  /// Bytes [offset, offset+bytes_max) of a regular file.
  /// Errors: NOT_FOUND; PERMISSION_DENIED (outside the root, or the OS refuses);
  /// FAILED_PRECONDITION (not a regular file).
  virtual Result<std::string> Read(std::string_view path, int64_t offset,
                                   int64_t bytes_max) const = 0;
  /// Size in bytes of a regular file. Errors: as Read.
  virtual Result<int64_t> Size(std::string_view path) const = 0;
  /// Entries of one directory, sorted bytewise by name; not recursive. `entries_max` bounds the
  /// answer.
  virtual Result<std::vector<FileEntry>> List(std::string_view path, int64_t entries_max) const = 0;
};

/// A whole file, and whether the session knows it so.
struct SeenFile {
  enum class Seen { kNever, kChanged, kCurrent };
  std::string content;
  Seen seen = Seen::kNever;
};

/// Changes to the files of one workspace, each against what the session has seen of the file.
/// Paths go through no symbolic link and not into '.git'. Implemented by the runtime.
/// Threads: any; changes of one workspace take turns.
class WorkspaceChanges {
 public:
  virtual ~WorkspaceChanges() = default;
  /// The session is about to see the file as it is now. Does nothing for what isn't a file that
  /// could be changed.
  virtual void NoteSeen(std::string_view path) = 0;
  /// Errors: as WorkspaceFiles::Read; RESOURCE_EXHAUSTED (larger than kChangeBytesMax).
  virtual Result<SeenFile> Load(std::string_view path) = 0;
  /// Makes `content` the file's, in one step: nobody sees half of it. `replaced` is what must be
  /// there until then; null: nothing. Folders on the way are made. The session has seen it then.
  /// Errors: ABORTED (something else is there); PERMISSION_DENIED; RESOURCE_EXHAUSTED.
  virtual Status Store(std::string_view path, std::string_view content,
                       const std::string* replaced) = 0;

  static constexpr int64_t kChangeBytesMax = 8 << 20;
};

/// A note, or what an earlier session of the workspace said.
struct RecalledText {
  std::string source;   ///< "note n3 of session s", "session s, t2, the user".
  int64_t time_ms = 0;  ///< Unix milliseconds.
  std::string text;     ///< Somebody's words: data, never trusted text.
};

/// What sessions of one workspace tell those that come later. Implemented by the runtime.
/// Threads: any.
class WorkspaceNotes {
 public:
  virtual ~WorkspaceNotes() = default;
  /// Keeps a note, for good when it returns its id; a repeat of the call keeps no second one.
  /// Errors: RESOURCE_EXHAUSTED (too many), UNAVAILABLE.
  virtual Result<std::string> Remember(const std::string& text) = 0;
  /// Notes and what other sessions said, the best first.
  virtual Result<std::vector<RecalledText>> Recall(const std::string& query, int64_t hits_max) = 0;
};

/// News of a running call for those who watch its session. The model never sees them, and nothing
/// keeps them: what matters is part of the result.
struct CallProgress {
  /// What was written since the last news, any bytes. Only the end of a long one is looked at.
  std::string_view output{};
  /// Bytes written in all, `output` among them; those between the last news and it are left out.
  int64_t output_bytes = 0;
  std::optional<double> done;   ///< How far it is, in a unit of the tool's own.
  std::optional<double> total;  ///< What `done` will be at the end.
  std::string_view message{};   ///< A line, of which 200 bytes are shown. Empty: the one before.
};

/// Says which files need not be read by who looks for a text. Implemented by the runtime, with a
/// program that is made for it.
/// Threads: any.
class FileSieve {
 public:
  virtual ~FileSieve() = default;
  /// Of each file, whether it may hold one of `texts` (printable ASCII, their letters of either
  /// case). False: it held none when it was looked at. Paths are as WorkspaceFiles lists them.
  /// Errors: any; then nothing is known of any file.
  virtual Result<std::vector<bool>> MayHold(const std::vector<std::string>& paths,
                                            const std::vector<std::string>& texts,
                                            const std::atomic<bool>* cancelled) = 0;
  /// So many small files are read in the time that it takes to begin.
  virtual int64_t files_worth() const = 0;
};

/// What a tool may use during one call.
/// Borrows: everything; valid until Call returns.
struct CallContext {
  const WorkspaceFiles* files = nullptr;  ///< Null: the session has no workspace.
  WorkspaceChanges* changes = nullptr;    ///< Null: its files are only to be read.
  WorkspaceNotes* notes = nullptr;        ///< Null: there are none here.
  FileSieve* sieve = nullptr;             ///< Null: there is none here.
  const std::atomic<bool>* cancelled = nullptr;
  int64_t deadline_ms = 0;  ///< Monotonic milliseconds of the runtime's clock.
  /// Tells watchers how the call gets on. Empty: nobody listens. Copies, never waits, and may be
  /// called as often as there is news: the newest is shown a few times a second, without secrets.
  /// Threads: any, until Call returns.
  std::function<void(const CallProgress&)> progress;

  bool Cancelled() const {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }
};

/// A callable. Threads: Call may run on any pool thread and concurrently with itself.
class Tool {
 public:
  virtual ~Tool() = default;
  virtual const ToolSpec& spec() const = 0;
  /// Runs the call. A failure of the tool is an outcome with text for the model, not a Status.
  virtual ToolResult Call(const ToolCall& call, CallContext& context) = 0;
};

}  // namespace baleen
