// `baleen scripts`: Lua that a runtime keeps under names, for sessions to be made with.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "runtime/cli/flags.h"
#include "runtime/sessions/view_json.h"

namespace baleen::cli {
namespace {

struct ScriptFlags {
  RuntimeFlags runtime;
  PutScriptRequest put;
  std::string file;
  bool json = false;
};

int Put(const ScriptFlags& flags) {
  PutScriptRequest request = flags.put;
  auto source = ReadTextFile(flags.file);
  if (!source.ok()) return Fail(source.status(), flags.json);
  request.source = *std::move(source);
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const auto view = (*runtime)->PutScript(request);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) {
    std::cout << ViewJson(*view).dump(2) << "\n";
    return kExitOk;
  }
  for (const ScriptNote& note : view->notes) {
    std::printf("%s:%lld: %s\n", flags.file.c_str(), static_cast<long long>(note.line),
                note.message.c_str());
  }
  std::printf("%s %s: %lld bytes\n", request.validate_only ? "looked at" : "kept",
              request.script.c_str(), static_cast<long long>(view->bytes));
  return kExitOk;
}

int List(const ScriptFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const auto views = (*runtime)->ListScripts(0, "");
  if (!views.ok()) return Fail(views.status(), flags.json);
  auto all = nlohmann::ordered_json::array();
  for (const ScriptView& view : *views) {
    all.push_back(ViewJson(view));
    if (flags.json) continue;
    std::printf("%-40s %8lld bytes\n", view.script.c_str(), static_cast<long long>(view.bytes));
  }
  if (flags.json) std::cout << all.dump(2) << "\n";
  return kExitOk;
}

int Show(const ScriptFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const auto view = (*runtime)->GetScript(flags.put.script);
  if (!view.ok()) return Fail(view.status(), flags.json);
  std::cout << (flags.json ? ViewJson(*view).dump(2) + "\n" : view->source);
  return kExitOk;
}

int Delete(const ScriptFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const Status status = (*runtime)->DeleteScript(flags.put.script);
  if (!status.ok()) return Fail(status, flags.json);
  if (flags.json) {
    std::cout << nlohmann::ordered_json{{"deleted", flags.put.script}}.dump(2) << "\n";
  } else {
    std::printf("deleted %s\n", flags.put.script.c_str());
  }
  return kExitOk;
}

}  // namespace

void AddScripts(CLI::App& app, int* exit_code) {
  CLI::App* scripts = app.add_subcommand(
      "scripts", "Lua kept under names; `baleen run --stored NAME` makes a session with one");
  scripts->require_subcommand(1);
  auto flags = std::make_shared<ScriptFlags>();  // owners: the callbacks below
  const auto add = [&](const char* name, const char* about, int (*body)(const ScriptFlags&)) {
    CLI::App* command = scripts->add_subcommand(name, about);
    flags->runtime.AddTo(*command);
    command->add_flag("--json", flags->json, "JSON on stdout");
    command->callback([flags, exit_code, body] { *exit_code = body(*flags); });
    return command;
  };
  CLI::App* put = add("put", "Check a Lua file and keep it, in place of what has the name", &Put);
  add("list", "All of them", &List);
  CLI::App* show = add("show", "The text of one", &Show);
  CLI::App* remove = add("delete", "Forget one; sessions that were made with it keep it", &Delete);
  for (CLI::App* command : {put, show, remove}) {
    command->add_option("name", flags->put.script, "[a-z0-9][a-z0-9-]{0,62}")->required();
  }
  put->add_option("file", flags->file, "Lua file")->required()->check(CLI::ExistingFile);
  put->add_flag("--dry-run", flags->put.validate_only, "Only check it");
}

}  // namespace baleen::cli
