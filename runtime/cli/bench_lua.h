// `baleen bench lua`.
#pragma once

namespace CLI {
class App;
}

namespace baleen::cli {

/// Adds `lua`: what a script's policy and hooks cost per tool call.
void AddBenchLua(CLI::App& bench, int* exit_code);

}  // namespace baleen::cli
