// A hostile plugin in the sandbox: each way out judged from outside, as those of commands are.
#include <iostream>

#include "runtime/plugins/plugin_set.h"
#include "tests/sandbox/outside_world.h"
#include "tests/store/status_checks.h"
#include "tests/testing/sanitizer.h"

namespace baleen {
namespace {

struct Caged {
  SandboxKind kind;
  std::unique_ptr<PluginSet> set;
};

std::vector<Caged> Cages() {
  std::vector<Caged> cages;
  if (kAddressSanitizer) {
    std::cout << "SKIPPED: nothing of this test runs here: " << kNoHostInSandbox << "\n";
    WARN("SKIP: " << kNoHostInSandbox);
    return cages;
  }
  for (const SandboxKind kind : {SandboxKind::kBubblewrap, SandboxKind::kLandlock}) {
    PluginOptions options;
    options.sandbox = std::make_shared<LazySandbox>(kind);
    options.paths = {BAD_CALLS_PLUGIN};
    if (options.sandbox->Get().kind() == kind) {
      cages.push_back({kind, Must(PluginSet::Load(options))});
    } else {
      WARN("SKIP " << SandboxKindName(kind) << ": " << options.sandbox->Get().reason());
    }
  }
  if (cages.empty()) std::cout << "SKIPPED: nothing of this test runs without a sandbox\n";
  return cages;
}

ToolResult Call(const PluginSet& set, const ProcessBounds& bounds, const std::string& tool,
                const std::string& text) {
  for (const auto& found : set.tools()) {
    if (found->spec().name != tool) continue;
    CallContext context;
    std::string escaped;
    for (const char c : text) escaped += (c == '"' || c == '\\' ? "\\" : "") + std::string(1, c);
    return found->CallIn(bounds, {"s/t1.c1", tool, "{\"text\":\"" + escaped + "\"}"}, context);
  }
  FAIL("no tool " << tool);
  return {};
}

}  // namespace

TEST_CASE("APluginInTheSandboxReachesItsWorkspaceAndNothingElse") {
  for (const auto& [kind, set] : Cages()) {
    const OutsideWorld world;
    const auto call = [&, &plugin = *set](const std::string& tool, const std::string& text) {
      return Call(plugin, {world.workspace(), nullptr}, tool, world.Filled(text));
    };
    INFO(SandboxKindName(kind));
    // What is denied must be denied by the sandbox, not by a tool that can't do it at all.
    CHECK(call("open", world.workspace() + "/made.txt").content == "written, read");
    CHECK(std::filesystem::exists(world.workspace() + "/made.txt"));
    CHECK(call("shell", "cat inside.txt; echo done > more.txt; pwd").content ==
          "inside" + world.workspace() + "\n[0]");
    CHECK(ReadText(world.workspace() + "/more.txt") == "done\n");

    CHECK(call("open", "@OUT@/secret.txt").content == "not written, not read");
    CHECK(call("open", "@OUT@/new").content.find("read") != std::string::npos);
    CHECK(call("open", "/usr/bin/baleen-escape").content == "not written, not read");
    CHECK(call("open", BAD_CALLS_PLUGIN).content == "not written, read");
    CHECK(call("connect", "@PORT@").content == "not reached");
    CHECK(call("signal", "@PID@").content == "not reached ");
    CHECK(call("signal", "@SELF@").content == "not reached ");
    CHECK(call("leave_family", "mark-of-plugin").outcome == ToolOutcome::kOk);
    CHECK(OutsideWorld::Marked("MARK=mark-of-plugin") == 0);
    for (const char* command : {
             "cat @OUT@/secret.txt; ls -la @OUT@; ls ~/.ssh /root/.ssh /home/*/.ssh; env",
             "cat ../outside/secret.txt; ln -s @OUT@ l; echo x > l/new; cat l/secret.txt",
             "cat /proc/@SELF@/environ /proc/@PID@/environ /proc/*/environ",
             "for f in 5 6 7 8 9 10 11 12 13; do cat <&$f; done; ls /proc/self/fd",
             "grep ^root: /etc/shadow; cat @SHM@; echo x > @SHM@",
             "echo x > @PTY@; echo x > /dev/tty; kill -URG -1",
             "timeout 5 bash -c 'echo hi > /dev/tcp/169.254.169.254/80' && echo REACHED",
             "python3 -c \"import socket; socket.socket(1).connect('@OUT@/socket')\"",
             "python3 -c \"import socket; socket.socket(1).connect('\\0@ABSTRACT@')\"",
             "unshare -Ur true && echo REACHED; mount -t tmpfs none . && echo REACHED",
             "kill -KILL @PID@; echo x > /dev/udp/127.0.0.1/@UDP@",
         }) {
      const ToolResult result = call("shell", command);
      INFO(command << "\n" << result.content);
      CHECK(result.content.find(world.secret()) == std::string::npos);
      CHECK(("\n" + result.content).find("\nREACHED") == std::string::npos);
      CHECK(result.content.find("root:") == std::string::npos);
      CHECK(world.Changes().empty());
    }
    CHECK(!std::filesystem::exists("/usr/bin/baleen-escape"));
    if (kind == SandboxKind::kBubblewrap) {
      call("open", world.workspace() + "/.git/hooks/pre-commit");
      CHECK(world.HooksAreAsBefore());
    }
    CHECK(world.Changes().empty());
  }
}

TEST_CASE("APluginOfASessionWithoutAWorkspaceHasNone") {
  for (const auto& [kind, set] : Cages()) {
    const OutsideWorld world;
    INFO(SandboxKindName(kind));
    CHECK(Call(*set, {}, "shell", "pwd").content == "/\n[0]");
    CHECK(Call(*set, {}, "open", world.workspace() + "/inside.txt").content.find(", not read") !=
          std::string::npos);
    CHECK(ReadText(world.workspace() + "/inside.txt") == "inside");
  }
}

TEST_CASE("APluginHasTheNetworkOfItsSession") {
  for (const auto& [kind, set] : Cages()) {
    const OutsideWorld world;
    auto network = std::make_shared<NetworkBounds>();  // owners: this and the call
    network->rules = Must(HostRules::Parse({"example.org"}));
    network->resolver = std::make_shared<NameResolver>();
    std::string decisions;
    network->on_decision = [&decisions](const HostDecision& one) { decisions += one.host; };
    const ToolResult result =
        Call(*set, {world.workspace(), network}, "shell",
             "python3 -c 'import urllib.request as r; r.urlopen(\"http://example.net/\")' 2>&1; "
             "bash -c 'echo x > /dev/tcp/127.0.0.1/" +
                 world.Filled("@PORT@") + "'");
    INFO(SandboxKindName(kind) << ": " << result.content);
    if (kind == SandboxKind::kBubblewrap) {
      CHECK(result.content.find("HTTP Error 403") != std::string::npos);
      CHECK(decisions == "example.net");
    } else {
      CHECK(result.outcome == ToolOutcome::kError);
      CHECK(result.content.find("bubblewrap alone") != std::string::npos);
    }
    CHECK(world.Changes().empty());
  }
}

TEST_CASE("APluginThatMultipliesIsEnded") {
  for (const auto& [kind, set] : Cages()) {
    const OutsideWorld world;
    const ToolResult result = Call(*set, {world.workspace(), nullptr}, "multiply", "");
    INFO(SandboxKindName(kind) << ": " << result.content);
    // The kernel holds back what isn't root's, in a namespace of its own; the watch all else.
    if (kind == SandboxKind::kBubblewrap && geteuid() != 0) {
      CHECK(result.outcome == ToolOutcome::kTimeout);
    } else {
      CHECK(result.outcome == ToolOutcome::kUnknown);
      CHECK(result.content.find("more than 256 processes") != std::string::npos);
    }
  }
}

TEST_CASE("WithoutASandboxPluginsAreRefusedUnlessTheyAreTrusted") {
  PluginOptions options;
  options.sandbox = std::make_shared<LazySandbox>(Sandbox());
  options.paths = {BAD_CALLS_PLUGIN};
  const auto refused = PluginSet::Load(options);
  CHECK(refused.status().code() == StatusCode::kFailedPrecondition);
  CHECK(refused.status().message().find("apt-get install bubblewrap") != std::string::npos);
  CHECK(refused.status().message().find("--plugin-unsandboxed") != std::string::npos);
  options.unsandboxed_paths = std::move(options.paths);
  options.paths.clear();
  CHECK(Must(PluginSet::Load(options))->plugins()[0].place == PluginPlace::kProcess);
}

}  // namespace baleen
