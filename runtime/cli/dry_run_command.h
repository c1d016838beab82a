// `baleen lua dry-run`.
#pragma once

#include <CLI/App.hpp>

namespace baleen::cli {

void AddDryRun(CLI::App& lua, int* exit_code);

}  // namespace baleen::cli
