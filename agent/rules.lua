-- Verdicts, and the rules of a script's policy: what they make of a call.

local core, parts = ...
local raise, json = core.raise, baleen.json
local check_members, text_option = parts.check_members, parts.text_option

local Verdict, Rule = {}, {}

local function verdict(kind, text)
  if type(text) ~= "string" then raise(kind .. ": expected a reason as a string, got " .. type(text)) end
  return setmetatable({ kind = kind, text = text }, Verdict)
end

local function note(text) return verdict("note", text) end

local LEVELS = { allow = 1, ask = 2, deny = 3 }
local RULE_MEMBERS = { tool = true, args = true, path = true, argv = true, writes = true, why = true,
  match = true, not_match = true }

-- What the rules about parts of shell text make of the argument `command`: a level (0: some part is
-- named by none), the rule that decided, or nil, and the part or the reason. `covered`: a rule about
-- whole calls matches.
local function judge_parts(about_parts, arguments, covered)
  local command = arguments.command
  if #about_parts == 0 or type(command) ~= "string" then return 0, nil, "" end
  local level, index, text = core.judge_command(command, about_parts, covered)
  return level, index and about_parts[index], text
end

local function about_call(rule, name, arguments, of_server)
  if not parts.matches_tool(rule.tools, name, of_server) then return false end
  for argument, pattern in pairs(rule.args) do
    local value = arguments[argument]
    local plain = type(value) == "string" or type(value) == "number" or type(value) == "boolean"
    if not plain or not core.wildcard(pattern, tostring(value)) then return false end
  end
  if rule.path then
    local path = arguments.path
    if type(path) ~= "string" then return false end
    return core.wildcard(rule.path, path) or core.wildcard(rule.path, "/" .. path)
  end
  return true
end

local function about_any(rule, names, arguments)
  for _, name in ipairs(names) do
    if about_call(rule, name, arguments) then return true end
  end
  return false
end

-- Whether the rule, alone, decides about the call. A name is as patterns have it, whatever the session's
-- tools are: those of servers are mcp:NAME.
local function rule_matches(rule, name, arguments)
  local of_server = name:match("^mcp:(.*)$")
  if not about_call(rule, of_server or name, arguments, of_server ~= nil) then return false end
  if not rule.about_parts then return true end
  -- Commands are no matter of a rule about files.
  local _, by = judge_parts({ rule }, arguments, rule.writes ~= nil)
  return by ~= nil
end

local function test_rule(rule, what, examples, expected)
  if type(examples) ~= "table" then raise(what .. ": expected a list of { tool =, args = }") end
  for i, example in ipairs(examples) do
    local which = what .. "[" .. i .. "]"
    check_members(which, example, { tool = true, args = true })
    local name = text_option(which, example, "tool")
    local arguments = example.args or {}
    if not name or type(arguments) ~= "table" then raise(which .. ": expected { tool = \"name\", args = {} }") end
    if rule_matches(rule, name, arguments) ~= expected then
      raise(("%s: the rule %s %s %s"):format(which, expected and "doesn't match" or "matches", name,
        json.encode(arguments)))
    end
  end
end

-- { "git", { "status", "log" } } as lists of alternatives.
local function argv_option(decision, argv)
  if type(argv) ~= "table" then raise(decision .. ": 'argv' must be a list of words, got " .. type(argv)) end
  local words = {}
  for i = 1, rawlen(argv) do
    words[i] = type(argv[i]) == "table" and argv[i] or { argv[i] }
    for _, word in ipairs(words[i]) do
      if type(word) ~= "string" then raise(decision .. ": 'argv' must hold strings, or lists of them") end
    end
  end
  return words
end

