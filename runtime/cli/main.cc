// The `baleen` binary: one sub-command per file.
#include <CLI/CLI.hpp>
#include <iostream>

#include "runtime/cli/doctor_command.h"
#include "runtime/cli/flags.h"
#include "runtime/cli/tools_command.h"
#include "runtime/cli/train_command.h"

namespace cli = baleen::cli;

int main(int argc, char** argv) {
  CLI::App app{"Baleen: an embeddable agent runtime with million-token memory"};
  app.set_version_flag("--version", "baleen " BALEEN_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Options under a heading in lower case are settings: baleen.toml may hold them, as "
      "`kv_ram_bytes` in "
      "[runtime].\nExit codes: 0 ok, 1 failed, 2 usage, 3 not available.");
  int exit_code = cli::kExitOk;
  for (const cli::Registrar add :
       {&cli::AddServe,    &cli::AddConfigCommand, &cli::AddToken,     &cli::AddChat,
        &cli::AddRun,      &cli::AddSessions,      &cli::AddApprovals, &cli::AddNotes,
        &cli::AddGenerate, &cli::AddLogits,        &cli::AddText,      &cli::AddModel,
        &cli::AddBench,    &cli::AddCorpus,        &cli::AddTrain,     &cli::AddEval,
        &cli::AddLua,      &cli::AddScripts,       &cli::AddTools,     &cli::AddDoctor}) {
    add(app, &exit_code);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? cli::kExitOk : cli::kExitUsage;
  }
  return exit_code;
}
