// News of running calls: watchers see what a command writes while it runs, now and then and without
// secrets; the journal and the model don't.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/http/redactor.h"
#include "runtime/sessions/call_news.h"
#include "tests/runtime/calling_session.h"

namespace baleen {
namespace {

const std::string kKey = "sk-the-first-half-and-the-other";

/// What a call writes in pieces, as its news say it.
struct Writer {
  explicit Writer(const Redactor* redactor = nullptr) : news(redactor, "c1", "bash", 1000) {}
  bool Write(const std::string& bytes, int64_t left_out = 0) {
    written += left_out + std::ssize(bytes);
    CallProgress progress;
    progress.output = bytes;
    progress.output_bytes = written;
    return news.Put(progress);
  }
  nlohmann::json Take() {
    const std::string payload = news.Take(3500);
    return payload.empty() ? nlohmann::json() : Parse(payload);
  }
  CallNews news;
  int64_t written = 0;
};

bool Skipped(const std::string& answer) {
  const bool skipped = answer.find("no sandbox") != std::string::npos ||
                       answer.find("no command runs") != std::string::npos;
  if (skipped) WARN("SKIP: " << answer);
  return skipped;
}

std::string TextsOf(const std::vector<Event>& events) {
  std::string all;
  for (const Event& event : events) all += Parse(event.payload)["text"].get<std::string>();
  return all;
}

}  // namespace

TEST_CASE("NewsAreWhatWasWrittenSinceTheLastOnes") {
  Writer writer;
  CHECK(writer.Take().is_null());
  CHECK(writer.Write("one\n"));
  CHECK_FALSE(writer.Write("tw"));  // it is known already that there are some
  nlohmann::json told = writer.Take();
  CHECK(told["call"] == "c1");
  CHECK(told["tool"] == "bash");
  CHECK(told["elapsed_ms"] == 2500);
  CHECK(told["text"] == "one\ntw");
  CHECK(told["output_begin"] == 0);
  CHECK(told["output_end"] == 6);
  CHECK_FALSE(told.contains("message"));
  CHECK(writer.Write("o\xC3"));
  told = writer.Take();
  CHECK(told["text"] == "o");  // the rest may follow
  CHECK(writer.Write("\xBC\xFF\xFE!"));
  told = writer.Take();
  CHECK(told["text"] == "\xC3\xBC\xEF\xBF\xBD\xEF\xBF\xBD!");
  CHECK(told["output_begin"] == 7);
  CHECK(told["output_end"] == 12);

  CallProgress progress;
  progress.output_bytes = writer.written;
  progress.done = 1;
  progress.total = INFINITY;
  progress.message = "half way";
  CHECK(writer.news.Put(progress));
  told = writer.Take();
  CHECK(told["progress"] == 1);
  CHECK_FALSE(told.contains("total"));
  CHECK(told["message"] == "half way");
  CHECK(told["text"] == "");
  writer.news.Put(progress);
  CHECK(writer.Take().is_null());  // nothing new
  CHECK(writer.Write("more"));
  CHECK(writer.Take()["message"] == "half way");  // still
}

TEST_CASE("OfAFloodTheEndIsTold") {
  Writer writer;
  for (int i = 0; i < 100; ++i) writer.Write(std::string(1 << 16, 'x') + std::to_string(i));
  nlohmann::json told = writer.Take();
  CHECK(told["text"].get<std::string>().size() == CallNews::kTextBytesMax);
  CHECK(told["text"].get<std::string>().ends_with("xx99"));
  CHECK(told["output_end"] == writer.written);
  CHECK(told["output_begin"] == writer.written - std::ssize(told["text"].get<std::string>()));
  writer.Write("\xBC next", 5000);  // its maker has left out some
  told = writer.Take();
  CHECK(told["text"] == " next");
  CHECK(told["output_begin"] > writer.written - 5000);
  writer.Write(std::string(10'000, '\xFF'));
  CHECK(writer.Take()["text"].get<std::string>().size() <= CallNews::kTextBytesMax);
}

TEST_CASE("NoSecretIsReadableHoweverItIsWritten") {
  const Redactor redactor({{"API", {kKey, "", ""}}});
  for (size_t piece = 1; piece < kKey.size(); ++piece) {
    INFO(piece);
    Writer writer(&redactor);
    std::string shown;
    const std::string whole = "key " + kKey + ".\n";
    for (size_t at = 0; at < whole.size(); at += piece) {
      writer.Write(whole.substr(at, piece));
      const nlohmann::json told = writer.Take();
      if (!told.is_null()) shown += told["text"].get<std::string>();
    }
    CHECK(shown == "key [secret API].\n");
  }
  for (size_t cut = 1; cut < kKey.size(); ++cut) {
    INFO(cut);
    Writer left_out(&redactor);
    left_out.Write(kKey.substr(cut) + std::string(500, '.'), static_cast<int64_t>(cut));
    const std::string rest = left_out.Take()["text"];
    CHECK(rest.find_first_not_of('.') == rest.npos);
    CHECK(rest.size() > 400);
    Writer flood(&redactor);
    flood.Write(kKey + std::string(CallNews::kTextBytesMax + redactor.LongestBytes() - cut, '.'));
    const std::string end = flood.Take()["text"];
    CHECK(end.find("other") == end.npos);
    Writer message(&redactor);
    const std::string line = std::string(200 - cut, '.') + kKey.substr(0, cut);
    CallProgress progress;
    progress.message = line;
    message.news.Put(progress);
    CHECK(message.Take()["message"].get<std::string>().find("sk-") == std::string::npos);
  }
}

TEST_CASE("WhoWatchesSeesWhatACommandWritesAndTheJournalDoesNot") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  options.secrets = {{"API", kKey, "", "", {"127.0.0.1"}}};
  const auto runtime = OpenRuntime(options);
  REQUIRE_OK(runtime->CreateSession(WorkingSession(folder, {"bash"})));
  if (Skipped(RunCalls(*runtime, R"(["bash",{"command":"true"}])"))) return;
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  StartTurnRequest request;
  request.session = "s";
  request.input = {R"(["bash",{"command":"echo begun; printf sk-the-first-half; sleep 0.5; )"
                   R"(echo -and-the-other; until [ -e go ]; do sleep 0.05; done"}])"};
  const TurnView turn = Must(runtime->StartTurn(request));
  for (int64_t count = 1; TextsOf(recorder.Of("tool_progress")).find("]") == std::string::npos;
       ++count) {
    REQUIRE(recorder.WaitFor("tool_progress", count));
  }
  std::ofstream(folder + "/go") << "go";
  REQUIRE(Must(runtime->WaitTurn("s", turn.turn, kPatienceMs)).text.starts_with("OK:begun\n"));
  REQUIRE(recorder.WaitFor("turn_finished", 2));
  const std::vector<Event> events = recorder.Of("tool_progress");
  CHECK(TextsOf(events) == "begun\n[secret API]\n");
  for (const Event& event : events) {
    CHECK(event.seq == 0);
    CHECK(event.turn == turn.turn);
    CHECK(Parse(event.payload)["tool"] == "bash");
  }
  for (const Event& event : AllEvents(*runtime, "s")) CHECK(event.kind != "tool_progress");
  // Nobody is told of a call after its result.
  const std::vector<Event> all = recorder.events();
  const auto last = std::find_if(all.rbegin(), all.rend(),
                                 [](const Event& event) { return event.kind == "tool_progress"; });
  CHECK(std::any_of(all.rbegin(), last,
                    [](const Event& event) { return event.kind == "tool_results"; }));
}

TEST_CASE("ACommandThatFloodsIsToldOfAFewTimesASecond") {
  const TempDirectory temp;
  const std::string folder = temp.File("work");
  std::filesystem::create_directories(folder);
  const auto runtime = OpenRuntime(WorkerOptions(temp.File("data"), TinyModel()));
  REQUIRE_OK(runtime->CreateSession(WorkingSession(folder, {"bash"})));
  Recorder recorder;
  const auto watching = Must(runtime->Watch({"s", "", true}, &recorder));
  const std::string answer =
      RunCalls(*runtime, R"(["bash",{"command":"end=$((SECONDS+3)); )"
                         R"(while [ $SECONDS -lt $end ]; do echo line $((++i)); done"}])");
  if (Skipped(answer)) return;
  const std::vector<Event> events = recorder.Of("tool_progress");
  REQUIRE(events.size() >= 2);
  for (size_t i = 0; i < events.size(); ++i) {
    CHECK(events[i].payload.size() < 4 * CallNews::kTextBytesMax);
    if (i > 0) CHECK(events[i].time_ms - events[i - 1].time_ms >= 150);  // 200, and a wall clock
  }
}

}  // namespace baleen
