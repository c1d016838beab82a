// Golden journals, and ways past a journal's back, that its tests share.
#pragma once

#include <sqlite3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "runtime/store/journal.h"
#include "tests/store/samples.h"
#include "tests/store/status_checks.h"
#include "tests/testing/temp_directory.h"
#include "tests/testing/test_paths.h"

namespace baleen {

inline Result<std::unique_ptr<Journal>> OpenJournal(const std::string& path,
                                                    bool read_only = false) {
  return Journal::Open({.path = path, .read_only = read_only, .busy_timeout_ms = 0});
}

/// Runs SQL on the file behind the journal's back.
inline void Sql(const std::string& path, const std::string& text) {
  sqlite3* handle = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &handle) == SQLITE_OK);
  const int rc = sqlite3_exec(handle, text.c_str(), nullptr, nullptr, nullptr);
  INFO(text << ": " << sqlite3_errmsg(handle));
  sqlite3_close(handle);
  REQUIRE(rc == SQLITE_OK);
}

/// Of tests/data/store, of that schema version.
inline std::string GoldenCopy(const TempDirectory& temp, int version = 5) {
  const std::string path = temp.File("journal.db");
  std::filesystem::copy_file(
      std::string(kTestData) + "/store/journal_v" + std::to_string(version) + ".db", path);
  chmod(path.c_str(), 0600);
  return path;
}

/// `timeline` of golden holds what GoldenBatch says.
inline void CheckGolden(Journal& journal, int64_t timeline = 0) {
  const JournalBatch golden = GoldenBatch();
  const auto session = Must(journal.GetSession("golden"));
  REQUIRE(session.settings == golden.create_sessions[0].settings);
  const auto run = Must(journal.ReadTokens("golden", 0, 10'000, timeline));
  REQUIRE(run.ids == golden.tokens[0].ids);
  REQUIRE(run.logits_hashes == golden.tokens[0].logits_hashes);
  const auto events = Must(journal.ReadEvents("golden", 0, 10, timeline));
  REQUIRE(events.size() == golden.events.size());
  REQUIRE(events[1].payload == golden.events[1].payload);
  REQUIRE(Must(journal.FindAnswer("request-1", "StartTurn")) == golden.answers[0].answer);
  const auto report = Must(journal.Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
}

/// Changes one bit.
inline void FlipByte(const std::string& path, int64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const char old = static_cast<char>(file.get());
  file.seekp(at);
  file.put(static_cast<char>(old ^ 0x10));
}

}  // namespace baleen
