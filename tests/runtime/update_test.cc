// Settings that change, and whom sessions count for: from the next turn on, over restarts, forks,
// rewinds, compactions, exports and imports; refused by name where they can't.
#include <cmath>

#include "tests/runtime/fixture.h"

namespace baleen {
namespace {

constexpr char kTalk[] = R"(
return function(message) return baleen.generate({ user = message }).content end
)";

RuntimeOptions Options(const TempDirectory& temp) {
  return WorkerOptions(temp.File("data"), TinyModel(1, 4096));
}

CreateSessionRequest Session(const std::string& id) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.title = "first title";
  request.settings.script = kTalk;
  request.settings.tokens_max = 8;
  request.settings.sampling.seed = 3;
  request.settings.goal = "first goal";
  request.settings.notes = {"first note"};
  return request;
}

StartTurnRequest Turn(const std::string& id, const std::string& text = "hello") {
  StartTurnRequest request;
  request.session = id;
  request.input = {text};
  return request;
}

UpdateSessionRequest Update(const std::string& id, std::vector<std::string> mask) {
  UpdateSessionRequest request;
  request.session = id;
  request.mask = std::move(mask);
  return request;
}

std::vector<Event> Updates(Runtime& runtime, const std::string& id) {
  std::vector<Event> events = AllEvents(runtime, id);
  std::erase_if(events, [](const Event& event) { return event.kind != "session_updated"; });
  return events;
}

HistoryPoint AfterTurn(const std::string& turn) {
  HistoryPoint point;
  point.turn = turn;
  return point;
}

void RewindTo(Runtime& runtime, const std::string& id, const std::string& turn) {
  RewindRequest rewind;
  rewind.session = id;
  rewind.to = AfterTurn(turn);
  REQUIRE_OK(runtime.RewindSession(rewind));
}

ForkRequest Fork(const std::string& id, const std::string& fork, const std::string& tenant = "") {
  ForkRequest request;
  request.session = id;
  request.fork = fork;
  request.tenant = tenant;
  return request;
}

/// What a compaction kept word for word.
nlohmann::json Compact(Runtime& runtime, const std::string& id, const std::string& note = "") {
  StartTurnRequest request;
  request.session = id;
  request.compact = true;
  if (!note.empty()) request.input = {note};
  const TurnView turn = RunTurn(runtime, request);
  INFO(turn.error.ToString());
  REQUIRE(turn.state == TurnState::kSucceeded);
  nlohmann::json kept;
  for (const Event& event : AllEvents(runtime, id)) {
    if (event.kind == "compacted") kept = Parse(event.payload);
  }
  return kept;
}

}  // namespace

