-- Three attempts at one problem on forks of this session, each with a budget; the best answer stays.
--   baleen run examples/scripts/three_tries.lua --workspace . --input "Why does tests/agent fail?"
-- A fork knows all that was said so far without reading it again, and what it tries stays with it.
local s = session.current()

policy { deny { tool = "write|edit|bash", why = "attempts only look" } }

flow("three-tries", { budget = { tokens = 600000, wall = "1h" } }, function(f, input)
  local causes, why = s:ask(input .. "\nList three different likely causes, most likely first.",
    { returns = list(str()), tools = "none" })
  if not causes then return fail("no causes that can be read: " .. why) end

  local tries = f:each(causes, { at_once = 3 }, function(cause, i)
    local kid = s:fork { label = "try " .. i, budget = { tokens = 150000 } }
    local verdict, problem = kid:ask("Look for evidence that the cause is: " .. cause,
      { returns = { certain = one_of { "no", "maybe", "yes" }, evidence = str() }, tools = "read|grep|list" })
    kid:close()
    return { cause = cause, certain = verdict and verdict.certain or "no", tokens = kid.usage.tokens,
      evidence = verdict and verdict.evidence or problem }
  end)

  local rank = { yes = 0, maybe = 1, no = 2 }
  local best = f:min(tries, function(try) return rank[try.certain] end)
  s:note("Most likely cause: " .. best.cause .. ". Evidence: " .. best.evidence)
  return s:ask("Explain the cause to somebody who knows the project, in three sentences.", { tools = "none" })
end)
