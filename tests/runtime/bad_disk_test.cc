// Disks and directories that are not what a runtime needs: a status that says what to do, and
// nothing lost.
#include <sys/stat.h>

#include "tests/runtime/fixture.h"
#include "tests/store/small_disk.h"

namespace baleen {
namespace {

CreateSessionRequest PlainSession(const std::string& id) {
  CreateSessionRequest request;
  request.session = id;
  request.settings.script =
      "return function(message) return baleen.generate { user = message }.content end";
  request.settings.tokens_max = 8;
  return request;
}

StartTurnRequest PlainTurn(const std::string& session, int64_t number, int64_t words) {
  StartTurnRequest request;
  request.session = session;
  request.trace_logits = true;
  std::string text = "turn " + std::to_string(number);
  for (int64_t i = 0; i < words; ++i) text += " word " + std::to_string(i * number % 1000);
  request.input = {text};
  return request;
}

bool Contains(const std::vector<std::string>& texts, const std::string& words) {
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
    return text.find(words) != std::string::npos;
  });
}

}  // namespace

TEST_CASE("AQuotaSmallerThanOneSessionIsNotedAndChangesNoBits") {
  const TempDirectory temp;
  TokenTrace traces[2];
  for (const int64_t quota : {0, 1}) {
    RuntimeOptions options = WorkerOptions(temp.File(std::to_string(quota)), TinyModel());
    options.kv_disk_bytes = quota;
    auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(PlainSession("s")));
    REQUIRE_OK(runtime->PinSession("s", true));
    for (int64_t turn = 1; turn <= 3; ++turn) {
      REQUIRE(RunTurn(*runtime, PlainTurn("s", turn, 60)).state == TurnState::kSucceeded);
    }
    REQUIRE_OK(runtime->Compact());
    const auto notes = Must(runtime->Stats()).notes;
    CAPTURE(notes);
    REQUIRE(Contains(notes, "raise the quota") == (quota == 1));
    REQUIRE(Must(runtime->Verify("")).problems.empty());
    // Unpinned and released, it goes, and is computed again.
    REQUIRE_OK(runtime->PinSession("s", false));
    REQUIRE_OK(runtime->ReleaseSession("s"));
    REQUIRE_OK(runtime->Compact());
    REQUIRE((Must(runtime->Stats()).kv_blocks == 0) == (quota == 1));
    REQUIRE(RunTurn(*runtime, PlainTurn("s", 4, 60)).state == TurnState::kSucceeded);
    const auto reuse = LastReuse(*runtime, "s");
    CAPTURE(reuse.dump());
    if (quota == 1) REQUIRE(AnyContains(reuse["reasons"], "under the quota of 1 bytes"));
    traces[quota] = ReadAll(*runtime, "s");
  }
  REQUIRE(traces[0].ids == traces[1].ids);
  REQUIRE(traces[0].logits_hashes == traces[1].logits_hashes);
}

TEST_CASE("AReadOnlyDiskIsRefusedAndNamed") {
  const TempDirectory temp;
  const std::string disk_path = temp.File("disk");
  const SmallDisk disk(disk_path, "64m");
  if (!disk.mounted()) {
    WARN("SKIPPED: needs the right to mount a tmpfs");
    return;
  }
  const RuntimeOptions options = WorkerOptions(disk_path + "/data", TinyModel());
  {
    auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(PlainSession("s")));
    REQUIRE(RunTurn(*runtime, PlainTurn("s", 1, 60)).state == TurnState::kSucceeded);
  }
  REQUIRE(mount("none", disk_path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=64m") == 0);
  const auto refused = Runtime::Open(options);
  REQUIRE_ERROR(refused, StatusCode::kPermissionDenied, disk_path);
  REQUIRE(mount("none", disk_path.c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0);
  REQUIRE(RunTurn(*OpenRuntime(options), PlainTurn("s", 2, 60)).state == TurnState::kSucceeded);
}

TEST_CASE("AFullDiskFailsWhatNeedsItAndNothingAcknowledgedIsLost") {
  const TempDirectory temp;
  const std::string disk_path = temp.File("disk");
  const SmallDisk disk(disk_path, "8m");
  if (!disk.mounted()) {
    WARN("SKIPPED: needs the right to mount a tmpfs");
    return;
  }
  const RuntimeOptions options = WorkerOptions(disk_path + "/data", TinyModel());
  const std::string ballast = disk_path + "/ballast";
  int64_t turns = 0;
  Status status;
  {
    auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(PlainSession("s")));
    std::ofstream(ballast) << std::string(6 << 20, 'b');
    while (status.ok() && turns < 400) {
      const auto started = runtime->StartTurn(PlainTurn("s", turns + 1, 40));
      status = started.status();
      if (!started.ok()) break;
      const TurnView turn = Must(runtime->WaitTurn("s", started->turn, kPatienceMs));
      status = turn.error;
      turns += turn.state == TurnState::kSucceeded ? 1 : 0;
    }
    CAPTURE(turns, status.ToString());
    REQUIRE(turns > 0);
    REQUIRE(status.code() == StatusCode::kResourceExhausted);
    REQUIRE(status.message().find(disk_path) != std::string::npos);
    REQUIRE(status.message().find("free space") != std::string::npos);
  }
  REQUIRE(std::filesystem::remove(ballast));
  auto runtime = OpenRuntime(options);
  const SessionView found = Must(runtime->GetSession("s"));
  REQUIRE(found.turns >= turns);
  // A turn that could not be ended goes on.
  if (!found.open_turn.empty()) {
    REQUIRE_OK(runtime->WaitTurn("s", found.open_turn, kPatienceMs));
  }
  REQUIRE(RunTurn(*runtime, PlainTurn("s", 1000, 40)).state == TurnState::kSucceeded);
  const auto report = Must(runtime->Verify(""));
  CAPTURE(report.problems);
  REQUIRE(report.problems.empty());
}

TEST_CASE("DirectoriesThatOthersMayWriteAndNewerFormatsAreRefused") {
  const TempDirectory temp;
  const RuntimeOptions options = WorkerOptions(temp.File("data"), TinyModel());
  {
    auto runtime = OpenRuntime(options);
    REQUIRE_OK(runtime->CreateSession(PlainSession("s")));
  }
  REQUIRE(chmod(options.data_dir.c_str(), 0777) == 0);
  REQUIRE_ERROR(Runtime::Open(options), StatusCode::kPermissionDenied, "chmod 700");
  REQUIRE(chmod(options.data_dir.c_str(), 0700) == 0);
  const std::string format = options.data_dir + "/kv/FORMAT";
  const auto write = [](const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  };
  write(format, "baleen kv 99\n");
  REQUIRE_ERROR(Runtime::Open(options), StatusCode::kFailedPrecondition, "newer build");
  // Damage to the cache's stamp costs the cache.
  write(format, "baleen k");
  auto runtime = OpenRuntime(options);
  REQUIRE(Contains(Must(runtime->Stats()).notes, "begins empty"));
  REQUIRE(RunTurn(*runtime, PlainTurn("s", 1, 10)).state == TurnState::kSucceeded);
}

}  // namespace baleen
