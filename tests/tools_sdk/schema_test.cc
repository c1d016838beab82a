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
      {R"({"path":"p","n":0})", "arguments.n: 0 is less than 1"},
      {R"({"path":"p","n":11})", "arguments.n: 11 is more than 10"},
      {R"({"path":"p","n":1.5})", "arguments.n: expected integer, got number 1.5"},
      {R"({"path":"p","x":"s"})", "arguments.x: expected number or null, got string \"s\""},
      {R"({"path":"p","mode":"c"})", "arguments.mode: \"c\" is none of [\"a\",\"b\",3]"},
      {R"({"path":"p","tags":["t",2]})", "arguments.tags[1]: expected string, got number 2"},
      {R"({"path":"p","deep":{}})", "arguments.deep: 'y' is missing"},
      {R"({"path":"p","else":1})", "arguments: unknown member 'else'"},
      {R"({"path":)", "arguments: not JSON"}};
  for (const auto& [arguments, message] : cases) CHECK(Verdict(kSchema, arguments) == message);
}

TEST_CASE("SchemaRefusesKeywordsWithWrongValues") {
  const auto refused = [](const char* schema) { return Schema::Parse(schema).status().message(); };
  CHECK(refused(R"({"type":"array"})").find("'type' must be \"object\"") != std::string::npos);
  CHECK(refused(R"({"type":"thing"})").find("unknown type \"thing\"") != std::string::npos);
  CHECK(refused(R"({"type":"object","required":"a"})").find("'required'") != std::string::npos);
  CHECK(refused(R"({"type":"object","properties":{"a":{"$ref":"#/x"}}})")
            .find("parameters.a: '$ref'") == 0);
  CHECK(refused(R"x({"type":"object","properties":{"a":{"pattern":"(?=x)"}}})x")
            .find("parameters.a: the pattern") == 0);
  CHECK(refused(R"({"type":"object","properties":{"a":{"minItems":-1}}})").find("'minItems'") !=
        std::string::npos);
  CHECK(refused("{").find("not JSON") != std::string::npos);
  std::string deep = R"({"type":"object","properties":{"a":)";
  for (int i = 0; i < 40; ++i) deep += R"({"items":)";
  deep += "{}" + std::string(40, '}') + "}}";
  CHECK(refused(deep.c_str()).find("nested too deeply") != std::string::npos);
}

TEST_CASE("SchemaNamesWhatIsNotEnforcedWhileWriting") {
  const auto schema = Schema::Parse(R"({"type":"object","properties":{
      "a":{"type":"string","pattern":"^x","format":"uri"},
      "n":{"type":"integer","minimum":1},"x":{"type":"number","minimum":1}}})");
  REQUIRE(schema.ok());
  const std::string after = " is checked once the text is whole, not while it is written";
  CHECK(schema->notes() == std::vector<std::string>{"parameters.a: 'pattern'" + after,
                                                    "parameters.a: 'format' is not checked",
                                                    "parameters.x: 'minimum'" + after});
  const auto open = Schema::Parse(R"({"type":"object","additionalProperties":{"type":"string"}})");
  REQUIRE(open.ok());
  CHECK(open->notes() ==
        std::vector<std::string>{"parameters: 'additionalProperties' is checked, but a model can "
                                 "write declared parameters only"});
}

TEST_CASE("SchemaChecksEachFurtherKeyword") {
  struct Case {
    const char* schema;  // of the member "a"
    const char* good;
    const char* bad;
    const char* message;
  };
  const Case cases[] = {
      {R"({"const":5})", "5", "6", "6 is not 5"},
      {R"({"pattern":"^a+$"})", R"("aa")", R"("ab")", "does not match"},
      {R"({"exclusiveMinimum":1})", "2", "1", "is not above"},
      {R"({"exclusiveMaximum":1})", "0.5", "1", "is not below"},
      // Doubles can't tell these from their neighbours.
      {R"({"minimum":9007199254740993})", "9007199254740993", "9007199254740992", "is less than"},
      {R"({"exclusiveMaximum":18446744073709551615})", "18446744073709551614",
       "18446744073709551615", "is not below"},
      {R"({"maximum":-1})", "-1", "18446744073709551615", "is more than"},
      {R"({"multipleOf":0.1})", "0.3", "0.35", "no multiple"},
      {R"({"minItems":1,"maxItems":2})", "[1]", "[]", "has 0 items, expected 1 to 2"},
      {R"({"uniqueItems":true})", "[1,2]", "[1,1]", "are equal"},
      {R"({"contains":{"const":1}})", "[0,1]", "[0]", "contains"},
      {R"({"prefixItems":[{"type":"string"}],"items":{"type":"null"}})", R"(["x",null])",
       R"(["x",1])", "a[1]: expected null"},
      {R"({"patternProperties":{"^x":{"type":"null"}},"additionalProperties":false})",
       R"({"x1":null})", R"({"y":null})", "unknown member 'y'"},
      {R"({"additionalProperties":{"type":"integer"}})", R"({"q":1})", R"({"q":"1"})",
       "a.q: expected integer"},
      {R"({"propertyNames":{"maxLength":1}})", R"({"x":1})", R"({"xx":1})", "member name"},
      {R"({"minProperties":1,"maxProperties":1})", R"({"x":1})", "{}", "has 0 members"},
      {R"({"dependentRequired":{"x":["y"]}})", R"({"x":1,"y":1})", R"({"x":1})", "beside 'x'"},
      {R"({"anyOf":[{"type":"null"},{"type":"integer"}]})", "1", R"("s")", "none of 2"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "1.5", "1", "fits 2"},
      {R"({"allOf":[{"minimum":1},{"maximum":2}]})", "2", "3", "is more than"},
      {R"({"not":{"type":"null"}})", "1", "null", "rules out"},
      {R"({"if":{"type":"string"},"then":{"maxLength":1},"else":{"const":3}})", R"("x")", "4",
       "is not 3"},
      {R"({"$ref":"#/$defs/d"})", "[[]]", "[1]", "expected array"},
      {"false", nullptr, "1", "nothing is allowed"}};
  for (const Case& c : cases) {
    const std::string schema = R"({"type":"object","properties":{"a":)" + std::string(c.schema) +
                               R"(},"$defs":{"d":{"type":"array","items":{"$ref":"#/$defs/d"}}}})";
    INFO(c.schema);
    if (c.good != nullptr) CHECK(Verdict(schema, R"({"a":)" + std::string(c.good) + "}") == "ok");
    const std::string verdict = Verdict(schema, R"({"a":)" + std::string(c.bad) + "}");
    INFO(verdict);
    CHECK(verdict.find(c.message) != std::string::npos);
  }
}

TEST_CASE("SchemasThatTakeTooLongAreCutOff") {
  // Each level tries the next one twice.
  std::string defs;
  for (int i = 0; i < 40; ++i) {
    const std::string next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + R"("})";
    defs += R"("d)" + std::to_string(i) + R"(":{"anyOf":[)" + next + "," + next + "]},";
  }
  const auto schema = Schema::Parse(R"({"type":"object","properties":{"a":{"$ref":"#/$defs/d0"}},)"
                                    R"("$defs":{)" +
                                    defs + R"("d40":{"type":"null"}}})");
  REQUIRE(schema.ok());
  CHECK(schema->Validate(R"({"a":1})").code() == StatusCode::kResourceExhausted);
  const auto itself =
      Schema::Parse(R"({"type":"object","properties":{"a":{"$ref":"#/properties/a"}}})");
  REQUIRE(itself.ok());
  CHECK(itself->Validate(R"({"a":1})").code() == StatusCode::kResourceExhausted);
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
