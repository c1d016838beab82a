-- Finds what the user names in the workspace, reads around the first hit, and asks the model about it.
--   baleen run examples/scripts/find_and_read.lua --workspace . --input "class Snapshot"
return function(message)
  local hits = baleen.call("grep", { pattern = message, literal = true, max_results = 10 })
  local path, line = hits:match("^([^\n]+)\n%s*(%d+):")
  if not path then
    return "Nothing in the workspace contains '" .. message .. "'."
  end
  local excerpt = baleen.call("read", {
    path = path,
    offset = math.max(1, tonumber(line) - 20),
    limit = 60,
  })
  local answer = baleen.generate {
    user = "From " .. path .. ":\n" .. excerpt .. "\nWhat does this do?",
    max_tokens = 128,
  }
  return answer.content
end
