// Files go back with the conversation: what the session changed, never what somebody else did.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "runtime/sessions/diff_apply.h"
#include "runtime/sessions/file_changes.h"
#include "tests/runtime/calling_session.h"
#include "tools_sdk/builtin/unified_diff.h"

namespace baleen {
namespace {

/// A workspace whose changes are written down, without a runtime.
struct Kept {
  explicit Kept(int64_t bytes_max = 1 << 20)
      : history(temp.File("files.db"), bytes_max), keeper{&history, {"s", 1}, {1, 0}, nullptr} {
    std::filesystem::create_directories(temp.File("work"));
    keeper.editor = std::make_shared<WorkspaceEditor>(
        std::shared_ptr<const Workspace>(Must(Workspace::Open(temp.File("work")))));
  }
  std::string At(const std::string& path) const { return temp.File("work/" + path); }
  std::string Content(const std::string& path) const { return FileContent(At(path)); }
  bool Exists(const std::string& path) const { return std::filesystem::exists(At(path)); }
  /// As the user does.
  void Edit(const std::string& path, const std::string& content) const {
    std::ofstream(At(path), std::ios::binary) << content;
  }
  /// As a tool does, in the event `seq`.
  void Write(const std::string& path, const std::string& content, int64_t seq = 1) {
    keeper.place.seq = seq;
    RecordedChanges changes(keeper);
    const PresentFile before = Must(keeper.editor->Present(path));
    REQUIRE_OK(changes.Store(path, content, before.content ? &*before.content : nullptr));
    REQUIRE(changes.files().size() == 1);
    REQUIRE(changes.files()[0].after == FileDigest(content));
  }
  /// "ACTION path" of each file.
  std::vector<std::string> Planned(int64_t key = 0) { return Names(Must(PlanFiles(keeper, key))); }
  std::vector<std::string> Restored(int64_t key = 0) {
    return Names(Must(RestoreFiles(keeper, key)));
  }
  static std::vector<std::string> Names(const std::vector<FileRestore>& files) {
    std::vector<std::string> names;
    for (const FileRestore& file : files) {
      names.push_back(FileActionName(file.action) + (" " + file.path));
      const bool left = file.action == FileAction::kConflict || file.action == FileAction::kNotKept;
      CHECK(file.why.empty() != left);
    }
    return names;
  }
  TempDirectory temp;
  FileHistory history;
  FileKeeper keeper;
};

using Lines = std::vector<std::string>;

RewindRequest To(const std::string& turn, RewindScope scope, bool validate_only = false) {
  RewindRequest request;
  request.session = "s";
  request.to.turn = turn;
  request.scope = scope;
  request.validate_only = validate_only;
  return request;
}

RewindRequest Back(RewindScope scope) {
  RewindRequest request;
  request.session = "s";
  request.undo = true;
  request.scope = scope;
  return request;
}

std::string Write(const std::string& path, const std::string& content) {
  return nlohmann::json({"write", {{"path", path}, {"content", content}}}).dump() + "\n";
}

/// A session that has made a.txt in its turn t1, changed it in t2 and t3, and made new/b.txt in t3.
struct Working {
  Working() {
    std::filesystem::create_directories(folder);
    runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(WorkingSession(folder, {"write", "edit"})));
    RunCalls(*runtime, Write("a.txt", "one"));
    RunCalls(*runtime, Write("a.txt", "two"));
    RunCalls(*runtime, Write("a.txt", "three") + Write("new/b.txt", "b"));
  }
  std::string A() const { return FileContent(folder + "/a.txt"); }
  bool HasB() const { return std::filesystem::exists(folder + "/new/b.txt"); }
  int64_t Turns() { return Must(runtime->GetSession("s")).turns; }
  TempDirectory temp;
  const std::string folder = temp.File("work");
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  std::unique_ptr<Runtime> runtime;
};

}  // namespace

namespace {

ToolResult Apply(Kept& kept, const std::string& diff) {
  const std::atomic<bool> cancelled = false;
  PathAudit audit(nullptr);
  return ApplyDiff(kept.keeper, {"c1", kApplyDiff, nlohmann::json({{"diff", diff}}).dump()},
                   &cancelled, &audit);
}

std::string Changes(const std::string& path, const std::string& before, const std::string& after) {
  return FileDiff(path, DiffSide{before}, DiffSide{after});
}

}  // namespace

