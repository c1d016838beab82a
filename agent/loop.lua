-- The default agent: let the model write; run the tools it asks for; repeat until it only talks.
--
-- baleen.generate and baleen.call_tools look like plain calls. Each one parks this turn until the
-- answer is there, be it milliseconds or a restart later.

local ROUNDS_MAX = 50 -- A model that still wants tools after this many rounds is going in circles.

-- One tool message per result, in the order of the calls.
local function tool_messages(results)
  local messages = {}
  for i, result in ipairs(results) do
    local content = result.content
    if result.outcome ~= "OK" then content = result.outcome .. ": " .. content end
    messages[i] = { role = "tool", tool_call_id = result.call_id, content = content }
  end
  return messages
end

-- `options`: what every generation gets besides, as in `s:ask`.
return function(message, options)
  local function generate(request)
    for name, value in pairs(options or {}) do request[name] = value end
    return baleen.generate(request)
  end
  local reply = generate { user = message }
  local told_about_syntax = false
  for _ = 1, ROUNDS_MAX do
    if reply.parse_error then
      if told_about_syntax then return reply.content end
      told_about_syntax = true
      reply = generate {
        user = "Your last message could not be read: " .. reply.parse_error
          .. ". Write the tool call again in the required format, or answer in plain text.",
      }
    elseif #reply.tool_calls > 0 then
      local results = baleen.call_tools(reply.tool_calls)
      reply = generate { messages = tool_messages(results) }
    else
      return reply.content
    end
  end
  error("the model still asks for tools after " .. ROUNDS_MAX .. " rounds")
end
