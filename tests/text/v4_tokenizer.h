// The V4 tokenizer and the vectors that the text tests share. Loaded once per test program.
#pragma once

#include <catch2/catch.hpp>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "model/text/tokenizer.h"
#include "tests/testing/test_paths.h"

namespace baleen {

inline std::string ReadTestFile(const std::string& name) {
  std::ifstream file(std::string(kTestData) + "/" + name, std::ios::binary);
  INFO(name);
  REQUIRE(file.good());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline const Tokenizer& V4Tokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    auto loaded = Tokenizer::Load(std::string(kTestData) + "/tokenizer/tokenizer.json");
    INFO(loaded.status().ToString());
    REQUIRE(loaded.ok());
    return std::move(loaded).value();
  }();
  return *tokenizer;
}

}  // namespace baleen
