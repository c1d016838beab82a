-- Sessions and flows: what a script asks of the model and of the people behind it, step by step.
--
-- A flow is the turn's function with names for what workflows need. Each of its steps is an effect,
-- journalled like any other: after a restart the turn is replayed up to the step that it had reached.

local core, parts = ...
local raise, json = core.raise, baleen.json
local check_members = parts.check_members

local Session, Flow = {}, {}
Session.__index, Flow.__index = Session, Flow
Flow.sh, Flow.secret = parts.context_methods.sh, parts.context_methods.secret -- A flow's ctx is f.

local BUDGET = { tokens = true, wall = true, tool_calls = true, usd = true }

-- Tokens, milliseconds, calls and millionths of a dollar; 0: no limit.
local function limits_of(what, budget)
  what = what .. ": budget"
  check_members(what, budget, BUDGET)
  local usd = budget.usd == nil and 0 or budget.usd
  if type(usd) ~= "number" or usd < 0 or usd > 1e6 then raise(what .. ": 'usd' must be a number of dollars") end
  return { parts.count_option(what, budget, "tokens"),
    budget.wall == nil and 0 or parts.milliseconds(what .. ".wall", budget.wall),
    parts.count_option(what, budget, "tool_calls"), math.floor(usd * 1e6) }
end

-- In a branch, runs `body` without others in between: what it sets around itself is not theirs.
local function undivided(body)
  if not core.in_branch() then return body() end
  core.undivided(1)
  local ended = table.pack(pcall(body))
  core.undivided(-1)
  if not ended[1] then error(ended[2], 0) end
  return table.unpack(ended, 2, ended.n)
end

-- Runs `body` within limits of its own; what it spends is also spent of every budget around it.
local function in_budget(what, name, budget, body)
  if budget == nil then return body() end
  local limits = limits_of(what, budget)
  return undivided(function()
    core.open_account(name, table.unpack(limits))
    local ended = table.pack(pcall(body))
    core.close_account()
    if not ended[1] then error(ended[2], 0) end
    return table.unpack(ended, 2, ended.n)
  end)
end

-- Asking -----------------------------------------------------------------------------------------

local ASK = { returns = true, max = true, tools = true, budget = true, max_tokens = true, temperature = true }
local KID_ASK = { returns = true, max = true, tools = true, max_tokens = true, temperature = true }
local loop

-- What a question is, as plain values, so that a fork can be asked it too.
local function question(what, text, options, known)
  if type(text) ~= "string" then raise(what .. ": expected a text, got " .. type(text)) end
  check_members(what, options, known)
  local request = { max_tokens = options.max_tokens, temperature = options.temperature }
  if options.returns ~= nil then
    local schema = parts.schema_of(what .. ": returns", options.returns)
    if options.max ~= nil then
      if schema.type ~= "array" then raise(what .. ": 'max' is of a list of items: returns = list(...)") end
      schema.maxItems = parts.count_option(what, options, "max")
    end
    request.answer_schema = json.encode(schema)
  elseif options.max ~= nil then
    raise(what .. ": 'max' is of a list of items: returns = list(...)")
  end
  if options.tools == "none" then request.tool_choice = "none" end
  if options.tools ~= nil then parts.tool_patterns(what .. ": tools", options.tools) end
  return { request = request, tools = options.tools }
end

-- Says `text` to the model and lets it work until it only talks.
local function work(text, asked)
  loop = loop or core.default_loop()
  local allowed = asked.tools == "none" and {} or asked.tools and parts.tool_patterns("tools", asked.tools)
  local before = allowed and parts.confine(allowed)
  core.undivided(1)
  local ok, answer = pcall(loop, text, asked.request)
  core.undivided(-1)
  if allowed then parts.confine(before) end
  if not ok then error(answer, 0) end
  return answer
end

-- The answer, or what `returns` describes; nil and why if it isn't that.
local function read_answer(answer, asked, returns)
  local schema = asked.request.answer_schema
  if not schema then return answer end
  local problem = core.check_value(schema, answer, "answer")
  if problem then return nil, problem end
  local value = json.decode(answer)
  problem = parts.misfit("", returns, value)
  if problem then return nil, problem end
  return value
end

function Session:ask(text, options)
  options = options or {}
  local asked = question("s:ask", text, options, ASK)
  return in_budget("s:ask", "ask", options.budget, function()
    return read_answer(work(text, asked), asked, options.returns)
  end)
end

-- Runs one tool: { content, outcome, ok, exit }, however it ended; `exit` is of bash.
function Session:call(name, arguments) return parts.call_for_script("s:call", name, arguments) end

