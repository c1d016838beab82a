// Events on a local socket: how long after the runtime published one a watcher has it, beside the
// round trip of a bare gRPC echo of as many bytes. The engine does nothing meanwhile.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>

#include "runtime/cli/bench_measure.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/scratch_folder.h"
#include "runtime/grpc/bare_echo.h"
#include "runtime/grpc/client.h"
#include "runtime/grpc/server.h"

namespace baleen::cli {
namespace {

struct EventsFlags {
  std::string model;
  int turns = 1000;
  bool json = false;
};

constexpr double kEventsBar = 5;
constexpr int64_t kPatienceSeconds = 60;

/// When each durable event came, and how long it is.
class Arrivals final : public EventSubscriber {
 public:
  bool OnEvent(const Event& event) override {
    const auto now = std::chrono::steady_clock::now();
    if (event.seq == 0) return true;
    const std::lock_guard<std::mutex> lock(mutex_);
    times_[event.seq] = now;
    bytes_ = std::ssize(event.payload);
    newest_ = event.seq;
    changed_.notify_all();
    return true;
  }
  void OnEnd(const Status& status) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    end_ = status;
    changed_.notify_all();
  }
  Status WaitFor(int64_t seq) {
    std::unique_lock<std::mutex> lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(kPatienceSeconds),
                                        [&] { return newest_ >= seq || ended_; });
    if (newest_ >= seq) return OkStatus();
    return came ? end_ : DeadlineExceededError("event " + std::to_string(seq) + " never came");
  }
  std::map<int64_t, SteadyTime> times() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return times_;
  }
  int64_t bytes() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return bytes_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, SteadyTime> times_;
  int64_t bytes_ = 0;
  int64_t newest_ = 0;
  bool ended_ = false;
  Status end_;
};

Json Quantiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<size_t>(part * static_cast<double>(values.size() - 1))];
  };
  return {
      {"median", at(0.5)}, {"p99", at(0.99)}, {"high", values.back()}, {"count", values.size()}};
}

/// Turns that compute nothing: each tells that it began and that it ended.
Status RunTurns(const EventsFlags& flags, Runtime& runtime, BareEcho& echo, Arrivals& far,
                std::vector<double>* echo_ms) {
  int64_t seq = 1;  // session_created
  for (int turn = 0; turn < flags.turns; ++turn) {
    StartTurnRequest start;
    start.session = "bench";
    start.input = {"nothing to compute"};
    RETURN_IF_ERROR(runtime.StartTurn(start).status());
    seq += 2;
    RETURN_IF_ERROR(far.WaitFor(seq));
    ASSIGN_OR_RETURN(const double ms, echo.RoundTripMs(far.bytes()));
    echo_ms->push_back(ms);
  }
  return OkStatus();
}

Result<Json> BenchEvents(const EventsFlags& flags, const std::string& folder) {
  RuntimeOptions options;
  options.data_dir = folder + "/data";
  ASSIGN_OR_RETURN(options.model_path, ModelOrDefault(flags.model));
  ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(options));
  CreateSessionRequest request;
  request.session = "bench";
  request.settings.script = "return function(message) return message end";
  RETURN_IF_ERROR(runtime->CreateSession(request).status());
  ServerOptions server_options;
  server_options.listen = {"unix:" + folder + "/socket/s"};
  ASSIGN_OR_RETURN(const auto server, Server::Start(server_options, runtime.get()));
  ASSIGN_OR_RETURN(const auto remote, ConnectRuntime(server->addresses()[0]));
  ASSIGN_OR_RETURN(const auto echo, BareEcho::Start(folder + "/echo"));
  Arrivals here;
  Arrivals far;
  // Watchers are told in the order in which they came: `here` has the moment of publishing.
  ASSIGN_OR_RETURN(const auto watching_here, runtime->Watch({"bench", "", false}, &here));
  RETURN_IF_ERROR(here.WaitFor(1));
  ASSIGN_OR_RETURN(const auto watching_far, remote->Watch({"bench", "", true}, &far));
  RETURN_IF_ERROR(far.WaitFor(1));
  std::vector<double> echo_ms;
  RETURN_IF_ERROR(RunTurns(flags, *runtime, *echo, far, &echo_ms));
  const auto published = here.times();
  std::vector<double> event_ms;
  for (const auto& [seq, came] : far.times()) {
    if (seq == 1 || published.count(seq) == 0) continue;  // session_created was replayed
    event_ms.push_back(std::chrono::duration<double, std::milli>(came - published.at(seq)).count());
  }
  const Json event = Quantiles(event_ms);
  const Json bare = Quantiles(echo_ms);
  const double ratio = event["p99"].get<double>() / bare["p99"].get<double>();
  return Json{{"bench", "events"},
              {"event_ms", event},
              {"bare_echo_ms", bare},
              {"p99_ratio", ratio},
              {"bar", kEventsBar},
              {"aim", 2.0},
              {"verdict", ratio <= kEventsBar ? "met" : "missed"}};
}

int RunEvents(const EventsFlags& flags) {
  const ScratchFolder folder;
  if (!folder.status().ok()) return Fail(folder.status(), flags.json);
  const auto result = BenchEvents(flags, folder.path());
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
    return kExitOk;
  }
  for (const char* name : {"event_ms", "bare_echo_ms"}) {
    const Json& part = (*result)[name];
    std::printf("%-13s median %.3f, p99 %.3f, high %.3f\n", name, part["median"].get<double>(),
                part["p99"].get<double>(), part["high"].get<double>());
  }
  std::printf("p99 of an event's way over p99 of a bare echo's round trip: %.2f (bar %.0f: %s)\n",
              (*result)["p99_ratio"].get<double>(), kEventsBar,
              (*result)["verdict"].get<std::string>().c_str());
  return kExitOk;
}

}  // namespace

void AddBenchEvents(CLI::App& bench, int* exit_code) {
  auto flags = std::make_shared<EventsFlags>();  // owners: the callback
  CLI::App* app = bench.add_subcommand(
      "events", "An event's way to a watcher on a local socket, beside a bare gRPC echo");
  app->add_option("--model", flags->model, kModelHelp);
  app->add_option("--turns", flags->turns, "Each with two events")
      ->capture_default_str()
      ->check(CLI::Range(10, 1'000'000));
  app->add_flag("--json", flags->json);
  app->callback([flags, exit_code] { *exit_code = RunEvents(*flags); });
}

}  // namespace baleen::cli
