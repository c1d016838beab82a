// The Python example does what its first lines promise, against a real server.

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "tests/grpc/fixture.h"
#include "tests/testing/test_paths.h"

namespace baleen {
namespace {

struct Outcome {
  int exit_status = -1;
  std::string out;  ///< stdout and stderr.
};

Outcome RunClient(const Fixture& f, const std::string& arguments) {
  const std::string command = "/usr/bin/python3 " + std::string(kSourceDir) +
                              "/examples/python/baleen_client.py --address '" + f.address() +
                              "' --cache '" + f.folder.File("stubs") + "' " + arguments + " 2>&1";
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    outcome.out.append(buffer, got);
  }
  outcome.exit_status = pclose(pipe);
  return outcome;
}

bool HasPython() {
  if (std::system("/usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null") == 0) {
    return true;
  }
  WARN("SKIP: /usr/bin/python3 has no grpc (Debian: python3-grpcio python3-protobuf)");
  return false;
}

TEST_CASE("The Python client chats, serves its tool, and reconnects behind its cursor") {
  if (!HasPython()) return;
  Fixture f;
  std::thread world;
  f.runtime.on_start_turn = [&](const TurnView& turn) {
    // First the watcher is thrown out once; it has to come back and miss nothing.
    world = std::thread([&f, turn] {
      f.runtime.WaitUntil([&] { return f.runtime.watches == 1; });
      f.runtime.EndWatches(UnavailableError("thrown out", "DRAINING"));
      f.runtime.Publish(turn.session, turn.turn, "generated", "{\"while\":\"away\"}");
      f.runtime.WaitUntil([&] { return f.runtime.watches_total == 2; });
      f.runtime.Publish(turn.session, turn.turn, "delta", "{\"text\":\"live\"}", true);
      f.runtime.CallTool(turn.session, {"c1", "add", "{\"a\":20,\"b\":22}"});
    });
  };
  f.runtime.on_result = [&](const std::string& session, const ToolResult& result) {
    f.runtime.FinishTurn(session, "t1", TurnState::kSucceeded, "sum " + result.content);
  };
  const Outcome chat = RunClient(f, "chat 'what is 20 + 22?'");
  INFO(chat.out);
  REQUIRE(world.joinable());
  world.join();
  CHECK(chat.exit_status == 0);
  CHECK(chat.out.ends_with("sum 42\n"));
  CHECK(chat.out.find("reconnecting after s1:2: thrown out") != std::string::npos);
  CHECK(chat.out.find("3 generated {\"while\":\"away\"}") != std::string::npos);
  CHECK(f.runtime.started.at(0).input == std::vector<std::string>{"what is 20 + 22?"});
  CHECK(f.runtime.created.at(0).settings.host_tools.at(0).name == "add");

  const Outcome list = RunClient(f, "list");
  CHECK(list.exit_status == 0);
  CHECK(list.out == "sessions/s1 0 tokens what is 20 + 22?\n");
}

TEST_CASE("The Python client reports errors with their code") {
  if (!HasPython()) return;
  Fixture f;
  const Outcome outcome = RunClient(f, "chat x --session nobody");
  CHECK(outcome.exit_status != 0);
  CHECK(outcome.out.find("NOT_FOUND: session 'nobody' does not exist") != std::string::npos);
}

}  // namespace
}  // namespace baleen