TEST_CASE("ChangedSettingsHoldFromTheNextTurnOnWhereverTheSessionGoes") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  REQUIRE(RunTurn(*runtime, Turn("s")).tokens_generated == 8);
  UpdateSessionRequest update =
      Update("s", {"title", "tokens_max", "sampling.temperature", "policy.rules", "prices"});
  update.settings.title = "second title";
  update.settings.tokens_max = 3;
  update.settings.sampling.temperature = 0.25F;
  update.settings.sampling.seed = 99;  // not named
  update.settings.policy.rules = {{"bash", "", "deny", "not here"}, {"read", "", "allow", ""}};
  update.settings.prices = {5, 7};
  update.settings.goal = "not named";
  Recorder recorder;
  auto watching = Must(runtime->Watch({"s", "", false}, &recorder));
  const SessionView changed = Must(runtime->UpdateSession(update));
  REQUIRE(recorder.WaitFor("session_updated"));
  watching.reset();  // before its runtime
  const auto holds = [](const SessionView& view) {
    const SessionSettings& now = view.settings;
    CHECK(now.title == "second title");
    CHECK(now.tokens_max == 3);
    CHECK(now.sampling.temperature == 0.25F);
    CHECK(now.sampling.seed == 3);
    REQUIRE(!now.policy.rules.empty());
    CHECK(now.policy.rules[0].why == "not here");
    CHECK(now.prices.generated == 7);
    CHECK(now.goal == "first goal");
    CHECK(now.script == kTalk);
  };
  holds(changed);
  const auto told = Updates(*runtime, "s");
  REQUIRE(told.size() == 1);
  const nlohmann::json payload = Parse(told[0].payload);
  CHECK(payload["mask"].size() == 5);
  CHECK(payload["settings"].size() == 5);
  CHECK(payload["settings"]["tokens_max"] == 3);
  CHECK(changed.head_cursor == told[0].cursor);
  REQUIRE(RunTurn(*runtime, Turn("s")).tokens_generated == 3);

  const ForkRequest fork = Fork("s", "f");
  holds(Must(runtime->ForkSession(fork)));
  RewindTo(*runtime, "s", "t1");
  CHECK(Updates(*runtime, "s").empty());  // of the timeline that was left
  holds(Must(runtime->GetSession("s")));
  update = Update("f", {"title"});
  update.settings.title = "of the fork";
  REQUIRE_OK(runtime->UpdateSession(update));
  holds(Must(runtime->GetSession("s")));
  REQUIRE_OK(runtime->ExportSession("s", temp.File("s.archive"), {}));
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  holds(Must(runtime->GetSession("s")));
  CHECK(Must(runtime->GetSession("f")).settings.title == "of the fork");
  for (const SessionView& view : Must(runtime->ListSessions(10, "", nullptr))) {
    if (view.session == "s") holds(view);
  }
  ImportRequest import;
  import.path = temp.File("s.archive");
  import.session = "i";
  holds(Must(runtime->ImportSession(import, {})).session);
  REQUIRE(RunTurn(*runtime, Turn("i")).tokens_generated == 3);
  REQUIRE(Must(runtime->Verify("")).problems.empty());
}

TEST_CASE("WhatCantChangeIsRefusedByNameAndChangesNothing") {
  const TempDirectory temp;
  const auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  const auto refusal = [&](const UpdateSessionRequest& request) {
    const Status status = runtime->UpdateSession(request).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.reason() == "BAD_FIELD");
    return status.message();
  };
  for (const char* fixed :
       {"workspace", "script", "script_name", "system_prompt", "thinking", "reasoning_effort",
        "tools", "host_tools", "network_hosts", "constraint", "engine", "constraint.tool_choice"}) {
    const std::string message = refusal(Update("s", {"title", fixed}));
    CHECK(message.find(std::string("'") + fixed + "' is fixed") != std::string::npos);
  }
  for (const char* unknown : {"titel", "sampling.heat", "title.text", "*", "", "outside_tools"}) {
    const std::string message = refusal(Update("s", {unknown}));
    CHECK(message.find(std::string("'") + unknown + "' is no setting") != std::string::npos);
  }
  CHECK(refusal(Update("s", {})).find("1 to 64") != std::string::npos);
  refusal(Update("s", std::vector<std::string>(65, "title")));
  UpdateSessionRequest bad = Update("s", {"tokens_max"});
  bad.settings.tokens_max = 0;
  refusal(bad);
  bad = Update("s", {"title"});
  bad.settings.title = "\xff";
  refusal(bad);
  bad = Update("s", {"compact_at_percent"});
  bad.settings.compact_at_percent = 100;
  refusal(bad);
  bad = Update("s", {"policy"});
  bad.settings.policy.rules = {{"*", "", "perhaps", ""}};
  refusal(bad);
  bad = Update("s", {"budget.tokens"});
  bad.settings.budget.tokens = -1;
  refusal(bad);
  bad = Update("s", {"sampling"});
  bad.settings.sampling.temperature = std::nanf("");
  refusal(bad);
  CHECK(Updates(*runtime, "s").empty());
  CHECK(Must(runtime->GetSession("s")).settings.title == "first title");
  CHECK(runtime->UpdateSession(Update("nobody", {"title"})).status().reason() == "SESSION_UNKNOWN");

  UpdateSessionRequest late = Update("s", {"title"});
  late.settings.title = "late";
  late.expected_head = Must(runtime->GetSession("s")).head_cursor;
  const TurnView turn = Must(runtime->StartTurn(Turn("s")));
  const Status busy = runtime->UpdateSession(late).status();  // or its turn has just ended
  CHECK((busy.reason() == "SESSION_BUSY" || busy.reason() == "HEAD_MOVED"));
  REQUIRE_OK(runtime->WaitTurn("s", turn.turn, kPatienceMs));
  CHECK(runtime->UpdateSession(late).status().reason() == "HEAD_MOVED");
  late.expected_head = Must(runtime->GetSession("s")).head_cursor;
  late.request_id = "0d4d1f5e-0000-4000-8000-000000000001";
  REQUIRE_OK(runtime->UpdateSession(late));
  late.settings.title = "of a repeat";
  CHECK(Must(runtime->UpdateSession(late)).settings.title == "late");
  CHECK(Updates(*runtime, "s").size() == 1);
}

