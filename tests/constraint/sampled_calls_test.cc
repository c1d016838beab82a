// Calls sampled from a model of random weights, whose every token is a surprise: what comes out
// parses strictly and validates, always.
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "model/sampler.h"
#include "model/text/chat_parser.h"
#include "tests/constraint/random_schema.h"
#include "tests/constraint/small_vocabulary.h"
#include "tests/model/tiny_model.h"
#include "tools_sdk/tool_set.h"

namespace baleen {
namespace {

constexpr int kTokensMax = 2000;

Model& RandomModel() {
  static const std::unique_ptr<Model> model = [] {
    ModelConfig config = testing::OneLayerConfig(LayerKind::kWindow);
    config.vocab = SmallVocabulary().tokenizer->vocab();
    config.hidden = 32;
    config.positions_max = 16384;
    return testing::MakeModel(config);
  }();
  return *model;
}

struct Sampled {
  std::vector<int32_t> ids;
  bool complete = false;
};

/// One generation at temperature 1, as the engine runs it.
Sampled Sample(TokenConstraint& constraint, uint64_t seed) {
  Model& model = RandomModel();
  KvCache cache = model.NewCache();
  SamplingOptions options;
  options.seed = seed;
  Sampled sampled;
  int32_t last = SmallVocabulary().ids.assistant;
  std::vector<float> logits;
  while (!constraint.Complete() && sampled.ids.size() < kTokensMax) {
    const Status status = model.Forward(cache, std::span(&last, 1), LogitsWanted::kLast, &logits);
    if (!status.ok()) FAIL(status.ToString());
    const TokenMask& mask = constraint.Mask();
    if (mask.count() == 0) FAIL("no token is allowed: a trap");
    last = SampleToken(logits, options, static_cast<int64_t>(sampled.ids.size()) + 1, &mask);
    if (!constraint.Accept(last)) FAIL("a token of the mask was refused");
    sampled.ids.push_back(last);
  }
  sampled.complete = constraint.Complete();
  return sampled;
}

struct Tally {
  int64_t messages = 0;
  int64_t calls = 0;
  int64_t cut = 0;  ///< By the token limit; never looked at.
  int64_t tokens = 0;
};

void SampleMessages(int64_t count, uint64_t first_seed, Tally* tally) {
  for (uint64_t seed = first_seed; tally->calls < count; ++seed) {
    INFO("seed " << seed);
    RandomSchema random(seed);
    ChatShape shape;
    shape.choice = seed % 3 == 0 ? ToolChoice::kNamed : ToolChoice::kRequired;
    ToolSet tools;
    for (uint64_t i = 0; i <= random.Below(3); ++i) {
      shape.tools.push_back(MakeTool("tool_" + std::to_string(i), random.Parameters().dump()));
      if (const Status added = tools.Add(shape.tools.back()); !added.ok()) FAIL(added.ToString());
    }
    shape.tool = "tool_0";
    auto grammar = CompileChat(shape);
    if (!grammar.ok()) FAIL(grammar.status().ToString());
    const Vocabulary& vocabulary = SmallVocabulary();
    TokenConstraint constraint(ConstraintParts{*grammar, vocabulary.tokenizer.get(),
                                               vocabulary.trie.get(), vocabulary.ids});
    const Sampled sampled = Sample(constraint, seed);
    ++tally->messages;
    tally->tokens += static_cast<int64_t>(sampled.ids.size());
    if (!sampled.complete) {
      ++tally->cut;
      continue;
    }
    const auto text = vocabulary.tokenizer->Decode(sampled.ids);
    if (!text.ok()) FAIL(text.status().ToString());
    const auto message = ParseCompletion(*text, ThinkingMode::kChat);
    INFO(*text);
    if (!message.ok()) FAIL(message.status().ToString());
    for (const ToolCall& call : message->tool_calls) {
      const Status valid = tools.CheckCall(call);
      if (!valid.ok()) FAIL(valid.ToString() << " in " << call.arguments);
      ++tally->calls;
    }
  }
}

void Report(const Tally& tally) {
  WARN(tally.calls << " calls in " << tally.messages << " messages of " << tally.tokens
                   << " tokens: all parse and validate; " << tally.cut << " messages cut");
}

TEST_CASE("A thousand sampled calls parse strictly and validate", "[sampled]") {
  Tally tally;
  SampleMessages(1000, 1, &tally);
  Report(tally);
  CHECK(tally.calls >= 1000);
  CHECK(tally.cut * 10 < tally.messages);
}

TEST_CASE("A hundred thousand sampled calls parse strictly and validate", "[.long]") {
  Tally tally;
  SampleMessages(100'000, 1'000'000, &tally);
  Report(tally);
  CHECK(tally.calls >= 100'000);
}

}  // namespace
}  // namespace baleen
