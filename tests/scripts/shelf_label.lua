-- A warehouse's labels as a tool: one request with a key that no script sees.
--   The tests put the place of their server where WAREHOUSE stands.
local http, json = require "baleen.http", require "baleen.json"

tool "shelf_label" {
  about = "Says what lies on a shelf of the warehouse.",
  args = { shelf = str "Such as R7-03" :match "^%u%d+%-%d%d$", floor = opt(int "0 is the ground") },
  traits = { read_only = true, network = { "WAREHOUSE" } },
  limits = { wall = "10s", output = "4KiB" },

  run = function(a, ctx)
    local floor = a.floor and "?floor=" .. a.floor or ""
    local r, why = http.get("http://WAREHOUSE/shelves/" .. a.shelf .. floor,
      { auth = ctx.secret "warehouse", headers = { Accept = "application/json" }, wall = "5s" })
    if not r then return nil, why end
    if r.status == 404 then return nil, "there is no shelf " .. a.shelf end
    if r.status ~= 200 then return nil, "the warehouse answered " .. r.status end
    local label = json.decode(r.body)
    return label and label.goods or nil, "the warehouse said something else than a label"
  end,
}

policy {
  allow { tool = "read|list|grep|shelf_label" },
  allow { tool = "http_request", args = { method = "GET" } },
  allow { tool = "bash", argv = { "wc", "-l" } },
  deny { path = "**/*.key", why = "keys stay where they are",
    match = { { tool = "read", args = { path = "safe/front.key" } } },
    not_match = { { tool = "read", args = { path = "safe/front.txt" } } } },
  ask { tool = "write|edit" },
}

-- A label may have at most three lines.
on.after_edit("labels/*", function(ev, ctx)
  local out = ctx:sh({ "wc", "-l", ev.path }, { wall = "5s" })
  local lines = out and out.ok and tonumber(out.text:match("^%s*(%d+)"))
  if lines and lines > 3 then return note(ev.path .. " has " .. lines .. " lines; a label has three") end
end)
