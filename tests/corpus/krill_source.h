// What the corpus tests share: Krill's tokenizer and sources that use it.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "model/training/corpus/conversation_source.h"
#include "tests/testing/test_paths.h"

namespace baleen::training {

inline std::string KrillTokenizerPath() {
  return std::string(kSourceDir) + "/model/krill/tokenizer.json";
}

inline const Tokenizer& KrillTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer =
      std::move(Tokenizer::Load(KrillTokenizerPath())).value();
  return *tokenizer;
}

inline ConversationOptions KrillOptions(Split split, int64_t tokens_max, uint64_t seed) {
  ConversationOptions options;
  options.tokenizer = KrillTokenizerPath();
  options.split = split;
  options.tokens_max = tokens_max;
  options.seed = seed;
  options.texts = {std::string(kSourceDir) + "/ARCHITECTURE.md",
                   std::string(kSourceDir) + "/CONTRIBUTING.md"};
  return options;
}

inline std::unique_ptr<ConversationSource> OpenSource(const ConversationOptions& options) {
  auto source = ConversationSource::Open(options);
  INFO(source.status().ToString());
  REQUIRE(source.ok());
  return std::move(source).value();
}

}  // namespace baleen::training
