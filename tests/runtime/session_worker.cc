// The program that sync_test.cc traces: opens a data directory, brings its session to the end
// of a wanted turn, and says what it was told as soon as it was told.
//
//   session_worker DATA_DIR MODEL WORKSPACE TURNS
//
// Prints one line per fact with one write each: "open", "created", "accepted t2", "event SEQ KIND
// PAYLOAD_HASH", "dispatched", "answered", "ended", "delta ITEM OFFSET JSON", "finished STATE",
// "verify clean". Exits with 0 at the end.
#include <unistd.h>
#include <xxhash.h>

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/runtime.h"
#include "tests/runtime/worker_session.h"

namespace baleen {
namespace {

void Say(std::string line) {
  line += "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t wrote = write(STDOUT_FILENO, line.data() + done, line.size() - done);
    if (wrote <= 0) return;
    done += static_cast<size_t>(wrote);
  }
}

class Printer final : public EventSubscriber {
 public:
  bool OnEvent(const Event& event) override {
    if (event.seq > 0) {
      Say("event " + std::to_string(event.seq) + " " + event.kind + " " +
          std::to_string(XXH3_64bits(event.payload.data(), event.payload.size())));
      // Facts that somebody may act on; sync_test.cc wants each to be on the disk by now.
      if (event.kind == "tool_dispatched") Say("dispatched");
      if (event.kind == "tool_results") Say("answered");
      if (event.kind == "turn_finished") Say("ended");
    } else if (event.kind == "delta") {
      const auto json = nlohmann::json::parse(event.payload, nullptr, false);
      Say("delta " + json["item"].get<std::string>() + " " +
          std::to_string(json["offset"].get<int64_t>()) + " " + json["content"].dump());
    }
    return true;
  }
  void OnEnd(const Status&) override {}
};

Status Work(const std::string& data_dir, const std::string& model, const std::string& workspace,
            int64_t turns) {
  ASSIGN_OR_RETURN(const auto runtime, Runtime::Open(WorkerOptions(data_dir, model)));
  Say("open");
  auto view = runtime->GetSession(kWorkerSession);
  if (view.status().code() == StatusCode::kNotFound) {
    view = runtime->CreateSession(WorkerSession(workspace));
    if (view.ok()) Say("created");
  }
  RETURN_IF_ERROR(view.status());
  Printer printer;
  ASSIGN_OR_RETURN(const auto watching, runtime->Watch({kWorkerSession, "", true}, &printer));
  while (true) {
    ASSIGN_OR_RETURN(const SessionView now, runtime->GetSession(kWorkerSession));
    std::string turn = now.open_turn;
    if (turn.empty() && now.turns >= turns) break;
    if (turn.empty()) {
      ASSIGN_OR_RETURN(const TurnView started, runtime->StartTurn(WorkerTurn(now.turns + 1)));
      turn = started.turn;
      Say("accepted " + turn);
    }
    ASSIGN_OR_RETURN(const TurnView ended, runtime->WaitTurn(kWorkerSession, turn, 120'000));
    Say(ended.state == TurnState::kSucceeded ? "finished SUCCEEDED"
                                             : "finished badly: " + ended.error.ToString());
  }
  ASSIGN_OR_RETURN(const VerifyReport report, runtime->Verify(""));
  Say(report.problems.empty() ? "verify clean" : "verify " + report.problems.front());
  return OkStatus();
}

}  // namespace
}  // namespace baleen

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const baleen::Status status =
      baleen::Work(argv[1], argv[2], argv[3], std::stoll(std::string(argv[4])));
  if (status.ok()) return 0;
  baleen::Say("error " + status.ToString());
  return 1;
}
