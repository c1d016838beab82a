-- Krill at work: it is given the built-in tools and decides which to call, until it only talks.
local ROUNDS_MAX = 6

return function(message)
  local reply = baleen.generate { user = message, max_tokens = 128 }
  for _ = 1, ROUNDS_MAX do
    if #reply.tool_calls == 0 then return reply.content end
    local messages = {}
    for i, result in ipairs(baleen.call_tools(reply.tool_calls)) do
      messages[i] = {
        role = "tool",
        tool_call_id = reply.tool_calls[i].id,
        content = result.content,
      }
    end
    reply = baleen.generate { messages = messages, max_tokens = 128 }
  end
  return "I stopped after " .. ROUNDS_MAX .. " rounds of tool calls."
end
