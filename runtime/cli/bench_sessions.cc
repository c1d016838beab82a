// Ten thousand stored sessions: listing, searching and opening them, beside bare SQLite queries of
// the same rows in the same files.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <utility>

#include "runtime/cli/bench_measure.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/scratch_folder.h"
#include "runtime/store/journal.h"
#include "runtime/store/sqlite.h"

namespace baleen::cli {
namespace {

struct SessionsFlags {
  std::string model;
  int64_t sessions = 10'000;
  int repeats = 200;
  bool json = false;
};

constexpr int64_t kTurns = 4;
constexpr int64_t kPageSize = 100;
constexpr int64_t kSessionsPerCommit = 500;
// In each hundredth session, so that a search has hits and much that is none.
constexpr char kWord[] = "narwhal";

std::string NameOf(int64_t number) { return "session-" + std::to_string(number); }

/// A session of a few turns, as a runtime would have journalled it.
void AddSession(JournalBatch* batch, int64_t number, const std::string& settings) {
  SessionRecord session;
  session.id = NameOf(number);
  session.title = "Session number " + std::to_string(number);
  session.settings = settings;
  session.created_ms = session.updated_ms = 1'700'000'000'000 + number;
  batch->create_sessions.push_back(session);
  int64_t seq = 0;
  const auto add = [&](const char* kind, const Json& payload) {
    EventRecord event;
    event.session = session.id;
    event.seq = ++seq;
    event.time_ms = session.created_ms;
    event.kind = kind;
    event.payload = payload.dump();
    batch->events.push_back(std::move(event));
  };
  add("session_created", Json::object());
  for (int64_t turn = 1; turn <= kTurns; ++turn) {
    const std::string name = "t" + std::to_string(turn);
    std::string text = "Which of the " + std::to_string(number * 7 + turn) + " files is meant?";
    if (number % 100 == 0 && turn == 1) text += std::string(" The one of the ") + kWord + ".";
    add("turn_started", {{"turn", name}, {"input", text}, {"sampling", Json::object()}});
    add("turn_finished", {{"turn", name}, {"state", "SUCCEEDED"}, {"text", "The last one."}});
  }
}

/// Settings as the runtime writes them, taken from a session of its own.
Result<std::string> SettingsOf(const RuntimeOptions& options) {
  {
    ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(options));
    CreateSessionRequest request;
    request.session = "model-of-all";
    request.settings.system_prompt = "You answer in one sentence.";
    RETURN_IF_ERROR(runtime->CreateSession(request).status());
  }
  JournalOptions journal_options;
  journal_options.path = options.data_dir + "/journal.db";
  ASSIGN_OR_RETURN(const auto journal, Journal::Open(journal_options));
  ASSIGN_OR_RETURN(const SessionRecord record, journal->GetSession("model-of-all"));
  return record.settings;
}

Status FillJournal(const SessionsFlags& flags, const RuntimeOptions& options) {
  ASSIGN_OR_RETURN(const std::string settings, SettingsOf(options));
  JournalOptions journal_options;
  journal_options.path = options.data_dir + "/journal.db";
  ASSIGN_OR_RETURN(const auto journal, Journal::Open(journal_options));
  for (int64_t begin = 0; begin < flags.sessions; begin += kSessionsPerCommit) {
    JournalBatch batch;
    const int64_t end = std::min(flags.sessions, begin + kSessionsPerCommit);
    for (int64_t number = begin; number < end; ++number) AddSession(&batch, number, settings);
    RETURN_IF_ERROR(journal->Commit(batch, Durability::kSynced));
  }
  return OkStatus();
}

/// Steps through a query's rows, reading `columns` of each.
Status ReadRows(Query& query, int columns, int64_t* bytes) {
  while (true) {
    ASSIGN_OR_RETURN(const bool row, query.Step());
    if (!row) return OkStatus();
    for (int column = 0; column < columns; ++column) *bytes += std::ssize(query.Text(column));
  }
}

using Timed = std::function<Status()>;

/// Turn about, so that both meet the same machine.
Result<Json> Compare(int repeats, double bar, const Timed& ours, const Timed& bare) {
  std::vector<double> our_ms;
  std::vector<double> bare_ms;
  for (int i = 0; i < repeats; ++i) {
    auto start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(ours());
    our_ms.push_back(MsSince(start));
    start = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(bare());
    bare_ms.push_back(MsSince(start));
  }
  const Spread our = Summarise(our_ms);
  const Spread raw = Summarise(bare_ms);
  return Json{{"ms", ToJson(our)},
              {"bare_sqlite_ms", ToJson(raw)},
              {"ratio", our.median / raw.median},
              {"bar", bar},
              {"verdict", our.median <= bar * raw.median ? "met" : "missed"}};
}

Result<Json> BenchSessions(const SessionsFlags& flags, const std::string& folder) {
  RuntimeOptions options;
  options.data_dir = folder + "/data";
  ASSIGN_OR_RETURN(options.model_path, ModelOrDefault(flags.model));
  RETURN_IF_ERROR(FillJournal(flags, options));
  ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(options));
  SearchRequest search;
  search.words = kWord;
  ASSIGN_OR_RETURN(const auto first, runtime->Search(search));  // indexes all
  ASSIGN_OR_RETURN(const auto journal,
                   Sqlite::Open({.path = options.data_dir + "/journal.db", .read_only = true}));
  ASSIGN_OR_RETURN(const auto index,
                   Sqlite::Open({.path = options.data_dir + "/search.db", .read_only = true}));
  std::mt19937_64 random(1);
  const auto any = [&] {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(flags.sessions));
  };
  int64_t bytes = 0;
  int64_t at = 0;

  // A page that begins anywhere.
  const auto list = [&]() -> Status {
    std::string next;
    return runtime->ListSessions(kPageSize, NameOf(at = any()), &next).status();
  };
  const auto bare_list = [&]() -> Status {
    ASSIGN_OR_RETURN(
        Query rows,
        journal->Prepare(
            "SELECT s.id, s.title, x.text, s.created_ms, t.updated_ms, t.tokens, "
            "t.last_seq, s.pinned, (SELECT count(*) FROM events e WHERE e.key >= t.key << 32 "
            "AND e.key < (t.key + 1) << 32 AND e.kind = 'turn_started') FROM sessions s "
            "JOIN settings x ON x.key = s.settings JOIN timelines t ON t.key = "
            "s.current WHERE s.created_ms > ?1 ORDER BY s.created_ms LIMIT ?2"));
    rows.Bind(1'700'000'000'000 + at).Bind(kPageSize);
    return ReadRows(rows, 9, &bytes);
  };
  ASSIGN_OR_RETURN(Json listed, Compare(flags.repeats, 2, list, bare_list));

  const auto find = [&]() -> Status { return runtime->Search(search).status(); };
  const auto bare_find = [&]() -> Status {
    ASSIGN_OR_RETURN(Query rows,
                     index->Prepare("SELECT p.key, p.timeline, p.seq, t.text FROM texts t JOIN "
                                    "places p ON p.key = t.rowid WHERE t.text MATCH ?1 ORDER BY "
                                    "t.rowid DESC LIMIT ?2"));
    rows.Bind(kWord).Bind(search.hits_max);
    return ReadRows(rows, 4, &bytes);
  };
  ASSIGN_OR_RETURN(Json found, Compare(flags.repeats, 2, find, bare_find));

  // Others than those that are loaded already.
  const auto open = [&]() -> Status { return runtime->GetSession(NameOf(at = any())).status(); };
  const auto bare_open = [&]() -> Status {
    {
      ASSIGN_OR_RETURN(
          Query row,
          journal->Prepare("SELECT s.key, s.title, x.text, s.created_ms, t.updated_ms, "
                           "t.tokens, t.last_seq, s.pinned FROM sessions s JOIN settings "
                           "x ON x.key = s.settings JOIN timelines t ON t.key = "
                           "s.current WHERE s.id = ?1"));
      row.Bind(NameOf(at));
      RETURN_IF_ERROR(ReadRows(row, 8, &bytes));
    }
    ASSIGN_OR_RETURN(Query turns,
                     journal->Prepare("SELECT e.payload FROM sessions s JOIN events e ON e.key >= "
                                      "s.current << 32 AND e.key < (s.current + 1) << 32 WHERE "
                                      "s.id = ?1 AND e.kind = 'turn_started'"));
    turns.Bind(NameOf(at));
    return ReadRows(turns, 1, &bytes);
  };
  ASSIGN_OR_RETURN(Json opened, Compare(flags.repeats, 5, open, bare_open));
  return Json{{"bench", "sessions"},        {"sessions", flags.sessions},
              {"hits", first.size()},       {"list_page_of_100", std::move(listed)},
              {"search", std::move(found)}, {"open", std::move(opened)}};
}

