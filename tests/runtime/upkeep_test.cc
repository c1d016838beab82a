// Search, explain, backup and compact beside live sessions.
#include <sys/stat.h>

#include <cctype>
#include <set>
#include <tuple>

#include "runtime/store/data_directory.h"
#include "runtime/store/kv_store.h"
#include "runtime/store/sqlite.h"
#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

RuntimeOptions Options(const TempDirectory& temp, const std::string& name = "data") {
  return WorkerOptions(temp.File(name), TinyModel());
}

/// Answers by one generation, or by itself when asked to.
constexpr char kScript[] = R"(
return function(message)
  if message:sub(1, 4) == "mute" then return "silence" end
  return baleen.generate({ user = message }).content
end
)";

void Create(Runtime& runtime, const std::string& id, const std::string& title = "") {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script = kScript;
  request.settings.title = title;
  request.settings.tokens_max = 6;
  REQUIRE_OK(runtime.CreateSession(request));
}

TurnView Say(Runtime& runtime, const std::string& session, const std::string& text) {
  StartTurnRequest request;
  request.session = session;
  request.input = {text};
  return RunTurn(runtime, request);
}

std::vector<std::string> Sessions(const std::vector<SearchHit>& hits) {
  std::vector<std::string> sessions;
  for (const SearchHit& hit : hits) sessions.push_back(hit.session);
  return sessions;
}

}  // namespace

TEST_CASE("ForksRewindsAndPinsLeaveMarkedCheckpoints") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Say(*runtime, "a", "tell me of baleen plates");
  Say(*runtime, "a", "and of krill");
  const int64_t tokens = Must(runtime->GetSession("a")).tokens;
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "b";
  fork.at.tokens = tokens / 2;
  REQUIRE_OK(runtime->ForkSession(fork));
  Say(*runtime, "b", "another way");
  RewindRequest rewind;
  rewind.session = "b";
  rewind.to.tokens = tokens / 2 - 7;
  REQUIRE_OK(runtime->RewindSession(rewind));
  Must(runtime->PrefetchSession("b"));  // a computation like any other
  REQUIRE_OK(runtime->PinSession("a", true));
  Must(runtime->Compact());  // runs the upkeep
  const std::string path = Must(DataDirectory::Open(temp.File("copy")))->kv_path();
  const std::string kv = temp.File("data") + path.substr(path.rfind('/'));
  runtime.reset();
  const auto store = Must(KvStore::Open({.path = kv}, nullptr));
  std::map<int64_t, uint32_t> kinds;
  for (const CheckpointEntry& entry : Must(store->ListAllCheckpoints())) {
    kinds[entry.position] |= entry.kinds;
  }
  REQUIRE((kinds[tokens / 2 - 1] & kForkCheckpoint) != 0);
  REQUIRE((kinds[tokens / 2 - 8] & kForkCheckpoint) != 0);
  REQUIRE((kinds[tokens - 1] & kPinnedCheckpoint) != 0);
  REQUIRE((kinds[tokens - 1] & kForkCheckpoint) == 0);
}

TEST_CASE("AForksMarkGoesWithTheFork") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Say(*runtime, "a", "tell me of baleen plates");
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "b";
  fork.at.tokens = Must(runtime->GetSession("a")).tokens / 2;
  REQUIRE_OK(runtime->ForkSession(fork));
  Say(*runtime, "b", "another way");
  DeleteRequest remove;
  remove.session = "b";
  const bool deleted = GENERATE(false, true);
  if (deleted) REQUIRE_OK(runtime->DeleteSession(remove));
  Say(*runtime, "a", "and of krill");
  Must(runtime->Compact());
  const std::string path = Must(DataDirectory::Open(temp.File("copy")))->kv_path();
  runtime.reset();
  const auto store =
      Must(KvStore::Open({.path = temp.File("data") + path.substr(path.rfind('/'))}, nullptr));
  int marked = 0;
  for (const CheckpointEntry& entry : Must(store->ListAllCheckpoints())) {
    if ((entry.kinds & kForkCheckpoint) == 0) continue;
    REQUIRE(entry.position == *fork.at.tokens - 1);
    ++marked;
  }
  REQUIRE(marked == (deleted ? 0 : 1));
}

