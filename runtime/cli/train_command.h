// `baleen train`.
#pragma once

#include <CLI/App.hpp>

namespace baleen::cli {

/// As the registrars of flags.h.
void AddTrain(CLI::App& app, int* exit_code);

}  // namespace baleen::cli