int RunSessions(const SessionsFlags& flags) {
  const ScratchFolder folder;
  if (!folder.status().ok()) return Fail(folder.status(), flags.json);
  const auto result = BenchSessions(flags, folder.path());
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
    return kExitOk;
  }
  for (const char* name : {"list_page_of_100", "search", "open"}) {
    const Json& part = (*result)[name];
    std::printf("%-17s %8.3f ms (%.3f to %.3f), bare SQLite %8.3f ms: %.2f x (bar %.0f: %s)\n",
                name, part["ms"]["median"].get<double>(), part["ms"]["low"].get<double>(),
                part["ms"]["high"].get<double>(), part["bare_sqlite_ms"]["median"].get<double>(),
                part["ratio"].get<double>(), part["bar"].get<double>(),
                part["verdict"].get<std::string>().c_str());
  }
  return kExitOk;
}

}  // namespace

void AddBenchSessions(CLI::App& bench, int* exit_code) {
  auto flags = std::make_shared<SessionsFlags>();  // owners: the callback
  CLI::App* app = bench.add_subcommand(
      "sessions", "List, search and open stored sessions, beside bare SQLite queries");
  app->add_option("--model", flags->model, kModelHelp);
  app->add_option("--sessions", flags->sessions)
      ->capture_default_str()
      ->check(CLI::Range(int64_t{100}, int64_t{1'000'000}));
  app->add_option("--repeats", flags->repeats)
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app->add_flag("--json", flags->json);
  app->callback([flags, exit_code] { *exit_code = RunSessions(*flags); });
}

}  // namespace baleen::cli
