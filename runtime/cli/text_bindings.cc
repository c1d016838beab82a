// Flags of `baleen tokenize|detokenize|render|parse`.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "runtime/cli/flags.h"
#include "runtime/cli/text_commands.h"

namespace baleen::cli {
namespace {

template <typename Args, typename Run>
void Bind(CLI::App* command, const std::shared_ptr<Args>& args, int* exit_code, Run run) {
  command->add_flag("--jsonl,--json", args->jsonl, "One JSON value per line in, one per line out");
  command->callback(
      [args, exit_code, run] { *exit_code = run(*args, std::cin, std::cout, std::cerr); });
}

}  // namespace

void AddText(CLI::App& app, int* exit_code) {
  {
    auto args = std::make_shared<TokenizeArgs>();  // owners: the callbacks, here and below
    CLI::App* command = app.add_subcommand("tokenize", "Text on stdin -> token ids");
    command->add_option("--tokenizer", args->tokenizer, "tokenizer.json")->required();
    command->add_flag("--untrusted", args->data, "Literals of control tokens stay plain text");
    Bind(command, args, exit_code, &RunTokenize);
  }
  {
    auto args = std::make_shared<DetokenizeArgs>();
    CLI::App* command = app.add_subcommand("detokenize", "Token ids on stdin -> text");
    command->add_option("--tokenizer", args->tokenizer, "tokenizer.json")->required();
    Bind(command, args, exit_code, &RunDetokenize);
  }
  const auto dialects = CLI::IsMember({"preview", "0731"});
  {
    auto args = std::make_shared<RenderArgs>();
    CLI::App* command = app.add_subcommand("render", "Chat messages on stdin -> prompt");
    command->add_option("--tokenizer", args->tokenizer, "tokenizer.json")->required();
    command->add_option("--dialect", args->dialect, "preview or 0731")->required()->check(dialects);
    Bind(command, args, exit_code, &RunRender);
  }
  {
    auto args = std::make_shared<ParseArgs>();
    CLI::App* command = app.add_subcommand("parse", "A completion on stdin -> message");
    command->add_option("--dialect", args->dialect, "preview or 0731")->required()->check(dialects);
    command->add_option("--mode", args->mode, "chat or thinking; --jsonl lines carry their own")
        ->check(CLI::IsMember({"chat", "thinking"}));
    command->add_flag("--tolerant", args->tolerant,
                      "Read near misses of the markup too; say what was mended or refused");
    command->add_option("--tools", args->tools,
                        "For --tolerant: JSON array of the declared function objects");
    Bind(command, args, exit_code, &RunParse);
  }
}

}  // namespace baleen::cli