TEST_CASE("ADiffIsAppliedOnceAndARewindTakesItBack") {
  Kept k;
  k.Edit("a.txt", "1\n2\n3\n");
  k.Edit("gone.txt", "g\n");
  const std::string diff = Changes("a.txt", "1\n2\n3\n", "1\ntwo\n3\n") +
                           FileDiff("gone.txt", DiffSide{"g\n"}, std::nullopt) +
                           FileDiff("new/run.sh", std::nullopt, DiffSide{"#!\n", false, true});
  ToolResult result = Apply(k, diff);
  CHECK(result.content == "applied: 1 changed, 1 new, 1 deleted");
  CHECK(result.outcome == ToolOutcome::kOk);
  CHECK(result.files.size() == 3);
  CHECK(k.Content("a.txt") == "1\ntwo\n3\n");
  CHECK(!k.Exists("gone.txt"));
  CHECK((std::filesystem::status(k.At("new/run.sh")).permissions() &
         std::filesystem::perms::owner_exec) != std::filesystem::perms::none);
  CHECK(Apply(k, diff).content == "applied: 0 changed, 0 new, 0 deleted; 3 were so already");
  // As a process leaves it that ends in between.
  k.Edit("a.txt", "1\n2\n3\n");
  CHECK(Apply(k, diff).content == "applied: 1 changed, 0 new, 0 deleted; 2 were so already");
  CHECK(k.Restored() == Lines{"conflict a.txt", "recreate gone.txt", "delete new/run.sh"});
  CHECK(k.Content("gone.txt") == "g\n");
  CHECK(!k.Exists("new/run.sh"));
}

TEST_CASE("ADiffsModesAreAppliedOnceAndARewindTakesThemBack") {
  Kept k;
  const auto mode = [&](const std::string& path) {
    struct stat status = {};
    REQUIRE(stat(k.At(path).c_str(), &status) == 0);
    return static_cast<int>(status.st_mode & 0777);
  };
  const auto make = [&](const std::string& path, mode_t bits) {
    k.Edit(path, "1\n");
    REQUIRE(chmod(k.At(path).c_str(), bits) == 0);
  };
  make("run", 0640);
  make("both", 0700);
  make("text", 0600);
  make("so", 0755);
  const auto turned = [](const std::string& path, const std::string& after, bool runs) {
    return FileDiff(path, DiffSide{"1\n", false, !runs}, DiffSide{after, false, runs});
  };
  const std::string diff = turned("run", "1\n", true) + turned("both", "2\n", false) +
                           Changes("text", "1\n", "2\n") + turned("so", "1\n", true);
  CHECK(Apply(k, diff).content == "applied: 3 changed, 0 new, 0 deleted; 1 were so already");
  // Who may read it may run it; other bits are nobody's business here.
  CHECK(mode("run") == 0750);
  CHECK(mode("both") == 0600);
  CHECK(mode("text") == 0600);
  CHECK(k.Content("both") == "2\n");
  CHECK(Apply(k, diff).content == "applied: 0 changed, 0 new, 0 deleted; 4 were so already");
  // A tool's change leaves the mode alone, and somebody else's chmod stays his.
  k.Write("run", "2\n");
  REQUIRE(chmod(k.At("text").c_str(), 0666) == 0);
  CHECK(k.Planned() == Lines{"restore both", "restore run", "restore text"});
  CHECK(k.Restored() == Lines{"restore both", "restore run", "restore text"});
  CHECK(mode("run") == 0640);
  CHECK(mode("both") == 0700);
  CHECK(mode("text") == 0666);
  CHECK(k.Content("run") == "1\n");
  CHECK(k.Planned() == Lines{"unchanged both", "unchanged run", "unchanged text"});
  // And forth again.
  k.Restored(Must(k.history.KeyBeforeRestore(k.keeper.owner)));
  CHECK(mode("run") == 0750);
  CHECK(mode("both") == 0600);
  CHECK(k.Content("run") == "2\n");
}

