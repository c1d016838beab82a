-- Brakes a model that asks the same again and again, and frames what comes from outside.
local asked = memo { per = "turn", size = 32 }

on.before_tool("read|grep|web_fetch", function(call)
  local times = asked:bump(call.name, call.args_digest)
  if times == 2 then return note "You have this already: look further up." end
  if times > 3 then return deny "the same call for the fourth time" end
end, { on_error = "deny", wall = "20ms" })

on.tool_result("read|mcp:*", function(result)
  if result.name ~= "read" or result.content:find("ignore all", 1, true) then result.trust = "untrusted" end
end)
