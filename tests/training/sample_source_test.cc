// Sources give the same sample for the same position, refuse what can't be learnt from, and what
// they ask to be predicted can be.
#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "model/training/jsonl_source.h"
#include "model/training/synthetic_source.h"
#include "tests/testing/temp_directory.h"

namespace baleen::training {
namespace {

SyntheticOptions Options() {
  SyntheticOptions options;
  options.seed = 7;
  options.token_low = 16;
  options.token_high = 512;
  return options;
}

TEST_CASE("SyntheticSamplesDependOnSeedAndPositionAlone") {
  auto source = SyntheticSource::Make(Options());
  REQUIRE(source.ok());
  std::vector<Sample> first;
  for (int i = 0; i < 50; ++i) {
    auto sample = source->Next();
    REQUIRE(sample.ok());
    REQUIRE(sample->tokens.size() == sample->weights.size());
    for (int32_t token : sample->tokens) REQUIRE((token >= 16 && token < 512));
    first.push_back(*sample);
  }
  CHECK(source->position() == 50);
  REQUIRE(source->Seek(31).ok());
  auto again = source->Next();
  REQUIRE(again.ok());
  CHECK(again->tokens == first[31].tokens);
  CHECK(again->weights == first[31].weights);

  SyntheticOptions other = Options();
  other.seed = 8;
  auto different = SyntheticSource::Make(other);
  CHECK(different->Next()->tokens != first[0].tokens);
  CHECK(different->identity() != source->identity());
}

TEST_CASE("EverySyntheticTokenToPredictOccurredBefore") {
  auto source = SyntheticSource::Make(Options());
  int64_t predicted = 0;
  for (int i = 0; i < 400; ++i) {
    auto sample = source->Next();
    REQUIRE(sample.ok());
    std::set<int32_t> seen;
    for (size_t t = 0; t < sample->tokens.size(); ++t) {
      if (sample->weights[t] > 0) {
        CHECK(seen.count(sample->tokens[t]) == 1);
        ++predicted;
      }
      seen.insert(sample->tokens[t]);
    }
  }
  CHECK(predicted > 400 * 4);
}

TEST_CASE("RepeatSampleRepeats") {
  const Sample sample = RepeatSample(Options(), 3, 40);
  REQUIRE(sample.tokens.size() == 80);
  for (size_t i = 0; i < 40; ++i) {
    CHECK(sample.tokens[i] == sample.tokens[i + 40]);
    CHECK(sample.weights[i] == 0);
    CHECK(sample.weights[i + 40] == (i == 0 ? 0.0F : 1.0F));
  }
}

TEST_CASE("SyntheticOptionsThatCannotBeAreRefused") {
  SyntheticOptions options = Options();
  options.token_high = 20;
  CHECK(SyntheticSource::Make(options).status().code() == StatusCode::kInvalidArgument);
  options = Options();
  options.repeats = -1;
  CHECK(SyntheticSource::Make(options).status().code() == StatusCode::kInvalidArgument);
  options.repeats = options.short_repeats = options.key_values = options.copies = 0;
  CHECK(SyntheticSource::Make(options).status().code() == StatusCode::kInvalidArgument);
}

JsonlOptions FileOptions(const TempDirectory& folder, bool shuffle) {
  JsonlOptions options;
  options.path = folder.File("samples.jsonl");
  options.vocab = 100;
  options.tokens_max = 8;
  options.shuffle = shuffle;
  return options;
}

TEST_CASE("JsonlLinesComeInOrderAndStartOver") {
  const TempDirectory folder;
  folder.Write("samples.jsonl",
               "{\"tokens\":[1,2,3],\"weights\":[0,0.5,1]}\n\n{\"tokens\":[4,99]}\r\n"
               "{\"tokens\":[5,6]}");
  auto source = OpenJsonlSource(FileOptions(folder, false));
  REQUIRE(source.ok());
  auto sample = (*source)->Next();
  REQUIRE(sample.ok());
  CHECK(sample->tokens == std::vector<int32_t>{1, 2, 3});
  CHECK(sample->weights == std::vector<float>{0, 0.5F, 1});
  sample = (*source)->Next();
  CHECK(sample->tokens == std::vector<int32_t>{4, 99});
  CHECK(sample->weights == std::vector<float>{0, 1});
  REQUIRE((*source)->Next().ok());
  CHECK((*source)->Next()->tokens == std::vector<int32_t>{1, 2, 3});
  CHECK((*source)->position() == 4);
}

TEST_CASE("ShuffledJsonlGivesEachLineOnceARoundAndSeeks") {
  const TempDirectory folder;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "{\"tokens\":[" + std::to_string(i) + ",50]}\n";
  folder.Write("samples.jsonl", text);
  auto source = OpenJsonlSource(FileOptions(folder, true));
  REQUIRE(source.ok());
  std::vector<int32_t> rounds[2];
  for (auto& round : rounds) {
    for (int i = 0; i < 20; ++i) round.push_back((*source)->Next()->tokens[0]);
    CHECK(std::set<int32_t>(round.begin(), round.end()).size() == 20);
  }
  CHECK(rounds[0] != rounds[1]);
  REQUIRE((*source)->Seek(27).ok());
  CHECK((*source)->Next()->tokens[0] == rounds[1][7]);
}

TEST_CASE("JsonlIdentityFollowsTheContent") {
  const TempDirectory folder;
  folder.Write("samples.jsonl", "{\"tokens\":[1,2]}\n");
  const std::string before = (*OpenJsonlSource(FileOptions(folder, false)))->identity();
  folder.Write("samples.jsonl", "{\"tokens\":[1,3]}\n");
  CHECK((*OpenJsonlSource(FileOptions(folder, false)))->identity() != before);
}

TEST_CASE("JsonlLinesThatCannotBeLearntAreRefusedByNumber") {
  struct Case {
    const char* line;
    const char* says;
  };
  const Case cases[] = {
      {"nonsense", "text that is not JSON"},
      {"[1,2]", "an object with \"tokens\""},
      {"{\"tokens\":[]}", "0 ids"},
      {"{\"tokens\":[1]}", "1 ids"},
      {"{\"tokens\":[1,2,3,4,5,6,7,8,9]}", "9 ids"},
      {"{\"tokens\":[1,100]}", "100 as token 1"},
      {"{\"tokens\":[1,-1]}", "-1 as token 1"},
      {"{\"tokens\":[1,18446744073709551615]}", "as token 1"},
      {"{\"tokens\":[1,2.5]}", "2.5 as token 1"},
      {"{\"tokens\":[1,[[[[2]]]]]}", "as token 1"},
      {"{\"tokens\":\"1\"}", "\"1\""},
      {"{\"tokens\":[1,2],\"weights\":[1]}", "1 numbers"},
      {"{\"tokens\":[1,2],\"weights\":[1,-1]}", "-1 as weight 1"},
      {"{\"tokens\":[1,2],\"weights\":[1,1e300]}", "as weight 1"},
      {"{\"tokens\":[1,2],\"weight\":[1,1]}", "\"weight\""},
  };
  const TempDirectory folder;
  for (const Case& c : cases) {
    folder.Write("samples.jsonl", std::string("{\"tokens\":[1,2]}\n") + c.line + "\n");
    auto source = OpenJsonlSource(FileOptions(folder, true));
    INFO(c.line << " -> " << source.status().ToString());
    CHECK(source.status().code() == StatusCode::kInvalidArgument);
    CHECK(source.status().message().find("line 2") != std::string::npos);
    CHECK(source.status().message().find(c.says) != std::string::npos);
  }
  folder.Write("samples.jsonl", "\n\n");
  CHECK(OpenJsonlSource(FileOptions(folder, true)).status().code() == StatusCode::kInvalidArgument);
  JsonlOptions missing = FileOptions(folder, true);
  missing.path = folder.File("none");
  CHECK(OpenJsonlSource(missing).status().code() == StatusCode::kNotFound);
}

}  // namespace
}  // namespace baleen::training