TEST_CASE("AModeThatChangedAloneGoesBackAlsoAfterAKill") {
  Kept k(1);  // which keeps no content: none is needed
  k.Edit("run", "text\n");
  REQUIRE(chmod(k.At("run").c_str(), 0644) == 0);
  const auto runs = [&] { return Must(k.keeper.editor->Present("run")).executable(); };
  CHECK(Apply(k, "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n").content ==
        "applied: 1 changed, 0 new, 0 deleted");
  CHECK(runs());
  CHECK(k.Restored() == Lines{"restore run"});
  CHECK(!runs());
  // Written down, and killed before or after it happened.
  FileChange change;
  change.path = "run";
  change.before = change.after = FileDigest("text\n");
  change.mode = 0644;
  change.new_mode = 0755;
  const int64_t begun = Must(k.history.Begin(k.keeper.owner, {1, 1}, change, "text\n", 0));
  CHECK(k.Planned(begun - 1) == Lines{"unchanged run"});
  REQUIRE_OK(k.keeper.editor->Restore("run", "text\n", "text\n", 0755));
  CHECK(k.Restored(begun - 1) == Lines{"restore run"});
  CHECK(!runs());
}

TEST_CASE("ADiffThatDoesntFitChangesNothingAndSaysWhere") {
  Kept k;
  const std::string before = "1\n2\n3\n";
  const std::string change = Changes("a.txt", before, "1\ntwo\n3\n");
  k.Edit("a.txt", "1\nTWO\n3\n");
  k.Edit("f", "a file\n");
  const auto refused = [&](const std::string& diff) {
    const ToolResult result = Apply(k, diff);
    CHECK(result.outcome == ToolOutcome::kError);
    CHECK(result.content.find("nothing was changed") != std::string::npos);
    return result.content;
  };
  const std::string added = FileDiff("a-new", std::nullopt, DiffSide{"x\n"});
  CHECK(refused(added + change).find("a.txt:2: the diff (its line ") != std::string::npos);
  CHECK(!k.Exists("a-new"));
  // A file where a folder must be is found when others have been changed already.
  k.Edit("a.txt", before);
  CHECK(refused(change + FileDiff("f/y", std::nullopt, DiffSide{"y\n"})).find("'f/y'") !=
        std::string::npos);
  CHECK(k.Content("a.txt") == before);
  CHECK(refused("diff --git a/a.txt b/a.txt\nold mode 100644\nnew mode 100755\n" +
                FileDiff("f/y", std::nullopt, DiffSide{"y\n"}))
            .find("'f/y'") != std::string::npos);
  CHECK(!Must(k.keeper.editor->Present("a.txt")).executable());
  CHECK(refused(FileDiff(".git/hooks/pre-commit", std::nullopt, DiffSide{"rm\n"})).find(".git") !=
        std::string::npos);
  std::filesystem::create_symlink(k.temp.path(), k.At("link"));
  CHECK(refused(FileDiff("link/x", std::nullopt, DiffSide{"x\n"})).find("link") !=
        std::string::npos);
  CHECK(!std::filesystem::exists(k.temp.File("x")));
  CHECK(refused(FileDiff("f", std::nullopt, DiffSide{"x\n"})).find("there already") !=
        std::string::npos);
  CHECK(refused(Changes("none", "a\n", "b\n")).find("none: it isn't there") != std::string::npos);
  // Somebody's lines behind the hunk stay, also when it is asked twice.
  k.Edit("a.txt", before + "more\n");
  CHECK(Apply(k, change).outcome == ToolOutcome::kOk);
  CHECK(Apply(k, change).content.find("1 were so already") != std::string::npos);
  CHECK(k.Content("a.txt") == "1\ntwo\n3\nmore\n");
  // Where lines repeat nobody could tell.
  std::string same;
  for (int i = 0; i < 9; ++i) same += "x\n";
  k.Edit("same", same + "y\n");
  CHECK(refused(Changes("same", same, same + "x\n")).find("nobody can tell") != std::string::npos);
}

