#include "tests/runtime/survivor.h"

#include <xxhash.h>

#include <iostream>
#include <map>
#include <sstream>

#include "model/text/tokenizer.h"

namespace baleen {
namespace {

/// Text of ids [begin, end) as far as it is complete.
std::string TextOf(const std::vector<int32_t>& ids, int64_t begin, int64_t end) {
  static const std::unique_ptr<Tokenizer> tokenizer =
      Must(Tokenizer::FromJson(TinyTokenizerJson()));
  StreamingDetokenizer detokenizer(*tokenizer);
  std::string text;
  for (int64_t i = begin; i < end; ++i) text += detokenizer.Push(ids[static_cast<size_t>(i)]);
  return text;
}

/// Generated text by item ("t2.1") as the journal has it.
std::map<std::string, std::string> ItemTexts(const Journalled& journal) {
  std::map<std::string, std::string> texts;
  std::string item;
  int64_t begin = 0;
  for (const EventRecord& event : journal.events) {
    if (event.kind != "generate") continue;
    const auto json = Parse(event.payload);
    if (!item.empty()) texts[item] = TextOf(journal.ids, begin, json["prompt_begin"]);
    item = json["turn"].get<std::string>() + "." + std::to_string(json["step"].get<int64_t>());
    begin = json["prompt_end"];
  }
  if (!item.empty()) texts[item] = TextOf(journal.ids, begin, std::ssize(journal.ids));
  return texts;
}

}  // namespace

nlohmann::json Journalled::Last(const std::string& kind) const {
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if (event->kind == kind) return Parse(event->payload);
  }
  return {};
}

Journalled ReadJournalled(const std::string& data_dir) {
  Journalled journalled;
  const auto journal = Must(Journal::Open({.path = data_dir + "/journal.db", .read_only = true}));
  REQUIRE(Must(journal->Verify("")).problems.empty());
  const SessionRecord session = Must(journal->GetSession(kWorkerSession));
  TokenRun run = Must(journal->ReadTokens(kWorkerSession, 0, session.tokens));
  journalled.ids = std::move(run.ids);
  journalled.hashes = std::move(run.logits_hashes);
  journalled.hashes.resize(journalled.ids.size(), 0);
  journalled.events = Must(journal->ReadEvents(kWorkerSession, 0, kRowsPerReadMax));
  return journalled;
}

Phase PhaseOf(const Journalled& journal) {
  if (journal.last_kind() == "tool_calls") return Phase::kTools;
  if (journal.last_kind() != "generate") return Phase::kElsewhere;
  const int64_t prompt_end = journal.Last("generate")["prompt_end"];
  return std::ssize(journal.ids) == prompt_end ? Phase::kPrefill : Phase::kDecode;
}

void CheckShown(const std::vector<std::string>& lines, const Journalled& journal) {
  const auto texts = ItemTexts(journal);
  for (const std::string& line : lines) {
    std::istringstream words(line);
    std::string fact;
    words >> fact;
    CAPTURE(line);
    if (fact == "accepted") {
      std::string turn;
      words >> turn;
      REQUIRE(journal.Last("turn_started")["turn"] == turn);
    } else if (fact == "event") {
      size_t seq = 0;
      std::string kind;
      uint64_t hash = 0;
      words >> seq >> kind >> hash;
      REQUIRE(seq <= journal.events.size());
      const EventRecord& event = journal.events[seq - 1];
      REQUIRE(event.kind == kind);
      REQUIRE(XXH3_64bits(event.payload.data(), event.payload.size()) == hash);
    } else if (fact == "delta") {
      std::string item;
      size_t offset = 0;
      std::string content;
      words >> item >> offset;
      std::getline(words, content);
      const auto shown = nlohmann::json::parse(content, nullptr, false);
      if (!shown.is_string()) continue;  // The last line of a killed writer may be cut.
      REQUIRE(texts.count(item) == 1);
      REQUIRE(offset <= texts.at(item).size());
      REQUIRE(texts.at(item).substr(offset).starts_with(shown.get<std::string>()));
    }
  }
}

