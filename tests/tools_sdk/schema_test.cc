#include "tools_sdk/schema.h"

#include <catch2/catch.hpp>

namespace baleen {
namespace {

std::string Verdict(const std::string& schema, const std::string& arguments) {
  const Result<Schema> parsed = Schema::Parse(schema);
  if (!parsed.ok()) return parsed.status().message();
  const Status status = parsed->Validate(arguments);
  return status.ok() ? "ok" : status.message();
}

constexpr const char* kSchema = R"({"type":"object","properties":{
  "path":{"type":"string","minLength":1,"maxLength":4},
  "n":{"type":"integer","minimum":1,"maximum":10},
  "x":{"type":["number","null"]},
  "mode":{"enum":["a","b",3]},
  "tags":{"type":"array","items":{"type":"string"}},
  "deep":{"type":"object","properties":{"y":{"type":"boolean"}},"required":["y"]}},
  "required":["path"],"additionalProperties":false})";

TEST_CASE("SchemaAcceptsWhatFits") {
  for (const char* arguments :
       {R"({"path":"p"})", R"({"path":"äöüß","n":10,"x":1.5,"mode":3})",
        R"({"path":"p","n":2.0,"x":null,"tags":[],"deep":{"y":true,"more":1}})"}) {
    INFO(arguments);
    CHECK(Verdict(kSchema, arguments) == "ok");
  }
}

TEST_CASE("SchemaNamesThePlaceOfTheFault") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({})", "arguments: 'path' is missing"},
      {R"([])", "arguments: expected object, got array []"},
      {R"({"path":1})", "arguments.path: expected string, got number 1"},
      {R"({"path":""})", "arguments.path: has 0 characters, expected 1 to 4"},
      {R"({"path":"abcde"})", "arguments.path: has 5 characters, expected 1 to 4"},
      {R"({"path":"p","n":0})", "arguments.n: 0 is less than 1.0"},
      {R"({"path":"p","n":11})", "arguments.n: 11 is more than 10.0"},
      {R"({"path":"p","n":1.5})", "arguments.n: expected integer, got number 1.5"},
      {R"({"path":"p","x":"s"})", "arguments.x: expected number or null, got string \"s\""},
      {R"({"path":"p","mode":"c"})", "arguments.mode: \"c\" is none of [\"a\",\"b\",3]"},
      {R"({"path":"p","tags":["t",2]})", "arguments.tags[1]: expected string, got number 2"},
      {R"({"path":"p","deep":{}})", "arguments.deep: 'y' is missing"},
      {R"({"path":"p","else":1})", "arguments: unknown member 'else'"},
      {R"({"path":)", "arguments: not JSON"}};
  for (const auto& [arguments, message] : cases) CHECK(Verdict(kSchema, arguments) == message);
}

TEST_CASE("SchemaRefusesWhatItDoesNotCheck") {
  const auto refused = [](const char* schema) { return Schema::Parse(schema).status().message(); };
  CHECK(refused(R"({"type":"object","properties":{"a":{"pattern":"x"}}})")
            .find("parameters.a: the keyword 'pattern'") == 0);
  CHECK(refused(R"({"type":"array"})").find("'type' must be \"object\"") != std::string::npos);
  CHECK(refused(R"({"type":"thing"})").find("unknown type \"thing\"") != std::string::npos);
  CHECK(refused(R"({"type":"object","required":"a"})").find("'required'") != std::string::npos);
  CHECK(refused("{").find("not JSON") != std::string::npos);
  std::string deep = R"({"type":"object","properties":{"a":)";
  for (int i = 0; i < 40; ++i) deep += R"({"items":)";
  deep += "{}" + std::string(40, '}') + "}}";
  CHECK(refused(deep.c_str()).find("nested too deeply") != std::string::npos);
}

TEST_CASE("FunctionObjectKeepsTheOrderOfMembers") {
  ToolSpec spec;
  spec.name = "t";
  spec.description = "D \"q\"";
  spec.parameters = R"({"type":"object","properties":{"z":{},"a":{}}})";
  CHECK(FunctionObjectJson(spec) ==
        R"({"name":"t","description":"D \"q\"",)"
        R"("parameters":{"type":"object","properties":{"z":{},"a":{}}}})");
}

}  // namespace
}  // namespace baleen
