-- A tool loop that stops a model which repeats itself.
--
-- The third time the same call with the same arguments comes up, it is answered here instead of run.

local ROUNDS_MAX = 20
local REPEATS_MAX = 2

return function(message)
  local seen = {}
  local reply = baleen.generate { user = message }
  for _ = 1, ROUNDS_MAX do
    if #reply.tool_calls == 0 then return reply.content end
    local run, answers = {}, {}
    for i, call in ipairs(reply.tool_calls) do
      local key = call.name .. " " .. call.arguments_json
      seen[key] = (seen[key] or 0) + 1
      if seen[key] > REPEATS_MAX then
        answers[i] = "You made this call before. Use the result you have."
      else
        run[#run + 1] = call
      end
    end
    local results = #run > 0 and baleen.call_tools(run) or {}
    local messages, next_result = {}, 1
    for i, call in ipairs(reply.tool_calls) do
      local content = answers[i]
      if not content then
        content, next_result = results[next_result].content, next_result + 1
      end
      messages[i] = { role = "tool", tool_call_id = call.id, content = content }
    end
    reply = baleen.generate { messages = messages }
  end
  return "I stopped after " .. ROUNDS_MAX .. " rounds of tool calls."
end
