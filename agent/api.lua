-- The effects as scripts ask for them, and the turn's function: through policy, hooks and tools.
--
-- Loaded with those into a script's state when it first names one of their globals (lua_script.cc);
-- from then on every effect that the script or the default loop asks for goes through here. `core`
-- holds the effects as they are.

local core, parts = ...
local raise, json = core.raise, baleen.json
local hooks, run_hooks = parts.hooks, parts.run_hooks
local APPLY = parts.apply_tool

local waiting_notes = {} -- What the next prompt says besides.

-- Those whose time limit is an argument: its name, its unit in milliseconds, and how many of these it
-- is where they name none.
local TIMED = { bash = { name = "timeout_s", unit = 1000, ms = 120000 },
  [parts.http_tool] = { name = "timeout_ms", unit = 1, ms = 30000 } }

-- The arguments with no more time than `left` milliseconds.
local function limited_to(left, timed, arguments)
  local limited = {}
  for name, value in pairs(arguments) do limited[name] = value end
  local given = limited[timed.name]
  local wish = type(given) == "number" and given * timed.unit or timed.ms
  if given == nil or wish > left then limited[timed.name] = parts.in_units(math.min(wish, left), timed.unit) end
  return limited
end

-- `left`: as parts.time_left.
local function prepare(call, notes, left)
  if call.arguments == nil and call.arguments_json == nil then call.arguments = {} end
  local arguments = call.arguments
  if arguments == nil and type(call.arguments_json) == "string" then
    arguments = json.decode(call.arguments_json)
  end
  if type(arguments) ~= "table" then return "deny", "the script can't read its arguments" end
  if #hooks.before_tool > 0 then
    local event = { id = call.id, name = call.name, arguments = arguments,
      args_digest = core.digest(json.encode(arguments)) }
    local why = run_hooks("before_tool", call.name, event, notes)
    if why then return "deny", why end
    if type(event.arguments) ~= "table" then return "deny", "a hook left it without arguments" end
    arguments = event.arguments
    call.arguments = arguments
  end
  if left and TIMED[call.name] then
    arguments = limited_to(left, TIMED[call.name], arguments)
    call.arguments = arguments
  end
  local confined = parts.confined()
  if confined and not parts.matches_tool(confined, call.name) then
    return "deny", #confined == 0 and "this step may use no tools"
      or "this step may use " .. table.concat(confined, ", ") .. " only"
  end
  local decision, reason = parts.judge_call(call.name, arguments)
  if decision == "ask" then
    local event = { id = call.id, name = call.name, arguments = arguments, why = reason }
    local why = run_hooks("approval", call.name, event, notes)
    if why then return "deny", why end
  end
  return decision, reason
end

local EDITS = { write = true, edit = true }

-- The files that a call has changed, if it went well.
local function edited(call)
  if not (EDITS[call.name] or call.name == APPLY) then return {} end
  local arguments = call.arguments
  if arguments == nil and type(call.arguments_json) == "string" then
    arguments = json.decode(call.arguments_json)
  end
  if type(arguments) ~= "table" then return {} end
  if call.name == APPLY then return core.diff_paths(arguments.diff) or {} end
  return { arguments.path }
end

