-- What the functions that scripts call make of the members of their options.
--
-- Loaded before the other chunks of ours (lua_script.cc): they find it in `parts`.

local core, parts = ...
local raise = core.raise

local function check_members(what, options, known)
  if type(options) ~= "table" then raise(what .. ": expected a table, got " .. type(options)) end
  for name in pairs(options) do
    if not known[name] then raise(what .. ": unknown member '" .. tostring(name) .. "'") end
  end
end

local function text_option(what, options, name, default)
  local text = options[name]
  if text == nil then return default end
  if type(text) ~= "string" then raise(what .. ": '" .. name .. "' must be a string, got " .. type(text)) end
  return text
end

local function count_option(what, options, name)
  local count = options[name]
  if count == nil then return 0 end
  if math.type(count) ~= "integer" or count < 1 then
    raise(what .. ": '" .. name .. "' must be an integer of at least 1")
  end
  return count
end

local UNITS = { ms = 1, s = 1000, m = 60 * 1000, h = 3600 * 1000, d = 24 * 3600 * 1000 }

-- "90s", "5m", or a number of seconds.
local function milliseconds(what, value)
  if type(value) == "string" then
    local amount, unit = value:match("^(%d+)(%a+)$")
    if amount and #amount <= 9 and UNITS[unit] then return tonumber(amount) * UNITS[unit] end
  elseif type(value) == "number" and value >= 0 and value <= 1e9 then
    return math.floor(value * 1000)
  end
  raise(what .. ": expected a duration such as \"90s\", \"5m\" or \"2h\", or a number of seconds")
end

-- Milliseconds in units of `unit` of them, as an integer where they are one.
local function in_units(ms, unit) return ms % unit == 0 and ms // unit or ms / unit end

-- A time limit, in milliseconds.
local function wall_option(what, value, most)
  local ms = milliseconds(what .. ": 'wall'", value)
  if ms < 1 or ms > most then raise(("%s: 'wall' must be 1 ms to %d ms"):format(what, most)) end
  return ms
end

local function byte_count(what, value)
  if math.type(value) == "integer" and value >= 1 and value <= 1 << 20 then return value end
  if type(value) == "string" then
    local amount, unit = value:match("^(%d+)(%a*)$")
    local factor = ({ [""] = 1, B = 1, KiB = 1024, MiB = 1 << 20 })[unit]
    if amount and #amount <= 7 and factor and tonumber(amount) * factor <= 1 << 20 then
      return tonumber(amount) * factor
    end
  end
  raise(what .. ": expected bytes, as a number or \"8KiB\", at most 1MiB")
end

local function text_of(problem)
  return type(problem) == "string" and problem or "the error value is a " .. type(problem)
end

-- "read|grep|git_*" as a list of its alternatives.
local function alternatives(what, pattern)
  if type(pattern) ~= "string" or pattern == "" then
    raise(what .. ": expected the name of a tool, or a pattern such as \"read|git_*\"")
  end
  local list = {}
  for one in pattern:gmatch("[^|]+") do list[#list + 1] = one end
  return list
end

local function matches_any(patterns, text)
  for _, pattern in ipairs(patterns) do
    if core.wildcard(pattern, text) then return true end
  end
  return false
end

-- The same of tools: "mcp:*" names those of MCP servers.
local function tool_patterns(what, pattern)
  local list = alternatives(what, pattern)
  for _, one in ipairs(list) do
    local problem = core.check_tool_pattern(one)
    if problem then raise(what .. ": " .. problem) end
  end
  return list
end

-- `of_server`: whether it is one of these; nil: as the session knows it.
local function matches_tool(patterns, name, of_server)
  for _, pattern in ipairs(patterns) do
    if core.matches_tool(pattern, name, of_server) then return true end
  end
  return false
end

parts.check_members, parts.text_option, parts.count_option = check_members, text_option, count_option
parts.milliseconds, parts.in_units, parts.wall_option = milliseconds, in_units, wall_option
parts.byte_count, parts.text_of = byte_count, text_of
parts.alternatives, parts.matches_any = alternatives, matches_any
parts.tool_patterns, parts.matches_tool = tool_patterns, matches_tool