TEST_CASE("FilesAndConversationGoBackTogetherAndForthAgain") {
  Working w;
  const RewindView planned = Must(w.runtime->RewindSession(To("t1", RewindScope::kBoth, true)));
  REQUIRE(Kept::Names(planned.files) == Lines{"restore a.txt", "delete new/b.txt"});
  REQUIRE(planned.notes.at(0).find("bash") != std::string::npos);
  REQUIRE(w.A() == "three");
  REQUIRE(w.Turns() == 3);

  RewindRequest back = To("t1", RewindScope::kBoth);
  back.request_id = "r-1";
  const RewindView done = Must(w.runtime->RewindSession(back));
  REQUIRE(Kept::Names(done.files) == Kept::Names(planned.files));
  REQUIRE(w.A() == "one");
  REQUIRE_FALSE(w.HasB());
  REQUIRE(w.Turns() == 1);
  const RewindView repeated = Must(w.runtime->RewindSession(back));  // gets the same answer
  REQUIRE(Kept::Names(repeated.files) == Kept::Names(planned.files));
  REQUIRE(repeated.notes == planned.notes);

  w.runtime.reset();  // what is undone was done before a restart
  w.runtime = OpenRuntime(w.options);
  REQUIRE(Kept::Names(Must(w.runtime->RewindSession(Back(RewindScope::kBoth))).files) ==
          Lines{"restore a.txt", "recreate new/b.txt"});
  REQUIRE(w.A() == "three");
  REQUIRE(w.HasB());
  REQUIRE(w.Turns() == 3);
  RewindRequest again = To("", RewindScope::kBoth);
  again.to.timeline = done.session.timeline;
  REQUIRE(Must(w.runtime->RewindSession(again)).files.size() == 2);
  REQUIRE(w.A() == "one");
  REQUIRE(w.Turns() == 1);
  // The model has to look again before it replaces what came back.
  REQUIRE(RunCalls(*w.runtime, Write("a.txt", "lost")).starts_with("ERROR:"));
}

TEST_CASE("FilesGoBackWithoutTheConversationAndForthAgain") {
  Working w;
  REQUIRE(Must(w.runtime->RewindSession(To("t2", RewindScope::kFiles))).files.size() == 2);
  REQUIRE(w.A() == "two");
  REQUIRE(w.Turns() == 3);
  REQUIRE(Must(w.runtime->RewindSession(Back(RewindScope::kFiles))).files.size() == 2);
  REQUIRE(w.A() == "three");
  REQUIRE(w.HasB());
  // What a later turn changes goes back to what the session stood on then.
  REQUIRE(Must(w.runtime->RewindSession(To("t2", RewindScope::kFiles))).files.size() == 2);
  RunCalls(*w.runtime, "[\"read\",{\"path\":\"a.txt\"}]\n" + Write("a.txt", "four"));
  REQUIRE(w.A() == "four");
  REQUIRE(Kept::Names(Must(w.runtime->RewindSession(To("t3", RewindScope::kBoth))).files) ==
          Lines{"restore a.txt"});
  REQUIRE(w.A() == "two");
}

TEST_CASE("AConversationThatWentBackAloneKeepsTheFilesThatItFound") {
  Working w;
  REQUIRE(Must(w.runtime->RewindSession(To("t1", RewindScope::kConversation))).files.empty());
  REQUIRE(w.A() == "three");
  RunCalls(*w.runtime, "[\"list\",{\"path\":\".\"}]");  // t4, which changes nothing
  RunCalls(*w.runtime, Write("a.txt", "five"));         // t5
  REQUIRE(w.A() == "five");
  REQUIRE(Kept::Names(Must(w.runtime->RewindSession(To("t4", RewindScope::kBoth))).files) ==
          Lines{"restore a.txt"});
  REQUIRE(w.A() == "three");
  REQUIRE(w.HasB());
  // As t1 left them, they are without anything that came later, on whichever timeline.
  Must(w.runtime->RewindSession(To("t1", RewindScope::kBoth)));
  REQUIRE(w.A() == "one");
  REQUIRE_FALSE(w.HasB());
}

TEST_CASE("AResultNamesTheFilesThatItsCallChanged") {
  Working w;
  nlohmann::json files = nlohmann::json::array();
  for (const Event& event : AllEvents(*w.runtime, "s")) {
    if (event.kind != "tool_results") continue;
    const nlohmann::json payload = Parse(event.payload);
    for (const auto& result : payload["event"]["results"]) {
      if (result.contains("files"))
        files.insert(files.end(), result["files"].begin(), result["files"].end());
    }
  }
  REQUIRE(files.size() == 4);
  REQUIRE(files[1]["path"] == "a.txt");
  REQUIRE(files[1]["before"] == FileDigest("one"));
  REQUIRE(files[1]["after"] == FileDigest("two"));
  REQUIRE(files[3]["before"] == "");
}