local function make_rule(decision, spec)
  check_members(decision, spec, RULE_MEMBERS)
  local rule = setmetatable({ decision = decision, args = {} }, Rule)
  rule.tools = parts.tool_patterns(decision .. ": 'tool'", text_option(decision, spec, "tool", "*"))
  rule.why = text_option(decision, spec, "why", "")
  rule.path = text_option(decision, spec, "path")
  if spec.args ~= nil then
    if type(spec.args) ~= "table" then raise(decision .. ": 'args' must be a table of patterns") end
    for name, pattern in pairs(spec.args) do
      if type(name) ~= "string" or type(pattern) ~= "string" then
        raise(decision .. ": 'args' must give a pattern to each name")
      end
      rule.args[name] = pattern
    end
  end
  rule.level, rule.line = LEVELS[decision], core.line()
  rule.writes = text_option(decision, spec, "writes")
  if spec.argv ~= nil then rule.argv = argv_option(decision, spec.argv) end
  rule.about_parts = (rule.argv or rule.writes) and true or nil
  if rule.about_parts then core.judge_command("", { rule }, false) end -- Which says what is wrong.
  if spec.match ~= nil then test_rule(rule, decision .. ": match", spec.match, true) end
  if spec.not_match ~= nil then test_rule(rule, decision .. ": not_match", spec.not_match, false) end
  return rule
end

local function allow(spec) return make_rule("allow", spec) end
local function ask(spec) return make_rule("ask", spec) end
-- A rule if it is given a table; the verdict of a hook if it is given a reason.
local function deny(spec)
  if type(spec) == "string" then return verdict("deny", spec) end
  return make_rule("deny", spec)
end

local rules, default_decision = {}, nil

local function policy(spec)
  if type(spec) ~= "table" then raise("policy: expected a table of rules, got " .. type(spec)) end
  for key, value in pairs(spec) do
    if key == "default" then
      if not LEVELS[value] then raise("policy: 'default' must be \"allow\", \"ask\" or \"deny\"") end
      default_decision = value
    elseif type(key) ~= "number" then
      raise("policy: unknown member '" .. tostring(key) .. "'")
    elseif type(value) ~= "table" or getmetatable(value) ~= Rule then
      raise("policy: expected rules made by allow, ask and deny")
    else
      rules[#rules + 1] = value
      local narrow = next(value.args) ~= nil or value.path or value.about_parts
      core.declare_rule(value.decision, table.concat(value.tools, "|"), not narrow, value.line)
    end
  end
  parts.declared = true
end

-- The strictest of all rules that match one of the names; the default if none does.
local function judge(names, arguments)
  local level, why, about_parts = 0, "", {}
  for _, rule in ipairs(rules) do
    if (rule.about_parts or rule.level > level) and about_any(rule, names, arguments) then
      if rule.about_parts then
        about_parts[#about_parts + 1] = rule
      else
        level, why = rule.level, rule.why
      end
    end
  end
  local of_parts, by, text = judge_parts(about_parts, arguments, level > 0)
  if of_parts > level then
    level, why = of_parts, by and by.why ~= "" and text .. ": " .. by.why or text
  end
  if level == 0 and default_decision then
    return default_decision, (text == "" and "" or text .. ": ") .. "no rule of the script's policy names it"
  end
  return level == 3 and "deny" or level == 2 and "ask" or "allow", why
end

local APPLY = "apply_diff" -- What s:apply calls.
local CHANGES = { APPLY, "write", "edit" }

-- A diff is to each of its files what a write is.
local function judge_diff(arguments)
  local decision, why = "allow", ""
  local paths = type(arguments.diff) == "string" and core.diff_paths(arguments.diff) or {}
  for _, path in ipairs(paths) do
    local of_one, why_so = judge(CHANGES, { path = path, diff = arguments.diff })
    if LEVELS[of_one] > LEVELS[decision] then
      decision, why = of_one, why_so == "" and path or path .. ": " .. why_so
    end
  end
  return decision, why
end

-- "allow", "ask" or "deny", and why.
function parts.judge_call(name, arguments)
  if name == APPLY then return judge_diff(arguments) end
  return judge({ name }, arguments)
end

parts.apply_tool, parts.verdict = APPLY, verdict
function parts.is_verdict(value) return type(value) == "table" and getmetatable(value) == Verdict end

return { policy = policy, allow = allow, ask = ask, deny = deny, note = note }