TEST_CASE("SearchFindsTurnsAndTitlesOfTodayAndNothingThatIsGone") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a", "About whales");
  Create(*runtime, "b");
  Say(*runtime, "a", "tell me of Baleen plates");
  Say(*runtime, "b", "nothing of interest");
  auto hits = Must(runtime->Search({"baleen PLATES", 10}));
  REQUIRE(hits.size() == 1);
  REQUIRE(hits[0].session == "a");
  REQUIRE(hits[0].turn == "t1");
  REQUIRE(hits[0].kind == "turn_started");
  REQUIRE(hits[0].snippet.find("Baleen plates") != std::string::npos);
  REQUIRE(Must(runtime->Search({"whale", 10})).at(0).kind == "title");
  // New turns are found; a fork shares what it shares.
  Say(*runtime, "b", "krill, krill and more krill");
  REQUIRE(Sessions(Must(runtime->Search({"krill", 10}))) == std::vector<std::string>{"b"});
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "c";
  REQUIRE_OK(runtime->ForkSession(fork));
  Say(*runtime, "c", "what the fork said");
  hits = Must(runtime->Search({"baleen plates", 10}));
  REQUIRE(hits.size() == 1);
  REQUIRE(hits[0].sessions == 2);
  REQUIRE(Sessions(Must(runtime->Search({"the fork said", 10}))) == std::vector<std::string>{"c"});
  // What a rewind left is not found unless it is asked for, until it is returned to.
  RewindRequest rewind;
  rewind.session = "b";
  rewind.to.turn = "t1";
  REQUIRE_OK(runtime->RewindSession(rewind));
  REQUIRE(Must(runtime->Search({"krill", 10})).empty());
  hits = Must(runtime->Search({"krill", 10, true}));
  REQUIRE(Sessions(hits) == std::vector<std::string>{"b"});
  REQUIRE(hits[0].turn == "t2");
  REQUIRE(hits[0].timeline == 1);
  REQUIRE(Must(runtime->Search({"nothing of", 10, true})).at(0).timeline == 0);
  rewind.to = {};
  rewind.undo = true;
  REQUIRE_OK(runtime->RewindSession(rewind));
  REQUIRE(Must(runtime->Search({"krill", 10})).size() == 1);
  // A deleted origin: its fork still has what it shares.
  DeleteRequest remove;
  remove.session = "a";
  REQUIRE_OK(runtime->DeleteSession(remove));
  REQUIRE(Sessions(Must(runtime->Search({"baleen plates", 10}))) == std::vector<std::string>{"c"});
  remove.session = "b";
  REQUIRE_OK(runtime->DeleteSession(remove));
  REQUIRE(Must(runtime->Search({"krill", 10, true})).empty());
  for (const SearchRequest& bad :
       {SearchRequest{"", 10}, SearchRequest{"\xff\xfe\xfd", 10},
        SearchRequest{std::string("a\0b", 3), 10}, SearchRequest{std::string(1001, 'x'), 10},
        SearchRequest{"abc", 0}, SearchRequest{"abc", 1001}}) {
    REQUIRE_ERROR(runtime->Search(bad), StatusCode::kInvalidArgument, "expected");
  }
  // A damaged index is made anew.
  runtime.reset();
  std::ofstream(temp.File("data/search.db")) << std::string(20'000, 'x');
  runtime = OpenRuntime(Options(temp));
  REQUIRE(Must(runtime->Search({"baleen plates", 10})).size() == 1);
}

TEST_CASE("SearchAnswersWhatReadingEverySessionAnswers") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a", "First");
  Create(*runtime, "b", "second FIRST");
  Create(*runtime, "c", "Third");
  for (const char* text : {"a common word", "a rare ONE", "common again"}) {
    Say(*runtime, "a", text);
    Say(*runtime, "b", text + std::string(", in b"));
  }
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "fork";
  fork.at.turn = "t2";
  REQUIRE_OK(runtime->ForkSession(fork));
  Say(*runtime, "fork", "common in the fork");
  fork.session = "fork";
  fork.fork = "deep";
  fork.at.turn = "t1";
  REQUIRE_OK(runtime->ForkSession(fork));
  RewindRequest rewind;
  rewind.session = "b";
  rewind.to.turn = "t1";
  REQUIRE_OK(runtime->RewindSession(rewind));
  Say(*runtime, "b", "common behind a rewind");
  DeleteRequest remove;
  remove.session = "a";  // whose forks keep what they share
  REQUIRE_OK(runtime->DeleteSession(remove));
  using Place = std::tuple<std::string, int64_t, std::string, std::string, int64_t>;
  const auto folded = [](std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  const auto slowly = [&](const std::string& words) {
    std::map<Place, std::set<std::string>> found;  // what forks share has one place for all
    for (const SessionView& view : Must(runtime->ListSessions(100, "", nullptr))) {
      if (folded(view.settings.title).find(words) != std::string::npos) {
        found[{"title", 0, "", view.session, view.updated_ms}].insert(view.session);
      }
      for (const Event& event : AllEvents(*runtime, view.session)) {
        const auto payload = Parse(event.payload);
        std::string text;
        if (event.kind == "turn_started") text = payload["input"];
        if (event.kind == "generated") text = payload["event"]["message"]["content"];
        if (text.empty() || folded(text).find(words) == std::string::npos) continue;
        found[{event.kind, event.seq, payload["turn"], text, event.time_ms}].insert(view.session);
      }
    }
    return found;
  };
  const auto agree = [&] {
    for (const char* words : {"common", "rare", "first", "a", "word", "nowhere", "behind"}) {
      CAPTURE(words);
      auto expected = slowly(words);
      const auto hits = Must(runtime->Search({words, 1000}));
      REQUIRE(hits.size() == expected.size());
      for (const SearchHit& hit : hits) {
        const auto same = std::find_if(expected.begin(), expected.end(), [&](const auto& entry) {
          const auto& [kind, seq, turn, text, time_ms] = entry.first;
          return kind == hit.kind && seq == hit.seq && turn == hit.turn && time_ms == hit.time_ms &&
                 entry.second.contains(hit.session) &&
                 (hit.kind != "turn_started" ||
                  text.find(hit.snippet.substr(0, 20)) != std::string::npos);
        });
        REQUIRE(same != expected.end());
        REQUIRE(hit.sessions == std::ssize(same->second));
        expected.erase(same);
      }
    }
  };
  agree();
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  agree();
  runtime.reset();
  {  // as a release of before left it
    const auto index = Must(Sqlite::Open({.path = temp.File("data/search.db")}));
    REQUIRE_OK(index->Exec("DELETE FROM texts; PRAGMA user_version = 1;"));
  }
  runtime = OpenRuntime(Options(temp));
  agree();
}

