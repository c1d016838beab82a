-- task: a subagent as a tool that the model calls. It is a fork of the session, so it knows what the
-- session knows and reads none of it again, or one that begins clean.
--
-- Loaded behind the script's chunk if the session names the tool. Its body is made of the steps that
-- scripts have: a restart finds the fork and its turn again, and what they spend is the turn's.

local parts = ...

local DEPTH_MAX = 3 -- Subagents of subagents.

tool "task" {
  about = "Gives a piece of work to a subagent, and answers with what it says at its end and which files "
    .. "it changed. It knows this conversation so far, unless it begins clean. You see its answer, "
    .. "not its work.",
  args = {
    prompt = str "What it is to do, and what to answer",
    tools = opt(str "The tools that it may use, as read|grep; default: all of yours"),
    clean = opt(bool "It begins without this conversation: the prompt must say everything"),
    tokens = opt(int "The most tokens that it may use; they count as yours"),
    worktree = opt(bool "It works in a copy of the workspace; you get its changes as a diff"),
  },
  run = function(a)
    local depth = (parts.depth or 0) + 1
    if depth > DEPTH_MAX then
      return nil, "subagents may be " .. DEPTH_MAX .. " deep; do this yourself"
    end
    local asked = parts.question("task", a.prompt, { tools = a.tools }, { tools = true })
    asked.depth = depth
    local kid = parts.current:fork { label = "task", clean = a.clean, worktree = a.worktree,
      budget = a.tokens and { tokens = a.tokens } }
    local text = a.clean and a.prompt
      or "You are the subagent of the last call of task. Do this, and answer with its result alone:\n\n"
        .. a.prompt
    local answer, why, files = parts.run_errand(kid, "task", text, asked)
    local changed = #files > 0 and "\n[files changed: " .. table.concat(files, ", ") .. "]" or ""
    if a.worktree then
      local _, diff = pcall(kid.diff, kid)
      changed = "\n[changed in its copy, not in yours:]\n" .. diff
      kid:close()
    end
    if not answer then return nil, why .. changed end
    return answer .. changed
  end,
}