-- What is made of a result once the call's body has run, if it has one. `read`: what a script makes of it
-- before hooks hear of it; then it is the script's, and what hooks note goes into the next prompt.
-- `frames`: the script may give it to a model all the same.
local function settle(call, result, notes, read, frames)
  if parts.on_result then parts.on_result(call, result) end
  if read and (result.outcome == "OK" or result.outcome == "TIMEOUT") then read(result) end
  -- A model's call of a body that asks the network: what the runtime does for other such tools.
  local distrusted = call.id ~= nil and result.outcome == "OK" and parts.asks_network(call.name)
  for _, kind in ipairs { "tool_result", "after_tool" } do
    if #hooks[kind] > 0 then
      local event = { id = result.call_id, name = call.name, arguments = call.arguments,
        outcome = result.outcome, content = result.content }
      local why = run_hooks(kind, call.name, event, notes)
      if kind == "tool_result" and not why then
        if type(event.content) ~= "string" then
          why = "a hook left the result without text"
        elseif event.trust ~= nil and event.trust ~= "untrusted" then
          why = "a hook gave it a 'trust' other than \"untrusted\""
        else
          distrusted = distrusted or event.trust ~= nil and (frames or not read)
          result.content = event.content
        end
      end
      if why then
        result.outcome, result.content, result.exit = "ERROR", "The result was withheld: " .. why, nil
      end
    end
  end
  if distrusted and result.outcome ~= "ERROR" then result.content = core.framed(call.name, result.content) end
  local paths = #hooks.after_edit > 0 and result.outcome == "OK" and edited(call) or {}
  for _, path in ipairs(paths) do
    local why = run_hooks("after_edit", path, { id = result.call_id, name = call.name, path = path }, notes)
    if why then notes[#notes + 1] = why end -- too late to deny it
  end
  for _, text in ipairs(notes) do
    if read then
      waiting_notes[#waiting_notes + 1] = text
    else
      result.content = result.content .. "\n[note: " .. text .. "]"
    end
  end
end

local function call_tools(calls, read, frames)
  local left = parts.time_left()
  local sent, notes, decisions, reasons = {}, {}, {}, {}
  if type(calls) ~= "table" then return core.call_tools(calls) end -- Which says what is wrong.
  for i = 1, rawlen(calls) do
    local call = calls[i]
    if type(call) ~= "table" or type(call.name) ~= "string" then return core.call_tools(calls) end
    local copy = {}
    for name, value in pairs(call) do copy[name] = value end
    sent[i], notes[i] = copy, {}
    decisions[i], reasons[i] = prepare(copy, notes[i], left)
  end
  local results = core.call_tools(sent, decisions, reasons)
  local last = 0
  while last < #results do
    local first = last + 1
    last = parts.run_bodies(sent, results, first)
    for i = first, last do settle(sent[i], results[i], notes[i], read, frames) end
  end
  return results
end

local function check_call(what, name, arguments)
  if type(name) ~= "string" then raise(what .. ": expected the name of a tool, got " .. type(name)) end
  if arguments ~= nil and type(arguments) ~= "table" then
    raise(what .. ": expected arguments as a table, got " .. type(arguments))
  end
end

local function call(name, arguments)
  check_call("baleen.call", name, arguments)
  local result = call_tools({ { name = name, arguments = arguments } })[1]
  return result.content, result.outcome
end

local Called = {}
function Called.__tostring(called) return called.content end

-- What a script gets of a call by s:call and kid:call, however it ended.
local function called(content, outcome, exit)
  return setmetatable({ content = content, outcome = outcome, exit = exit,
    ok = outcome == "OK" and (exit == nil or exit == 0) }, Called)
end

local function read_nothing() end

-- Runs one tool for a script.
local function call_for_script(what, name, arguments)
  check_call(what, name, arguments)
  local read = name == "bash" and parts.read_ending or read_nothing
  local result = call_tools({ { name = name, arguments = arguments } }, read, true)[1]
  return called(result.content, result.outcome, result.exit)
end

-- What the hooks make of a compaction: what is to be kept, or nil and why the context stays as it is.
local function judge_compaction(event)
  local kept = {}
  local why = run_hooks("before_compact", "", event, kept)
  if not why and type(event.keep) ~= "string" then why = "a hook left 'keep' without a text" end
  if why then return nil, why end
  if event.keep ~= "" then table.insert(kept, 1, event.keep) end
  return table.concat(kept, "\n")
end

-- Because somebody asks for it: the summary.
local function compact(keep)
  local kept, why = judge_compaction { reason = "asked", keep = keep }
  if not kept then raise("the context was not compacted: " .. why) end
  return core.compact(kept)
end

-- Lets the model write. Hooks are asked before the context is compacted for it; one that they refuse
-- to compact is used as long as there is room.
local function generate_in_room(request)
  if #hooks.before_compact == 0 then return core.generate(request) end
  local reply, tokens, tokens_max = core.generate_or_compact(request)
  if reply then return reply end
  local kept, why = judge_compaction { reason = "full", keep = "", tokens = tokens,
    tokens_max = tokens_max }
  if not kept then return core.generate_uncompacted(request, why) end
  core.compact(kept)
  return core.generate(request)
end

local function generate(request)
  parts.time_left() -- An error where it is over.
  if type(request) ~= "table" or (#hooks.before_model == 0 and #waiting_notes == 0) then
    return generate_in_room(request)
  end
  local copy, notes = {}, {}
  for name, value in pairs(request) do copy[name] = value end
  local why = run_hooks("before_model", "", copy, notes)
  if why then raise("on.before_model: " .. why) end
  table.move(waiting_notes, 1, #waiting_notes, #notes + 1, notes)
  waiting_notes = {}
  if #notes > 0 then
    local messages = type(copy.messages) == "table" and table.move(copy.messages, 1, #copy.messages, 1, {})
      or { { role = "user", content = copy.user } }
    for _, text in ipairs(notes) do messages[#messages + 1] = { role = "user", content = text } end
    copy.user, copy.messages = nil, messages
  end
  return generate_in_room(copy)
end

-- The turn's function, once the script has run: `returned` is what it returned, or nil. `errand`: what
-- the turn of a fork, or one that only compacts, is to do instead.
local function turn_function(returned, errand)
  local turn, is_compaction = returned, false
  if errand then turn, is_compaction = parts.errand(errand) end
  if is_compaction then return turn end
  if turn == nil and parts.flow_names and not parts.flow then
    raise("the script has the flows " .. parts.flow_names .. ": return function(message) that runs one")
  end
  if turn == nil then turn = parts.flow or (parts.declared and core.default_loop()) or nil end
  if type(turn) ~= "function" then return turn end
  -- What else takes a second argument is ours, and takes something else.
  local ctx = turn == returned and core.has_script and parts.context {} or nil
  local starts = core.first_turn and #hooks.session_start > 0
  local hooked = starts or #hooks.turn_end > 0 or #hooks.before_prompt > 0
  if not hooked then return function(message) return turn(message, ctx) end end
  return function(message)
    if starts then
      local why = run_hooks("session_start", "", { text = message }, waiting_notes)
      if why then raise("on.session_start: " .. why) end
    end
    local prompt = { text = message }
    local refused = run_hooks("before_prompt", "", prompt, waiting_notes)
    if refused then raise("on.before_prompt: " .. refused) end
    if type(prompt.text) ~= "string" then raise("on.before_prompt: a hook left the prompt without text") end
    message = prompt.text
    local text = turn(message, ctx)
    parts.run_turn_end(text)
    return text
  end
end

-- A fork's turn has ended; what hooks note goes into the next prompt.
function parts.subagent_ended(event)
  local why = run_hooks("subagent_end", "", event, waiting_notes)
  if why then waiting_notes[#waiting_notes + 1] = why end
end
-- Before somebody is asked: why nobody is to be, or nil.
function parts.before_approval(event) return run_hooks("approval", "", event, waiting_notes) end
function parts.tell(text) waiting_notes[#waiting_notes + 1] = text end
-- What is waiting to be told, for whoever tells it instead; nil: nothing.
function parts.take_notes()
  local notes = waiting_notes
  waiting_notes = {}
  return #notes > 0 and notes or nil
end

parts.call_tools, parts.call, parts.generate, parts.turn_function = call_tools, call, generate, turn_function
parts.compact = compact
parts.check_call, parts.called, parts.call_for_script = check_call, called, call_for_script
