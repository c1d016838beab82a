// One script and its steps, for tests.
#pragma once

#include <memory>
#include <string>

#include "agent/agent.h"

namespace baleen {

struct ScriptRun {
  explicit ScriptRun(std::string script) {
    options.script = std::move(script);
    options.script_name = "script.lua";
  }

  /// Creates the agent at the first step. False: `status` says why.
  bool Step(const AgentEvent& event) {
    if (agent == nullptr) {
      Result<std::unique_ptr<Agent>> created = Agent::Create(options);
      status = created.status();
      if (!created.ok()) return false;
      agent = std::move(created).value();
    }
    Result<Effect> result = agent->Resume(event);
    status = result.status();
    if (!result.ok()) return false;
    effect = std::move(result).value();
    return true;
  }

  /// Runs a body `return ...` as the turn's function; its text, or "STATUS: message".
  static std::string Text(const std::string& body) {
    ScriptRun run("return function(message)\n" + body + "\nend");
    if (!run.Step(UserTurnEvent{"hello"})) return run.status.ToString();
    const FinishEffect* finish = std::get_if<FinishEffect>(&run.effect);
    return finish == nullptr ? EffectToJson(run.effect) : finish->text;
  }

  AgentOptions options;
  std::unique_ptr<Agent> agent;
  Effect effect;
  Status status;
};

}  // namespace baleen