TEST_CASE("ANewGoalAndNewNotesStandInPlaceOfThoseThatACompactionKept") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  REQUIRE_OK(runtime->CreateSession(Session("s")));
  RunTurn(*runtime, Turn("s"));
  nlohmann::json kept = Compact(*runtime, "s", "pinned before");
  CHECK(kept["notes"] == nlohmann::json({"first note", "pinned before"}));
  RunTurn(*runtime, Turn("s"));  // t3
  UpdateSessionRequest update = Update("s", {"goal", "notes"});
  update.settings.goal = "second goal";
  update.settings.notes = {"second note"};
  REQUIRE_OK(runtime->UpdateSession(update));
  REQUIRE_OK(runtime->ForkSession(Fork("s", "f")));
  kept = Compact(*runtime, "s", "pinned after");  // t4
  CHECK(kept["goal"] == "second goal");
  CHECK(kept["notes"] == nlohmann::json({"second note", "pinned after"}));
  // A change of something else leaves what was pinned since.
  update = Update("s", {"title"});
  REQUIRE_OK(runtime->UpdateSession(update));
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  RunTurn(*runtime, Turn("s"));
  kept = Compact(*runtime, "s");
  CHECK(kept["goal"] == "second goal");
  CHECK(kept["notes"] == nlohmann::json({"second note", "pinned after"}));
  // Where the context is one that the old notes were kept for.
  RewindTo(*runtime, "s", "t3");
  for (const char* id : {"s", "f"}) {
    kept = Compact(*runtime, id);
    CHECK(kept["goal"] == "second goal");
    CHECK(kept["notes"] == nlohmann::json({"second note"}));
  }
}

TEST_CASE("ANewBudgetIsWithoutWhatWasGrantedOnTopOfTheOldOne") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  CreateSessionRequest create = Session("s");
  create.settings.budget.tokens = 5;
  REQUIRE_OK(runtime->CreateSession(create));
  const auto run = [&](bool grant) {
    const TurnView turn = Must(runtime->StartTurn(Turn("s")));
    Recorder recorder;
    const auto watching = Must(runtime->Watch({"s", "", false}, &recorder));
    int64_t limit = 0;
    while (Must(runtime->GetTurn("s", turn.turn)).state == TurnState::kRunning) {
      for (const ApprovalView& asked : Must(runtime->ListApprovals({"s", false}))) {
        limit = asked.budget.limit;
        ResolveApprovalRequest answer;
        answer.session = "s";
        answer.approval = asked.approval;
        answer.grant = grant;
        if (grant) answer.extend = 1000;
        REQUIRE_OK(runtime->ResolveApproval(answer));
      }
      std::this_thread::yield();
    }
    REQUIRE_OK(runtime->WaitTurn("s", turn.turn, kPatienceMs));
    return limit;
  };
  CHECK(run(true) == 5);
  CHECK(run(true) == 0);  // 1,005 are enough
  UpdateSessionRequest update = Update("s", {"budget.tokens"});
  update.settings.budget.tokens = 6;
  REQUIRE_OK(runtime->UpdateSession(update));
  CHECK(run(false) == 6);
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  CHECK(run(true) == 6);
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  CHECK(run(true) == 0);  // 1,006
}

