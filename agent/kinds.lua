-- Kinds of arguments and answers: str, int, bool, list, one_of, opt, and tables of them.

local core, parts = ...
local raise, json = core.raise, baleen.json

local Kind = {}
Kind.__index = Kind

local function is_kind(value) return type(value) == "table" and getmetatable(value) == Kind end

local function make_kind(base, about)
  if about ~= nil and type(about) ~= "string" then
    raise(base .. ": expected what it is about as a string, got " .. type(about))
  end
  return setmetatable({ base = base, about = about }, Kind)
end

-- A Lua pattern that a string must match; checked before a tool's body runs.
function Kind:match(pattern)
  if self.base ~= "string" then raise("match: only a str can be matched") end
  if not pcall(string.match, "", pattern) then raise("match: malformed pattern") end
  self.lua_pattern = pattern
  return self
end

local function str(about) return make_kind("string", about) end
local function int(about) return make_kind("integer", about) end
local function bool(about) return make_kind("boolean", about) end

local function one_of(values, about)
  local kind = make_kind("one_of", about)
  kind.values = {}
  for i, value in ipairs(type(values) == "table" and values or {}) do
    if type(value) ~= "string" then raise("one_of: expected strings, got " .. type(value)) end
    kind.values[i] = value
  end
  if #kind.values == 0 then raise("one_of: expected a list of at least one string") end
  return kind
end

local schema_of

local function list(items, about)
  schema_of("list", items)
  local kind = make_kind("list", about)
  kind.items = items
  return kind
end

local function opt(inner)
  if not is_kind(inner) or inner.base == "opt" then raise("opt: expected str, int, bool, list or one_of") end
  local kind = make_kind("opt")
  kind.inner = inner
  return kind
end

local function object_schema(what, fields)
  local properties, required = {}, json.array {}
  for name, field in pairs(fields) do
    if type(name) ~= "string" then raise(what .. ": expected named members") end
    local optional = is_kind(field) and field.base == "opt"
    properties[name] = schema_of(what .. "." .. name, optional and field.inner or field)
    if not optional then required[#required + 1] = name end
  end
  return { type = "object", properties = properties, required = required, additionalProperties = false }
end

function schema_of(what, kind)
  if type(kind) == "table" and not is_kind(kind) then return object_schema(what, kind) end
  if not is_kind(kind) or kind.base == "opt" then
    raise(what .. ": expected str, int, bool, list, one_of or a table of them")
  end
  local schema = { type = kind.base, description = kind.about }
  if kind.base == "list" then
    schema.type, schema.items = "array", schema_of(what, kind.items)
  elseif kind.base == "one_of" then
    schema.type, schema.enum = "string", json.array(kind.values)
  elseif kind.lua_pattern then
    local form = "Must match the Lua pattern " .. kind.lua_pattern
    schema.description = kind.about and kind.about .. " (" .. form .. ")" or form
  end
  return schema
end

-- What the schema can't say; nil: nothing is wrong.
local function misfit(path, kind, value)
  if value == nil then return nil end
  if not is_kind(kind) then
    for name, field in pairs(kind) do
      local problem = misfit(path == "" and name or path .. "." .. name, field, value[name])
      if problem then return problem end
    end
  elseif kind.base == "opt" then
    return misfit(path, kind.inner, value)
  elseif kind.base == "list" then
    for i, item in ipairs(value) do
      local problem = misfit(path .. "[" .. i .. "]", kind.items, item)
      if problem then return problem end
    end
  elseif kind.lua_pattern and not value:match(kind.lua_pattern) then
    return "'" .. path .. "' does not match the Lua pattern " .. kind.lua_pattern
  end
end

parts.is_kind, parts.object_schema, parts.schema_of, parts.misfit = is_kind, object_schema, schema_of, misfit

return { str = str, int = int, bool = bool, list = list, one_of = one_of, opt = opt }
