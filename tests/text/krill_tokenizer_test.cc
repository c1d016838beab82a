// Krill's tokenizer: the same kind as DeepSeek-V4's, small, with whole pieces that ignore merges.
#include <catch2/catch.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "model/text/chat_encoder.h"
#include "tests/testing/test_paths.h"
#include "tests/text/v4_tokenizer.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

const Tokenizer& KrillTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    auto loaded = Tokenizer::Load(std::string(kSourceDir) + "/model/krill/tokenizer.json");
    INFO(loaded.status().ToString());
    REQUIRE(loaded.ok());
    return std::move(loaded).value();
  }();
  return *tokenizer;
}

std::vector<int32_t> Ids(std::string_view text, TextTrust trust = TextTrust::kTrusted) {
  auto ids = KrillTokenizer().Encode(text, trust);
  INFO(ids.status().ToString());
  REQUIRE(ids.ok());
  return *ids;
}

TEST_CASE("Krill's ids equal those of Hugging Face tokenizers", "[krill][tokenizer]") {
  std::istringstream lines(ReadTestFile("tokenizer/krill_gold.jsonl"));
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    const Json vector = Json::parse(line);
    const auto text = vector["t"].get<std::string>();
    INFO("text: " << text);
    CHECK(Ids(text) == vector["ids"].get<std::vector<int32_t>>());
    ++count;
  }
  CHECK(count == 125);
}

TEST_CASE("Krill's vocabulary has every control token and fills 2,048 ids", "[krill][tokenizer]") {
  CHECK(KrillTokenizer().vocab() == 2048);
  const auto control = ControlIds::Lookup(KrillTokenizer());
  REQUIRE(control.ok());
  CHECK(control->bos == 0);
  CHECK(control->eos == 1);
  for (const char* task : {"<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>",
                           "<｜title｜>", "<｜read_url｜>"}) {
    CHECK(KrillTokenizer().AddedTokenId(task).has_value());
  }
}

TEST_CASE("A value has the same tokens wherever it stands, and digits are single",
          "[krill][tokenizer]") {
  for (const std::string value : {"Zobrux", "klomtaid", "veasnd"}) {
    const std::vector<int32_t> alone = Ids("/" + value);
    for (const std::string before : {"\"", "_", " ", "(", "-", "."}) {
      const std::vector<int32_t> ids = Ids(before + value);
      INFO(before << value);
      REQUIRE(ids.size() == alone.size());
      CHECK(std::equal(alone.begin() + 1, alone.end(), ids.begin() + 1));
    }
  }
  CHECK(Ids("20481").size() == 5);
}

TEST_CASE("Krill's tokenizer gives back any text", "[krill][tokenizer]") {
  constexpr unsigned kSeed = 20261;
  INFO("seed " << kSeed);
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (unsigned length = random() % 60; length > 0; --length) {
      const uint32_t kind = random() % 4;
      uint32_t point = kind < 2    ? random() % 0x80
                       : kind == 2 ? random() % 0x3000
                                   : random() % 0x110000;
      if (point >= 0xD800 && point < 0xE000) point = 0x20;
      if (point < 0x80) {
        text += static_cast<char>(point);
      } else if (point < 0x800) {
        text += {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F))};
      } else if (point < 0x10000) {
        text +=
            {static_cast<char>(0xE0 | point >> 12), static_cast<char>(0x80 | ((point >> 6) & 0x3F)),
             static_cast<char>(0x80 | (point & 0x3F))};
      } else {
        text += {static_cast<char>(0xF0 | point >> 18),
                 static_cast<char>(0x80 | ((point >> 12) & 0x3F)),
                 static_cast<char>(0x80 | ((point >> 6) & 0x3F)),
                 static_cast<char>(0x80 | (point & 0x3F))};
      }
    }
    const std::vector<int32_t> ids = Ids(text, TextTrust::kData);
    CHECK(KrillTokenizer().Decode(ids).value() == text);
    // Text of users can't become a control token.
    for (const int32_t id : ids) CHECK_FALSE(KrillTokenizer().IsAddedToken(id));
  }
}

TEST_CASE("A piece that is a token stays whole only if the file ignores merges",
          "[krill][tokenizer]") {
  const std::string path = std::string(kSourceDir) + "/model/krill/tokenizer.json";
  std::ifstream file(path, std::ios::binary);
  Json json = Json::parse(file);
  CHECK(Ids(" the").size() == 1);
  json["model"]["ignore_merges"] = false;
  const auto merged = Tokenizer::FromJson(json.dump());
  REQUIRE(merged.ok());
  CHECK((*merged)->Encode(" the", TextTrust::kData)->size() > 1);
  CHECK((*merged)->digest() != KrillTokenizer().digest());
  json["model"]["ignore_merges"] = "yes";
  CHECK_FALSE(Tokenizer::FromJson(json.dump()).ok());
}

}  // namespace
}  // namespace baleen
