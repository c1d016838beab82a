// Runs one script with one seed and prints every effect. Started a hundred times by replay_test.cc.
#include <iostream>

#include "tests/agent/script_run.h"

int main() {
  // Everything whose order or text could depend on addresses, hash seeds or time.
  baleen::ScriptRun run(R"(
    policy { deny { tool = "x*", args = { b = "*", a = "1*", c = "z" }, why = "no" }, default = "ask" }
    local seen = memo { size = 4 }
    on.before_tool(function(call) return note(call.args_digest .. seen:bump(call.arguments)) end)
    tool "t" { about = "T", args = { z = str(), a = opt(int()), m = list(one_of { "q", "p" }) },
      run = function(args) return args end }
    return function(message)
      local t, out = {}, {}
      for i = 1, 200 do t["key" .. math.random(1000)] = i; t[math.random(-50, 50)] = i end
      for k, v in pairs(t) do out[#out + 1] = k .. "=" .. v end
      local k, v = next(t)
      out[#out + 1] = tostring(k) .. tostring({}) .. tostring(pcall) .. string.format("%s", out)
      local ties = {}
      for i = 1, 300 do ties[i] = { key = i % 3, at = i } end
      table.sort(ties, function(a, b) return a.key < b.key end)
      for _, tie in ipairs(ties) do out[#out + 1] = tie.at end
      out[#out + 1] = baleen.call_tools { { name = "x1", arguments = { c = "z", b = 2, a = 1 } } }[1].content
      local reply = baleen.generate { user = table.concat(out, " "), seed = baleen.random(0, 1 << 50) }
      local spent, ok = 0, nil
      ok = pcall(function() while true do spent = spent + 1; t[spent] = {} end end)
      return "never"
    end)");
  run.options.seed = 42;
  run.options.instructions_max = 200'000;
  const auto declared = baleen::ReadDeclarations(run.options);
  if (!declared.ok() || !run.Step(baleen::UserTurnEvent{"go"})) return 1;
  std::cout << declared->tools.at(0).parameters << EffectToJson(run.effect) << "\n";
  if (!run.Step(baleen::ToolResultsEvent{{{"c1", baleen::ToolOutcome::kDenied, "", 0}}})) return 1;
  std::cout << EffectToJson(run.effect) << "\n";
  // The budget must run out at the same place too.
  run.Step(baleen::GeneratedEvent{});
  std::cout << run.status.ToString() << "\n";
  return 0;
}
