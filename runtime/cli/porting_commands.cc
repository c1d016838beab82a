// `baleen sessions export|import`.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "runtime/cli/session_commands.h"
#include "runtime/sessions/view_json.h"

namespace baleen::cli {
namespace {

/// A line that rewrites itself, on a terminal only. A daemon does the work elsewhere: no line then.
PortProgress ProgressLine(const char* verb) {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [verb](int64_t done, int64_t total) {
    std::fprintf(stderr, "\r%s %lld %%", verb,
                 static_cast<long long>(total == 0 ? 100 : 100 * done / total));
    if (done == total) std::fputc('\n', stderr);
    return true;
  };
}

void PrintNotes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) std::printf("  %s\n", note.c_str());
}

int Export(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  // A daemon has another working directory than its caller.
  const std::string path = std::filesystem::absolute(flags.path).lexically_normal();
  auto view = (*runtime)->ExportSession(flags.session, path, ProgressLine("exporting"));
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) {
    PrintFields(ViewJson(*view), true);
    return kExitOk;
  }
  std::printf("%s: %lld tokens, %lld blocks of KV, %lld bytes\n", view->path.c_str(),
              static_cast<long long>(view->tokens), static_cast<long long>(view->blocks),
              static_cast<long long>(view->bytes));
  PrintNotes(view->notes);
  return kExitOk;
}

int Import(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  ImportRequest request;
  request.path = std::filesystem::absolute(flags.path).lexically_normal();
  request.session = flags.session;
  request.trust_kv = flags.trust_kv;
  if (!flags.workspace.empty()) {
    request.workspace = std::filesystem::absolute(flags.workspace).lexically_normal();
  }
  auto view = (*runtime)->ImportSession(request, ProgressLine("importing"));
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) {
    PrintFields(ViewJson(*view), true);
    return kExitOk;
  }
  std::printf("%s: %lld tokens%s\n", view->session.session.c_str(),
              static_cast<long long>(view->tokens),
              view->kv_taken ? " with their KV" : ", imported as text");
  PrintNotes(view->notes);
  return kExitOk;
}

}  // namespace

void AddPorting(const AddSessionCommand& add, SessionFlags& flags) {
  CLI::App* save = add("export", "Write an idle session, with its KV, into one new file", &Export);
  save->add_option("session", flags.session)->required();
  save->add_option("path", flags.path, "New file, on the machine of the daemon")->required();
  CLI::App* load = add("import", "Make a session from an exported file", &Import);
  load->add_option("path", flags.path, "The file, on the machine of the daemon")->required();
  load->add_option("--as", flags.session, "Id of the new session; else the exported one's");
  load->add_option("--workspace", flags.workspace,
                   "Folder for its file tools; else it has none, whatever the file says");
  load->add_flag("--trust-kv", flags.trust_kv,
                 "Take KV rows that another installation wrote; only for files of your own");
}

}  // namespace baleen::cli
