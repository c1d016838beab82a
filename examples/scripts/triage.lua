-- Triage of a failing test suite: three forks, each in its own copy of the workspace, try a fix each;
-- the smallest patch that passes is applied once somebody has said yes to it.
--   baleen run examples/scripts/triage.lua --workspace . --tools edit,write,bash --max-tokens 4096 \
--     --allow edit --allow write --allow bash --input "python3 -m pytest -q"
-- Without --allow somebody is asked before each change and each run of the tests.
-- Kill it at any moment and start Baleen again: it goes on where it was, in the same copies.
local s = session.current()

policy {
  allow { tool = "*" }, -- The session's own policy still decides.
  deny { tool = "write|edit", path = "tests/*", why = "a fix changes no tests",
    match = { { tool = "edit", args = { path = "tests/a_test.py" } } },
    not_match = { { tool = "edit", args = { path = "src/tests.py" } } } },
}

flow("triage", { budget = { tokens = 600000, wall = "2h", tool_calls = 400 } }, function(f, input)
  local function passes(where)
    local ran
    repeat -- What tests would have said that were cut short by a crash, nobody knows: they run again.
      ran = where:call("bash", { command = input, timeout_s = 600 })
    until ran.outcome ~= "UNKNOWN"
    return ran.ok, ran.content
  end
  local fine, output = passes(s)
  if fine then return "Nothing fails." end

  local causes, why = s:ask("`" .. input .. "` says:\n" .. output:sub(-8000)
    .. "\nList three different likely causes, most likely first.",
    { returns = list(str()), tools = "read|grep|list" })
  if not causes then return fail("no causes that can be read: " .. why) end

  local tries = f:each(causes, { at_once = 3 }, function(cause, i)
    local kid = s:fork { label = "try " .. i, worktree = true, budget = { tokens = 150000 } }
    local said, problem = kid:ask("Fix it, assuming that the cause is: " .. cause,
      { tools = "read|grep|list|edit|write" })
    local diff = said and kid:diff() or "" -- Before the tests run: what they leave behind is no fix.
    if diff ~= "" and not passes(kid) then diff = "" end
    kid:close()
    return { cause = cause, diff = diff, said = said or problem, tokens = kid.usage.tokens }
  end)

  local best = f:min(tries, function(try) return try.diff ~= "" and #try.diff or math.huge end)
  if not best or best.diff == "" then return fail "no attempt passed the tests" end
  f:approve { title = "Apply the fix for: " .. best.cause, diff = best.diff, says = best.said }
  s:apply(best.diff)
  return { cause = best.cause, tries = #tries, passes = (passes(s)) }
end)