std::vector<std::string> WorkerCommand(const std::string& data_dir, int64_t turns,
                                       std::vector<std::string> prefix) {
  for (const std::string& word : {std::string(SESSION_WORKER), data_dir, TinyModel(),
                                  SmallWorkspace(), std::to_string(turns)}) {
    prefix.push_back(word);
  }
  return prefix;
}

std::vector<std::string> Finish(const std::string& data_dir, int64_t turns) {
  Child worker(WorkerCommand(data_dir, turns));
  auto lines = worker.ReadAll();
  CAPTURE(lines);
  REQUIRE(worker.Wait() == 0);
  REQUIRE(lines.back() == "verify clean");
  for (const std::string& line : lines) REQUIRE(line.find("badly") == std::string::npos);
  return lines;
}

void CopyFolder(const std::string& from, const std::string& to) {
  std::filesystem::remove_all(to);
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
  std::filesystem::permissions(to, std::filesystem::perms::owner_all);
}

bool StraceWorks() {
  Child probe({"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"});
  if (probe.started() && probe.Wait() == 0) return true;
  WARN("SKIPPED: strace is missing or may not trace here");
  return false;
}

std::vector<std::string> KillAt(const std::string& calls, int when,
                                const std::vector<std::string>& paths) {
  // Without --seccomp-bpf: with it strace 6.1 counts the calls of new threads wrongly.
  std::vector<std::string> command = {"strace", "-f", "-qq", "-o", "/dev/null"};
  for (const std::string& path : paths) {
    command.push_back("-P");
    command.push_back(path);
  }
  for (const std::string& word :
       {std::string("-e"), "trace=" + calls, std::string("-e"),
        "inject=" + calls + ":signal=KILL:when=" + std::to_string(when)}) {
    command.push_back(word);
  }
  return command;
}

Twins::Twins() : start_(folder_.File("start")) {
  Finish(start_, 1);
  const std::string twin = folder_.File("twin");
  CopyFolder(start_, twin);
  Finish(twin, 3);
  expected_ = ReadJournalled(twin);
  int generations = 0;
  int64_t sampled = 0;
  for (const EventRecord& event : expected_.events) {
    if (event.kind != "generated") continue;
    const auto payload = Parse(event.payload);
    if (++generations == 2) prefill_ms_ = payload["reuse"]["prefill_ms"];
    sampled += payload["event"]["tokens"].get<int64_t>();
  }
  // What is compared must be worth comparing: no early end, a hash behind each sampled token.
  REQUIRE(generations == 5);
  REQUIRE(sampled == 24 + 2 * (24 + 40));
  REQUIRE(std::count_if(expected_.hashes.begin(), expected_.hashes.end(),
                        [](uint64_t hash) { return hash != 0; }) == sampled);
}

void Twins::FinishAndCompare(const std::string& data_dir, int64_t turns) const {
  Finish(data_dir, turns);
  const Journalled mine = ReadJournalled(data_dir);
  REQUIRE(mine.last_kind() == "turn_finished");
  REQUIRE(mine.Last("turn_finished")["turn"] == "t" + std::to_string(turns));
  REQUIRE(mine.Last("turn_finished")["state"] == "SUCCEEDED");
  REQUIRE(mine.events.size() <= expected_.events.size());
  for (size_t i = 0; i < mine.events.size(); ++i) {
    CAPTURE(i);
    REQUIRE(mine.events[i].kind == expected_.events[i].kind);
    if (mine.events[i].kind == "tool_results") {
      REQUIRE(mine.events[i].payload == expected_.events[i].payload);
    }
  }
  REQUIRE(mine.ids.size() <= expected_.ids.size());
  int64_t different = 0;
  for (size_t i = 0; i < mine.ids.size(); ++i) {
    different += mine.ids[i] != expected_.ids[i] || mine.hashes[i] != expected_.hashes[i];
  }
  REQUIRE(different == 0);
  if (turns == 3) REQUIRE(mine.ids.size() == expected_.ids.size());
}

Instants::~Instants() {
  std::cout << "killed at " << hits_ << " instants: " << phase_ << " (seed " << seed_ << ")\n";
}

}  // namespace baleen
