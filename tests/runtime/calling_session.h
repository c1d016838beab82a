// Sessions whose scripts call the tools that the user names.
#pragma once

#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "tests/runtime/fixture.h"

namespace baleen {

/// "NAME TEXT" calls NAME with { text = TEXT }, "NAME" without arguments; the turn's text is
/// "OUTCOME:content".
inline CreateSessionRequest CallingSession(const std::string& name, std::vector<PolicyRule> rules) {
  CreateSessionRequest request;
  request.session = name;
  request.settings.script = R"(
return function(message)
  local name, text = message:match("^(%S+) ?(.*)$")
  local arguments = {}
  if text ~= "" then arguments = { text = text } end
  local content, outcome = baleen.call(name, arguments)
  return outcome .. ":" .. content
end
)";
  request.settings.policy.rules = std::move(rules);
  return request;
}

/// Its script makes the calls that the user gives as JSON, "[name, arguments]" on each line, and
/// returns "OUTCOME:content" of each. All tools are allowed.
inline CreateSessionRequest WorkingSession(const std::string& workspace,
                                           std::vector<std::string> tools) {
  CreateSessionRequest request;
  request.session = "s";
  request.settings.script = R"(
return function(message)
  local answers = {}
  for line in message:gmatch("[^\n]+") do
    local call = baleen.json.decode(line)
    local content, outcome = baleen.call(call[1], call[2])
    answers[#answers + 1] = outcome .. ":" .. content
  end
  return table.concat(answers, "\n--\n")
end
)";
  request.settings.workspace = workspace;
  request.settings.tools = std::move(tools);
  request.settings.policy.rules = {{"*", "", "allow", ""}};
  return request;
}

inline std::string RunCalls(Runtime& runtime, const std::string& calls,
                            const std::string& session = "s") {
  StartTurnRequest request;
  request.session = session;
  request.input = {calls};
  const TurnView view = RunTurn(runtime, request);
  INFO(view.error.ToString());
  REQUIRE(view.state == TurnState::kSucceeded);
  return view.text;
}

inline std::string FileContent(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace baleen
