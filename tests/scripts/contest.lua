-- Several forks try their luck, each in a copy of the workspace; the shortest change that passes is applied.
local s = session.current()

flow("contest", { budget = { tokens = 300000, wall = "20m", tool_calls = 60 },
  input = { check = str "The command that must pass" } }, function(f, input)
  local ideas = s:ask("Name two ways to make the check pass, the simpler one first.",
    { returns = list(str()), max = 2, tools = "none" })

  local tries = f:each(ideas, { at_once = 2 }, function(idea, i)
    local kid <close> = s:fork { label = "idea " .. i, worktree = true } -- the copy goes with the block
    kid:ask("Do this: " .. idea, { tools = "read|edit" })
    local diff = kid:diff()
    local check = kid:call("bash", { command = input.check, timeout_s = 60 })
    return { idea = idea, diff = diff, passes = check.ok, exit = check.exit, spent = kid.usage.tokens }
  end)

  local best = f:min(tries, function(t) return t.passes and t.diff ~= "" and #t.diff or math.huge end)
  if not best or not best.passes then return fail "no idea passes the check" end
  f:approve { title = "Apply: " .. best.idea, diff = best.diff }
  s:apply(best.diff)
  return best.idea
end)
