// Which syncs stand behind which words: a worker under strace, whose lines and syncs of the
// journal's log are read in the order in which they happened.
#include <fstream>
#include <regex>

#include "tests/runtime/fixture.h"
#include "tests/testing/child.h"
#include "tests/testing/strace.h"

namespace baleen {
namespace {

/// The worker's facts, each with the number of syncs of the log since the fact before it.
struct Fact {
  std::string line;
  int syncs = 0;
};

std::vector<Fact> TraceFacts(const std::string& data_dir, const std::string& trace) {
  Child worker({"strace", "-f", "-y", "-qq", "-s", "64", "-o", trace, "-e",
                "trace=fdatasync,fsync,write", SESSION_WORKER, data_dir, TinyModel(),
                SmallWorkspace(), "2"});
  const auto lines = worker.ReadAll();
  CAPTURE(lines);
  REQUIRE(worker.Wait() == 0);
  // A sync that another thread's call interrupts is traced as two lines; the second one counts.
  const std::regex sync(R"(^(\d+) +f(?:data)?sync\(\d+<.*journal\.db-wal>(.*)$)");
  const std::regex resumed(R"(^(\d+) +<\.\.\. f(?:data)?sync resumed>\) += 0)");
  const std::regex fact(
      R"re(write\(1<[^>]*>, "(created|accepted|dispatched|answered|ended)[ \\])re");
  std::vector<Fact> facts;
  std::vector<std::string> syncing;  // threads
  int syncs = 0;
  std::ifstream file(trace);
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (std::regex_search(line, match, sync)) {
      if (match[2].str().find("= 0") != std::string::npos) ++syncs;
      if (match[2].str().find("unfinished") != std::string::npos) syncing.push_back(match[1]);
    } else if (std::regex_search(line, match, resumed)) {
      syncs += static_cast<int>(std::erase(syncing, match[1].str()));
    } else if (std::regex_search(line, match, fact)) {
      facts.push_back({match[1], syncs});
      syncs = 0;
    }
  }
  return facts;
}

}  // namespace

TEST_CASE("EachAcknowledgementFollowsItsOwnSyncOfTheJournal") {
  if (!StraceWorks()) return;
  const TempDirectory temp;
  const std::vector<Fact> facts = TraceFacts(temp.File("data"), temp.File("trace"));
  std::vector<std::string> order;
  for (const Fact& fact : facts) {
    CAPTURE(order, fact.line, fact.syncs);
    // created: CreateSession's commit. accepted: turn_started's. dispatched: that of
    // tool_calls and tool_dispatched.
    // answered: that of tool_results. ended: that of turn_finished. Without the one named, the
    // facts would follow each other with no sync between.
    REQUIRE(fact.syncs >= 1);
    // One each, and creation's own: more would double the price. The log's checkpoint may add one.
    if (fact.line != "created") REQUIRE(fact.syncs <= 2);
    order.push_back(fact.line);
  }
  REQUIRE(order == std::vector<std::string>{"created", "accepted", "ended", "accepted",
                                            "dispatched", "answered", "ended"});
}

}  // namespace baleen
