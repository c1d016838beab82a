// A tokenizer of the 256 bytes, the first merges of DeepSeek-V4's and the control tokens: small
// enough for thousands of generations, with tokens that span the borders of markup and JSON.
#pragma once

#include <catch2/catch.hpp>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "model/constraint/chat_grammar.h"
#include "model/constraint/token_constraint.h"
#include "model/text/tokenizer.h"
#include "tests/testing/test_paths.h"
#include "tools_sdk/schema.h"

namespace baleen {

inline std::unique_ptr<Tokenizer> MakeSmallTokenizer(size_t merges) {
  using Json =
      nlohmann::json;  // Not ordered_json, whose inserts into a large object are quadratic.
  std::ifstream file(std::string(kTestData) + "/tokenizer/tokenizer.json");
  Json json = Json::parse(file, nullptr, false);
  REQUIRE(json.is_object());
  Json& model = json["model"];
  Json kept = Json::object();
  for (const auto& [token, id] : model["vocab"].items()) {
    if (id.get<size_t>() < 259 + merges && id.get<size_t>() >= 3) kept[token] = id;
  }
  model["vocab"] = std::move(kept);
  Json& list = model["merges"];
  list.erase(list.begin() + static_cast<std::ptrdiff_t>(merges), list.end());
  Json added = Json::array();
  size_t next = 259 + merges;
  for (Json token : json["added_tokens"]) {
    const auto content = token["content"].get<std::string>();
    const size_t id = token["id"].get<size_t>();
    const bool wanted = content == "<｜User｜>" || content == "<｜Assistant｜>" ||
                        content == "<think>" || content == "</think>" || content == "｜DSML｜" ||
                        content == "<｜latest_reminder｜>";
    if (id >= 3 && !wanted) continue;
    if (id >= 3) token["id"] = next++;
    added.push_back(token);
  }
  json["added_tokens"] = std::move(added);
  auto tokenizer = Tokenizer::FromJson(json.dump());
  INFO(tokenizer.status().ToString());
  REQUIRE(tokenizer.ok());
  return std::move(tokenizer).value();
}

/// The tokenizer, its trie and its control ids. Made once per test program.
struct Vocabulary {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<VocabularyTrie> trie;
  ControlIds ids;
};

inline const Vocabulary& SmallVocabulary() {
  static const Vocabulary vocabulary = [] {
    Vocabulary made;
    made.tokenizer = MakeSmallTokenizer(1500);
    made.trie = std::make_unique<VocabularyTrie>(*made.tokenizer, made.tokenizer->vocab());
    auto ids = ControlIds::Lookup(*made.tokenizer);
    INFO(ids.status().ToString());
    REQUIRE(ids.ok());
    made.ids = *ids;
    return made;
  }();
  return vocabulary;
}

inline std::shared_ptr<const Grammar> MustCompile(const ChatShape& shape) {
  auto grammar = CompileChat(shape);
  INFO(grammar.status().ToString());
  REQUIRE(grammar.ok());
  return *grammar;
}

inline ConstraintParts MakeParts(const ChatShape& shape, int64_t thinking_tokens = -1) {
  const Vocabulary& vocabulary = SmallVocabulary();
  ConstraintParts parts;
  parts.grammar = MustCompile(shape);
  parts.tokenizer = vocabulary.tokenizer.get();
  parts.trie = vocabulary.trie.get();
  parts.ids = vocabulary.ids;
  parts.thinking = shape.thinking == ThinkingMode::kThinking;
  parts.thinking_tokens = thinking_tokens;
  return parts;
}

inline TokenConstraint MakeConstraint(const ChatShape& shape, int64_t thinking_tokens = -1) {
  return TokenConstraint(MakeParts(shape, thinking_tokens));
}

inline ToolSpec MakeTool(const std::string& name, const std::string& parameters) {
  ToolSpec tool;
  tool.name = name;
  tool.description = "d";
  tool.parameters = parameters;
  return tool;
}

/// A tool with one parameter "a" of this schema, required.
inline ToolSpec OneParameter(const std::string& schema) {
  return MakeTool("f",
                  R"({"type":"object","properties":{"a":)" + schema + R"(},"required":["a"]})");
}

}  // namespace baleen