-- Tells the model with its next prompt.
function Session:note(text)
  if type(text) ~= "string" then raise("s:note: expected a text, got " .. type(text)) end
  parts.tell(text)
end

-- Changes the workspace as the diff says, all of it or nothing: an error says where it doesn't fit.
function Session:apply(diff)
  if type(diff) ~= "string" then raise("s:apply: expected a diff, got " .. type(diff)) end
  if diff == "" then raise("s:apply: the diff is empty: there is nothing to apply") end
  local said, outcome = parts.call(parts.apply_tool, { diff = diff })
  if outcome ~= "OK" then raise("s:apply: " .. said) end
  return said
end

-- Puts a summary, and `keep` as a note, in place of what the model has seen: the summary.
function Session:compact(options)
  options = options or {}
  check_members("s:compact", options, { keep = true })
  return parts.compact(parts.text_option("s:compact", options, "keep", ""))
end

local current = setmetatable({}, Session)
local session = { current = function() return current end }

-- Forks -----------------------------------------------------------------------------------------

local running -- The name of the flow that runs.
local RESOURCES = { "tokens", "wall_ms", "tool_calls", "micro_usd" }

local Kid = {}
Kid.__index = Kid

local function close(kid) kid:close() end

-- Forks of items that run at once, as { item =, kid = }: an item that is stopped can't close its own.
-- nil: no items do.
local of_items

local WORKTREES = { [false] = 0, [true] = 1, all = 2 }

