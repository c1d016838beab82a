// Streams that real endpoints sent (tests/data/remote; origin and licence in each file).
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/testing/test_paths.h"

namespace baleen {

inline std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The body of a recording whose repeated parts are written once, as it went over the wire.
inline std::string RecordedStream(const std::string& name) {
  using Json = nlohmann::ordered_json;
  const Json file = Json::parse(ReadWhole(std::string(kTestData) + "/remote/" + name));
  std::string body;
  for (const Json& entry : file["chunks"]) {
    Json chunk = file["head"];
    Json choice = {{"index", 0}, {"delta", entry[0]}, {"logprobs", nullptr}};
    choice["finish_reason"] = entry.size() > 1 ? entry[1] : Json();
    chunk["choices"] = Json::array({choice});
    chunk["usage"] = entry.size() > 2 ? entry[2] : Json();
    body += "data: " + chunk.dump() + "\n\n";
  }
  return body + "data: [DONE]\n\n";
}

/// A stream of our own: one chunk per text.
inline std::string TextStream(const std::vector<std::string>& texts,
                              const std::string& finish = "stop") {
  using Json = nlohmann::ordered_json;
  std::string body;
  for (const std::string& text : texts) {
    body += "data: " + Json{{"choices", {{{"index", 0}, {"delta", {{"content", text}}}}}}}.dump() +
            "\n\n";
  }
  body += "data: " +
          Json{{"choices", {{{"index", 0}, {"delta", Json::object()}, {"finish_reason", finish}}}}}
              .dump() +
          "\n\n";
  return body + "data: [DONE]\n\n";
}

}  // namespace baleen
