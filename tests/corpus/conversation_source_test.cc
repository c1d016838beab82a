// The stream of samples: reproducible, seekable, bounded; and what it refuses.
#include "model/training/corpus/conversation_source.h"

#include <chrono>
#include <fstream>
#include <set>

#include "model/training/source_registry.h"
#include "tests/corpus/krill_source.h"
#include "tests/testing/temp_directory.h"

namespace baleen::training {
namespace {

TEST_CASE("A sample depends on seed and position alone", "[corpus]") {
  const auto source = OpenSource(KrillOptions(Split::kTrain, 768, 9));
  std::vector<Sample> samples;
  for (int i = 0; i < 40; ++i) samples.push_back(source->Next().value());
  CHECK(source->position() == 40);
  const auto again = OpenSource(KrillOptions(Split::kTrain, 768, 9));
  CHECK(again->identity() == source->identity());
  for (const uint64_t at : {39, 0, 17, 18}) {
    REQUIRE(again->Seek(at).ok());
    const Sample sample = again->Next().value();
    CHECK(sample.tokens == samples[at].tokens);
    CHECK(sample.weights == samples[at].weights);
  }
  const auto other = OpenSource(KrillOptions(Split::kTrain, 768, 10));
  CHECK(other->identity() != source->identity());
  int same = 0;
  for (int i = 0; i < 40; ++i)
    same += other->Next()->tokens == samples[static_cast<size_t>(i)].tokens ? 1 : 0;
  CHECK(same == 0);
}

TEST_CASE("No sample is longer than asked, and all ids are in the vocabulary", "[corpus]") {
  for (const int64_t tokens_max : {64, 128, 256, 512, 1024, 4096}) {
    const auto source = OpenSource(KrillOptions(Split::kTrain, tokens_max, 12));
    int64_t longest = 0;
    for (int i = 0; i < 150; ++i) {
      EncodedConversation encoded;
      const auto conversation = source->NextConversation(&encoded);
      INFO(conversation.status().ToString());
      REQUIRE(conversation.ok());
      INFO(conversation->task << " " << i);
      const Sample* sample = &encoded.sample;
      REQUIRE(sample->weights.size() == sample->tokens.size());
      const auto size = static_cast<int64_t>(sample->tokens.size());
      CHECK(size <= tokens_max);
      CHECK(size >= 4);
      longest = std::max(longest, size);
      for (const int32_t id : sample->tokens) REQUIRE((id >= 0 && id < 2048));
    }
    CHECK(longest > tokens_max / 4);
  }
}

TEST_CASE("Shares choose the tasks", "[corpus]") {
  ConversationOptions options = KrillOptions(Split::kTrain, 1536, 5);
  options.shares = {{"chain", 3}, {"copy", 1}};
  const auto source = OpenSource(options);
  int chains = 0;
  for (int i = 0; i < 400; ++i) {
    EncodedConversation encoded;
    const auto conversation = source->NextConversation(&encoded);
    REQUIRE((conversation->task == "chain" || conversation->task == "copy"));
    chains += conversation->task == "chain" ? 1 : 0;
  }
  CHECK(chains > 255);  // 300 expected, deviation 8.7: five of them
  CHECK(chains < 345);
}

TEST_CASE("Texts fall into splits by paragraph", "[corpus]") {
  std::set<std::string> seen[2];
  for (const Split split : {Split::kTrain, Split::kEvaluation}) {
    ConversationOptions options = KrillOptions(split, 1024, 5);
    options.shares = {{"text", 1}};
    const auto source = OpenSource(options);
    for (int i = 0; i < 200; ++i) {
      EncodedConversation encoded;
      const auto conversation = source->NextConversation(&encoded);
      if (conversation->task == "text") {
        seen[split == Split::kTrain ? 0 : 1].insert(conversation->exchanges[0].reply.content);
      }
    }
  }
  CHECK(seen[0].size() > 10);
  CHECK(!seen[1].empty());
  for (const std::string& text : seen[0]) CHECK(!seen[1].contains(text));
}

TEST_CASE("Options that cannot be are refused by name", "[corpus]") {
  const auto refusal = [](const ConversationOptions& options) {
    const auto source = ConversationSource::Open(options);
    REQUIRE_FALSE(source.ok());
    return source.status().message();
  };
  ConversationOptions options = KrillOptions(Split::kTrain, 1024, 1);
  options.tokens_max = 3;
  CHECK_THAT(refusal(options), Catch::Contains("tokens_max"));
  options = KrillOptions(Split::kTrain, 1024, 1);
  options.shares = {{"nonsense", 1}};
  CHECK_THAT(refusal(options), Catch::Contains("nonsense") && Catch::Contains("tools, pick"));
  options.shares = {{"copy", -1}};
  CHECK_THAT(refusal(options), Catch::Contains("copy"));
  options.shares = {{"workspace", 1}};
  options.tokens_max = 256;
  CHECK_THAT(refusal(options), Catch::Contains("256"));
  options = KrillOptions(Split::kTrain, 1024, 1);
  options.texts = {"/nowhere/at/all"};
  CHECK_THAT(refusal(options), Catch::Contains("/nowhere/at/all"));
  options.texts.clear();
  options.tokenizer = "/nowhere/tokenizer.json";
  CHECK_THAT(refusal(options), Catch::Contains("/nowhere/tokenizer.json"));
}

TEST_CASE("A training config opens conversations by kind", "[corpus]") {
  const SourceSetting setting{std::string(kSourceDir) + "/model", 7, 2048};
  const auto open = [&](const std::string& options, int64_t vocab) {
    SourceSetting own = setting;
    own.vocab = vocab;
    return OpenSources({{"conversations", 1, options}}, own);
  };
  const std::string tokenizer = R"("tokenizer": "krill/tokenizer.json")";
  const auto source = open("{" + tokenizer + R"(, "tokens_max": 300, "shares": {"copy": 2},
                                              "texts": ["README.md"]})",
                           2048);
  INFO(source.status().ToString());
  REQUIRE(source.ok());
  CHECK((*source)->Next().ok());
  CHECK_THAT((*source)->identity(), Catch::Contains("copy=2"));
  const auto refusal = [&](const std::string& options, int64_t vocab = 2048) {
    const auto refused = open(options, vocab);
    REQUIRE_FALSE(refused.ok());
    return refused.status().message();
  };
  CHECK_THAT(refusal("{}"), Catch::Contains("tokenizer"));
  CHECK_THAT(refusal("{" + tokenizer + "}", 2000), Catch::Contains("2048"));
  // Nobody trains on what is asked.
  CHECK_THAT(refusal("{" + tokenizer + R"(, "split": "evaluation"})"), Catch::Contains("split"));
  CHECK_THAT(refusal("{" + tokenizer + R"(, "shares": {"copy": "much"}})"),
             Catch::Contains("shares.copy"));
  CHECK_THAT(refusal("{" + tokenizer + R"(, "texts": [1]})"), Catch::Contains("texts"));
}

