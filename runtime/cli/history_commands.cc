// `baleen sessions fork|rewind|undo|delete|pin|unpin`.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <string>

#include "runtime/cli/session_commands.h"
#include "runtime/sessions/view_json.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

HistoryPoint PointOf(const SessionFlags& flags) {
  HistoryPoint point;
  point.turn = flags.turn;
  if (flags.tokens >= 0) point.tokens = flags.tokens;
  point.timeline = flags.timeline;
  return point;
}

int Fork(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  ForkRequest request;
  request.session = flags.session;
  request.at = PointOf(flags);
  request.fork = flags.fork;
  request.title = flags.title;
  request.expected_head = flags.expected_head;
  auto fork = (*runtime)->ForkSession(request);
  if (!fork.ok()) return Fail(fork.status(), flags.json);
  if (flags.json) {
    PrintFields(ViewJson(*fork), true);
  } else {
    std::printf("%s\n", fork->session.c_str());
  }
  return kExitOk;
}

void PrintMove(const SessionFlags& flags, const RewindView& view) {
  const char* session = flags.session.c_str();
  for (const FileRestore& file : view.files) {
    std::printf("%-9s %s%s%s\n", FileActionName(file.action), file.path.c_str(),
                file.why.empty() ? "" : ": ", file.why.c_str());
  }
  if ((flags.files || flags.both) && view.files.empty()) std::printf("no file to bring back\n");
  if (flags.files) {
    std::printf("files of %s %s; the conversation stays\n", session,
                flags.dry_run ? "would go back" : "went back");
  } else {
    std::printf(
        "%s %s from %lld tokens to %lld; `baleen sessions rewind %s --timeline %lld%s` returns to "
        "them\n",
        session, flags.dry_run ? "would go" : "went", static_cast<long long>(view.left_tokens),
        static_cast<long long>(view.session.tokens), session,
        static_cast<long long>(view.left_timeline), flags.both ? " --both" : "");
  }
  for (const std::string& note : view.notes) std::printf("note: %s\n", note.c_str());
}

int MoveTo(const SessionFlags& flags, RewindRequest request) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  request.session = flags.session;
  request.validate_only = flags.dry_run;
  request.expected_head = flags.expected_head;
  if (flags.files) request.scope = RewindScope::kFiles;
  if (flags.both) request.scope = RewindScope::kBoth;
  auto view = (*runtime)->RewindSession(request);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) {
    nlohmann::ordered_json fields = ViewJson(*view);
    fields["dry_run"] = flags.dry_run;
    PrintFields(fields, true);
  } else {
    PrintMove(flags, *view);
  }
  return kExitOk;
}

int Rewind(const SessionFlags& flags) {
  RewindRequest request;
  request.to = PointOf(flags);
  if (flags.turn.empty() && flags.tokens < 0 && flags.timeline == 0) {
    std::cerr << "baleen: rewind where to? Give --turn, --tokens or --timeline\n";
    return kExitUsage;
  }
  return MoveTo(flags, request);
}

int Undo(const SessionFlags& flags) {
  RewindRequest request;
  request.undo = true;
  return MoveTo(flags, request);
}

void PrintDelete(const DeleteView& view, bool json, const char* verb) {
  if (json) {
    PrintFields(ViewJson(view), true);
    return;
  }
  std::printf("%s %s: %lld tokens, %lld turns, %lld timelines; %lld forks keep what they share\n",
              verb, view.session.c_str(), static_cast<long long>(view.tokens),
              static_cast<long long>(view.turns), static_cast<long long>(view.timelines),
              static_cast<long long>(view.forks));
}

/// Asks on a terminal. false: not confirmed.
bool Confirm() {
  if (isatty(STDIN_FILENO) == 0) {
    std::cerr << "baleen: nothing was deleted; give --yes\n";
    return false;
  }
  std::cerr << "This can't be undone. Delete? [y/N] " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  return line == "y" || line == "Y" || line == "yes";
}