TEST_CASE("ATurnNamesTheFilesThatItAndItsSubagentsChanged") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto options = WorkerOptions(temp.File("data"), TinyModel());
  auto runtime = OpenRuntime(options);
  CreateSessionRequest request = WorkingSession(folder, {"write", "task"});
  request.settings.script = R"(
flow("x", function()
  baleen.call("write", { path = "z.txt", content = "own" })
  local kid = session.current():fork {}
  kid:call("write", { path = "a.txt", content = "kid's" })
  local content, outcome = baleen.call("task", { prompt = "Say a word.", tools = "none", clean = true,
    tokens = 100000 })
  return outcome
end))";
  request.settings.tokens_max = 8;
  REQUIRE_OK(runtime->CreateSession(request));
  StartTurnRequest start;
  start.session = "s";
  start.input = {"go"};
  const TurnView turn = RunTurn(*runtime, start);
  INFO(turn.error.ToString());
  REQUIRE(turn.text == "OK");
  REQUIRE(turn.files == std::vector<std::string>{"a.txt", "z.txt"});
  std::vector<SessionView> tasks;
  for (SessionView& session : Must(runtime->ListSessions(0, "", nullptr))) {
    if (session.parent == "s" && session.settings.title == "task") {
      tasks.push_back(std::move(session));
    }
  }
  REQUIRE(tasks.size() == 1);
  const std::string task_turn = AllEvents(*runtime, tasks[0].session).back().turn;
  const TurnView of_task = Must(runtime->GetTurn(tasks[0].session, task_turn));
  REQUIRE(of_task.spend.tokens > 0);
  REQUIRE(turn.spend.tokens == of_task.spend.tokens);  // and the rest spent none
  runtime.reset();
  runtime = OpenRuntime(options);
  REQUIRE(Must(runtime->GetTurn("s", turn.turn)).files == turn.files);
}

TEST_CASE("AForkTakesBackOnlyWhatItChangedItself") {
  Working w;
  ForkRequest fork;
  fork.session = "s";
  fork.fork = "kid";
  REQUIRE_OK(w.runtime->ForkSession(fork));
  RunCalls(*w.runtime, "[\"read\",{\"path\":\"new/b.txt\"}]\n" + Write("new/b.txt", "kid's"),
           "kid");
  RewindRequest back = To("t1", RewindScope::kBoth);
  back.session = "kid";
  REQUIRE(Kept::Names(Must(w.runtime->RewindSession(back)).files) == Lines{"restore new/b.txt"});
  REQUIRE(FileContent(w.folder + "/new/b.txt") == "b");
  REQUIRE(w.A() == "three");
  REQUIRE(Must(w.runtime->GetSession("kid")).turns == 1);
  // To the origin, the fork is somebody else.
  RunCalls(*w.runtime, "[\"read\",{\"path\":\"a.txt\"}]\n" + Write("a.txt", "kid's"), "kid");
  REQUIRE(Kept::Names(Must(w.runtime->RewindSession(To("t1", RewindScope::kBoth))).files) ==
          Lines{"conflict a.txt", "delete new/b.txt"});
  REQUIRE(w.A() == "kid's");
}

TEST_CASE("SessionsThatGoTakeTheirFileHistoryAlong") {
  Working w;
  REQUIRE(Must(w.runtime->Verify("")).file_changes == 4);
  REQUIRE(Must(w.runtime->Verify("")).file_contents == 2);
  const BackupReport backup = Must(w.runtime->Backup(w.temp.File("copy")));
  REQUIRE(std::filesystem::exists(backup.path + "/files.db"));
  DeleteRequest remove;
  remove.session = "s";
  REQUIRE_OK(w.runtime->DeleteSession(remove));
  REQUIRE_OK(w.runtime->Compact());  // and its upkeep
  REQUIRE(Must(w.runtime->Verify("")).file_changes == 0);
  REQUIRE(Must(w.runtime->Verify("")).file_contents == 0);
  REQUIRE(w.A() == "three");
  // One of the same name begins without a past.
  REQUIRE_OK(w.runtime->CreateSession(WorkingSession(w.folder, {"write"})));
  RunCalls(*w.runtime, "[\"list\",{\"path\":\".\"}]");
  REQUIRE(Must(w.runtime->RewindSession(To("t1", RewindScope::kFiles))).files.empty());
  REQUIRE(w.runtime->RewindSession(Back(RewindScope::kFiles)).status().reason() ==
          "NOTHING_TO_UNDO");
}

