#include "model/constraint/token_constraint.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "model/sampler.h"
#include "tests/constraint/small_vocabulary.h"

namespace baleen {
namespace {

ChatShape RichShape(ThinkingMode mode = ThinkingMode::kChat) {
  ChatShape shape;
  shape.thinking = mode;
  shape.tools = {MakeTool("read", R"({"type":"object","properties":{
      "path":{"type":"string","minLength":2,"maxLength":12},
      "lines":{"type":"array","items":{"type":"integer","minimum":-5,"maximum":1200},"maxItems":3},
      "mode":{"enum":["raw","rich",1,null]},"deep":{"type":"object","properties":
      {"x":{"type":"number"},"y":{"anyOf":[{"type":"null"},{"type":"string","maxLength":4}]}},
      "required":["y"]},"map":{"type":"object"}},"required":["path","lines"]})"),
                 MakeTool("now", R"({"type":"object","properties":{}})")};
  return shape;
}

/// Draws uniformly among the allowed tokens.
int32_t Draw(const TokenMask& mask, std::mt19937_64& random) {
  auto left = static_cast<int64_t>(random() % static_cast<uint64_t>(mask.count()));
  int32_t drawn = -1;
  mask.ForEach([&](int32_t id) {
    if (left-- == 0) drawn = id;
  });
  return drawn;
}

TEST_CASE("The mask is what trying every token says", "[mask]") {
  const Vocabulary& vocabulary = SmallVocabulary();
  for (const ToolChoice choice : {ToolChoice::kAuto, ToolChoice::kRequired}) {
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      INFO("seed " << seed);
      std::mt19937_64 random(seed);
      ChatShape shape = RichShape(seed == 3 ? ThinkingMode::kThinking : ThinkingMode::kChat);
      shape.choice = choice;
      const ConstraintParts parts = MakeParts(shape);
      TokenConstraint constraint(parts);
      std::vector<int32_t> drawn;
      for (int step = 0; step < 60 && !constraint.Complete(); ++step) {
        const TokenMask mask = constraint.Mask();
        REQUIRE(mask.count() > 0);
        // A fresh one per token: nothing remembered, nothing shared.
        for (int32_t id = step % 149; id < vocabulary.trie->vocab(); id += 149) {
          TokenConstraint fresh(parts);
          for (const int32_t earlier : drawn) REQUIRE(fresh.Accept(earlier));
          INFO("step " << step << " id " << id);
          REQUIRE(fresh.Accept(id) == mask.Allows(id));
        }
        drawn.push_back(Draw(mask, random));
        REQUIRE(constraint.Accept(drawn.back()));
      }
    }
  }
}

TEST_CASE("Accepting the same tokens again gives the same masks from there on", "[mask]") {
  const ChatShape shape = RichShape(ThinkingMode::kThinking);
  std::mt19937_64 random(9);
  TokenConstraint whole = MakeConstraint(shape, /*thinking_tokens=*/6);
  std::vector<int32_t> drawn;
  for (int step = 0; step < 150 && !whole.Complete(); ++step) {
    const TokenMask expected = whole.Mask();
    if (step % 10 == 3) {
      TokenConstraint resumed = MakeConstraint(shape, 6);
      for (const int32_t id : drawn) REQUIRE(resumed.Accept(id));
      INFO("step " << step);
      REQUIRE(resumed.Mask() == expected);
    }
    drawn.push_back(Draw(expected, random));
    REQUIRE(whole.Accept(drawn.back()));
  }
  CHECK(drawn.size() > 20);
}

TEST_CASE("Control tokens that no message contains are never allowed", "[mask]") {
  const Vocabulary& vocabulary = SmallVocabulary();
  for (const ThinkingMode mode : {ThinkingMode::kChat, ThinkingMode::kThinking}) {
    TokenConstraint constraint = MakeConstraint(RichShape(mode));
    const TokenMask mask = constraint.Mask();
    for (const int32_t id : {vocabulary.ids.bos, vocabulary.ids.user, vocabulary.ids.assistant,
                             vocabulary.ids.think_open, vocabulary.ids.latest_reminder, 2}) {
      INFO(id);
      CHECK_FALSE(mask.Allows(id));
    }
    const bool thinking = mode == ThinkingMode::kThinking;
    CHECK(mask.Allows(vocabulary.ids.eos) != thinking);
    CHECK(mask.Allows(vocabulary.ids.think_close) == thinking);
    CHECK_FALSE(mask.Allows(vocabulary.ids.dsml));
    CHECK_FALSE(constraint.Accept(vocabulary.ids.user));
    CHECK(constraint.Mask() == mask);  // a refused token changes nothing
  }
}

