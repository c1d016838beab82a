#include "model/text/tokenizer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "tests/text/v4_tokenizer.h"
#include "tools_sdk/utf8.h"

namespace baleen {
namespace {

using Json = nlohmann::json;

std::vector<int32_t> Ids(std::string_view text, TextTrust trust = TextTrust::kTrusted) {
  auto ids = V4Tokenizer().Encode(text, trust);
  INFO(ids.status().ToString());
  REQUIRE(ids.ok());
  return *ids;
}

TEST_CASE("Token ids equal those of Hugging Face tokenizers", "[tokenizer]") {
  std::istringstream lines(ReadTestFile("tokenizer/gold_extra.jsonl"));
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    const Json vector = Json::parse(line);
    const auto text = vector["t"].get<std::string>();
    INFO("text: " << text);
    CHECK(Ids(text) == vector["ids"].get<std::vector<int32_t>>());
    CHECK(V4Tokenizer().Decode(Ids(text)).value() == text);
    ++count;
  }
  CHECK(count == 116);
}

TEST_CASE("The pre-tokenizer cuts as the four patterns do", "[tokenizer]") {
  CHECK(Ids("  5") == std::vector<int32_t>{262, 23});
  CHECK(Ids("1234567").size() == 3);
  CHECK(Ids("<tool_result>") == std::vector<int32_t>{30, 72461, 46148, 32});
  CHECK(Ids("<｜DSML｜tool_calls>\n") ==
        std::vector<int32_t>{30, 128825, 72461, 4941, 12548, 1018});
  CHECK(Ids("Done.\n\n<｜DSML｜")[1] == 339);
  CHECK(Ids("").empty());
}

TEST_CASE("Every added token is one id, and only in trusted text", "[tokenizer]") {
  std::istringstream lines(ReadTestFile("tokenizer/v4_added_tokens.tsv"));
  std::string line;
  std::getline(lines, line);
  int count = 0;
  while (std::getline(lines, line)) {
    const size_t first = line.find('\t');
    const size_t second = line.find('\t', first + 1);
    const int32_t id = std::stoi(line.substr(0, first));
    const std::string literal = line.substr(first + 1, second - first - 1);
    INFO(literal);
    CHECK(V4Tokenizer().AddedTokenId(literal) == id);
    CHECK(V4Tokenizer().IsAddedToken(id));
    CHECK(V4Tokenizer().TokenBytes(id) == literal);
    CHECK(Ids("x" + literal + literal + "y") ==
          std::vector<int32_t>{Ids("x")[0], id, id, Ids("y")[0]});
    const std::vector<int32_t> data = Ids("x" + literal + "y", TextTrust::kData);
    for (const int32_t piece : data) CHECK_FALSE(V4Tokenizer().IsAddedToken(piece));
    CHECK(V4Tokenizer().Decode(data).value() == "x" + literal + "y");
    ++count;
  }
  CHECK(count == 1283);
}

TEST_CASE("Segments equal the whole trusted text, and data never names a token", "[tokenizer]") {
  using Kind = Segment::Kind;
  const auto encode = [](const std::vector<Segment>& segments) {
    auto ids = V4Tokenizer().EncodeSegments(segments);
    REQUIRE(ids.ok());
    return *ids;
  };
  // Runs are pre-tokenised as one: the blank line joins the sentence before it.
  CHECK(encode({{Kind::kData, 0, "Done."}, {Kind::kTrusted, 0, "\n\n<｜DSML｜x"}}) ==
        Ids("Done.\n\n<｜DSML｜x"));
  CHECK(encode({{Kind::kControl, 128803, ""}, {Kind::kData, 0, "Hi"}, {Kind::kControl, 1, ""}}) ==
        Ids("<｜User｜>Hi<｜end▁of▁sentence｜>"));
  // A literal that straddles the border isn't a token, whichever side is trusted.
  const auto straddling = {
      std::vector<Segment>{{Kind::kTrusted, 0, "<thi"}, {Kind::kData, 0, "nk>"}},
      {{Kind::kData, 0, "<thi"}, {Kind::kTrusted, 0, "nk>"}}};
  for (const auto& segments : straddling) {
    CHECK(encode(segments) == Ids("<think>", TextTrust::kData));
  }
  CHECK(encode({{Kind::kTrusted, 0, "<think>"}, {Kind::kData, 0, "<think>"}})[0] == 128821);
  CHECK(encode({{Kind::kTrusted, 0, "<think>"}, {Kind::kData, 0, "<think>"}}).size() ==
        1 + Ids("<think>", TextTrust::kData).size());
  const auto unknown = V4Tokenizer().EncodeSegments({{Kind::kControl, 129280, ""}});
  CHECK(unknown.status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("Invalid UTF-8 is refused with its offset", "[tokenizer]") {
  const std::pair<std::string, size_t> cases[] = {{"abc\xFF", 3},       {"\xC0\x80", 0},
                                                  {"a\xED\xA0\x80", 1}, {"ok\xF4\x90\x80\x80", 2},
                                                  {"caf\xC3", 3},       {"\xE4\xB8\xADx\x80", 4}};
  for (const auto& [text, offset] : cases) {
    const auto ids = V4Tokenizer().Encode(text, TextTrust::kData);
    REQUIRE(ids.status().code() == StatusCode::kInvalidArgument);
    CHECK(ids.status().message().find("at byte " + std::to_string(offset) + " ") !=
          std::string::npos);
  }
}

// Work, not time: the counters are the same on every machine. Linear growth doubles them; the
// margin covers how many candidates happen to be stale.
TEST_CASE("Merge work doubles when the text doubles", "[tokenizer]") {
  constexpr size_t kBytes = 1 << 20;
  constexpr double kGrowthMax = 2.3;
  std::mt19937 random(7);
  const auto repeat = [](std::string_view unit) {
    std::string text;
    while (text.size() + unit.size() <= kBytes) text += unit;
    return text;
  };
  constexpr std::string_view kBase64 =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string base64;
  for (size_t i = 0; i < kBytes; ++i) base64 += kBase64[random() % 64];
  std::string letters;
  for (size_t i = 0; i < kBytes; ++i) letters += kBase64[random() % 52];
  std::string cjk;
  while (cjk.size() + 3 <= kBytes) {
    char bytes[4];
    cjk.append(bytes, EncodeUtf8(0x4E00 + random() % 0x5000, bytes));
  }
  const std::pair<std::string, std::string> texts[] = {{"a", repeat("a")},
                                                       {"spaces", repeat(" ")},
                                                       {"base64", base64},
                                                       {"letters", letters},
                                                       {"cjk", cjk},
                                                       {"combining marks", repeat("\xCC\x81")},
                                                       {"equals signs", repeat("=")}};
  for (const auto& [name, text] : texts) {
    INFO(name);
    size_t half = text.size() / 2;
    while ((text[half] & 0xC0) == 0x80) --half;
    EncodeStats half_stats;
    EncodeStats whole_stats;
    REQUIRE(V4Tokenizer().Encode(text.substr(0, half), TextTrust::kData, &half_stats).ok());
    const auto ids = V4Tokenizer().Encode(text, TextTrust::kData, &whole_stats);
    REQUIRE(ids.ok());
    REQUIRE(half_stats.heap_pops > 0);
    CHECK(static_cast<double>(whole_stats.heap_pops) <=
          kGrowthMax * static_cast<double>(half_stats.heap_pops));
    // Each merge adds at most two candidates to the first n.
    CHECK(whole_stats.heap_pops <= 3 * text.size());
    CHECK(V4Tokenizer().Decode(*ids).value() == text);
  }
}

TEST_CASE("The detokenizer emits only whole characters", "[tokenizer]") {
  const std::string text = "e\xCC\x81 中文 😀 ½ <｜User｜>";
  const std::vector<int32_t> ids = Ids(text);
  StreamingDetokenizer stream(V4Tokenizer());
  std::string joined;
  for (const int32_t id : ids) {
    const std::string part = stream.Push(id);
    CHECK(Utf8ValidPrefix(part) == part.size());
    joined += part;
  }
  joined += stream.Finish();
  CHECK(joined == text);

  // Byte tokens: ids 3..258 are the 256 bytes; find those of a broken sequence.
  const auto byte_id = [](char byte) {
    for (int32_t id = 3; id < 259; ++id) {
      if (V4Tokenizer().TokenBytes(id) == std::string(1, byte)) return id;
    }
    return -1;
  };
  StreamingDetokenizer cut(V4Tokenizer());
  CHECK(cut.Push(byte_id('\xF0')).empty());
  CHECK(cut.Push(byte_id('\x9F')).empty());
  CHECK(cut.Push(byte_id('\x98')).empty());
  CHECK(cut.Finish() == kReplacementCharacter);
  CHECK(cut.Finish().empty());
  CHECK(cut.Push(byte_id('\xF0')).empty());
  CHECK(cut.Push(byte_id('A')) == std::string(kReplacementCharacter) + "A");
  const std::vector<int32_t> broken = {byte_id('\xE4'), byte_id('\xB8'), byte_id('\xFF')};
  CHECK(V4Tokenizer().Decode(broken).value() ==
        std::string(kReplacementCharacter) + std::string(kReplacementCharacter));
  CHECK(V4Tokenizer().Decode({129280}).status().code() == StatusCode::kInvalidArgument);
  CHECK(V4Tokenizer().Decode({-1}).status().code() == StatusCode::kInvalidArgument);
}

TEST_CASE("Streamed and whole decoding agree on any ids", "[tokenizer]") {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> ids(1 + random() % 20);
    for (int32_t& id : ids) {
      // Mostly single bytes: these make broken sequences.
      id = static_cast<int32_t>(random() % 3 == 0 ? 3 + random() % 127997 : 3 + random() % 256);
    }
    StreamingDetokenizer stream(V4Tokenizer());
    std::string joined;
    for (const int32_t id : ids) joined += stream.Push(id);
    joined += stream.Finish();
    REQUIRE(joined == V4Tokenizer().Decode(ids).value());
  }
}

TEST_CASE("A damaged V4 vocabulary is refused", "[tokenizer]") {
  std::string json = ReadTestFile("tokenizer/tokenizer.json");
  const auto swapped = [&](std::string_view from, std::string_view to) {
    std::string text = json;
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
  };
  const auto token = Tokenizer::FromJson(swapped("place▁holder▁no▁17｜", "place▁holder▁no▁x7｜"));
  CHECK(token.status().code() == StatusCode::kDataLoss);
  CHECK(token.status().message().find("c92251fc") != std::string::npos);
  const Json root = Json::parse(json);
  Json merges = root;
  std::swap(merges["model"]["merges"][0], merges["model"]["merges"][1]);
  const auto merge = Tokenizer::FromJson(merges.dump());
  CHECK(merge.status().code() == StatusCode::kDataLoss);
  CHECK(merge.status().message().find("8100a969") != std::string::npos);
}

Json SmallTokenizer() {
  Json root = Json::parse(ReadTestFile("tokenizer/tokenizer.json"));
  Json small = root;
  small["model"]["vocab"] = Json::object();
  for (const auto& [text, id] : root["model"]["vocab"].items()) {
    if (id >= 3 && id < 300) small["model"]["vocab"][text] = id;
  }
  small["model"]["merges"] = Json::array();
  for (int i = 0; i < 41; ++i) small["model"]["merges"].push_back(root["model"]["merges"][i]);
  small["added_tokens"] = Json::array({root["added_tokens"][0], root["added_tokens"][1]});
  return small;
}

TEST_CASE("A small tokenizer of the same kind loads, with merges as pairs too", "[tokenizer]") {
  Json small = SmallTokenizer();
  auto strings = Tokenizer::FromJson(small.dump());
  INFO(strings.status().ToString());
  REQUIRE(strings.ok());
  CHECK((*strings)->vocab() == 300);
  for (Json& merge : small["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const size_t space = text.find(' ');
    merge = Json::array({text.substr(0, space), text.substr(space + 1)});
  }
  auto pairs = Tokenizer::FromJson(small.dump());
  REQUIRE(pairs.ok());
  const std::string text = "the thing in the inn";
  CHECK((*pairs)->Encode(text, TextTrust::kData).value() ==
        (*strings)->Encode(text, TextTrust::kData).value());
  CHECK((*pairs)->digest() == (*strings)->digest());
  CHECK((*pairs)->digest().size() == 64);
  CHECK((*pairs)->digest() != V4Tokenizer().digest());
}

TEST_CASE("What isn't supported is refused by name", "[tokenizer]") {
  const Json good = SmallTokenizer();
  const auto refused = [&](std::string_view pointer, const Json& value, std::string_view named) {
    Json bad = good;
    bad[Json::json_pointer(std::string(pointer))] = value;
    const auto result = Tokenizer::FromJson(bad.dump());
    INFO(pointer << ": " << result.status().ToString());
    CHECK(result.status().code() == StatusCode::kInvalidArgument);
    CHECK(result.status().message().find(named) != std::string::npos);
  };
  refused("/model/type", "Unigram", "Unigram");
  refused("/normalizer", {{"type", "NFC"}}, "NFC");
  refused("/pre_tokenizer", {{"type", "Whitespace"}}, "Whitespace");
  refused("/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\p{N}", "Split");
  refused("/pre_tokenizer/pretokenizers/3/use_regex", true, "use_regex");
  refused("/post_processor", {{"type", "TemplateProcessing"}}, "TemplateProcessing");
  refused("/decoder", {{"type", "Metaspace"}}, "Metaspace");
  refused("/model/byte_fallback", true, "byte_fallback");
  refused("/model/dropout", 0.1, "dropout");
  refused("/added_tokens/0/lstrip", true, "lstrip");
  refused("/added_tokens/0/id", -1, "-1");
  refused("/added_tokens/0/id", 1ULL << 40, "1099511627776");
  refused("/model/merges/0", "a b c", "merge 0");
  refused("/model/merges/0", "zz yy", "zz");
  refused("/model/vocab/!", 4, "id 4 has two tokens");
  CHECK(Tokenizer::FromJson("{").status().code() == StatusCode::kInvalidArgument);
  CHECK(Tokenizer::FromJson("[1]").status().code() == StatusCode::kInvalidArgument);
  CHECK(Tokenizer::Load("/nonexistent/tokenizer.json").status().code() == StatusCode::kNotFound);
}

}  // namespace
}  // namespace baleen
