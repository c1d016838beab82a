// `baleen tools`: the built-in tools, shown and called by hand.
#pragma once

namespace CLI {
class App;
}

namespace baleen::cli {

void AddTools(CLI::App& app, int* exit_code);

}  // namespace baleen::cli