-- A session of its own that goes on from here: it knows what this one knows (with `clean`: nothing),
-- and what it does stays with it. `usage` is what it has spent, which counts as this turn's. With
-- `worktree` it works in a copy of the workspace; with "all" the copy has what is ignored, too.
function Session:fork(options)
  options = options or {}
  check_members("s:fork", options, { label = true, budget = true, clean = true, worktree = true })
  local copy = WORKTREES[options.worktree or false]
  if not copy then raise("s:fork: 'worktree' must be true, false or \"all\"") end
  local label = parts.text_option("s:fork", options, "label", "")
  local limits = options.budget == nil and { 0, 0, 0, 0 } or limits_of("s:fork", options.budget)
  local usage = { tokens = 0, wall_ms = 0, tool_calls = 0, micro_usd = 0 }
  local id, copied = core.fork(label, options.clean == true, copy)
  local kid = setmetatable({ id = id, label = label, limits = limits, usage = usage,
    worktree = copy > 0 and copied or nil }, Kid)
  core.set_close(kid, close) -- For local kid <close> = s:fork{}.
  local item = core.in_branch()
  if item and of_items then of_items[#of_items + 1] = { item = item, kid = kid } end
  return kid
end

-- Lets the fork run a turn that does `errand`: its text, or nil and why it failed; and what files it
-- changed.
local function run_errand(kid, what, text, errand)
  if kid.closed then raise(what .. ": the fork is closed") end
  local left = {}
  for i, resource in ipairs(RESOURCES) do
    left[i] = kid.limits[i] == 0 and 0 or kid.limits[i] - kid.usage[resource]
    if left[i] < 0 or (left[i] == 0 and kid.limits[i] > 0) then
      return nil, ("the fork's budget of %s is spent (%d of %d)"):format(resource, kid.usage[resource],
        kid.limits[i]), {}
    end
  end
  local ended = table.pack(core.child_turn(kid.id, text, json.encode(errand), table.unpack(left)))
  for i, resource in ipairs(RESOURCES) do kid.usage[resource] = kid.usage[resource] + ended[2 + i] end
  parts.subagent_ended { session = kid.id, label = kid.label, ok = ended[1], text = ended[2] }
  if not ended[1] then return nil, ended[2], ended[7] end
  return ended[2], nil, ended[7]
end

parts.question, parts.run_errand, parts.current = question, run_errand, current

function Kid:ask(text, options)
  options = options or {}
  local asked = question("kid:ask", text, options, KID_ASK)
  local answer, why = run_errand(self, "kid:ask", text, asked)
  if not answer then return nil, why end
  return read_answer(answer, asked, options.returns)
end

function Kid:call(name, arguments)
  parts.check_call("kid:call", name, arguments)
  local answer, why = run_errand(self, "kid:call", "Call " .. name, { call = name, arguments = arguments or {} })
  if not answer then return parts.called(why, "ERROR") end
  local result = json.decode(answer)
  -- A journal from before forks read the exit code has it in the text.
  local ran = result.outcome == "OK" or result.outcome == "TIMEOUT"
  if name == "bash" and ran and result.exit == nil then parts.read_ending(result) end
  for _, text in ipairs(result.notes or {}) do parts.tell(text) end
  return parts.called(result.content, result.outcome, result.exit)
end

-- Runs the words as one command in the fork: as ctx:sh.
function Kid:sh(argv, options)
  local arguments = parts.sh_arguments("kid:sh", argv, options)
  return parts.sh_result(self:call("bash", arguments))
end

-- What it has changed in its worktree.
function Kid:diff()
  if self.closed then raise("kid:diff: the fork is closed") end
  if not self.worktree then raise("kid:diff: the fork has no worktree: fork with worktree = true") end
  return core.worktree(self.id, false)
end

-- Its worktree goes; the session stays.
function Kid:close()
  if self.closed then return end
  self.closed = true
  if self.worktree then core.worktree(self.id, true) end
end

-- In the fork: what its turn does. Also of a turn that only compacts the context: true as well.
function parts.errand(text)
  local errand = json.decode(text)
  if errand.compact then return parts.compact, true end
  parts.depth = errand.depth
  return function(message)
    running = "of a fork"
    if not errand.call then return work(message, errand) end
    parts.take_notes() -- Those of its prompt, which no model reads.
    local result = parts.call_for_script("kid:call", errand.call, errand.arguments)
    return json.encode { content = result.content, outcome = result.outcome, exit = result.exit,
      notes = parts.take_notes() }
  end
end

-- Flows -----------------------------------------------------------------------------------------

local function fail(why)
  raise(type(why) == "string" and why or "fail: expected a reason as a string, got " .. type(why))
end

-- Nobody knows whether the effect happened: somebody has to look before the flow goes on.
function parts.on_result(called, result)
  if not running or result.outcome ~= "UNKNOWN" then return end
  local granted, by, reason = core.approve(
    ("Go on: nobody knows whether %s (call %s) happened"):format(called.name, result.call_id),
    "Flow '" .. running .. "' has called " .. called.name .. " " .. json.encode(called.arguments or {})
      .. ". " .. result.content .. " Granted: the flow goes on, and is told that the outcome is "
      .. "UNKNOWN. Denied: it ends.")
  if granted then return end
  raise(("the outcome of %s (call %s) is UNKNOWN, and %s ended the flow%s"):format(called.name,
    result.call_id, by, reason == "" and "" or ": " .. reason))
end

local function text_of_result(value)
  if value == nil then return "" end
  if type(value) == "table" then return json.encode(value) end
  return type(value) == "string" and value or tostring(value)
end

-- What a flow is called with: the turn's text, or a table where it is a JSON object.
local function input_of(text)
  if type(text) ~= "string" or not text:find("^%s*{") then return text end
  local value = json.decode(text)
  if value == nil then return text end
  return value
end

-- Raises if the input isn't what the flow's option says.
local function check_input(what, kinds, input)
  local names = {}
  for name in pairs(kinds) do names[#names + 1] = name end
  if type(input) ~= "table" then
    raise(("%s: expected an input with %s: a JSON object, or baleen run --arg NAME=VALUE"):format(what,
      table.concat(names, ", ")))
  end
  for _, name in ipairs(names) do
    local kind = kinds[name]
    if input[name] == nil and not (parts.is_kind(kind) and kind.base == "opt") then
      local about = parts.is_kind(kind) and kind.about and " (" .. kind.about .. ")" or ""
      raise(("%s: the input lacks '%s'%s: give it in the JSON object, or by baleen run --arg %s=VALUE")
        :format(what, name, about, name))
    end
  end
  local problem = core.check_value(json.encode(parts.object_schema(what, kinds)), json.encode(input), "input")
    or parts.misfit("", kinds, input)
  if problem then raise(what .. ": " .. problem) end
end

local function flow(name, options, fn)
  if type(options) == "function" then options, fn = {}, options end
  if type(name) ~= "string" or #name < 1 or #name > 64 then
    raise("flow: expected a name of 1 to 64 bytes")
  end
  local what = "flow '" .. name .. "'"
  check_members(what, options, { budget = true, input = true })
  if options.budget ~= nil then limits_of(what, options.budget) end -- Which says what is wrong.
  local kinds = options.input
  if kinds ~= nil then
    if type(kinds) ~= "table" or parts.is_kind(kinds) or next(kinds) == nil then
      raise(what .. ": 'input' must be a table of kinds, such as { path = str() }")
    end
    parts.object_schema(what .. ": input", kinds)
  end
  if type(fn) ~= "function" then raise(what .. ": expected a function, got " .. type(fn)) end
  local function run(text)
    local input = input_of(text)
    if kinds then check_input(what, kinds, input) end
    return undivided(function()
      local outer = running
      running = name
      local value = in_budget(what, name, options.budget, function()
        -- Caught, so that what the flow has to close is closed before the turn ends.
        local ended = table.pack(pcall(fn, setmetatable({}, Flow), input))
        if not ended[1] then error(ended[2], 0) end
        return ended[2]
      end)
      running = outer
      return text_of_result(value)
    end)
  end
  parts.flow = not parts.flow_names and run or nil
  parts.flow_names = parts.flow_names and parts.flow_names .. ", " .. name or name
  return run
end

-- Unix time in seconds, the same in every replay.
function Flow:now() return core.sleep(0) // 1000 end

function Flow:sleep(duration) return core.sleep(parts.milliseconds("f:sleep", duration)) // 1000 end

function Flow:random(...) return baleen.random(...) end

-- Waits until somebody answers. A denial is an error, so that nothing goes on that was denied.
function Flow:approve(options)
  if type(options) ~= "table" then raise("f:approve: expected a table, got " .. type(options)) end
  local title = parts.text_option("f:approve", options, "title")
  if not title then raise("f:approve: 'title' must say what is asked for") end
  local lines = {}
  for name, value in pairs(options) do
    if name ~= "title" then lines[#lines + 1] = tostring(name) .. ": " .. text_of_result(value) end
  end
  local description = table.concat(lines, "\n")
  local refused = parts.before_approval { title = title, description = description }
  if refused then raise(("'%s' was denied by a hook: %s"):format(title, refused)) end
  local granted, by, reason = core.approve(title, description)
  if granted then return true end
  raise(("'%s' was denied by %s%s"):format(title, by, reason == "" and "" or ": " .. reason))
end

-- Items whose forks run at once. A list that ends before its items has their forks stopped, and
-- those of the items that were cut short closed.
local function at_once_over(items, at_once, fn, race)
  local ended, outer = {}, of_items
  of_items = {}
  local function item(i)
    -- Caught here, so that what the item has to close is closed within it.
    local given = table.pack(pcall(fn, items[i], i))
    ended[i] = true
    if not given[1] then error(given[2], 0) end
    return given[2]
  end
  local list = table.pack(pcall(parts.run_branches, #items, at_once, item, race, false))
  for _, entry in ipairs(of_items) do
    if not ended[entry.item] then entry.kid:close() end
  end
  of_items = outer
  if not list[1] then error(list[2], 0) end
  return list[2], list[3]
end

-- Runs `fn(item, index)` for each item, in a race until one gives something: the results, and which
-- item that was. Of items that run at once the turns of forks do; the rest is still one after the
-- other. Within such an item there is no further at once.
local function over(what, race, items, options, fn)
  if type(options) == "function" then options, fn = {}, options end
  if type(items) ~= "table" then raise(what .. ": expected a list, got " .. type(items)) end
  if type(fn) ~= "function" then raise(what .. ": expected a function, got " .. type(fn)) end
  check_members(what, options, { at_once = true })
  local at_once = options.at_once == nil and 1 or parts.count_option(what, options, "at_once")
  if at_once > core.branches_max then
    raise(("%s: 'at_once' must be at most %d"):format(what, core.branches_max))
  end
  local list, results = {}, {}
  for i, item in ipairs(items) do list[i] = item end
  if at_once > 1 and not core.in_branch() then
    return at_once_over(list, at_once, fn, race)
  end
  for i, item in ipairs(list) do
    results[i] = fn(item, i)
    if race and results[i] then return results, i end
  end
  return results, 0
end

-- What `fn(item, index)` gives for each item, in order.
function Flow:each(items, options, fn)
  local results = over("f:each", false, items, options, fn)
  return results
end

-- The first thing that `fn(item, index)` gives which is neither nil nor false, and its index.
function Flow:race(items, options, fn)
  local results, winner = over("f:race", true, items, options, fn)
  if winner ~= 0 then return results[winner], winner end
end

-- The item whose key is least; the first of equals.
function Flow:min(items, key)
  if type(items) ~= "table" or type(key) ~= "function" then raise("f:min: expected a list and a function") end
  local best, least
  for _, item in ipairs(items) do
    local value = key(item)
    if least == nil or value < least then best, least = item, value end
  end
  return best, least
end

return { session = session, flow = flow, fail = fail }
