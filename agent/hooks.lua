-- Hooks: what a script wants to hear of, and may change or refuse; and memo, with which they count.
-- They run in the turn's own coroutine and budget.

local core, parts = ...
local raise, json = core.raise, baleen.json
local check_members, count_option, text_of = parts.check_members, parts.count_option, parts.text_of
local verdict = parts.verdict

local hooks = { before_tool = {}, after_tool = {}, tool_result = {}, before_model = {}, turn_end = {},
  session_start = {}, before_prompt = {}, approval = {}, after_edit = {}, subagent_end = {},
  before_compact = {} }
-- What a failing hook does: "deny" refuses what it was asked about, "ignore" goes on and says so. A
-- turn's end can be neither: it fails the turn.
local ON_ERROR = { before_tool = "deny", before_model = "deny", tool_result = "deny", after_tool = "ignore",
  session_start = "deny", before_prompt = "deny", approval = "deny", after_edit = "ignore",
  subagent_end = "ignore", before_compact = "deny" }
-- Those that take a pattern, and how it is read and compared: one of tools, or of a path.
local OF_TOOLS = { read = parts.tool_patterns, matches = parts.matches_tool }
local PATTERN_OF = { before_tool = OF_TOOLS, after_tool = OF_TOOLS, tool_result = OF_TOOLS,
  after_edit = { read = parts.alternatives, matches = parts.matches_any } }

local function adder(kind)
  local what = "on." .. kind
  return function(pattern, fn, options)
    if not (PATTERN_OF[kind] and type(pattern) == "string") then pattern, fn, options = nil, pattern, fn end
    if type(fn) ~= "function" then raise(what .. ": expected a function, got " .. type(fn)) end
    local hook = { fn = fn, names = pattern and PATTERN_OF[kind].read(what, pattern), on_error = ON_ERROR[kind] }
    if options ~= nil then
      check_members(what, options, { on_error = ON_ERROR[kind] ~= nil, wall = true })
      local wish = options.on_error
      if wish ~= nil and wish ~= "deny" and wish ~= "ignore" then
        raise(what .. ": 'on_error' must be \"deny\" or \"ignore\"")
      end
      hook.on_error = wish or hook.on_error
      hook.wall = options.wall ~= nil and parts.wall_option(what, options.wall, 10000) or nil
    end
    local all = hooks[kind]
    all[#all + 1] = hook
    parts.declared = true
  end
end

local on = {}
for kind in pairs(hooks) do on[kind] = adder(kind) end

-- As pcall. A hook doesn't hear of what it causes itself.
local function call_hook(hook, event)
  if hook.busy then return true end
  hook.busy = true
  local ok, given = parts.within(nil, hook.wall, hook.fn, event, parts.context {})
  hook.busy = nil
  return ok, given
end

-- The hook's verdict, a note or a denial or nil; a failure becomes what `on_error` says.
local function run_hook(hook, event)
  local ok, given = call_hook(hook, event)
  if ok and (given == nil or parts.is_verdict(given)) then return given end
  local problem = ok and "it must return nothing, deny or note, not a " .. type(given) or text_of(given)
  return verdict(hook.on_error == "deny" and "deny" or "note", "a hook failed: " .. problem)
end

local function run_hooks(kind, name, event, notes)
  for _, hook in ipairs(hooks[kind]) do
    if not hook.names or PATTERN_OF[kind].matches(hook.names, name) then
      local given = run_hook(hook, event)
      if given and given.kind == "deny" then return given.text end
      if given then notes[#notes + 1] = given.text end
    end
  end
end

-- Counts how often something was seen in this turn; forgets the oldest beyond `size`.
local Memo = {}
Memo.__index = Memo

local function memo(options)
  check_members("memo", options, { size = true, per = true })
  if options.per ~= nil and options.per ~= "turn" then raise("memo: 'per' must be \"turn\"") end
  local size = options.size == nil and 64 or count_option("memo", options, "size")
  return setmetatable({ size = size, counts = {}, order = {}, first = 1 }, Memo)
end

function Memo:bump(...)
  local key = json.encode({ ... })
  if not self.counts[key] then
    self.order[#self.order + 1] = key
    if #self.order - self.first >= self.size then
      self.counts[self.order[self.first]] = nil
      self.order[self.first] = false
      self.first = self.first + 1
    end
  end
  self.counts[key] = (self.counts[key] or 0) + 1
  return self.counts[key]
end

-- What they fail with, the turn does.
local function run_turn_end(text)
  for _, hook in ipairs(hooks.turn_end) do
    local ok, problem = call_hook(hook, { text = text })
    if not ok then error(problem, 0) end
  end
end

parts.hooks, parts.run_hooks, parts.run_turn_end = hooks, run_hooks, run_turn_end

return { on = on, memo = memo }
