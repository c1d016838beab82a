#include "runtime/store/journal.h"

#include <sys/stat.h>

#include <numeric>

#include "runtime/store/journal_codec.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"

namespace baleen {
namespace {

std::unique_ptr<Journal> OpenJournal(const std::string& path) {
  return Must(Journal::Open({.path = path, .busy_timeout_ms = 0}));
}

/// A journal with the session "s".
std::unique_ptr<Journal> JournalWithSession(const std::string& path) {
  auto journal = OpenJournal(path);
  JournalBatch batch;
  batch.create_sessions = {SampleSession("s")};
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  return journal;
}

JournalBatch EventBatch(int64_t first, int64_t last) {
  JournalBatch batch;
  for (int64_t seq = first; seq <= last; ++seq) batch.events.push_back(SampleEvent("s", seq));
  return batch;
}

JournalBatch TokenBatch(int64_t begin, std::vector<int32_t> ids,
                        std::vector<uint64_t> hashes = {}) {
  JournalBatch batch;
  batch.tokens.push_back(
      {.session = "s", .begin = begin, .ids = std::move(ids), .logits_hashes = std::move(hashes)});
  return batch;
}

std::vector<int32_t> Count(int32_t begin, int32_t end) {
  std::vector<int32_t> ids(static_cast<size_t>(end - begin));
  std::iota(ids.begin(), ids.end(), begin);
  return ids;
}

void RequireClean(Journal& journal) {
  const auto report = Must(journal.Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
}

}  // namespace

TEST_CASE("JournalRoundTripsSessionsEventsTokensAndAnswersAcrossReopen") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  {
    auto journal = OpenJournal(path);
    REQUIRE_OK(journal->Commit(GoldenBatch(), Durability::kSynced));
  }
  struct stat file = {};
  REQUIRE(stat(path.c_str(), &file) == 0);
  REQUIRE((file.st_mode & 0777) == 0600);

