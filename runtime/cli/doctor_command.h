// `baleen doctor`.
#pragma once

namespace CLI {
class App;
}

namespace baleen::cli {

void AddDoctor(CLI::App& app, int* exit_code);

}  // namespace baleen::cli
