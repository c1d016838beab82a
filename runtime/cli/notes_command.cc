// `baleen notes list|forget`: what models remembered for later sessions, to be seen and removed.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/cli/flags.h"
#include "runtime/sessions/view_json.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

struct NotesFlags {
  RuntimeFlags runtime;
  std::string workspace;
  std::string note;
  bool json = false;
};

void Print(const NoteView& note) {
  std::printf("%s  %s  session %s\n  %s\n", note.note.c_str(), PlainText(note.workspace).c_str(),
              note.session.c_str(), PlainText(note.text).c_str());
}

int List(const NotesFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  ListNotesRequest request;
  request.workspace = flags.workspace;
  Json all = Json::array();
  do {
    std::string next;
    const auto notes = (*runtime)->ListNotes(request, &next);
    if (!notes.ok()) return Fail(notes.status(), flags.json);
    for (const NoteView& note : *notes) {
      if (flags.json) {
        all.push_back(ViewJson(note));
      } else {
        Print(note);
      }
    }
    request.page_token = next;
  } while (!request.page_token.empty());
  if (flags.json) std::cout << all.dump(2) << "\n";
  return kExitOk;
}

int Forget(const NotesFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  const auto gone = (*runtime)->DeleteNote(flags.note);
  if (!gone.ok()) return Fail(gone.status(), flags.json);
  if (flags.json) {
    std::cout << ViewJson(*gone).dump(2) << "\n";
  } else {
    std::printf("forgot %s\n", gone->note.c_str());
  }
  return kExitOk;
}

}  // namespace

void AddNotes(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<NotesFlags>();  // owners: the subcommands' callbacks
  CLI::App* notes = app.add_subcommand("notes", "What models remembered for later sessions");
  notes->require_subcommand(1);
  const auto add = [&](const char* name, const char* about, int (*body)(const NotesFlags&)) {
    CLI::App* command = notes->add_subcommand(name, about);
    flags->runtime.AddTo(*command);
    command->add_flag("--json", flags->json, "JSON on stdout");
    command->callback([flags, exit_code, body] { *exit_code = body(*flags); });
    return command;
  };
  add("list", "All of them, or those of one folder, the oldest first", &List)
      ->add_option("--workspace", flags->workspace, "Of this folder alone, by its real path");
  add("forget", "Remove a note for good", &Forget)
      ->add_option("note", flags->note, "Its id, as n12")
      ->required();
}

}  // namespace baleen::cli