TEST_CASE("A mask has a bit for each logit, whatever ids the tokenizer has beyond them", "[mask]") {
  const Vocabulary& vocabulary = SmallVocabulary();
  const int64_t all = vocabulary.tokenizer->vocab();
  ConstraintParts parts = MakeParts(RichShape());
  for (const int64_t logits : {all, all + 77, int64_t{300}}) {
    const VocabularyTrie trie(*vocabulary.tokenizer, logits);
    parts.trie = &trie;
    TokenConstraint constraint(parts);
    const TokenMask mask = constraint.Mask();
    INFO(logits);
    int64_t counted = 0;
    mask.ForEach([&](int32_t id) { counted += id < std::min(logits, all) ? 1 : 1'000'000; });
    CHECK(counted == mask.count());
    CHECK(counted > 256 / 2);
    // And the sampler takes it for that many logits, the last of which outweighs the others.
    std::vector<float> row(static_cast<size_t>(logits), 0.0F);
    row.back() = 50;
    const int32_t drawn = SampleToken(row, SamplingOptions{}, 1, &mask);
    CHECK(mask.Allows(drawn));
  }
}

TEST_CASE("The thinking budget closes the reasoning, between characters", "[mask]") {
  const Vocabulary& vocabulary = SmallVocabulary();
  const auto byte = [&](uint8_t value) {
    for (int32_t id = 3; id < 259; ++id) {
      if (vocabulary.tokenizer->TokenBytes(id) == std::string(1, static_cast<char>(value)))
        return id;
    }
    return -1;
  };
  TokenConstraint constraint = MakeConstraint(RichShape(ThinkingMode::kThinking), 2);
  REQUIRE(constraint.Mask().count() > 100);
  REQUIRE(constraint.Accept(byte('a')));
  REQUIRE(constraint.Accept(byte(0xC3)));
  // Two tokens are used up in the middle of a character: it is completed first.
  CHECK_FALSE(constraint.Mask().Allows(vocabulary.ids.think_close));
  CHECK(constraint.Mask().Allows(byte(0xA4)));
  CHECK_FALSE(constraint.Mask().Allows(byte('a')));
  REQUIRE(constraint.Accept(byte(0xA4)));
  CHECK(constraint.Mask().Allows(vocabulary.ids.think_close));
  CHECK(constraint.Mask().count() == 1);
  REQUIRE(constraint.Accept(vocabulary.ids.think_close));
  CHECK(constraint.Mask().count() > 100);
  // A budget of nothing closes at once.
  TokenConstraint none = MakeConstraint(RichShape(ThinkingMode::kThinking), 0);
  CHECK(none.Mask().count() == 1);
  CHECK(none.Mask().Allows(vocabulary.ids.think_close));
}

TEST_CASE("Long generations don't pile up states, and trimming changes no mask", "[mask]") {
  ChatShape shape;
  shape.choice = ToolChoice::kRequired;
  // Every length is a state of its own near the bound, and there are many of them.
  shape.tools = {OneParameter(
      R"({"type":"array","items":{"type":"string","minLength":90,"maxLength":100},"minItems":30,
          "maxItems":30})")};
  std::mt19937_64 random(4);
  TokenConstraint constraint = MakeConstraint(shape);
  std::vector<int32_t> drawn;
  while (!constraint.Complete()) {
    drawn.push_back(Draw(constraint.Mask(), random));
    REQUIRE(constraint.Accept(drawn.back()));
    REQUIRE(drawn.size() < 10'000);
    if (drawn.size() % 200 != 0) continue;
    TokenConstraint fresh = MakeConstraint(shape);
    for (const int32_t id : drawn) REQUIRE(fresh.Accept(id));
    REQUIRE(fresh.Mask() == constraint.Mask());
  }
}

}  // namespace
}  // namespace baleen
