// `baleen lua`: what an author of scripts needs before a turn runs.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "agent/script_check.h"
#include "runtime/cli/exit_code.h"
#include "runtime/cli/flags.h"

namespace baleen::cli {
namespace {

struct CheckFlags {
  std::vector<std::string> files;
  bool json = false;
};

/// Errors that stop at the first, then findings. The chunk runs too, up to the turn's function.
Result<std::vector<ScriptFinding>> CheckFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string source, ReadTextFile(path));
  ASSIGN_OR_RETURN(std::vector<ScriptFinding> findings, LintScript(source, path));
  AgentOptions options;
  options.script = source;
  options.script_name = path;
  const auto loaded = Agent::Create(options);
  // What is missing raises too, and was named better.
  if (!loaded.ok() && findings.empty()) return loaded.status();
  return findings;
}

int CheckFiles(const CheckFlags& flags) {
  auto report = nlohmann::ordered_json::array();
  bool clean = true;
  for (const std::string& path : flags.files) {
    const auto findings = CheckFile(path);
    clean = clean && findings.ok() && findings->empty();
    nlohmann::ordered_json entry = {{"file", path}};
    if (!findings.ok()) {
      entry["error"] = findings.status().message();
      if (!flags.json) std::cout << findings.status().message() << "\n";
    } else {
      entry["findings"] = nlohmann::ordered_json::array();
      for (const ScriptFinding& finding : *findings) {
        entry["findings"].push_back({{"line", finding.line}, {"message", finding.message}});
        if (!flags.json)
          std::cout << path << ":" << finding.line << ": " << finding.message << "\n";
      }
    }
    report.push_back(std::move(entry));
  }
  if (flags.json) {
    std::cout << report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else if (clean) {
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
      "Compile scripts, name globals and members that aren't there, and run each up to its turn's "
      "function: what it declares, and the tests of its policy");
  check->add_option("files", flags->files, "Scripts, as `baleen run` takes them")->required();
  check->add_flag("--json", flags->json, "JSON on stdout");
  check->callback([flags, exit_code] { *exit_code = CheckFiles(*flags); });
  lua->add_subcommand("types",
                      "Print the definitions that lua-language-server completes and checks by: "
                      "baleen lua types > .luals/baleen.lua")
      ->callback([exit_code] {
        std::cout << ScriptTypes();
        *exit_code = kExitOk;
      });
}

}  // namespace baleen::cli
