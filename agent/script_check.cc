#include "agent/script_check.h"

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>

#include "agent/agent.h"
#include "agent/global_uses.h"
#include "agent/lua_api.h"
#include "agent/lua_baleen.h"
#include "agent/lua_sandbox.h"
#include "agent/rule_lint.h"

namespace baleen {
namespace {

constexpr int64_t kMemoryBytesMax = 64 << 20;
constexpr int64_t kInstructionsMax = 2'000'000;

using Findings = std::vector<ScriptFinding>;

void Add(ScriptFinding finding, Findings* findings) {
  if (std::find(findings->begin(), findings->end(), finding) == findings->end()) {
    findings->push_back(std::move(finding));
  }
}

void CheckGlobals(const std::vector<GlobalUse>& uses, const GlobalNames& names,
                  Findings* findings) {
  std::set<std::string> known, set;
  for (const auto& [global, members] : names) known.insert(global);
  for (const GlobalUse& use : uses) {
    if (use.write) set.insert(use.name);
  }
  for (const GlobalUse& use : uses) {
    const auto found = names.find(use.name);
    if (use.name.empty()) continue;
    std::string message;
    if (use.write && found != names.end()) {
      message = "global '" + use.name + "' is read-only; name the variable otherwise, and local";
    } else if (use.write) {
      message = "sets global '" + use.name + "'; make it local";
    } else if (found == names.end() && !set.contains(use.name)) {
      message = "no global '" + use.name + "'" + Nearest(use.name, known);
    } else if (found != names.end() && !use.member.empty() && !found->second.empty() &&
               !found->second.contains(use.member)) {
      message = "'" + use.name + "' has no member '" + use.member + "'" +
                Nearest(use.member, found->second);
    } else {
      continue;
    }
    Add({use.line, std::move(message)}, findings);
  }
}

/// What Baleen's values and strings have.
std::set<std::string> KnownMethods(const GlobalNames& names) {
  std::set<std::string> methods;
  if (const auto strings = names.find("string"); strings != names.end()) methods = strings->second;
  for (const LuaClass* table : LuaClasses()) {
    for (const LuaField& field : table->fields) {
      if (std::string_view(field.type).starts_with("fun(self")) methods.emplace(NameOf(field));
    }
  }
  return methods;
}

/// Methods that no value of Baleen's has and that the script gives to none of its own.
void CheckMethods(const NameUses& uses, const GlobalNames& names, Findings* findings) {
  const std::set<std::string> known = KnownMethods(names);
  // What an __index makes up, or finds under names that are computed, can't be told.
  const bool makes_up = uses.members_set.contains("__index");
  for (const MethodCall& call : uses.methods) {
    if (call.name.empty() || known.contains(call.name) || uses.members_set.contains(call.name)) {
      continue;
    }
    const std::string nearest = Nearest(call.name, known);
    if (makes_up && nearest.empty()) continue;
    Add({call.line, "no value has a method '" + call.name + "'" + nearest}, findings);
  }
}

void CheckDeclared(const ScriptDeclarations& declared, const std::vector<std::string>& tools,
                   Findings* findings) {
  std::set<std::string> known(tools.begin(), tools.end());
  for (size_t i = 0; i < declared.tools.size(); ++i) {
    const std::string& name = declared.tools[i].name;
    if (!known.contains(name)) continue;
    Add({declared.tool_lines[i],
         "tool '" + name + "': Baleen has one of this name; give it another"},
        findings);
  }
  if (!tools.empty()) {
    for (const ToolSpec& tool : declared.tools) known.insert(tool.name);
  }
  for (const RuleFinding& found :
       LintRules(declared.rules, known, "of Baleen's or of the script's own")) {
    Add({declared.rules[found.rule].line, found.message, found.sure}, findings);
  }
}

}  // namespace

Result<std::vector<ScriptFinding>> LintScript(std::string_view script, std::string_view name,
                                              const std::vector<std::string>& tools) {
  TurnBinding binding;
  LuaSandboxOptions options;
  options.memory_bytes_max = kMemoryBytesMax;
  options.instructions_max = kInstructionsMax;
  options.binding = &binding;
  ASSIGN_OR_RETURN(const std::unique_ptr<LuaSandbox> sandbox, LuaSandbox::Create(options));
  RETURN_IF_ERROR(sandbox->Compile(script, name));
  ASSIGN_OR_RETURN(const NameUses uses, ReadNameUses(sandbox->Dump()));
  ASSIGN_OR_RETURN(const GlobalNames names, sandbox->Globals());
  Findings findings;
  CheckGlobals(uses.globals, names, &findings);
  CheckMethods(uses, names, &findings);
  AgentOptions agent;
  agent.script = script;
  agent.script_name = name;
  const auto declared = ReadDeclarations(agent);
  // What is missing raises too, and was named better.
  if (!declared.ok() && findings.empty()) return declared.status();
  if (declared.ok()) CheckDeclared(*declared, tools, &findings);
  std::sort(findings.begin(), findings.end(), [](const ScriptFinding& a, const ScriptFinding& b) {
    return std::tie(a.line, a.message) < std::tie(b.line, b.message);
  });
  return findings;
}

}  // namespace baleen
