// Requests of the C API: what is misspelt, missing or of another type is named, never ignored.
#include "runtime/c/json_request.h"

#include <catch2/catch.hpp>

namespace baleen::c {
namespace {

std::string Refusal(const char* text) {
  JsonRequest fields(text, "some_verb");
  std::string session;
  int64_t count = 0;
  bool deep = false;
  std::vector<std::string> tools;
  fields.Need("session", &session);
  fields.Get("count", &count);
  fields.Get("deep", &deep);
  fields.Get("tools", &tools);
  const Status status = fields.Finish();
  if (status.ok()) return "";
  CHECK(status.code() == StatusCode::kInvalidArgument);
  CHECK(status.reason() == "BAD_FIELD");
  return status.message();
}

TEST_CASE("Requests are read strictly", "[c]") {
  CHECK(Refusal(R"({"session":"s","count":3,"deep":true,"tools":["a","b"]})").empty());
  CHECK(Refusal(R"({"session":"s"})").empty());
  for (const auto& [text, words] :
       {std::pair<const char*, const char*>{R"({"session":"s","cuont":3})",
                                            "unknown member \"cuont\"; known: count, deep"},
        {R"({"session":"s","count":"3"})", "\"count\": expected an integer, got \"3\""},
        {R"({"session":"s","count":1.5})", "expected an integer"},
        {R"({"session":"s","count":18446744073709551615})", "expected an integer"},
        {R"({"session":"s","deep":1})", "expected true or false"},
        {R"({"session":"s","tools":["a",2]})", "expected an array of texts"},
        {R"({"session":7})", "\"session\": expected a text"},
        {R"({"session":""})", "\"session\" is missing or empty"},
        {R"([1])", "JSON object"},
        {R"({"session":)", "JSON object"},
        {"{\"session\":\"\xff\"}", "JSON object"},
        {"", "\"session\" is missing"},
        {nullptr, "\"session\" is missing"}}) {
    INFO((text == nullptr ? "null" : text));
    CHECK_THAT(Refusal(text), Catch::StartsWith("some_verb: ") && Catch::Contains(words));
  }
}

}  // namespace
}  // namespace baleen::c
