-- Reads a source tree and remembers, file by file, what it is for; later sessions in this workspace recall it.
--   baleen run examples/scripts/summarise_tree.lua --workspace . --tools glob,remember,recall \
--     --max-tokens 1024 --allow remember --input "src/**/*.h"
--   baleen chat --workspace . --tools recall     # "Where are retries decided?"
-- Four forks read at once. Kill it, start Baleen again, and no file is read twice.
local s = session.current()

policy {
  allow { tool = "glob|read|grep|list|recall" },
  allow { tool = "remember" }, -- The session's own policy still decides.
  default = "deny",
}

local FILES_MAX = 200

local function files_of(pattern)
  local found = s:call("glob", { pattern = pattern })
  if not found.ok then return nil, found.content end
  local files = {}
  for line in found.content:gmatch("[^\n]+") do
    -- What isn't a path is a remark of the tool's.
    if not line:match("^[%[(]") and #files < FILES_MAX then files[#files + 1] = line end
  end
  return files
end

flow("summarise-tree", { budget = { tokens = 4000000, wall = "4h" } }, function(f, input)
  local pattern = input ~= "" and input or "**/*.md"
  local files, why = files_of(pattern)
  if not files then return fail("no files: " .. why) end

  local summaries = f:each(files, { at_once = 4 }, function(path)
    local kid <const> = s:fork { label = path, budget = { tokens = 40000 } }
    local summary, problem = kid:ask("Read " .. path .. ". What is it for, and what does it decide?",
      { returns = { purpose = str "One sentence", decides = list(str(), "Rules, limits, formats") },
        tools = "read|grep", max_tokens = 400 })
    kid:close()
    return summary or { problem = problem }
  end)

  local kept, unread = 0, baleen.json.array {}
  for i, summary in ipairs(summaries) do
    if summary.problem then
      unread[#unread + 1] = files[i] .. ": " .. summary.problem
    else
      local text = files[i] .. ": " .. summary.purpose
      if #summary.decides > 0 then text = text .. " Decides: " .. table.concat(summary.decides, "; ") end
      kept = kept + (s:call("remember", { text = text }).ok and 1 or 0)
    end
  end
  return { files = #files, remembered = kept, unread = unread }
end)
