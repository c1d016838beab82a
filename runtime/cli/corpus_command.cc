// `baleen corpus`: the conversations that a model is trained on or asked, as text or tokens.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "model/training/corpus/conversation_source.h"
#include "runtime/cli/flags.h"

namespace baleen::cli {
namespace {

struct CorpusFlags {
  training::ConversationOptions options;
  std::string split = "train";
  std::vector<std::string> tasks;
  uint64_t first = 0;
  int64_t count = 10;
  bool json = false;
};

Status PrintSamples(const CorpusFlags& flags) {
  training::ConversationOptions options = flags.options;
  options.split = flags.split == "evaluation"   ? training::Split::kEvaluation
                  : flags.split == "validation" ? training::Split::kValidation
                                                : training::Split::kTrain;
  for (const std::string& task : flags.tasks) options.shares[task] = 1;
  ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.tokenizer));
  ASSIGN_OR_RETURN(const auto source, training::ConversationSource::Open(options));
  RETURN_IF_ERROR(source->Seek(flags.first));
  for (int64_t i = 0; i < flags.count; ++i) {
    training::EncodedConversation encoded;
    ASSIGN_OR_RETURN(const auto conversation, source->NextConversation(&encoded));
    if (flags.json) {
      std::cout << nlohmann::json{{"task", conversation.task},
                                  {"tokens", encoded.sample.tokens},
                                  {"weights", encoded.sample.weights}}
                       .dump()
                << "\n";
      continue;
    }
    if (!conversation.raw.empty()) continue;  // Random tokens are no text.
    ASSIGN_OR_RETURN(const std::string text, tokenizer->Decode(encoded.sample.tokens));
    std::cout << text << "\n\n";
  }
  return OkStatus();
}

}  // namespace

void AddCorpus(CLI::App& app, int* exit_code) {
  auto flags = std::make_shared<CorpusFlags>();  // owners: the callback below
  CLI::App* command =
      app.add_subcommand("corpus", "Print generated conversations: what `train` learns from");
  command->add_option("--tokenizer", flags->options.tokenizer, "A tokenizer.json")->required();
  command->add_option("--split", flags->split, "train, validation or evaluation: disjoint")
      ->check(CLI::IsMember({"train", "validation", "evaluation"}))
      ->capture_default_str();
  command->add_option("--seed", flags->options.seed, "Same seed, same samples")
      ->capture_default_str();
  command->add_option("--first", flags->first, "Number of the first sample")->capture_default_str();
  command->add_option("--count", flags->count, "Samples")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--tokens-max", flags->options.tokens_max, "No sample is longer")
      ->capture_default_str();
  command->add_option("--task", flags->tasks, "Only this kind of task; may be repeated");
  command->add_option("--text", flags->options.texts, "File of plain text; may be repeated");
  command->add_option("--pieced-words", flags->options.pieced_words,
                      "Share of the invented words that are put together from tokens");
  command->add_option("--varied", flags->options.varied,
                      "How often a choice is wider than what evaluations ask for");
  command->add_flag("--json", flags->json, "One object per line: task, tokens, loss weights");
  command->callback([flags, exit_code] {
    const Status status = PrintSamples(*flags);
    *exit_code = status.ok() ? kExitOk : Fail(status, flags->json);
  });
}

}  // namespace baleen::cli
