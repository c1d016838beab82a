// `baleen lua`: what an author of scripts needs before a turn runs.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/script_check.h"
#include "runtime/cli/dry_run_command.h"
#include "runtime/cli/exit_code.h"
#include "runtime/cli/flags.h"
#include "runtime/sessions/builtin_tool_names.h"

namespace baleen::cli {
namespace {

struct CheckFlags {
  std::vector<std::string> files;
  bool json = false;
};

/// Errors that stop at the first, then findings.
Result<std::vector<ScriptFinding>> CheckFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string source, ReadTextFile(path));
  return LintScript(source, path, BuiltinToolNames());
}

int CheckFiles(const CheckFlags& flags) {
  auto report = nlohmann::ordered_json::array();
  bool clean = true;
  size_t found = 0;
  for (const std::string& path : flags.files) {
    const auto findings = CheckFile(path);
    const auto sure = [](const ScriptFinding& finding) { return finding.sure; };
    clean = clean && findings.ok() && std::none_of(findings->begin(), findings->end(), sure);
    found += findings.ok() ? findings->size() : 1;
    nlohmann::ordered_json entry = {{"file", path}};
    if (!findings.ok()) {
      entry["error"] = findings.status().message();
      if (!flags.json) std::cout << findings.status().message() << "\n";
    } else {
      entry["findings"] = nlohmann::ordered_json::array();
      for (const ScriptFinding& finding : *findings) {
        entry["findings"].push_back(
            {{"line", finding.line}, {"message", finding.message}, {"sure", finding.sure}});
        if (flags.json) continue;
        std::cout << path << ":" << finding.line << ": " << (finding.sure ? "" : "note: ")
                  << finding.message << "\n";
      }
    }
    report.push_back(std::move(entry));
  }
  if (flags.json) {
    std::cout << report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else if (found == 0) {
    std::cout << flags.files.size() << (flags.files.size() == 1 ? " script" : " scripts")
              << " checked, nothing found\n";
  }
  return clean ? kExitOk : kExitFailed;
}

}  // namespace

void AddLua(CLI::App& app, int* exit_code) {
  CLI::App* lua = app.add_subcommand("lua", "For authors of scripts");
  lua->require_subcommand(1);
  auto flags = std::make_shared<CheckFlags>();  // owners: the callback below
  CLI::App* check = lua->add_subcommand(
      "check",
      "Compile scripts, name globals, members and methods that aren't there, and run each up to "
      "its turn's function: what it declares, the tests of its policy, and rules that are about no "
      "tool or can't decide. What is only noted (a name that a host or a server may have) fails "
      "nothing");
  check->add_option("files", flags->files, "Scripts, as `baleen run` takes them")->required();
  check->add_flag("--json", flags->json, "JSON on stdout");
  check->callback([flags, exit_code] { *exit_code = CheckFiles(*flags); });
  AddDryRun(*lua, exit_code);
  lua->add_subcommand("types",
                      "Print the definitions that lua-language-server completes and checks by: "
                      "baleen lua types > .luals/baleen.lua")
      ->callback([exit_code] {
        std::cout << ScriptTypes();
        *exit_code = kExitOk;
      });
}

}  // namespace baleen::cli
