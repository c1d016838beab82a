-- A nightly audit that asks before it edits. Kill it, start Baleen again, and it goes on where it was.
--   baleen run examples/scripts/nightly_audit.lua --workspace . --tools glob,edit,write --max-tokens 4096 \
--     --allow edit --allow write --input "outdated dependencies"
local s = session.current()
local approved = {} -- Files that somebody has said yes to.

policy {
  allow { tool = "project_files|read|grep|glob|list" },
  allow { tool = "write|edit" }, -- The session's own policy still decides; the hook below is stricter.
  deny { path = "**/.env*", why = "secrets stay out of the context",
    match = { { tool = "read", args = { path = "deploy/.env.local" } } },
    not_match = { { tool = "read", args = { path = "src/environment.cc" } } } },
  default = "ask",
}

on.before_tool("write|edit", function(call)
  if not approved[call.arguments.path] then return deny "nobody has approved a change of this file" end
end)

tool "project_files" {
  about = "Files that say what this project depends on.",
  traits = { read_only = true },
  limits = { output = "32KiB" },
  run = function()
    local found = {}
    for _, name in ipairs { "CMakeLists.txt", "package.json", "requirements.txt", "go.mod", "Cargo.toml" } do
      local content, outcome = baleen.call("read", { path = name })
      if outcome == "OK" then found[#found + 1] = name .. ":\n" .. content end
    end
    if #found == 0 then return nil, "the workspace has none of the files that are known to name them" end
    return table.concat(found, "\n\n")
  end,
}

local Finding = {
  file = str "Path of the file that is to change",
  problem = str "What is wrong, in one sentence",
  change = str "What to write instead",
  risk = one_of { "low", "medium", "high" },
}

flow("nightly-audit", { budget = { tokens = 400000, wall = "2h", tool_calls = 300 } }, function(f, input)
  local begun = f:now()
  local files = s:call("project_files")
  if not files.ok then return "Nothing to audit: " .. files.content end

  local findings, why = s:ask("Audit this for " .. input .. ". List at most five findings.\n\n" .. files.content,
    { returns = list(Finding), tools = "read|grep|glob|list", budget = { tokens = 100000 } })
  if not findings then return fail("no findings that can be read: " .. why) end
  if #findings == 0 then return "Nothing found." end

  local changed = f:each(findings, function(finding)
    -- A denial is an error: then this one is left as it is, and the next is asked about.
    local ok, problem = pcall(f.approve, f, { title = "Change " .. finding.file, problem = finding.problem,
      change = finding.change, risk = finding.risk })
    if not ok then return { file = finding.file, left = problem } end
    approved[finding.file] = true
    local said = s:ask("Make this change, and nothing else: " .. finding.change .. " in " .. finding.file,
      { tools = "read|edit|write" })
    return { file = finding.file, said = said }
  end)
  return { findings = #findings, changed = changed, seconds = f:now() - begun }
end)
