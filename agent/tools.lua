-- Tools whose bodies are Lua and run in the turn's own coroutine and budget, or in branches of it.

local core, parts = ...
local raise, json = core.raise, baleen.json
local check_members, text_of, is_kind = parts.check_members, parts.text_of, parts.is_kind

local tools = {}

local function utf8_cut(text, most)
  while most > 0 and (text:byte(most + 1) or 0) & 0xC0 == 0x80 do most = most - 1 end
  return text:sub(1, most)
end

local TRAITS = { read_only = true, idempotent = true, network = true, parallel = true }

-- The hosts that requests of the body may ask; the runtime checks them by its own rules, too.
local function network_option(what, network)
  if network == nil then return nil end
  local function unfit()
    raise(what .. ": traits.network: expected a list of hosts such as \"tracker.internal\", "
      .. "\"*.example.org\" or \"tracker.internal:8443\"")
  end
  if type(network) ~= "table" or rawlen(network) == 0 or rawlen(network) > 64 then unfit() end
  local hosts = {}
  for key, host in pairs(network) do
    local fit = math.type(key) == "integer" and type(host) == "string" and #host <= 260
    if not fit or not host:match("^[%w%.%-_%*:%[%]]+$") then unfit() end
    hosts[#hosts + 1] = host
  end
  return hosts
end

-- Whether the body may run at once with those of other calls.
local function parallel_option(what, traits)
  local parallel = traits.parallel
  if parallel == nil then return false end
  if type(parallel) ~= "boolean" then
    raise(what .. ": traits.parallel: expected true or false, got " .. type(parallel))
  end
  if parallel and not traits.read_only and not traits.idempotent then
    raise(what .. ": traits.parallel: bodies that run at once have no order, and this one may have effects "
      .. "that need one: add read_only = true or idempotent = true, or leave parallel out")
  end
  return parallel
end

local function tool(name)
  if type(name) ~= "string" then raise("tool: expected a name, got " .. type(name)) end
  return function(spec)
    local what = "tool '" .. name .. "'"
    check_members(what, spec, { about = true, args = true, traits = true, limits = true, run = true })
    if type(spec.run) ~= "function" then raise(what .. ": 'run' must be a function") end
    local about = parts.text_option(what, spec, "about")
    if not about then raise(what .. ": 'about' must say what it does") end
    local args = spec.args or {}
    if type(args) ~= "table" or is_kind(args) then raise(what .. ": 'args' must be a table of arguments") end
    local traits, limits = spec.traits or {}, spec.limits or {}
    check_members(what .. ": traits", traits, TRAITS)
    check_members(what .. ": limits", limits, { output = true, wall = true })
    local network = network_option(what, traits.network)
    local parallel = parallel_option(what, traits)
    local wall = limits.wall ~= nil and parts.wall_option(what .. ": limits", limits.wall, 3600000) or nil
    local output = limits.output == nil and 64 << 10 or parts.byte_count(what .. ": limits.output", limits.output)
    local effect = traits.read_only and 0 or traits.idempotent and 1 or 2
    core.declare_tool(name, about, json.encode(parts.object_schema(what, args)), effect, output)
    tools[name] = { name = name, run = spec.run, args = args, output = output, network = network, wall = wall,
      parallel = parallel }
    parts.declared = true
  end
end

-- The runtime has let the call through; the body runs here.
local function run_body(known, call, result)
  local arguments = call.arguments
  if arguments == nil then arguments = json.decode(call.arguments_json or "{}") end
  local problem = parts.misfit("", known.args, arguments)
  if problem then
    result.outcome, result.content = "ERROR", call.name .. ": " .. problem
    return
  end
  local body = { name = known.name, network = known.network, wall = known.wall, parallel = known.parallel,
    started = known.wall and core.sleep(0) }
  local ok, value, why = parts.within(body, nil, known.run, arguments,
    parts.context { call_id = result.call_id })
  if ok and type(value) == "table" then ok, value = pcall(json.encode, value) end
  if not ok then value, why = nil, text_of(value) end
  if value == nil then
    result.outcome, result.content = "ERROR", why and text_of(why) or "the tool gave nothing"
    return
  end
  local text = tostring(value)
  local _, bad = utf8.len(text)
  if bad then
    result.outcome, result.content = "ERROR", "the tool's text is not UTF-8 at byte " .. bad - 1
  elseif #text > known.output then
    local kept = utf8_cut(text, known.output)
    result.content = kept .. "\n[cut: " .. #kept .. " of " .. #text .. " bytes]"
  else
    result.content = text
  end
end

-- The last of the neighbours of call `first` whose bodies may run at once with its own; itself, if none.
local function last_parallel(calls, first)
  local last = first
  local function is_parallel(i)
    local known = calls[i] and tools[calls[i].name]
    return known and known.parallel
  end
  if not is_parallel(first) then return first end
  while is_parallel(last + 1) do last = last + 1 end
  return last
end

-- Runs the body of call `first`, and at once with it those of its neighbours that may: the last call
-- that it has done this for.
local function run_bodies(calls, results, first)
  local last, begun = last_parallel(calls, first), {}
  for i = first, last do
    if tools[calls[i].name] and results[i].outcome == "OK" then begun[#begun + 1] = i end
  end
  local function run(n)
    local i = begun[n]
    run_body(tools[calls[i].name], calls[i], results[i])
  end
  if #begun > 1 and not core.in_branch() then
    parts.run_branches(#begun, core.branches_max, run, false, true)
  else
    for n = 1, #begun do run(n) end
  end
  return last
end

function parts.asks_network(name) return tools[name] ~= nil and tools[name].network ~= nil end

parts.run_bodies = run_bodies

return { tool = tool }
