#include "model/constraint/schema_grammar.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "model/constraint/automaton.h"
#include "tests/constraint/small_vocabulary.h"

namespace baleen {
namespace {

/// Runs `text` and tells how many of its symbols were taken, and whether it may end there.
struct Reading {
  size_t taken = 0;
  bool complete = false;
};

Reading Read(const Grammar& grammar, std::string_view text) {
  // Owners: this function and the automaton.
  Automaton automaton(std::make_shared<const Grammar>(grammar));
  Reading reading;
  StateId state = automaton.start();
  for (const Symbol symbol : MarkupSymbols(text)) {
    state = automaton.Next(state, symbol);
    if (state == kDeadState) return reading;
    ++reading.taken;
  }
  reading.complete = automaton.Complete(state);
  return reading;
}

Grammar Answer(const std::string& schema) {
  Grammar grammar;
  const auto root = CompileAnswer(schema, &grammar);
  INFO(schema << ": " << root.status().ToString());
  REQUIRE(root.ok());
  const Status status = grammar.Finish(*root);
  INFO(status.ToString());
  REQUIRE(status.ok());
  return grammar;
}

struct SchemaCase {
  std::string schema;
  std::vector<std::string> taken;
  std::vector<std::string> refused;
};

const std::vector<SchemaCase>& Cases() {
  static const std::vector<SchemaCase> cases = {
      {R"({"type":"boolean"})", {"true", "false"}, {"null", "tru", "True", "1", "true "}},
      {R"({"type":["null","integer"]})", {"null", "-3", "0"}, {"1.5", "\"\"", "01", "-0", "+1"}},
      {R"({"type":"integer","minimum":-7,"maximum":120})",
       {"-7", "-1", "0", "9", "12", "99", "100", "120"},
       {"-8", "-10", "121", "200", "1000", "-0", "00"}},
      {R"({"type":"integer","minimum":15,"maximum":1000})",
       {"15", "99", "100", "149", "1000"},
       {"0", "1", "14", "1001", "-15", "9"}},
      {R"({"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":3})",
       {"1", "2"},
       {"0", "3", "10", "-1"}},
      {R"({"type":"integer","maximum":-1})", {"-1", "-500"}, {"0", "1", "-0"}},
      {R"({"type":"integer","minimum":2.5,"maximum":3.5})", {"3"}, {"2", "4"}},
      {R"({"type":"number"})",
       {"0", "-0", "1.5", "-12.25e-3", "1E+9", "0e1"},
       {".5", "1.", "01", "1e", "1e100", "NaN", "--1"}},
      {R"({"type":"string","minLength":1,"maxLength":3})",
       {R"("a")", R"("äöü")", R"("\n\\\"")", R"("\u00e4bc")"},
       {R"("")", R"("abcd")", R"("\x")", R"("\ud800")", "\"a\nb\"", "\"\xFF\"", "\"\xC0\xAF\""}},
      {R"({"enum":["a","ab",3,null,{"k":[1,2]}]})",
       {R"("a")", R"("ab")", "3", "null", R"({"k": [1, 2]})"},
       {R"("b")", "4", R"("abc")", R"({"k":[1,2]})"}},
      {R"({"type":"string","enum":["a","bb",3],"minLength":2})", {R"("bb")"}, {R"("a")", "3"}},
      {R"({"const":"x"})", {R"("x")"}, {R"("y")"}},
      // Listed values obey whatever stands beside the list.
      {R"({"enum":["abc","abd"],"pattern":"d$"})", {R"("abd")"}, {R"("abc")"}},
      {R"({"enum":[[1],[1,2,3],["a"]],"items":{"type":"integer"},"maxItems":2})",
       {"[1]"},
       {"[1, 2, 3]", R"(["a"])"}},
      {R"({"enum":[{"k":1},{"z":2},{"z":"x"}],"required":["z"],
           "properties":{"z":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"integer"}}})",
       {R"({"z": 2})"},
       {R"({"k": 1})", R"({"z": "x"})"}},
      {R"({"const":3,"enum":[3,4],"maximum":3})", {"3"}, {"4"}},
      // Doubles can't tell these from their neighbours.
      {R"({"type":"integer","minimum":9007199254740993,"exclusiveMaximum":9007199254740997})",
       {"9007199254740993", "9007199254740996"},
       {"9007199254740992", "9007199254740997"}},
      // Keywords that the rules don't know make nothing impossible that the schema allows.
      {R"({"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"integer"}})",
       {R"(["a",1])", "[]"},
       {R"(["a",1)"}},
      {R"({"type":"object","patternProperties":{"^x":{"type":"integer"}},"required":["x1"],
           "additionalProperties":false})",
       {R"({"x1":1})"},
       {"{}", R"({"y":1})"}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1,2]", "[1, 2, 3]"},
       {"[]", "[1,2,3,4]", "[1,]", "[,1]", "[true]", "[1 ,2]"}},
      {R"({"type":"array","items":false})", {"[]"}, {"[1]"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"boolean"}},
           "required":["b"]})",
       {R"({"b":true})", R"({"a": 1, "b": false})", R"({"b":true,"a":1})"},
       {"{}", R"({"a":1})", R"({"b":true,"b":true})", R"({"b":true,"c":1})", R"({"b":1})",
        R"({"b":true,})"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"}},
           "additionalProperties":{"type":"boolean"}})",
       {"{}", R"({"a":1})", R"({"ab":true})", R"({"b":true,"a":2})"},
       {R"({"a":true})", R"({"b":1})", R"({"\u0061":true})", R"({"":true})"}},
      {R"({"type":"object"})", {"{}", R"({"x":[{"y":null}]})"}, {R"({x:1})", "[]"}},
      {R"({"type":"object","required":["z"]})", {R"({"z":1})", R"({"z":{}})"}, {"{}"}},
      {R"({"anyOf":[{"type":"string","maxLength":1},{"type":"integer","minimum":5,"maximum":6}]})",
       {R"("x")", "5"},
       {R"("xy")", "7"}},
      {R"({"type":"object","properties":{"k":{"type":"string","maxLength":1}},
           "anyOf":[{"required":["k"]},{"properties":{"n":{"const":1}},"required":["n"]}]})",
       {R"({"k":"x"})", R"({"n":1})", R"({"k":"","n":1})"},
       {"{}", R"({"n":2})"}},
      {R"({"allOf":[{"type":"integer","minimum":3},{"maximum":4}]})", {"3", "4"}, {"2", "5"}},
      {R"({"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":
           {"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/$defs/tree"}}},
           "required":["v"],"additionalProperties":false}}})",
       {R"({"v":1})", R"({"v":1,"kids":[{"v":2,"kids":[]},{"v":3}]})"},
       {R"({"kids":[]})", R"({"v":1,"kids":[{}]})"}},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", {"null"}, {"1"}},
      {R"({})", {"1", R"("x")", "[[1],{}]", "null"}, {"nul", "]"}},
      {"true", {"{}"}, {"}"}},
  };
  return cases;
}