TEST_CASE("ExplainTellsWhereEachContextCameFrom") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Say(*runtime, "a", "one");
  const TurnView second = Say(*runtime, "a", "two");
  auto steps = Must(runtime->Explain("a", ""));
  REQUIRE(steps.size() == 2);
  REQUIRE(steps[0].turn == "t1");
  REQUIRE(steps[0].reused_ram + steps[0].reused_disk + steps[0].recomputed == 0);
  REQUIRE(steps[1].reused_ram == second.tokens_reused_ram);
  REQUIRE(steps[1].reused_ram > 0);
  REQUIRE(steps[1].prefilled == second.tokens_prefilled);
  REQUIRE(steps[1].generated == second.tokens_generated);
  REQUIRE(steps[1].context_tokens == Must(runtime->GetSession("a")).tokens);
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  const TurnView third = Say(*runtime, "a", "three");
  steps = Must(runtime->Explain("a", "t3"));
  REQUIRE(steps.size() == 1);
  REQUIRE(steps[0].reused_disk == third.tokens_reused_disk);
  REQUIRE(steps[0].reused_disk > 0);
  REQUIRE(steps[0].bytes_read > 0);
  REQUIRE_ERROR(runtime->Explain("a", "t9"), StatusCode::kNotFound, "t9");
  REQUIRE_ERROR(runtime->Explain("none", ""), StatusCode::kNotFound, "none");
}

TEST_CASE("ABackupOpensAsADataDirectoryAndGoesOn") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Say(*runtime, "a", "one");
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "b";
  REQUIRE_OK(runtime->ForkSession(fork));
  const std::string target = temp.File("copy");
  const BackupReport report = Must(runtime->Backup(target));
  REQUIRE(report.path == target);
  REQUIRE(report.journal_bytes > 0);
  struct stat entry = {};
  REQUIRE(stat(target.c_str(), &entry) == 0);
  REQUIRE((entry.st_mode & 0777) == 0700);
  const auto twin = Say(*runtime, "b", "two");
  const auto origin = ReadAll(*runtime, "b").ids;
  REQUIRE_ERROR(runtime->Backup(target), StatusCode::kAlreadyExists, "copy");
  REQUIRE_ERROR(runtime->Backup(temp.File("no/copy")), StatusCode::kNotFound, "no/copy");
  REQUIRE_ERROR(runtime->Backup(""), StatusCode::kInvalidArgument, "empty");
  // Both directories are in use at once, and the copy's sessions go on as the origin's do.
  const auto copy = OpenRuntime(Options(temp, "copy"));
  REQUIRE(Must(copy->ListSessions(0, "", nullptr)).size() == 2);
  REQUIRE(Must(copy->GetSession("b")).turns == 1);
  const TurnView resumed = Say(*copy, "b", "two");
  REQUIRE(resumed.text == twin.text);
  REQUIRE(resumed.tokens_reused_disk > 0);  // the KV came with it
  REQUIRE(ReadAll(*copy, "b").ids == origin);
  REQUIRE(Must(copy->Verify("")).problems.empty());
}