TEST_CASE("WhatSomebodyElseDidToAFileIsAConflictAndStays") {
  Kept k;
  for (const char* path : {"edited", "gone", "between", "link", "folder", "mended", "same"}) {
    k.Edit(path, "old");
    k.Write(path, "new");
  }
  k.Edit("edited", "mine");
  std::filesystem::rename(k.At("gone"), k.At("renamed"));
  k.Edit("between", "mine");
  k.Write("between", "again");
  std::filesystem::rename(k.At("link"), k.temp.File("aside"));
  std::filesystem::create_symlink(k.temp.File("aside"), k.At("link"));
  std::filesystem::remove(k.At("folder"));
  std::filesystem::create_directory(k.At("folder"));
  k.Edit("mended", "old");
  const Lines expected = {"conflict between", "conflict edited", "conflict folder",
                          "conflict gone",    "conflict link",   "unchanged mended",
                          "restore same"};
  REQUIRE(k.Planned() == expected);
  REQUIRE(k.Restored() == expected);
  REQUIRE(k.Content("edited") == "mine");
  REQUIRE(k.Content("renamed") == "new");
  REQUIRE(k.Content("between") == "again");
  REQUIRE(FileContent(k.temp.File("aside")) == "new");
  REQUIRE(k.Content("same") == "old");
  REQUIRE_FALSE(k.Exists("gone"));
  // The user's change is the floor: what the session did since then goes back.
  REQUIRE(Must(k.history.KeyAt(k.keeper.owner, {{1, 1}})) > 0);
  std::vector<FileChange> changes = Must(k.history.ChangesAfter(k.keeper.owner, 0));
  const auto later = std::find_if(changes.begin(), changes.end(), [](const FileChange& change) {
    return change.path == "between" && change.before == FileDigest("mine");
  });
  k.Restored(later->key - 1);
  REQUIRE(k.Content("between") == "mine");
}

TEST_CASE("RestoresGiveBackEveryByteAndTheModeOfWhatTheyDeleted") {
  Kept k;
  const std::string binary("\0\xff\r\n\x1b[0m\n\r", 11), crlf = "one\r\ntwo\r\n";
  k.Edit("binary", binary);
  k.Edit("crlf", crlf);
  k.Edit("empty", "");
  for (const char* path : {"binary", "crlf", "empty"}) k.Write(path, "changed\n");
  k.Write("made/tool.sh", "#!/bin/sh\n");
  REQUIRE(chmod(k.At("made/tool.sh").c_str(), 0755) == 0);
  REQUIRE(k.Restored() ==
          Lines{"restore binary", "restore crlf", "restore empty", "delete made/tool.sh"});
  REQUIRE(k.Content("binary") == binary);
  REQUIRE(k.Content("crlf") == crlf);
  REQUIRE(k.Content("empty").empty());
  REQUIRE(k.Exists("empty"));
  std::filesystem::remove(k.At("made"));
  REQUIRE(k.Restored(Must(k.history.KeyBeforeRestore(k.keeper.owner))).back() ==
          "recreate made/tool.sh");
  REQUIRE(k.Content("binary") == "changed\n");
  struct stat status = {};
  REQUIRE(stat(k.At("made/tool.sh").c_str(), &status) == 0);
  REQUIRE((status.st_mode & 0777) == 0755);
}

TEST_CASE("ContentsBeyondTheLimitAreNamedAsNotKept") {
  Kept k(1000);
  k.Edit("large", std::string(1001, 'x'));
  k.Write("large", "small");
  for (int i = 0; i < 4; ++i) {
    k.Edit("f" + std::to_string(i), std::string(300, static_cast<char>('a' + i)));
    k.Write("f" + std::to_string(i), "changed");
  }
  REQUIRE(k.Restored() ==
          Lines{"not_kept f0", "restore f1", "restore f2", "restore f3", "not_kept large"});
  REQUIRE(k.Content("large") == "small");
  REQUIRE(k.Content("f0") == "changed");
  REQUIRE(Must(k.history.Verify()).content_bytes <= 1000);
}