TEST_CASE("Values that a schema allows can be written, others can't", "[schema]") {
  for (const SchemaCase& c : Cases()) {
    INFO(c.schema);
    const Grammar grammar = Answer(c.schema);
    for (const std::string& text : c.taken) {
      const Reading reading = Read(grammar, text);
      INFO(text << ": " << reading.taken);
      CHECK(reading.complete);
    }
    for (const std::string& text : c.refused) {
      INFO(text);
      CHECK_FALSE(Read(grammar, text).complete);
    }
  }
}

TEST_CASE("What the rules allow, the validator allows", "[schema]") {
  // The tables above, the other way round: whatever is taken satisfies the schema.
  for (const SchemaCase& c : Cases()) {
    const auto schema = Schema::ParseValue(c.schema, "answer");
    INFO(c.schema << ": " << schema.status().ToString());
    if (c.schema.find(R"({"$ref":"#"})") != std::string::npos) continue;  // endless for a validator
    REQUIRE(schema.ok());
    for (const std::string& text : c.taken) {
      INFO(text << ": " << schema->Validate(text).ToString());
      CHECK(schema->Validate(text).ok());
    }
  }
}

TEST_CASE("Integers follow their bounds digit by digit", "[schema]") {
  // Against the obvious: every integer of -1300 to 1300 as text, for bounds of every sign.
  for (const auto& [low, high] : std::vector<std::pair<int, int>>{
           {0, 0}, {-1, 1}, {7, 13}, {100, 999}, {99, 1001}, {-1250, -37}, {-5, 1234}, {1, 1000}}) {
    const Grammar grammar = Answer(R"({"type":"integer","minimum":)" + std::to_string(low) +
                                   R"(,"maximum":)" + std::to_string(high) + "}");
    for (int value = -1300; value <= 1300; ++value) {
      INFO(low << " " << high << " " << value);
      REQUIRE(Read(grammar, std::to_string(value)).complete == (value >= low && value <= high));
    }
  }
}

TEST_CASE("Objects of more than 64 members take them in order, none left out that must be there",
          "[schema]") {
  std::string properties;
  for (int i = 0; i < 80; ++i) {
    properties += (i == 0 ? "" : ",") + std::string("\"m") + std::to_string(i) + "\":{\"const\":1}";
  }
  const Grammar grammar =
      Answer(R"({"type":"object","properties":{)" + properties + R"(},"required":["m3","m70"]})");
  CHECK(Read(grammar, R"({"m3":1,"m70":1})").complete);
  CHECK(Read(grammar, R"({"m0":1,"m3":1,"m69":1,"m70":1,"m79":1})").complete);
  CHECK_FALSE(Read(grammar, R"({"m3":1,"m71":1})").complete);
  CHECK_FALSE(Read(grammar, R"({"m70":1,"m3":1})").complete);
  CHECK_FALSE(Read(grammar, R"({"m3":1})").complete);
}

TEST_CASE("Schemas that nothing satisfies are refused, and hostile ones bounded", "[schema]") {
  const auto verdict = [](const std::string& schema) {
    Grammar grammar;
    const auto root = CompileAnswer(schema, &grammar);
    if (!root.ok()) return root.status().reason();
    return grammar.Finish(*root).reason();
  };
  CHECK(verdict(R"({"type":"integer","minimum":5,"maximum":4})") == "UNSATISFIABLE");
  CHECK(verdict(R"({"type":"string","minLength":5,"maxLength":4})") == "UNSATISFIABLE");
  CHECK(verdict(R"({"enum":[1,2],"type":"string"})") == "UNSATISFIABLE");
  CHECK(verdict(R"({"allOf":[{"type":"string"},{"type":"null"}]})") == "UNSATISFIABLE");
  CHECK(verdict(R"({"type":"array","items":false,"minItems":1})") == "UNSATISFIABLE");
  CHECK(verdict(R"({"type":"object","required":["a"],"additionalProperties":false})") ==
        "UNSATISFIABLE");
  CHECK(verdict(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})") ==
        "UNSATISFIABLE");
  CHECK(verdict(R"({"$ref":"#"})") == "UNSATISFIABLE");
  CHECK(verdict("false") == "UNSATISFIABLE");
  CHECK(verdict(R"({"$ref":"#/nowhere"})") == "BAD_SCHEMA");
  CHECK(verdict(R"({"const":"</think>"})") == "UNSATISFIABLE");  // would end the reasoning
  // Two references per level, 40 levels.
  std::string defs;
  for (int i = 0; i < 40; ++i) {
    const std::string next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + R"("})";
    defs += R"("d)" + std::to_string(i) + R"(":{"allOf":[)" + next + "," + next + "]},";
  }
  CHECK(verdict(R"({"$ref":"#/$defs/d0","$defs":{)" + defs + R"("d40":{"type":"null"}}})") ==
        "SCHEMA_TOO_LARGE");
}

}  // namespace
}  // namespace baleen