  auto journal = OpenJournal(path);
  const auto session = Must(journal->GetSession("golden"));
  REQUIRE(session.title == "Session golden");
  REQUIRE(session.settings == R"({"workspace":"here"})");
  REQUIRE(session.tokens == 2000);
  REQUIRE(session.last_seq == 2);
  REQUIRE(session.updated_ms == 2002);
  const auto events = Must(journal->ReadEvents("golden", 0, 10));
  REQUIRE(events.size() == 2);
  REQUIRE(events[1].payload == R"({"n":2})");
  REQUIRE(events[1].kind == "item_finished");
  REQUIRE(events[1].version == 1);
  REQUIRE(events[1].time_ms == 2002);
  REQUIRE(Must(journal->ReadEvents("golden", 1, 10)).size() == 1);
  REQUIRE(Must(journal->ReadEvents("golden", 0, 1)).size() == 1);
  REQUIRE(Must(journal->LastEvent("golden", "turn_started")).seq == 1);
  REQUIRE_ERROR(journal->LastEvent("golden", "no_such"), StatusCode::kNotFound, "no_such");
  const auto run = Must(journal->ReadTokens("golden", 0, 5000));
  REQUIRE(run.ids == GoldenBatch().tokens[0].ids);
  REQUIRE(run.logits_hashes == GoldenBatch().tokens[0].logits_hashes);
  REQUIRE(Must(journal->FindAnswer("request-1", "StartTurn")) == R"({"turn":"1"})");
  REQUIRE_ERROR(journal->FindAnswer("request-1", "Other"), StatusCode::kNotFound, "request-1");
  RequireClean(*journal);
}

TEST_CASE("JournalReadsTokensAcrossRowsWhateverTheAppendSizes") {
  const TempDirectory temp;
  auto journal = JournalWithSession(temp.File("journal.db"));
  // Single tokens, sizes around a row's border, and one larger than two rows.
  const std::vector<int32_t> sizes = {1, 1, 1, 956, 1, 1, 1, 958, 959, 960, 961, 2500, 1};
  int32_t begin = 0;
  for (const int32_t size : sizes) {
    REQUIRE_OK(journal->Commit(TokenBatch(begin, Count(begin, begin + size)), Durability::kKernel));
    begin += size;
  }
  const std::vector<int32_t> all = Count(0, begin);
  REQUIRE(Must(journal->ReadTokens("s", 0, begin + 5)).ids == all);
  for (const int64_t from : {0, 1, 958, 959, 960, 961, 1920, 3000, begin - 1, begin, begin + 1}) {
    for (const int64_t count : {0, 1, 2, 959, 960, 961, 3000}) {
      CAPTURE(from, count);
      const int64_t first = std::min<int64_t>(from, begin);
      const int64_t last = std::min<int64_t>(from + count, begin);
      const std::vector<int32_t> expected(all.begin() + first, all.begin() + std::max(first, last));
      const auto run = Must(journal->ReadTokens("s", from, count));
      REQUIRE(run.begin == from);
      REQUIRE(run.ids == expected);
      REQUIRE(run.logits_hashes.empty());
    }
  }
  REQUIRE(Must(journal->GetSession("s")).tokens == begin);
  RequireClean(*journal);
}

TEST_CASE("JournalKeepsSampledLogitsHashesAmongUnsampledTokens") {
  const TempDirectory temp;
  auto journal = JournalWithSession(temp.File("journal.db"));
  REQUIRE_OK(journal->Commit(TokenBatch(0, {5, 6}), Durability::kKernel));
  REQUIRE_OK(journal->Commit(TokenBatch(2, {7, 8}, {0, 0xffffffffffffffff}), Durability::kKernel));
  REQUIRE_OK(journal->Commit(TokenBatch(4, {9}), Durability::kKernel));
  const auto run = Must(journal->ReadTokens("s", 1, 10));
  REQUIRE(run.ids == std::vector<int32_t>{6, 7, 8, 9});
  REQUIRE(run.logits_hashes == std::vector<uint64_t>{0, 0, 0xffffffffffffffff, 0});
  REQUIRE(Must(journal->ReadTokens("s", 0, 2)).logits_hashes == std::vector<uint64_t>{0, 0});
}

TEST_CASE("JournalRefusesDuplicateAndGapAndWritesNothingOfTheBatch") {
  const TempDirectory temp;
  auto journal = JournalWithSession(temp.File("journal.db"));
  REQUIRE_OK(journal->Commit(EventBatch(1, 3), Durability::kKernel));
  auto check_refused = [&](const JournalBatch& batch, StatusCode code, const std::string& words) {
    JournalBatch full = batch;
    full.create_sessions.push_back(SampleSession("other"));
    REQUIRE_ERROR(journal->Commit(full, Durability::kKernel), code, words);
    REQUIRE(Must(journal->GetSession("s")).last_seq == 3);
    REQUIRE(Must(journal->GetSession("s")).tokens == 0);
    REQUIRE_ERROR(journal->GetSession("other"), StatusCode::kNotFound, "other");
  };
  check_refused(EventBatch(3, 3), StatusCode::kAborted, "expected 4");
  check_refused(EventBatch(5, 5), StatusCode::kAborted, "expected 4");
  check_refused(EventBatch(0, 0), StatusCode::kAborted, "expected 4");
  JournalBatch twice = EventBatch(4, 4);
  twice.events.push_back(twice.events[0]);
  check_refused(twice, StatusCode::kAborted, "expected 5");
  check_refused(TokenBatch(1, {1}), StatusCode::kAborted, "expected 0");
  JournalBatch stranger = EventBatch(4, 4);
  stranger.events[0].session = "nobody";
  check_refused(stranger, StatusCode::kNotFound, "nobody");
  JournalBatch again;
  again.create_sessions = {SampleSession("s")};
  check_refused(again, StatusCode::kAlreadyExists, "'s'");
  REQUIRE_OK(journal->Commit(EventBatch(4, 4), Durability::kKernel));
  RequireClean(*journal);
}

TEST_CASE("JournalRefusesBadBatchesAndNamesTheField") {
  const TempDirectory temp;
  auto journal = JournalWithSession(temp.File("journal.db"));
  for (const std::string id : {"", "A", "-a", "a/b", "a b", "../x"}) {
    JournalBatch batch;
    batch.create_sessions = {SampleSession("x")};
    batch.create_sessions[0].id = id;
    REQUIRE_ERROR(journal->Commit(batch, Durability::kKernel), StatusCode::kInvalidArgument, id);
  }
  JournalBatch long_id;
  long_id.create_sessions = {SampleSession(std::string(64, 'a'))};
  REQUIRE_ERROR(journal->Commit(long_id, Durability::kKernel), StatusCode::kInvalidArgument, "aaa");
  long_id.create_sessions = {SampleSession(std::string(63, 'a'))};
  REQUIRE_OK(journal->Commit(long_id, Durability::kKernel));
  for (const std::string payload : {"", "{", "[]", "1", "{\"a\":\"\xff\"}", "{} x"}) {
    JournalBatch batch = EventBatch(1, 1);
    batch.events[0].payload = payload;
    REQUIRE_ERROR(journal->Commit(batch, Durability::kKernel), StatusCode::kInvalidArgument,
                  "event 1");
  }
  JournalBatch large = EventBatch(1, 1);
  large.events[0].payload = "{\"a\":\"" + std::string(kEventBytesMax, 'x') + "\"}";
  REQUIRE_ERROR(journal->Commit(large, Durability::kKernel), StatusCode::kInvalidArgument,
                "16777216");
  REQUIRE_ERROR(journal->Commit(TokenBatch(0, {1, -2}), Durability::kKernel),
                StatusCode::kInvalidArgument, "negative");
  REQUIRE_ERROR(journal->Commit(TokenBatch(0, {1, 2}, {7}), Durability::kKernel),
                StatusCode::kInvalidArgument, "1 hashes for 2 ids");
  JournalBatch kindless = EventBatch(1, 1);
  kindless.events[0].kind = "";
  REQUIRE_ERROR(journal->Commit(kindless, Durability::kKernel), StatusCode::kInvalidArgument,
                "kind");
  REQUIRE_ERROR(journal->ReadEvents("s", -1, 5), StatusCode::kInvalidArgument, "-1");
  REQUIRE_ERROR(journal->ReadTokens("s", 0, -5), StatusCode::kInvalidArgument, "-5");
  REQUIRE_ERROR(journal->ReadTokens("none", 0, 1), StatusCode::kNotFound, "none");
}

TEST_CASE("JournalUpdatesTitleAndSettingsOnly") {
  const TempDirectory temp;
  auto journal = JournalWithSession(temp.File("journal.db"));
  REQUIRE_OK(journal->Commit(EventBatch(1, 2), Durability::kKernel));
  JournalBatch batch;
  batch.update_sessions = {SampleSession("s", 9)};
  batch.update_sessions[0].title = "new";
  batch.update_sessions[0].settings = "{}";
  batch.update_sessions[0].updated_ms = 7777;
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  const auto session = Must(journal->GetSession("s"));
  REQUIRE(session.title == "new");
  REQUIRE(session.settings == "{}");
  REQUIRE(session.created_ms == 1000);
  REQUIRE(session.updated_ms == 7777);
  REQUIRE(session.last_seq == 2);
  batch.update_sessions[0].id = "none";
  REQUIRE_ERROR(journal->Commit(batch, Durability::kKernel), StatusCode::kNotFound, "none");
  RequireClean(*journal);
}

TEST_CASE("JournalPagesSessionsByCreationThenId") {
  const TempDirectory temp;
  auto journal = OpenJournal(temp.File("journal.db"));
  JournalBatch batch;
  for (const auto& [id, created] : {std::pair("d", 3), {"b", 2}, {"a", 2}, {"c", 1}}) {
    batch.create_sessions.push_back(SampleSession(id, created));
  }
  REQUIRE_OK(journal->Commit(batch, Durability::kKernel));
  std::string order;
  std::string after;
  while (true) {
    const auto page = Must(journal->ListSessions(after, 1));
    if (page.empty()) break;
    REQUIRE(page.size() == 1);
    after = page[0].id;
    order += after;
  }
  REQUIRE(order == "cabd");
  REQUIRE(Must(journal->ListSessions("", 100)).size() == 4);
  REQUIRE_ERROR(journal->ListSessions("zz", 1), StatusCode::kNotFound, "zz");
  REQUIRE_ERROR(journal->ListSessions("", -1), StatusCode::kInvalidArgument, "-1");
}

TEST_CASE("JournalForgetsAnswersAfterADayAndRefusesSecondAnswer") {
  const TempDirectory temp;
  auto journal = OpenJournal(temp.File("journal.db"));
  auto answer = [&](const std::string& id, int64_t time_ms) {
    JournalBatch batch;
    batch.answers = {{id, "StartTurn", "{}", time_ms}};
    return journal->Commit(batch, Durability::kKernel);
  };
  REQUIRE_OK(answer("first", 1000));
  REQUIRE_ERROR(answer("first", 2000), StatusCode::kAlreadyExists, "first");
  REQUIRE_OK(answer("second", 1000 + kAnswerKeptMs));
  REQUIRE_OK(journal->FindAnswer("first", "StartTurn"));
  // Looked for once an hour. Who reads elsewhere learns of it too.
  const auto reader = OpenJournal(temp.File("journal.db"));
  REQUIRE_OK(reader->FindAnswer("first", "StartTurn"));
  REQUIRE_OK(answer("third", 1001 + kAnswerKeptMs));
  REQUIRE_OK(journal->FindAnswer("first", "StartTurn"));
  REQUIRE_OK(answer("fourth", 1000 + kAnswerKeptMs + 3'600'000));
  REQUIRE_ERROR(reader->FindAnswer("first", "StartTurn"), StatusCode::kNotFound, "first");
  REQUIRE_OK(reader->FindAnswer("fourth", "StartTurn"));
  REQUIRE_ERROR(journal->FindAnswer("first", "StartTurn"), StatusCode::kNotFound, "first");
  REQUIRE_OK(journal->FindAnswer("second", "StartTurn"));
  // All of it is too old, and no key is used twice: the reader goes on behind what it knows.
  REQUIRE_OK(answer("fifth", 10 * kAnswerKeptMs));
  REQUIRE_ERROR(reader->FindAnswer("third", "StartTurn"), StatusCode::kNotFound, "third");
  REQUIRE_OK(reader->FindAnswer("fifth", "StartTurn"));
  // A batch that fails takes its answer along, and its key goes to another.
  JournalBatch failing;
  failing.answers = {{"lost", "StartTurn", "{}", 10 * kAnswerKeptMs},
                     {"fifth", "StartTurn", "{}", 10 * kAnswerKeptMs}};
  REQUIRE_ERROR(journal->Commit(failing, Durability::kKernel), StatusCode::kAlreadyExists, "fifth");
  REQUIRE_ERROR(journal->FindAnswer("lost", "StartTurn"), StatusCode::kNotFound, "lost");
  REQUIRE_OK(answer("sixth", 10 * kAnswerKeptMs));
  REQUIRE_ERROR(answer("sixth", 10 * kAnswerKeptMs), StatusCode::kAlreadyExists, "sixth");
}

TEST_CASE("JournalObjectsReadWhileAnotherWritesAndLockIsReported") {
  const TempDirectory temp;
  const std::string path = temp.File("journal.db");
  auto writer = JournalWithSession(path);
  auto reader = Must(Journal::Open({.path = path, .read_only = true}));
  REQUIRE_OK(writer->Commit(EventBatch(1, 5), Durability::kKernel));
  REQUIRE(Must(reader->ReadEvents("s", 0, 10)).size() == 5);
  REQUIRE_ERROR(reader->Commit(EventBatch(6, 6), Durability::kKernel),
                StatusCode::kPermissionDenied, "not writable");
  // A second writer with a stale view is refused by the sequence numbers.
  auto second = OpenJournal(path);
  REQUIRE_ERROR(second->Commit(EventBatch(5, 5), Durability::kKernel), StatusCode::kAborted,
                "expected 6");
}

TEST_CASE("JournalCodecDecodesWhatItEncodesAndRefusesOtherSizes") {
  const std::vector<int32_t> ids = {0, 1, 129279, INT32_MAX};
  REQUIRE(Must(DecodeTokenIds(EncodeTokenIds(ids))) == ids);
  REQUIRE_ERROR(DecodeTokenIds({}), StatusCode::kDataLoss, "0 bytes");
  const std::vector<std::byte> odd(5);
  REQUIRE_ERROR(DecodeTokenIds(odd), StatusCode::kDataLoss, "5 bytes");
  const std::vector<std::byte> large(4 * (kTokenRowIds + 1));
  REQUIRE_ERROR(DecodeTokenIds(large), StatusCode::kDataLoss, "3844 bytes");
  const std::vector<std::byte> negative(4, std::byte{0xff});
  REQUIRE_ERROR(DecodeTokenIds(negative), StatusCode::kDataLoss, "negative");
  const std::vector<uint64_t> hashes = {0, 7, UINT64_MAX};
  REQUIRE(Must(DecodeLogitsHashes(EncodeLogitsHashes(hashes), 3)) == hashes);
  REQUIRE(Must(DecodeLogitsHashes({}, 3)).empty());
  REQUIRE_ERROR(DecodeLogitsHashes(EncodeLogitsHashes(hashes), 2), StatusCode::kDataLoss,
                "24 bytes");
}

}  // namespace baleen