TEST_CASE("SessionsCountForTheirTenantWithWhatTheyWroteThemselves") {
  const TempDirectory temp;
  auto runtime = OpenRuntime(Options(temp));
  const auto create = [&](const std::string& id, const std::string& tenant) {
    CreateSessionRequest request = Session(id);
    request.tenant = tenant;
    REQUIRE(Must(runtime->CreateSession(request)).tenant == tenant);
  };
  /// Bytes of events after `seq` and of tokens from `tokens` on, added up the slow way.
  const auto bytes_of = [&](const std::string& id, int64_t seq = 0, int64_t tokens = 0) {
    int64_t bytes = 4 * (Must(runtime->GetSession(id)).tokens - tokens);
    for (const Event& event : AllEvents(*runtime, id)) {
      if (event.seq > seq) bytes += std::ssize(event.payload);
    }
    return bytes;
  };
  const auto usage = [&](const std::string& tenant) { return Must(runtime->ReadTenant(tenant)); };
  CHECK(usage("a").sessions == 0);
  create("one", "a");
  create("two", "a");
  create("other", "b");
  create("nobody", "");
  CHECK(usage("a").sessions == 2);
  CHECK(usage("a").stored_bytes == bytes_of("one") + bytes_of("two"));
  RunTurn(*runtime, Turn("one"));
  RunTurn(*runtime, Turn("nobody"));
  CHECK(usage("a").stored_bytes == bytes_of("one") + bytes_of("two"));
  CHECK(usage("b").stored_bytes == bytes_of("other"));
  // A fork is its maker's, and what it shares is whose it was.
  const SessionView origin = Must(runtime->GetSession("one"));
  const int64_t shared = std::ssize(AllEvents(*runtime, "one"));
  CHECK(Must(runtime->ForkSession(Fork("one", "mine", "b"))).tenant == "b");
  CHECK(Must(runtime->ForkSession(Fork("one", "yours"))).tenant == "a");
  RunTurn(*runtime, Turn("mine"));
  CHECK(usage("b").sessions == 2);
  CHECK(usage("b").stored_bytes == bytes_of("other") + bytes_of("mine", shared, origin.tokens));
  CHECK(usage("a").sessions == 3);
  // Timelines that a rewind left are still there.
  const int64_t before = usage("a").stored_bytes;
  RunTurn(*runtime, Turn("one"));
  RewindTo(*runtime, "one", "t1");
  CHECK(usage("a").stored_bytes > before);
  UpdateSessionRequest update = Update("mine", {"title"});
  REQUIRE(Must(runtime->UpdateSession(update)).tenant == "b");
  REQUIRE_OK(runtime->ExportSession("mine", temp.File("archive"), {}));
  const TenantUsage a = usage("a");
  const TenantUsage b = usage("b");
  runtime.reset();
  runtime = OpenRuntime(Options(temp));
  CHECK(usage("a").stored_bytes == a.stored_bytes);
  CHECK(usage("b").stored_bytes == b.stored_bytes);
  CHECK(usage("b").sessions == 2);
  ImportRequest import;
  import.path = temp.File("archive");
  import.session = "imported";
  CHECK(Must(runtime->ImportSession(import, {})).session.tenant.empty());
  CHECK(usage("b").sessions == 2);
  import.session = "mine-too";
  import.tenant = "c";
  CHECK(Must(runtime->ImportSession(import, {})).session.tenant == "c");
  CHECK(usage("c").stored_bytes == bytes_of("mine-too"));
  for (const char* id : {"two", "one"}) {
    DeleteRequest remove;
    remove.session = id;
    REQUIRE_OK(runtime->DeleteSession(remove));
  }
  CHECK(usage("a").sessions == 1);
  CHECK(usage("a").stored_bytes == bytes_of("yours", shared, origin.tokens));
  CHECK(runtime->ReadTenant("").status().reason() == "BAD_FIELD");
}

}  // namespace baleen
