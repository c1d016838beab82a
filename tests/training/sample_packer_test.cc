// Packing loses no token, keeps samples apart, wastes little and goes on from its state.
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <memory>

#include "model/training/mixed_source.h"
#include "model/training/sample_packer.h"
#include "model/training/source_registry.h"
#include "model/training/synthetic_source.h"

namespace baleen::training {
namespace {

// Given samples, over and over.
class ListSource : public SampleSource {
 public:
  explicit ListSource(std::vector<Sample> samples) : samples_(std::move(samples)) {}
  Result<Sample> Next() override { return samples_[position_++ % samples_.size()]; }
  uint64_t position() const override { return position_; }
  Status Seek(uint64_t position) override {
    position_ = position;
    return OkStatus();
  }
  std::string identity() const override { return "list"; }

 private:
  std::vector<Sample> samples_;
  uint64_t position_ = 0;
};

// `length` tokens that all are `id`, each of weight id / 100.
Sample Run(int32_t id, size_t length) {
  return {std::vector<int32_t>(length, id),
          std::vector<float>(length, static_cast<float>(id) / 100)};
}

PackerOptions Rows(int64_t rows, int64_t length, int64_t pool) {
  return {.rows = rows, .length = length, .vocab = 100, .pool = pool};
}

SyntheticSource Synthetic() {
  SyntheticOptions options;
  options.token_high = 100;
  return *SyntheticSource::Make(options);
}

TEST_CASE("TargetsAreTheNextTokensOfTheSameSample") {
  ListSource source({{{1, 2, 3}, {9, 0.5F, 1}}, {{4, 5}, {0, 2}}});
  SamplePacker packer(&source, Rows(1, 7, 2));
  const auto batch = packer.Next();
  REQUIRE(batch.ok());
  CHECK(batch->tokens == std::vector<int32_t>{1, 2, 3, 4, 5, 0, 0});
  CHECK(batch->targets == std::vector<int32_t>{2, 3, -1, 5, -1, -1, -1});
  CHECK(batch->weights == std::vector<float>{0.5F, 1, 0, 2, 0, 0, 0});
  CHECK(batch->document == std::vector<int32_t>{0, 0, 0, 1, 1, -1, -1});
  CHECK(batch->position[2] == 2);
  CHECK(batch->position[3] == 0);
}

TEST_CASE("TheOldestGoesFirstThenTheLongestThatFits") {
  ListSource source({Run(1, 4), Run(2, 3), Run(3, 5), Run(4, 6), Run(5, 2)});
  SamplePacker packer(&source, Rows(1, 10, 5));
  auto batch = packer.Next();
  REQUIRE(batch.ok());
  CHECK(batch->tokens == std::vector<int32_t>{1, 1, 1, 1, 4, 4, 4, 4, 4, 4});
  batch = packer.Next();  // 2, 3, 5 are left; 1 and 2 came again. The oldest is 2.
  REQUIRE(batch.ok());
  CHECK(batch->tokens == std::vector<int32_t>{2, 2, 2, 3, 3, 3, 3, 3, 5, 5});
}

TEST_CASE("NoSampleIsLostOrGivenTwice") {
  SyntheticSource source = Synthetic();
  SamplePacker packer(&source, Rows(4, 192, 30));
  std::map<std::vector<int32_t>, int> counts;
  int64_t padding = 0;
  int64_t total = 0;
  for (int step = 0; step < 20; ++step) {
    const auto batch = packer.Next();
    REQUIRE(batch.ok());
    for (size_t i = 0; i < batch->tokens.size(); ++i) {
      ++total;
      padding += batch->document[i] < 0 ? 1 : 0;
      if (batch->document[i] < 0 || batch->position[i] != 0) continue;
      size_t end = i;
      while (end < batch->tokens.size() && batch->document[end] == batch->document[i] &&
             batch->position[end] == static_cast<int32_t>(end - i)) {
        ++end;
      }
      ++counts[{batch->tokens.begin() + static_cast<std::ptrdiff_t>(i),
                batch->tokens.begin() + static_cast<std::ptrdiff_t>(end)}];
    }
  }
  const PackerState state = packer.state();
  SyntheticSource again = Synthetic();
  for (uint64_t i = 0; i < state.next; ++i) --counts[again.Next()->tokens];
  for (uint64_t i : state.pool) {
    REQUIRE(again.Seek(i).ok());
    ++counts[again.Next()->tokens];
  }
  for (const auto& [tokens, count] : counts) CHECK(count == 0);
  INFO("padding " << padding << " of " << total);
  CHECK(padding * 20 < total);
}

TEST_CASE("ARestoredPackerGoesOnAlike") {
  SyntheticSource source = Synthetic();
  SamplePacker packer(&source, Rows(2, 192, 20));
  for (int i = 0; i < 5; ++i) REQUIRE(packer.Next().ok());
  const PackerState state = packer.state();
  SyntheticSource other = Synthetic();
  SamplePacker restored(&other, Rows(2, 192, 20));
  REQUIRE(restored.Restore(state).ok());
  for (int i = 0; i < 5; ++i) {
    const auto a = packer.Next();
    const auto b = restored.Next();
    REQUIRE((a.ok() && b.ok()));
    CHECK(a->tokens == b->tokens);
    CHECK(a->weights == b->weights);
  }
}

TEST_CASE("SamplesThatCannotBeAreRefused") {
  struct Case {
    Sample sample;
    const char* says;
  };
  const Case cases[] = {{{{1}, {1}}, "at least 2 tokens, got 1"},
                        {{{}, {}}, "at least 2 tokens, got 0"},
                        {{{1, 100}, {0, 1}}, "got 100 as token 1"},
                        {{{-1, 1}, {0, 1}}, "got -1 as token 0"},
                        {{{1, 2}, {1}}, "2 weights"},
                        {{{1, 2}, {0, -1}}, "as weight 1"},
                        {{{1, 2}, {0, NAN}}, "as weight 1"},
                        {Run(1, 9), "at most 8 tokens"}};
  for (const Case& c : cases) {
    ListSource source({Run(1, 4), c.sample});
    SamplePacker packer(&source, Rows(1, 8, 4));
    const Status status = packer.Next().status();
    INFO(status.ToString());
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(status.message().find("sample 1: ") != std::string::npos);
    CHECK(status.message().find(c.says) != std::string::npos);
  }
}

TEST_CASE("LongSamplesAreSkippedIfAskedFor") {
  PackerOptions options = Rows(1, 8, 4);
  options.long_samples = LongSamples::kSkip;
  ListSource source({Run(1, 9), Run(2, 8)});
  SamplePacker packer(&source, options);
  auto batch = packer.Next();
  REQUIRE(batch.ok());
  CHECK(batch->tokens[0] == 2);
  ListSource endless({Run(1, 9)});
  SamplePacker stuck(&endless, options);
  CHECK(stuck.Next().status().code() == StatusCode::kInvalidArgument);
}

std::unique_ptr<SampleSource> Mixture(uint64_t seed) {
  const std::vector<SourceSpec> specs = {{"synthetic", 3, R"({"token_high": 50})"},
                                         {"synthetic", 1, R"({"token_low": 50})"}};
  auto source = OpenSources(specs, {".", seed, 100});
  REQUIRE(source.ok());
  return std::move(source).value();
}

TEST_CASE("AMixtureKeepsItsSharesAndSeeks") {
  const auto source = Mixture(1);
  std::vector<Sample> samples;
  int low = 0;
  for (int i = 0; i < 1000; ++i) {
    samples.push_back(*source->Next());
    low += samples.back().tokens[0] < 50 ? 1 : 0;
  }
  CHECK(low > 700);  // 750 expected, deviation 14.
  CHECK(low < 800);
  for (uint64_t position : {700, 10, 11, 999, 0}) {
    REQUIRE(source->Seek(position).ok());
    CHECK(source->Next()->tokens == samples[position].tokens);
  }
  CHECK(Mixture(2)->Next()->tokens != samples[0].tokens);
}

TEST_CASE("UnknownSourcesAndFieldsAreRefused") {
  const SourceSetting setting{".", 1, 100};
  const auto message = [&](const SourceSpec& spec) {
    return OpenSources({spec}, setting).status().message();
  };
  CHECK(message({"magic", 1, "{}"}).find("one of synthetic, jsonl") != std::string::npos);
  CHECK(message({"synthetic", 1, R"({"repeat": 1})"}).find("repeat: expected one of the fields") !=
        std::string::npos);
  CHECK(message({"synthetic", 1, R"({"token_high": 101})"}).find("0 to 100") != std::string::npos);
  CHECK(message({"jsonl", 1, "{}"}).find("path: expected a value") != std::string::npos);
}

}  // namespace
}  // namespace baleen::training