// Shows one of each and how fast they come: build/release/bin/tests_corpus "[.show]"
TEST_CASE("Show", "[.show]") {
  for (const int64_t tokens_max : {256, 1024}) {
    const auto source = OpenSource(KrillOptions(Split::kTrain, tokens_max, 3));
    std::map<std::string, std::pair<int64_t, int64_t>> sizes;
    std::map<std::string, std::string> shown;
    const auto start = std::chrono::steady_clock::now();
    int64_t tokens = 0;
    for (int i = 0; i < 5000; ++i) {
      EncodedConversation encoded;
      const auto conversation = source->NextConversation(&encoded);
      const auto size = static_cast<int64_t>(encoded.sample.tokens.size());
      tokens += size;
      auto& [count, sum] = sizes[conversation->task];
      ++count;
      sum += size;
      if (tokens_max > 1000 && count == 2)
        shown[conversation->task] = KrillTokenizer().Decode(encoded.sample.tokens).value();
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const auto& [task, text] : shown) WARN(task << "\n" << text);
    for (const auto& [task, size] : sizes) {
      WARN(task << ": " << size.first << " samples, mean " << size.second / size.first
                << " tokens, " << 100 * size.second / tokens << " % of the tokens");
    }
    WARN(tokens_max << ": " << static_cast<int64_t>(static_cast<double>(tokens) / seconds)
                    << " tokens/s");
  }
}

}  // namespace
}  // namespace baleen::training
