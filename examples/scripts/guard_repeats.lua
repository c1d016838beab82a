-- Stops a model that repeats itself: the third time it is told, the sixth time refused.
--   baleen run examples/scripts/guard_repeats.lua --workspace . --input "What does this project do?"
-- It returns no turn function: the default loop runs, and every call comes by here.
local seen = memo { size = 64 }

on.before_tool(function(call)
  local times = seen:bump(call.name, call.args_digest)
  if times == 3 then return note "Same call, same arguments, third time. Use the last result." end
  if times >= 6 then return deny "repeated call" end
end)
