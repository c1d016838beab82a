-- baleen.http: requests of scripts, each a call of http_request that is judged and journalled like any
-- other; and require, by which scripts get this and baleen.json.

local core, parts = ...
local raise, json = core.raise, baleen.json
local check_members = parts.check_members

local HTTP = "http_request"
parts.http_tool = HTTP

local OPTIONS = { headers = true, body = true, json = true, auth = true, auth_header = true, wall = true,
  bytes = true }
local REQUEST = { method = true, url = true }
for name in pairs(OPTIONS) do REQUEST[name] = true end

-- What the server said, as a line of JSON and the body behind it.
local function read_answer(result)
  local line_end = result.content:find("\n", 1, true)
  if not line_end then return end
  result.head = json.decode(result.content:sub(1, line_end - 1))
  result.content = result.content:sub(line_end + 1)
end

local function headers_of(what, options)
  if options.headers ~= nil and type(options.headers) ~= "table" then
    raise(what .. ": 'headers' must be a table, got " .. type(options.headers))
  end
  local headers, typed = {}, false
  for name, value in pairs(options.headers or {}) do
    if type(value) == "number" then value = tostring(value) end
    if type(name) ~= "string" or type(value) ~= "string" then
      raise(what .. ": 'headers' must give a text to each name")
    end
    typed = typed or name:lower() == "content-type"
    headers[name] = value
  end
  if options.body ~= nil and not typed then headers["Content-Type"] = "text/plain; charset=utf-8" end
  return next(headers) ~= nil and headers or nil
end

local function body_of(what, options)
  if options.json ~= nil and options.body ~= nil then raise(what .. ": give either 'body' or 'json'") end
  if options.json ~= nil then return json.encode(options.json) end
  return parts.text_option(what, options, "body")
end

-- The arguments' part that says which hosts the tool whose body runs may ask.
local function confine_to_tool(what, url, arguments)
  local tool = parts.body()
  if not tool then return end
  if not tool.network then
    local host = url:match("^%a+://([^/?#]+)") or "HOST"
    raise(("%s: tool '%s' reaches no hosts: add traits = { network = { %q } }"):format(what, tool.name, host))
  end
  arguments.tool, arguments.hosts = tool.name, json.array(tool.network)
end

-- { status, body, content_type, cut, skipped, redirect, retry_after }, or nil, why and the outcome.
local function request(what, method, url, options)
  if type(url) ~= "string" then raise(what .. ": expected a URL, got " .. type(url)) end
  local arguments = { method = method, url = url, headers = headers_of(what, options),
    body = body_of(what, options) }
  if options.auth ~= nil then
    if not parts.is_secret(options.auth) then raise(what .. ": 'auth' must be ctx.secret \"NAME\"") end
    arguments.secret = options.auth.name
    arguments.secret_header = parts.text_option(what, options, "auth_header")
  elseif options.auth_header ~= nil then
    raise(what .. ": 'auth_header' is the header of 'auth', which isn't there")
  end
  if options.wall ~= nil then arguments.timeout_ms = parts.wall_option(what, options.wall, 600000) end
  if options.bytes ~= nil then arguments.bytes_max = parts.byte_count(what .. ": 'bytes'", options.bytes) end
  confine_to_tool(what, url, arguments)
  local result = parts.call_tools({ { name = HTTP, arguments = arguments } }, read_answer)[1]
  if result.outcome ~= "OK" then return nil, result.content, result.outcome end
  local reply = result.head or {}
  reply.body, reply.cut = result.content, reply.cut or false
  return reply
end

local http = {}

for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE" } do
  local name = method:lower()
  http[name] = function(url, options)
    local what = "http." .. name
    options = options or {}
    check_members(what, options, OPTIONS)
    return request(what, method, url, options)
  end
end

function http.request(options)
  check_members("http.request", options, REQUEST)
  local method = parts.text_option("http.request", options, "method", "GET")
  return request("http.request", method, options.url, options)
end

local MODULES = { ["baleen.http"] = core.read_only(http), ["baleen.json"] = json }

local function require(name)
  local module = type(name) == "string" and MODULES[name]
  if module then return module end
  raise(("require: there is no module '%s'; there are baleen.http and baleen.json")
    :format(tostring(name):sub(1, 80)))
end

return { require = require }