int Delete(const SessionFlags& flags) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  DeleteRequest request;
  request.session = flags.session;
  request.expected_head = flags.expected_head;
  request.validate_only = true;
  auto view = (*runtime)->DeleteSession(request);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.dry_run || !flags.yes) PrintDelete(*view, flags.json, "would delete");
  if (flags.dry_run) return kExitOk;
  if (!flags.yes && !Confirm()) return kExitUsage;
  request.validate_only = false;
  view = (*runtime)->DeleteSession(request);
  if (!view.ok()) return Fail(view.status(), flags.json);
  PrintDelete(*view, flags.json, "deleted");
  return kExitOk;
}

int SetPinned(const SessionFlags& flags, bool pinned) {
  auto runtime = OpenRuntime(flags.runtime);
  if (!runtime.ok()) return Fail(runtime.status(), flags.json);
  auto view = (*runtime)->PinSession(flags.session, pinned);
  if (!view.ok()) return Fail(view.status(), flags.json);
  if (flags.json) PrintFields(ViewJson(*view), true);
  return kExitOk;
}

int Pin(const SessionFlags& flags) { return SetPinned(flags, true); }
int Unpin(const SessionFlags& flags) { return SetPinned(flags, false); }

void AddPoint(CLI::App& command, SessionFlags& flags) {
  auto* turn = command.add_option("--turn", flags.turn, "Right after this turn (t1, t2 ...)");
  command
      .add_option("--tokens", flags.tokens,
                  "Exactly so many tokens of the context; may lie inside a turn")
      ->check(CLI::NonNegativeNumber)
      ->excludes(turn);
  command
      .add_option("--timeline", flags.timeline,
                  "On this timeline of the session, e.g. one that a rewind left")
      ->check(CLI::PositiveNumber);
}

/// What a move brings back.
void AddScope(CLI::App& command, SessionFlags& flags) {
  auto* files = command.add_flag("--files", flags.files,
                                 "Bring back files that write and edit changed, not the "
                                 "conversation; whoever else's change stays");
  command.add_flag("--both", flags.both, "Bring back files, then the conversation")
      ->excludes(files);
  command.add_flag("--dry-run", flags.dry_run, "Only say what would be");
}

void AddGuards(CLI::App& command, SessionFlags& flags) {
  command.add_option("session", flags.session)->required();
  command.add_option("--expected-head", flags.expected_head,
                     "Refuse if the session's head is another cursor");
}

}  // namespace

void AddHistory(const AddSessionCommand& add, SessionFlags& flags) {
  CLI::App* fork =
      add("fork", "New session that shares another one's history up to a point", &Fork);
  AddGuards(*fork, flags);
  AddPoint(*fork, flags);
  fork->add_option("--id", flags.fork, "Id of the new session; default: a random one");
  fork->add_option("--title", flags.title, "Default: as the origin's");

  CLI::App* rewind = add("rewind", "Go back to a point; nothing is lost", &Rewind);
  AddGuards(*rewind, flags);
  AddPoint(*rewind, flags);
  AddScope(*rewind, flags);

  CLI::App* undo = add(
      "undo", "Return to the timeline that the last rewind left, or take back its restore of files",
      &Undo);
  AddGuards(*undo, flags);
  AddScope(*undo, flags);

  CLI::App* remove = add("delete", "Remove a session for good, after asking", &Delete);
  AddGuards(*remove, flags);
  remove->add_flag("--dry-run", flags.dry_run, "Only say what would go");
  remove->add_flag("--yes", flags.yes, "Don't ask");

  add("pin", "Protect a session from deletion, and its KV from eviction", &Pin)
      ->add_option("session", flags.session)
      ->required();
  add("unpin", "Take the protection away", &Unpin)
      ->add_option("session", flags.session)
      ->required();
}

}  // namespace baleen::cli
