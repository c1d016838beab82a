-- The demonstration's agent: read what was fed, look around with the tools, ask the model.
-- Every call below yields to the runtime; kill the daemon anywhere and the turn continues.
local function first_hit(pattern)
  local hits = baleen.call("grep", { pattern = pattern, max_results = 5 })
  return hits, hits:match("^([^\n]+)\n%s*(%d+):")
end

return function(message)
  baleen.generate { user = message, max_tokens = 8 }

  local listing = baleen.call("list", { path = "." })
  local hits, path, line = first_hit("class Snapshot")
  local excerpt = "nothing found"
  if path then
    excerpt = baleen.call("read", { path = path, offset = math.max(1, tonumber(line) - 10), limit = 40 })
  end

  local answer = baleen.generate {
    user = "The workspace holds:\n" .. listing .. "\nA search for 'class Snapshot' found:\n" .. hits ..
      "\nAround the first hit:\n" .. excerpt .. "\nWhat is a snapshot for?",
    max_tokens = 192,
  }
  return answer.content
end
