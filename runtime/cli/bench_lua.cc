// `baleen bench lua`: what a script's policy and hooks add to a tool call, beside the same script
// without them. The agent alone: no model, no journal, and tools that answer at once.
#include "runtime/cli/bench_lua.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "agent/agent.h"
#include "runtime/cli/bench_measure.h"
#include "runtime/cli/flags.h"

namespace baleen::cli {
namespace {

struct LuaFlags {
  int64_t rounds = 30;
  int64_t calls = 500;
  bool json = false;
};

struct Subject {
  const char* name;
  const char* declarations;
  std::vector<double> call_us = {};
  std::vector<double> begin_us = {};  ///< Script compiled, state made, until the first call.
};

constexpr char kCalls[] = R"(
return function(message)
  for i = 1, tonumber(message) do baleen.call("read", { path = "notes/" .. i .. ".txt" }) end
  return "done"
end
)";

constexpr char kPolicy[] = R"(
policy {
  allow { tool = "read|list|grep|glob" },
  ask { tool = "write|edit" },
  deny { tool = "bash", why = "not here" },
  deny { path = "**/.env*", why = "secrets stay out of the context" },
}
)";

constexpr char kHook[] = R"(
on.before_tool("read", function(call)
  if call.arguments.path == "" then return deny "no path" end
end)
)";

Status Measure(int64_t calls, Subject* subject) {
  AgentOptions options;
  options.script = std::string(subject->declarations) + kCalls;
  options.script_name = subject->name;
  const auto begin = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const auto agent, Agent::Create(options));
  ASSIGN_OR_RETURN(Effect effect, agent->Resume(UserTurnEvent{std::to_string(calls)}));
  subject->begin_us.push_back(UsSince(begin));
  const auto start = std::chrono::steady_clock::now();
  int64_t made = 0;
  while (const auto* step = std::get_if<CallToolsEffect>(&effect)) {
    ++made;
    ToolResultsEvent results;
    results.results.emplace_back();
    results.results[0].call_id = step->calls.at(0).id;
    results.results[0].content = "a line of text";
    ASSIGN_OR_RETURN(effect, agent->Resume(results));
  }
  subject->call_us.push_back(UsSince(start) / static_cast<double>(calls));
  if (made == calls && std::holds_alternative<FinishEffect>(effect)) return OkStatus();
  return InternalError("the script made " + std::to_string(made) + " calls, expected " +
                       std::to_string(calls));
}

Result<Json> BenchLua(const LuaFlags& flags) {
  const std::string both = std::string(kPolicy) + kHook;
  std::vector<Subject> subjects = {
      {"no-op", ""}, {"policy", kPolicy}, {"policy-and-hook", both.c_str()}};
  for (int64_t round = 0; round < flags.rounds; ++round) {
    for (Subject& subject : subjects) RETURN_IF_ERROR(Measure(flags.calls, &subject));
  }
  Json out = {{"bench", "lua"}, {"rounds", flags.rounds}, {"calls", flags.calls}};
  const double bare = Summarise(subjects[0].call_us).median;
  for (Subject& subject : subjects) {
    const Spread call = Summarise(subject.call_us);
    out["scripts"].push_back({{"script", subject.name},
                              {"call_us", ToJson(call)},
                              {"over_no_op", call.median / bare},
                              {"begin_us", ToJson(Summarise(subject.begin_us))}});
  }
  return out;
}

int RunLua(const LuaFlags& flags) {
  const auto result = BenchLua(flags);
  if (!result.ok()) return Fail(result.status(), flags.json);
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
    return kExitOk;
  }
  for (const Json& script : (*result)["scripts"]) {
    std::printf("%-16s %7.1f us a call (%.1f to %.1f), %.2f x the no-op; begins in %.0f us\n",
                script["script"].get<std::string>().c_str(),
                script["call_us"]["median"].get<double>(), script["call_us"]["low"].get<double>(),
                script["call_us"]["high"].get<double>(), script["over_no_op"].get<double>(),
                script["begin_us"]["median"].get<double>());
  }
  return kExitOk;
}

}  // namespace

void AddBenchLua(CLI::App& bench, int* exit_code) {
  auto flags = std::make_shared<LuaFlags>();  // owners: the callback below
  CLI::App* command = bench.add_subcommand(
      "lua", "What a script's policy and hooks add to a tool call, beside the same script without");
  command->add_option("--rounds", flags->rounds, "Runs of each script, in turns")
      ->capture_default_str()
      ->check(CLI::Range(3, 10'000));
  command->add_option("--calls", flags->calls, "Of each run")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  command->add_flag("--json", flags->json, "JSON on stdout");
  command->callback([flags, exit_code] { *exit_code = RunLua(*flags); });
}

}  // namespace baleen::cli