TEST_CASE("AFileThatCannotBeWrittenIsNamedAndTheRestFinishedLater") {
  Kept k;
  std::filesystem::create_directory(k.At("fixed"));
  for (const char* path : {"a", "fixed/b", "z"}) {
    k.Edit(path, "old");
    k.Write(path, "new");
  }
  const bool root = geteuid() == 0;
  if (root) {
    // The folder is root's, whom no permission bits hold: be somebody else for a moment.
    REQUIRE(chmod(k.At("").c_str(), 0777) == 0);
    REQUIRE(seteuid(65534) == 0);
  } else {
    REQUIRE(chmod(k.At("fixed").c_str(), 0555) == 0);
  }
  const Status status = RestoreFiles(k.keeper, 0).status();
  if (root) REQUIRE(seteuid(0) == 0);
  REQUIRE(chmod(k.At("fixed").c_str(), 0755) == 0);
  INFO(status.ToString());
  REQUIRE(status.reason() == "FILES_NOT_RESTORED");
  REQUIRE(status.message().find("fixed/b") != std::string::npos);
  REQUIRE(k.Content("a") == "old");
  REQUIRE(k.Content("fixed/b") == "new");
  REQUIRE(k.Content("z") == "old");
  REQUIRE(k.Restored() == Lines{"unchanged a", "restore fixed/b", "unchanged z"});
  REQUIRE(k.Content("fixed/b") == "old");
}

TEST_CASE("WhatAKillLeavesOfAChangeOrARestoreIsUnderstood") {
  Kept k;
  k.Edit("done", "old");
  k.Edit("not", "old");
  const auto begin = [&](const std::string& path, const std::string& before,
                         const std::string& after) {
    FileChange change;
    change.path = path;
    change.before = FileDigest(before);
    change.after = FileDigest(after);
    return Must(k.history.Begin(k.keeper.owner, {1, 1}, change, before, 0));
  };
  begin("done", "old", "new");
  REQUIRE_OK(k.keeper.editor->Restore("done", "new", "old", 0));
  begin("not", "old", "new");
  REQUIRE(k.Planned() == Lines{"restore done", "unchanged not"});
  // Killed between two files of a restore, and inside of the second.
  k.Write("other", "made");
  begin("done", "new", "old");
  REQUIRE_OK(k.keeper.editor->Restore("done", "old", "new", 0));
  REQUIRE(k.Restored() == Lines{"unchanged done", "unchanged not", "delete other"});
  REQUIRE(k.Content("done") == "old");
}

TEST_CASE("ARestoreThatIsKilledLeavesEachFileOldOrNewAndFinishesLater") {
  Kept k;
  constexpr int kFiles = 60;
  const std::string old_text(20'000, 'o'), new_text(30'000, 'n');
  const auto name = [](int i) { return "f" + std::to_string(100 + i); };
  for (int i = 0; i < kFiles; ++i) {
    k.Edit(name(i), old_text);
    k.Write(name(i), new_text);
  }
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    FileHistory own(k.temp.File("files.db"), 1 << 20);
    FileKeeper keeper = k.keeper;
    keeper.history = &own;
    _exit(RestoreFiles(keeper, 0).ok() ? 0 : 1);
  }
  while (k.Content(name(kFiles / 3)) == new_text && waitpid(child, nullptr, WNOHANG) == 0) {
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  int restored = 0;
  for (int i = 0; i < kFiles; ++i) {
    const std::string content = k.Content(name(i));
    REQUIRE((content == old_text || content == new_text));
    restored += content == old_text ? 1 : 0;
  }
  CHECK(restored > 0);
  for (const std::string& line : k.Restored()) {
    REQUIRE((line.starts_with("restore ") || line.starts_with("unchanged ")));
  }
  for (int i = 0; i < kFiles; ++i) REQUIRE(k.Content(name(i)) == old_text);
}

TEST_CASE("ADamagedFileHistoryIsMovedAsideAndSaid") {
  Working w;
  w.runtime.reset();
  std::filesystem::remove(w.temp.File("data/files.db-wal"));
  std::ofstream(w.temp.File("data/files.db")) << std::string(20'000, 'x');
  w.runtime = OpenRuntime(w.options);
  REQUIRE(Must(w.runtime->RewindSession(To("t1", RewindScope::kBoth))).files.empty());
  REQUIRE(std::filesystem::exists(w.temp.File("data/files.db.damaged")));
  REQUIRE(AnyContains(Must(w.runtime->Stats()).notes, "history of files"));
  REQUIRE(w.A() == "three");
}

}  // namespace baleen
