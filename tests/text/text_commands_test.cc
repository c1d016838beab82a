#include "runtime/cli/text_commands.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/testing/temp_directory.h"
#include "tests/testing/test_paths.h"
#include "tests/text/v4_tokenizer.h"

namespace baleen::cli {
namespace {

using Json = nlohmann::ordered_json;

const std::string kTokenizer = std::string(kTestData) + "/tokenizer/tokenizer.json";

struct Answer {
  int code = -1;
  std::string out;
  std::string err;
};

template <typename Args>
Answer Run(int (*verb)(const Args&, std::istream&, std::ostream&, std::ostream&), const Args& args,
           const std::string& input) {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  Answer answer;
  answer.code = verb(args, in, out, err);
  answer.out = out.str();
  answer.err = err.str();
  return answer;
}

TEST_CASE("tokenize and detokenize are inverse, line by line", "[cli]") {
  const std::string lines = "\"Hello\"\n\"<｜User｜>\\n\\u00e9\"\n\"\"\n";
  const Answer ids = Run(RunTokenize, {.tokenizer = kTokenizer, .jsonl = true}, lines);
  CHECK(ids.code == kExitOk);
  CHECK(ids.out == "[19923]\n[128803,201,619]\n[]\n");
  const Answer texts = Run(RunDetokenize, {.tokenizer = kTokenizer, .jsonl = true}, ids.out);
  CHECK(texts.code == kExitOk);
  CHECK(texts.out == "\"Hello\"\n\"<｜User｜>\\né\"\n\"\"\n");
  const Answer data = Run(RunTokenize, {kTokenizer, true, true}, "\"<think>\"\n");
  CHECK(Json::parse(data.out).size() > 1);
  CHECK(Run(RunTokenize, {.tokenizer = kTokenizer}, "Hello").out == "[19923]\n");
  CHECK(Run(RunDetokenize, {.tokenizer = kTokenizer}, "[19923]").out == "Hello");
}

TEST_CASE("A bad line is answered and the next one still runs", "[cli]") {
  const Answer ids =
      Run(RunTokenize, {.tokenizer = kTokenizer, .jsonl = true}, "5\nnonsense\n\"a\"\n");
  CHECK(ids.code == kExitFailed);
  std::istringstream lines(ids.out);
  std::string line;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(std::getline(lines, line));
    CHECK(Json::parse(line).contains("error"));
  }
  REQUIRE(std::getline(lines, line));
  CHECK(line == "[67]");
  const Answer texts = Run(RunDetokenize, {.tokenizer = kTokenizer, .jsonl = true},
                           "[129280]\n[-1]\n[1.5]\n[4294967297]\n[67]\n");
  CHECK(texts.code == kExitFailed);
  CHECK(texts.out.ends_with("\n\"a\"\n"));
  CHECK(Run(RunTokenize, {.tokenizer = "/nonexistent"}, "").code == kExitFailed);
}

TEST_CASE("render answers every recorded vector", "[cli]") {
  const std::string vectors = ReadTestFile("encoding/extra_v4_vectors.jsonl");
  for (const std::string dialect : {"preview", "0731"}) {
    const Answer answer =
        Run(RunRender, {kTokenizer, dialect, true}, vectors + "{\"messages\":[]}\n");
    CHECK(answer.code == kExitOk);
    std::istringstream inputs(vectors);
    std::istringstream outputs(answer.out);
    std::string input;
    std::string output;
    while (std::getline(inputs, input)) {
      REQUIRE(std::getline(outputs, output));
      const Json rendered = Json::parse(output);
      CHECK(rendered["text"] == Json::parse(input)["expected_" + dialect]);
      CHECK(V4Tokenizer().Decode(rendered["ids"].get<std::vector<int32_t>>()).value() ==
            rendered["text"].get<std::string>());
    }
    REQUIRE(std::getline(outputs, output));
    CHECK(Json::parse(output)["error"].get<std::string>().find("thinking_mode") !=
          std::string::npos);
  }
  CHECK(Run(RunRender, {kTokenizer, "v9", true}, "").code == kExitUsage);
}

TEST_CASE("parse --tolerant says what it mended and what it refused", "[cli]") {
  const TempDirectory temp;
  std::ofstream(temp.File("tools.json"))
      << R"([{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}])";
  ParseArgs args{"0731", "chat", false, true, temp.File("tools.json")};
  const std::string call =
      "<invoke name=\"f\"><parameter name=\"a\" string=\"false\">1</parameter></invoke>";
  Answer answer = Run(RunParse, args, "Well.\n\n" + call);
  CHECK(answer.code == kExitOk);
  Json parsed = Json::parse(answer.out);
  CHECK(parsed["message"]["tool_calls"][0]["function"]["arguments"] == R"({"a": 1})");
  CHECK(parsed["repairs"].size() == 1);
  args.jsonl = true;
  answer = Run(RunParse, args,
               Json{{"text", "<invoke name=\"g\"></invoke>"}, {"mode", "chat"}}.dump() + "\n");
  parsed = Json::parse(answer.out);
  CHECK(parsed["refused"].size() == 1);
  CHECK(parsed["cut"] == false);
  args.tools = temp.File("none.json");
  CHECK(Run(RunParse, args, "").code == kExitFailed);
}

TEST_CASE("parse answers every recorded vector", "[cli]") {
  const std::string vectors = ReadTestFile("encoding/parse_vectors.jsonl");
  const Answer answer = Run(RunParse, {"0731", "", true}, vectors + "{}\n");
  CHECK(answer.code == kExitOk);
  std::istringstream inputs(vectors);
  std::istringstream outputs(answer.out);
  std::string input;
  std::string output;
  while (std::getline(inputs, input)) {
    REQUIRE(std::getline(outputs, output));
    const Json vector = Json::parse(input);
    const Json parsed = Json::parse(output);
    INFO(vector["name"]);
    if (vector["ok"].get<bool>()) {
      CHECK(parsed["message"] == vector["result"]);
    } else {
      CHECK(parsed.contains("error"));
    }
  }
  REQUIRE(std::getline(outputs, output));
  CHECK(Json::parse(output).contains("error"));
  CHECK(Run(RunParse, {"0731", "sung", false}, "").code == kExitUsage);
  CHECK(Json::parse(
            Run(RunParse, {"0731", "chat", false}, "Hi<｜end▁of▁sentence｜>").out)["content"] ==
        "Hi");
}

}  // namespace
}  // namespace baleen::cli