TEST_CASE("CompactShrinksTheJournalBesideARunningTurn") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Create(*runtime, "b");
  Say(*runtime, "a", "mute " + std::string(400'000, 'x'));
  DeleteRequest remove;
  remove.session = "a";
  REQUIRE_OK(runtime->DeleteSession(remove));
  StartTurnRequest running;
  running.session = "b";
  running.input = {"go on"};
  running.tokens_max = 200;
  const std::string turn = Must(runtime->StartTurn(running)).turn;
  const CompactReport report = Must(runtime->Compact());
  REQUIRE(report.journal_bytes_after < report.journal_bytes_before);
  REQUIRE(Must(runtime->WaitTurn("b", turn, kPatienceMs)).state == TurnState::kSucceeded);
  REQUIRE(Must(runtime->Verify("")).problems.empty());
}

TEST_CASE("StatsTellWhatSessionsShare") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Say(*runtime, "a", std::string(600, 'x'));
  runtime.reset();  // writes what the KV thread has yet to
  runtime = OpenRuntime(Options(temp));
  RuntimeStats stats = Must(runtime->Stats());
  const int64_t length = Must(runtime->GetSession("a")).tokens;
  REQUIRE(stats.sessions == 1);
  REQUIRE(stats.timelines == 1);
  REQUIRE(stats.journal_tokens == length);
  REQUIRE(stats.SharingFactor() == 1);
  REQUIRE(stats.kv_blocks == length / stats.block_tokens);
  REQUIRE(stats.KvBytesPerToken() > 0);
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "b";
  REQUIRE_OK(runtime->ForkSession(fork));
  stats = Must(runtime->Stats());
  REQUIRE(stats.sessions == 2);
  REQUIRE(stats.journal_tokens == length);
  REQUIRE(stats.SharingFactor() == 2);
  // The origin goes: what the fork needs of it is still stored, once.
  DeleteRequest remove;
  remove.session = "a";
  REQUIRE_OK(runtime->DeleteSession(remove));
  stats = Must(runtime->Stats());
  REQUIRE(stats.sessions == 1);
  REQUIRE(stats.journal_tokens == length);
  REQUIRE(stats.SharingFactor() == 1);
}

TEST_CASE("ReleasedKvComesBackFromDiskAndPrefetchedKvIsInRam") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Say(*runtime, "a", std::string(600, 'x'));
  REQUIRE(Say(*runtime, "a", "two").tokens_reused_ram > 0);
  REQUIRE_OK(runtime->ReleaseSession("a"));
  const StepReuse fetched = Must(runtime->PrefetchSession("a"));
  const int64_t length = Must(runtime->GetSession("a")).tokens;
  REQUIRE(fetched.context_tokens == length);
  CAPTURE(fetched.reused_ram, fetched.reused_disk, fetched.recomputed);
  REQUIRE(fetched.reused_ram + fetched.reused_disk + fetched.recomputed + fetched.prefilled >=
          length - 1);
  REQUIRE(fetched.reused_disk > 0);
  const TurnView next = Say(*runtime, "a", "three");
  REQUIRE(next.tokens_reused_disk == 0);
  REQUIRE(next.tokens_reused_ram >= length - 1);
  Create(*runtime, "empty");
  REQUIRE(Must(runtime->PrefetchSession("empty")).context_tokens == 0);
  REQUIRE_ERROR(runtime->PrefetchSession("none"), StatusCode::kNotFound, "none");
  REQUIRE_ERROR(runtime->ReleaseSession("none"), StatusCode::kNotFound, "none");
}

TEST_CASE("DeletedSessionsKvIsCollectedAndForksKeepTheirs") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  Create(*runtime, "a");
  Create(*runtime, "b");
  Say(*runtime, "a", std::string(600, 'x'));
  ForkRequest fork;
  fork.session = "a";
  fork.fork = "f";
  REQUIRE_OK(runtime->ForkSession(fork));
  Say(*runtime, "a", std::string(600, 'y'));
  Say(*runtime, "b", std::string(600, 'z'));
  runtime.reset();  // writes what the KV thread has yet to
  runtime = OpenRuntime(Options(temp));
  const int64_t block = Must(runtime->Stats()).block_tokens;
  const int64_t a = Must(runtime->GetSession("a")).tokens / block;
  const int64_t b = Must(runtime->GetSession("b")).tokens / block;
  const int64_t f = Must(runtime->GetSession("f")).tokens / block;
  REQUIRE(Must(runtime->Stats()).kv_blocks == a + b);
  DeleteRequest remove;
  remove.session = "a";
  REQUIRE_OK(runtime->DeleteSession(remove));
  REQUIRE_OK(runtime->Compact());
  REQUIRE(Must(runtime->Stats()).kv_blocks == f + b);
  for (const std::string id : {"b", "f"}) {
    const TurnView turn = Say(*runtime, id, "go on");
    CAPTURE(id);
    REQUIRE(turn.tokens_reused_disk >= block);
  }
  REQUIRE(Must(runtime->Verify("")).problems.empty());
}

}  // namespace baleen
