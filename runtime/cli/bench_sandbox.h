// `baleen bench sandbox`: the start of a sandboxed command.
#pragma once

namespace CLI {
class App;
}

namespace baleen::cli {

void AddBenchSandbox(CLI::App& bench, int* exit_code);

}  // namespace baleen::cli
