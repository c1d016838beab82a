// A session whose script calls the tool that the user names.
#pragma once

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

}  // namespace baleen
