-- ctx: what hooks and the bodies of tools get besides, and what is around them while they run.

local core, parts = ...
local raise = core.raise
local check_members = parts.check_members

-- Secrets: names of them, which the runtime gives a value where a request leaves it ----------------

local Secret = {}
function Secret.__tostring(handle) return "secret " .. handle.name end

local function secret(name)
  if type(name) ~= "string" or name == "" then
    raise("ctx.secret: expected the name of a secret, got " .. (name == "" and "no text" or type(name)))
  end
  return setmetatable({ name = name }, Secret)
end

function parts.is_secret(value) return type(value) == "table" and getmetatable(value) == Secret end

-- Commands as lists of words ----------------------------------------------------------------------

-- The last line of a text, and what stands before it.
local function last_line(text)
  local back = text:reverse():find("\n", 1, true)
  if not back then return text, "" end
  return text:sub(#text - back + 2), text:sub(1, #text - back)
end

-- Takes the lines that bash adds off a result's text, and keeps what they say.
local function read_ending(result)
  local line, before = last_line(result.content)
  if line:find("[network refused: ", 1, true) == 1 then line, before = last_line(before) end
  local code = line:match("^%[exit code: (%-?%d+)[;%]]")
  if code then result.exit, result.content = math.tointeger(tonumber(code)), before end
end

local function sh_arguments(what, argv, options)
  options = options or {}
  check_members(what, options, { wall = true, workdir = true })
  if type(argv) ~= "table" or rawlen(argv) == 0 then
    raise(what .. ": expected a list of words, such as { \"git\", \"status\" }")
  end
  local words = {}
  for i = 1, rawlen(argv) do
    local word = type(argv[i]) == "number" and tostring(argv[i]) or argv[i]
    if type(word) ~= "string" then raise(what .. ": expected words, got " .. type(word)) end
    if word:find("\0", 1, true) then raise(what .. ": a word has a NUL byte, which no command line can hold") end
    words[i] = word
  end
  return {
    command = core.shell_command(words),
    workdir = parts.text_option(what, options, "workdir"),
    timeout_s = options.wall ~= nil and parts.in_units(parts.wall_option(what, options.wall, 600000), 1000)
      or nil,
  }
end

-- Of words that are one command there is nothing else that could say this.
local function is_not_found(result)
  return result.exit == 127 and result.content:find("^%S*bash: line %d+: [^\n]*$") ~= nil
end

-- What a command came to, or nil and why it didn't run.
local function sh_result(result)
  if result.outcome ~= "OK" and result.outcome ~= "TIMEOUT" then return nil, result.content, result.outcome end
  if is_not_found(result) then return nil, result.content, "ERROR" end
  return { text = result.content, exit = result.exit, timed_out = result.outcome == "TIMEOUT",
    ok = result.outcome == "OK" and result.exit == 0 }
end

parts.sh_arguments, parts.sh_result, parts.read_ending = sh_arguments, sh_result, read_ending

local Context = {}
Context.__index = Context
Context.secret = secret

-- Runs the words as one command, each as it is: { text, exit, ok, timed_out }, or nil and why not.
function Context:sh(argv, options)
  local arguments = sh_arguments("sh", argv, options)
  local given, why, outcome =
    sh_result(parts.call_tools({ { name = "bash", arguments = arguments } }, read_ending)[1])
  parts.told_of_command(why)
  return given, why, outcome
end

function parts.context(members) return setmetatable(members, Context) end
parts.context_methods = Context

-- What runs ---------------------------------------------------------------------------------------

-- What is around what runs: `body`, the tool whose body it is, as { name, network, wall, started, parallel,
-- outer }, or nil (`outer`: the one whose body has called it); `confined`, patterns of the tools that the
-- step at hand may use, or nil: all; and `unrun`, why its last command didn't run, or nil. A branch has its own, so that what others set is not around it; it
-- begins with what is around its list.
local turn, of_branches = {}, {}

local function around()
  local item = core.in_branch()
  if not item then return turn end
  local own = of_branches[item]
  if not own then
    own = { body = turn.body, confined = turn.confined }
    of_branches[item] = own
  end
  return own
end

-- core.run_branches, with nothing around its branches that a list before has left.
function parts.run_branches(...)
  of_branches = {}
  return core.run_branches(...)
end

function parts.body() return around().body end
function parts.confined() return around().confined end

-- The last command that a hook or body asked for: why it didn't run, or nil.
function parts.told_of_command(why) around().unrun = why end

function parts.confine(patterns)
  local here = around()
  local before = here.confined
  here.confined = patterns
  return before
end

-- pcall(fn, ...) as the body of `tool`, or of none; other branches come in between only if the tool is
-- parallel. `wall`: so many milliseconds of Lua at most, or nil. An error says which command didn't run
-- before it, since it may come of the nil that stands for its result.
function parts.within(tool, wall, fn, ...)
  local here, alone = around(), not (tool and tool.parallel)
  local outer, confined, unrun = here.body, here.confined, here.unrun
  if alone then core.undivided(1) end
  here.body, here.confined, here.unrun = tool, nil, nil -- What is confined are the model's calls.
  if tool then tool.outer = outer end
  local ended = wall and table.pack(core.limited(wall, fn, ...)) or table.pack(pcall(fn, ...))
  if not ended[1] and here.unrun then
    ended[2] = ("%s (its sh gave nil: %s)"):format(parts.text_of(ended[2]), here.unrun)
  end
  here.body, here.confined, here.unrun = outer, confined, unrun
  if alone then core.undivided(-1) end
  return table.unpack(ended, 1, ended.n)
end

-- Milliseconds that the body which runs has left, by a clock that is the same in every replay; nil: it
-- has no limit.
function parts.time_left()
  local least, now
  local tool = around().body
  while tool do
    if tool.wall then
      -- What is over stays over and asks no clock again: whoever catches it in a loop gets no steps.
      now = now or not tool.over and core.sleep(0)
      local left = tool.over and 0 or tool.wall - (now - tool.started)
      tool.over = left < 1
      if tool.over then raise(("tool '%s': its limits.wall of %d ms is over"):format(tool.name, tool.wall)) end
      least = math.min(left, tool.wall, least or left) -- A clock may have been set back.
    end
    tool = tool.outer
  end
  return least
end
