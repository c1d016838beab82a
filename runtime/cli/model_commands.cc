// Flags of `baleen inspect` and `baleen make-tiny`.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "runtime/cli/checkpoint_commands.h"
#include "runtime/cli/flags.h"

namespace baleen::cli {

void AddModel(CLI::App& app, int* exit_code) {
  auto inspect = std::make_shared<InspectOptions>();  // owners: the callbacks
  CLI::App* command = app.add_subcommand("inspect", "What a checkpoint holds");
  command->add_option("model", inspect->model, "Checkpoint folder")->required();
  command->add_flag("--json", inspect->json, "JSON on stdout");
  command->add_flag("!--no-fingerprint", inspect->fingerprint,
                    "Skip the fingerprint, which reads every byte");
  command->callback([inspect, exit_code] {
    if (isatty(STDERR_FILENO) != 0) {
      inspect->progress = [](int64_t done, int64_t total) {
        std::fprintf(stderr, "\rhashing %lld/%lld MB%s", static_cast<long long>(done >> 20),
                     static_cast<long long>(total >> 20), done == total ? "\n" : "");
      };
    }
    const Status status = InspectCheckpoint(*inspect, std::cout);
    *exit_code = status.ok() ? kExitOk : Fail(status, inspect->json);
  });

  struct TinyFlags {
    MakeTinyOptions options;
    int64_t vocab = 129280;
    bool float32 = false;
    bool json = false;
  };
  auto tiny = std::make_shared<TinyFlags>();  // owners: the callback
  command = app.add_subcommand(
      "make-tiny",
      "Write a small seeded checkpoint: all of the architecture, none of the knowledge");
  command->add_option("folder", tiny->options.folder, "Where to write it")->required();
  command->add_option("--seed", tiny->options.seed)->capture_default_str();
  command->add_option("--vocab", tiny->vocab, "Vocabulary of its embedding")->capture_default_str();
  command->add_option("--tokenizer", tiny->options.tokenizer, "tokenizer.json to put beside it")
      ->check(CLI::ExistingFile);
  command->add_flag("--float32", tiny->float32, "All weights F32 instead of the released formats");
  command->add_flag("--json", tiny->json, "Errors as JSON");
  command->callback([tiny, exit_code] {
    tiny->options.config = TinyConfig(tiny->vocab);
    if (tiny->float32) tiny->options.storage = RandomStorage::kFloat32;
    const Status status = MakeTinyCheckpoint(tiny->options, std::cout);
    *exit_code = status.ok() ? kExitOk : Fail(status, tiny->json);
  });
}

}  // namespace baleen::cli
